"""Agreed maintenance that recurs or is known in advance: policies in files, beside the table `maintenance`.

    policy.intervals(from_s, to_s)        # what of it touches the span: [(entity glob, start_s, end_s)]

Local times mean the wall clock of the policy's zone: 22:00 stays 22:00 over a change of DST, and a maintenance of 4 h
begun before the change lasts 4 h of real time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.rrule import rrulestr

__all__ = ["Interval", "MaintenancePolicy", "MaintenanceWindow"]

Interval = tuple[str, int, int]


@dataclass(frozen=True)
class MaintenanceWindow:
    """One-off, or repeated after an RFC 5545 3.3.10 rule whose DTSTART is `start`."""

    entity: str                                  # glob
    start: datetime                              # local
    duration_s: int
    zone: str = "UTC"
    rule: str | None = None                      # FREQ=WEEKLY;BYDAY=SU
    reason: str = "planned"

    def intervals(self, from_s: int, to_s: int) -> list[Interval]:
        """Those that touch [from_s, to_s), not clipped."""
        zone = ZoneInfo(self.zone)
        starts = [self.start] if self.rule is None else self.repeated(from_s, to_s, zone)
        begun = [int(start.replace(tzinfo=zone).timestamp()) for start in starts]
        return [(self.entity, s, s + self.duration_s) for s in begun if s < to_s and s + self.duration_s > from_s]

    def ever(self) -> bool:
        """Whether the rule has any date at all. ValueError if it is no rule."""
        return next(iter(rrulestr(f"RRULE:{self.rule}", dtstart=self.start)), None) is not None

    def repeated(self, from_s: int, to_s: int, zone: ZoneInfo) -> list[datetime]:
        # A day more on both sides: local and real distance differ by what DST moves.
        margin = timedelta(days=1)
        first = local(from_s - self.duration_s, zone) - margin
        return list(rrulestr(f"RRULE:{self.rule}", dtstart=self.start).between(first, local(to_s, zone) + margin, inc=True))


def local(at_s: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(at_s, UTC).astimezone(zone).replace(tzinfo=None)


@dataclass(frozen=True)
class MaintenancePolicy:
    name: str
    applies_to: tuple[str, ...] = ()             # names of SLOs; empty: all
    exclude: tuple[str, ...] = ("planned",)      # reasons that do not count, in the table and in `windows`
    windows: tuple[MaintenanceWindow, ...] = ()

    def concerns(self, slo: str) -> bool:
        return not self.applies_to or slo in self.applies_to

    def intervals(self, from_s: int, to_s: int) -> list[Interval]:
        counted = [window for window in self.windows if window.reason in self.exclude]
        return [interval for window in counted for interval in window.intervals(from_s, to_s)]
