"""Native blocks for clients that name their protocol version (`client_protocol_version` in the URL).

The engine writes Native as for clients that name none: without block info, and `DateTime('Asia/Tokyo')` at the top level
as `DateTime`. What a server adds for newer ones (NativeWriter.cpp, revisions of ProtocolDefines.h, from memory) is added
here to the finished blocks. The columns' types in full are asked for (`zones`) only when a block has a DateTime at all.

This module does not parse blocks: it looks for a column's name and type as they stand in front of its data. Data may look
the same; then the column cannot be told from it and keeps the plain type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streams.gateway.formats import Joiner

__all__ = ["BlockInfoJoiner", "has_block_info"]

WITH_BLOCK_INFO = 1
WITH_TIME_ZONES = 54337
# From here on every column is preceded by a byte about its serialization, which only a parser could place: as without version.
WITH_SERIALIZATIONS = 54454
# BlockInfo: field 1, is_overflows = 0; field 2, bucket_num = -1; end.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
PLAIN = "DateTime"


def has_block_info(format: str, protocol_version: int) -> bool:
    return format.lower() == "native" and WITH_BLOCK_INFO <= protocol_version < WITH_SERIALIZATIONS


class BlockInfoJoiner(Joiner):
    """Adds block info, and to DateTime columns the time zones that `zones()` names: type in full by column. Blocks."""

    def __init__(self, protocol_version: int, zones: Callable[[], Mapping[str, str]]) -> None:
        self.zones = zones
        self.changes: list[tuple[bytes, bytes]] | None = None if protocol_version >= WITH_TIME_ZONES else []

    def join(self, block: bytes) -> bytes:
        if not block:
            return block
        if self.changes is None and text(PLAIN) in block:
            self.changes = [(text(name) + text(PLAIN), text(name) + text(full)) for name, full in self.zones().items()]
        for plain, full in self.changes or ():
            if block.count(plain) == 1:
                block = block.replace(plain, full)
        return BLOCK_INFO + block


def text(value: str) -> bytes:
    """As Native writes names: the length as a variable-length number, then the bytes."""
    encoded = value.encode(errors="surrogateescape")
    length, prefix = len(encoded), bytearray()
    while length >= 0x80:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + encoded
