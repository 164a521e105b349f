"""XTCE time types: encoding with units, scale and offset; epoch, or offset from another time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Calibrator, TimeScale
from streams.timecodes import epoch_of

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
            try:
                epoch_ns, scale = epoch_of((epoch.text or "").strip())
            except ValueError as error:
                what, _, hint = str(error).partition(": ")
                document.fail(epoch, what, hint or None)
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
