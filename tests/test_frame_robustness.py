"""Streams of frames, cut and damaged in every way: the same output for every cut, and everything accounted for.

Invariants: however the bytes arrive, frames, packets, rejects and events are the same; frames and rejects add up to the input
(tests.test_frames.decode asserts both this and that every byte of a packet zone has its place); packets that come out went in.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from framecodec.coding import ReedSolomon
from tests.oracle import frames as oracle
from tests.test_frames import decode, seeded, shifted

Stream = tuple[str, dict[str, Any], list[bytes]]


def packets_of(rng: random.Random, count: int) -> list[bytes]:
    return [oracle.packet(rng.choice((5, 9)), number, rng.randbytes(rng.choice((1, 20, 90)))) for number in range(count)]


def cadus(rng: random.Random) -> Stream:
    code = ReedSolomon(16, 1, "dual")
    blocks = [code.encode(frame) for frame in oracle.aos_frames(packets_of(rng, 6), 40, fecf=2)]
    return "cadu", {"frame_length": 40, "rs": "255,239"}, [oracle.cadu(block) for block in blocks]


def tm(rng: random.Random) -> Stream:
    frames = oracle.tm_frames(packets_of(rng, 6), 40, fecf=2, ocf=b"\1\0\0\0", secondary=b"xy", count=254)
    return "tm", {"frame_length": 40}, frames


def aos(rng: random.Random) -> Stream:
    frames = oracle.aos_frames(packets_of(rng, 6), 40, fecf=2, insert=b"zone", count=2**24 - 2, has_header_check=True)
    return "aos", {"frame_length": 40, "insert_zone": 4, "header_check": True}, frames


def uslp(rng: random.Random) -> Stream:
    frames = oracle.uslp_frames(packets_of(rng, 5), 30, fecf=4)
    counted = enumerate(packets_of(rng, 3), len(frames))
    frames += [oracle.uslp_frame(packet, None, rule=7, count=count, fecf=4) for count, packet in counted]
    return "uslp", {}, frames


def unharmed(frames: list[bytes], rng: random.Random) -> bytes:
    return b"".join(frames)


def garbage(frames: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(frames) + 1)
    return b"".join(frames[:at]) + rng.randbytes(rng.randrange(1, 70)) + b"".join(frames[at:])


def garbage_inside(frames: list[bytes], rng: random.Random) -> bytes:
    data = b"".join(frames)
    at = rng.randrange(len(data))
    return data[:at] + rng.randbytes(3) + data[at:]


def flipped(frames: list[bytes], rng: random.Random) -> bytes:
    data = bytearray(b"".join(frames))
    for _ in range(6):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def dropped(frames: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(1, len(frames))
    return b"".join(frames[:at] + frames[at + 1 :])


def doubled(frames: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(frames))
    return b"".join(frames[: at + 1] + frames[at:])


def reordered(frames: list[bytes], rng: random.Random) -> bytes:
    at = rng.randrange(len(frames) - 1)
    return b"".join([*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]])


def cut_short(frames: list[bytes], rng: random.Random) -> bytes:
    data = b"".join(frames)
    return data[: rng.randrange(len(data) // 2, len(data))]


def beheaded(frames: list[bytes], rng: random.Random) -> bytes:
    return b"".join(frames)[rng.randrange(1, 40) :]


def slipped(frames: list[bytes], rng: random.Random) -> bytes:
    data = b"".join(frames)
    at = rng.randrange(len(data))
    return data[:at] + shifted(data[at:], rng.randrange(1, 8))


DAMAGES = [unharmed, garbage, garbage_inside, flipped, dropped, doubled, reordered, cut_short, beheaded, slipped]


@pytest.mark.parametrize("make", [cadus, tm, aos, uslp])
@pytest.mark.parametrize("damage", DAMAGES)
def test_output_is_the_same_for_a_cut_at_every_position(
    make: Callable[[random.Random], Stream], damage: Callable[[list[bytes], random.Random], bytes]
) -> None:
    rng = seeded(sum(map(ord, make.__name__ + damage.__name__)))
    kind, options, frames = make(rng)
    sent = set(decode(b"".join(frames), kind, **options).contents)
    data = damage(frames, rng)
    whole = decode(data, kind, **options)
    assert set(whole.contents) <= sent
    for cut in range(len(data) + 1):
        assert decode(data, kind, cuts=[cut], **options) == whole, cut
    assert decode(data, kind, cuts=range(1, len(data)), **options) == whole
    assert decode(data, kind, cuts=range(13, len(data), 13), is_resumed=True, **options) == whole


@pytest.mark.parametrize("make", [cadus, tm, aos, uslp])
def test_input_cut_after_any_byte_is_truncated_there(make: Callable[[random.Random], Stream]) -> None:
    """Frames that came whole come out; what is left of the next one is one reject of exactly its size."""
    kind, options, frames = make(seeded(51))
    data = b"".join(frames)
    ends = [0]
    for frame in frames:
        ends.append(ends[-1] + len(frame))
    whole = decode(data, kind, **options)
    for size in range(len(data)):
        output = decode(data[:size], kind, **options)
        complete = sum(end <= size for end in ends) - 1
        if complete == 0:
            continue
        assert output.frames == whole.frames[:complete], size
        left = [row for row in output.rejects if row["size_bytes"]]
        rest = [(ends[complete], size - ends[complete])] if size > ends[complete] else []
        assert [(row["offset"], row["size_bytes"]) for row in left] == rest
        assert {row["reason"] for row in left} <= {"truncated"}


@pytest.mark.parametrize("seed", range(5))
def test_frames_out_of_order_are_counted_as_what_the_count_says(seed: int) -> None:
    """Two frames that changed places: the count runs ahead by one, back, and ahead again; no wrong packet comes out."""
    rng = seeded(seed)
    packets = packets_of(rng, 60)
    frames = oracle.tm_frames(packets, 60)
    at = rng.randrange(5, len(frames) - 5)
    frames[at], frames[at + 1] = frames[at + 1], frames[at]
    output = decode(b"".join(frames), "tm", 60, fecf=False)
    lost = {row["offset"] // 60: row["lost_before"] for row in output.frames if row["lost_before"]}
    assert lost == {at: 1, at + 1: 254, at + 2: 1}
    found = Counter(output.contents)
    assert found - Counter(packets) == Counter()
    assert len(packets) - found.total() <= 8


def test_bit_tolerance_of_the_marker() -> None:
    """Every marker with up to three wrong bits, also while frames are looked for; with four nothing is found."""
    rng = seeded(52)
    kind, options, frames = cadus(rng)
    wanted = decode(b"".join(frames), kind, **options)
    for errors in range(5):
        for bit in range(0, 8, 3):
            damaged = []
            for frame in frames:
                marker = int.from_bytes(frame[:4], "big")
                for place in rng.sample(range(32), errors):
                    marker ^= 1 << place
                damaged.append(marker.to_bytes(4, "big") + frame[4:])
            data = shifted(b"".join(damaged), bit) if bit else b"".join(damaged)
            output = decode(data, kind, **options)
            assert output.contents == ([] if errors == 4 else wanted.contents), (errors, bit)
            fewer = decode(data, kind, marker_errors=1, **options)
            assert len(fewer.frames) == (len(frames) if errors <= 1 else 0), (errors, bit)


@pytest.mark.parametrize("hit", [1, 2, 3])
def test_flywheel_bears_two_markers_in_a_row_that_are_lost(hit: int) -> None:
    code = ReedSolomon(16, 1, "dual")
    blocks = [code.encode(frame) for frame in oracle.aos_frames(packets_of(seeded(53), 20), 40)]
    whole = [oracle.cadu(block) for block in blocks]
    damaged = [bytes(4) + cadu[4:] if 3 <= index < 3 + hit else cadu for index, cadu in enumerate(whole)]
    options: dict[str, Any] = {"frame_length": 40, "rs": "255,239"}
    found = [row["frame_count"] for row in decode(b"".join(damaged), "cadu", **options).frames]
    lost = [] if hit <= 2 else [3, 4, 5]
    assert found == [count for count in range(len(whole)) if count not in lost]


# -- what single fields say --------------------------------------------------------------------------------------------------
def test_tm_frames_of_idle_data_leave_a_packet_that_goes_on_alone() -> None:
    """132.0-B 4.1.2.7.6: the pointer 0x7FE. They may come between frames of one packet."""
    (packet,) = [oracle.packet(5, 1, bytes(range(200)))]
    frames = oracle.tm_frames([packet], 60)
    idle = [frame[:4] + b"\x1f\xfe" + b"\x55" * 54 for frame in frames]
    mixed = [each for pair in zip(frames, idle, strict=True) for each in pair]
    counted = [frame[:2] + bytes([index, index]) + frame[4:] for index, frame in enumerate(mixed)]
    output = decode(b"".join(counted), "tm", 60, fecf=False)
    assert output.contents == [packet]
    assert not output.rejects


def test_tm_data_without_octet_synchronization_are_no_packets() -> None:
    """132.0-B 4.1.2.7.3: with the synchronization flag set, the pointer means nothing."""
    frames = [frame[:4] + bytes([frame[4] | 0x40]) + frame[5:] for frame in oracle.tm_frames(packets_of(seeded(54), 20), 60)]
    output = decode(b"".join(frames), "tm", 60, fecf=False)
    assert output.packets == []
    assert [(row["reason"], row["detail"]) for row in output.rejects] == [
        ("not_packets", "spacecraft 7, virtual channel 1: the frames' headers say so"),
    ]


@pytest.mark.parametrize("length", [1, 30, 63])
def test_tm_secondary_header_of_any_length_is_passed_over(length: int) -> None:
    packets = packets_of(seeded(55), 20)
    frames = oracle.tm_frames(packets, 130, secondary=bytes(length))
    assert decode(b"".join(frames), "tm", 130, fecf=False).contents == packets


def test_tm_pointer_beyond_the_frame_gives_up_that_frame_only() -> None:
    packets = packets_of(seeded(56), 40)
    frames = oracle.tm_frames(packets, 60)
    frames[6] = frames[6][:4] + b"\x1b\x00" + frames[6][6:]              # 0x300 = 768
    output = decode(b"".join(frames), "tm", 60, fecf=False)
    assert set(output.contents) <= set(packets)
    assert len(output.contents) >= len(packets) - 5
    assert any("beyond its frame" in row["detail"] for row in output.rejects)


def test_aos_cycle_and_replay_flag_do_not_disturb_the_count() -> None:
    packets = packets_of(seeded(57), 30)
    frames = oracle.aos_frames(packets, 40, count=2**24 - 4)
    cycled = [frame[:5] + bytes([0x40 | (0 if index < 4 else 1)]) + frame[6:] for index, frame in enumerate(frames)]
    output = decode(b"".join(cycled), "aos", 40, fecf=False)
    assert output.contents == packets
    assert [row["frame_count"] for row in output.frames[:6]] == [2**24 - 4, 2**24 - 3, 2**24 - 2, 2**24 - 1, 0, 1]
    assert sum(row["lost_before"] for row in output.frames) == 0


def test_only_idle_data_of_aos_channel_63_is_no_packet_and_no_reject() -> None:
    idle = [b"\x42\x7f" + count.to_bytes(3, "big") + b"\0" + b"\xaa" * 34 for count in range(30)]
    output = decode(b"".join(idle), "aos", 40, fecf=False)
    assert len(output.frames) == 30
    assert {row["vcid"] for row in output.frames} == {63}
    assert output.packets == output.rejects == []
