"""From a link's codec to its decoder: the one place that knows which is which.

    decoder = open_decoder(link)
    decoded = decoder.decode(frames)        # FRAMES in; SAMPLES, FLOWS and REJECTS out
    state = decoder.snapshot()              # what the next batch needs; restore(state) elsewhere goes on in mid-packet

The worker, `orbitrack decode` and the tests use the same decoders. Decoders do no I/O, have no clock, never raise for what
a sender sent, and give the same rows however the input was cut into batches.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from streams.errors import ConfigError, nearest
from streams.ipc import BatchError, read_batch
from streams.model import SAMPLES, SCHEMAS
from streams.timecodes import time_code

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from streams.config import Link
    from streams.definitions import Definition

__all__ = [
    "OWN_SAMPLES", "Decoded", "Decoder", "TransferFrameDecoder", "frame_decoder", "netflow_decoder", "open_decoder", "reject",
]

# Frames that a collector makes about itself: each is a batch of SAMPLES (drops, sheds, skew), as streams/ipc.py writes it.
OWN_SAMPLES = "orbitrack-samples"
# Of the counters of rack decoders those that only grow; the others are sizes.
EVENTS = (
    "unknown_records", "unknown_samples", "withdrawals", "forgotten_sequences", "forgotten_rates", "forgotten_domains",
    "forgotten_templates",
)
SFLOW_BEGIN = pa.scalar(b"\0\0\0\5", pa.binary())


@dataclass
class Decoded:
    """What came out of some frames; every list holds record batches of one schema of the model."""

    samples: list[pa.RecordBatch] = field(default_factory=list)
    derived: list[pa.RecordBatch] = field(default_factory=list)      # SAMPLES that only windows see: one row an event
    flows: list[pa.RecordBatch] = field(default_factory=list)
    rejects: list[pa.RecordBatch] = field(default_factory=list)

    def extend(self, other: Decoded) -> None:
        for name in ("samples", "derived", "flows", "rejects"):
            getattr(self, name).extend(getattr(other, name))


class Decoder(Protocol):
    def decode(self, frames: pa.RecordBatch) -> Decoded: ...
    def snapshot(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...

    def events(self) -> Counter[str]:
        """How often it skipped or forgot something that no row shows, since it was opened."""
        ...


class CoreDecoder:
    """A decoder of the compiled core, whose batches become pyarrow's here."""

    def __init__(self, core: Any) -> None:
        self.core = core

    def decode(self, frames: pa.RecordBatch) -> Decoded:
        return as_arrow(self.core.decode(frames))

    def snapshot(self) -> bytes:
        state: bytes = self.core.snapshot()
        return state

    def restore(self, state: bytes) -> None:
        self.core.restore(state)

    def events(self) -> Counter[str]:
        # Those of satellites have a row for all they skip.
        found = self.core.counters() if hasattr(self.core, "counters") else {}
        return Counter({name: found[name] for name in EVENTS if name in found})


class TransferFrameDecoder:
    """Transfer frames, and the space packets in them: two decoders of the core, one behind the other.

    What `follow` gives is the packet decoder's output with the frames' rows in it, and in `frame_packets` the packets' bytes.
    """

    def __init__(self, frames: Any, packets: Any) -> None:
        self.frames, self.packets = frames, packets

    def decode(self, frames: pa.RecordBatch) -> Decoded:
        return as_arrow(self.follow(self.frames.decode(frames)))

    def follow(self, found: Any) -> Any:
        from framecodec.packets import Decoded as PacketOutput

        output: Any = self.packets.decode_packets(found.packets[0]) if found.packets else PacketOutput()
        output.frames, output.frame_packets = found.frames, found.packets
        output.samples = found.samples + output.samples
        output.derived = found.derived + output.derived
        output.rejects = found.rejects + output.rejects
        return output

    def snapshot(self) -> bytes:
        return both(self.frames.snapshot(), self.packets.snapshot())

    def restore(self, state: bytes) -> None:
        frames, packets = apart(state)
        self.frames.restore(frames)
        self.packets.restore(packets)

    def events(self) -> Counter[str]:
        return Counter()


class RackDecoder:
    """sFlow and NetFlow on one port: a decoder of each, and every datagram to the one whose version it begins with."""

    def __init__(self, sflow: CoreDecoder, netflow: CoreDecoder) -> None:
        self.sflow, self.netflow = sflow, netflow

    def decode(self, frames: pa.RecordBatch) -> Decoded:
        # sFlow version 5 begins with a 32-bit 5, NetFlow and IPFIX with their version in 16 bits.
        is_sflow = pc.equal(pc.binary_slice(frames["frame"], 0, 4), SFLOW_BEGIN)
        decoded = Decoded()
        for decoder, mine in ((self.sflow, is_sflow), (self.netflow, pc.invert(is_sflow))):
            part = frames.filter(mine)
            if part.num_rows:
                decoded.extend(decoder.decode(part))
        return decoded

    def snapshot(self) -> bytes:
        return both(self.sflow.snapshot(), self.netflow.snapshot())

    def restore(self, state: bytes) -> None:
        sflow, netflow = apart(state)
        self.sflow.restore(sflow)
        self.netflow.restore(netflow)

    def events(self) -> Counter[str]:
        return self.sflow.events() + self.netflow.events()


class OwnSamplesDecoder:
    """Takes the collectors' own samples out of their frames. Keeps no state."""

    def decode(self, frames: pa.RecordBatch) -> Decoded:
        decoded = Decoded()
        for row, frame in enumerate(frames["frame"].to_pylist()):    # one frame a second and collector
            try:
                decoded.samples.append(read_batch(frame, SAMPLES))
            except BatchError as error:
                decoded.rejects.append(reject(frames.slice(row, 1), "bad_batch", str(error)))
        return decoded

    def snapshot(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        assert not state

    def events(self) -> Counter[str]:
        return Counter()


def both(first: bytes, second: bytes) -> bytes:
    return len(first).to_bytes(8, "big") + first + second


def apart(state: bytes) -> tuple[bytes, bytes]:
    """What `both` put together."""
    end = 8 + int.from_bytes(state[:8], "big")
    return state[8:end], state[end:]


def as_arrow(core_output: Any) -> Decoded:
    """A core decoder's output as pyarrow batches with exactly the model's schemas."""
    decoded = Decoded()
    for name, schema in (("samples", "samples"), ("derived", "samples"), ("flows", "flows"), ("rejects", "rejects")):
        rows = [as_model(batch, SCHEMAS[schema]) for batch in getattr(core_output, name, ()) if len(batch)]
        setattr(decoded, name, rows)
    return decoded


def as_model(batch: Any, schema: pa.Schema) -> pa.RecordBatch:
    """Satellite decoders give pyarrow's batches, those of racks the core's own."""
    if isinstance(batch, pa.RecordBatch):
        return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
    taken: pa.RecordBatch = batch.take(schema)
    return taken


def reject(frames: pa.RecordBatch, reason: str, detail: str) -> pa.RecordBatch:
    """One reject row for each frame, the whole frame given up."""
    rows = frames.num_rows
    sizes = pa.compute.binary_length(frames["frame"]).cast(pa.int64())
    return pa.RecordBatch.from_arrays(
        [
            frames["received_ns"].cast(pa.timestamp("ns")).cast(pa.timestamp("ns", tz="UTC")),
            frames["source"], dictionary(reason, rows), pa.array([0] * rows, pa.int64()), sizes,
            pa.array([detail] * rows, pa.utf8()),
        ],
        schema=SCHEMAS["rejects"],
    )


def dictionary(name: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([name]))


def open_decoder(link: Link) -> Decoder:
    """A fresh decoder for a configured link. ConfigError for a codec without one, DefinitionError for a bad definition."""
    opener = OPENERS.get(link.codec)
    if opener is None:
        raise ConfigError(f"link '{link.name}': no decoder for codec {link.codec}", hint=f"there are: {', '.join(OPENERS)}")
    return opener(link)


def open_sflow(link: Link) -> Decoder:
    from framecodec.sflow import SflowDecoder

    return CoreDecoder(SflowDecoder())


def open_netflow(link: Link) -> Decoder:
    return CoreDecoder(netflow_decoder(link))


def netflow_decoder(link: Link, *, derive: bool = True) -> Any:
    """The core's decoder for a link of NetFlow and IPFIX. DefinitionError for a bad table of elements."""
    from framecodec.netflow import NetflowDecoder
    from streams.elements import load_elements

    return NetflowDecoder(
        # Over a connection a withdrawn template is gone (RFC 7011 8.1); a datagram that withdraws one may be late (8.4).
        derive=derive, udp=not (link.listen or "").startswith("tcp://"),
        enterprise=load_elements(link.elements), keeps_unknown=link.unknown_elements == "keep",
    )


def open_rack(link: Link) -> Decoder:
    from framecodec.sflow import SflowDecoder

    return RackDecoder(CoreDecoder(SflowDecoder()), CoreDecoder(netflow_decoder(link)))


def open_space_packets(link: Link) -> Decoder:
    datagrams = bool(link.listen and link.listen.startswith("udp"))
    return CoreDecoder(open_packets(link, "datagrams" if datagrams else "frames", link.record_header))


def open_packets(link: Link, boundaries: str, record_header_bytes: int = 0) -> Any:
    from framecodec.packets import SpacePacketDecoder

    definition = definition_of(link.definition, link.container) if link.definition else None
    try:
        return SpacePacketDecoder(
            definition, spacecraft=link.entity, link=link.name, boundaries=boundaries,
            emit=("samples", "derived"), parameters=link.parameters or None, join_segments=link.join_segments, idle=link.idle,
            record_header_bytes=record_header_bytes, raw=link.raw, time_code=time_code(link.time) if link.time else None,
        )
    except ValueError as error:
        raise ConfigError(f"link '{link.name}': {error}", hint=hint_of_parameters(link, definition)) from None


def hint_of_parameters(link: Link, definition: Definition | None) -> str | None:
    """What a name of `[[link]] parameters` that is like none of the definition was probably meant to be."""
    paths = [parameter.path for parameter in definition.parameters] if definition is not None else []
    parts = {part for path in paths for part in (path, *path.strip("/").split("/"))}
    guesses = (nearest(name, parts) for name in link.parameters if not {name, name.strip("/").rpartition("/")[2]} & parts)
    return next((f"did you mean {guess}?" for guess in guesses if guess), None)


@cache
def definition_of(path: Path, container: str | None) -> Definition:
    """A definition, read once a process: every partition of a worker has a decoder of its own for the same link."""
    from streams import definitions

    return definitions.load(path, container)


def open_transfer_frames(link: Link) -> Decoder:
    # A CADU may begin in one datagram and end in the next; a frame may not.
    datagrams = bool(link.listen and link.listen.startswith("udp")) and link.codec != "cadu"
    frames = frame_decoder(link, boundaries="datagrams" if datagrams else "frames", emit=("samples", "derived", "packets"))
    return TransferFrameDecoder(frames, open_packets(link, "frames"))


def frame_decoder(link: Link, *, boundaries: str, emit: tuple[str, ...], spacecraft: str = "") -> Any:
    """The core's decoder for a link of transfer frames. ConfigError for settings that do not fit together."""
    from framecodec.frames import FrameDecoder

    try:
        return FrameDecoder(
            link.codec, link.frame_length, fecf=link.fecf, ocf=link.ocf, insert_zone=link.insert_zone,
            header_check=link.header_check, vc_mode=link.vc_mode, uncounted=link.uncounted,
            randomized=link.randomized, rs=link.rs, interleave=link.interleave, rs_basis=link.rs_basis,
            spacecraft=spacecraft or link.entity, link=link.name, boundaries=boundaries, emit=emit,
            truncated_length=link.truncated_length,
        )
    except ValueError as error:
        raise ConfigError(f"link '{link.name}': {error}") from None


OPENERS: Mapping[str, Callable[[Link], Decoder]] = {
    "sflow": open_sflow,
    "netflow": open_netflow,
    "rack": open_rack,
    "ccsds-packets": open_space_packets,
    "tm": open_transfer_frames,
    "aos": open_transfer_frames,
    "uslp": open_transfer_frames,
    "cadu": open_transfer_frames,
}
