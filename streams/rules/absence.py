"""An absence rule over all its entities: a metric that was seen and no longer is.

The last window of a silent source closes only after the windows' idle timeout; `after` counts from then.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streams.clock import NS
from streams.rules.alert import Alert
from streams.rules.columns import glob_mask, glob_pattern, name_mask
from streams.rules.threshold import Context, buckets_ns

if TYPE_CHECKING:
    from streams.rules.alert import Event
    from streams.rules.rule import Rule

__all__ = ["SEEN_MAX", "AbsenceState"]

# Entities that one rule watches, about 200 bytes each.
SEEN_MAX = 1_000_000


class AbsenceState:
    """Entities in the order in which they were last seen: (end of their newest window, when it came in watched time)."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.seen: dict[str, tuple[int, int]] = {}
        self.absent: dict[str, tuple[Alert, int, int]] = {}
        self.overflow = 0

    def feed(self, rows: pa.RecordBatch, watch_ns: int, window_ns: int, context: Context, events: list[Event]) -> None:
        """`rows` are windows of the rule's metric. A revision of an old window is no sign of life."""
        if self.rule.entity != "*":
            rows = rows.filter(glob_mask(rows.column("entity"), self.rule.entity))
        entities, buckets = rows.column("entity").cast(pa.utf8()), buckets_ns(rows)
        self.come_back(rows, buckets, events)
        table = pa.table({"entity": entities, "bucket": buckets})
        newest = table.group_by("entity", use_threads=False).aggregate([("bucket", "max")])
        for entity, bucket_ns in zip(newest["entity"].to_pylist(), newest["bucket_max"].to_pylist(), strict=True):
            if entity in self.absent:
                continue
            if entity not in self.seen and len(self.seen) + len(self.absent) >= SEEN_MAX:
                self.overflow += 1
            elif bucket_ns + window_ns > self.seen.get(entity, (0, 0))[0]:
                self.seen.pop(entity, None)                 # to the end: the order is the order of sight
                self.seen[entity] = (bucket_ns + window_ns, watch_ns)

    def come_back(self, rows: pa.RecordBatch, buckets: pa.Array, events: list[Event]) -> None:
        """Ends the absence of entities with a window newer than what was seen before it."""
        if not self.absent:
            return
        of_absent = name_mask(rows.column("entity"), self.absent)
        entities = rows.column("entity").filter(of_absent).to_pylist()
        for entity, bucket_ns in zip(entities, buckets.filter(of_absent).to_pylist(), strict=True):
            alert, end_ns, _ = self.absent.get(entity, (None, 0, 0))
            if alert is not None and bucket_ns >= end_ns:
                alert.end(events, bucket_ns)
                del self.absent[entity]

    def advance(self, watch_ns: int, context: Context, events: list[Event]) -> None:
        due = []
        for entity, (_, seen_ns) in self.seen.items():
            if watch_ns - seen_ns < self.rule.after_ns:
                break
            due.append(entity)
        for entity in due:
            self.absent[entity] = (context.new_alert(self.rule, entity), *self.seen.pop(entity))
        for entity in list(self.absent):
            alert, end_ns, seen_ns = self.absent[entity]
            silent_ns = watch_ns - seen_ns
            if 0 < self.rule.expire_ns < silent_ns:
                alert.end(events, end_ns, f"no data for {self.rule.expire_ns / NS:g} s")
                del self.absent[entity]
                continue
            alert.value = silent_ns / NS
            alert.fire(events, end_ns, context.suppressions.reason(self.rule, entity, end_ns + silent_ns))

    def alerts(self) -> list[Alert]:
        return [alert for alert, _, _ in self.absent.values()]

    def state_row(self) -> dict[str, Any]:
        return {
            "seen": [[entity, *times] for entity, times in self.seen.items()],
            "absent": [[entity, alert.state_row(), *times] for entity, (alert, *times) in self.absent.items()],
        }

    def restore(self, row: dict[str, Any]) -> list[Alert]:
        """Returns the alerts of entities that the rule no longer matches."""
        matches = re.compile(glob_pattern(self.rule.entity)).match
        self.seen = {entity: (end_ns, seen_ns) for entity, end_ns, seen_ns in row["seen"] if matches(entity)}
        absent = {
            entity: (Alert.from_state(entity, state), end_ns, seen_ns) for entity, state, end_ns, seen_ns in row["absent"]
        }
        self.absent = {entity: each for entity, each in absent.items() if matches(entity)}
        return [alert for entity, (alert, _, _) in absent.items() if not matches(entity)]
