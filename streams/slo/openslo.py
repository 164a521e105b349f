"""OpenSLO v1 files and our MaintenancePolicy, read into `Slo` objects; every mistake with file, line, key path, hint.

    slos = load([Path("schemas/slo")])           # files, or folders with *.yaml

Kinds: SLO SLI AlertPolicy AlertCondition, and AlertNotificationTarget Service DataSource, of which only the names
matter; `orbitrack/v1` MaintenancePolicy. Inline or by reference, references over all files. Source: OpenSLO
specification v1 (README of the OpenSLO repository). The spec leaves `metricSource.spec` to the implementation; ours:

    metricSource:
      type: orbitrack
      spec:
        metric: packets_rx                       # or a list, which is added up
        column: vsum                             # what of the minute windows: see RATIO_COLUMNS, VALUE_COLUMNS in sql.py
        match: {entity: "JPSS-*", kind: spacecraft, site: kiruna, customer: acme}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from streams.errors import DefinitionError
from streams.slo.library import DURATION, Library, duration_s, inline_or_found, name_of, optional_text, zone
from streams.slo.objects import Indicator, Objective, Selector, Slo, Source
from streams.slo.policies import maintenance_policy, read_policy
from streams.slo.spans import TimeWindow
from streams.slo.sql import ADDITIVE_COLUMNS, RATIO_COLUMNS, VALUE_COLUMNS
from streams.yamlfile import Node, documents, suggestion

__all__ = ["load", "parse"]

METHODS = ("Occurrences", "Timeslices", "RatioTimeslices")
SLO_KEYS = (
    "description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies",
)
OWN_ANNOTATIONS = ("orbitrack/credit-tiers", "orbitrack/unknown")
FILE_BYTES_MAX = 4 << 20


def load(paths: Iterable[Path]) -> list[Slo]:
    """The SLOs of all files, in order. DefinitionError names the first mistake."""
    files: list[Path] = []
    for path in map(Path, paths):
        files += sorted(path.glob("*.y*ml")) if path.is_dir() else [path]
    return parse([(file, read(file)) for file in files])


def read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise DefinitionError(f"is larger than {FILE_BYTES_MAX >> 20} MiB", file=file)
        return data.decode()
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        raise DefinitionError(f"is not UTF-8 text: {error.reason} at byte {error.start}", file=file) from error


def parse(texts: Iterable[tuple[object, str]]) -> list[Slo]:
    """The same from (file name, text) pairs."""
    library = Library()
    for file, text in texts:
        for document in documents(text, file):
            library.add(document)
    policies = [maintenance_policy(node, library) for node in library.kinds["MaintenancePolicy"].values()]
    slos = [read_slo(node, library) for node in library.kinds["SLO"].values()]
    return [replace(slo, maintenance=tuple(each for each in policies if each.concerns(slo.name))) for slo in slos]


def read_slo(document: Node, library: Library) -> Slo:
    spec = document.need("spec")
    spec.allow(*SLO_KEYS)
    method = spec.need("budgetingMethod", f"one of {' '.join(METHODS)}").choice(METHODS)
    indicator = read_indicator(inline_or_found(spec, "indicator", "indicatorRef", "SLI", library))
    objectives = spec.need("objectives").items()
    if not objectives:
        spec.need("objectives").fail("'objectives' is empty")
    if is_threshold(indicator) and len(objectives) > 1:
        objectives[1].fail("a thresholdMetric allows one objective only", "OpenSLO v1, SLO, objectives[]: write another SLO")
    policies = spec.get("alertPolicies")
    metadata = document.need("metadata")
    annotations = texts(metadata, "annotations")
    labels = metadata.get("labels")
    return Slo(
        name=name_of(document), indicator=indicator, method=method, window=time_window(spec.get("timeWindow")),
        objectives=tuple(read_objective(node, indicator, method) for node in objectives),
        service=optional_text(spec, "service"), display_name=optional_text(metadata, "displayName"),
        description=optional_text(spec, "description"),
        labels={key: value.texts() for key, value in labels.mapping().items()} if labels else {},
        alerts=tuple(read_policy(node, library) for node in policies.items()) if policies else (),
        credit_tiers=credit_tiers(annotations.get("orbitrack/credit-tiers")),
        unknown_is_bad=unknown_is_bad(annotations.get("orbitrack/unknown"), method),
        file=str(document.file), line=document.line,
    )


def texts(metadata: Node, key: str) -> Mapping[str, Node]:
    """The annotations; ours are checked for spelling, foreign ones are left alone."""
    found = metadata.get(key)
    if found is None:
        return {}
    for name, value in found.mapping().items():
        value.text()
        if name.startswith("orbitrack/") and name not in OWN_ANNOTATIONS:
            value.fail(f"unknown annotation '{name}'", suggestion(name, OWN_ANNOTATIONS))
    return found.mapping()


def credit_tiers(node: Node | None) -> tuple[tuple[float, float], ...]:
    if node is None:
        return ()
    try:
        tiers = tuple((float(reached), float(pays)) for reached, pays in (pair.split(":") for pair in node.text().split(",")))
    except ValueError:
        node.fail(f"'{node.value}' are not credit tiers", "REACHED_PCT:CREDIT_PCT pairs, best first: 99.9:0,99:10,95:25,0:100")
    if any(not (0 <= reached <= 100 and 0 <= pays <= 100) for reached, pays in tiers):
        node.fail(f"'{node.value}' has a percentage outside 0..100")
    if list(tiers) != sorted(tiers, key=lambda tier: -tier[0]):
        node.fail(f"the tiers '{node.value}' do not fall", "best first: 99.9:0,99:10,95:25,0:100")
    return tiers


def unknown_is_bad(node: Node | None, method: str) -> bool:
    if node is None:
        return False
    if node.choice(("ignore", "bad")) == "bad" and method != "Timeslices":
        node.fail(f"time without data can only be bad with budgetingMethod Timeslices, not {method}")
    return bool(node.value == "bad")


def time_window(node: Node | None) -> TimeWindow:
    """Without one: four weeks, rolling."""
    if node is None:
        return TimeWindow()
    if len(node.items()) != 1:
        node.fail("'timeWindow' must have exactly one entry")
    window = node.items()[0]
    window.allow("duration", "isRolling", "calendar")
    duration = window.need("duration")
    match = DURATION.fullmatch(str(duration.value))
    if not match:
        duration.fail(f"'{duration.value}' is not a duration", "a number and one of m h d w M Q Y: 28d, 1M (1m is a minute)")
    count, unit = int(match[1]), match[2]
    calendar, rolling = window.get("calendar"), window.get("isRolling")
    if (rolling.boolean() if rolling else calendar is None) is (calendar is not None):
        what = "a rolling window has no calendar, and a calendar window must have one"
        window.fail(what, "isRolling: true, or calendar: {startTime, timeZone}")
    if calendar is None:
        return TimeWindow(count, unit)
    calendar.allow("startTime", "timeZone")
    start = calendar.need("startTime", "local time of a period's start, for example 2026-01-01 00:00:00").time()
    return TimeWindow(count, unit, is_rolling=False, start=start, zone=zone(calendar.need("timeZone")))


def read_objective(node: Node, indicator: Indicator, method: str) -> Objective:
    node.allow("displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow")
    if node.one_of("target", "targetPercent") == "target":
        target = node.need("target").number(minimum=0, below=1)
    else:
        target = round(node.need("targetPercent").number(minimum=0, below=100) / 100, 15)
    threshold = is_threshold(indicator)
    op = node.need("op", "lte gte lt or gt").choice(("lte", "gte", "lt", "gt")) if threshold else None
    value = node.need("value").number() if threshold else None
    if method == "Occurrences":
        for key in ("timeSliceTarget", "timeSliceWindow"):
            if node.has(key):
                node.need(key).fail(f"'{key}' means nothing with budgetingMethod Occurrences")
        return Objective(optional_text(node, "displayName") or percent(target), target, op, value)
    slice_target = None
    if method == "Timeslices":
        share = node.need("timeSliceTarget", "the share of a slice that must be good, 0 < x <= 1")
        slice_target = share.number(minimum=0, maximum=1)
        if slice_target == 0:
            share.fail("'timeSliceTarget' is 0, so every slice would be good", "0 < x <= 1")
    slice_s = duration_s(node.need("timeSliceWindow", "for example 1m"), bare_minutes=True)
    return Objective(optional_text(node, "displayName") or percent(target), target, op, value, slice_target, slice_s)


def percent(target: float) -> str:
    return f"{100 * target:.10g} %"


def is_threshold(indicator: Indicator) -> bool:
    return indicator.value is not None and indicator.raw_type is None


def read_indicator(node: Node) -> Indicator:
    node.allow("apiVersion", "kind", "metadata", "spec")
    spec = node.need("spec")
    spec.allow("description", "thresholdMetric", "ratioMetric")
    name = name_of(node) if node.has("metadata") else ""
    if spec.one_of("thresholdMetric", "ratioMetric") == "thresholdMetric":
        value, selector = read_source(spec.need("thresholdMetric"), "mean", VALUE_COLUMNS)
        return Indicator(name, selector, value=value)
    ratio = spec.need("ratioMetric")
    ratio.allow("counter", "good", "bad", "total", "raw", "rawType")
    if ratio.has("raw"):
        for key in ("good", "bad", "total"):
            if ratio.has(key):
                ratio.need(key).fail(f"'{key}' cannot stand beside 'raw'")
        value, selector = read_source(ratio.need("raw"), "mean", ("mean",))
        raw_type = ratio.need("rawType", "success or failure").choice(("success", "failure"))
        return Indicator(name, selector, value=value, raw_type=raw_type)
    if ratio.has("rawType"):
        ratio.need("rawType").fail("'rawType' belongs to 'raw'", "good and bad say it by themselves")
    counter = ratio.get("counter")
    column = "increase" if counter and counter.boolean() else "vsum"
    part_key = ratio.one_of("good", "bad")
    part, selector = read_source(ratio.need(part_key), column, RATIO_COLUMNS)
    total, other = read_source(ratio.need("total"), column, RATIO_COLUMNS)
    if other != selector:
        ratio.need("total").fail(f"'{part_key}' and 'total' match different entities", "give both the same 'match'")
    if part_key == "good":
        return Indicator(name, selector, good=part, total=total)
    return Indicator(name, selector, bad=part, total=total)


def read_source(node: Node, column: str, columns: Iterable[str]) -> tuple[Source, Selector]:
    node.allow("metricSource")
    source = node.need("metricSource")
    source.allow("type", "metricSourceRef", "spec")
    if source.has("metricSourceRef"):
        source.need("metricSourceRef").fail("data sources are not used", "type: orbitrack reads our own windows")
    source.need("type", "type: orbitrack").choice(("orbitrack",))
    spec = source.need("spec")
    spec.allow("metric", "column", "match")
    metrics = spec.need("metric").texts()
    if not metrics:
        spec.need("metric").fail("'metric' is an empty list")
    chosen = spec.get("column")
    column = chosen.choice(columns) if chosen else column
    if len(metrics) > 1 and column not in ADDITIVE_COLUMNS:
        hint = f"possible with a list: {' '.join(ADDITIVE_COLUMNS)}"
        (chosen or spec).fail(f"'{column}' of several metrics cannot be added up", hint)
    match = spec.get("match")
    if match is None:
        return Source(metrics, column), Selector()
    match.allow("entity", "kind", "site", "customer")
    return Source(metrics, column), Selector(**{key: value.text() for key, value in match.mapping().items()})
