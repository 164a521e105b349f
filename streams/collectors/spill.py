"""A bounded queue of parcels on disk: what does not fit into memory while Kafka is away, also over a kill -9.

    spill = Spill(folder, bytes_max)
    spill.open()                        # finds what an earlier process left there
    spill.append(parcel)                # False: no room, or the disk says no
    parcel = spill.read()               # the oldest that was not read yet, or None
    spill.done(parcel)                  # Kafka has it; a file goes when all of it is done
    spill.close()

A file holds records one after another: a header (RECORD), a description in JSON, the Kafka value. What was read but is not
done stays, so after a kill it is read, and sent, again; the worker knows the repeats by their stamps (streams/repeats.py).
Files are read in the order of the stamps, because what was still in memory at the end of a run is written last. A record
that a kill cut short ends its file. Nothing is forced to the platter: a power failure may take the newest.

Synchronous, one thread.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import zlib
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.collectors.batches import PARCEL_BYTES, Lane, Parcel
from streams.errors import DependencyError
from streams.folders import folder_error, make_folder
from streams.ipc import decode, encode
from streams.kafka import MESSAGE_BYTES_MAX
from streams.repeats import Stamp

if TYPE_CHECKING:
    from typing import IO

__all__ = ["BATCHES_MAX", "Spill"]

log = logging.getLogger(__name__)

# Bytes of the description and of the value, and the checksum of both.
RECORD = struct.Struct("<4sIII")
MAGIC = b"otsp"
# Bounds the memory for places, a hundred bytes each.
BATCHES_MAX = 200_000
NUMBER_DIGITS = 12                      # in the name of a file
# More than a collector writes: a header that says so is damaged.
TEXT_BYTES_MAX = 64 << 10
# A file goes when all in it is done, so more of them give room back sooner.
FILES = 16


@dataclass
class Segment:
    """One file: `pending` records are not done."""

    path: Path
    file: IO[bytes]
    size_bytes: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    segment: int
    offset_bytes: int
    size_bytes: int


@dataclass
class Spill:
    folder: Path
    bytes_max: int
    segments: dict[int, Segment] = field(default_factory=dict)
    unread: deque[Place] = field(default_factory=deque)
    size_bytes: int = 0
    lock: IO[bytes] | None = None
    current: int | None = None          # the segment that is written to
    last: int = 0                       # the highest number so far
    has_failed: bool = False            # the disk said no the last time

    def open(self, first: Collection[str] = ()) -> int:
        """Takes the folder. DependencyError when another process has it.

        `first` are links whose new frames will not queue here: what is here of them is read first; returns how many parcels.
        """
        make_folder(self.folder)
        try:
            self.lock = (self.folder / "lock").open("wb")
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            paths = sorted(self.folder.glob(f"{'[0-9]' * NUMBER_DIGITS}.spill"))
            left = [(int(path.stem), Segment(path, path.open("rb+", buffering=0))) for path in paths]
        except BlockingIOError as error:
            raise DependencyError(
                f"[collector] spill: {self.folder} is used by another collector", hint="give each its own data_dir"
            ) from error
        except OSError as error:
            raise folder_error(self.folder, error) from error
        found: list[tuple[bool, str, int, Place]] = []
        for number, segment in left:
            for place, text in scan(segment, number):
                stamp = Stamp.parse(text["stamp"].encode())
                assert stamp is not None, text
                found.append((text["link"] not in first, stamp.stream.partition("/")[0], stamp.number, place))
                segment.pending += 1
            self.segments[number], self.last = segment, number
            self.size_bytes += segment.size_bytes
            if not segment.pending:
                self.remove(number)
        runs = {run: rank for rank, run in enumerate(dict.fromkeys(run for _, run, _, _ in found))}
        found.sort(key=lambda each: (each[0], runs[each[1]], each[2]))
        self.unread.extend(place for *_, place in found)
        if found:
            log.warning("%s holds %d batches (%.1f MB) of an earlier run: they are sent first",
                        self.folder, len(found), self.size_bytes / 1e6)
        return sum(not is_other for is_other, *_ in found)

    @property
    def free_bytes(self) -> int:
        return self.bytes_max - self.size_bytes

    def append(self, parcel: Parcel, keep_free_bytes: int = 0) -> bool:
        """Writes a stamped parcel; False when fewer than `keep_free_bytes` would be left, or the disk is full."""
        record = record_of(parcel)
        if self.size_bytes + len(record) > self.bytes_max - keep_free_bytes or len(self.unread) >= BATCHES_MAX:
            return False
        try:
            segment = self.writable()
            written = os.pwrite(segment.file.fileno(), record, segment.size_bytes)
            if written < len(record):
                raise OSError("the disk is full")
        except OSError as error:
            if not self.has_failed:
                log.error("%s: %s; what does not fit into memory is shed", self.folder, error)
            self.has_failed = True
            return False
        self.has_failed = False
        assert self.current is not None
        self.unread.append(Place(self.current, segment.size_bytes, len(record)))
        segment.size_bytes += len(record)
        segment.pending += 1
        self.size_bytes += len(record)
        return True

    def read(self) -> Parcel | None:
        if not self.unread:
            return None
        place = self.unread.popleft()
        record = os.pread(self.segments[place.segment].file.fileno(), place.size_bytes, place.offset_bytes)
        text, value = open_record(record)
        batch = decode(value)
        return Parcel(
            Lane(text["link"], text["topic"]), text["partition"], batch, batch.nbytes + PARCEL_BYTES,
            Stamp.parse(text["stamp"].encode()), place.segment,
        )

    def done(self, parcel: Parcel) -> None:
        """A parcel that came from here is in Kafka."""
        assert parcel.segment is not None, parcel
        segment = self.segments[parcel.segment]
        segment.pending -= 1
        if not segment.pending:
            self.remove(parcel.segment)

    def close(self) -> None:
        for segment in self.segments.values():
            segment.file.close()
        if self.lock is not None:
            self.lock.close()

    def writable(self) -> Segment:
        if self.current is not None and self.segments[self.current].size_bytes < self.bytes_max // FILES:
            return self.segments[self.current]
        number = self.last + 1
        path = self.folder / f"{number:0{NUMBER_DIGITS}}.spill"
        segment = Segment(path, path.open("xb+", buffering=0))
        self.segments[number], self.current, self.last = segment, number, number
        return segment

    def remove(self, number: int) -> None:
        segment = self.segments.pop(number)
        segment.file.close()
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be removed: %s; the next run sends it again, workers leave it out", segment.path, error)
        self.size_bytes -= segment.size_bytes
        if self.current == number:
            self.current = None


def record_of(parcel: Parcel) -> bytes:
    text = {"link": parcel.lane.link, "topic": parcel.lane.topic, "partition": parcel.partition, "stamp": str(parcel.stamp)}
    head, value = json.dumps(text).encode(), encode(parcel.batch)
    return RECORD.pack(MAGIC, len(head), len(value), zlib.crc32(value, zlib.crc32(head))) + head + value


def open_record(record: bytes) -> tuple[dict[str, Any], bytes]:
    """The description and the Kafka value; ValueError where it is not whole."""
    if len(record) < RECORD.size:
        raise ValueError("cut short")
    magic, head_bytes, value_bytes, checksum = RECORD.unpack_from(record)
    if magic != MAGIC or len(record) < RECORD.size + head_bytes + value_bytes:
        raise ValueError("cut short, or not ours")
    head, value = record[RECORD.size : RECORD.size + head_bytes], record[RECORD.size + head_bytes :]
    if zlib.crc32(value, zlib.crc32(head)) != checksum:
        raise ValueError("wrong checksum")
    return json.loads(head), value


def scan(segment: Segment, number: int) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every whole record of a file, in its order; `segment.size_bytes` follows."""
    end = os.fstat(segment.file.fileno()).st_size
    while segment.size_bytes < end:
        header = os.pread(segment.file.fileno(), RECORD.size, segment.size_bytes)
        try:
            magic, head_bytes, value_bytes, _ = RECORD.unpack(header)
            if magic != MAGIC or head_bytes > TEXT_BYTES_MAX or value_bytes > MESSAGE_BYTES_MAX:
                raise ValueError("not ours")
            size = min(RECORD.size + head_bytes + value_bytes, end - segment.size_bytes)
            text, _ = open_record(os.pread(segment.file.fileno(), size, segment.size_bytes))
        except (ValueError, struct.error) as error:
            log.error("%s: %d bytes at the end are given up: %s", segment.path, end - segment.size_bytes, error)
            return
        yield Place(number, segment.size_bytes, size), text
        segment.size_bytes += size
