"""An objective as one SQL query on the minute windows.

    question = compile_objective(slo, objective, span)
    question.sql, question.parameters            # {name:Type} placeholders, bound by the server
    tallies = question.tallies(rows)             # rows: (entity, good[], total[], known[], maintenance[])

How it counts. Every minute window gives `good` and `total`; a threshold gives 1 of 1 or 0 of 1. Minutes under
maintenance are left out first. Minutes are gathered in slices (of one minute for Occurrences) that are counted from the
span's start. Then, for the span and for every burn window before its end:

    Occurrences      sum good / sum total
    Timeslices       slices with good / total >= timeSliceTarget, of the slices with data
    RatioTimeslices  mean of good / total over the slices with data

A slice has data if its total is above 0. Entities: all selected ones that ever reported one of the metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.slo.objects import Objective, Selector, Slo, Source
from streams.slo.report import Tally
from streams.slo.spans import Span

__all__ = ["ADDITIVE_COLUMNS", "RATIO_COLUMNS", "VALUE_COLUMNS", "Question", "compile_objective", "glob_pattern"]

# Column of a source -> SQL on one row of v_1m.
EXPRESSIONS = {
    "cnt": "cnt", "good": "good", "bad": "cnt - good", "vsum": "vsum", "increase": "increase", "expected": "expected",
    "resets": "resets", "mean": "vsum / cnt", "vmin": "vmin", "vmax": "vmax", "vfirst": "vfirst", "vlast": "vlast",
    "good_ratio": "good / cnt", "p50": "sk_quantile(sk, 0.5)", "p95": "sk_quantile(sk, 0.95)", "p99": "sk_quantile(sk, 0.99)",
}
ADDITIVE_COLUMNS = ("cnt", "good", "bad", "vsum", "increase", "expected", "resets")
RATIO_COLUMNS = ADDITIVE_COLUMNS
VALUE_COLUMNS = tuple(EXPRESSIONS)
OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


@dataclass(frozen=True)
class Question:
    """SQL with its parameters. `slices` are there for the span and each burn window, maintenance or not."""

    sql: str
    parameters: Mapping[str, object]
    slices: tuple[int, ...]

    def tallies(self, rows: Iterable[Sequence[Any]]) -> list[Tally]:
        return [Tally(entity, good, total, known, idle, self.slices) for entity, good, total, known, idle in rows]


def compile_objective(slo: Slo, objective: Objective, span: Span, *, is_clipped: bool = False) -> Question:
    """The question for one objective over `span`; burn windows end with it.

    `is_clipped`: nothing before the span is read, for those who only want burn windows that fit into it.
    """
    slice_s = objective.slice_s
    starts = [span.start_s, *(span.end_s - length_s for length_s in slo.burn_windows.values())]
    if is_clipped:
        starts = [max(start, span.start_s) for start in starts]
    # Burn windows before the span start lie on the span's slice grid too.
    first_s = min(span.start_s - -(-(span.start_s - start) // slice_s) * slice_s for start in starts)
    last = -(-(span.end_s - span.start_s) // slice_s)
    slices = tuple(max(0, last - -(-(start - span.start_s) // slice_s)) for start in starts)
    intervals = [interval for policy in slo.maintenance for interval in policy.intervals(first_s, span.end_s)]
    good, total = minute_counts(slo, objective)
    indicator = slo.indicator
    parameters: dict[str, object] = {
        "from": span.start_s, "to": span.end_s, "first": first_s, "starts": starts, "slice": slice_s,
        "metrics": list(indicator.metrics), "exclude": list(slo.exclude), **selector_parameters(indicator.selector),
    }
    agreed = ""
    if intervals:
        agreed = AGREED
        parameters |= {
            "agreed_entity": [glob_pattern(entity) for entity, _, _ in intervals],
            "agreed_start": [start for _, start, _ in intervals], "agreed_end": [end for _, _, end in intervals],
        }
    if objective.value is not None:
        parameters["value"] = objective.value
    if objective.slice_target is not None:
        parameters["slice_target"] = objective.slice_target
    sql = TEMPLATE.format(
        selected=selector_condition(indicator.selector), agreed=agreed, good=good, total=total, counted=counted(slo),
    )
    return Question(sql, parameters, slices)


def minute_counts(slo: Slo, objective: Objective) -> tuple[str, str]:
    """SQL of `good` and `total` of one entity and minute, over its rows."""
    indicator = slo.indicator
    if indicator.raw_type:
        return ("sum(vsum)" if indicator.raw_type == "success" else "sum(cnt - vsum)"), "toFloat64(sum(cnt))"
    if indicator.value:
        assert objective.op, "a threshold metric without op"
        return f"toFloat64(sum({EXPRESSIONS[indicator.value.column]}) {OPERATORS[objective.op]} {{value:Float64}})", "1."
    assert indicator.total, "a ratio without total"
    total = summed(indicator.total)
    return (summed(indicator.good) if indicator.good else f"{total} - {summed(indicator.bad)}"), total


def summed(source: Source | None) -> str:
    assert source, "a ratio without good or bad"
    metrics = ", ".join(quoted(metric) for metric in source.metrics)
    return f"toFloat64(sumIf({EXPRESSIONS[source.column]}, metric IN ({metrics})))"


def quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def counted(slo: Slo) -> str:
    """SQL of good and total of one slice with data."""
    return {
        "Occurrences": "slice_good AS good, slice_total AS total",
        "Timeslices": "toFloat64(slice_good / slice_total >= {slice_target:Float64}) AS good, 1. AS total",
        "RatioTimeslices": "slice_good / slice_total AS good, 1. AS total",
    }[slo.method]


def glob_pattern(glob: str) -> str:
    """A glob in which only `*` is special, as a regular expression (RE2, and Python's) for the whole text."""
    return "(?s)^" + ".*".join(re.escape(part) for part in glob.split("*")) + "$"


def selector_condition(selector: Selector) -> str:
    """SQL on a column `entity`."""
    through = [f"match({key}, {{{key}:String}})" for key in ("kind", "site", "customer") if getattr(selector, key) is not None]
    conditions = ["match(entity, {entity:String})"] if selector.entity is not None else []
    if through:
        conditions.append(f"entity IN (SELECT entity FROM entities FINAL WHERE {' AND '.join(through)})")
    return " AND ".join(conditions) or "true"


def selector_parameters(selector: Selector) -> dict[str, object]:
    return {key: glob_pattern(value) for key, value in vars(selector).items() if value is not None}


AGREED = """
        UNION ALL
        SELECT r.entity AS entity, agreed.2 AS start, agreed.3 AS end
        FROM reporting AS r
        ARRAY JOIN arrayZip({agreed_entity:Array(String)}, {agreed_start:Array(UInt32)}, {agreed_end:Array(UInt32)}) AS agreed
        WHERE match(r.entity, agreed.1)"""

TEMPLATE = """\
WITH
reporting AS (
    SELECT DISTINCT entity
    FROM (
        SELECT entity, metric FROM windows_1m
        UNION ALL
        SELECT entity, metric FROM windows_1d
    )
    WHERE metric IN {{metrics:Array(String)}} AND {selected}
),
maintenance_minutes AS (
    SELECT DISTINCT entity, arrayJoin(range(
        greatest(intDiv(start, 60) * 60, {{first:UInt32}}), least(end, {{to:UInt32}}), 60
    )) AS minute
    FROM (
        SELECT entity, toUInt32(start) AS start, toUInt32(end) AS end
        FROM maintenance FINAL
        WHERE cancelled = 0 AND has({{exclude:Array(String)}}, reason) AND entity IN (SELECT entity FROM reporting){agreed}
    )
    WHERE start < end AND start < {{to:UInt32}} AND end > {{first:UInt32}}
),
minutes AS (
    SELECT entity, toUInt32(bucket) AS minute, {good} AS minute_good, {total} AS minute_total
    FROM v_1m
    WHERE metric IN {{metrics:Array(String)}} AND {selected}
        AND bucket >= toDateTime({{first:UInt32}}, 'UTC') AND bucket < toDateTime({{to:UInt32}}, 'UTC')
        AND toStartOfHour(bucket) >= toStartOfHour(toDateTime({{first:UInt32}}, 'UTC'))
        AND toStartOfHour(bucket) < toDateTime({{to:UInt32}}, 'UTC')
        AND (entity, toUInt32(bucket)) NOT IN (SELECT entity, minute FROM maintenance_minutes)
    GROUP BY entity, bucket
),
slices AS (
    SELECT entity, {{first:UInt32}} + intDiv(minute - {{first:UInt32}}, {{slice:UInt32}}) * {{slice:UInt32}} AS slice,
        sum(minute_good) AS slice_good, sum(minute_total) AS slice_total
    FROM minutes
    GROUP BY entity, slice
    HAVING slice_total > 0
),
idle_slices AS (
    SELECT entity, {{first:UInt32}} + intDiv(minute - {{first:UInt32}}, {{slice:UInt32}}) * {{slice:UInt32}} AS slice
    FROM maintenance_minutes
    GROUP BY entity, slice
    HAVING count() * 60 >= least({{slice:UInt32}}, {{to:UInt32}} - slice)
)
SELECT entity,
    sumForEach(arrayMap(s -> if(slice >= s, good, 0.), {{starts:Array(UInt32)}})) AS good,
    sumForEach(arrayMap(s -> if(slice >= s, total, 0.), {{starts:Array(UInt32)}})) AS total,
    sumForEach(arrayMap(s -> toUInt32(known AND slice >= s), {{starts:Array(UInt32)}})) AS known,
    sumForEach(arrayMap(s -> toUInt32(idle AND slice >= s), {{starts:Array(UInt32)}})) AS maintenance
FROM (
    SELECT entity, slice, {counted}, 1 AS known, 0 AS idle FROM slices
    UNION ALL
    SELECT entity, slice, 0. AS good, 0. AS total, 0 AS known, 1 AS idle FROM idle_slices
    UNION ALL
    SELECT entity, {{from:UInt32}} AS slice, 0. AS good, 0. AS total, 0 AS known, 0 AS idle FROM reporting
)
GROUP BY entity
ORDER BY entity"""
