"""Time as orbitrack counts it: int64 nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX).

Domain code never asks what time it is; whoever runs it hands it a `Clock` or the time itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["NS", "Clock", "format_time", "parse_duration_ns", "parse_time_ns", "wall_clock_ns"]

NS = 1_000_000_000
Clock = Callable[[], int]
UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS, "m": 60 * NS, "h": 3600 * NS, "d": 86_400 * NS, "w": 604_800 * NS}
# Two of them added still fit 64 bits.
DURATION_MAX_NS = 100 * 366 * UNITS_NS["d"]
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|d|w)")


def wall_clock_ns() -> int:
    return time.time_ns()


def parse_duration_ns(text: str | int | float) -> int:
    """`"10s"`, `"1h30m"`, `"0"` -> nanoseconds. A bare number other than 0 is refused: its unit would be a guess."""
    compact = str(text).strip()
    if compact == "0":
        return 0
    parts = DURATION.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact.replace(" ", ""):
        raise ValueError(f"'{text}' is not a duration; write for example 10s, 5m, 1h30m, 14d")
    duration_ns = sum(float(number) * UNITS_NS[unit] for number, unit in parts)
    if duration_ns > DURATION_MAX_NS:
        raise ValueError(f"'{text}' is longer than a hundred years")
    return round(duration_ns)


def parse_time_ns(text: str) -> int:
    """RFC 3339 or `YYYY-MM-DD` (midnight UTC) -> nanoseconds, exact to the ninth decimal."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?)?", text.strip())
    if not match:
        raise ValueError(f"'{text}' is not a time; write for example 2026-10-01 or 2026-10-01T12:00:00Z")
    day, clock, fraction, zone = match.groups()
    whole = datetime.fromisoformat(f"{day}T{clock or '00:00:00'}{(zone or 'Z').replace('Z', '+00:00')}")
    return int(whole.timestamp()) * NS + int((fraction or "").ljust(9, "0") or 0)


def format_time(time_ns: int, digits: int = 9) -> str:
    """RFC 3339 UTC with `digits` decimals, as in every JSON line that orbitrack prints."""
    seconds, fraction = divmod(time_ns, NS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{fraction:09d}"[: len(text) + 1 + digits].rstrip(".") + "Z"
