"""What a format means for HTTP: its content type, and whether its blocks can be streamed one behind the other."""

from __future__ import annotations

import io
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

    def join(self, block: bytes) -> bytes:
        return block

    def end(self) -> bytes:
        return b""


class ArrowJoiner(Joiner):
    """One Arrow IPC stream of many: one schema, all batches, one end."""

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
    return ArrowJoiner() if name == "arrowstream" else None
