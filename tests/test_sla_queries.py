"""Every named query against an independent calculation on a seeded month; see sla_month.py and sla_oracle.py.

    ORBITRACK_SEED=7 python -m pytest tests/test_sla_queries.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from streams.clickhouse.ask import ask_rows
from streams.clickhouse.client import connect
from streams.clickhouse.queries import catalogue, named
from streams.clickhouse.views import view_arguments, view_name
from streams.errors import UsageError
from tests.sla_month import END, FIRST, SEED, Month
from tests.sla_oracle import Oracle

STOCKHOLM = "Europe/Stockholm"
OCTOBER = {"from": "2026-10-01", "to": "2026-11-01"}
SHORT = {"from": "2026-10-03T05:30:40", "to": "2026-10-09T12:07:00"}           # neither on days, one not on a minute
# Percentiles come from sketches: 1 % of the value.
SKETCHED = ("p50", "p95", "p99")


@pytest.fixture(scope="module")
def client(month_dsn: str) -> Iterator[Any]:
    with connect(month_dsn) as client:
        yield client


def seconds(text: str, zone: str) -> int:
    time = datetime.fromisoformat(text)
    since = int((time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone))).timestamp())
    return since - since % 60


def compare(
    client: Any, month: Month, query: str, arguments: dict[str, str], may_be_empty: bool = False, **options: Any
) -> list[dict[str, Any]]:
    """Ask the query, compute it anew, compare; returns what the database answered."""
    bound = named(query).bind(arguments)
    names, rows = ask_rows(client, bound.sql, bound.parameters)
    found = [dict(zip(names, row, strict=True)) for row in rows]
    zone = arguments.get("zone", "UTC")
    end = seconds(arguments.get("at") or arguments["to"], zone)
    start = seconds(arguments["from"], zone) if "from" in arguments else end
    only = {key: arguments[key] for key in ("entity", "kind", "site", "customer") if key in arguments}
    exclude = tuple(filter(None, arguments.get("exclude", "planned").split(",")))
    oracle = Oracle(month, start, end, zone, only, exclude)
    expected = getattr(oracle, query)(**options)
    assert expected or may_be_empty, "nothing to compare"
    assert len(found) == len(expected), (found[:3], expected[:3])
    for got, want in zip(found, expected, strict=True):
        for name, value in want.items():
            assert alike(name, got[name], value), f"{query}: {name}: {got[name]!r} is not {value!r} in {got}, expected {want}"
    columns = {*named(query).columns, *(key for key in named(query).keys if key != "by")}
    assert all(columns <= row.keys() for row in found)
    return found


def alike(name: str, got: Any, want: Any) -> bool:
    if want is None or isinstance(want, bool):
        return got is want
    if isinstance(got, str) and not isinstance(want, str):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.0{9})?Z", got), f"{name}: {got} is no RFC 3339 time"
        got = datetime.fromisoformat(got).astimezone(UTC).timestamp()
    if isinstance(want, str):
        return bool(got == want)
    return bool(got == pytest.approx(want, rel=0.0101 if name in SKETCHED else 1e-9, abs=1e-9))


def test_there_are_23() -> None:
    assert len(catalogue()) == 23


# Availability and outages

@pytest.mark.parametrize("arguments", [
    OCTOBER, SHORT, {**OCTOBER, "zone": STOCKHOLM}, {**OCTOBER, "exclude": ""}, {**OCTOBER, "exclude": "planned,emergency"},
    {**OCTOBER, "entity": "link-*"}, {**OCTOBER, "entity": "link-a"}, {**OCTOBER, "kind": "*link"},
    {**OCTOBER, "site": "kiruna"}, {**OCTOBER, "customer": "acme", "kind": "link"},
    {"from": "2026-10-05T12:00:00Z", "to": "2026-10-05T12:01:00Z"},
])
def test_availability(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "availability", arguments)


def test_entity_without_data_has_null_availability(client: Any, month: Month) -> None:
    found = {row["entity"]: row for row in compare(client, month, "availability", OCTOBER)}

    for entity in ("link-d", "link-f"):
        assert found[entity]["up_minutes"] == found[entity]["down_minutes"] == 0
        assert found[entity]["availability_strict_pct"] is found[entity]["availability_observed_pct"] is None
    assert found["link-d"]["unknown_minutes"] == 31 * 1440 - 1440          # a day of maintenance


def test_october_in_stockholm_has_745_hours(client: Any, month: Month) -> None:
    arguments = {"month": "2026-10", "zone": STOCKHOLM}
    bound = named("calendar_month").bind(arguments)
    names, rows = ask_rows(client, bound.sql, bound.parameters)
    start, end = seconds("2026-10-01", STOCKHOLM), seconds("2026-11-01", STOCKHOLM)

    expected = Oracle(month, start, end, STOCKHOLM).calendar_month()

    assert [row[names.index("hours")] for row in rows] == [745] * len(expected)
    for row, want in zip(rows, expected, strict=True):
        for name, value in zip(names, row, strict=True):
            assert alike(name, value, want[name])


@pytest.mark.parametrize("need", [1, 2])
@pytest.mark.parametrize("arguments", [OCTOBER, {**SHORT, "customer": "acme"}])
def test_site_availability(client: Any, month: Month, arguments: dict[str, str], need: int) -> None:
    compare(client, month, "site_availability", {**arguments, "need": str(need)}, need=need)


@pytest.mark.parametrize("query", ["outages", "mttr_mtbf"])
@pytest.mark.parametrize(("arguments", "options"), [
    (OCTOBER, {}), ({**OCTOBER, "merge_minutes": "2"}, {"merge_minutes": 2}), (
        {**OCTOBER, "min_seconds": "1800"}, {"min_seconds": 1800},
    ),
    ({**OCTOBER, "exclude": ""}, {}), (
        {**SHORT, "merge_minutes": "30", "min_seconds": "61"}, {"merge_minutes": 30, "min_seconds": 61},
    ),
])
def test_outages(client: Any, month: Month, query: str, arguments: dict[str, str], options: dict[str, int]) -> None:
    compare(client, month, query, arguments, **options)


def test_entity_without_outage_has_0_failures_and_nulls(client: Any, month: Month) -> None:
    found = compare(client, month, "mttr_mtbf", {**OCTOBER, "min_seconds": "86400"}, min_seconds=86_400)

    assert {"entity": "link-b", "failures": 0, "mttr_minutes": None, "longest_minutes": None, "mtbf_hours": None} in found


@pytest.mark.parametrize("tiers", ["99.9:0,99:10,95:25,0:100", "99:5,90:7.5"])
def test_credits(client: Any, month: Month, tiers: str) -> None:
    found = compare(client, month, "credits", {**OCTOBER, "tiers": tiers}, tiers=tiers)

    assert {row["entity"]: row["credit_pct"] for row in found}["link-b"] == 0          # promised 80 %


# Ratios and budgets

@pytest.mark.parametrize("arguments", [OCTOBER, {**SHORT, "zone": STOCKHOLM}, {**OCTOBER, "site": "svalbard"}])
def test_latency_percentiles(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "latency_percentiles", arguments)


@pytest.mark.parametrize("arguments", [OCTOBER, {**OCTOBER, "zone": STOCKHOLM}, {**SHORT, "entity": "*-[ce]"}, SHORT])
def test_loss(client: Any, month: Month, arguments: dict[str, str]) -> None:
    if "entity" in arguments:
        bound = named("loss").bind(arguments)
        assert ask_rows(client, bound.sql, bound.parameters)[1] == [], "only * is special in a glob"
        return
    found = {row["entity"]: row for row in compare(client, month, "loss", arguments)}

    assert found["link-e"]["loss_ratio"] is found["link-e"]["worst_day"] is None


@pytest.mark.parametrize("objective", ["0.95", "1"])
def test_error_budget(client: Any, month: Month, objective: str) -> None:
    arguments = {**OCTOBER, "metric": "latency_ms", "objective": objective}
    compare(client, month, "error_budget", arguments, metric="latency_ms", objective=float(objective))


@pytest.mark.parametrize("objective", ["0.99", "0.6", "1"])
@pytest.mark.parametrize("at", ["2026-10-31T12:00:00Z", "2026-11-04T06:00:00Z", "2026-10-02"])
def test_burn_rate(client: Any, month: Month, at: str, objective: str) -> None:
    arguments = {"at": at, "metric": "latency_ms", "objective": objective, "zone": STOCKHOLM}
    compare(client, month, "burn_rate", arguments, metric="latency_ms", objective=float(objective))


@pytest.mark.parametrize("period", ["day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", STOCKHOLM])
def test_worst(client: Any, month: Month, period: str, zone: str) -> None:
    arguments = {**OCTOBER, "metric": "latency_ms", "n": "2", "period": period, "zone": zone}
    compare(client, month, "worst", arguments, metric="latency_ms", n=2, period=period)


@pytest.mark.parametrize("days", [1, 7, 30])
@pytest.mark.parametrize("arguments", [OCTOBER, {**SHORT, "zone": STOCKHOLM}])
def test_rolling_compliance(client: Any, month: Month, arguments: dict[str, str], days: int) -> None:
    arguments = {**arguments, "metric": "latency_ms", "days": str(days)}
    compare(client, month, "rolling_compliance", arguments, metric="latency_ms", days=days)


# Completeness and silence

@pytest.mark.parametrize("arguments", [OCTOBER, {**OCTOBER, "zone": STOCKHOLM}, SHORT, {**OCTOBER, "kind": "link"}])
def test_completeness(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "completeness", arguments)


def test_day_that_dst_lengthens_expects_25_hours(client: Any, month: Month) -> None:
    found = compare(client, month, "completeness", {**OCTOBER, "zone": STOCKHOLM, "per_minute": "0.5"}, per_minute=0.5)

    assert {row["day"]: row["expected"] for row in found}["2026-10-25"] == 750


@pytest.mark.parametrize("at", ["2026-10-08T12:00:00Z", "2026-11-02T00:02:00Z", "2026-11-02T00:04:00Z", "2026-10-30T12:00:00Z"])
@pytest.mark.parametrize("minutes", [0, 3])
def test_silent_entities(client: Any, month: Month, at: str, minutes: int) -> None:
    compare(client, month, "silent_entities", {"at": at, "minutes": str(minutes)}, minutes=minutes)


# Racks

@pytest.mark.parametrize("arguments", [OCTOBER, {**OCTOBER, "zone": STOCKHOLM}, {**OCTOBER, "kind": "rack"}])
def test_pue(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "pue", arguments)


@pytest.mark.parametrize(("limit", "min_minutes"), [(27, 1), (26.5, 5), (90, 1)])
def test_thermal_excursions(client: Any, month: Month, limit: float, min_minutes: int) -> None:
    arguments = {**OCTOBER, "limit": str(limit), "min_minutes": str(min_minutes)}
    compare(client, month, "thermal_excursions", arguments, limit=limit, min_minutes=min_minutes)


def test_interface_utilisation(client: Any, month: Month) -> None:
    compare(client, month, "interface_utilisation", {"from": "2026-10-01", "to": "2026-10-04"})


@pytest.mark.parametrize("arguments", [
    {"from": "2026-10-01", "to": "2026-11-01", "zone": STOCKHOLM}, {
        "from": "2026-10-01T00:02:00Z", "to": "2026-10-01T23:59:00Z",
    },
])
def test_billing_95th(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "billing_95th", arguments)


# Contacts

@pytest.mark.parametrize("query", ["link_margin", "contact_availability"])
@pytest.mark.parametrize(
    "arguments", [OCTOBER, {**SHORT, "site": "kiruna"}, {**OCTOBER, "customer": "acme"}, {**OCTOBER, "entity": "sat-2"}],
)
def test_contacts(client: Any, month: Month, query: str, arguments: dict[str, str]) -> None:
    compare(client, month, query, arguments)


def test_contact_without_windows_has_0_samples_and_nulls(client: Any, month: Month) -> None:
    found = {row["id"]: row for row in compare(client, month, "link_margin", OCTOBER)}

    for contact in (900, 901):
        assert found[contact]["samples"] == 0
        assert [found[contact][name] for name in ("min", "avg", "worst_margin_db", "seconds_below")] == [None] * 4


# Flows and losses

@pytest.mark.parametrize(("by", "n", "step"), [
    ("src_as", 10, "1h"), ("src_as", 3, "1d"), ("src_addr,protocol", 5, "30m"), ("src_as,exporter", 50, "6h"),
])
def test_traffic(client: Any, month: Month, by: str, n: int, step: str) -> None:
    arguments = {"from": "2026-10-01", "to": "2026-10-03", "by": by, "n": str(n), "step": step, "zone": "UTC"}
    seconds_of = {"1h": 3600, "30m": 1800, "6h": 21_600, "1d": 86_400}
    bound = named("traffic").bind(arguments)
    names, rows = ask_rows(client, bound.sql, bound.parameters)
    oracle = Oracle(month, seconds("2026-10-01", "UTC"), seconds("2026-10-03", "UTC"))
    expected = oracle.traffic(by, n, seconds_of[step])
    assert len(rows) == len(expected)
    keys = ["step", *by.split(",")]
    wanted = {tuple(step_text(row["step"]) if key == "step" else row[key] for key in keys): row for row in expected}
    for row in (dict(zip(names, values, strict=True)) for values in rows):
        want = wanted[tuple(row[key] for key in keys)]
        assert all(row[name] == want[name] for name in ("bytes", "packets", "flows", "unknown_sampling_bytes"))
    if "addr" not in by:
        assert [row[0] for row in rows] == [step_text(row["step"]) for row in expected]


def step_text(step: int | str) -> str:
    return f"{step}T00:00:00Z" if isinstance(step, str) else datetime.fromtimestamp(step, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_daily_steps_are_local_days(client: Any, month: Month) -> None:
    bound = named("traffic").bind({"from": "2026-10-01", "to": "2026-10-03", "step": "1d", "zone": STOCKHOLM})
    names, rows = ask_rows(client, bound.sql, bound.parameters)

    assert {row[0] for row in rows} == {"2026-09-30T22:00:00Z", "2026-10-01T22:00:00Z"}
    flows = Oracle(month, seconds("2026-10-01", STOCKHOLM), seconds("2026-10-03", STOCKHOLM)).span_flows()
    assert sum(row[names.index("flows")] for row in rows) <= len(flows)


@pytest.mark.parametrize(("by", "n"), [("src_addr,dst_addr", 10), ("protocol", 1), ("exporter", 5)])
@pytest.mark.parametrize("only", [{}, {"site": "kiruna"}])
def test_top_talkers(client: Any, month: Month, by: str, n: int, only: dict[str, str]) -> None:
    arguments = {"from": "2026-10-01", "to": "2026-10-02", "by": by, "n": str(n), **only}
    compare(client, month, "top_talkers", arguments, by=by, n=n)


@pytest.mark.parametrize("arguments", [{"from": "2026-10-01", "to": "2026-10-02"}, {
    "from": "2026-10-01T06:00:00Z", "to": "2026-10-01T12:00:00Z", "entity": "10.*",
}])
def test_data_loss(client: Any, month: Month, arguments: dict[str, str]) -> None:
    compare(client, month, "data_loss", arguments)


# Anything at all

ZONES = ("UTC", STOCKHOLM, "America/New_York", "Asia/Kolkata", "Pacific/Chatham")       # the last two: 5.5 h, 12.75 h
GLOBS = ({}, {}, {"entity": "*-a"}, {"kind": "r*"}, {"site": "s*"}, {"customer": "acme"}, {"site": "kiruna", "kind": "*k*"})
NEEDED = {"metric": "latency_ms", "objective": "0.95"}
VIEWED = {**NEEDED, "from": "2026-10-01 10:00:00", "to": "2026-10-20 07:30:00", "at": "2026-10-20 07:30:00"}


@pytest.mark.parametrize("name", sorted(catalogue().keys() - {"calendar_month", "traffic", "interface_utilisation"}))
def test_random_questions(client: Any, month: Month, name: str) -> None:
    random = np.random.default_rng([SEED, *name.encode()])
    query = named(name)
    for _ in range(3):
        start, end = sorted(random.integers(FIRST, END, 2).tolist())
        span = {"at": stamp(end)} if query.span == "at" else {"from": stamp(start), "to": stamp(end + 120)}
        own = {key: value for key, value in NEEDED.items() if key in query.parameters and query.parameters[key].required}
        options: dict[str, Any] = {key: float(value) if key == "objective" else value for key, value in own.items()}
        zone = str(random.choice(ZONES))
        arguments = {**span, **own, **GLOBS[random.integers(len(GLOBS))], "zone": zone}
        print(f"ORBITRACK_SEED={SEED} {name} {arguments}")
        compare(client, month, name, arguments, may_be_empty=True, **options)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_view_says_what_its_query_says(client: Any, name: str) -> None:
    query = named(name)
    bound = query.bind({argument: VIEWED[argument] for argument in view_arguments(query)})
    given = ", ".join(f"{argument} = '{VIEWED[argument]}'" for argument in view_arguments(query))

    names, rows = ask_rows(client, f"SELECT * FROM {view_name(query)}({given})")
    columns, expected = ask_rows(client, bound.sql, bound.parameters)

    assert names == columns
    assert rows
    keys = [names.index(key) for key in query.keys if key != "by"]
    by_key = [sorted(found, key=lambda row: ([str(row[key]) for key in keys], str(row))) for found in (rows, expected)]
    for got, want in zip(*by_key, strict=True):
        for name, one, other in zip(names, got, want, strict=True):
            assert one == (pytest.approx(other, rel=1e-9) if isinstance(other, float) else other), name


def stamp(since: int) -> str:
    return datetime.fromtimestamp(since, UTC).isoformat()


# What is refused

@pytest.mark.parametrize(("query", "arguments", "message"), [
    ("availabilty", {}, "there is no query 'availabilty'\n  hint: did you mean 'availability'?"),
    ("availability", {"from": "2026-10-01"}, "availability needs the parameter 'to'\n  hint: --param to=2026-11-01"),
    ("availability", {**OCTOBER, "exlude": ""}, "availability has no parameter 'exlude'\n  hint: did you mean 'exclude'?"),
    ("loss", {**OCTOBER, "exclude": ""}, "loss has no parameter 'exclude'"),
    ("loss", {**OCTOBER, "zone": "Stockholm"}, "--param zone=Stockholm: is not a time zone"),
    ("loss", {"from": "2026-10-01", "to": "2026-10-01"}, "loss: the span is empty"),
    ("loss", {"from": "yesterday", "to": "2026-10-01"}, "--param from=yesterday: 'yesterday' is not a time"),
    ("loss", {"from": "1960-01-01", "to": "2026-10-01"}, "--param from=1960-01-01: is outside 1970 to 2106"),
    ("error_budget", {
        **OCTOBER, "metric": "m", "objective": "99.9",
    }, "--param objective=99.9: is not a fraction\n  hint: 0..1"),
    ("error_budget", OCTOBER, "error_budget needs the parameter 'metric'"),
    ("worst", {
        **OCTOBER, "metric": "m", "period": "weak",
    }, "--param period=weak: is none of day week month\n  hint: did you mean 'week'?"),
    ("traffic", {**OCTOBER, "by": "src_as; DROP TABLE flows"}, "--param by=src_as; DROP TABLE flows: flows have no field"),
    ("traffic", {**OCTOBER, "step": "10s"}, "--param step=10s: is not a whole number of minutes"),
    ("credits", {**OCTOBER, "tiers": "99"}, "--param tiers=99: are not credit tiers"),
    ("calendar_month", {"month": "2026-13"}, "--param month=2026-13: is not a month"),
    ("calendar_month", {"month": "9999-12"}, "--param month=9999-12: is not a month from 1970 to 2105"),
    ("calendar_month", {"month": "2026-10", **OCTOBER}, "calendar_month: 'from' and 'month' exclude each other"),
    ("burn_rate", {**OCTOBER, "metric": "m", "objective": "0.9"}, "burn_rate has no parameter 'from'"),
])
def test_wrong_arguments_are_named(query: str, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        named(query).bind(arguments)

    assert message in str(error.value)


def test_text_of_a_parameter_never_becomes_sql(client: Any) -> None:
    for text in ("x' OR 1 = 1 --", "\\", "a\tb\n'", "{from:String}", "*'*"):
        bound = named("availability").bind({**OCTOBER, "entity": text})
        assert ask_rows(client, bound.sql, bound.parameters)[1] == []
