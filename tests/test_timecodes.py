"""Time codes against the calendar, and leap seconds against the system's own table."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from framecodec.timecodes import EPOCH_1958_NS, decode, to_utc_ns
from streams import definitions
from streams.config import Link
from streams.decode import open_decoder
from streams.timecodes import TimeCode, time_code
from tests.conftest import testdata
from tests.oracle import space_packets
from tests.satellite import decode as timed
from tests.satellite import frames

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


@pytest.mark.parametrize(("reading", "scale"), [(2**63 - 1, "gps"), (-(2**63) + 1, "tt")])
def test_a_reading_whose_utc_is_no_int64_is_an_error(reading: int, scale: str) -> None:
    with pytest.raises(OverflowError, match=f"ns of {scale} is no time in UTC"):
        to_utc_ns(reading, scale)


@pytest.mark.parametrize("scale", ["utc", "tai", "gps", "tt"])
def test_the_last_days_that_int64_holds_never_come_out_as_others(scale: str) -> None:
    """GPS's epoch, so that seconds are not whole days of 1970: the last millisecond of a day counts from it, too."""
    epoch_ns = posix("1980-01-06") * SECOND + 999_999_999
    for days in range(103_090, 103_100):
        packet = days.to_bytes(3, "big") + (86_400_999).to_bytes(4, "big") + (2**32 - 1).to_bytes(4, "big")
        found = decode("cds", packet, day_bits=24, sub_bits=32, epoch_ns=epoch_ns, scale=scale)
        assert found is None or found > 9 * 10**18, (days, found)


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


# -- codes that say what they are --------------------------------------------------------------------------------------
NOON = posix("2021-04-09T12:00:00")
SINCE_1958 = NOON - posix("1958-01-01")


@pytest.mark.parametrize("basic_bytes", [4, 5, 6, 7])
@pytest.mark.parametrize("fraction_bytes", range(8))
def test_explicit_unsegmented_codes_of_every_width(basic_bytes: int, fraction_bytes: int) -> None:
    """P-fields of one octet, and of two where it does not suffice (301.0-B-4 3.2.2)."""
    basic, fraction = min(basic_bytes, 4), min(fraction_bytes, 3)
    field = bytes([1 << 4 | basic - 1 << 2 | fraction])
    if basic_bytes > 4 or fraction_bytes > 3:
        field = bytes([0x80 | field[0], basic_bytes - basic << 5 | fraction_bytes - fraction << 2])
    seconds = (SINCE_1958 + 37).to_bytes(basic_bytes, "big")
    packet = bytes(6) + field + seconds + (256**fraction_bytes // 2).to_bytes(fraction_bytes, "big")

    half = SECOND // 2 if fraction_bytes else 0
    assert decode("explicit", packet, bit=48) == NOON * SECOND + half
    assert decode("explicit", packet[:-1], bit=48) is None
    agency = bytes([field[0] ^ 0x30]) + packet[7:]  # code 010: the epoch is the agency's
    assert decode("explicit", agency, epoch_ns=0, scale="utc") == (SINCE_1958 + 37) * SECOND + half


@pytest.mark.parametrize(("day_bits", "sub_bits"), [(16, 0), (16, 16), (16, 32), (24, 0), (24, 16), (24, 32)])
def test_explicit_day_segmented_codes(day_bits: int, sub_bits: int) -> None:
    field = 4 << 4 | (day_bits == 24) << 2 | sub_bits // 16
    days = SINCE_1958 // 86_400
    body = (
        days.to_bytes(day_bits // 8, "big") + (43_200_000).to_bytes(4, "big") + (5000).to_bytes(4, "big")[4 - sub_bits // 8 :]
    )
    below = {0: 0, 16: 5_000_000, 32: 5}[sub_bits]
    assert decode("explicit", bytes([field]) + body) == NOON * SECOND + below
    agency = bytes([field | 8]) + body
    assert decode("explicit", agency, epoch_ns=0, scale="utc") == (days * 86_400 + 43_200) * SECOND + below


@pytest.mark.parametrize(("field", "body"), [(0x50, "20210409120000"), (0x58, "20210099120000"), (0x52, "202104091200009876")])
def test_explicit_calendar_codes(field: int, body: str) -> None:
    below = 987_600_000 if field == 0x52 else 0
    assert decode("explicit", bytes([field]) + bytes.fromhex(body)) == NOON * SECOND + below


@pytest.mark.parametrize("field", [0x00, 0x30, 0x43, 0x57, 0x60, 0x70, 0xC0, 0xD0, 0x9C80])
def test_p_fields_that_mean_no_code_give_no_time(field: int) -> None:
    """Reserved identifiers and widths, extensions that do not exist, agency-defined codes of level 4."""
    assert decode("explicit", field.to_bytes(2 if field > 255 else 1, "big") + bytes(20)) is None
    assert decode("explicit", b"") is None


# -- the line of text --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cds", TimeCode(48)),
        ("cds:24.32", TimeCode(48, 24, 32)),
        ("cds:16.0,at=8", TimeCode(64, 16, 0)),
        ("cuc:4.2", TimeCode(48, scale="tai", kind="cuc", fraction_bytes=2)),
        ("cuc:5", TimeCode(48, scale="tai", kind="cuc", basic_bytes=5)),
        ("cuc:4.3, epoch=GPS", TimeCode(48, epoch_ns=posix("1980-01-06") * SECOND, scale="gps", kind="cuc", fraction_bytes=3)),
        (
            "cuc:4.2,scale=tai,epoch=2000-01-01T12:00:00.25",
            TimeCode(
                48, epoch_ns=posix("2000-01-01T12:00:00") * SECOND + SECOND // 4, scale="tai", kind="cuc", fraction_bytes=2
            ),
        ),
        ("ccs_day:2", TimeCode(48, kind="ccs_day", fraction_bytes=2)),
        ("ccs_month", TimeCode(48, kind="ccs_month")),
        ("explicit,at=7", TimeCode(56, scale="tai", kind="explicit")),
    ],
)
def test_a_line_of_text_says_where_the_time_is(text: str, code: TimeCode) -> None:
    assert time_code(text) == code


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cuc", "1 to 7 and 0 to 10 octets"),
        ("cuc:8.0", "there is no such cuc"),
        ("cds:17", "16 or 24 bits of days"),
        ("cds:0", "16 or 24 bits of days"),
        ("cds:16.8", "there is no such cds"),
        ("ccs_day:7", "0 to 6 octets of decimals"),
        ("explicit:4", "the P-field says them"),
        ("utc", "'utc' is no time code"),
        ("cds,epoch=yesterday", "'yesterday' is no epoch"),
        ("cds,epoch=2001-02-30", "'2001-02-30' is no date"),
        ("ccs_day,epoch=GPS", "a calendar has no epoch"),
        ("cds,scale=local", "'scale=local' is not understood"),
        ("cds,at=-1", "'at=-1' is not understood"),
        ("cds,when=now", "'when=now' is not understood"),
    ],
)
def test_a_line_that_makes_no_sense_says_what_would(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=re.escape(what)):
        time_code(text)


# -- packets without a definition --------------------------------------------------------------------------------------
def test_packets_without_a_definition_have_the_time_that_their_link_says() -> None:
    days = (SINCE_1958 // 86_400).to_bytes(2, "big") + (43_200_000).to_bytes(4, "big") + (500).to_bytes(2, "big")
    stream = b"".join(
        space_packets.packet(5, count, days + b"data", secondary=secondary) for count, secondary in enumerate((1, 0, 1))
    )
    out = timed([stream], time_code=time_code("cds"))
    assert [row["time"] and row["time"].value for row in out.packets] == [
        NOON * SECOND + 500_000,
        None,
        NOON * SECOND + 500_000,
    ]
    assert {row["time"].value for row in out.derived if row["quality"] == 0} == {NOON * SECOND + 500_000}
    in_pieces = timed([stream[:9], stream[9:20], stream[20:]], time_code=time_code("cds"))
    assert in_pieces.same_as(out)


def test_the_links_time_comes_before_the_definitions() -> None:
    data = testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()[: 71 * 9]
    definition = definitions.load(testdata("packets", "jpss1", "geolocation.xtce.xml"))
    known = timed([data], definition, emit=("packets",))
    said = timed([data], definition, emit=("packets",), time_code=time_code("cds"))
    elsewhere = timed([data], definition, emit=("packets",), time_code=time_code("cds:16.0,epoch=1970-01-01"))
    later = posix("1970-01-01") - posix("1958-01-01")
    assert [row["time"].value for row in said.packets] == [row["time"].value for row in known.packets]
    assert [row["time"].value // 10**6 - later * 1000 for row in elsewhere.packets] == [
        row["time"].value // 10**6 for row in known.packets
    ]


def test_a_configured_link_says_its_packets_time() -> None:
    days = (SINCE_1958 // 86_400).to_bytes(2, "big") + (43_200_000).to_bytes(4, "big") + bytes(2)
    packet = space_packets.packet(5, 0, days + b"data", secondary=1)
    received = NOON * SECOND + 250_000_000
    for time, wanted in (("cds", NOON * SECOND), (None, received)):
        link = Link(name="link", codec="ccsds-packets", time=time)
        out = open_decoder(link).decode(frames([(received, "192.0.2.1", packet)]))
        [came] = [row for batch in out.derived for row in batch.to_pylist() if row["metric"] == "packets_rx"]
        assert came["time"].value == wanted
