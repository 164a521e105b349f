"""Where a batch of frames goes, and how many bytes may be on the way there.

    for partition, part in split(frames, partitions=8): ...     # FRAMES by target partition, as a collector would

    intake = Intake(buffer_bytes, deliver, losses)
    intake.offer(lane, batches.seal(now_ns))                    # from any thread; sheds when the buffer is full

`partition_of` and `source_key`, which decide the partition, are in framecodec.partitions.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from framecodec.batches import partitions_of
from streams.kafka import Topics
from streams.model import FRAMES

if TYPE_CHECKING:
    from framecodec.columns import Batch
    from framecodec.priorities import Priorities
    from streams.collectors.losses import Losses
    from streams.config import Link
    from streams.repeats import Stamp

__all__ = ["Intake", "Lane", "Parcel", "split", "topic_of"]

# What a batch on its way costs beside its columns: Python and Arrow objects.
PARCEL_BYTES = 8 * 1024
# One in so many bytes of a buffer is kept for what matters more than flows.
VITAL_SHARE = 4


def topic_of(link: Link, prefix: str) -> str:
    """The topic that frames of this link go to."""
    topics = Topics(prefix)
    return topics.frames_rack if link.is_rack else topics.frames_satellite


def split(frames: pa.RecordBatch, partitions: int) -> list[tuple[int, pa.RecordBatch]]:
    """A batch of FRAMES by target partition, ascending; rows keep their order. Empty partitions are left out.

    All rows must have the same link and codec (as every batch of FRAMES has); ValueError otherwise.
    """
    if frames.num_rows == 0:
        return []
    links, codecs = (pc.unique(frames.column(name)).to_pylist() for name in ("link", "codec"))
    if len(links) != 1 or len(codecs) != 1:
        raise ValueError(f"one link and one codec a batch, not {links} and {codecs}")
    found = partitions_of(codecs[0], links[0], *frame_buffers(frames), partitions)
    numbers = pa.Array.from_buffers(pa.int32(), frames.num_rows, [None, pa.py_buffer(found)])
    wanted = sorted(pc.unique(numbers).to_pylist())
    if len(wanted) == 1:
        return [(wanted[0], frames)]
    return [(partition, frames.filter(pc.equal(numbers, partition))) for partition in wanted]


def vital_rows(frames: pa.RecordBatch, priorities: Priorities) -> pa.Array:
    """Which rows of a batch of FRAMES hold more than flows, as booleans."""
    senders, sender_ids, ends, data = frame_buffers(frames)
    mask = pa.py_buffer(priorities.vital(senders, sender_ids, ends, data))
    return pc.equal(pa.Array.from_buffers(pa.uint8(), frames.num_rows, [None, mask]), 1)


def own_copy(filtered: pa.RecordBatch) -> pa.RecordBatch:
    """Without the dictionaries of the batch that it was filtered from: they would keep all of that batch in memory."""
    columns = [
        column.dictionary_decode().dictionary_encode() if pa.types.is_dictionary(column.type) else column
        for column in filtered.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=filtered.schema)


def frame_buffers(frames: pa.RecordBatch) -> tuple[list[str], pa.Buffer, pa.Buffer, pa.Buffer | bytes]:
    """(senders, their numbers by row, offsets, octets) of a batch of FRAMES, for the core."""
    source, frame = frames.column("source"), frames.column("frame")
    _, ids = source.indices.buffers()
    _, ends, data = frame.buffers()
    return (
        source.dictionary.to_pylist(), ids.slice(4 * source.indices.offset, 4 * len(frame)),
        ends.slice(4 * frame.offset, 4 * (len(frame) + 1)), data if data is not None else b"",
    )


@dataclass(frozen=True)
class Lane:
    """The link that a batch came from, the topic it goes to, and what in it matters most."""

    link: str
    topic: str
    priorities: Priorities | None = None        # what to give up last; None: all the same
    may_spill: bool = False                     # a stream is held back instead


@dataclass(frozen=True)
class Parcel:
    """One sealed batch on its way to Kafka; `memory_bytes` is what it holds until it is acknowledged."""

    lane: Lane
    partition: int
    batch: pa.RecordBatch
    memory_bytes: int
    stamp: Stamp | None = None          # given in the event loop, where the order of a link is decided
    segment: int | None = None          # of the spill, where it came from there
    is_own: bool = False                # what the collector says about itself


class Intake:
    """Sealed batches from any thread, as long as fewer than `buffer_bytes` are on their way.

    `deliver` is called in the caller's thread and must not block. A parcel's memory is given back with `release`. When three
    quarters of the buffer are full, datagrams that hold nothing but flows are shed; when all of it is, every datagram; both
    are counted by source. A stream calls `offer` with `may_shed=False`, goes over the limit with what it has in its hands,
    and then stops reading until `wait_for_space` calls back.
    """

    def __init__(self, buffer_bytes: int, deliver: Callable[[Parcel], None], losses: Losses) -> None:
        self.buffer_bytes = buffer_bytes
        self.deliver = deliver
        self.losses = losses
        self.held_bytes = 0
        self.lock = threading.Lock()
        self.waiting: list[Callable[[], None]] = []

    @property
    def is_full(self) -> bool:
        return self.held_bytes >= self.buffer_bytes

    def offer(self, lane: Lane, sealed: Iterable[tuple[int, int, Batch]], *, may_shed: bool = True) -> None:
        """Passes on what `Batches.seal` returned."""
        for partition, memory_bytes, sealed_batch in sealed:
            parcel = Parcel(lane, partition, sealed_batch.take(FRAMES), memory_bytes + PARCEL_BYTES)
            limit_bytes = self.buffer_bytes - self.buffer_bytes // VITAL_SHARE if may_shed else math.inf
            if self.hold(parcel.memory_bytes, limit_bytes):
                self.deliver(parcel)
                continue
            vital = self.shed_flows(parcel)
            if vital is not None and self.hold(vital.memory_bytes, self.buffer_bytes):
                self.deliver(vital)
            elif vital is not None:
                self.losses.shed(lane.link, vital.batch, "buffer_full")

    def hold(self, memory_bytes: int, limit_bytes: float) -> bool:
        with self.lock:
            fits = self.held_bytes + memory_bytes <= limit_bytes
            if fits:
                self.held_bytes += memory_bytes
        return fits

    def shed_flows(self, parcel: Parcel) -> Parcel | None:
        """Gives up the rows of a parcel that hold nothing but flows; None where no row is left."""
        if parcel.lane.priorities is None:
            return parcel
        is_vital = vital_rows(parcel.batch, parcel.lane.priorities)
        flows, vital = parcel.batch.filter(pc.invert(is_vital)), own_copy(parcel.batch.filter(is_vital))
        if not flows.num_rows:
            return parcel
        self.losses.shed(parcel.lane.link, flows, "buffer_full")
        return replace(parcel, batch=vital, memory_bytes=vital.nbytes + PARCEL_BYTES) if vital.num_rows else None

    def force(self, parcel: Parcel) -> None:
        """Count a parcel whatever the limit says; the caller passes it on."""
        with self.lock:
            self.held_bytes += parcel.memory_bytes

    def release(self, parcel: Parcel) -> None:
        """The parcel is in Kafka or given up."""
        with self.lock:
            self.held_bytes -= parcel.memory_bytes
            # Not before there is real room: readers that start and stop for each batch would do nothing else.
            ready = self.waiting if self.held_bytes <= self.buffer_bytes * 3 // 4 else []
            self.waiting = [] if ready else self.waiting
        for resume in ready:
            resume()

    def wait_for_space(self, resume: Callable[[], None]) -> None:
        """Calls `resume` once, in the thread of `release`, when there is room again."""
        with self.lock:
            self.waiting.append(resume)
