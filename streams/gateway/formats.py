"""What a format means for HTTP: its content type, and whether its blocks can be streamed one behind the other."""

from __future__ import annotations

from streams.gateway.sql import names

__all__ = ["content_type", "is_streamable"]

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

# chDB formats every block on its own: only formats without header, footer and separator survive being joined.
STREAMABLE = names(
    "native tsv tabseparated tsvraw tabseparatedraw csv jsoneachrow jsonlines ndjson jsoncompacteachrow jsonstringseachrow"
    " jsoncompactstringseachrow rowbinary msgpack rawblob"
)


def content_type(format: str) -> str:
    name = format.lower()
    if name in TYPE_OF_FORMAT:
        return TYPE_OF_FORMAT[name]
    return "application/octet-stream" if name.startswith(BINARY) else "text/plain; charset=UTF-8"


def is_streamable(format: str) -> bool:
    return format.lower() in STREAMABLE
