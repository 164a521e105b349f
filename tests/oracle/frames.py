"""Transfer frames made from packets, the obvious way: what a spacecraft does, to hold a decoder against.

    frames = tm_frames(packets, length=100)          # also aos_frames, uslp_frames
    stream = b"".join(cadu(frame, code) for frame in frames)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.oracle.coding import crc16, crc32, header_check, pseudo_random

MARKER = bytes.fromhex("1acffc1d")
IDLE_APID = 2047


def packet(apid: int, count: int, data: bytes) -> bytes:
    return (apid.to_bytes(2, "big") + (0xC000 | count).to_bytes(2, "big") + (len(data) - 1).to_bytes(2, "big")) + data


def zones(packets: Iterable[bytes], size: int) -> Iterator[tuple[int | None, bytes]]:
    """Packets back to back in zones of `size` bytes, the last filled by an idle packet: (first header pointer, zone)."""
    stream, starts = b"", []
    for each in packets:
        starts.append(len(stream))
        stream += each
    rest = -len(stream) % size
    if rest:
        while rest < 7:
            rest += size
        starts.append(len(stream))
        stream += packet(IDLE_APID, 0, bytes(rest - 6))
    for begin in range(0, len(stream), size):
        inside = [start - begin for start in starts if begin <= start < begin + size]
        yield (inside[0] if inside else None), stream[begin : begin + size]


def with_fecf(frame: bytes, fecf: int) -> bytes:
    if fecf == 2:
        return frame + crc16(frame).to_bytes(2, "big")
    return frame + crc32(frame).to_bytes(4, "big") if fecf == 4 else frame


def tm_frames(
    packets: Iterable[bytes], length: int, *, scid: int = 7, vcid: int = 1, count: int = 0, fecf: int = 0, ocf: bytes = b"",
    secondary: bytes = b"",
) -> list[bytes]:
    frames = []
    header = bytes([len(secondary)]) + secondary if secondary else b""
    for pointer, zone in zones(packets, length - 6 - len(header) - len(ocf) - fecf):
        status = (0x8000 if secondary else 0) | 0x1800 | (0x7FF if pointer is None else pointer)
        word = (scid << 4) | (vcid << 1) | bool(ocf)
        frame = word.to_bytes(2, "big") + bytes([count & 255, count & 255]) + status.to_bytes(2, "big") + header + zone + ocf
        frames.append(with_fecf(frame, fecf))
        count += 1
    return frames


def aos_frames(
    packets: Iterable[bytes], length: int, *, scid: int = 9, vcid: int = 5, count: int = 0, fecf: int = 0, ocf: bytes = b"",
    insert: bytes = b"", has_header_check: bool = False, signaling: int = 0,
) -> list[bytes]:
    frames = []
    for pointer, zone in zones(packets, length - 8 - len(insert) - 2 * has_header_check - len(ocf) - fecf):
        ids = (0x4000 | (scid << 6) | vcid).to_bytes(2, "big")
        frame = ids + (count & 0xFFFFFF).to_bytes(3, "big") + bytes([signaling])
        frame += (header_check(ids + bytes([signaling])) if has_header_check else b"") + insert
        frame += (0x7FF if pointer is None else pointer).to_bytes(2, "big") + zone + ocf
        frames.append(with_fecf(frame, fecf))
        count += 1
    return frames


def uslp_frame(
    zone: bytes, pointer: int | None, *, scid: int = 300, vcid: int = 3, map_id: int = 0, count: int | None = 0,
    count_bytes: int = 3, fecf: int = 0, ocf: bytes = b"", insert: bytes = b"", rule: int = 0, protocol: int = 0,
    is_expedited: bool = False, is_control: bool = False,
) -> bytes:
    data = bytes([(rule << 5) | protocol]) + zone
    if rule < 3:                                             # 732.1-B 4.1.4.2.2: these have a pointer
        data = data[:1] + (0xFFFF if pointer is None else pointer).to_bytes(2, "big") + zone
    head = ((12 << 28) | (scid << 12) | (vcid << 5) | (map_id << 1)).to_bytes(4, "big")
    counted = (count % 256**count_bytes).to_bytes(count_bytes, "big") if count is not None and count_bytes else b""
    length = 7 + len(counted) + len(insert) + len(data) + len(ocf) + fecf
    flags = (is_expedited << 7) | (is_control << 6) | (bool(ocf) << 3) | len(counted)
    return with_fecf(head + (length - 1).to_bytes(2, "big") + bytes([flags]) + counted + insert + data + ocf, fecf)


def uslp_frames(packets: Iterable[bytes], zone_bytes: int, *, count: int = 0, **options: object) -> list[bytes]:
    return [
        uslp_frame(zone, pointer, count=count + index, **options)  # type: ignore[arg-type]
        for index, (pointer, zone) in enumerate(zones(packets, zone_bytes))
    ]


def cadu(block: bytes, *, randomized: bool = True) -> bytes:
    mask = pseudo_random(len(block)) if randomized else bytes(len(block))
    return MARKER + bytes(a ^ b for a, b in zip(block, mask, strict=True))
