"""Captures written from scratch, byte by byte, for tests: pcap, pcapng, and the packets in them."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable

__all__ = ["ethernet", "fragments_v4", "fragments_v6", "ip", "pcap", "pcapng", "udp"]

UDP = 17


def udp(payload: bytes, source_port: int = 40_000, port: int = 6343, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", source_port, port, 8 + len(payload) if length is None else length, 0) + payload


def ip(
    body: bytes, sender: str = "192.0.2.1", receiver: str = "", *, protocol: int = UDP, identification: int = 7,
    flags_and_offset: int = 0, options: bytes = b"", total: int | None = None, extensions: bytes = b"",
) -> bytes:
    """An IPv4 or IPv6 packet, by the sender's address."""
    source = ipaddress.ip_address(sender)
    target = ipaddress.ip_address(receiver or ("198.51.100.9" if source.version == 4 else "2001:db8::9"))
    if source.version == 6:
        size = len(extensions) + len(body) if total is None else total
        return struct.pack(">IHBB", 6 << 28, size, protocol, 64) + source.packed + target.packed + extensions + body
    size = 20 + len(options) + len(body) if total is None else total
    return (
        struct.pack(">BBHHHBBH", 0x45 + len(options) // 4, 0, size, identification, flags_and_offset, 64, protocol, 0)
        + source.packed + target.packed + options + body
    )


def fragments_v4(datagram: bytes, size: int, **options: object) -> list[bytes]:
    """A UDP datagram in IPv4 fragments of `size` (a multiple of 8) bytes."""
    starts = range(0, len(datagram), size)
    return [
        ip(
            datagram[at : at + size], flags_and_offset=(0x2000 if at + size < len(datagram) else 0) | at // 8,
            **options,  # type: ignore[arg-type]
        )
        for at in starts
    ]


def fragments_v6(datagram: bytes, size: int, sender: str = "2001:db8::1", identification: int = 99) -> list[bytes]:
    return [
        ip(
            datagram[at : at + size], sender, protocol=44,
            extensions=struct.pack(">BBHI", UDP, 0, at | (at + size < len(datagram)), identification),
        )
        for at in range(0, len(datagram), size)
    ]


def ethernet(packet: bytes, tags: Iterable[tuple[int, int]] = ()) -> bytes:
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    header = bytes.fromhex("020000000001020000000002") + b"".join(struct.pack(">HH", *tag) for tag in tags)
    return header + struct.pack(">H", kind) + packet


def pcap(
    packets: Iterable[tuple[int, bytes]], link_type: int = 1, *, order: str = "<", nanoseconds: bool = False,
    snap_bytes: int = 262_144,
) -> bytes:
    """(time in nanoseconds, link-layer packet) as a pcap file; cut at `snap_bytes`."""
    magic, unit = (0xA1B23C4D, 1) if nanoseconds else (0xA1B2C3D4, 1000)
    written = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snap_bytes, link_type)]
    for time_ns, packet in packets:
        seconds, rest = divmod(time_ns, 10**9)
        kept = packet[:snap_bytes]
        written.append(struct.pack(f"{order}IIII", seconds, rest // unit, len(kept), len(packet)) + kept)
    return b"".join(written)


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(f"{order}I", 12 + len(body))
    return struct.pack(f"{order}I", kind) + size + body + size


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def pcapng(
    packets: Iterable[tuple[int | None, bytes]], link_type: int = 1, *, order: str = "<", resolution: int | None = None,
    offset_s: int = 0, old_blocks: bool = False, snap_bytes: int = 0,
) -> bytes:
    """One section with one interface. `resolution` is if_tsresol; a packet without a time is a Simple Packet Block."""
    units = 10**6 if resolution is None else 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
    options = b"" if resolution is None else option(order, 9, bytes([resolution]))
    options += option(order, 14, struct.pack(f"{order}q", offset_s)) if offset_s else b""
    options += option(order, 0, b"") if options else b""
    written = [
        block(order, 0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1) + option(order, 2, b"a machine")),
        block(order, 0xBAD, b"a block of a kind that nobody knows"),
        block(order, 1, struct.pack(f"{order}HHI", link_type, 0, snap_bytes) + options),
    ]
    for time_ns, packet in packets:
        kept = packet[:snap_bytes] if snap_bytes else packet
        if time_ns is None:
            written.append(block(order, 3, struct.pack(f"{order}I", len(packet)) + kept))
            continue
        stamp = (time_ns - offset_s * 10**9) * units // 10**9
        high, low = stamp >> 32, stamp & 0xFFFFFFFF
        first = struct.pack(f"{order}HH", 0, 0) if old_blocks else struct.pack(f"{order}I", 0)
        body = first + struct.pack(f"{order}IIII", high, low, len(kept), len(packet)) + kept
        written.append(block(order, 2 if old_blocks else 6, body))
    return b"".join(written)
