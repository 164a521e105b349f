"""Where a packet's own time is, in one line of text: for links whose definition does not say it, or that have none.

    time_code("cds")                                     day segmented: 16 bits of days, 32 of ms, 16 of us (301.0-B-4 3.3)
    time_code("cds:24.32")                               24 bits of days, 32 of ps
    time_code("cuc:4.2")                                 unsegmented: 4 octets of seconds, 2 of their fraction (3.2)
    time_code("cuc:4.3,epoch=GPS")                       counted from an epoch of one's own
    time_code("ccs_day:2") time_code("ccs_month")        calendar segmented, with 2 and 0 octets of decimals (3.4)
    time_code("explicit")                                whichever the P-field in front of it says (3.2.2, 3.3.2, 3.4.2)
    time_code("cuc:4.2,at=10,epoch=2000-01-01T12:00:00,scale=tai")

`at` counts octets from the start of the packet: 6, directly after the primary header, unless it is said. framecodec.timecodes
reads the codes; this module knows no octets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

__all__ = ["EPOCHS", "EPOCH_1958_NS", "SCALES", "TimeCode", "epoch_of", "time_code"]

EPOCH_1958_NS = -378_691_200_000_000_000  # 301.0-B-4 3.2.2, 3.3.2.2
HEADER_BYTES = 6
AT_MAX = 65_541  # the last octet of the longest packet (133.0-B-2 4.1.4.1)
SCALES = ("utc", "tai", "gps", "tt")
# Name of the epoch: its date, and what the clock counts from there on.
EPOCHS = {
    "TAI": ("1958-01-01T00:00:00", "tai"),
    "J2000": ("2000-01-01T12:00:00", "tt"),
    "UNIX": ("1970-01-01T00:00:00", "utc"),
    "POSIX": ("1970-01-01T00:00:00", "utc"),
    "GPS": ("1980-01-06T00:00:00", "gps"),
}
DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?)?Z?")
CODE = re.compile(r"(cds|cuc|ccs_day|ccs_month|explicit)(?::(\d+)(?:\.(\d+))?)?")


@dataclass(frozen=True, slots=True)
class TimeCode:
    """A CCSDS time code at a fixed place of every packet (301.0-B-4)."""

    bit: int
    day_bits: int = 16
    submillisecond_bits: int = 16
    epoch_ns: int = EPOCH_1958_NS
    scale: str = "utc"
    kind: str = "cds"  # cds cuc ccs_day ccs_month explicit
    basic_bytes: int = 4  # of a CUC
    fraction_bytes: int = 0  # of a CUC: of the second; of a CCS: pairs of decimals


def epoch_of(text: str) -> tuple[int, str]:
    """(ns since 1970 by the reading of its own scale, the scale) of a date or a name in EPOCHS; ValueError for others."""
    date, scale = EPOCHS.get(text, (text, "utc"))
    match = DATE.fullmatch(date)
    if match is None:
        raise ValueError(f"'{text}' is no epoch: a date such as 1958-01-01, or one of {', '.join(EPOCHS)}")
    try:
        moment = datetime(*(int(part or 0) for part in match.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        raise ValueError(f"'{text}' is no date") from None
    return int(moment.timestamp()) * 1_000_000_000 + int((match.group(7) or "").ljust(9, "0") or 0), scale


def time_code(text: str) -> TimeCode:
    """The code that `text` describes; ValueError says what is wrong with it."""
    form, *options = (part.strip() for part in text.split(","))
    match = CODE.fullmatch(form)
    if match is None:
        raise ValueError(f"'{form}' is no time code: cds[:16.16], cuc:4.2, ccs_day[:2], ccs_month[:2] or explicit")
    kind, first, second = match[1], match[2], match[3]
    widths = widths_of(kind, None if first is None else int(first), None if second is None else int(second))
    epoch_ns, scale, at = EPOCH_1958_NS, "tai" if kind in ("cuc", "explicit") else "utc", HEADER_BYTES
    for option in options:
        key, _, value = option.partition("=")
        if key == "epoch" and kind.startswith("ccs"):
            raise ValueError("a calendar has no epoch")
        if key == "epoch":
            epoch_ns, scale = epoch_of(value)
        elif key == "at" and value.isdecimal() and int(value) <= AT_MAX:
            at = int(value)
        elif key != "scale" or value not in SCALES:
            raise ValueError(f"'{option}' is not understood: epoch=DATE, scale={'|'.join(SCALES)} or at=OCTET")
    scale = next((option.removeprefix("scale=") for option in options if option.startswith("scale=")), scale)
    return TimeCode(8 * at, epoch_ns=epoch_ns, scale=scale, kind=kind, **widths)


def widths_of(kind: str, first: int | None, second: int | None) -> dict[str, int]:
    """What the numbers after the colon say; ValueError where the standard has no such code."""
    if kind == "cuc" and first in range(1, 8) and (second or 0) in range(11):
        return {"basic_bytes": first or 0, "fraction_bytes": second or 0}
    if kind == "cds" and first in (None, 16, 24) and second in (None, 0, 16, 32):
        return {"day_bits": first or 16, "submillisecond_bits": 16 if second is None else second}
    if kind.startswith("ccs") and (first or 0) in range(7) and second is None:
        return {"fraction_bytes": first or 0}
    if kind == "explicit" and first is None:
        return {}
    allowed = {
        "cuc": "cuc:SECONDS.FRACTION, 1 to 7 and 0 to 10 octets",
        "cds": "cds:16 or 24 bits of days, .0, .16 or .32 bits below the ms",
        "explicit": "explicit has no numbers: the P-field says them",
    }
    raise ValueError(f"there is no such {kind}: {allowed.get(kind, f'{kind}:0 to 6 octets of decimals')}")
