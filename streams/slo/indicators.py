"""SLI documents: which entities, which columns of their minute windows. The keys of `metricSource.spec` are in openslo.py."""

from __future__ import annotations

from collections.abc import Iterable

from streams.slo.library import Library, name_of
from streams.slo.objects import Indicator, Selector, Source
from streams.slo.sql import ADDITIVE_COLUMNS, RATIO_COLUMNS, VALUE_COLUMNS
from streams.yamlfile import Node

__all__ = ["read_indicator"]

Found = tuple[Source, Selector]
NOTHING: Found = (Source((), ""), Selector())


def read_indicator(node: Node, library: Library) -> Indicator:
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "thresholdMetric", "ratioMetric")
    name = node.attempt(lambda: name_of(node), "") if node.has("metadata") else ""
    if spec.one_of("thresholdMetric", "ratioMetric") == "thresholdMetric":
        threshold = spec.need("thresholdMetric")
        value, selector = node.attempt(lambda: read_source(threshold, library, "mean", VALUE_COLUMNS), NOTHING)
        return Indicator(name, selector, value=value)
    ratio = spec.need("ratioMetric")
    ratio.allow("counter", "good", "bad", "total", "raw", "rawType")
    return read_raw(ratio, library, name) if ratio.has("raw") else read_ratio(ratio, library, name)


def read_raw(ratio: Node, library: Library, name: str) -> Indicator:
    """A ratio that was computed before it came to us."""
    for key in ("good", "bad", "total"):
        if ratio.has(key):
            ratio.need(key).note(f"'{key}' cannot stand beside 'raw'")
    value, selector = ratio.attempt(lambda: read_source(ratio.need("raw"), library, "mean", ("mean",)), NOTHING)
    raw_type = ratio.attempt(lambda: ratio.need("rawType", "success or failure").choice(("success", "failure")), "success")
    return Indicator(name, selector, value=value, raw_type=raw_type)


def read_ratio(ratio: Node, library: Library, name: str) -> Indicator:
    if ratio.has("rawType"):
        ratio.need("rawType").note("'rawType' belongs to 'raw'", "good and bad say it by themselves")
    counter = ratio.get("counter")
    column = "increase" if counter and ratio.attempt(counter.boolean, otherwise=False) else "vsum"
    part_key = ratio.attempt(lambda: ratio.one_of("good", "bad"), "")
    part, selector = NOTHING
    if part_key:
        part, selector = ratio.attempt(lambda: read_source(ratio.need(part_key), library, column, RATIO_COLUMNS), NOTHING)
    total, other = ratio.attempt(lambda: read_source(ratio.need("total"), library, column, RATIO_COLUMNS), NOTHING)
    if part.metrics and total.metrics and other != selector:
        ratio.need("total").note(f"'{part_key}' and 'total' match different entities", "give both the same 'match'")
    if part_key == "bad":
        return Indicator(name, selector, bad=part, total=total)
    return Indicator(name, selector, good=part, total=total)


def read_source(node: Node, library: Library, column: str, columns: Iterable[str]) -> Found:
    node.allow("metricSource")
    source = node.need("metricSource")
    source.allow("type", "metricSourceRef", "spec")
    source.attempt(lambda: check_type(source, library), None)
    spec = source.need("spec")
    spec.allow("metric", "column", "match")
    selector = spec.attempt(lambda: read_match(spec.get("match")), Selector())
    chosen = spec.get("column")
    column = spec.attempt(lambda: chosen.choice(columns), column) if chosen else column
    metrics = spec.need("metric").texts()
    if not metrics:
        spec.need("metric").fail("'metric' is an empty list")
    if len(metrics) > 1 and column not in ADDITIVE_COLUMNS:
        hint = f"possible with a list: {' '.join(ADDITIVE_COLUMNS)}"
        (chosen or spec).note(f"'{column}' of several metrics cannot be added up", hint)
    return Source(metrics, column), selector


def check_type(source: Node, library: Library) -> None:
    """Here, or in the DataSource that is referred to. What we read are always our own windows."""
    if source.has("metricSourceRef"):
        found = library.find("DataSource", source.need("metricSourceRef"))
        found.need("spec").need("type", "type: orbitrack").choice(("orbitrack",))
    if source.has("type") or not source.has("metricSourceRef"):
        source.need("type", "type: orbitrack").choice(("orbitrack",))


def read_match(match: Node | None) -> Selector:
    if match is None:
        return Selector()
    keys = ("entity", "kind", "site", "customer")
    match.allow(*keys)
    return Selector(**{key: value.text() for key, value in match.mapping().items() if key in keys})
