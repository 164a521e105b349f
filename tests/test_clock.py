"""Durations and times as people write them."""

from __future__ import annotations

import pytest

from streams.clock import NS, format_time, parse_duration_ns, parse_time_ns

DAY_NS = 86_400 * NS


@pytest.mark.parametrize(("text", "duration_ns"), [
    ("0", 0), ("10s", 10 * NS), ("1h30m", 5400 * NS), ("1.5 ms", 1_500_000), ("14d", 14 * DAY_NS), ("36600d", 36_600 * DAY_NS),
])
def test_duration_is_read_in_nanoseconds(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["36601d", "9" * 30 + "ns", "9" * 400 + "s"])
def test_duration_that_64_bits_could_not_hold_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than a hundred years"):
        parse_duration_ns(text)
    assert 2 * parse_duration_ns("36600d") < 1 << 63


@pytest.mark.parametrize("text", ["", "10", "s", "10 seconds", "1h 30", "-1s", "1e3s", "10s!"])
def test_duration_without_unit_or_with_more_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write for example 10s, 5m, 1h30m, 14d"):
        parse_duration_ns(text)


@pytest.mark.parametrize(("text", "written"), [
    ("2026-10-01", "2026-10-01T00:00:00.000000000Z"), ("2026-10-01 12:30", "2026-10-01T12:30:00.000000000Z"),
    ("2026-10-01T12:00:00.123456789+02:00", "2026-10-01T10:00:00.123456789Z"),
    ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000000Z"),
])
def test_time_is_exact_to_the_nanosecond(text: str, written: str) -> None:
    assert format_time(parse_time_ns(text)) == written
