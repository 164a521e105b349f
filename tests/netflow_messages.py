"""NetFlow and IPFIX messages made by hand."""

from __future__ import annotations

import struct

SIMPLE = ((8, 4), (12, 4), (1, 4))
ROW = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack(">I", 1000)


def fields(*specs: tuple[int, ...]) -> bytes:
    """Field specifiers; (element, length) or (element, length, enterprise)."""
    out = b""
    for spec in specs:
        out += struct.pack(">HH", spec[0] | (0x8000 if len(spec) > 2 else 0), spec[1])
        if len(spec) > 2:
            out += struct.pack(">I", spec[2])
    return out


def a_set(number: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(">HH", number, 4 + len(body)) + body


def template(number: int, *specs: tuple[int, ...]) -> bytes:
    return struct.pack(">HH", number, len(specs)) + fields(*specs)


def v9(
    *sets: bytes, sequence: int = 1, domain: int = 7, uptime: int = 5_000, seconds: int = 1_700_000_000, count: int = 99
) -> bytes:
    return struct.pack(">HHIIII", 9, count, uptime, seconds, sequence, domain) + b"".join(sets)


def ipfix(*sets: bytes, sequence: int = 1, domain: int = 7, seconds: int = 1_700_000_000, size: int | None = None) -> bytes:
    body = b"".join(sets)
    return struct.pack(">HHIII", 10, 16 + len(body) if size is None else size, seconds, sequence, domain) + body


def v5(
    *records: bytes, sequence: int = 1, uptime: int = 5_000, sampling: int = 0, count: int | None = None, engine: int = 0x0102
) -> bytes:
    number = len(records) if count is None else count
    return struct.pack(">HHIIIIHH", 5, number, uptime, 1_700_000_000, 500, sequence, engine, sampling) + b"".join(records)


def v5_record(first: int = 1_000, last: int = 4_000) -> bytes:
    return struct.pack(
        ">4s4s4sHHIIIIHHBBBBHHBBH", bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2]), bytes([10, 0, 0, 9]), 3, 4, 10, 1500,
        first, last, 443,
        5555, 0, 0x1B, 6, 8, 64512, 64513, 24, 16, 0,
    )  # fmt: skip
