"""OpenSLO v1 files and our MaintenancePolicy, read into `Slo` objects; every mistake with file, line, key path, hint.

    slos = load([Path("schemas/slo")])           # files, or folders with *.yaml; raises the first mistake
    slos, mistakes = examine([...])              # all of them, for `orbitrack check`

Kinds: SLO SLI AlertPolicy AlertCondition AlertNotificationTarget, DataSource, of which only the type matters, and Service, of
which only the name; `orbitrack/v1` MaintenancePolicy. Inline or by reference, references over all files. Source: OpenSLO
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
from streams.slo.indicators import read_indicator
from streams.slo.library import (
    DURATION,
    LONGEST_UNIT_S,
    Library,
    duration_s,
    inline_or_found,
    name_of,
    optional_text,
    refuse_longer,
    zone,
)
from streams.slo.objects import Indicator, Objective, Selector, Slo
from streams.slo.policies import maintenance_policy, read_condition, read_policies, read_policy
from streams.slo.spans import TimeWindow
from streams.yamlfile import Mistakes, Node, documents, read_text, suggestion

__all__ = ["examine", "load", "parse"]

METHODS = ("Occurrences", "Timeslices", "RatioTimeslices")
SLO_KEYS = (
    "description", "service", "indicator", "indicatorRef", "timeWindow", "budgetingMethod", "objectives", "alertPolicies",
)
COMPOSITE_KEYS = ("indicator", "indicatorRef", "compositeWeight")
OWN_ANNOTATIONS = ("orbitrack/credit-tiers", "orbitrack/unknown")


def load(paths: Iterable[Path]) -> list[Slo]:
    """The SLOs of all files, in order. DefinitionError names the first mistake."""
    slos, mistakes = examine(paths)
    for mistake in mistakes:
        raise mistake
    return slos


def examine(paths: Iterable[Path]) -> tuple[list[Slo], list[DefinitionError]]:
    """The SLOs of all files, and every mistake file by file; of no use together: with mistakes the SLOs are guesses."""
    mistakes = Mistakes()
    texts: list[tuple[object, str]] = []
    for path in map(Path, paths):
        for file in sorted(path.glob("*.y*ml")) if path.is_dir() else [path]:
            try:
                texts.append((file, read_text(file)))
            except DefinitionError as error:
                mistakes.note(error)
    return collect(texts, mistakes), mistakes.found()


def parse(texts: Iterable[tuple[object, str]]) -> list[Slo]:
    """The same as `load` from (file name, text) pairs."""
    mistakes = Mistakes()
    slos = collect(texts, mistakes)
    mistakes.raise_first()
    return slos


def collect(texts: Iterable[tuple[object, str]], mistakes: Mistakes) -> list[Slo]:
    library = Library()
    for file, text in texts:
        for document in documents(text, file, mistakes):
            library.add(document)
    policies = library.read("MaintenancePolicy", maintenance_policy)
    slos = library.read("SLO", read_slo)
    # Also those that no SLO refers to.
    library.read("SLI", read_indicator)
    library.read("AlertPolicy", read_policy)
    library.read("AlertCondition", read_condition)
    return [replace(slo, maintenance=tuple(each for each in policies if each.concerns(slo.name))) for slo in slos]


def read_slo(document: Node, library: Library) -> Slo:
    spec = document.need("spec")
    spec.allow(*SLO_KEYS)
    attempt = document.attempt
    method = attempt(lambda: spec.need("budgetingMethod", f"one of {' '.join(METHODS)}").choice(METHODS), "")
    indicator = attempt(
        lambda: read_indicator(inline_or_found(spec, "indicator", "indicatorRef", "SLI", library), library), UNKNOWN_INDICATOR
    )
    metadata = document.need("metadata")
    annotations: Mapping[str, Node] = attempt(lambda: texts(metadata, "annotations"), {})
    return Slo(
        name=name_of(document), indicator=indicator, method=method,
        window=attempt(lambda: time_window(spec.get("timeWindow")), TimeWindow()),
        objectives=attempt(lambda: read_objectives(spec.need("objectives"), indicator, method), ()),
        service=attempt(lambda: optional_text(spec, "service"), ""),
        display_name=attempt(lambda: optional_text(metadata, "displayName"), ""),
        description=attempt(lambda: optional_text(spec, "description"), ""),
        labels=attempt(lambda: read_labels(metadata.get("labels")), {}),
        alerts=attempt(lambda: read_policies(spec.get("alertPolicies"), library), ()),
        credit_tiers=attempt(lambda: credit_tiers(annotations.get("orbitrack/credit-tiers")), ()),
        unknown_is_bad=attempt(lambda: unknown_is_bad(annotations.get("orbitrack/unknown"), method), otherwise=False),
        file=str(document.file), line=document.line,
    )


# Stands in for one with mistakes: whether its objectives want `op` and `value` is not known then.
UNKNOWN_INDICATOR = Indicator("", Selector())


def read_labels(labels: Node | None) -> Mapping[str, tuple[str, ...]]:
    return {key: value.texts() for key, value in labels.mapping().items()} if labels else {}


def texts(metadata: Node, key: str) -> Mapping[str, Node]:
    """The annotations; ours are checked for spelling, foreign ones are left alone."""
    found = metadata.get(key)
    if found is None:
        return {}
    for name, value in found.mapping().items():
        found.attempt(value.text, "")
        if name.startswith("orbitrack/") and name not in OWN_ANNOTATIONS:
            value.note(f"unknown annotation '{name}'", suggestion(name, OWN_ANNOTATIONS))
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
    refuse_longer(duration, count * LONGEST_UNIT_S[unit])
    calendar, rolling = window.get("calendar"), window.get("isRolling")
    if (rolling.boolean() if rolling else calendar is None) is (calendar is not None):
        what = "a rolling window has no calendar, and a calendar window must have one"
        window.fail(what, "isRolling: true, or calendar: {startTime, timeZone}")
    if calendar is None:
        return TimeWindow(count, unit)
    calendar.allow("startTime", "timeZone")
    zone_name = calendar.attempt(lambda: zone(calendar.need("timeZone")), "UTC")
    start = calendar.need("startTime", "local time of a period's start, for example 2026-01-01 00:00:00").time()
    return TimeWindow(count, unit, is_rolling=False, start=start, zone=zone_name)


def read_objectives(node: Node, indicator: Indicator, method: str) -> tuple[Objective, ...]:
    objectives = node.items()
    if not objectives:
        node.fail("'objectives' is empty")
    if is_threshold(indicator) and len(objectives) > 1:
        objectives[1].note("a thresholdMetric allows one objective only", "OpenSLO v1, SLO, objectives[]: write another SLO")
    return tuple(node.each(lambda each: read_objective(each, indicator, method)))


def read_objective(node: Node, indicator: Indicator, method: str) -> Objective:
    for key in COMPOSITE_KEYS:
        if node.has(key):
            node.need(key).note(f"'{key}' makes a composite objective", "not supported: write an SLO for each indicator")
    node.allow(
        "displayName", "op", "value", "target", "targetPercent", "timeSliceTarget", "timeSliceWindow", *COMPOSITE_KEYS
    )
    attempt = node.attempt
    target = attempt(lambda: read_target(node), 0.0)
    op = value = slice_target = None
    if is_threshold(indicator):
        op = attempt(lambda: node.need("op", "lte gte lt or gt").choice(("lte", "gte", "lt", "gt")), "lte")
        value = attempt(lambda: node.need("value").number(), 0.0)
    name = attempt(lambda: optional_text(node, "displayName"), "") or percent(target)
    if method == "Occurrences":
        for key in ("timeSliceTarget", "timeSliceWindow"):
            if node.has(key):
                node.need(key).note(f"'{key}' means nothing with budgetingMethod Occurrences")
    if method not in ("Timeslices", "RatioTimeslices"):
        return Objective(name, target, op, value)
    if method == "Timeslices":
        slice_target = attempt(lambda: read_slice_target(node), 1.0)
    slice_s = attempt(lambda: duration_s(node.need("timeSliceWindow", "for example 1m"), bare_minutes=True), 60)
    return Objective(name, target, op, value, slice_target, slice_s)


def read_target(node: Node) -> float:
    if node.one_of("target", "targetPercent") == "target":
        return node.need("target").number(minimum=0, below=1)
    return round(node.need("targetPercent").number(minimum=0, below=100) / 100, 15)


def read_slice_target(node: Node) -> float:
    share = node.need("timeSliceTarget", "the share of a slice that must be good, 0 < x <= 1")
    slice_target = share.number(minimum=0, maximum=1)
    if slice_target == 0:
        share.fail("'timeSliceTarget' is 0, so every slice would be good", "0 < x <= 1")
    return slice_target


def percent(target: float) -> str:
    return f"{100 * target:.10g} %"


def is_threshold(indicator: Indicator) -> bool:
    return indicator.value is not None and indicator.raw_type is None
