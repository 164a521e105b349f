"""A rate rule over several windows: the sum of a counter's increases in the time `over`, per second.

Counters come every 20 or 30 s, windows last 10: one window alone shows two or three times the rate, and then none. Only ports
with an increase lately become Python objects; the rate of all others is 0 and they are judged as columns.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS
from streams.rules.columns import glob_mask, name_mask
from streams.rules.kept import Kept, Room, pack, unpack
from streams.rules.threshold import Context, ThresholdState, buckets_ns

if TYPE_CHECKING:
    from streams.rules.alert import Alert, Event
    from streams.rules.rule import Rule

__all__ = ["RECENT_MAX", "RECENT_TOTAL_MAX", "RateState"]

# Ports with an increase in the last minutes, 1 to 2 KB each: of one rule, and of all together.
RECENT_MAX, RECENT_TOTAL_MAX = 50_000, 100_000
# Late data may change a window for lateness + allowed lateness, 150 s by default.
LATE_NS = 180 * NS


class Increases:
    """The increases of one port by window, ascending."""

    __slots__ = ("starts", "values")

    def __init__(self, starts: array[int], values: array[float]) -> None:
        self.starts, self.values = starts, values

    def put(self, bucket_ns: int, increase: float) -> int:
        """Returns its place."""
        place = bisect_left(self.starts, bucket_ns)
        if place < len(self.starts) and self.starts[place] == bucket_ns:
            self.values[place] = increase
        else:
            self.starts.insert(place, bucket_ns)
            self.values.insert(place, increase)
        return place

    def forget_before(self, time_ns: int) -> int:
        """Returns how many are gone."""
        old = bisect_left(self.starts, time_ns)
        del self.starts[:old], self.values[:old]
        return old

    def total(self, place: int, over_ns: int) -> float:
        """Of the time that ends with the window at `place`."""
        return sum(self.values[bisect_right(self.starts, self.starts[place] - over_ns) : place + 1])


class RateState(ThresholdState):
    """`recent`: increases by window of the ports that had any, for as long as a window or a revision may need them."""

    def __init__(self, rule: Rule, window_ns: int, grace_ns: int, rooms: Mapping[str, Room]) -> None:
        super().__init__(rule, window_ns, grace_ns, rooms)
        self.recent: dict[str, Increases] = {}
        self.kept["recent"] = Kept(f"recent:{rule.name}", self.recent_row, RECENT_MAX, rooms["recent"])

    def feed(self, rows: pa.RecordBatch, watch_ns: int, window_ns: int, context: Context, events: list[Event]) -> None:
        rule = self.rule
        if rule.entity != "*":
            rows = rows.filter(glob_mask(rows.column("entity"), rule.entity))
        entities, increases = rows.column("entity"), rows.column("increase")
        risen = pc.fill_null(pc.not_equal(increases, 0.0), False)
        counted = name_mask(entities, {*entities.filter(risen).unique().to_pylist(), *self.recent})
        still = rows.filter(pc.invert(counted))
        zeros = pa.repeat(pa.scalar(0.0), still.num_rows)
        self.judge_rows(still.column("entity"), buckets_ns(still), zeros, watch_ns, context, events)
        moved = rows.filter(counted)
        found = list(self.rates(
            moved.column("entity").to_pylist(), buckets_ns(moved).to_pylist(), moved.column("increase").to_pylist()
        ))
        names, buckets, rates = zip(*found, strict=True) if found else ((), (), ())
        self.judge_rows(
            pa.array(names, pa.utf8()).dictionary_encode(), pa.array(buckets, pa.int64()), pa.array(rates, pa.float64()),
            watch_ns, context, events,
        )

    def rates(self, entities: list[str], buckets: list[int], increases: list[float]) -> Iterator[tuple[str, int, float]]:
        """(entity, window, rate at its end) of every row, and of the later windows whose rate it changes."""
        over_ns, kept = self.rule.over_ns, self.kept["recent"]
        for entity, bucket_ns, increase in zip(entities, buckets, increases, strict=True):
            recent = self.recent.get(entity)
            if recent is None:
                if not increase or kept.is_full:
                    self.overflow += bool(increase)
                    yield entity, bucket_ns, increase * NS / over_ns
                    continue
                # Late data may be the first increase: the windows after it that an alert knows had none.
                track = self.tracks.get(entity)
                later = array("q", [each_ns for each_ns in track.starts if each_ns > bucket_ns] if track else ())
                recent = self.recent[entity] = Increases(later, array("d", bytes(8 * len(later))))
            starts = recent.starts
            newest_ns = starts[-1] if starts else bucket_ns
            if newest_ns - bucket_ns > LATE_NS:
                continue
            kept.touch(entity)
            place = recent.put(bucket_ns, increase)
            if bucket_ns > newest_ns:
                place -= self.forget(entity, recent, bucket_ns)
            end = bisect_left(starts, bucket_ns + over_ns, place)
            for each in range(place, end):
                yield entity, starts[each], recent.total(each, over_ns) * NS / over_ns

    def forget(self, entity: str, recent: Increases, newest_ns: int) -> int:
        """Windows that nothing can need any more, and ports without an increase in those that are left."""
        old = recent.forget_before(newest_ns - LATE_NS - self.rule.over_ns)
        if not any(recent.values):
            del self.recent[entity]
            self.kept["recent"].drop(entity)
        return old

    def recent_row(self, entities: list[str]) -> bytes:
        all_recent = [self.recent[entity] for entity in entities]
        starts, values = array("q"), array("d")
        for recent in all_recent:
            starts.extend(recent.starts)
            values.extend(recent.values)
        return pack({"entities": entities, "counts": [len(recent.starts) for recent in all_recent]}, starts, values)

    def restore(self, part: str, number: int, row: bytes) -> list[Alert]:
        if part != "recent":
            return super().restore(part, number, row)
        head, columns = unpack(row)
        half = 8 * sum(head["counts"])
        starts, values = array("q", columns[:half]), array("d", columns[half:])
        bounds = pairwise(accumulate(head["counts"], initial=0))
        for entity, (begin, end) in zip(head["entities"], bounds, strict=True):
            self.recent[entity] = Increases(starts[begin:end], values[begin:end])
        self.kept[part].adopt(number, head["entities"])
        return []
