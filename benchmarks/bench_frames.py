"""CADUs to packets, beside memcpy; and Reed-Solomon with errors, beside libfec.

    python benchmarks/bench_frames.py [--megabytes 64] [--rounds 7]

One thread, one run, all cases in turn, best of the rounds, in CPU time; what comes out is checked before any time is taken.
The CADUs are randomized, (255,223), interleave 4, dual basis, 1,024 bytes, as most near-Earth missions send them; with packets
of 71 bytes as JPSS telemetry has them, or of 5 kB as an imager has. They come in pieces of 1 MiB, as `orbitrack decode` reads
them. Floors and ambitions are those the project began with.

Biases: memcpy copies the same bytes within the third-level cache or outside of it as they come, 1 MiB at a time. The noisy
case has one wrong bit in 1,000, which is more than a working link shows. libfec takes one codeword of 255 bytes a call
through ctypes (0.3 us of the call are Python's); ours takes an interleaved block of 8.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import random
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from framecodec.coding import ReedSolomon, randomized
from framecodec.frames import FrameDecoder
from framecodec.packets import SpacePacketDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

MARKER = bytes.fromhex("1acffc1d")
FRAME_BYTES, ZONE_BYTES, CADU_BYTES = 892, 884, 1024
PIECE_BYTES = 1 << 20
DISTINCT_CADUS = 2048
FLOOR_MB_S, AMBITION_MB_S, FLOOR_OF_MEMCPY = 300.0, 500.0, 0.05
FLOOR_LIBFEC, AMBITION_LIBFEC = 5.0, 15.0


def space_packet(apid: int, count: int, data: bytes) -> bytes:
    return struct.pack(">HHH", 0x0800 | apid, 0xC000 | count & 0x3FFF, len(data) - 1) + data


def make_frames(packet_bytes: int, rng: random.Random) -> tuple[list[bytes], int]:
    """AOS frames full of packets, and how many packets end in them."""
    stream, starts, number = bytearray(), [], 0
    while len(stream) < DISTINCT_CADUS * ZONE_BYTES:
        starts.append(len(stream))
        stream += space_packet(11, number, rng.randbytes(packet_bytes - 6))
        number += 1
    frames, at = [], 0
    for count in range(DISTINCT_CADUS):
        begin = count * ZONE_BYTES
        while at < len(starts) and starts[at] < begin:
            at += 1
        pointer = starts[at] - begin if at < len(starts) and starts[at] < begin + ZONE_BYTES else 0x7FF
        header = struct.pack(">HI", 0x4000 | 159 << 6 | 16, count << 8) + struct.pack(">H", pointer)
        frames.append(header + bytes(stream[begin : begin + ZONE_BYTES]))
    return frames, DISTINCT_CADUS * ZONE_BYTES // packet_bytes


def cadus(frames: list[bytes]) -> bytes:
    code = ReedSolomon(32, 4, "dual")
    return b"".join(MARKER + randomized(code.encode(frame)) for frame in frames)


def with_noise(data: bytes, rng: random.Random) -> bytes:
    noisy = bytearray(data)
    for _ in range(len(data) * 8 // 1000):
        noisy[rng.randrange(len(noisy))] ^= 1 << rng.randrange(8)
    return bytes(noisy)


def pieces(data: bytes, total_bytes: int) -> list[bytes]:
    whole = data * max(1, total_bytes // len(data))
    return [whole[at : at + PIECE_BYTES] for at in range(0, len(whole), PIECE_BYTES)]


def to_frames(inputs: list[bytes], emit: tuple[str, ...] = ("packets",)) -> tuple[int, int]:
    """Packets and frames that came out, packets as Arrow."""
    decoder: Any = FrameDecoder("cadu", interleave=4, boundaries="stream", emit=emit)
    packets = 0
    for piece in inputs:
        packets += sum(batch.num_rows for batch in decoder.decode_bytes(piece).packets)
    packets += sum(batch.num_rows for batch in decoder.finish().packets)
    return packets, decoder.counts["frames"]


def to_packet_rows(inputs: list[bytes]) -> tuple[int, int]:
    """The whole way: frame rows, and packet rows with APID, count and gaps."""
    decoder: Any = FrameDecoder("cadu", interleave=4, boundaries="stream", emit=("frames", "packets"))
    packets: Any = SpacePacketDecoder(None, emit=("packets",))
    rows = 0
    for out in (*(decoder.decode_bytes(piece) for piece in inputs), decoder.finish()):
        for batch in out.packets:
            rows += sum(each.num_rows for each in packets.decode_packets(batch).packets)
    return rows, decoder.counts["frames"]


def copy(inputs: list[bytes]) -> tuple[int, int]:
    target = bytearray(PIECE_BYTES)
    for piece in inputs:
        target[: len(piece)] = piece
    return 0, 0


def best_s(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    best = dict.fromkeys(cases, float("inf"))
    for _ in range(rounds):
        for name, case in cases.items():
            start = time.process_time()
            case()
            best[name] = min(best[name], time.process_time() - start)
    return best


def bench_cadus(megabytes: int, rounds: int) -> bool:
    rng = random.Random(1)
    total = megabytes << 20
    long_frames, long_packets = make_frames(5000, rng)
    short_frames, short_packets = make_frames(71, rng)
    long, short = pieces(cadus(long_frames), total), pieces(cadus(short_frames), total)
    noisy = pieces(with_noise(cadus(long_frames), rng), total)
    for inputs, packets in ((long[:2], long_packets), (short[:2], short_packets), (noisy[:2], long_packets)):
        found, frames = to_frames(inputs)
        assert (found, frames) == (packets, DISTINCT_CADUS), (found, frames, packets)
        assert to_packet_rows(inputs) == (packets, DISTINCT_CADUS)
    sizes = {"long": sum(map(len, long)), "short": sum(map(len, short)), "noisy": sum(map(len, noisy))}
    cases: dict[str, tuple[str, Callable[[], object]]] = {
        "memcpy": ("long", lambda: copy(long)),
        "clean CADUs to packets of 5 kB": ("long", lambda: to_frames(long)),
        "clean CADUs to packets of 71 bytes": ("short", lambda: to_frames(short)),
        "... to frame and packet rows, 5 kB": ("long", lambda: to_packet_rows(long)),
        "... to frame and packet rows, 71 bytes": ("short", lambda: to_packet_rows(short)),
        "CADUs with 1 bit in 1,000 wrong": ("noisy", lambda: to_frames(noisy)),
    }
    seconds = best_s({name: case for name, (_, case) in cases.items()}, rounds)
    rates = {name: sizes[size] / 1e6 / seconds[name] for name, (size, _) in cases.items()}
    for name, rate in rates.items():
        print(f"{name:<42}{rate:9,.0f} MB/s  {rate / rates['memcpy']:6.3f}x memcpy")
    clean = rates["clean CADUs to packets of 5 kB"]
    passed = clean >= FLOOR_MB_S or clean >= FLOOR_OF_MEMCPY * rates["memcpy"]
    print(
        f"floor {FLOOR_MB_S:.0f} MB/s or {FLOOR_OF_MEMCPY}x memcpy: {'reached' if passed else 'MISSED'}; "
        f"ambition {AMBITION_MB_S:.0f} MB/s: {'reached' if clean >= AMBITION_MB_S else 'missed'}"
    )
    return passed


def bench_reed_solomon(rounds: int) -> bool:
    name = ctypes.util.find_library("fec")
    if name is None:
        print("libfec is not installed (Debian: libfec-dev): Reed-Solomon is not compared")
        return True
    libfec = ctypes.CDLL(name)
    rng = random.Random(2)
    code = ReedSolomon(32, 8, "dual")
    passed = True
    for errors in (0, 1, 16):
        blocks, words = [], []
        for _ in range(250):
            block = bytearray(code.encode(rng.randbytes(8 * 223)))
            for word in range(8):
                for index in rng.sample(range(255), errors):
                    block[index * 8 + word] ^= rng.randrange(1, 256)
                words.append(bytes(block[word::8]))
            blocks.append(bytes(block))
        buffer = ctypes.create_string_buffer(255)
        decode = libfec.decode_rs_ccsds

        def theirs(words: list[bytes] = words, buffer: Any = buffer, decode: Any = decode) -> list[int]:
            found = []
            for word in words:
                ctypes.memmove(buffer, word, 255)
                found.append(decode(buffer, None, 0, 0))
            return found

        def ours(blocks: list[bytes] = blocks) -> list[int | None]:
            return [code.decode(block)[1] for block in blocks]

        assert theirs() == [errors] * 2000
        assert ours() == [8 * errors] * 250
        seconds = best_s({"ours": ours, "libfec": theirs}, rounds)
        ratio = seconds["libfec"] / seconds["ours"]
        print(
            f"(255,223) with {errors:2} wrong symbols: {seconds['ours'] / 2000 * 1e6:6.2f} us a codeword, "
            f"libfec {seconds['libfec'] / 2000 * 1e6:6.2f}: {ratio:5.1f}x"
        )
        if errors == 16:
            passed = ratio >= FLOOR_LIBFEC
            print(
                f"floor {FLOOR_LIBFEC:.0f}x libfec at 16: {'reached' if passed else 'MISSED'}; "
                f"ambition {AMBITION_LIBFEC:.0f}x: {'reached' if ratio >= AMBITION_LIBFEC else 'missed'}"
            )
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=64, help="of CADUs in a round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print(f"python {sys.version.split()[0]}, pyarrow {pa.__version__}, {options.megabytes} MB, best of {options.rounds}")
    cadus_passed = bench_cadus(options.megabytes, options.rounds)
    return 0 if bench_reed_solomon(options.rounds) and cadus_passed else 1


if __name__ == "__main__":
    sys.exit(main())
