"""Grouping by partition, sealing, and cutting a stream of packets: framecodec.batches."""

import ipaddress
import random
import struct

import pyarrow as pa
import pytest

from framecodec.batches import Batches, PacketCutter, partition_of, partitions_of, source_key
from streams.model import FRAMES

MS = 1_000_000
NOW_NS = 5_000 * MS


def sflow(agent: str, sub_agent: int, size: int = 60) -> bytes:
    address = ipaddress.ip_address(agent)
    head = struct.pack(">II", 5, 1 if address.version == 4 else 2) + address.packed + struct.pack(">I", sub_agent)
    return head.ljust(size, b"\0")


def packet(apid: int, count: int, body: bytes) -> bytes:
    return struct.pack(">HHH", 0x0800 | apid, 0xC000 | count, len(body) - 1) + body


def frames_of(sealed) -> list[bytes]:
    return [frame for _, _, batch in sealed for frame in pa.record_batch(batch)["frame"].to_pylist()]


def plain_fnv1a(key: bytes) -> int:
    state = 0xCBF29CE484222325
    for byte in key:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return state


def test_fnv1a_of_known_strings():
    # The published test vectors of FNV-1a 64: "" and "a" and "foobar".
    assert plain_fnv1a(b"") == 0xCBF29CE484222325
    assert plain_fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert plain_fnv1a(b"foobar") == 0x85944171F73967E8


def test_partition_is_the_folded_hash_modulo():
    generator = random.Random(7)
    for _ in range(500):
        key, partitions = generator.randbytes(generator.randrange(40)), generator.randrange(1, 1000)
        state = plain_fnv1a(key)
        assert partition_of(key, partitions) == ((state >> 32) ^ (state & 0xFFFFFFFF)) % partitions


def test_partitions_never_change():
    # Stored state lives by partition: if this fails, a deployed system would lose its counters. Do not adapt the numbers.
    assert [partition_of(key, 8) for key in (b"", b"jpss1", b"racks", bytes(16))] == [1, 2, 2, 4]


def test_evenly_spaced_exporters_spread_over_all_partitions():
    counts = [0] * 8
    for third in range(16):
        for last in range(0, 256, 8):
            counts[partition_of(source_key("sflow", "racks", "10.9.9.9", sflow(f"10.0.{third}.{last}", 0)), 8)] += 1
    assert min(counts) > 30, counts


@pytest.mark.parametrize(
    ("codec", "frame", "key"),
    [
        ("sflow", sflow("10.1.2.3", 7), bytes(10) + b"\xff\xff\x0a\x01\x02\x03\0\0\0\7"),
        ("sflow", sflow("2001:db8::1", 7), ipaddress.ip_address("2001:db8::1").packed + b"\0\0\0\7"),
        ("sflow", sflow("10.1.2.3", 7)[:15], bytes(10) + b"\xff\xff\xc0\0\2\1"),
        ("sflow", b"", bytes(10) + b"\xff\xff\xc0\0\2\1"),
        ("netflow", struct.pack(">HHIIII", 9, 1, 2, 3, 4, 0x01020304), bytes(10) + b"\xff\xff\xc0\0\2\1\1\2\3\4"),
        ("netflow", struct.pack(">HHIII", 10, 16, 3, 4, 0x01020304), bytes(10) + b"\xff\xff\xc0\0\2\1\1\2\3\4"),
        ("netflow", struct.pack(">HHIIIIBBH", 5, 0, 1, 2, 3, 4, 8, 9, 0), bytes(10) + b"\xff\xff\xc0\0\2\1\0\0\x08\x09"),
        ("netflow", b"\0", bytes(10) + b"\xff\xff\xc0\0\2\1"),
        ("ccsds-packets", b"anything", b"link"),
    ],
)
def test_source_keys(codec, frame, key):
    assert source_key(codec, "link", "192.0.2.1", frame) == key
    assert source_key(codec, "link", "not an address", frame) == b"link"


def test_all_ways_to_a_partition_agree():
    generator = random.Random(11)
    senders = ["10.0.0.1", "2001:db8::5", "a link"]
    for codec in ("sflow", "netflow", "cadu"):
        frames = [
            generator.choice([
                sflow(f"10.0.0.{generator.randrange(256)}", generator.randrange(3)),
                struct.pack(">HHIIII", 9, 1, 2, 3, 4, generator.randrange(2**32)),
                generator.randbytes(generator.randrange(40)),
            ])
            for _ in range(300)
        ]
        ids = [generator.randrange(3) for _ in frames]
        array = pa.array(frames, pa.binary())
        _, ends, data = array.buffers()
        found = memoryview(
            partitions_of(codec, "link", senders, pa.array(ids, pa.int32()).buffers()[1].slice(0, 4 * len(ids)), ends, data, 12)
        ).cast("i")
        batches = Batches("link", codec, 12)
        for row, frame in enumerate(frames):
            sender = senders[ids[row]]
            assert found[row] == partition_of(source_key(codec, "link", sender, frame), 12)
            batches.add([frame], sender, None, NOW_NS)
            [(partition, _, batch)] = batches.seal(NOW_NS, everything=True)
            assert partition == found[row]
            assert pa.record_batch(batch)["frame"][0].as_py() == frame


def test_a_batch_is_a_batch_of_frames():
    batches = Batches("racks", "sflow", 1)
    batches.add([b"one", b""], "10.0.0.1", 1_790_000_000_000_000_000, NOW_NS)
    batches.add([b"three"], "10.0.0.2", None, NOW_NS)

    [(partition, memory_bytes, batch)] = batches.seal(NOW_NS, everything=True)

    frames = pa.record_batch(batch)
    frames.validate(full=True)
    assert frames.schema == FRAMES
    assert frames.to_pylist() == [
        {"received_ns": 1_790_000_000_000_000_000, "source": "10.0.0.1", "link": "racks", "codec": "sflow", "frame": b"one"},
        {"received_ns": 1_790_000_000_000_000_000, "source": "10.0.0.1", "link": "racks", "codec": "sflow", "frame": b""},
        {"received_ns": None, "source": "10.0.0.2", "link": "racks", "codec": "sflow", "frame": b"three"},
    ]
    assert partition == 0
    assert memory_bytes >= frames.nbytes


def test_sealed_by_size():
    batches = Batches("racks", "sflow", 1, bytes_max=1000)
    sealed = batches.add([bytes(226)] * 9, "10.0.0.1", 1, NOW_NS)
    # 226 bytes and 24 of columns a row: every fourth fills a batch.
    assert [len(batch) for _, _, batch in sealed] == [4, 4]
    assert batches.pending_rows == 1


def test_sealed_by_rows():
    batches = Batches("racks", "sflow", 1, rows_max=3)
    assert [len(batch) for _, _, batch in batches.add([b"x"] * 7, "10.0.0.1", 1, NOW_NS)] == [3, 3]


def test_sealed_by_time_counted_from_the_first_row():
    batches = Batches("racks", "sflow", 1, age_max_ns=50 * MS)
    assert batches.next_seal_ns() is None
    batches.add([b"x"], "10.0.0.1", 1, NOW_NS)
    batches.add([b"y"], "10.0.0.1", 1, NOW_NS + 40 * MS)

    assert batches.next_seal_ns() == NOW_NS + 50 * MS
    assert batches.seal(NOW_NS + 50 * MS - 1) == []
    assert frames_of(batches.seal(NOW_NS + 50 * MS)) == [b"x", b"y"]
    assert batches.seal(NOW_NS + 500 * MS) == []


def test_partitions_are_sealed_one_by_one():
    batches = Batches("racks", "sflow", 8, age_max_ns=50 * MS)
    first, second = sflow("10.0.0.1", 0), sflow("10.0.0.2", 0)
    batches.add([first], "10.0.0.9", 1, NOW_NS)
    batches.add([second], "10.0.0.9", 1, NOW_NS + 30 * MS)
    assert frames_of(batches.seal(NOW_NS + 50 * MS)) == [first]
    assert frames_of(batches.seal(NOW_NS + 80 * MS)) == [second]


def test_order_within_a_source_is_kept_whatever_the_cuts():
    batches = Batches("racks", "sflow", 4, bytes_max=700)
    seen: dict[bytes, list[bytes]] = {}
    sealed = []
    for count in range(1000):
        frame = sflow(f"10.0.0.{count % 37}", 0) + struct.pack(">I", count)
        sealed += batches.add([frame], "10.9.9.9", count, NOW_NS)
    sealed += batches.seal(NOW_NS, everything=True)
    for frame in frames_of(sealed):
        seen.setdefault(frame[8:12], []).append(frame[-4:])
    assert sum(map(len, seen.values())) == 1000
    assert all(counts == sorted(counts) for counts in seen.values())


def test_senders_can_be_forgotten_only_when_no_row_needs_them():
    batches = Batches("racks", "sflow", 1)
    batches.add([b"x"], "10.0.0.1", 1, NOW_NS)
    with pytest.raises(ValueError, match="1 rows still refer to their senders"):
        batches.forget_sources()
    batches.seal(NOW_NS, everything=True)
    batches.forget_sources()
    batches.add([b"y"], "10.0.0.2", 1, NOW_NS)
    [(_, _, batch)] = batches.seal(NOW_NS, everything=True)
    assert pa.record_batch(batch)["source"].to_pylist() == ["10.0.0.2"]


def cut(chunks: list[bytes]) -> tuple[list[bytes], PacketCutter]:
    batches = Batches("jpss1", "ccsds-packets", 8)
    cutter = PacketCutter(batches, "jpss1")
    sealed = [each for chunk in chunks for each in cutter.feed(chunk, 1, NOW_NS)]
    sealed += cutter.finish(1, NOW_NS)
    return frames_of(sealed + batches.seal(NOW_NS, everything=True)), cutter


PACKETS = [packet(11, 0, b"\xff"), packet(12, 1, bytes(range(64))), packet(2047, 2, b"12"), packet(11, 3, b"abcdefg")]


def test_packets_are_cut_wherever_the_stream_was():
    stream = b"".join(PACKETS)
    for at in range(len(stream) + 1):
        assert cut([stream[:at], stream[at:]])[0] == PACKETS, at
    assert cut([bytes([byte]) for byte in stream])[0] == PACKETS
    generator = random.Random(3)
    for _ in range(200):
        marks = sorted(generator.sample(range(len(stream) + 1), 5))
        assert cut([stream[a:b] for a, b in zip([0, *marks], [*marks, len(stream)], strict=True)])[0] == PACKETS


def test_connection_that_ends_inside_a_packet_gives_its_remainder_up_unchanged():
    stream = b"".join(PACKETS)
    for size in range(len(stream)):
        frames, cutter = cut([stream[:size]])
        assert b"".join(frames) == stream[:size]
        whole = [each for index, each in enumerate(PACKETS) if len(b"".join(PACKETS[: index + 1])) <= size]
        assert frames[: len(whole)] == whole
        assert (cutter.packets, cutter.frames) == (len(whole), len(frames))
        assert cutter.uncut_bytes == size - len(b"".join(whole))


def test_no_byte_is_lost_whatever_comes_and_however_it_is_cut():
    generator = random.Random(5)
    for _ in range(300):
        stream = b"".join(
            generator.choice([generator.choice(PACKETS), generator.randbytes(generator.randrange(1, 300))]) for _ in range(8)
        )
        marks = sorted(generator.choices(range(len(stream) + 1), k=6))
        frames, _ = cut([stream[a:b] for a, b in zip([0, *marks], [*marks, len(stream)], strict=True)])
        assert b"".join(frames) == stream


def test_garbage_goes_on_at_once_as_it_is():
    batches = Batches("jpss1", "ccsds-packets", 8)
    cutter = PacketCutter(batches, "jpss1")
    cutter.feed(PACKETS[0] + b"\xffgarbage", 1, NOW_NS)
    assert cutter.pending_bytes == 0
    cutter.feed(PACKETS[1], 1, NOW_NS)
    assert frames_of(batches.seal(NOW_NS, everything=True)) == [PACKETS[0], b"\xffgarbage", PACKETS[1]]


def test_largest_packet_fits():
    largest = packet(11, 0, bytes(65536))
    assert cut([largest[:7], largest[7:60_000], largest[60_000:]])[0] == [largest]
