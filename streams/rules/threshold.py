"""A rule with a value for each window, over all its entities; also for values that the database was asked for.

Only windows that breach, and those of entities that are being tracked, become Python objects; all others are judged and
forgotten as columns.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS
from streams.rules.alert import Alert
from streams.rules.columns import BREACH, column_values, glob_mask, glob_pattern, judge, name_mask
from streams.rules.kept import Kept, Room, pack, unpack
from streams.rules.track import Track

if TYPE_CHECKING:
    from streams.rules.alert import Event, Suppressions
    from streams.rules.rule import Rule

__all__ = ["TRACKS_MAX", "TRACKS_TOTAL_MAX", "Context", "ThresholdState", "buckets_ns"]

# Alerts at a time, about 2 KB each: of one rule, and of all together. Whoever has more has one problem, not many.
TRACKS_MAX, TRACKS_TOTAL_MAX = 50_000, 100_000


class Context(Protocol):
    """What a rule needs of the engine."""

    suppressions: Suppressions

    def new_alert(self, rule: Rule, entity: str) -> Alert: ...


def buckets_ns(rows: pa.RecordBatch) -> pa.Array:
    """The starts of windows as int64 nanoseconds."""
    return pc.multiply(rows.column("bucket").cast(pa.int64()), NS)


class ThresholdState:
    """`tracks`: the entities whose condition holds or held lately."""

    def __init__(self, rule: Rule, window_ns: int, grace_ns: int, rooms: Mapping[str, Room]) -> None:
        self.rule, self.window_ns, self.grace_ns = rule, window_ns, grace_ns
        self.tracks: dict[str, Track] = {}
        self.kept = {"tracks": Kept(f"tracks:{rule.name}", self.tracks_row, TRACKS_MAX, rooms["tracks"])}
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
        kept = self.kept["tracks"]
        for entity, bucket_ns, verdict, value in rows:
            track = self.tracks.get(entity)
            if track is None:
                if verdict != BREACH:
                    continue
                if kept.is_full:
                    self.overflow += 1
                    continue
                track = self.tracks[entity] = Track(self.rule, context.new_alert(self.rule, entity), self.window_ns)
            track.observe(bucket_ns, verdict, value, watch_ns, context.suppressions, events)
            kept.touch(entity)

    def advance(self, watch_ns: int, context: Context, events: list[Event]) -> None:
        forgotten, kept = [], self.kept["tracks"]
        for entity, track in self.tracks.items():
            told = len(events)
            if not track.advance(watch_ns, self.grace_ns, context.suppressions, events):
                forgotten.append(entity)
            elif len(events) > told:
                kept.touch(entity)
        for entity in forgotten:
            del self.tracks[entity]
            kept.drop(entity)

    def alerts(self) -> list[Alert]:
        return [track.alert for track in self.tracks.values()]

    def tracks_row(self, entities: list[str]) -> bytes:
        tracks = [self.tracks[entity] for entity in entities]
        head = {
            "entities": entities, "alerts": [track.alert.state_row() for track in tracks],
            "times": [[track.run_ns, track.floor_ns, track.seen_ns] for track in tracks],
            "counts": [len(track.starts) for track in tracks],
        }
        starts, verdicts = array("q"), array("b")
        for track in tracks:
            starts.extend(track.starts)
            verdicts.extend(track.verdicts)
        return pack(head, starts, verdicts)

    def restore(self, part: str, number: int, row: bytes) -> list[Alert]:
        """A row of `kept[part]`. Returns the alerts of entities that the rule no longer matches."""
        head, columns = unpack(row)
        total = sum(head["counts"])
        starts, verdicts = array("q", columns[:8 * total]), array("b", columns[8 * total:])
        matches, unmatched = re.compile(glob_pattern(self.rule.entity)).match, []
        self.kept[part].adopt(number, head["entities"])
        bounds = pairwise(accumulate(head["counts"], initial=0))
        for entity, state, times, (begin, end) in zip(head["entities"], head["alerts"], head["times"], bounds, strict=True):
            track = Track(self.rule, Alert.from_state(entity, state), self.window_ns)
            track.run_ns, track.floor_ns, track.seen_ns = times
            track.starts, track.verdicts = starts[begin:end], verdicts[begin:end]
            if matches(entity):
                self.tracks[entity] = track
            else:
                unmatched.append(track.alert)
                self.kept[part].drop(entity)
        return unmatched

    def restored(self) -> None:
        """All rows were given."""
