"""The time over which an objective is held: rolling, or the customer's calendar.

    TimeWindow(28, "d").span(now_s)
    TimeWindow(1, "M", is_rolling=False, start=datetime(2026, 1, 1), zone="Europe/Stockholm").span(now_s)

Times are whole seconds since 1970 UTC, spans half-open and on whole minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["MINUTE_S", "UNIT_S", "Span", "TimeWindow", "month_span", "seconds", "so_far"]

MINUTE_S = 60
UNIT_S = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True)
class Span:
    """[start_s, end_s), both on whole minutes."""

    start_s: int
    end_s: int

    @property
    def minutes(self) -> int:
        return (self.end_s - self.start_s) // MINUTE_S


@dataclass(frozen=True)
class TimeWindow:
    """How long a budget lasts. `unit` is one of m h d w M Q Y (OpenSLO's duration shorthand, case matters)."""

    count: int = 28
    unit: str = "d"
    is_rolling: bool = True
    start: datetime | None = None               # calendar: local time of the first period's start
    zone: str = "UTC"

    def span(self, now_s: int) -> Span:
        """Rolling: the whole window up to the current minute. Calendar: the current period so far."""
        end_s = now_s - now_s % MINUTE_S
        if self.is_rolling or self.start is None:
            zone = ZoneInfo(self.zone)
            local = datetime.fromtimestamp(end_s, UTC).astimezone(zone).replace(tzinfo=None)
            started = end_s - self.fixed_s() if self.unit in "mh" else seconds(shift(local, -self.count, self.unit), zone)
            return Span(started, end_s)
        return Span(self.period(end_s).start_s, end_s)

    def period(self, at_s: int) -> Span:
        """The calendar period that holds `at_s`: [start, start of the next)."""
        assert self.start is not None, "a rolling window has no periods"
        zone = ZoneInfo(self.zone)
        index = estimate_periods(self.start, datetime.fromtimestamp(at_s, UTC).astimezone(zone).replace(tzinfo=None), self)
        while seconds(shift(self.start, (index + 1) * self.count, self.unit), zone) <= at_s:
            index += 1
        while seconds(shift(self.start, index * self.count, self.unit), zone) > at_s:
            index -= 1
        return Span(*(seconds(shift(self.start, step * self.count, self.unit), zone) for step in (index, index + 1)))

    def fixed_s(self) -> int:
        return self.count * UNIT_S[self.unit]

    def __str__(self) -> str:
        return f"{self.count}{self.unit}" + ("" if self.is_rolling else f" in {self.zone}")


def shift(time: datetime, count: int, unit: str) -> datetime:
    """Local time `count` units later; the 31st becomes the last day of a shorter month."""
    if unit in "MQY":
        months = time.year * 12 + time.month - 1 + count * {"M": 1, "Q": 3, "Y": 12}[unit]
        year, month = divmod(months, 12)
        last = (datetime(year + (month == 11), (month + 1) % 12 + 1, 1) - timedelta(days=1)).day
        return time.replace(year=year, month=month + 1, day=min(time.day, last))
    return time + timedelta(seconds=count * UNIT_S[unit])


def estimate_periods(start: datetime, now: datetime, window: TimeWindow) -> int:
    """Periods between the two, give or take one."""
    if window.unit in "MQY":
        months = (now.year - start.year) * 12 + now.month - start.month
        return months // (window.count * {"M": 1, "Q": 3, "Y": 12}[window.unit])
    return int((now - start).total_seconds() // window.fixed_s())


def seconds(local: datetime, zone: ZoneInfo) -> int:
    """Seconds since 1970 of a local time, whole minutes. A time that DST repeats is the first of the two."""
    since = int(local.replace(tzinfo=zone, fold=0).timestamp())
    return since - since % MINUTE_S


def month_span(month: str, zone: str) -> Span:
    """`2026-10` as seen in `zone`: October in Europe/Stockholm has 745 hours. ValueError for anything else."""
    first = datetime.strptime(month, "%Y-%m")
    return Span(seconds(first, ZoneInfo(zone)), seconds(shift(first, 1, "M"), ZoneInfo(zone)))


def so_far(span: Span, now_s: int) -> Span:
    """A span that is under way ends now: what has not happened yet is not unknown."""
    if span.start_s < now_s - MINUTE_S and now_s < span.end_s:
        return Span(span.start_s, now_s - now_s % MINUTE_S)
    return span
