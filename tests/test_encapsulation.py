"""Encapsulation packets (CCSDS 133.1-B-3) among space packets: passed over by their length and counted."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.packets import SpacePacketDecoder
from tests.oracle import space_packets
from tests.satellite import Output, frames
from tests.test_decode import lines

SEED = 20261123
IDLE_OCTET = b"\xe0"


def encapsulated(data: bytes, length_of_length: int, protocol: int = 4) -> bytes:
    """A packet of the smallest header with that length of length; what is beyond the length is zero."""
    if length_of_length == 0:
        return IDLE_OCTET
    header = 1 << length_of_length
    octets = length_of_length if length_of_length < 3 else 4
    size = (header + len(data)).to_bytes(octets, "big")
    return bytes([0xE0 | protocol << 2 | length_of_length]) + bytes(header - 1 - octets) + size + data


def run(pieces: list[bytes]) -> tuple[Output, dict[str, int]]:
    decoder = SpacePacketDecoder(boundaries="stream")
    out = Output([*(decoder.decode_bytes(piece) for piece in pieces), decoder.finish()])
    return out, decoder.counts.get("encapsulation", {"packets": 0, "bytes": 0, "idle_bytes": 0})


def whole_input(out: Output, passed: dict[str, int]) -> int:
    return sum(row["size_bytes"] for row in out.packets + out.rejects) + passed["bytes"]


def mixed(randoms: random.Random, packets: int = 40) -> tuple[bytes, int, list[bytes]]:
    """A stream, how many octets of it are space packets', and its encapsulation packets."""
    counts = {5: 0, 77: 16380}
    stream, between, octets = b"", [], 0
    for _ in range(packets):
        apid = randoms.choice(list(counts))
        counts[apid] = (counts[apid] + 1) % 16384
        packet = space_packets.packet(apid, counts[apid], randoms.randbytes(randoms.randrange(1, 80)))
        octets += len(packet)
        stream += packet
        for _ in range(randoms.choice((0, 0, 1, 2))):
            form = randoms.randrange(4)
            between.append(encapsulated(randoms.randbytes(randoms.randrange(200)), form, randoms.choice((0, 2, 4))))
            stream += between[-1]
    return stream, octets, between


@pytest.mark.parametrize("length_of_length", range(4))
def test_every_header_form_is_passed_over_wherever_it_stands(length_of_length: int) -> None:
    packets = [space_packets.packet(9, count, bytes(20)) for count in range(8)]
    strange = encapsulated(bytes(range(40)), length_of_length)
    for place in range(9):
        out, passed = run([b"".join([*packets[:place], strange, *packets[place:]])])
        assert [row["sequence_count"] for row in out.packets] == list(range(8)), place
        assert [row["lost_before"] for row in out.packets] == [0] * 8
        assert (out.rejects, passed["packets"], passed["bytes"]) == ([], 1, len(strange))


@pytest.mark.parametrize("seed", range(SEED, SEED + 6))
def test_a_stream_of_both_is_the_same_for_every_cut(seed: int) -> None:
    data, octets, between = mixed(random.Random(seed))
    whole, passed = run([data])

    assert whole.rejects == [], f"seed {seed}"
    assert sum(row["size_bytes"] for row in whole.packets) == octets
    assert passed["packets"] == len(between)
    assert passed["bytes"] == sum(map(len, between)) == len(data) - octets
    assert passed["idle_bytes"] == sum(len(packet) for packet in between if packet[0] >> 2 & 7 == 0)
    for pieces in ([data[at : at + 1] for at in range(len(data))], *([data[:at], data[at:]] for at in range(0, len(data), 31))):
        again, counted = run(pieces)
        assert again.same_as(whole), f"seed {seed}"
        assert counted == passed


@pytest.mark.parametrize("seed", range(SEED, SEED + 30))
def test_damage_is_accounted_for_to_the_octet(seed: int) -> None:
    randoms = random.Random(seed)
    data = bytearray(mixed(randoms)[0])
    for _ in range(3):
        at = randoms.randrange(len(data))
        kind = randoms.randrange(3)
        if kind == 0:
            data[at:at] = randoms.randbytes(3)
        elif kind == 1:
            del data[at : at + randoms.randrange(1, 40)]
        else:
            data[at] ^= 1 << randoms.randrange(8)
    whole, passed = run([bytes(data)])

    assert whole_input(whole, passed) == len(data), f"seed {seed}"
    assert len(whole.packets) >= 25
    again, counted = run([bytes(data[at : at + 13]) for at in range(0, len(data), 13)])
    assert again.same_as(whole) and counted == passed, f"seed {seed}"


def test_a_run_of_idle_octets_is_idle() -> None:
    packets = [space_packets.packet(9, count, bytes(20)) for count in range(8)]
    out, passed = run([b"".join(packets[:4]) + IDLE_OCTET * 1000 + b"".join(packets[4:]) + IDLE_OCTET * 3])

    assert (len(out.packets), out.rejects) == (8, [])
    assert passed == {"packets": 1003, "bytes": 1003, "idle_bytes": 1003}


def test_one_that_the_end_cuts_is_truncated_once_there_were_others() -> None:
    first, second = (space_packets.packet(9, count, bytes(20)) for count in (1, 2))
    strange = encapsulated(bytes(50), 2)
    for left in range(1, len(strange)):
        out, _ = run([first + strange + second + strange[:left]])
        assert [(row["reason"], row["size_bytes"]) for row in out.rejects] == [("truncated", left)], left


def test_a_length_that_nothing_confirms_takes_no_packet_along() -> None:
    packets = [space_packets.packet(9, count, bytes(20)) for count in range(60)]
    for damage in (b"\xe7\0\0\0\xff\xff\xff\xff", b"\xe6\0\x01\0", b"\xe5\x40", b"\xe1", b"\xe5\x01", b"\xff" * 3):
        out, passed = run([b"".join(packets[:30]) + damage + b"".join(packets[30:])])
        assert len(out.packets) == 60
        assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [("garbage", 780, len(damage))]
        assert passed["packets"] == 0


def test_a_restored_decoder_still_knows_them() -> None:
    data = b"".join(space_packets.packet(9, count, bytes(20)) + encapsulated(b"abc", 2) for count in range(10))
    whole, passed = run([data])
    for at in range(0, len(data), 7):
        first, second = SpacePacketDecoder(boundaries="stream"), SpacePacketDecoder(boundaries="stream")
        pieces = [first.decode_bytes(data[:at])]
        second.restore(first.snapshot())
        assert Output([*pieces, second.decode_bytes(data[at:]), second.finish()]).same_as(whole)
        parts = [decoder.counts.get("encapsulation", {"packets": 0})["packets"] for decoder in (first, second)]
        assert sum(parts) == passed["packets"] == 10


def test_a_frame_that_is_one_is_passed_over_at_once() -> None:
    for boundaries in ("frames", "datagrams"):
        decoder = SpacePacketDecoder(boundaries=boundaries)
        out = Output([decoder.decode(frames([(5, "a", encapsulated(b"abc", 1)), (6, "a", space_packets.packet(9, 1, b"x"))]))])
        assert (len(out.packets), out.rejects) == (1, [])
        assert decoder.counts["encapsulation"] == {"packets": 1, "bytes": 5, "idle_bytes": 0}
        decoder.reset_counts()
        assert "encapsulation" not in decoder.counts


def test_rows_of_packets_that_are_cut_already_may_be_one() -> None:
    batch = pa.record_batch(
        {
            "received_ns": pa.array([1, 2, 3], pa.int64()),
            "source": pa.array(["a"] * 3).dictionary_encode(),
            "packet": pa.array(
                [encapsulated(b"abc", 3, 0), encapsulated(b"abc", 3)[:-1], space_packets.packet(9, 1, b"x")], pa.binary()
            ),
            "offset": pa.array([0, 100, 200], pa.int64()),
            "scid": pa.array([1, 1, 1], pa.int32()),
            "vcid": pa.array([0, 0, 0], pa.int32()),
        }
    )
    decoder = SpacePacketDecoder()
    out = Output([decoder.decode_packets(batch)])

    assert [row["offset"] for row in out.packets] == [200]
    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [("garbage", 100, 10)]
    assert decoder.counts["encapsulation"] == {"packets": 1, "bytes": 11, "idle_bytes": 11}


def test_the_summary_of_decode_counts_them(tmp_path: Path) -> None:
    data, octets, between = mixed(random.Random(SEED))
    path = tmp_path / "stream.bin"
    path.write_bytes(data)
    *_, summary = lines("--codec", "ccsds-packets", "--summary", path)

    assert summary["input_bytes"] == len(data)
    assert summary["rejects"] == {}
    assert summary["encapsulation"] == {
        "packets": len(between),
        "bytes": len(data) - octets,
        "idle_bytes": sum(len(packet) for packet in between if packet[0] >> 2 & 7 == 0),
    }
