"""Fuzzer of CADUs and transfer frames.

Invariant: whatever the octets are, decode returns; its batches are valid; frames, packets and rejects are the same however the
input was cut, and with the state carried into a new decoder at every cut; frames and rejects add up to the input; the bytes of
every packet zone are accounted for.

    python -m tests.fuzz.frames --seconds 60 [--seed N]        what it prints on failure runs the same again
    python -m tests.fuzz.sanitized frames --seconds 60         the same, with the decoders built for ASan and UBSan

Inputs are made frames of all kinds with packets of all kinds in them, then damaged: flipped, cut, doubled, dropped, moved,
slipped by bits, with lengths, pointers and counts overwritten.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framecodec.coding import ReedSolomon
from framecodec.frames import FrameDecoder
from tests.fuzz.harness import main
from tests.oracle import frames as oracle

if TYPE_CHECKING:
    from collections.abc import Iterator

CORPUS = Path(__file__).parent / "corpus" / "frames"
KINDS = ("tm", "aos", "uslp", "cadu")
Made = tuple[str, dict[str, Any], list[bytes]]


def packets(chance: random.Random) -> list[bytes]:
    found = []
    for number in range(chance.randrange(1, 12)):
        size = chance.choice((1, 2, 7, 30, 100, 100, 1000))
        form = {30: b"\xe5\x1e", 100: b"\xe6\0\0\x64", 1000: b"\xe7\0\0\0\0\0\x03\xe8", 1: b"\xe0"}.get(size)
        if form and chance.random() < 0.2:
            found.append(form + bytes(size - len(form)))
        else:
            found.append(oracle.packet(chance.choice((0, 5, 2047)), number, chance.randbytes(size)))
    return found


def made(chance: random.Random, kinds: tuple[str, ...] = KINDS) -> Made:
    """A decoder's kind, its options, and well-formed frames for it."""
    kind = chance.choice(kinds)
    fecf = chance.choice((0, 2))
    ocf = chance.choice((b"", b"\1" + chance.randbytes(3)))          # which is a CLCW
    length = chance.choice((20, 40, 120, 224))
    options: dict[str, Any] = {"fecf": chance.choice((None, bool(fecf))), "ocf": bool(ocf) if kind in ("aos", "cadu") else None}
    if chance.random() < 0.1:
        options["vc_mode"] = {chance.randrange(8): chance.choice(("packets", "bytes"))}
    if chance.random() < 0.1:
        options["uncounted"] = [chance.randrange(8)]
    if kind == "tm":
        secondary = chance.choice((b"", b"abc"))
        return kind, {"frame_length": length, **options}, oracle.tm_frames(
            packets(chance), length, fecf=fecf, ocf=ocf, secondary=secondary, count=chance.randrange(256)
        )
    if kind == "uslp":
        frames = oracle.uslp_frames(packets(chance), length, fecf=chance.choice((fecf, 4)), ocf=ocf, map_id=chance.randrange(3))
        frames += [
            oracle.uslp_frame(packet, None, rule=chance.randrange(8), fecf=fecf, is_control=chance.random() < 0.1)
            for packet in packets(chance)[:6]
        ]
        options["frame_length"] = chance.choice((None, len(frames[0])))
        if options["frame_length"] is None and chance.random() < 0.5:
            truncated = ((12 << 28) | (300 << 12) | (4 << 5) | 1).to_bytes(4, "big") + b"\xe0" + oracle.packet(7, 0, b"abc")
            options["truncated_length"] = len(truncated)
            frames.insert(chance.randrange(len(frames)), truncated)
        return kind, options, frames
    options["header_check"] = chance.random() < 0.3
    frames = oracle.aos_frames(
        packets(chance), length, fecf=fecf, ocf=ocf, count=chance.randrange(1 << 24), has_header_check=options["header_check"]
    )
    if kind == "aos":
        return kind, {"frame_length": length, **options}, frames
    coding: dict[str, Any] = {"rs": chance.choice(("none", "255,223", "255,239")), "interleave": chance.choice((1, 2, 4)),
              "rs_basis": chance.choice(("dual", "conventional")), "randomized": chance.random() < 0.7}
    blocks = frames
    if coding["rs"] != "none":
        code = ReedSolomon(32 if coding["rs"] == "255,223" else 16, coding["interleave"], coding["rs_basis"])
        if length > code.data_bytes:
            coding["interleave"] = 4
            code = ReedSolomon(code.parity_bytes, 4, coding["rs_basis"])
        blocks = [code.encode(frame) for frame in frames]
    whole = [oracle.cadu(block, randomized=coding["randomized"]) for block in blocks]
    return kind, {"frame_length": length, **options, **coding}, whole


def damage(frames: list[bytes], chance: random.Random) -> bytes:
    frames = list(frames)
    for _ in range(chance.randrange(3)):
        at = chance.randrange(len(frames))
        how = chance.randrange(3)
        if how == 0 and len(frames) > 1:
            del frames[at]
        elif how == 1:
            frames.insert(at, chance.choice(frames))
        else:
            frames[at] = bytes(value ^ 255 for value in frames[at])
    data = bytearray(b"".join(frames)[:10_000])
    for _ in range(chance.randrange(6)):
        how, at = chance.randrange(6), chance.randrange(len(data) + 1)
        if how == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif how == 1:
            data[at : at + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\x07\xff", b"\x07\xfe", b"\x1a\xcf"))
        elif how == 2:
            del data[at : at + chance.randrange(1, 300)]
        elif how == 3:
            data[at:at] = chance.randbytes(chance.randrange(1, 300))
        elif how == 4:
            bits = chance.randrange(1, 8)
            tail = int.from_bytes(data[at:], "big") << (8 - bits)
            data[at:] = tail.to_bytes(len(data) - at + 1, "big")
        else:
            for _ in range(chance.randrange(1, 200)):
                if data:
                    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def rows(outputs: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {"frames": [], "packets": [], "rejects": [], "samples": [], "derived": []}
    for output in outputs:
        for name, into in found.items():
            for batch in getattr(output, name):
                batch.validate(full=True)
                into.extend(batch.to_pylist())
    return found


def check(kind: str, options: dict[str, Any], data: bytes, cuts: list[int]) -> None:
    """The invariant, for one stream."""
    decoder = FrameDecoder(kind, boundaries="stream", **options)
    whole = rows([decoder.decode_bytes(data), decoder.finish()])
    if decoder.block_bytes:
        assert len(whole["frames"]) * decoder.block_bytes + sum(row["size_bytes"] for row in whole["rejects"]) == len(data)
    assert all(0 <= row["offset"] <= len(data) for name in ("frames", "packets", "rejects") for row in whole[name])
    outputs = []
    decoder = FrameDecoder(kind, boundaries="stream", **options)
    for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        outputs.append(decoder.decode_bytes(data[begin:end]))
        for account in decoder.accounts:
            parts = ("packet_bytes", "passed_bytes", "lost_bytes", "other_bytes", "pending_bytes")
            assert sum(account[part] for part in parts) == account["data_bytes"], account
        state = decoder.snapshot()
        decoder = FrameDecoder(kind, boundaries="stream", **options)
        decoder.restore(state)
    outputs.append(decoder.finish())
    assert rows(outputs) == whole


def trials(seed: int, kinds: tuple[str, ...] = KINDS) -> Iterator[tuple[int, str, dict[str, Any], bytes, list[int]]]:
    """Endless: (seed of the trial, kind, options, stream, places to cut it)."""
    while True:
        chance = random.Random(seed)
        kind, options, frames = made(chance, kinds)
        data = damage(frames, chance)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(12)))
        yield seed, kind, options, data, cuts
        seed += 1


if __name__ == "__main__":
    sys.exit(main("frames", __doc__, trials, check))
