"""XTCE time types: encoding with units, scale and offset; epoch, or offset from another time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Calibrator, TimeScale

__all__ = ["calibrated", "time_scale"]

UNITS_NS = {
    "seconds": 1e9,
    "picoSeconds": 1e-3,
    "nanoSeconds": 1.0,
    "microSeconds": 1e3,
    "milliSeconds": 1e6,
    "minutes": 60e9,
    "hours": 3600e9,
    "days": 86_400e9,
}
# Name of the epoch: its date, and what the clock counts from there on.
EPOCHS = {
    "TAI": ("1958-01-01T00:00:00", "tai"),
    "J2000": ("2000-01-01T12:00:00", "tt"),
    "UNIX": ("1970-01-01T00:00:00", "utc"),
    "POSIX": ("1970-01-01T00:00:00", "utc"),
    "GPS": ("1980-01-06T00:00:00", "gps"),
}
DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?)?Z?")


def time_scale(
    kind: str,
    encoding: Element,
    reference: Element | None,
    document: Document,
    slot_of: Callable[[Element, Space], int],
    space: Space,
) -> TimeScale:
    """The scale of an AbsoluteTimeParameterType or RelativeTimeParameterType. `slot_of` finds the target of an OffsetFrom."""
    units = encoding.get("units", "seconds")
    if units not in UNITS_NS:
        document.fail(encoding, f"time unit '{units}' is not supported", f"one of {', '.join(UNITS_NS)}")
    unit = UNITS_NS[units]
    tick = unit * document.real(encoding, encoding.get("scale", "1"))
    offset = unit * document.real(encoding, encoding.get("offset", "0"))
    absolute = kind == "AbsoluteTimeParameterType"
    epoch_ns, scale, source = 0, "utc", -1
    if reference is not None:
        document.expect(reference, "OffsetFrom", "Epoch")
        other, epoch = reference.find("OffsetFrom"), reference.find("Epoch")
        if other is not None:
            source = slot_of(other, space)
        elif epoch is not None and absolute:
            epoch_ns, scale = epoch_of(epoch, document)
    elif absolute:
        document.fail(
            encoding, "an absolute time needs a ReferenceTime", "an Epoch such as 1958-01-01, TAI, GPS or J2000, or OffsetFrom"
        )
    return TimeScale(absolute, tick, offset, epoch_ns, scale, source)


def calibrated(scale: TimeScale, calibrator: Calibrator) -> TimeScale | None:
    """The scale of counts that go through a polynomial of degree 1 first; None for any other calibrator."""
    if calibrator.kind != "polynomial" or len(calibrator.coefficients) > 2:
        return None
    start, slope = (*calibrator.coefficients, 0.0)[:2]
    return replace(scale, tick_ns=scale.tick_ns * slope, offset_ns=scale.offset_ns + scale.tick_ns * start)


def epoch_of(element: Element, document: Document) -> tuple[int, str]:
    text = (element.text or "").strip()
    date, scale = EPOCHS.get(text, (text, "utc"))
    match = DATE.fullmatch(date)
    if match is None:
        document.fail(element, f"'{text}' is no epoch", f"a date such as 1958-01-01, or one of {', '.join(EPOCHS)}")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        seconds = int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        document.fail(element, f"'{text}' is no date")
    return seconds * 1_000_000_000 + int((match.group(7) or "").ljust(9, "0") or 0), scale
