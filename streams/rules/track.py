"""The recent windows of one entity under one threshold or rate rule: since when the condition holds or is over.

    track.observe(bucket_ns, BREACH, value, watch_ns, suppressions, events)
    track.advance(watch_ns, suppressions, events)

A run is the unbroken sequence of equal verdicts that ends with the newest window. Durations are compared in event time,
so a backlog after an outage gives the same alerts as the windows would have given one by one. A verdict holds until the
next window, but no longer than `stale`. Windows that come again (late data) correct the run; they never un-notify.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from streams.clock import NS
from streams.rules.alert import Alert
from streams.rules.columns import BREACH, CLEAR

if TYPE_CHECKING:
    from streams.rules.alert import Event, Suppressions
    from streams.rules.rule import Rule

__all__ = ["REVISION_NS", "Track"]

# Late data may change a window for lateness + allowed lateness, 150 s by default; older verdicts need not be kept.
REVISION_NS = 600 * NS


class Track:
    """`starts` and `verdicts` of the windows, ascending; the newest is the last. `run_ns` is where its run begins."""

    __slots__ = ("alert", "floor_ns", "rule", "run_ns", "seen_ns", "starts", "verdicts", "window_ns")

    def __init__(self, rule: Rule, alert: Alert, window_ns: int) -> None:
        self.rule, self.alert, self.window_ns = rule, alert, window_ns
        self.starts, self.verdicts = array("q"), array("b")
        self.run_ns = 0
        self.floor_ns = 0                                   # the end of the last episode: no new one begins before it
        self.seen_ns = 0                                    # when the newest window came, in watched time

    @property
    def windows(self) -> Iterator[tuple[int, int]]:
        """(bucket_ns, verdict)."""
        return zip(self.starts, self.verdicts, strict=True)

    @property
    def end_ns(self) -> int:
        """The end of the newest window."""
        return self.starts[-1] + self.window_ns

    def observe(
        self, bucket_ns: int, verdict: int, value: float | None, watch_ns: int, suppressions: Suppressions, events: list[Event]
    ) -> None:
        """A window was closed, or closed again with other contents."""
        if not self.starts or bucket_ns > self.starts[-1]:
            if self.starts:
                self.pass_time(bucket_ns, suppressions, events)
            self.append(bucket_ns, verdict)
            self.seen_ns = watch_ns
            self.alert.value = value
        elif not self.revise(bucket_ns, verdict):
            return
        elif bucket_ns == self.starts[-1]:
            self.alert.value = value
        self.decide(self.end_ns, suppressions, events)

    def append(self, bucket_ns: int, verdict: int) -> None:
        is_new_run = not self.starts or verdict != self.verdicts[-1] or bucket_ns - self.end_ns > self.rule.stale_ns
        if is_new_run:
            self.run_ns = bucket_ns
        self.starts.append(bucket_ns)
        self.verdicts.append(verdict)
        if bucket_ns - self.starts[0] > 2 * REVISION_NS:                    # half at a time: seldom, not on every window
            old = bisect_left(self.starts, bucket_ns - REVISION_NS)
            del self.starts[:old], self.verdicts[:old]

    def revise(self, bucket_ns: int, verdict: int) -> bool:
        """Corrects an older window and the start of the run. Says whether anything is different now."""
        oldest_ns, former_verdict = self.starts[0], self.verdicts[-1]
        place = bisect_left(self.starts, bucket_ns)
        if place < len(self.starts) and self.starts[place] == bucket_ns:
            if self.verdicts[place] == verdict:
                return bucket_ns == self.starts[-1]
            self.verdicts[place] = verdict
        elif self.starts[-1] - bucket_ns > REVISION_NS:
            return False
        else:
            self.starts.insert(place, bucket_ns)
            self.verdicts.insert(place, verdict)
        start_ns, run_verdict = self.starts[-1], self.verdicts[-1]
        for each_ns, each_verdict in zip(self.starts[-2::-1], self.verdicts[-2::-1], strict=True):
            if each_verdict != run_verdict or start_ns - each_ns - self.window_ns > self.rule.stale_ns:
                break
            start_ns = each_ns
        # A run that began before the oldest window that is kept still begins there.
        is_older = start_ns <= oldest_ns and run_verdict == former_verdict
        self.run_ns = min(start_ns, self.run_ns) if is_older else start_ns
        return True

    def pass_time(self, known_ns: int, suppressions: Suppressions, events: list[Event]) -> None:
        """Event time has come to `known_ns` without a window since the newest."""
        if self.alert.state == "inactive":
            return
        held_ns = min(known_ns, self.end_ns + self.rule.stale_ns)
        if held_ns > self.end_ns:
            self.decide(held_ns, suppressions, events)
        if self.alert.state == "pending" and known_ns > self.end_ns + self.rule.stale_ns:
            self.alert.end(events, self.end_ns, f"no data for {self.rule.stale_ns / NS:g} s")
        elif self.alert.is_active and 0 < self.rule.expire_ns < known_ns - self.end_ns:
            self.finish(events, self.end_ns, f"no data for {self.rule.expire_ns / NS:g} s")

    def advance(self, watch_ns: int, grace_ns: int, suppressions: Suppressions, events: list[Event]) -> bool:
        """No window came until now: let timers run. False: nothing is left to remember."""
        silent_ns = watch_ns - self.seen_ns - grace_ns
        if silent_ns > 0:
            self.pass_time(self.end_ns + silent_ns, suppressions, events)
        return self.alert.state != "inactive" or silent_ns < REVISION_NS

    def decide(self, known_ns: int, suppressions: Suppressions, events: list[Event]) -> None:
        """What the newest run means if nothing changes until `known_ns`."""
        rule, alert, verdict = self.rule, self.alert, self.verdicts[-1]
        if not alert.is_active:
            start_ns = max(self.run_ns, self.floor_ns)
            if verdict != BREACH or self.starts[-1] < self.floor_ns:
                alert.end(events, self.run_ns)
                return
            if alert.state == "inactive" and rule.for_ns:
                alert.pend(events, start_ns)
            alert.starts_ns = start_ns
            if known_ns - start_ns >= rule.for_ns:
                alert.fire(events, start_ns, suppressions.reason(rule, alert.entity, known_ns - 1))
        elif verdict == CLEAR and known_ns - self.run_ns >= rule.keep_firing_for_ns:
            self.finish(events, self.run_ns, "corrected by late data" if self.run_ns < alert.starts_ns else None)
        else:
            alert.fire(events, alert.starts_ns, suppressions.reason(rule, alert.entity, known_ns - 1))

    def finish(self, events: list[Event], ends_ns: int, reason: str | None) -> None:
        self.alert.end(events, ends_ns, reason)
        self.floor_ns = max(ends_ns, self.alert.starts_ns)
