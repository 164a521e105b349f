"""An absence rule over all its entities: a metric that was seen and no longer is.

The last window of a silent source closes only after the windows' idle timeout; `after` counts from then.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from streams.clock import NS
from streams.rules.alert import Alert
from streams.rules.columns import glob_mask, glob_pattern, name_mask
from streams.rules.kept import Kept, Room, pack, unpack
from streams.rules.threshold import Context, buckets_ns

if TYPE_CHECKING:
    from streams.rules.alert import Event
    from streams.rules.rule import Rule

__all__ = ["SEEN_MAX", "AbsenceState"]

# Entities that one rule watches, and all together; about 300 bytes each.
SEEN_MAX = 1_000_000


class AbsenceState:
    """Entities in the order in which they were last seen: (end of their newest window, when it came in watched time)."""

    def __init__(self, rule: Rule, rooms: Mapping[str, Room]) -> None:
        self.rule = rule
        self.kept = {"watched": Kept(f"watched:{rule.name}", self.watched_row, SEEN_MAX, rooms["watched"])}
        self.seen: dict[str, tuple[int, int]] = {}
        self.absent: dict[str, tuple[Alert, int, int]] = {}
        self.overflow = 0

    def feed(self, rows: pa.RecordBatch, watch_ns: int, window_ns: int, context: Context, events: list[Event]) -> None:
        """`rows` are windows of the rule's metric. A revision of an old window is no sign of life."""
        if self.rule.entity != "*":
            rows = rows.filter(glob_mask(rows.column("entity"), self.rule.entity))
        entities, buckets = rows.column("entity").cast(pa.utf8()), buckets_ns(rows)
        self.come_back(rows, buckets, watch_ns, events)
        kept = self.kept["watched"]
        table = pa.table({"entity": entities, "bucket": buckets})
        newest = table.group_by("entity", use_threads=False).aggregate([("bucket", "max")])
        for entity, bucket_ns in zip(newest["entity"].to_pylist(), newest["bucket_max"].to_pylist(), strict=True):
            if entity in self.absent:
                continue
            if entity not in self.seen and kept.is_full:
                self.overflow += 1
            elif bucket_ns + window_ns > self.seen.get(entity, (0, 0))[0]:
                self.seen.pop(entity, None)                 # to the end: the order is the order of sight
                self.seen[entity] = (bucket_ns + window_ns, watch_ns)
                kept.touch(entity)

    def come_back(self, rows: pa.RecordBatch, buckets: pa.Array, watch_ns: int, events: list[Event]) -> None:
        """Ends the absence of entities with a window newer than what was seen before it."""
        if not self.absent:
            return
        of_absent = name_mask(rows.column("entity"), self.absent)
        entities = rows.column("entity").filter(of_absent).to_pylist()
        for entity, bucket_ns in zip(entities, buckets.filter(of_absent).to_pylist(), strict=True):
            alert, end_ns, seen_ns = self.absent.get(entity, (None, 0, 0))
            if alert is not None and bucket_ns >= end_ns:
                alert.value = (watch_ns - seen_ns) / NS
                alert.end(events, bucket_ns)
                del self.absent[entity]
                self.kept["watched"].drop(entity)

    def advance(self, watch_ns: int, context: Context, events: list[Event]) -> None:
        due, kept = [], self.kept["watched"]
        for entity, (_, seen_ns) in self.seen.items():
            if watch_ns - seen_ns < self.rule.after_ns:
                break
            due.append(entity)
        due.sort(key=lambda entity: (self.seen[entity][1], entity))         # as after a restart
        for entity in due:
            self.absent[entity] = (context.new_alert(self.rule, entity), *self.seen.pop(entity))
        for entity in list(self.absent):
            alert, end_ns, seen_ns = self.absent[entity]
            silent_ns, told = watch_ns - seen_ns, len(events)
            alert.value = silent_ns / NS
            if 0 < self.rule.expire_ns < silent_ns:
                alert.end(events, end_ns, f"no data for {self.rule.expire_ns / NS:g} s")
                del self.absent[entity]
                kept.drop(entity)
                continue
            alert.fire(events, end_ns, context.suppressions.reason(self.rule, entity, end_ns + silent_ns))
            if len(events) > told:
                kept.touch(entity)

    def alerts(self) -> list[Alert]:
        return [alert for alert, _, _ in self.absent.values()]

    def watched_row(self, entities: list[str]) -> bytes:
        absent = {entity: self.absent[entity][0].state_row(has_value=False) for entity in entities if entity in self.absent}
        ends, seen = array("q"), array("q")
        for entity in entities:
            end_ns, seen_ns = self.absent[entity][1:] if entity in self.absent else self.seen[entity]
            ends.append(end_ns)
            seen.append(seen_ns)
        return pack({"entities": entities, "absent": absent}, ends, seen)

    def restore(self, part: str, number: int, row: bytes) -> list[Alert]:
        """A row of `kept[part]`. Returns the alerts of entities that the rule no longer matches."""
        head, columns = unpack(row)
        times, count = array("q", columns), len(head["entities"])
        matches, unmatched = re.compile(glob_pattern(self.rule.entity)).match, []
        self.kept[part].adopt(number, head["entities"])
        for entity, end_ns, seen_ns in zip(head["entities"], times[:count], times[count:], strict=True):
            state = head["absent"].get(entity)
            alert = None if state is None else Alert.from_state(entity, state)
            if not matches(entity):
                unmatched += [alert] if alert else []
                self.kept[part].drop(entity)
            elif alert is None:
                self.seen[entity] = (end_ns, seen_ns)
            else:
                self.absent[entity] = (alert, end_ns, seen_ns)
        return unmatched

    def restored(self) -> None:
        """All rows were given: entities in the order of sight."""
        self.seen = dict(sorted(self.seen.items(), key=lambda each: (each[1][1], each[0])))
        self.absent = dict(sorted(self.absent.items(), key=lambda each: (each[1][2], each[0])))
