"""Space packets, one after another and undamaged, the obvious way."""

from __future__ import annotations


def split(data: bytes) -> list[tuple[int, bytes]]:
    """(offset, packet) of every whole packet; stops at the first that is cut off."""
    packets, at = [], 0
    while at + 6 <= len(data):
        size = 7 + int.from_bytes(data[at + 4 : at + 6], "big")
        if at + size > len(data):
            break
        packets.append((at, data[at : at + size]))
        at += size
    return packets


def packet(apid: int, count: int, data: bytes, *, flags: int = 3, kind: int = 0, secondary: int = 0) -> bytes:
    header = (kind << 12 | secondary << 11 | apid).to_bytes(2, "big") + (flags << 14 | count).to_bytes(2, "big")
    return header + (len(data) - 1).to_bytes(2, "big") + data
