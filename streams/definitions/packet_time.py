"""Which of a container's values is the time of the packet.

The first absolute time that every packet has. Failing that, three consecutive unsigned numbers after the primary header
whose units are day, ms and us and whose widths are those of a CCSDS day segmented code (301.0-B-4 3.3: 16 or 24, 32, and
0, 16 bits): many definitions, JPSS' among them, spell the code out like that. Its epoch is then 1958-01-01. Where there are
no units at all (ccsdspy tables), the names DOY, MSEC, USEC and their like do, directly after the primary header.
"""

from __future__ import annotations

from streams.definitions.model import Field, TimeCode

__all__ = ["find_time"]

HEADER_BITS = 48
DAY = {"day", "days", "d", "doy"}
MILLISECOND = {"ms", "msec", "millisecond", "milliseconds"}
MICROSECOND = {"us", "usec", "µs", "μs", "microsecond", "microseconds"}


def find_time(
    fixed: list[tuple[int, int]], scalars: list[tuple[int, int, bool]], fields: list[Field]
) -> tuple[int, TimeCode | None]:
    """(scalar column or -1, time code or None)."""
    for scalar, (field, domain, optional) in enumerate(scalars):
        time = fields[field].time
        if domain == 0 and not optional and time is not None and time.is_absolute:
            return scalar, None
    places = sorted(
        ((bit, fields[scalars[scalar][0]]) for scalar, bit in fixed if bit >= HEADER_BITS), key=lambda place: place[0]
    )
    for index, (bit, day) in enumerate(places[:-1]):
        day_bits = width(day, DAY, bit == HEADER_BITS)
        next_bit, millisecond = places[index + 1]
        if day_bits not in (16, 24) or next_bit != bit + day_bits or width(millisecond, MILLISECOND, bit == HEADER_BITS) != 32:
            continue
        sub_bits = 0
        if (
            index + 2 < len(places)
            and places[index + 2][0] == next_bit + 32
            and width(places[index + 2][1], MICROSECOND, bit == HEADER_BITS) == 16
        ):
            sub_bits = 16
        return -1, TimeCode(bit, day_bits, sub_bits)
    return -1, None


def width(field: Field, units: set[str], by_name: bool) -> int:
    """Bits of an unsigned, uncalibrated number with one of these units (or such a name and no unit), else 0."""
    word = field.unit if field.unit or not by_name else field.path.rpartition("/")[2]
    if (word or "").lower() not in units or field.calibrators or field.encoding.kind != "unsigned":
        return 0
    return field.encoding.size.constant or 0
