"""What rules ask of the real database, on the seeded month, compared with pandas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.polls import ask_polls
from streams.rules import Rule, bind
from streams.rules.anomaly import compile_anomaly
from streams.rules.columns import BREACH, CLEAR
from streams.rules.rule import Anomaly, Levels, Pair
from streams.slo import parse
from tests.sla_month import Month, at, load

LATENCY = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: latency, annotations: {orbitrack/credit-tiers: "99:10,80:25,0:100"}}
spec:
  indicator: {spec: {ratioMetric: {
    good: {metricSource: {type: orbitrack, spec: {metric: latency_ms, column: good, match: {entity: "link-*"}}}},
    total: {metricSource: {type: orbitrack, spec: {metric: latency_ms, column: cnt, match: {entity: "link-*"}}}}}}}
  timeWindow: [{duration: 1M, calendar: {startTime: 2026-01-01, timeZone: Europe/Stockholm}}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.9}]
"""


@pytest.fixture(scope="module")
def client(database_server: str, month: Month) -> Iterator[Any]:
    dsn = f"{database_server}/polls_month"
    load(month, dsn)
    with connect(dsn) as client:
        # Hours from minutes, revisions resolved: what the store's roll-ups would be.
        client.command(
            "INSERT INTO windows_1h (bucket, entity, metric, rev, cnt, vsum, vsumsq)"
            " SELECT toStartOfHour(bucket), entity, metric, max(rev), sum(cnt), sum(vsum), sum(vsum * vsum / cnt)"
            " FROM v_1m WHERE metric = 'latency_ms' GROUP BY ALL"
        )
        yield client


def own(month: Month, metric: str) -> Any:
    table = month.windows["1m"]
    return table[table["metric"] == metric]


@pytest.mark.parametrize("now", ["2026-10-20 12:00", "2026-10-25 01:30", "2026-11-01 18:07"])
def test_burn_rates_are_those_of_pandas(client: Any, month: Month, now: str) -> None:
    pairs = (Pair("6h", "1h", 1.0), Pair("3d", "6h", 1.5))
    (rule,) = bind([Rule("Burn", "burn_rate", "burn_rate", poll=Levels("burn_rate", pairs=pairs))], parse([("s", LATENCY)]))
    at_s = at(now)

    (answer,), problems = ask_polls(client, [rule], at_s)

    planned = month.maintenance.query("cancelled == 0 and reason == 'planned' and start < end")
    expected = {}
    for entity, part in own(month, "latency_ms").groupby("entity"):
        kept = planned[planned["entity"] == entity].itertuples()
        idle = {minute for row in kept for minute in range(row.start // 60 * 60, row.end, 60)}
        part = part[~part["bucket"].isin(idle)]

        def rate(seconds: int, part: Any = part) -> float | None:
            inside = part[(part["bucket"] >= at_s - seconds) & (part["bucket"] < at_s)]
            return (inside["cnt"].sum() - inside["good"].sum()) / inside["cnt"].sum() / 0.1 if len(inside) else None

        rates = {seconds: rate(seconds) for seconds in (3600, 21_600, 259_200)}
        if any(each is not None for each in rates.values()):
            expected[entity] = rates
    assert problems == {}
    assert set(answer.entities) == set(expected)
    for entity, value, verdict in zip(answer.entities, answer.values, answer.verdicts, strict=True):
        hour, six, days = expected[entity].values()
        pairs_of = (((six, hour), 1.0), ((days, six), 1.5))
        exceeded = [[each is not None and each > limit for each in windows] for windows, limit in pairs_of]
        assert (verdict == BREACH) == any(all(each) for each in exceeded)
        told = six if all(exceeded[0]) or verdict == CLEAR or not all(exceeded[1]) else days
        assert value == (None if told is None else pytest.approx(told, rel=1e-9))


def test_rules_on_one_objective_share_their_question(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from streams.clickhouse import polls

    asked = []
    monkeypatch.setattr(polls, "ask_rows", lambda client, sql, parameters: asked.append(sql) or ([], []))
    pairs = (Pair("6h", "1h", 1.0),)
    rules = [Rule(name, "burn_rate", "burn_rate", poll=Levels("burn_rate", pairs=pairs)) for name in "AB"]
    rules.append(Rule("C", "credit", "credit", value=0.0, poll=Levels("credit")))

    answers, _ = ask_polls(client, bind(rules, parse([("s", LATENCY)])), at("2026-10-20"))

    assert ([answer.rule for answer in answers], len(asked)) == (["A:latency", "B:latency", "C:latency"], 2)


@pytest.mark.parametrize(("season", "baseline_d"), [(0, 7), (86_400, 14), (604_800, 21)])
def test_usual_mean_and_deviation_are_those_of_pandas(client: Any, month: Month, season: int, baseline_d: int) -> None:
    rule = Rule("Odd", "anomaly", "latency_ms", entity="link-*", poll=Anomaly(3, 3, "!=", 3600, baseline_d * 86_400, season))
    at_s = at("2026-10-21 12:34")

    question = compile_anomaly(rule, at_s)
    rows = {row[0]: row[1:] for row in client.query(question.sql, parameters=dict(question.parameters)).result_rows}

    last = (at_s - 3600) // 3600 * 3600
    table = own(month, "latency_ms").assign(hour=lambda frame: frame["bucket"] // 3600 * 3600)
    for entity, part in table.groupby("entity"):
        recent = part[(part["bucket"] >= at_s - 3600) & (part["bucket"] < at_s)]
        before = part[(part["hour"] >= last - baseline_d * 86_400) & (part["hour"] < last)]
        if season:
            distance = (before["hour"] - last + season // 2) % season - season // 2
            before = before[distance.abs() <= 3600]
        if not len(recent) or not len(before):
            assert entity not in rows
            continue
        count = before["cnt"].sum()
        usual = before["vsum"].sum() / count
        deviation = np.sqrt((before["vsum"] ** 2 / before["cnt"]).sum() / count - usual**2)
        expected = (recent["vsum"].sum() / recent["cnt"].sum(), usual, deviation, before["hour"].nunique())
        assert rows[entity] == pytest.approx(expected, rel=1e-9)
    assert {"link-a", "link-e"} <= rows.keys()


def test_refusal_of_one_question_spares_the_others(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.rules.anomaly.SQL", "SELECT nothing")
    pairs = (Pair("1h", "5m", 1.0),)
    (rule,) = bind([Rule("Burn", "burn_rate", "m", poll=Levels("burn_rate", pairs=pairs))], parse([("s", LATENCY)]))
    odd = Rule("Odd", "anomaly", "latency_ms", poll=Anomaly(3, 3))

    answers, problems = ask_polls(client, [odd, rule], at("2026-10-20"))

    assert [answer.rule for answer in answers] == ["Burn:latency"]
    assert "the database refused" in problems["Odd"]
