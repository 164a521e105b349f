"""Anomalies: the mean of the last minutes against what is usual for this entity, in standard deviations of its samples.

    question = compile_anomaly(rule, at_s)       # SQL on the roll-ups
    answer = judge_anomaly(rule, rows)           # rows: (entity, mean, usual, deviation, hours)

Usual is the mean over the `baseline` before, from hourly roll-ups: all hours, or with `season` those within an hour of the
same time of day or week. The deviation is that of single samples, so the mean of several is judged mildly. Until a quarter of
the baseline's hours is there, nothing is unusual.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.rules.columns import BREACH, CLEAR, HOLD, glob_pattern
from streams.rules.polls import Answer
from streams.rules.rule import Anomaly, Rule

__all__ = ["AnomalyQuestion", "compile_anomaly", "judge_anomaly"]

HOUR_S = 3600
HOURS_MIN = 3
# sqrt(sum of squares / n - mean^2) cannot see less than this share of the mean: 53 bits, halved by the root.
DEVIATION_MIN = 1e-7

SQL = """\
SELECT entity, recent.mean AS mean, usual.mean AS usual, usual.deviation AS deviation, usual.hours AS hours
FROM (
    SELECT entity, sum(vsum) / sum(cnt) AS mean
    FROM v_1m
    WHERE metric = {metric:String} AND match(entity, {entity:String}) AND cnt > 0
        AND bucket >= toDateTime({recent:UInt32}, 'UTC') AND bucket < toDateTime({at:UInt32}, 'UTC')
        AND toStartOfHour(bucket) >= toStartOfHour(toDateTime({recent:UInt32}, 'UTC'))
        AND toStartOfHour(bucket) < toDateTime({at:UInt32}, 'UTC')
    GROUP BY entity
) AS recent
INNER JOIN (
    SELECT entity, sum(vsum) / sum(cnt) AS mean, sqrt(greatest(0., sum(vsumsq) / sum(cnt) - mean * mean)) AS deviation,
        toUInt32(count()) AS hours
    FROM v_1h
    WHERE metric = {metric:String} AND match(entity, {entity:String}) AND cnt > 0
        AND bucket >= toDateTime({first:UInt32}, 'UTC') AND bucket < toDateTime({last:UInt32}, 'UTC')
        AND ({season:UInt32} = 0 OR abs(positiveModulo(
            toInt64(toUInt32(bucket)) - {last:UInt32} + intDiv({season:UInt32}, 2), greatest({season:UInt32}, 1)
        ) - intDiv({season:UInt32}, 2)) <= 3600)
    GROUP BY entity
) AS usual ON recent.entity = usual.entity
ORDER BY entity"""


@dataclass(frozen=True)
class AnomalyQuestion:
    sql: str
    parameters: Mapping[str, object]


def compile_anomaly(rule: Rule, at_s: int) -> AnomalyQuestion:
    poll = rule.poll
    assert isinstance(poll, Anomaly)
    recent_s = at_s - poll.window_s
    last_s = recent_s // HOUR_S * HOUR_S                    # whole hours that hold nothing of the window
    return AnomalyQuestion(SQL, {
        "metric": rule.metric, "entity": glob_pattern(rule.entity), "at": at_s, "recent": recent_s, "last": last_s,
        "first": last_s - poll.baseline_s, "season": poll.season_s,
    })


def hours_needed(poll: Anomaly) -> int:
    """A quarter of those that a complete baseline has: three in each season."""
    seasons = poll.baseline_s / (poll.season_s or HOUR_S)
    return max(HOURS_MIN, int(seasons * (3 if poll.season_s else 1)) // 4)


def judge_anomaly(rule: Rule, rows: Iterable[Sequence[Any]]) -> Answer:
    """The value is the mean of the last minutes, in the metric's unit."""
    poll = rule.poll
    assert isinstance(poll, Anomaly)
    answer, needed = Answer(rule.name), hours_needed(poll)
    for entity, mean, usual, deviation, hours in rows:
        if mean is None or usual is None:                   # a sum that is no number comes as null
            continue
        difference = abs(mean - usual) if poll.op == "!=" else (mean - usual) * (1 if poll.op == ">" else -1)
        unit = max(deviation or 0.0, DEVIATION_MIN * abs(usual))
        if hours >= needed and difference > poll.deviations * unit and difference > poll.least:
            verdict = BREACH
        else:
            verdict = CLEAR if difference <= poll.resolve * unit or difference <= poll.least else HOLD
        answer.add(entity, float(mean), verdict)
    return answer
