"""Captures sent again: into Kafka as a collector would, or to a socket.

    frames = read_frames(files, link, port=0, partitions=8)          # (batch of FRAMES, bytes of the files read), ...
    target = KafkaTarget(config, link)                               # or UdpTarget, TcpTarget
    await replay(frames, target, Pace(per_second=1000), clock, sleep)

Into Kafka goes what a collector would have sent: the same topic, batches by target partition, the receive time of the
capture. A raw file of packets is cut as the TCP collector cuts a connection and has no receive times. Knows nothing of
terminals; the clock and the sleeping are handed in.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from framecodec.batches import Batches, PacketCutter
from streams.captures import PIECE_BYTES, open_capture
from streams.clock import NS
from streams.collectors.batches import split, topic_of
from streams.errors import DependencyError, InputError
from streams.kafka import KafkaError, Producer, create_topics, wait_for_broker
from streams.model import FRAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from streams.addresses import Address
    from streams.captures import Capture
    from streams.clock import Clock
    from streams.config import Config, Link

__all__ = [
    "SLOW_PIECE_BYTES", "KafkaTarget", "Pace", "Target", "TcpTarget", "UdpTarget", "read_frames", "replay", "with_received",
]

# A tick of pacing. Shorter than a collector's batch interval, so that batches at a rate look like a collector's.
TICK_S = 0.02

# Batches under way to Kafka: enough to keep the brokers busy, some MiB of memory.
UNACKNOWLEDGED_MAX = 32

# Read at a time where a pace is kept, so that progress in bytes is not far ahead of the frames sent.
SLOW_PIECE_BYTES = 1 << 14

# Who replays waits at the terminal.
KAFKA_DEADLINE_S = 15.0

# Raw transfer frames are cut for the target's sake only: decoders take a stream of them cut anywhere.
STREAM_FRAME_BYTES = 1024


class Target(Protocol):
    async def start(self) -> None: ...
    async def send(self, frames: pa.RecordBatch) -> None: ...
    async def stop(self) -> None: ...


@dataclass(frozen=True)
class Pace:
    """How fast: `per_second` frames, the captures' own receive times (`original`), or, with neither, as fast as it goes."""

    per_second: float | None = None
    original: bool = False

    def due(self, frames: pa.RecordBatch, elapsed_ns: int, sent: int, first_ns: int | None) -> int:
        """How many of `frames`, of which the first is number `sent`, are to leave by now."""
        rows: int = frames.num_rows
        if self.per_second is not None:
            return max(0, min(rows, int(elapsed_ns * self.per_second / NS) + 1 - sent))
        if not self.original or first_ns is None:
            return rows
        first_later: int = pc.index(pc.greater(frames["received_ns"], first_ns + elapsed_ns), True).as_py()
        return rows if first_later < 0 else first_later


def read_frames(
    files: Iterable[Path], link: Link, *, port: int = 0, partitions: int = 1, loops: int = 1, piece_bytes: int = PIECE_BYTES
) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Batches of FRAMES and how many bytes of the files were read for each; `piece_bytes` at a time.

    Repeated with `loops`, receive times go on as if each round had been recorded right after the one before. Raises
    InputError for a file that cannot be read.
    """
    files = list(files)
    shift_ns, newest_ns, oldest_ns = 0, None, None
    for _ in range(loops):
        for file in files:
            with open_capture(file, link=link.name, codec=link.codec, port=port, piece_bytes=piece_bytes) as capture:
                seen_bytes = 0
                for frames in capture_frames(capture, link, partitions):
                    times = pc.min_max(frames["received_ns"]).as_py()
                    if times["min"] is not None:
                        oldest_ns = min(times["min"], oldest_ns) if oldest_ns is not None else times["min"]
                        newest_ns = max(times["max"], newest_ns) if newest_ns is not None else times["max"]
                    yield shifted(frames, shift_ns), capture.input_bytes - seen_bytes
                    seen_bytes = capture.input_bytes
        if oldest_ns is not None and newest_ns is not None:
            # A second between the last frame of a round and the first of the next: more than most captures leave.
            shift_ns += newest_ns - oldest_ns + NS


def capture_frames(capture: Capture, link: Link, partitions: int) -> Iterator[pa.RecordBatch]:
    if capture.is_capture:
        for piece in capture:
            assert piece.frames is not None
            if piece.frames.num_rows:
                yield pa.RecordBatch.from_arrays(piece.frames.columns[: len(FRAMES)], schema=FRAMES)
        return
    batches = Batches(link.name, link.codec, partitions)
    if link.codec == "ccsds-packets":
        cutter = PacketCutter(batches, link.name)
        for piece in capture:
            yield from sealed(cutter.feed(piece.data, -1, 0))
        yield from sealed(cutter.finish(-1, 0))
    elif link.is_rack:
        data = b"".join(piece.data for piece in capture)
        if len(data) > 65_535:
            raise InputError(f"{capture.name}: no capture, and too large for one datagram")
        yield from sealed(batches.add([data], "", None, 0))
    else:
        size = link.frame_length or STREAM_FRAME_BYTES
        for piece in capture:
            parts = [piece.data[start : start + size] for start in range(0, len(piece.data), size)]
            yield from sealed(batches.add(parts, link.name, None, 0))
    yield from sealed(batches.seal(0, everything=True))


def sealed(batches: Iterable[tuple[int, int, Any]]) -> Iterator[pa.RecordBatch]:
    for _, _, batch in batches:
        yield pa.RecordBatch.from_arrays(pa.record_batch(batch).columns, schema=FRAMES)


def shifted(frames: pa.RecordBatch, shift_ns: int) -> pa.RecordBatch:
    if not shift_ns:
        return frames
    return frames.set_column(0, FRAMES.field(0), pc.add(frames["received_ns"], shift_ns))


def with_received(frames: pa.RecordBatch, received_ns: int) -> pa.RecordBatch:
    """The same frames, received all at one time."""
    return frames.set_column(0, FRAMES.field(0), pa.array([received_ns], pa.int64()).take(pa.array([0] * frames.num_rows)))


async def replay(
    frames: Iterable[tuple[pa.RecordBatch, int]], target: Target, pace: Pace, clock: Clock,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, *, received_now: Clock | None = None,
) -> AsyncIterator[tuple[int, int]]:
    """Sends everything and yields (frames, bytes read) as it goes. `clock`: nanoseconds of any origin, for the pace.

    With `received_now`, a wall clock, frames get the time at which they are sent as their receive time.
    """
    started_ns, sent = clock(), 0
    first_ns: int | None = None
    for batch, read_bytes in frames:
        if first_ns is None:
            first_ns = pc.min(batch["received_ns"]).as_py()
        rest = batch
        while rest.num_rows:
            ready = pace.due(rest, clock() - started_ns, sent, first_ns)
            if ready == 0:
                await sleep(TICK_S)
                continue
            part, rest = rest.slice(0, ready), rest.slice(ready)
            await target.send(with_received(part, received_now()) if received_now else part)
            sent += ready
            yield ready, 0
        yield 0, read_bytes


class KafkaTarget:
    """Into the frames topic of a link, by partition, with the acknowledgement of every batch awaited."""

    def __init__(self, config: Config, link: Link) -> None:
        self.config = config
        self.topic = topic_of(link, config.kafka.prefix)
        self.producer = Producer(config.kafka)
        self.unacknowledged: deque[Awaitable[Any]] = deque()

    async def start(self) -> None:
        await wait_for_broker(self.config.kafka, KAFKA_DEADLINE_S)
        await create_topics(self.config.kafka)
        await self.producer.start()

    async def send(self, frames: pa.RecordBatch) -> None:
        for partition, part in split(frames, self.config.kafka.partitions):
            self.unacknowledged.append(await self.producer.send(self.topic, partition, part))
        while len(self.unacknowledged) > UNACKNOWLEDGED_MAX:
            await self.acknowledged()

    async def acknowledged(self) -> None:
        try:
            await self.unacknowledged.popleft()
        except KafkaError as error:
            raise DependencyError(f"Kafka did not take a batch: {type(error).__name__}: {error}") from error

    async def stop(self) -> None:
        try:
            while self.unacknowledged:
                await self.acknowledged()
        finally:
            await self.producer.stop()


class UdpTarget:
    """One datagram a frame. The receiver sees our address as the sender."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.socket: socket.socket | None = None

    async def start(self) -> None:
        self.socket = connected(self.address, socket.SOCK_DGRAM)

    async def send(self, frames: pa.RecordBatch) -> None:
        assert self.socket is not None, "send before start"
        for frame in frames["frame"].to_pylist():
            try:
                self.socket.send(frame)
            except ConnectionRefusedError:
                # An ICMP answer to an earlier datagram: nobody listens yet. UDP promises nothing, and neither do we.
                continue
            except OSError as error:
                raise unreachable(self.address, error) from error
        await asyncio.sleep(0)

    async def stop(self) -> None:
        if self.socket is not None:
            self.socket.close()


class TcpTarget:
    """One connection, frames one after another."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.writer: asyncio.StreamWriter | None = None

    async def start(self) -> None:
        try:
            _, self.writer = await asyncio.open_connection(self.address.host, self.address.port)
        except OSError as error:
            raise unreachable(self.address, error) from error

    async def send(self, frames: pa.RecordBatch) -> None:
        assert self.writer is not None, "send before start"
        column = frames["frame"]
        _, ends, data = column.buffers()
        first, last = (memoryview(ends).cast("i")[column.offset + place] for place in (0, len(column)))
        try:
            self.writer.write(bytes(memoryview(data)[first:last]))
            await self.writer.drain()
        except OSError as error:
            raise unreachable(self.address, error) from error

    async def stop(self) -> None:
        if self.writer is not None:
            self.writer.close()
            try:
                await self.writer.wait_closed()
            except OSError as error:
                raise unreachable(self.address, error) from error


def connected(address: Address, kind: socket.SocketKind) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(address.host, address.port, type=kind)[0]
        made = socket.socket(family, kind)
    except OSError as error:
        raise unreachable(address, error) from error
    try:
        made.connect(place)
    except OSError as error:
        made.close()
        raise unreachable(address, error) from error
    return made


def unreachable(address: Address, error: OSError) -> DependencyError:
    return DependencyError(f"{address}: {error.strerror or error}", hint="is a receiver listening there?")
