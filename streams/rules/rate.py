"""A rate rule over several windows: the sum of a counter's increases in the time `over`, per second.

Counters come every 20 or 30 s, windows last 10: one window alone shows two or three times the rate, and then none. Only ports
with an increase lately become Python objects; the rate of all others is 0 and they are judged as columns.
"""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS
from streams.rules.columns import glob_mask, name_mask
from streams.rules.threshold import Context, ThresholdState, buckets_ns

if TYPE_CHECKING:
    from streams.rules.alert import Event
    from streams.rules.rule import Rule

__all__ = ["RECENT_MAX", "RateState"]

# Ports of one rule with an increase in the last minutes, about 2 KB each.
RECENT_MAX = 50_000
# Late data may change a window for lateness + allowed lateness, 150 s by default.
LATE_NS = 180 * NS


class RateState(ThresholdState):
    """`recent`: increases by window of the ports that had any, for as long as a window or a revision may need them."""

    def __init__(self, rule: Rule, window_ns: int, grace_ns: int) -> None:
        super().__init__(rule, window_ns, grace_ns)
        self.recent: dict[str, dict[int, float]] = {}

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
        over_ns = self.rule.over_ns
        for entity, bucket_ns, increase in zip(entities, buckets, increases, strict=True):
            windows = self.recent.get(entity)
            if windows is None:
                if not increase or len(self.recent) >= RECENT_MAX:
                    self.overflow += bool(increase)
                    yield entity, bucket_ns, increase * NS / over_ns
                    continue
                # Late data may be the first increase: the windows after it that an alert knows had none.
                track = self.tracks.get(entity)
                later = (each_ns for each_ns, _ in track.windows if each_ns > bucket_ns) if track else ()
                windows = self.recent[entity] = dict.fromkeys(later, 0.0)
            newest_ns = max(windows, default=bucket_ns)
            if newest_ns - bucket_ns > LATE_NS:
                continue
            windows[bucket_ns] = increase
            if bucket_ns > newest_ns:
                self.forget(entity, windows, bucket_ns)
            changed = [each for each in windows if bucket_ns <= each < bucket_ns + over_ns]
            for each_ns in sorted(changed):
                total = sum(more for other_ns, more in windows.items() if each_ns - over_ns < other_ns <= each_ns)
                yield entity, each_ns, total * NS / over_ns

    def forget(self, entity: str, windows: dict[int, float], newest_ns: int) -> None:
        """Windows that nothing can need any more, and ports without an increase in those that are left."""
        for each_ns in [each for each in windows if newest_ns - each > LATE_NS + self.rule.over_ns]:
            del windows[each_ns]
        if not any(windows.values()):
            del self.recent[entity]

    def recent_row(self) -> dict[str, Any]:
        """Columns, for there may be a million windows, and this is written every few seconds."""
        buckets, increases = array("q"), array("d")
        for windows in self.recent.values():
            buckets.extend(windows.keys())
            increases.extend(windows.values())
        return {
            "entities": list(self.recent), "counts": [len(windows) for windows in self.recent.values()],
            "buckets": b64encode(buckets.tobytes()).decode(), "increases": b64encode(increases.tobytes()).decode(),
        }

    def restore_recent(self, row: dict[str, Any]) -> None:
        if not row:
            return
        buckets, increases = array("q", b64decode(row["buckets"])), array("d", b64decode(row["increases"]))
        bounds = pairwise(accumulate(row["counts"], initial=0))
        self.recent = {
            entity: dict(zip(buckets[begin:end], increases[begin:end], strict=True))
            for entity, (begin, end) in zip(row["entities"], bounds, strict=True)
        }
