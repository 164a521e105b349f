"""Every budgeting method over every kind of window with every kind of maintenance, against the oracle in numpy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.levels import service_levels
from streams.slo import month_span, parse
from tests.sla_month import Month, at
from tests.slo_oracle import Question, report

LINKS = ("link-a", "link-b", "link-c", "link-e")
UP = "{thresholdMetric: {metricSource: {type: orbitrack, spec: {metric: up, column: vmin, match: {entity: 'link-*'}}}}}"
LATENCY = "{{ratioMetric: {{good: {}, total: {}}}}}".format(*(
    f"{{metricSource: {{type: orbitrack, spec: {{metric: latency_ms, column: {column}, match: {{entity: 'link-*'}}}}}}}}"
    for column in ("good", "cnt")
))
# name -> (indicator, objective, annotation, what the oracle is asked)
METHODS: dict[str, tuple[str, str, str, Question]] = {
    "occurrences-threshold": (
        UP, "op: gte, value: 1, target: 0.95", "ignore", Question("up", "vmin", limit=1, target=0.95),
    ),
    "occurrences-ratio": (LATENCY, "target: 0.8", "ignore", Question("latency_ms", "good", "cnt", target=0.8)),
    "timeslices": (
        UP, "op: gte, value: 1, target: 0.9, timeSliceTarget: 0.8, timeSliceWindow: 10m", "ignore",
        Question("up", "vmin", limit=1, method="Timeslices", slice_s=600, slice_target=0.8),
    ),
    "timeslices-unknown-is-bad": (
        UP, "op: gte, value: 1, target: 0.9, timeSliceTarget: 1, timeSliceWindow: 1m", "bad",
        Question("up", "vmin", limit=1, method="Timeslices", unknown_is_bad=True),
    ),
    "timeslices-that-do-not-divide-the-day": (
        LATENCY, "target: 0.9, timeSliceTarget: 0.7, timeSliceWindow: 7h", "ignore",
        Question("latency_ms", "good", "cnt", method="Timeslices", slice_s=25_200, slice_target=0.7),
    ),
    "ratio-timeslices": (
        LATENCY, "target: 0.9, timeSliceWindow: 1h", "ignore",
        Question("latency_ms", "good", "cnt", method="RatioTimeslices", slice_s=3600),
    ),
}


def moment(text: str, zone: str = "UTC") -> int:
    return int(pd.Timestamp(text, tz=zone).timestamp())


# name -> (timeWindow, now, start by pandas)
WINDOWS: dict[str, tuple[str, str, int]] = {
    "rolling-28d": ("{duration: 28d, isRolling: true}", "2026-10-29 07:31", moment("2026-10-01 07:31")),
    "rolling-6h": ("{duration: 6h, isRolling: true}", "2026-10-25 02:30", moment("2026-10-24 20:30")),
    "rolling-1M": ("{duration: 1M, isRolling: true}", "2026-10-31 12:00", moment("2026-09-30 12:00")),
    "month-in-stockholm": (
        "{duration: 1M, calendar: {startTime: '2026-01-01', timeZone: Europe/Stockholm}}", "2026-10-27 10:00",
        moment("2026-10-01", "Europe/Stockholm"),
    ),
    "day-of-25-hours": (
        "{duration: 1d, calendar: {startTime: '2026-01-01', timeZone: Europe/Stockholm}}", "2026-10-25 22:59",
        moment("2026-10-25", "Europe/Stockholm"),
    ),
    "week-in-kathmandu": (
        "{duration: 1w, calendar: {startTime: '2026-01-05 08:00:00', timeZone: Asia/Kathmandu}}", "2026-10-22 20:00",
        moment("2026-10-19 08:00", "Asia/Kathmandu"),
    ),
    "quarter-in-new-york": (
        "{duration: 1Q, calendar: {startTime: '2026-01-01', timeZone: America/New_York}}", "2026-11-01 12:00",
        moment("2026-10-01", "America/New_York"),
    ),
}
ZONED = "start: 2026-01-04 01:30:00, duration: 3h, timeZone: Europe/Stockholm, repeat: FREQ=WEEKLY;BYDAY=SU"
SUNDAYS = [
    (glob, moment(f"2026-{day} 01:30", "Europe/Stockholm"), moment(f"2026-{day} 01:30", "Europe/Stockholm") + 10_800)
    for glob in ("*-b", "link-a") for day in ("09-27", "10-04", "10-11", "10-18", "10-25", "11-01")
]
# name -> (spec of the policy, reasons of the table that count, further maintenance)
MAINTENANCE: dict[str, tuple[str, tuple[str, ...], list[tuple[str, int, int]]]] = {
    "table-alone": ("", ("planned",), []),
    "nothing-counts": ("{exclude: []}", (), []),
    "emergencies-too": ("{exclude: [planned, emergency]}", ("planned", "emergency"), []),
    "recurring-and-one-off": (
        f"{{windows: [{{entity: '*-b', {ZONED}}}, {{entity: link-a, {ZONED}}},"
        " {entity: link-c, start: 2026-10-19 23:30:30, end: 2026-10-21 06:00:30, timeZone: Europe/Stockholm}]}",
        ("planned",),
        [*SUNDAYS, ("link-c", moment("2026-10-19 21:30:30"), moment("2026-10-21 04:00:30"))],
    ),
}


@pytest.fixture(scope="module")
def client(month_dsn: str) -> Iterator[Any]:
    with connect(month_dsn) as client:
        yield client


@pytest.mark.parametrize("maintenance", MAINTENANCE)
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("method", METHODS)
def test_report_is_the_oracles(client: Any, month: Month, method: str, window: str, maintenance: str) -> None:
    indicator, objective, unknown, asked = METHODS[method]
    time_window, now, start_s = WINDOWS[window]
    policy, asked.reasons, asked.extra = MAINTENANCE[maintenance]
    text = (
        f"apiVersion: openslo/v1\nkind: SLO\nmetadata: {{name: tried, annotations: {{orbitrack/unknown: {unknown}}}}}\nspec:\n"
        f"  indicator: {{spec: {indicator}}}\n  timeWindow: [{time_window}]\n  objectives: [{{{objective}}}]\n"
        f"  budgetingMethod: {'RatioTimeslices' if method[0] == 'r' else 'Timeslices' if method[0] == 't' else 'Occurrences'}\n"
    )
    if policy:
        text += f"---\napiVersion: orbitrack/v1\nkind: MaintenancePolicy\nmetadata: {{name: agreed}}\nspec: {policy}\n"
    (slo,) = parse([("tried.yaml", text)])
    span = slo.window.span(moment(now) + 29)
    assert (span.start_s, span.end_s) == (start_s, moment(now))

    lines = {line.entity: line.as_dict() for line in service_levels(client, [(slo, span)])}

    for entity in LINKS if asked.metric == "up" else ("link-a", "link-c", "link-e"):
        expected, line = report(month, entity, asked, span.start_s, span.end_s), lines[entity]
        for name in ("good", "total", "sli", "budget_remaining"):
            same = None if expected[name] is None else pytest.approx(expected[name], rel=1e-9, abs=1e-9)
            assert line[name] == same, (entity, name)
        assert (line["unknown"], line["maintenance"]) == (expected["unknown"], expected["maintenance"]), entity
        assert line["burn_rate"] == {
            name: None if rate is None else pytest.approx(rate, rel=1e-9, abs=1e-9)
            for name, rate in expected["burn_rate"].items()
        }, entity
        assert (line["state"] == "no_data") == (expected["sli"] is None)


@pytest.mark.parametrize(("zone", "name", "hours"), [
    ("Europe/Stockholm", "2026-03", 743), ("Europe/Stockholm", "2026-10", 745), ("America/New_York", "2026-11", 721),
    ("Australia/Lord_Howe", "2026-04", 720.5), ("Asia/Kolkata", "2026-10", 744), ("UTC", "2026-02", 672),
])
def test_month_has_the_hours_that_its_zone_gives_it(zone: str, name: str, hours: float) -> None:
    span = month_span(name, zone)

    first = pd.Timestamp(f"{name}-01", tz=zone)
    assert (span.start_s, span.end_s) == (int(first.timestamp()), int((first + pd.offsets.MonthBegin(1)).timestamp()))
    assert span.minutes == hours * 60


def test_seeded_month_has_what_these_tests_need(month: Month) -> None:
    assert {"planned", "emergency"} <= set(month.maintenance["reason"])
    assert at("2026-10-25") < month.windows["1m"]["bucket"].max()
