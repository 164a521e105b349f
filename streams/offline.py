"""Files through the decoders: what `orbitrack decode` prints, as Arrow.

    session = Offline(link, kinds={"flow", "reject"})
    for path in files:
        with open_capture(path, link=link.name, codec=link.codec) as capture:
            for lines in session.decode(capture):       # Lines: kind, batch, and for packets what their containers say
                ...
    session.summary()

The decoders are those of the worker; here they also say where in the file something lies, and state ends with the file.
Not here: how a line is written.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from streams.decode import TransferFrameDecoder, frame_decoder
from streams.errors import InputError
from streams.model import FLOWS, FRAMES, QUALITY, REJECTS, SAMPLES
from streams.timecodes import time_code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams.captures import Capture
    from streams.config import Link

__all__ = ["KINDS", "MAIN_KIND", "Details", "Lines", "Offline", "one_frame", "rack_decoder", "rack_lines"]

# The line types of each codec in the order of their lines; without --emit all but `sample` of satellites are printed.
KINDS = {
    "sflow": ("flow", "sample", "reject"),
    "netflow": ("flow", "sample", "reject"),
    "ccsds-packets": ("packet", "sample", "reject"),
    "tm": ("frame", "packet", "sample", "reject"),
    "aos": ("frame", "packet", "sample", "reject"),
    "uslp": ("frame", "packet", "sample", "reject"),
    "cadu": ("frame", "packet", "sample", "reject"),
}
# What a format that holds one type holds.
MAIN_KIND = {"sflow": "flow", "netflow": "flow"}

always = partial(pa.field, nullable=False)

# The lines of each kind as the decoders make them; what the definition adds to packets comes on top.
SCHEMAS = {
    "flow": FLOWS,
    "sample": pa.schema([SAMPLES.field(name).with_nullable(True) for name in SAMPLES.names]),
    "frame": pa.schema([
        always("offset", pa.int64()), ("scid", pa.int32()), ("vcid", pa.int32()), ("frame_count", pa.int64()),
        always("lost_before", pa.int64()), always("fecf", pa.utf8()), always("corrected_symbols", pa.int32()),
    ]),
    "packet": pa.schema([
        always("offset", pa.int64()), ("scid", pa.int32()), ("vcid", pa.int32()), always("apid", pa.uint16()),
        always("packet_type", pa.uint8()), always("sequence_flags", pa.uint8()), always("sequence_count", pa.uint16()),
        always("size_bytes", pa.int32()), ("time", pa.timestamp("ns", tz="UTC")),
    ]),
    "reject": pa.schema([
        REJECTS.field(name).with_nullable(True) for name in ("reason", "offset", "source", "size_bytes", "detail")
    ]),
}

# The first two bytes of idle packets (APID 2047), of both types, with and without a secondary header.
IDLE_HEADERS = pa.array([b"\x07\xff", b"\x0f\xff", b"\x17\xff", b"\x1f\xff"], pa.binary())

EPOCH = pa.scalar(0, pa.timestamp("ns", tz="UTC"))

# A raw file of a rack codec is one datagram, or several messages as one after another in one; no sender makes more.
RAW_BYTES_MAX = 64 << 20


@dataclass(frozen=True)
class Details:
    """What one container says about some packets of a batch: `rows` are their row numbers there."""

    container: str
    rows: pa.Array
    raw: pa.StructArray
    values: pa.StructArray


@dataclass(frozen=True)
class Lines:
    """Rows of one kind with exactly the columns of their line. `payload`: the bytes of their packets, back to back."""

    kind: str
    batch: pa.RecordBatch
    details: list[Details] = field(default_factory=list)
    payload: bytes = b""


class Offline:
    """Decodes files of one link one after another. Raises DefinitionError where the link's definition is no good."""

    def __init__(self, link: Link, kinds: set[str], *, payload: bool = False) -> None:
        self.link = link
        self.kinds = kinds
        self.payload = payload
        self.definition = load_definition(link)
        self.input_bytes = 0
        self.frames = 0
        self.rejects: Counter[str] = Counter()
        self.encapsulation: Counter[str] = Counter()
        self.links: dict[tuple[int | None, int | None], dict[str, Any]] = {}

    @property
    def has_definition(self) -> bool:
        return self.definition is not None

    def decode(self, capture: Capture) -> Iterator[Lines]:
        """Everything of one file, in order within each kind."""
        rows = self.rack(capture) if self.link.is_rack else self.satellite(capture)
        try:
            for lines in rows:
                if lines.kind == "reject":
                    self.count_rejects(lines.batch)
                if lines.batch.num_rows and lines.kind in self.kinds:
                    yield lines
        finally:
            self.input_bytes += capture.input_bytes

    def rack(self, capture: Capture) -> Iterator[Lines]:
        decoder = rack_decoder(self.link)
        raw = b""
        for piece in capture:
            if piece.frames is None:
                raw += piece.data
                if len(raw) > RAW_BYTES_MAX:
                    raise InputError(f"{capture.name}: is no pcap or pcapng, and larger than 64 MiB")
                continue
            self.frames += piece.frames.num_rows
            yield lines_of("reject", piece.rejects)
            yield from rack_lines(decoder.decode(piece.frames))
        if raw:
            self.frames += 1
            yield from rack_lines(decoder.decode(one_frame(raw, self.link)))
        yield from rack_lines(decoder.finish())

    def satellite(self, capture: Capture) -> Iterator[Lines]:
        if self.link.codec != "ccsds-packets":
            yield from self.transfer_frames(capture)
            return
        decoder = satellite_decoder(self.link, self.definition, capture.is_capture, self.kinds)
        for piece in capture:
            if piece.frames is None:
                yield from self.satellite_lines(decoder.decode_bytes(piece.data), capture)
            else:
                yield lines_of("reject", piece.rejects)
                yield from self.satellite_lines(decoder.decode(piece.frames), capture)
        yield from self.satellite_lines(decoder.finish(), capture)
        self.count_links(decoder.counts["links"])
        self.encapsulation.update(decoder.counts.get("encapsulation", {}))

    def transfer_frames(self, capture: Capture) -> Iterator[Lines]:
        # A CADU may begin in one datagram and end in the next; a frame may not.
        boundaries = "stream" if not capture.is_capture else "frames" if self.link.codec == "cadu" else "datagrams"
        wanted = {"frames": True, "packets": True, "payload": self.payload, "samples": "sample" in self.kinds}
        emit = tuple(name for name, is_wanted in wanted.items() if is_wanted)
        frames = frame_decoder(
            self.link, boundaries=boundaries, emit=emit, spacecraft=spacecraft_of(self.link, self.definition)
        )
        packets = satellite_decoder(self.link, self.definition, False, self.kinds)
        decoder = TransferFrameDecoder(frames, packets)
        for piece in capture:
            if piece.frames is None:
                yield from self.satellite_lines(decoder.follow(decoder.frames.decode_bytes(piece.data)), capture)
            else:
                yield lines_of("reject", piece.rejects)
                yield from self.satellite_lines(decoder.follow(decoder.frames.decode(piece.frames)), capture)
        yield from self.satellite_lines(decoder.follow(decoder.frames.finish()), capture)
        yield from self.satellite_lines(packets.finish(), capture)
        self.count_links(decoder.frames.counts["links"])
        self.count_links(packets.counts["links"])

    def satellite_lines(self, decoded: Any, capture: Capture) -> Iterator[Lines]:
        first_row = 0
        for batch in getattr(decoded, "frames", ()):
            self.frames += batch.num_rows
            yield lines_of("frame", batch, payload=joined(pa.chunked_array([batch["frame"]])) if self.payload else b"")
        for batch in decoded.packets:
            details = [self.details(number, part, first_row, batch.num_rows) for number, part in decoded.containers]
            payload = self.payload_of(decoded, batch, capture) if self.payload else b""
            yield lines_of("packet", batch, [each for each in details if len(each.rows)], payload)
            first_row += batch.num_rows
        for kind, batches in (("sample", decoded.samples), ("reject", decoded.rejects)):
            for batch in batches:
                yield lines_of(kind, batch)

    def payload_of(self, decoded: Any, batch: pa.RecordBatch, capture: Capture) -> bytes:
        """The bytes of all packets of a batch."""
        if self.link.codec == "ccsds-packets":
            return payload_of(batch, capture)
        packets = pa.chunked_array([each["packet"] for each in decoded.frame_packets], pa.binary())
        if not self.link.idle:
            packets = packets.filter(pc.invert(pc.is_in(pc.binary_slice(packets, 0, 2), IDLE_HEADERS)))
        return joined(packets)

    def details(self, number: int, part: pa.RecordBatch, first_row: int, rows: int) -> Details:
        """The rows of a container's batch that belong to the packets first_row ... first_row + rows - 1."""
        places = pc.subtract(part["packet"], first_row)
        inside = pc.and_(pc.greater_equal(places, 0), pc.less(places, rows))
        if pc.all(inside).as_py() is False:
            places, part = places.filter(inside), part.filter(inside)
        return Details(self.definition.containers[number].name, places, part["raw"], part["values"])

    def count_rejects(self, batch: pa.RecordBatch) -> None:
        for entry in pc.value_counts(batch["reason"].cast(pa.utf8())).to_pylist():
            self.rejects[entry["values"]] += entry["counts"]

    def count_links(self, links: list[dict[str, Any]]) -> None:
        for each in links:
            total = self.links.setdefault((each.get("scid"), each.get("vcid")), empty_link(each))
            for name in ("frames", "lost_frames", "packets", "packet_bytes", "sequence_gaps"):
                total[name] += each.get(name, 0)
            for apid, packets in each["apids"].items():
                total["apids"][str(apid)] = total["apids"].get(str(apid), 0) + packets

    def no_lines(self, kind: str) -> Lines:
        """Lines that say what there would have been: the columns, of packets also those of every container."""
        lines = Lines(kind, pa.RecordBatch.from_pylist([], schema=SCHEMAS[kind]))
        if kind == "packet" and self.definition is not None:
            from framecodec.plan import Plan

            layouts = zip(self.definition.containers, Plan(self.definition).outputs, strict=True)
            for container, schema in ((container, layout.arrow_schema()) for container, layout in layouts):
                raw, values = (pa.array([], schema.field(name).type) for name in ("raw", "values"))
                lines.details.append(Details(container.name, pa.array([], pa.int64()), raw, values))
        return lines

    def summary(self) -> dict[str, Any]:
        """The line of type `summary`, over all files so far."""
        line = {
            "type": "summary", "input_bytes": self.input_bytes, "frames": self.frames,
            "rejects": dict(sorted(self.rejects.items())), "links": list(self.links.values()),
        }
        return line | {"encapsulation": dict(self.encapsulation)} if self.encapsulation else line


def load_definition(link: Link) -> Any:
    if link.definition is None:
        return None
    from streams import definitions

    return definitions.load(link.definition, container=link.container)


def rack_decoder(link: Link) -> Any:
    if link.codec == "sflow":
        from framecodec.sflow import SflowDecoder

        return SflowDecoder(derive=False)
    from streams.decode import netflow_decoder

    return netflow_decoder(link, derive=False)


def satellite_decoder(link: Link, definition: Any, is_capture: bool, kinds: set[str]) -> Any:
    from framecodec.packets import SpacePacketDecoder

    wanted = {"packet": ("packets", "values"), "sample": ("samples",)}
    emit = tuple(name for kind, names in wanted.items() if kind in kinds for name in names)
    return SpacePacketDecoder(
        definition, spacecraft=spacecraft_of(link, definition), link=link.name,
        boundaries="datagrams" if is_capture else "stream", emit=emit, idle=link.idle, record_header_bytes=link.record_header,
        join_segments=link.join_segments, time_code=time_code(link.time) if link.time else None,
    )


def spacecraft_of(link: Link, definition: Any) -> str:
    """Who only has files has no configured name; the definition's is the next best."""
    return link.spacecraft or (definition.name if definition is not None else link.name)


def rack_lines(decoded: Any) -> Iterator[Lines]:
    for kind, batches in (("flow", decoded.flows), ("sample", decoded.samples), ("reject", decoded.rejects)):
        for batch in batches:
            yield lines_of(kind, pa.record_batch(batch))


def lines_of(
    kind: str, batch: pa.RecordBatch, details: list[Details] | None = None, payload: bytes = b""
) -> Lines:
    batch = batch.select(SCHEMAS[kind].names)
    if kind in ("sample", "reject"):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns["source"] = null_where(pc.equal(batch["source"].dictionary, "").take(batch["source"].indices), batch["source"])
        if kind == "sample":
            columns["time"] = null_where(has_no_time(batch), batch["time"])
        batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMAS[kind])
    return Lines(kind, batch, details or [], payload)


def has_no_time(samples: pa.RecordBatch) -> pa.BooleanArray:
    """Decoders that know no time at all count from the epoch, so that windows have an order; people are not shown that."""
    is_substituted = pc.not_equal(pc.bit_wise_and(samples["quality"], pa.scalar(QUALITY["time_substituted"], pa.uint16())), 0)
    return pc.and_(pc.is_null(samples["received"]), pc.or_(is_substituted, pc.equal(samples["time"], EPOCH)))


def null_where(is_unknown: pa.BooleanArray, column: pa.Array) -> pa.Array:
    return pc.if_else(is_unknown, None, column) if pc.any(is_unknown).as_py() else column


def payload_of(packets: pa.RecordBatch, capture: Capture) -> bytes:
    """The bytes of all packets, read from the file once more; packets that touch are read together."""
    starts, ends = packets["offset"], pc.add(packets["offset"], packets["size_bytes"].cast(pa.int64()))
    breaks = pc.not_equal(ends.slice(0, len(ends) - 1), starts.slice(1)) if len(starts) else pa.array([], pa.bool_())
    last_of_run = pa.concat_arrays([breaks, pa.array([True])]) if len(starts) else breaks
    first_of_run = pa.concat_arrays([pa.array([True]), breaks]) if len(starts) else breaks
    runs = zip(starts.filter(first_of_run).to_pylist(), ends.filter(last_of_run).to_pylist(), strict=True)
    return b"".join(capture.read_again(start, end - start) for start, end in runs)


def joined(values: pa.ChunkedArray) -> bytes:
    """All values back to back."""
    whole = values.combine_chunks()
    if not len(whole):
        return b""
    joint = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(whole)], pa.int32()), whole), b"")
    return bytes(joint[0].as_buffer())


def one_frame(data: bytes, link: Link) -> pa.RecordBatch:
    """A raw file as one frame of an unknown sender at an unknown time."""
    names = [pa.array([name]).dictionary_encode() for name in ("", link.name, link.codec)]
    columns = [pa.array([None], pa.int64()), *names, pa.array([data], pa.binary())]
    frames = pa.RecordBatch.from_arrays(columns, schema=FRAMES)
    return frames.append_column("offset", pa.array([0], pa.int64()))


def empty_link(each: dict[str, Any]) -> dict[str, Any]:
    return {
        "scid": each.get("scid"), "vcid": each.get("vcid"), "frames": 0, "lost_frames": 0, "packets": 0, "packet_bytes": 0,
        "sequence_gaps": 0, "apids": {},
    }
