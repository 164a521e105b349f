"""SLO reports against the seeded month, and the arithmetic of spans, maintenance and states."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from streams.clickhouse.ask import ask_rows
from streams.clickhouse.client import connect
from streams.slo import (
    Line,
    MaintenancePolicy,
    Objective,
    Slo,
    Span,
    Tally,
    TimeWindow,
    compile_objective,
    judge,
    month_span,
    parse,
    so_far,
)
from streams.slo.maintenance import MaintenanceWindow
from tests.sla_month import SEED, START, Month, at

DAY = 86_400


@pytest.fixture(scope="module")
def client(month_dsn: str) -> Iterator[Any]:
    with connect(month_dsn) as client:
        yield client


def slo(indicator: str, method: str, objective: str, annotations: str = "{}", more: str = "") -> Slo:
    text = f"""
apiVersion: openslo/v1
kind: SLO
metadata: {{name: tried, annotations: {annotations}}}
spec:
  indicator: {{spec: {indicator}}}
  budgetingMethod: {method}
  objectives: [{objective}]
{more}"""
    return parse([("tried.yaml", text)])[0]


def source(metric: str, column: str, match: str = "{entity: 'link-*'}") -> str:
    return f"{{metricSource: {{type: orbitrack, spec: {{metric: {metric}, column: {column}, match: {match}}}}}}}"


def report(client: Any, tried: Slo, span: Span) -> dict[str, Line]:
    question = compile_objective(tried, tried.objectives[0], span)
    _, rows = ask_rows(client, question.sql, question.parameters)
    return {line.entity or "": line for line in judge(tried, tried.objectives[0], span, question.tallies(rows))}


def minutes(month: Month, metrics: list[str], column: str, span: Span, skip: dict[str, set[int]]) -> dict[str, pd.Series]:
    """Sum of `column` by minute for every entity, without maintenance: plain pandas."""
    table = month.windows["1m"].assign(mean=lambda frame: frame["vsum"] / frame["cnt"])
    table = table[table["metric"].isin(metrics) & (table["bucket"] >= span.start_s) & (table["bucket"] < span.end_s)]
    found = {}
    for entity, own in table.groupby("entity"):
        own = own[~own["bucket"].isin(skip.get(entity, set()))]
        found[entity] = own.groupby("bucket")[column].sum()
    return found


def planned(month: Month) -> dict[str, set[int]]:
    skip: dict[str, set[int]] = {}
    for row in month.maintenance.query("cancelled == 0 and reason == 'planned' and start < end").itertuples():
        skip.setdefault(row.entity, set()).update(range(row.start // 60 * 60, row.end, 60))
    return skip


OCTOBER = Span(START, at("2026-11-01"))


def test_occurrences_count_good_samples_of_all(client: Any, month: Month) -> None:
    tried = slo(
        f"{{ratioMetric: {{good: {source('latency_ms', 'good')}, total: {source('latency_ms', 'cnt')}}}}}", "Occurrences",
        "{target: 0.8}",
    )

    lines = report(client, tried, OCTOBER)

    skip = planned(month)
    good, total = (minutes(month, ["latency_ms"], column, OCTOBER, skip) for column in ("good", "cnt"))
    assert set(lines) == {"link-a", "link-c", "link-e", "link-f"}          # link-f reported it once
    for entity in ("link-a", "link-c", "link-e"):
        line = lines[entity]
        assert (line.good, line.total) == (good[entity].sum(), total[entity].sum())
        assert line.sli == pytest.approx(line.good / line.total, rel=1e-12)
        assert line.budget_remaining == pytest.approx(1 - (line.total - line.good) / (0.2 * line.total), rel=1e-9)
        kept = len({minute for minute in skip.get(entity, ()) if START <= minute < OCTOBER.end_s})
        assert line.maintenance == kept
        assert line.unknown == OCTOBER.minutes - kept - len(total[entity])
        for name, seconds in tried.burn_windows.items():
            n = total[entity][total[entity].index >= OCTOBER.end_s - seconds].sum()
            bad = n - good[entity][good[entity].index >= OCTOBER.end_s - seconds].sum()
            assert line.burn_rate[name] == (pytest.approx(bad / n / 0.2, rel=1e-9) if n else None)
    assert (lines["link-f"].state, lines["link-f"].sli, lines["link-f"].total) == ("no_data", None, 0)


@pytest.mark.parametrize("unknown", ["ignore", "bad"])
def test_timeslices_are_good_when_enough_of_them_is(client: Any, month: Month, unknown: str) -> None:
    tried = slo(
        f"{{thresholdMetric: {source('up', 'vmin')}}}", "Timeslices",
        "{op: gte, value: 1, target: 0.95, timeSliceTarget: 0.8, timeSliceWindow: 10m}", f"{{orbitrack/unknown: {unknown}}}",
    )

    lines = report(client, tried, OCTOBER)

    skip = planned(month)
    low = minutes(month, ["up"], "vmin", OCTOBER, skip)
    for entity in ("link-a", "link-b", "link-c", "link-e"):
        ok = low[entity] >= 1
        share = ok.groupby(ok.index // 600).mean()
        idle = sum(all(60 * m + s in skip.get(entity, set()) for m in range(10)) for s in range(START, OCTOBER.end_s, 600))
        slices = OCTOBER.minutes // 10
        line = lines[entity]
        assert (line.good, line.maintenance, line.unknown) == ((share >= 0.8).sum(), idle, slices - idle - len(share))
        assert line.total == (slices - idle if unknown == "bad" else len(share))


def test_ratio_timeslices_are_the_mean_of_the_slices_ratios(client: Any, month: Month) -> None:
    match = "{kind: 'link*', customer: globex}"
    tried = slo(
        f"{{ratioMetric: {{bad: {source('latency_ms', 'bad', match)}, total: {source('latency_ms', 'cnt', match)}}}}}",
        "RatioTimeslices", "{targetPercent: 80, timeSliceWindow: 1h}",
    )

    lines = report(client, tried, OCTOBER)

    good, total = (minutes(month, ["latency_ms"], column, OCTOBER, planned(month))["link-c"] for column in ("good", "cnt"))
    ratios = good.groupby(good.index // 3600).sum() / total.groupby(total.index // 3600).sum()
    assert list(lines) == ["link-c"]
    assert lines["link-c"].sli == pytest.approx(ratios.mean(), rel=1e-9)
    assert lines["link-c"].total == len(ratios)


@pytest.mark.parametrize(("raw_type", "expected"), [("success", lambda v: v), ("failure", lambda v: 1 - v)])
def test_raw_ratio_is_weighed_by_its_samples(client: Any, month: Month, raw_type: str, expected: Any) -> None:
    tried = slo(f"{{ratioMetric: {{rawType: {raw_type}, raw: {source('up', 'mean')}}}}}", "Occurrences", "{target: 0.9}")

    line = report(client, tried, OCTOBER)["link-e"]

    own = month.windows["1m"].query("metric == 'up' and entity == 'link-e' and @START <= bucket < @OCTOBER.end_s")
    own = own[~own["bucket"].isin(planned(month)["link-e"])]
    assert line.sli == pytest.approx(expected(own["vsum"].sum() / own["cnt"].sum()), rel=1e-9)


def test_values_of_several_metrics_are_added_before_they_are_compared(client: Any, month: Month) -> None:
    tried = slo(
        f"{{thresholdMetric: {source('[if_in_octets, if_out_octets]', 'increase', '{kind: interface}')}}}", "Timeslices",
        "{op: lt, value: 60000000, target: 0.5, timeSliceTarget: 1, timeSliceWindow: 1}",
    )

    lines = report(client, tried, OCTOBER)

    both = minutes(month, ["if_in_octets", "if_out_octets"], "increase", OCTOBER, {})["rack-1/if/1"]
    assert list(lines) == ["rack-1/if/1"]          # the others are not listed as interfaces
    assert (lines["rack-1/if/1"].good, lines["rack-1/if/1"].total) == ((both < 6e7).sum(), len(both))


def test_recurring_maintenance_is_left_out_where_it_matches(client: Any, month: Month) -> None:
    more = """---
apiVersion: orbitrack/v1
kind: MaintenancePolicy
metadata: {name: nights}
spec:
  windows:
    - {entity: "*-b", start: 2026-01-04 01:30:00, duration: 3h, timeZone: Europe/Stockholm, repeat: FREQ=WEEKLY;BYDAY=SU}
"""
    tried = slo(f"{{thresholdMetric: {source('up', 'vmin')}}}", "Occurrences", "{op: gte, value: 1, target: 0.9}", more=more)

    lines = report(client, tried, OCTOBER)

    zone = ZoneInfo("Europe/Stockholm")
    nights = {
        int(
            datetime(2026, 10, day, 1, 30, tzinfo=zone).timestamp(),
        ) + 60 * minute for day in (4, 11, 18, 25) for minute in range(180)
    }
    skip = planned(month)
    skip["link-b"] = skip["link-b"] | nights
    for entity in ("link-a", "link-b"):
        expected = (minutes(month, ["up"], "vmin", OCTOBER, skip)[entity] >= 1)
        assert (lines[entity].good, lines[entity].total) == (expected.sum(), len(expected))


def test_slo_that_nobody_reports_to_has_one_line_without_entity(client: Any) -> None:
    tried = slo(f"{{thresholdMetric: {source('nothing', 'mean')}}}", "Occurrences", "{op: gt, value: 0, target: 0.9}")

    lines = report(client, tried, OCTOBER)

    assert list(lines) == [""]
    assert (lines[""].entity, lines[""].state, lines[""].sli) == (None, "no_data", None)


# Spans


def local(text: str, zone: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp())


@pytest.mark.parametrize(("window", "now", "start", "end"), [
    (TimeWindow(1, "h"), "2026-10-25T03:00:30", "2026-10-25T02:00:00", "2026-10-25T03:00:00"),
    (TimeWindow(28, "d"), "2026-10-29T00:00:00", "2026-10-01T00:00:00", "2026-10-29T00:00:00"),
    (TimeWindow(
        1, "M", False, datetime(2026, 1, 1), "Europe/Stockholm",
    ), "2026-10-25T12:00:00", "2026-10-01T00:00:00", "2026-10-25T12:00:00"),
    (TimeWindow(
        1, "M", False, datetime(2026, 1, 31), "Europe/Stockholm",
    ), "2026-03-01T12:00:00", "2026-02-28T00:00:00", "2026-03-01T12:00:00"),
    (TimeWindow(
        1, "Q", False, datetime(2025, 1, 1), "UTC",
    ), "2026-12-31T23:59:59", "2026-10-01T00:00:00", "2026-12-31T23:59:00"),
    (TimeWindow(
        1, "w", False, datetime(2026, 1, 5, 8), "Asia/Kolkata",
    ), "2026-10-26T07:59:00", "2026-10-19T08:00:00", "2026-10-26T07:59:00"),
    (TimeWindow(
        1, "M", False, datetime(2027, 1, 1), "UTC",
    ), "2026-10-02T00:00:00", "2026-10-01T00:00:00", "2026-10-02T00:00:00"),
])
def test_window_starts_where_the_calendar_says(window: TimeWindow, now: str, start: str, end: str) -> None:
    zone = window.zone if not window.is_rolling else "UTC"

    span = window.span(local(now, zone))

    assert span == Span(local(start, zone), local(end, zone))


def test_october_in_stockholm_has_745_hours() -> None:
    assert month_span("2026-10", "Europe/Stockholm").minutes == 745 * 60


def test_every_moment_lies_in_its_own_period() -> None:
    zone = "America/New_York"
    random = np.random.default_rng(SEED)
    for unit in "mhdwMQY":
        window = TimeWindow(int(random.integers(1, 4)), unit, False, datetime(2024, 2, 29, 2, 30), zone)
        for now in random.integers(local("2019-01-01", zone), local("2032-01-01", zone), 200).tolist():
            period = window.period(now)
            assert period.start_s <= now < period.end_s, f"seed {SEED}, {window}, {now}"
            assert window.period(period.end_s).start_s == period.end_s


# Maintenance


def test_recurring_maintenance_keeps_local_time_over_dst() -> None:
    window = MaintenanceWindow("*", datetime(2026, 10, 18, 22), 7200, "Europe/Stockholm", "FREQ=WEEKLY")

    found = window.intervals(at("2026-10-01"), at("2026-11-02"))

    assert [start for _, start, _ in found] == [at("2026-10-18 20:00"), at("2026-10-25 21:00"), at("2026-11-01 21:00")]


def test_maintenance_that_began_before_the_span_counts() -> None:
    window = MaintenanceWindow("*", datetime(2026, 10, 1, 23), 7200, "UTC", "FREQ=DAILY;COUNT=2")

    assert window.intervals(at("2026-10-02 00:30"), at("2026-10-02 00:40")) == [
        ("*", at("2026-10-01 23:00"), at("2026-10-02 01:00")),
    ]
    assert window.intervals(at("2026-10-03 01:00"), at("2026-10-30")) == []


def test_policy_leaves_out_reasons_that_it_does_not_name() -> None:
    windows = (MaintenanceWindow("*", datetime(2026, 10, 1), 60, reason="emergency"),)

    assert MaintenancePolicy("p", windows=windows).intervals(at("2026-10-01"), at("2026-10-02")) == []
    assert len(
        MaintenancePolicy("p", exclude=("emergency",), windows=windows).intervals(at("2026-10-01"), at("2026-10-02")),
    ) == 1


def test_policy_that_excludes_nothing_lets_planned_maintenance_count() -> None:
    more = "---\n{apiVersion: orbitrack/v1, kind: MaintenancePolicy, metadata: {name: none}, spec: {exclude: []}}"
    indicator = f"{{thresholdMetric: {source('up', 'vmin')}}}"

    assert slo(indicator, "Occurrences", "{op: gte, value: 1, target: 0.9}").exclude == ("planned",)
    assert slo(indicator, "Occurrences", "{op: gte, value: 1, target: 0.9}", more=more).exclude == ()


# States and credits


@pytest.mark.parametrize(("good", "rates", "state"), [
    (1000, {}, "ok"), (995, {}, "ok"), (992, {}, "at_risk"), (990, {}, "at_risk"), (989, {}, "breached"), (0, {}, "breached"),
    (999, {"1h": 800, "5m": 800}, "at_risk"), (999, {"1h": 800}, "ok"), (999, {"3d": 985, "6h": 985}, "at_risk"),
])
def test_state(good: int, rates: dict[str, int], state: str) -> None:
    tried = slo(f"{{thresholdMetric: {source('up', 'vmin')}}}", "Occurrences", "{op: gte, value: 1, target: 0.99}")
    counts = [good, *(rates.get(name, 1000) for name in tried.burn_windows)]
    whole = [1000] * len(counts)

    line = judge(tried, tried.objectives[0], OCTOBER, [Tally("e", counts, whole, whole, [0] * len(counts), whole)])[0]

    assert line.state == state


@pytest.mark.parametrize(("sli", "credit"), [(0.9995, 0), (0.9985, 10), (0.97, 25), (0.3, 100)])
def test_credit_is_that_of_the_first_tier_reached(sli: float, credit: float) -> None:
    tried = slo(
        f"{{thresholdMetric: {source('up', 'vmin')}}}", "Occurrences", "{op: gte, value: 1, target: 0.999}",
        "{orbitrack/credit-tiers: '99:10,95:25,0:100'}",
    )
    counts, whole = [sli * 1e6] * 8, [1e6] * 8

    line = judge(tried, tried.objectives[0], OCTOBER, [Tally("e", counts, whole, [1] * 8, [0] * 8, [1] * 8)])[0]

    assert line.credit == credit


def test_straggler_does_not_make_more_than_everything_good() -> None:
    tried = slo(f"{{thresholdMetric: {source('up', 'vmin')}}}", "Occurrences", "{op: gte, value: 1, target: 0.99}")
    received, sent = [600] * 8, [598] * 8         # two packets fill a gap that was counted before the span

    line = judge(tried, tried.objectives[0], OCTOBER, [Tally("e", received, sent, [1] * 8, [0] * 8, [1] * 8)])[0]

    assert (line.sli, line.budget_remaining, line.burn_rate["1h"], line.state) == (1, 1, 0, "ok")


def test_target_of_an_objective_is_a_fraction_to_the_last_digit() -> None:
    indicator = f"{{thresholdMetric: {source('up', 'vmin')}}}"

    assert slo(
        indicator, "Occurrences", "{op: gte, value: 1, targetPercent: 99.9}",
    ).objectives[0] == Objective("99.9 %", 0.999, "gte", 1)


# The command


KEYS = [
    "slo", "entity", "objective", "from", "to", "target", "sli", "good", "total", "unknown", "maintenance", "budget_remaining",
    "burn_rate", "state", "credit",
]


@pytest.fixture
def run(month_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from streams.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "slo.yaml").write_text("""
apiVersion: openslo/v1
kind: SLO
metadata: {name: links-up}
spec:
  timeWindow: [{duration: 1M, calendar: {startTime: "2026-01-01 00:00:00", timeZone: Europe/Stockholm}}]
  indicator: {
      spec: {thresholdMetric: {metricSource: {type: orbitrack, spec: {metric: up, column: vmin, match: {entity: "link-*"}}}}},
  }
  budgetingMethod: Timeslices
  objectives: [{displayName: up, op: gte, value: 1, target: 0.95, timeSliceTarget: 1, timeSliceWindow: 1m}]
""")
    return lambda *arguments: CliRunner().invoke(main, ["slo", *arguments])


def test_report_as_json_has_the_keys_of_the_contract(run: Any, month_dsn: str) -> None:
    result = run("report", "--file", "slo.yaml", "--month", "2026-10", "--format", "json", "--dsn", month_dsn)

    assert result.exit_code == 0, result.output
    lines = json.loads(result.stdout)
    assert [list(line) for line in lines] == [KEYS] * len(lines)
    assert [line["entity"] for line in lines] == ["link-a", "link-b", "link-c", "link-e", "link-f"]
    assert (lines[0]["from"], lines[0]["to"]) == ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z")
    assert list(lines[0]["burn_rate"]) == ["5m", "30m", "1h", "2h", "6h", "1d", "3d"]


@pytest.mark.parametrize("form", ["table", "csv", "md", "html"])
def test_report_in_every_format_names_every_entity(run: Any, month_dsn: str, form: str, tmp_path: Path) -> None:
    week = ("--from", "2026-10-01", "--to", "2026-10-08")

    result = run("report", "--file", "slo.yaml", *week, "--format", form, "--dsn", month_dsn, "-o", "out")

    assert result.exit_code == 0, result.output
    text = (tmp_path / "out").read_text()
    assert all(entity in text for entity in ("links-up", "link-a", "link-e", "link-f"))
    # What is sent on says which time it is of, in the customer's zone.
    assert ("2026-09-30T22:00:00Z" in text and "2026-10-07T22:00:00Z" in text) == (form != "table")


def test_report_says_where_it_cannot_be_written(run: Any, month_dsn: str) -> None:
    result = run("report", "--file", "slo.yaml", "--month", "2026-10", "--dsn", month_dsn, "-o", "nowhere/out")

    assert result.exit_code == 2
    assert "nowhere/out: cannot be written: No such file or directory" in result.stderr


@pytest.mark.parametrize(("now", "end"), [
    ("2026-09-01 00:00", "2026-11-01 00:00"), ("2026-10-07 10:20:30", "2026-10-07 10:20"),
    ("2026-12-01 00:00", "2026-11-01 00:00"),
])
def test_span_that_is_under_way_ends_now(now: str, end: str) -> None:
    assert so_far(Span(at("2026-10-01"), at("2026-11-01")), at(now)) == Span(at("2026-10-01"), at(end))


@pytest.mark.parametrize(("arguments", "message"), [
    (("--slo", "links-upp"), "there is no SLO 'links-upp'\n  hint: did you mean 'links-up'?"),
    (("--month", "October"), "--month October: is not a month"),
    (("--window", "1 fortnight"), "--window 1 fortnight: '1 fortnight' is not a duration"),
    (("--from", "2026-10-01"), "--from needs --to"),
    (("--window", "1h", "--month", "2026-10"), "--window and --month exclude each other"),
    (("--from", "2026-10-02", "--to", "2026-10-01"), "the span is empty"),
])
def test_wrong_usage_ends_with_2(run: Any, arguments: tuple[str, ...], message: str) -> None:
    result = run("report", "--file", "slo.yaml", *arguments)

    assert result.exit_code == 2
    assert message in result.stderr


def test_database_that_is_away_ends_with_3(run: Any) -> None:
    assert run("report", "--file", "slo.yaml", "--window", "1h", "--dsn", "http://127.0.0.1:9/orbitrack").exit_code == 3


def test_explain_shows_sql_that_the_database_understands(run: Any, client: Any) -> None:
    result = run("explain", "links-up", "--file", "slo.yaml", "--window", "1h")

    assert result.exit_code == 0, result.output
    assert "-- slice = 60" in result.stdout
    assert re.search(r"^-- to = \d{10} \(20\d\d-\d\d-\d\dT\d\d:\d\d:00Z\)$", result.stdout, re.M)
    assert "slice_good / slice_total >= {slice_target:Float64}" in result.stdout
    comments = re.findall(r"^-- (\w+) = (.*?)(?: \(20\S+Z\))?$", result.stdout, re.M)
    sql = "\n".join(line for line in result.stdout.splitlines() if not line.startswith("--")).strip().rstrip(";")
    names, rows = ask_rows(client, sql, {key: ast.literal_eval(value) for key, value in comments if key != "entity"} | {
        key: value for key, value in comments if key == "entity"
    })
    assert names == ["entity", "good", "total", "known", "maintenance"]
    assert [row[0] for row in rows] == ["link-a", "link-b", "link-c", "link-e", "link-f"]


def test_shipped_objectives_answer_without_configuration(run: Any, month_dsn: str) -> None:
    result = run("report", "--window", "1h", "--format", "json", "--dsn", month_dsn)

    assert result.exit_code == 0, result.output
    assert [(line["slo"], line["state"]) for line in json.loads(result.stdout)] == [
        ("satellite-packet-delivery", "no_data"), ("rack-interface-error-free", "no_data"),
    ]
