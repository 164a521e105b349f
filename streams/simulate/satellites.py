"""The spacecraft: CCSDS space packets with a day segmented time, laid out as schemas/xtce/demo.xml says.

Packets follow a fixed pattern of five (three attitude, one power, one radio), so sequence counts follow from the running
number. CCSDS 133.0-B-2 4.1.3 (header), 301.0-B-4 3.3 (time).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streams.clock import NS
from streams.simulate.frames import Frames, Ints, as_frames, concatenate
from streams.simulate.incidents import BATTERY_HOT, BURST_LOSS, SILENCE

__all__ = ["APIDS", "Satellites"]

POWER, ATTITUDE, RADIO = 100, 101, 102
APIDS = (POWER, ATTITUDE, RADIO)
PATTERN = (ATTITUDE, ATTITUDE, POWER, ATTITUDE, RADIO)
BURST_LOSS_SHARE = 0.6
BATTERY_HOT_DEGC = 30
EPOCH_DAYS = 4383                   # from 1958-01-01, the CCSDS epoch, to 1970-01-01
DAY_NS = 86_400 * NS
ORBIT_S = 5400.0

HEADER = [("identification", ">u2"), ("sequence", ">u2"), ("length", ">u2"), ("day", ">u2"), ("millisecond", ">u4"),
          ("microsecond", ">u2")]
LAYOUTS = {
    POWER: np.dtype([*HEADER, ("mode", "u1"), ("heaters_temperature", ">u2"), ("battery_voltage", ">u2"),
                     ("battery_current", ">i2"), ("panel_power", ">f4"), ("bus_power", ">f4")]),
    ATTITUDE: np.dtype([*HEADER, ("q", ">f4", 4), ("rate", ">i2", 3), ("altitude", ">f8")]),
    RADIO: np.dtype([*HEADER, ("lock", "u1"), ("snr", "u1"), ("bit_rate", ">u4"), ("corrected_symbols", ">u2"),
                     ("radio_temperature", "i1")]),
}


class Satellites:
    """`count` spacecraft, SAT-1, SAT-2, ..., each sending `packets_per_s`."""

    def __init__(self, count: int, start_ns: int, *, packets_per_s: float) -> None:
        self.count, self.start_ns = count, start_ns
        self.every_ns = round(NS / packets_per_s)
        self.names = [f"SAT-{number + 1}" for number in range(count)]

    def frames(self, begin_ns: int, end_ns: int, generator: np.random.Generator) -> tuple[Frames, Ints]:
        """All packets of [begin, end) in the order of their time, and the rows of those lost to incidents."""
        offset = self.start_ns + np.arange(self.count, dtype=np.int64) * self.every_ns // max(self.count, 1)
        first = np.maximum(-((offset - begin_ns) // self.every_ns), 0)
        counts = np.maximum(-((offset - end_ns) // self.every_ns), 0) - first
        source = np.repeat(np.arange(self.count, dtype=np.int64), counts)
        number = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        time_ns = offset[source] + number * self.every_ns
        parts = []
        for apid in APIDS:
            rows = np.flatnonzero(np.isin(number % len(PATTERN), [i for i, each in enumerate(PATTERN) if each == apid]))
            packets = self.packets(apid, source[rows], number[rows], time_ns[rows], generator)
            parts.append(as_frames(packets, time_ns[rows], source[rows], (0, 0, 1)))
        frames = concatenate(parts)
        frames = frames.take(np.lexsort((frames.source, frames.time_ns)))
        return frames, self.lost_to_incidents(frames, generator)

    def lost_to_incidents(self, frames: Frames, generator: np.random.Generator) -> Ints:
        since_ns = frames.time_ns - self.start_ns
        burst = (frames.source + 1 == BURST_LOSS.unit) & BURST_LOSS.is_on(since_ns)
        burst &= generator.random(len(frames)) < BURST_LOSS_SHARE
        silent = (frames.source + 1 == SILENCE.unit) & SILENCE.is_on(since_ns)
        return np.flatnonzero(burst | silent)

    def packets(
        self, apid: int, source: Ints, number: Ints, time_ns: Ints, generator: np.random.Generator
    ) -> npt.NDArray[np.void]:
        packets = np.zeros(len(source), LAYOUTS[apid])
        # How many packets of this APID came before: whole patterns, and those before this one in its own.
        places = [index for index, each in enumerate(PATTERN) if each == apid]
        before = np.searchsorted(places, number % len(PATTERN))
        packets["identification"] = 0x0800 | apid                       # version 0, telemetry, secondary header
        packets["sequence"] = 0xC000 | (number // len(PATTERN) * len(places) + before) % 16384
        packets["length"] = packets.dtype.itemsize - 7
        days, rest_ns = np.divmod(time_ns, DAY_NS)
        packets["day"] = days + EPOCH_DAYS
        packets["millisecond"], packets["microsecond"] = rest_ns // 1_000_000, rest_ns % 1_000_000 // 1000
        seconds = (time_ns - self.start_ns) / NS
        orbit = 2 * np.pi * (seconds / ORBIT_S + source / max(self.count, 1))
        {POWER: self.power, ATTITUDE: self.attitude, RADIO: self.radio}[apid](packets, source, time_ns, orbit, generator)
        return packets

    def power(
        self, packets: npt.NDArray[np.void], source: Ints, time_ns: Ints, orbit: npt.NDArray[np.float64],
        generator: np.random.Generator,
    ) -> None:
        sunlit = np.sin(orbit) > -0.4
        noise = generator.normal(size=(3, len(packets)))
        is_hot = (source + 1 == BATTERY_HOT.unit) & BATTERY_HOT.is_on(time_ns - self.start_ns)
        temperature = 22 + 4 * np.sin(orbit) + 0.2 * noise[0] + BATTERY_HOT_DEGC * is_hot
        packets["mode"] = np.where(sunlit, 1, 2)
        raw = np.clip(np.rint((temperature + 40) / 0.03125), 0, 4095).astype(np.int64)
        packets["heaters_temperature"] = np.where(temperature < 20, 2, 0) << 12 | raw
        packets["battery_voltage"] = np.rint(1000 * (28 + np.where(sunlit, 0.8, -0.6) + 0.05 * noise[1]))
        packets["battery_current"] = np.rint(1000 * (np.where(sunlit, 3.1, -2.4) + 0.1 * noise[2]))
        packets["panel_power"] = np.where(sunlit, 180 + 10 * np.cos(orbit), 0)
        packets["bus_power"] = 95 + 3 * noise[1]

    def attitude(
        self, packets: npt.NDArray[np.void], source: Ints, time_ns: Ints, orbit: npt.NDArray[np.float64],
        generator: np.random.Generator,
    ) -> None:
        half = orbit / 2
        packets["q"] = np.stack([np.sin(half), np.zeros_like(half), np.zeros_like(half), np.cos(half)], axis=1)
        packets["rate"] = np.rint(10_000 * (0.066 * np.array([1, 0, 0]) + 0.002 * generator.normal(size=(len(packets), 3))))
        packets["altitude"] = 550 + 5 * np.sin(orbit + source)

    def radio(
        self, packets: npt.NDArray[np.void], source: Ints, time_ns: Ints, orbit: npt.NDArray[np.float64],
        generator: np.random.Generator,
    ) -> None:
        packets["lock"] = 1
        snr = 12 + 3 * np.sin(7 * orbit) + 0.4 * generator.normal(size=len(packets))
        packets["snr"] = np.clip(np.rint((snr + 5) / 0.1), 0, 255)
        packets["bit_rate"] = 2_000_000
        packets["corrected_symbols"] = generator.poisson(3, len(packets))
        packets["radio_temperature"] = np.rint(31 + 6 * np.sin(orbit))
