"""Time codes against the calendar, and leap seconds against the system's own table."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from framecodec.timecodes import EPOCH_1958_NS, decode, to_utc_ns

SEED = 20261123
SECOND = 1_000_000_000
# TAI - UTC after each leap second since 1972 (IERS Bulletin C), by the day it took effect.
LEAPS = {
    "1972-01-01": 10,
    "1972-07-01": 11,
    "1973-01-01": 12,
    "1974-01-01": 13,
    "1975-01-01": 14,
    "1976-01-01": 15,
    "1977-01-01": 16,
    "1978-01-01": 17,
    "1979-01-01": 18,
    "1980-01-01": 19,
    "1981-07-01": 20,
    "1982-07-01": 21,
    "1983-07-01": 22,
    "1985-07-01": 23,
    "1988-01-01": 24,
    "1990-01-01": 25,
    "1991-01-01": 26,
    "1992-07-01": 27,
    "1993-07-01": 28,
    "1994-07-01": 29,
    "1996-01-01": 30,
    "1997-07-01": 31,
    "1999-01-01": 32,
    "2006-01-01": 33,
    "2009-01-01": 34,
    "2012-07-01": 35,
    "2015-07-01": 36,
    "2017-01-01": 37,
}


def posix(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(("day", "offset"), LEAPS.items())
def test_tai_differs_by_the_leap_seconds_of_the_day(day: str, offset: int) -> None:
    start = posix(day)
    for step in (0, 1, 86_400):
        assert to_utc_ns((start + offset + step) * SECOND + 5) == (start + step) * SECOND + 5
    if offset > 10:
        # The last ordinary second before, and the leap second itself, which POSIX numbers like the one after it.
        assert to_utc_ns((start + offset - 2) * SECOND) == (start - 1) * SECOND
        assert to_utc_ns((start + offset - 1) * SECOND) == start * SECOND


def test_leap_seconds_are_those_of_the_system() -> None:
    listed = Path("/usr/share/zoneinfo/leap-seconds.list")
    if not listed.exists():
        pytest.skip(f"no {listed} here")
    rows = [line.split()[:2] for line in listed.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert {int(start) - 2_208_988_800: int(offset) for start, offset in rows} == {
        posix(day): offset for day, offset in LEAPS.items()
    }


def test_gps_and_tt_are_fixed_to_tai() -> None:
    reading = posix("2021-04-09") * SECOND
    assert to_utc_ns(reading, "gps") == reading - 18 * SECOND
    assert to_utc_ns(reading, "tt") == reading - 69_184_000_000
    assert to_utc_ns(reading, "utc") == reading


@pytest.mark.parametrize(("day_bits", "sub_bits"), [(16, 0), (16, 16), (16, 32), (24, 0), (24, 16), (24, 32)])
def test_day_segmented_codes(day_bits: int, sub_bits: int) -> None:
    randoms = random.Random(SEED + day_bits + sub_bits)
    for _ in range(200):
        days, milliseconds = randoms.randrange(60_000), randoms.randrange(86_400_000)
        sub = randoms.randrange({0: 1, 16: 1000, 32: 1_000_000_000}[sub_bits])
        packet = (
            bytes(3)
            + days.to_bytes(day_bits // 8, "big")
            + milliseconds.to_bytes(4, "big")
            + sub.to_bytes(sub_bits // 8, "big")
        )
        wanted = datetime(1958, 1, 1, tzinfo=UTC) + timedelta(days=days, milliseconds=milliseconds)
        nanoseconds = {0: 0, 16: sub * 1000, 32: sub // 1000}[sub_bits]
        got = decode("cds", packet, bit=24, day_bits=day_bits, sub_bits=sub_bits)
        assert got == round((wanted - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000) * 1_000_000 + nanoseconds
        assert decode("cds", packet[:-1], bit=24, day_bits=day_bits, sub_bits=sub_bits) is None


def test_the_leap_second_of_a_day_segmented_code_is_read() -> None:
    packet = bytes(2) + (86_400_500).to_bytes(4, "big") + bytes(2)
    assert decode("cds", packet) == EPOCH_1958_NS + 86_400_500_000_000
    assert decode("cds", bytes(2) + (86_401_000).to_bytes(4, "big") + bytes(2)) is None


@pytest.mark.parametrize("fraction_bytes", range(8))
def test_unsegmented_codes(fraction_bytes: int) -> None:
    seconds = posix("2021-04-09") - posix("1958-01-01") + 37
    fraction = int(0.75 * 256**fraction_bytes)
    packet = seconds.to_bytes(4, "big") + fraction.to_bytes(fraction_bytes, "big")
    assert decode("cuc", packet, fraction_bytes=fraction_bytes) == posix("2021-04-09") * SECOND + (
        750_000_000 if fraction_bytes else 0
    )


def test_an_unsegmented_code_of_an_agencys_epoch() -> None:
    packet = (100).to_bytes(4, "big") + bytes(2)
    assert (
        decode("cuc", packet, epoch_ns=posix("2000-01-01") * SECOND, scale="utc") == posix("2000-01-01") * SECOND + 100 * SECOND
    )


def test_calendar_codes() -> None:
    assert (
        decode("ccs_month", bytes.fromhex("20210409235958123456"), fraction_bytes=3)
        == posix("2021-04-09T23:59:58") * SECOND + 123_456_000
    )
    assert decode("ccs_day", bytes.fromhex("20210099000000"), fraction_bytes=0) == posix("2021-04-09") * SECOND
    assert decode("ccs_day", bytes.fromhex("20240366235960"), fraction_bytes=0) == posix("2025-01-01") * SECOND
    for bad in ("2021130923595800", "202a040900000000", "20210409240000", "20210009000000"):
        assert decode("ccs_month", bytes.fromhex(bad), fraction_bytes=0) is None


def test_codes_beyond_int64_are_no_times() -> None:
    assert decode("cuc", b"\xff" * 7, basic_bytes=7, fraction_bytes=0) is None
    assert decode("cds", b"\xff\xff\xff" + bytes(4), day_bits=24, sub_bits=0) is None


@pytest.mark.parametrize("options", [{"day_bits": 20}, {"sub_bits": 8}, {"bit": -8}])
def test_codes_that_do_not_exist_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cds"):
        decode("cds", bytes(20), **options)
