"""A made-up fleet: racks that send sFlow, spacecraft that send space packets, with faults and incidents, all from a seed.

    fleet = Fleet(Size(racks=20, satellites=3), seed=1, start_ns=clock())
    racks, satellites = fleet.advance(now_ns)          # what was sent since the last call, spoiled on its way
    fleet.account["racks"].as_dict()                   # exactly what was made, lost, spoiled and sent

In virtual time, as fast as it can be made, for tests and benchmarks:

    for batch in fleet.batches(seconds=3600): ...      # FRAMES, a batch a link and step

The same seed, sizes and start give the same bytes, whoever calls and how often: the fleet goes in steps of `step_ns`. After a
pause `Fleet(..., start_ns=now_ns - steps * step_ns, steps=steps)` goes on where one of that many steps ended, with the next
sequence numbers, as if no time had passed.
incidents.py lists what goes wrong and when. Knows no sockets; those are in streams/cli/simulate.py. Needs numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from streams.clock import NS
from streams.simulate.faults import Account, Faults, arrive, spoil, spoil_datagrams, spoil_stream
from streams.simulate.frames import Frames, concatenate
from streams.simulate.racks import Racks, agent_address
from streams.simulate.satellites import Satellites

__all__ = ["RACK_FAULTS", "SATELLITE_FAULTS", "STEP_NS", "Account", "Faults", "Fleet", "Frames", "Size", "agent_address"]

STEP_NS = NS // 10
RACK_FAULTS = Faults(loss=0.002, duplication=0.001, reordering=0.005, corruption=0.001)
# A byte stream neither repeats nor overtakes; what is lost was lost on the radio link before it.
SATELLITE_FAULTS = Faults(loss=0.0005, corruption=0.0005)


@dataclass(frozen=True)
class Size:
    """How much is sent. Ports come in fours; `flows_per_s` are flow samples a second and rack."""

    racks: int = 20
    satellites: int = 3
    interfaces: int = 8
    flows_per_s: float = 20.0
    counters_every_ns: int = 2 * NS
    packets_per_s: float = 10.0


class Fleet:
    """`account` has one Account for `racks` and one for each spacecraft by its name."""

    def __init__(
        self, size: Size, seed: int, start_ns: int, *, rack_faults: Faults = RACK_FAULTS,
        satellite_faults: Faults = SATELLITE_FAULTS, step_ns: int = STEP_NS, steps: int = 0,
    ) -> None:
        self.size, self.seed, self.start_ns, self.step_ns, self.steps = size, seed, start_ns, step_ns, steps
        self.begin_ns = self.time_ns
        self.rack_faults, self.satellite_faults = rack_faults, satellite_faults
        self.racks = Racks(
            size.racks, start_ns, self.begin_ns, interfaces=size.interfaces, flows_per_s=size.flows_per_s,
            counters_every_ns=size.counters_every_ns,
        )
        self.satellites = Satellites(size.satellites, start_ns, packets_per_s=size.packets_per_s)
        self.held: dict[str, Frames | None] = {}
        self.account = {name: Account() for name in ("racks", *self.satellites.names)}

    @property
    def time_ns(self) -> int:
        """Up to when everything was made."""
        return self.start_ns + self.steps * self.step_ns

    def advance(self, now_ns: int) -> tuple[Frames, list[Frames]]:
        """What arrives of everything sent in whole steps up to `now_ns`: datagrams of racks, packets of each spacecraft."""
        racks, satellites = [self.step_racks(0, 0)], [[each] for each in self.step_satellites(0, 0)]
        while (end_ns := self.time_ns + self.step_ns) <= now_ns:
            racks.append(self.step_racks(self.time_ns, end_ns))
            for parts, part in zip(satellites, self.step_satellites(self.time_ns, end_ns), strict=True):
                parts.append(part)
            self.steps += 1
        return concatenate(racks), [concatenate(parts) for parts in satellites]

    def batches(self, seconds: float, *, link: str = "racks") -> Iterator[pa.RecordBatch]:
        """FRAMES of the next `seconds`, in virtual time: of the racks' `link`, and of the links sat-1, sat-2, ..."""
        end_ns = self.time_ns + round(seconds * NS)
        senders = self.racks.names
        while self.time_ns + self.step_ns <= end_ns:
            racks, satellites = self.advance(self.time_ns + self.step_ns)
            if len(racks):
                yield racks.to_arrow(link, "sflow", senders)
            for name, packets in zip(self.satellites.names, satellites, strict=True):
                if len(packets):
                    # As a TCP collector would: the source of a stream is its link.
                    yield packets.to_arrow(name.lower(), "ccsds-packets", [name.lower()] * len(self.satellites.names))

    def step_racks(self, begin_ns: int, end_ns: int) -> Frames:
        generator = np.random.default_rng([self.seed, self.steps, 0])
        frames = self.racks.frames(begin_ns, end_ns, generator)
        account = self.account["racks"]
        arrived, self.held["racks"] = spoil(
            frames, self.held.get("racks"), self.rack_faults, generator, account, spoil_datagrams
        )
        return self.count_racks(arrived)

    def finish(self) -> Frames:
        """The datagrams that were held back for another to overtake them, and now are the last."""
        held = self.held.pop("racks", None)
        generator = np.random.default_rng([self.seed, self.steps, 2])
        if held is None:
            return self.racks.frames(0, 0, generator)
        return self.count_racks(arrive(held, self.rack_faults, generator, self.account["racks"], spoil_datagrams))

    def count_racks(self, arrived: Frames) -> Frames:
        account = self.account["racks"]
        for source, count in enumerate(np.bincount(arrived.source, minlength=self.racks.count).tolist()):
            account.by_source[self.racks.names[source]] += count
        return arrived

    def step_satellites(self, begin_ns: int, end_ns: int) -> list[Frames]:
        generator = np.random.default_rng([self.seed, self.steps, 1])
        frames, lost = self.satellites.frames(begin_ns, end_ns, generator)
        is_lost = np.zeros(len(frames), bool)
        is_lost[lost] = True
        arrived = []
        for source, name in enumerate(self.satellites.names):
            rows = np.flatnonzero(frames.source == source)
            account = self.account[name]
            extra = np.flatnonzero(is_lost[rows])
            packets, self.held[name] = spoil(
                frames.take(rows), self.held.get(name), self.satellite_faults, generator, account, spoil_stream, extra
            )
            account.by_source[name] += len(packets)
            arrived.append(packets)
        return arrived
