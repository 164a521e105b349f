"""Capture files and raw files, read in bounded pieces.

    with open_capture(Path("day.pcap"), link="racks", codec="sflow", port=6343) as capture:
        for piece in capture:                     # pcap and pcapng: piece.frames (FRAMES and `offset`), piece.rejects
            ...                                   # anything else: piece.data, the bytes as they are, and piece.offset

What a file is, its first four bytes tell. `-` is standard input. Raises InputError for a file that cannot be read, and in
mid-file where a capture turns out to be damaged: what was good before has been handed out by then.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from framecodec.pcap import CaptureError, CaptureReader, is_capture
from streams.errors import InputError
from streams.model import REJECTS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PIECE_BYTES", "Capture", "Piece", "open_capture"]

# Enough rows for vectorised work behind it, little enough memory: a piece is held about five times on its way.
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Piece:
    """The next part of a file: either `frames` and `rejects`, or `data` at `offset`."""

    frames: pa.RecordBatch | None = None
    rejects: pa.RecordBatch | None = None
    data: bytes = b""
    offset: int = 0


class Capture:
    """One open file. Iterate once; afterwards `input_bytes` is its size and `passed` the packets of no interest."""

    def __init__(self, name: str, stream: BinaryIO, link: str, codec: str, port: int, piece_bytes: int) -> None:
        self.name = name
        self.stream = stream
        self.reader = CaptureReader(link, codec, port=port)
        self.piece_bytes = piece_bytes
        self.input_bytes = 0
        self.first = self.read(4)
        self.is_capture = is_capture(self.first)

    @property
    def passed(self) -> int:
        return self.reader.counts["passed"]

    def __iter__(self) -> Iterator[Piece]:
        return self.datagrams() if self.is_capture else self.raw()

    def raw(self) -> Iterator[Piece]:
        offset, data = 0, self.first + self.read(self.piece_bytes - len(self.first))
        while data:
            yield Piece(data=data, offset=offset)
            offset += len(data)
            data = self.read(self.piece_bytes)

    def datagrams(self) -> Iterator[Piece]:
        data = self.first
        damage = None
        while data and damage is None:
            try:
                self.reader.feed(data)
            except CaptureError as error:
                damage = InputError(f"{self.name}: byte {error.offset}: {error}")
                damage.__cause__ = error
            else:
                data = self.read(self.piece_bytes)
            if damage is None and not data:
                self.reader.finish()
            frames, rejects = (pa.record_batch(batch) for batch in self.reader.take())
            if frames.num_rows or rejects.num_rows:
                yield Piece(frames, pa.RecordBatch.from_arrays(rejects.columns, schema=REJECTS))
        if damage is not None:
            raise damage

    def read_again(self, offset: int, size: int) -> bytes:
        """Bytes at a place in the file; InputError where it is a pipe."""
        try:
            return os.pread(self.stream.fileno(), size, offset)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read a second time: {error.strerror}") from error

    def read(self, size: int) -> bytes:
        """`size` bytes, fewer only at the end."""
        parts = []
        try:
            while size and (data := self.stream.read(size)):
                parts.append(data)
                size -= len(data)
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read: {error.strerror}") from error
        piece = b"".join(parts)
        self.input_bytes += len(piece)
        return piece


@contextmanager
def open_capture(
    file: Path, *, link: str, codec: str, port: int = 0, piece_bytes: int = PIECE_BYTES, is_read_twice: bool = False,
) -> Iterator[Capture]:
    """Opens a file (`-`: standard input) whose frames are of `link` and `codec`; `port` 0 takes all UDP datagrams.

    `is_read_twice`: `read_again` will be used; a pipe is then copied to a temporary file first.
    """
    if str(file) == "-":
        with copy_of_stdin() if is_read_twice else nullcontext(sys.stdin.buffer) as stream:
            yield Capture("standard input", stream, link, codec, port, piece_bytes)
        return
    try:
        stream = file.open("rb")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}") from error
    with stream:
        yield Capture(str(file), stream, link, codec, port, piece_bytes)


def copy_of_stdin() -> BinaryIO:
    try:
        copy = cast("BinaryIO", tempfile.TemporaryFile())           # noqa: SIM115  who called closes it
        shutil.copyfileobj(sys.stdin.buffer, copy, PIECE_BYTES)
        copy.seek(0)
    except OSError as error:
        raise InputError(f"standard input: cannot be copied to {tempfile.gettempdir()}: {error.strerror}") from error
    return copy
