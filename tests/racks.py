"""Rack datagrams for tests: captures as FRAMES batches, and hand-made sFlow.

The pcap reader here is deliberately not the product's: classic pcap, Ethernet, IPv4, UDP, nothing else.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streams.model import FLOWS, FRAMES, NAME, REJECTS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Datagram = tuple[int | None, str, bytes]  # received_ns, sender, payload


def datagrams(path: Path) -> list[Datagram]:
    """The UDP payloads of a pcap."""
    data = path.read_bytes()
    assert data[:4] == b"\xd4\xc3\xb2\xa1", "classic little-endian pcap"
    found: list[Datagram] = []
    at = 24
    while at < len(data):
        seconds, micros, size, _ = struct.unpack_from("<IIII", data, at)
        packet = data[at + 16 : at + 16 + size]
        at += 16 + size
        assert packet[12:14] == b"\x08\x00"
        udp = 14 + 4 * (packet[14] & 15)
        length = struct.unpack_from(">H", packet, udp + 4)[0]
        sender = str(ipaddress.ip_address(packet[26:30]))
        found.append((seconds * 10**9 + micros * 1000, sender, packet[udp + 8 : udp + length]))
    return found


def frames(rows: Iterable[Datagram], codec: str = "sflow") -> pa.RecordBatch:
    received, senders, payloads = zip(*rows, strict=True)
    name = pa.array(["racks"] * len(received)).dictionary_encode().cast(NAME)
    codecs = pa.array([codec] * len(received)).dictionary_encode().cast(NAME)
    sources = pa.array(senders).dictionary_encode().cast(NAME)
    return pa.record_batch(
        [pa.array(received, pa.int64()), sources, name, codecs, pa.array(payloads, pa.binary())], schema=FRAMES
    )


SCHEMAS = {"samples": SAMPLES, "derived": SAMPLES, "flows": FLOWS, "rejects": REJECTS}


def taken(decoded: Any) -> dict[str, list[dict[str, Any]]]:
    """All rows of a Decoded as dicts, after checking that every batch is valid and of its schema."""
    out = {}
    for name, schema in SCHEMAS.items():
        rows = []
        for core_batch in getattr(decoded, name):
            batch = pa.record_batch(core_batch)
            batch.validate(full=True)
            assert batch.schema.equals(schema), name
            rows += batch.to_pylist()
        out[name] = rows
    return out


def rows_of(decoder: Any, rows: Iterable[Datagram], codec: str = "sflow") -> dict[str, list[dict[str, Any]]]:
    return taken(decoder.decode(frames(rows, codec)))


def address(value: bytes | None) -> str | None:
    """A FLOWS address as text, IPv4 in its own form."""
    if value is None:
        return None
    found = ipaddress.IPv6Address(value)
    return str(found.ipv4_mapped or found)


def words(*numbers: int) -> bytes:
    """XDR words."""
    return struct.pack(f">{len(numbers)}I", *numbers)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def record(tag: int, data: bytes) -> bytes:
    return words(tag, len(data)) + padded(data)


def sample(form: int, body: bytes) -> bytes:
    return words(form, len(body)) + body


def sflow(
    *samples: bytes,
    agent: str = "10.0.0.1",
    sub_agent: int = 0,
    sequence: int = 1,
    uptime_ms: int = 1000,
    count: int | None = None,
) -> bytes:
    """An sFlow version 5 datagram."""
    packed = ipaddress.ip_address(agent).packed
    head = words(5, 1 if len(packed) == 4 else 2) + packed
    return head + words(sub_agent, sequence, uptime_ms, len(samples) if count is None else count) + b"".join(samples)


def flow_sample(
    *records: bytes, sequence: int = 1, source: int = 3, rate: int = 100, drops: int = 0, in_if: int = 3, out_if: int = 4
) -> bytes:
    return sample(1, words(sequence, source, rate, 100 * sequence, drops, in_if, out_if, len(records)) + b"".join(records))


def raw_header(packet: bytes, protocol: int = 1, frame_bytes: int | None = None) -> bytes:
    return record(1, words(protocol, frame_bytes or len(packet) + 4, 4, len(packet)) + packet)


def counter_sample(*records: bytes, sequence: int = 1, source: int = 3) -> bytes:
    return sample(2, words(sequence, source, len(records)) + b"".join(records))
