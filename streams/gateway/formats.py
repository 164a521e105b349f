"""What a format means for HTTP: its content type, and whether its blocks can be streamed one behind the other."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa

from streams.gateway.sql import names

__all__ = ["Joiner", "content_type", "joiner_for"]

TEXT_TYPES = {
    "application/json; charset=UTF-8": names("json jsoncompact jsonstrings jsoncompactstrings jsoncolumns jsonobjecteachrow"),
    "application/x-ndjson; charset=UTF-8": names("jsoneachrow jsonlines ndjson jsoncompacteachrow jsonstringseachrow"),
    "text/csv; charset=UTF-8; header=absent": names("csv"),
    "text/csv; charset=UTF-8; header=present": names("csvwithnames csvwithnamesandtypes"),
    "text/tab-separated-values; charset=UTF-8": names(
        "tsv tabseparated tsvraw tabseparatedraw tsvwithnames tabseparatedwithnames tsvwithnamesandtypes"
        " tabseparatedwithnamesandtypes"
    ),
    "application/xml; charset=UTF-8": names("xml"),
}
BINARY = (
    "native",
    "rowbinary",
    "arrow",
    "parquet",
    "orc",
    "avro",
    "msgpack",
    "protobuf",
    "capnproto",
    "bson",
    "npy",
    "rawblob",
)
TYPE_OF_FORMAT = {format: kind for kind, formats in TEXT_TYPES.items() for format in formats}

# chDB formats every block on its own: only formats without header, footer and separator survive being joined as they are.
SEAMLESS = names(
    "native tsv tabseparated tsvraw tabseparatedraw csv jsoneachrow jsonlines ndjson jsoncompacteachrow jsonstringseachrow"
    " jsoncompactstringseachrow rowbinary msgpack rawblob"
)


def content_type(format: str) -> str:
    name = format.lower()
    if name in TYPE_OF_FORMAT:
        return TYPE_OF_FORMAT[name]
    return "application/octet-stream" if name.startswith(BINARY) else "text/plain; charset=UTF-8"


class Joiner:
    """Makes one answer of blocks that were formatted one by one; this one only puts them behind one another."""

    has_header = False

    def join(self, block: bytes) -> bytes:
        return block

    def end(self) -> bytes:
        return b""


class ArrowJoiner(Joiner):
    """One Arrow IPC stream of many: one schema, all batches, one end."""

    has_header = True

    def __init__(self) -> None:
        self.written = Pieces()
        self.writer: pa.RecordBatchStreamWriter | None = None

    def join(self, block: bytes) -> bytes:
        with pa.ipc.open_stream(block) as reader:
            if self.writer is None:
                self.writer = pa.ipc.new_stream(self.written, reader.schema)
            for batch in reader:
                self.writer.write_batch(batch)
        return self.written.take()

    def end(self) -> bytes:
        if self.writer is not None:
            self.writer.close()
        return self.written.take()


class HeaderJoiner(Joiner):
    """Formats that name their columns first: the header of the first block is the header of all."""

    has_header = True

    def __init__(self, header_bytes: Callable[[bytes], int]) -> None:
        self.header_bytes = header_bytes
        self.header: bytes | None = None

    def join(self, block: bytes) -> bytes:
        if self.header is None:
            self.header = block[: self.header_bytes(block)]
            return block
        return block.removeprefix(self.header)


def lines_bytes(block: bytes, count: int) -> int:
    end = 0
    for _ in range(count):
        end = block.index(b"\n", end) + 1
    return end


def csv_lines_bytes(block: bytes, count: int) -> int:
    """Lines of CSV, in which a quoted name may hold line ends; quotes in it are doubled."""
    end = 0
    for _ in range(count):
        end = block.index(b"\n", end) + 1
        while block.count(b'"', 0, end) % 2:
            end = block.index(b"\n", end) + 1
    return end


def row_binary_bytes(block: bytes, texts_per_column: int) -> int:
    """RowBinary's header: the number of columns, their names, their types."""
    columns, end = leb128(block, 0)
    for _ in range(columns * texts_per_column):
        size_bytes, start = leb128(block, end)
        end = start + size_bytes
    return end


def leb128(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length number, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        at += 1
        if byte < 0x80:
            return value, at


HEADERS: dict[str, Callable[[bytes], int]] = {
    "rowbinarywithnames": partial(row_binary_bytes, texts_per_column=1),
    "rowbinarywithnamesandtypes": partial(row_binary_bytes, texts_per_column=2),
    "csvwithnames": partial(csv_lines_bytes, count=1),
    "csvwithnamesandtypes": partial(csv_lines_bytes, count=2),
}
for prefix in ("tsv", "tabseparated", "jsoncompacteachrow", "jsoncompactstringseachrow"):
    HEADERS[f"{prefix}withnames"] = partial(lines_bytes, count=1)
    HEADERS[f"{prefix}withnamesandtypes"] = partial(lines_bytes, count=2)


class Pieces(io.RawIOBase):
    """A file that is emptied as it is written."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        taken, self.pieces = b"".join(self.pieces), []
        return taken


def joiner_for(format: str) -> Joiner | None:
    """How to stream a format; None for those that the engine must format in one go."""
    name = format.lower()
    if name in SEAMLESS:
        return Joiner()
    if name in HEADERS:
        return HeaderJoiner(HEADERS[name])
    return ArrowJoiner() if name == "arrowstream" else None
