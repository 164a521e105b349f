"""Which of a container's values is the time of the packet.

The first absolute time that every packet has. Failing that, three consecutive unsigned numbers after the primary header
whose units are day, ms and us and whose widths are those of a CCSDS day segmented code (301.0-B-4 3.3: 16 or 24, 32, and
0, 16 bits): many definitions, JPSS' among them, spell the code out like that. Its epoch is then 1958-01-01.
"""

from __future__ import annotations

from streams.definitions.model import Field, TimeCode

__all__ = ["find_time"]

HEADER_BITS = 48
DAY = {"day", "days", "d"}
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
        day_bits = width(day, DAY)
        next_bit, millisecond = places[index + 1]
        if day_bits not in (16, 24) or next_bit != bit + day_bits or width(millisecond, MILLISECOND) != 32:
            continue
        sub_bits = 0
        if index + 2 < len(places) and places[index + 2][0] == next_bit + 32 and width(places[index + 2][1], MICROSECOND) == 16:
            sub_bits = 16
        return -1, TimeCode(bit, day_bits, sub_bits)
    return -1, None


def width(field: Field, units: set[str]) -> int:
    """Bits of an unsigned, uncalibrated number with one of these units, else 0."""
    if (field.unit or "").lower() not in units or field.calibrators or field.encoding.kind != "unsigned":
        return 0
    return field.encoding.size.constant or 0
