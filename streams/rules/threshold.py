"""A rule with a value for each window, over all its entities; also for values that the database was asked for.

Only windows that breach, and those of entities that are being tracked, become Python objects; all others are judged and
forgotten as columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS
from streams.rules.columns import BREACH, column_values, glob_mask, glob_pattern, judge, name_mask
from streams.rules.track import Track

if TYPE_CHECKING:
    from streams.rules.alert import Alert, Event, Suppressions
    from streams.rules.rule import Rule

__all__ = ["TRACKS_MAX", "Context", "ThresholdState", "buckets_ns"]

# Alerts of one rule at a time, about 2 KB each. Whoever has more has one problem, not many.
TRACKS_MAX = 50_000


class Context(Protocol):
    """What a rule needs of the engine."""

    suppressions: Suppressions

    def new_alert(self, rule: Rule, entity: str) -> Alert: ...


def buckets_ns(rows: pa.RecordBatch) -> pa.Array:
    """The starts of windows as int64 nanoseconds."""
    return pc.multiply(rows.column("bucket").cast(pa.int64()), NS)


class ThresholdState:
    """`tracks`: the entities whose condition holds or held lately."""

    def __init__(self, rule: Rule, window_ns: int, grace_ns: int) -> None:
        self.rule, self.window_ns, self.grace_ns = rule, window_ns, grace_ns
        self.tracks: dict[str, Track] = {}
        self.overflow = 0

    def feed(self, rows: pa.RecordBatch, watch_ns: int, window_ns: int, context: Context, events: list[Event]) -> None:
        """`rows` are windows of the rule's metric."""
        rule = self.rule
        if rule.entity != "*":
            rows = rows.filter(glob_mask(rows.column("entity"), rule.entity))
        values = column_values(rule.column, rows, window_ns)
        self.judge_rows(rows.column("entity"), buckets_ns(rows), values, watch_ns, context, events)

    def judge_rows(
        self, entities: pa.DictionaryArray, buckets: pa.Array, values: pa.Array, watch_ns: int, context: Context,
        events: list[Event],
    ) -> None:
        """One value of each window."""
        rule = self.rule
        verdicts = judge(values, rule.op, rule.value, rule.resolve)
        breached = entities.filter(pc.equal(verdicts, BREACH)).unique().to_pylist()
        if not breached and not self.tracks:
            return
        # An entity's later windows in this batch count too, as they would in the next one.
        wanted = name_mask(entities, {*breached, *self.tracks})
        picked = (entities, buckets, verdicts, values)
        rows = zip(*(column.filter(wanted).to_pylist() for column in picked), strict=True)
        self.observe(rows, watch_ns, context, events)

    def observe(
        self, rows: Iterable[tuple[str, int, int, float | None]], watch_ns: int, context: Context, events: list[Event]
    ) -> None:
        """(entity, bucket_ns, verdict, value) of windows, or of moments at which the database was asked."""
        for entity, bucket_ns, verdict, value in rows:
            track = self.tracks.get(entity)
            if track is None:
                if verdict != BREACH:
                    continue
                if len(self.tracks) >= TRACKS_MAX:
                    self.overflow += 1
                    continue
                track = self.tracks[entity] = Track(self.rule, context.new_alert(self.rule, entity), self.window_ns)
            track.observe(bucket_ns, verdict, value, watch_ns, context.suppressions, events)

    def advance(self, watch_ns: int, context: Context, events: list[Event]) -> None:
        forgotten = [
            entity
            for entity, track in self.tracks.items()
            if not track.advance(watch_ns, self.grace_ns, context.suppressions, events)
        ]
        for entity in forgotten:
            del self.tracks[entity]

    def alerts(self) -> list[Alert]:
        return [track.alert for track in self.tracks.values()]

    def state_row(self) -> dict[str, Any]:
        return {entity: track.state_row() for entity, track in self.tracks.items()}

    def restore(self, row: dict[str, Any]) -> list[Alert]:
        """Returns the alerts of entities that the rule no longer matches."""
        matches = re.compile(glob_pattern(self.rule.entity)).match
        tracks = {entity: Track.from_state(self.rule, entity, each, self.window_ns) for entity, each in row.items()}
        self.tracks = {entity: track for entity, track in tracks.items() if matches(entity)}
        return [track.alert for entity, track in tracks.items() if not matches(entity)]
