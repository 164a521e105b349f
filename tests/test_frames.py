"""Frames and CADUs: real recordings against a reference, made ones against what went into them, damage against the accounts."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from framecodec.coding import ReedSolomon
from framecodec.frames import FrameDecoder
from framecodec.header_check import HeaderCheck
from framecodec.packets import SpacePacketDecoder
from streams.model import REJECTS, SAMPLES
from tests import satellite
from tests.conftest import testdata
from tests.oracle import coding
from tests.oracle import frames as oracle

RECORDINGS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "mars2020_aos_crc_1115.u8": ("aos", 1115, {"fecf": True}),
    "emm_aos_crc_223_not_packets.u8": ("aos", 223, {"fecf": True}),
    "lucy_aos_1113.u8": ("aos", 1113, {"fecf": False}),
    "equuleus_aos_ocf_444.u8": ("aos", 444, {"ocf": True}),
    "hakuto_aos.u8": ("aos", 1113, {}),
    "integral_tm_890_not_packets.u8": ("tm", 890, {}),
    "hera_low_tm.u8": ("tm", 1113, {}),
}
CADU_BYTES = 1024


class Output:
    """What a decoder gave for a whole input, row by row."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self.frames: list[dict[str, Any]] = []
        self.packets: list[dict[str, Any]] = []
        self.rejects: list[dict[str, Any]] = []
        self.samples: list[dict[str, Any]] = []
        self.derived: list[dict[str, Any]] = []
        self.batches: list[pa.RecordBatch] = []
        for piece in pieces:
            self.batches += piece.packets
            for name in ("frames", "packets", "rejects", "samples", "derived"):
                for batch in getattr(piece, name):
                    batch.validate(full=True)
                    getattr(self, name).extend(batch.to_pylist())

    @property
    def reasons(self) -> Counter[str]:
        return Counter(row["reason"] for row in self.rejects)

    @property
    def contents(self) -> list[bytes]:
        """All packets but idle ones."""
        return [row["packet"] for row in self.packets if row["packet"][:2] != b"\x07\xff"]

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Output)
        names = ("frames", "packets", "rejects", "samples", "derived")
        return all(getattr(self, name) == getattr(other, name) for name in names)


def decode(data: bytes, *arguments: Any, cuts: Iterable[int] = (), is_resumed: bool = False, **options: Any) -> Output:
    """Everything of a stream that comes in pieces; the input is accounted for to the byte."""
    decoder = FrameDecoder(*arguments, boundaries="stream", **options)
    places = [0, *cuts, len(data)]
    pieces = []
    for begin, end in pairwise(places):
        pieces.append(decoder.decode_bytes(data[begin:end]))
        if is_resumed:
            state = decoder.snapshot()
            decoder = FrameDecoder(*arguments, boundaries="stream", **options)
            decoder.restore(state)
            assert decoder.snapshot() == state
    for account in decoder.accounts:
        parts = ("packet_bytes", "passed_bytes", "lost_bytes", "other_bytes", "pending_bytes")
        assert sum(account[part] for part in parts) == account["data_bytes"], account
    output = Output([*pieces, decoder.finish()])
    given_up = sum(row["size_bytes"] for row in output.rejects)
    if decoder.block_bytes:
        assert len(output.frames) * decoder.block_bytes + given_up == len(data)
    if not is_resumed:
        assert decoder.counts["input_bytes"] == len(data)
        assert decoder.counts["frames"] == len(output.frames)
        assert decoder.counts["rejects"] == output.reasons
    return output


def random_cuts(rng: random.Random, size: int, count: int) -> list[int]:
    return sorted(rng.randrange(size + 1) for _ in range(count))


def seeded(seed: int) -> random.Random:
    print(f"seed {seed}")
    return random.Random(seed)


def some_packets(rng: random.Random, count: int, size_max: int = 300) -> list[bytes]:
    return [oracle.packet(rng.choice((5, 9, 1000)), index, rng.randbytes(rng.randint(1, size_max))) for index in range(count)]


def standing_counts(output: Output, vcid: int) -> int:
    """How many packets have the sequence count of the packet before them of their APID."""
    last: dict[int, int] = {}
    standing = 0
    for row in output.packets:
        if row["vcid"] == vcid:
            apid, count = (int.from_bytes(row["packet"][at : at + 2], "big") for at in (0, 2))
            standing += last.get(apid & 2047) == count & 16383
            last[apid & 2047] = count & 16383
    return standing


# -- recordings ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("file", [name for name in RECORDINGS if not name.startswith("hera")])
def test_recording_equals_the_reference_decoder(file: str) -> None:
    expected = {each["file"]: each for each in json.loads(testdata("frames", "expected.json").read_text())}[file]
    kind, length, options = RECORDINGS[file]
    decoder = FrameDecoder(kind, length, boundaries="stream", **options)
    packets = SpacePacketDecoder(None)
    output = Output([decoder.decode_bytes(testdata("frames", file).read_bytes()), decoder.finish()])
    for batch in output.batches:
        packets.decode_packets(batch)
    assert len(output.frames) + output.reasons["frame_version"] == expected["frames"]
    assert output.reasons["bad_fecf"] == expected["crc_bad"]
    assert output.reasons["frame_version"] == expected["other_hdr"]
    found = {str(link["vcid"]): link for link in decoder.counts["links"]}
    contents = {str(link["vcid"]): link for link in packets.counts["links"]}
    assert found.keys() == expected["vc"].keys()
    for vcid, channel in expected["vc"].items():
        assert found[vcid]["frames"] == channel["frames"]
        # The reference takes a count that stands still for 2^24 - 1 lost frames. EQUULEUS sends one idle frame with count 0,
        # the same to the byte, 34 times more; a repeated frame is no loss (docs/frames.md).
        assert found[vcid]["lost_frames"] + found[vcid]["repeated_frames"] * (2**24 - 1) == channel["lost_frames"]
        if "not_packets" in file:
            assert vcid not in contents
        elif channel["n_apids"]:
            assert contents[vcid]["packet_bytes"] == channel["pkt_bytes"]
            assert {str(apid): count for apid, count in contents[vcid]["apids"].items()} == channel["apids"]
            # Likewise a sequence count that stands still: all of EQUULEUS' packets and Hakuto's idle ones have count 0.
            assert contents[vcid]["sequence_gaps"] + standing_counts(output, int(vcid)) == channel["seq_discont"]
    assert output.reasons["not_packets"] == (2 if "not_packets" in file else 0)


def test_hera_has_packets_in_one_channel_and_idle_frames_in_the_other() -> None:
    decoder = FrameDecoder("tm", 1113, boundaries="stream")
    data = testdata("frames", "hera_low_tm.u8").read_bytes()
    output = Output([decoder.decode_bytes(data), decoder.finish()])
    assert [(link["vcid"], link["frames"], link["lost_frames"]) for link in decoder.counts["links"]] == [(1, 46, 0), (7, 10, 0)]
    assert decoder.counts["masters"] == [{"scid": 181, "lost_frames": 0}]
    assert output.reasons == {"partial_packet": 2}
    assert len(output.packets) == 256
    by_apid: dict[int, list[int]] = {}
    for row in output.packets:
        apid, count = (int.from_bytes(row["packet"][at : at + 2], "big") for at in (0, 2))
        by_apid.setdefault(apid & 2047, []).append(count & 16383)
    for apid, counts in by_apid.items():
        if apid:                                     # time packets (APID 0) and telemetry go on without a hole
            assert counts == list(range(counts[0], counts[0] + len(counts)))


@pytest.mark.parametrize("file", RECORDINGS)
def test_recording_gives_the_same_however_it_is_cut(file: str) -> None:
    kind, length, options = RECORDINGS[file]
    data = testdata("frames", file).read_bytes()
    whole = decode(data, kind, length, **options)
    rng = seeded(11)
    assert decode(data, kind, length, cuts=random_cuts(rng, len(data), 60), **options) == whole
    assert decode(data, kind, length, cuts=random_cuts(rng, len(data), 12), is_resumed=True, **options) == whole


# -- CADUs -----------------------------------------------------------------------------------------------------------------
def snpp() -> bytes:
    return testdata("cadu", "snpp_viirs_cadu.dat").read_bytes()


def test_snpp_cadus_are_clean_and_hold_twelve_packets() -> None:
    output = decode(snpp(), "cadu", interleave=4)
    assert [row["offset"] for row in output.frames] == list(range(0, 65 * CADU_BYTES, CADU_BYTES))
    seen = {(row["scid"], row["vcid"], row["fecf"], row["corrected_symbols"]) for row in output.frames}
    assert seen == {(157, 16, "absent", 0)}
    assert sum(row["lost_before"] for row in output.frames) == 1
    packets = SpacePacketDecoder(None)
    for batch in output.batches:
        packets.decode_packets(batch)
    (link,) = packets.counts["links"]
    assert (link["packets"], link["packet_bytes"], link["packets_lost"], link["apids"]) == (12, 53_098, 1, {802: 1, 803: 11})
    assert output.reasons == {"partial_packet": 3}


def test_cadus_give_the_same_byte_by_byte() -> None:
    data = snpp()[: 12 * CADU_BYTES]
    whole = decode(data, "cadu", interleave=4)
    assert decode(data, "cadu", interleave=4, cuts=range(1, len(data))) == whole
    rng = seeded(12)
    assert decode(data, "cadu", interleave=4, cuts=random_cuts(rng, len(data), 20), is_resumed=True) == whole


def shifted(data: bytes, bits: int) -> bytes:
    """The data `bits` bits later, ones before and after them."""
    number = int.from_bytes(data, "big") << (8 - bits)
    return (number | ((1 << bits) - 1) << (8 * len(data) + 8 - bits) | ((1 << (8 - bits)) - 1)).to_bytes(len(data) + 1, "big")


@pytest.mark.parametrize("bits", range(1, 8))
@pytest.mark.parametrize("flip", [0, 255])
def test_cadus_are_found_at_every_bit_and_inverted(bits: int, flip: int) -> None:
    data = snpp()[: 8 * CADU_BYTES]
    wanted = decode(data, "cadu", interleave=4)
    found = decode(shifted(bytes(value ^ flip for value in data), bits), "cadu", interleave=4)
    assert found.frames == wanted.frames
    assert found.contents == wanted.contents


@pytest.mark.parametrize("errors", range(1, 17))
def test_up_to_16_wrong_symbols_in_each_codeword_are_corrected(errors: int) -> None:
    rng = seeded(100 + errors)
    data = bytearray(snpp()[: 8 * CADU_BYTES])
    wanted = decode(bytes(data), "cadu", interleave=4)
    for at in range(0, len(data), CADU_BYTES):
        for word in range(4):
            for index in rng.sample(range(255), errors):
                data[at + 4 + 4 * index + word] ^= rng.randrange(1, 256)
    output = decode(bytes(data), "cadu", interleave=4)
    assert {row["corrected_symbols"] for row in output.frames} == {4 * errors}
    assert output.packets == wanted.packets
    corrected = sum(row["value"] for row in output.derived if row["metric"] == "corrected_symbols")
    assert corrected == 8 * 4 * errors


@pytest.mark.parametrize("errors", [17, 18, 20, 40, 200])
def test_17_and_more_wrong_symbols_are_refused(errors: int) -> None:
    rng = seeded(200 + errors)
    data = bytearray(snpp()[: 20 * CADU_BYTES])
    wanted = decode(bytes(data), "cadu", interleave=4)
    for index in rng.sample(range(255), errors):
        data[7 * CADU_BYTES + 4 + 4 * index + 2] ^= rng.randrange(1, 256)
    output = decode(bytes(data), "cadu", interleave=4)
    (refused,) = [row for row in output.rejects if row["reason"] == "rs_uncorrectable"]
    assert (refused["offset"], refused["size_bytes"]) == (7 * CADU_BYTES, CADU_BYTES)
    received = bytes(data[7 * CADU_BYTES : 8 * CADU_BYTES])
    assert refused["detail"] == f"a codeword has more wrong symbols than can be corrected; received: {received.hex()}"
    assert [row["offset"] // CADU_BYTES for row in output.frames] == [*range(7), *range(8, 20)]
    assert output.frames[7]["lost_before"] == 1
    assert set(output.contents) <= set(wanted.contents)
    assert any("frames are missing" in row["detail"] for row in output.rejects)


@pytest.mark.parametrize("bits", [1, 7])
def test_octets_of_an_uncorrectable_cadu_are_kept_at_every_phase(bits: int) -> None:
    """From the bit where the marker begins they are the CADU, whatever the phase in which it was received."""
    data = bytearray(snpp()[: 8 * CADU_BYTES])
    data[3 * CADU_BYTES + 4 : 3 * CADU_BYTES + 204] = bytes(200)
    output = decode(shifted(bytes(data), bits), "cadu", interleave=4)
    (refused,) = [row for row in output.rejects if row["reason"] == "rs_uncorrectable"]
    octets = bytes.fromhex(refused["detail"].rpartition("received: ")[2])
    assert len(octets) == CADU_BYTES + 1
    number = int.from_bytes(octets, "big") >> (8 - bits)
    assert number.to_bytes(CADU_BYTES + 1, "big")[-CADU_BYTES:] == data[3 * CADU_BYTES : 4 * CADU_BYTES]


@pytest.mark.parametrize("seed", range(24))
def test_damage_costs_the_cadus_that_it_hits(seed: int) -> None:
    """Bytes inserted or removed, bits slipped, noise: nothing wrong comes out, what is lost is said, cuts change nothing."""
    rng = seeded(seed)
    data = snpp()[: 16 * CADU_BYTES]
    wanted = decode(data, "cadu", interleave=4)
    at = rng.randrange(len(data))
    if seed % 4 == 0:
        damaged = data[:at] + rng.randbytes(rng.randint(1, 3000)) + data[at:]
    elif seed % 4 == 1:
        damaged = data[:at] + data[at + rng.randint(1, 2000) :]
    elif seed % 4 == 2:
        damaged = data[:at] + shifted(data[at:], rng.randint(1, 7))
    else:
        noisy = bytearray(data)
        for _ in range(300):
            noisy[rng.randrange(len(noisy))] ^= 1 << rng.randrange(8)
        damaged = bytes(noisy)
    output = decode(damaged, "cadu", interleave=4)
    assert decode(damaged, "cadu", interleave=4, cuts=random_cuts(rng, len(damaged), 25)) == output
    counts = [row["frame_count"] for row in wanted.frames]
    found = [row["frame_count"] for row in output.frames]
    assert set(found) <= set(counts)
    assert found == sorted(found)
    assert len(found) >= len(counts) - (1 if seed % 4 != 1 else 3)
    assert set(output.contents) <= set(wanted.contents)


@pytest.mark.parametrize("shift", [*range(1, 41)])
def test_misaligned_codewords_are_no_frames(shift: int) -> None:
    """Reed-Solomon is cyclic: blocks cut `shift` bytes too late decode nearly always. The marker must decide."""
    data = snpp()[: 6 * CADU_BYTES]
    output = decode(data[4 + shift :], "cadu", interleave=4)
    assert [row["offset"] for row in output.frames] == [at * CADU_BYTES - 4 - shift for at in range(1, 6)]
    assert all(row["corrected_symbols"] == 0 for row in output.frames)


def test_noise_on_a_marker_in_lock_costs_nothing() -> None:
    data = bytearray(snpp()[: 8 * CADU_BYTES])
    wanted = decode(bytes(data), "cadu", interleave=4)
    data[3 * CADU_BYTES : 3 * CADU_BYTES + 4] = bytes(4)
    data[5 * CADU_BYTES] ^= 0x81
    assert decode(bytes(data), "cadu", interleave=4) == wanted


def test_random_bytes_hold_no_cadu() -> None:
    data = seeded(5).randbytes(200_000)
    output = decode(data, "cadu", interleave=4)
    assert output.frames == []
    assert [(row["reason"], row["size_bytes"]) for row in output.rejects] == [("garbage", 200_000)]


@pytest.mark.parametrize("rs", ["none", "255,223", "255,239"])
@pytest.mark.parametrize("basis", ["dual", "conventional"])
@pytest.mark.parametrize("randomized", [True, False])
def test_made_cadus_of_every_coding_come_back(rs: str, basis: str, randomized: bool) -> None:
    rng = seeded(6)
    packets = some_packets(rng, 60)
    for interleave in (1, 5, 8):
        length = interleave * 57                     # virtual fill
        code = ReedSolomon(32 if rs == "255,223" else 16, interleave, basis)
        frames = oracle.aos_frames(packets, length, fecf=2, insert=b"\xaa\xbb", ocf=b"\1\2\3\4")
        blocks = [frame if rs == "none" else code.encode(frame) for frame in frames]
        stream = rng.randbytes(50) + b"".join(oracle.cadu(block, randomized=randomized) for block in blocks)
        options: dict[str, Any] = {"rs": rs, "interleave": interleave, "rs_basis": basis, "randomized": randomized}
        output = decode(stream, "cadu", length, insert_zone=2, ocf=True, **options)
        assert output.contents == packets
        assert {row["fecf"] for row in output.frames} == {"ok"}
        assert output.reasons == {"garbage": 1}


# -- frames ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(6))
def test_made_tm_frames_give_their_packets(seed: int) -> None:
    rng = seeded(seed)
    packets = some_packets(rng, 80, 2000)
    options: dict[str, Any] = {"ocf": b"\1\2\3\4" * (seed % 2), "fecf": 2 * (seed % 3 > 0), "secondary": b"abc" * (seed % 2)}
    frames = oracle.tm_frames(packets, 120 + seed, count=250, **options)
    output = decode(b"".join(frames), "tm", 120 + seed)
    assert output.contents == packets
    assert not output.rejects
    assert [row["frame_count"] for row in output.frames] == [(250 + index) % 256 for index in range(len(frames))]
    assert sum(row["lost_before"] for row in output.frames) == 0


@pytest.mark.parametrize("length", [15, 17, 40, 333])
def test_made_aos_frames_give_their_packets_also_when_headers_are_cut(length: int) -> None:
    packets = some_packets(seeded(length), 50, 100)
    frames = oracle.aos_frames(packets, length, count=2**24 - 3)
    output = decode(b"".join(frames), "aos", length, fecf=False)
    assert output.contents == packets
    assert not output.rejects
    assert output.frames[3]["frame_count"] == 0
    assert sum(row["lost_before"] for row in output.frames) == 0


def test_aos_header_check_and_insert_zone_are_passed_over() -> None:
    packets = some_packets(seeded(7), 20)
    frames = oracle.aos_frames(packets, 90, has_header_check=True, insert=b"insert", fecf=2)
    assert decode(b"".join(frames), "aos", 90, fecf=True, header_check=True, insert_zone=6).contents == packets


def wrong_symbols(frame: bytes, places: Iterable[int], rng: random.Random) -> bytes:
    """The AOS frame with other half octets at these places of its protected header: octets 0, 1, 5, 6, 7."""
    damaged = bytearray(frame)
    for place in places:
        damaged[(0, 1, 5, 6, 7)[place // 2]] ^= rng.randrange(1, 16) << (0 if place % 2 else 4)
    return bytes(damaged)


@pytest.mark.parametrize("fecf", [0, 2])
@pytest.mark.parametrize("errors", [1, 2])
def test_aos_headers_with_up_to_two_wrong_symbols_are_corrected(errors: int, fecf: int) -> None:
    rng = seeded(700 + errors)
    packets = some_packets(rng, 40)
    frames = oracle.aos_frames(packets, 90, has_header_check=True, fecf=fecf, signaling=0x8B)
    damaged = [wrong_symbols(frame, rng.sample(range(10), errors), rng) for frame in frames]
    output = decode(b"".join(damaged), "aos", 90, fecf=bool(fecf), header_check=True)
    assert output.frames == decode(b"".join(frames), "aos", 90, fecf=bool(fecf), header_check=True).frames
    assert output.contents == packets
    assert not output.rejects
    corrected = [row for row in output.derived if row["metric"] == "corrected_header_symbols"]
    assert {(row["entity"], row["value"]) for row in corrected} == {("/vc/5", float(errors))}
    assert len(corrected) == len(frames)


def test_aos_header_with_more_wrong_symbols_is_refused_or_another_one_as_near() -> None:
    """Of all that three wrong symbols can make, the code takes none for the header that was sent."""
    rng = seeded(703)
    (frame, *_) = oracle.aos_frames(some_packets(rng, 1, 50), 90, has_header_check=True)
    check = HeaderCheck()
    refused = 0
    for _ in range(2000):
        damaged = wrong_symbols(frame, rng.sample(range(10), 3), rng)
        header, wrong = check.corrected(damaged)
        if wrong is None:
            refused += 1
            continue
        assert coding.header_check(header[:2] + header[5:6]) == header[6:8]
        assert header != frame[:8]
    assert refused > 1500
    data = wrong_symbols(frame, (0, 3, 8), random.Random(1)) + frame
    output = decode(data, "aos", 90, fecf=False, header_check=True)
    assert [(row["reason"], row["offset"], row["size_bytes"], row["detail"]) for row in output.rejects] == [
        ("frame_version", 0, 90, "the header has more wrong symbols than its error control can correct"),
    ]


@pytest.mark.parametrize(("header", "check"), [("123456", "94dc"), ("369cfa", "457c")])
def test_header_check_symbols_are_those_of_other_programs(header: str, check: str) -> None:
    """The two headers that Yamcs' own tests have (AosFrameHeaderErrorCorrTest)."""
    octets = bytes.fromhex(header)
    assert coding.header_check(octets).hex() == check
    assert HeaderCheck().corrected(octets[:2] + b"abc" + octets[2:] + bytes.fromhex(check))[1] == 0


@pytest.mark.parametrize("fecf", [0, 2, 4])
def test_made_uslp_frames_of_variable_length_give_their_packets(fecf: int) -> None:
    rng = seeded(8 + fecf)
    packets = some_packets(rng, 90)
    frames = oracle.uslp_frames(packets[:60], 77, fecf=fecf, ocf=b"\1\2\3\4", map_id=2)
    frames += [
        oracle.uslp_frame(packets[60 + index], None, count=len(frames) + index, rule=7, fecf=fecf, map_id=2)
        for index in range(30)
    ]
    output = decode(b"".join(frames), "uslp")
    assert output.contents == packets
    assert {row["fecf"] for row in output.frames} == {"ok" if fecf else "absent"}
    assert not output.rejects
    data = b"".join(frames)
    assert decode(data, "uslp", cuts=random_cuts(rng, len(data), 200)) == output


def test_uslp_maps_of_one_channel_are_reassembled_apart() -> None:
    rng = seeded(9)
    one, two = some_packets(rng, 30), some_packets(rng, 30)
    frames = []
    pairs = zip(oracle.zones(one, 64), oracle.zones(two, 64), strict=False)
    for index, ((pointer, zone), (other_pointer, other_zone)) in enumerate(pairs):
        frames.append(oracle.uslp_frame(zone, pointer, count=2 * index, map_id=1))
        frames.append(oracle.uslp_frame(other_zone, other_pointer, count=2 * index + 1, map_id=4))
    output = decode(b"".join(frames), "uslp", len(frames[0]))
    found = set(output.contents)
    assert len(found & set(one)) >= 20
    assert len(found & set(two)) >= 20
    assert found <= set(one) | set(two)
    assert sum(row["lost_before"] for row in output.frames) == 0


def uslp_segments(packet: bytes, size: int) -> list[tuple[int, bytes]]:
    """(construction rule, zone): a packet in segments of `size` bytes, or whole if it fits into one."""
    parts = [packet[at : at + size] for at in range(0, len(packet), size)]
    if len(parts) == 1:
        return [(7, packet)]
    return [(4 if index == 0 else 6 if index == len(parts) - 1 else 5, part) for index, part in enumerate(parts)]


def test_uslp_segments_of_packets_are_joined_by_their_construction_rules() -> None:
    rng = seeded(23)
    packets = some_packets(rng, 60)
    zones = [zone for packet in packets for zone in uslp_segments(packet, 70)]
    assert {rule for rule, _ in zones} == {4, 5, 6, 7}
    frames = [oracle.uslp_frame(part, None, rule=rule, count=count, fecf=2) for count, (rule, part) in enumerate(zones)]
    output = decode(b"".join(frames), "uslp")
    assert output.contents == packets
    assert not output.rejects
    # Without one frame, the packet that it belongs to is missing, and told.
    lost = next(index for index, (rule, _) in enumerate(zones) if rule == 5)
    output = decode(b"".join(frames[:lost] + frames[lost + 1 :]), "uslp")
    hit = sum(rule in (4, 7) for rule, _ in zones[:lost]) - 1
    assert output.contents == packets[:hit] + packets[hit + 1 :]
    assert output.reasons == {"partial_packet": 1}


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ((4, 7), "30 of 57 bytes: the next frame does not continue it"),
        ((4, 4, 6), "30 of 57 bytes: the next frame does not continue it"),
        ((4, 6), "40 of 57 bytes: its last frame ends before it does"),
    ],
)
def test_uslp_segments_that_do_not_follow_one_another_are_partial_packets(rules: tuple[int, ...], said: str) -> None:
    packets = [oracle.packet(5, count, bytes(51)) for count in range(6)]
    frames = [oracle.uslp_frame(packet, None, rule=7, count=count) for count, packet in enumerate(packets[:2])]
    broken = {4: packets[2][:30], 6: packets[2][30:40] if rules == (4, 6) else packets[2][30:], 7: packets[3]}
    frames += [oracle.uslp_frame(broken[rule], None, rule=rule, count=2 + index) for index, rule in enumerate(rules)]
    frames += [oracle.uslp_frame(packets[5], None, rule=7, count=2 + len(rules))]
    output = decode(b"".join(frames), "uslp", fecf=False)
    assert [row["detail"].partition(": ")[2] for row in output.rejects] == [said]
    assert output.contents[:2] + output.contents[-1:] == [*packets[:2], packets[5]]


@pytest.mark.parametrize("rule", range(8))
def test_every_uslp_rule_carries_packets_or_is_told_once(rule: int) -> None:
    packet = oracle.packet(5, 1, b"x" * 20)
    frames = [oracle.uslp_frame(packet, 0, rule=rule, count=count) for count in range(40)]
    output = decode(b"".join(frames), "uslp", fecf=False)
    if rule in (0, 4, 7):
        assert output.contents == [packet] * 40
        assert not output.rejects
    else:
        assert output.packets == []
        assert output.reasons == {"not_packets": 1}


def test_uslp_control_commands_between_packets_disturb_nothing() -> None:
    packets = some_packets(seeded(24), 30)
    frames = oracle.uslp_frames(packets, 64, count_bytes=2)
    command = oracle.uslp_frame(
        b"\x82\0\x05" + bytes(61), None, rule=7, protocol=1, is_control=True, is_expedited=True, count_bytes=2,
    )
    data = b"".join(frame + command for frame in frames)
    output = decode(data, "uslp", fecf=False)
    assert output.contents == packets
    assert not output.rejects


def test_uslp_expedited_frames_have_a_count_of_their_own() -> None:
    packets = some_packets(seeded(25), 20, 40)
    frames = [
        oracle.uslp_frame(packet, None, rule=7, count=(index // 2) + (100 if index % 2 else 0), is_expedited=bool(index % 2))
        for index, packet in enumerate(packets)
    ]
    output = decode(b"".join(frames), "uslp", fecf=False)
    assert sum(row["lost_before"] for row in output.frames) == 0
    assert output.contents == packets


def test_uslp_garbage_between_frames_is_rejected_with_its_place() -> None:
    packets = some_packets(seeded(10), 40)
    frames = oracle.uslp_frames(packets, 90, fecf=2)
    data = b"".join(frames[:5]) + b"\0\1\2" + b"".join(frames[5:])
    output = decode(data, "uslp", fecf=True)
    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in output.rejects] == [("garbage", 5 * len(frames[0]), 3)]
    assert output.contents == packets


def test_uslp_frame_that_the_end_of_the_input_cuts_is_truncated_and_a_look_alike_is_garbage() -> None:
    frame = oracle.uslp_frame(bytes(40), None)
    for cut in range(1, len(frame)):
        data = frame * 2 + frame[:cut]
        output = decode(data, "uslp", cuts=range(1, len(data)))
        assert output == decode(data, "uslp")
        found = [(row["reason"], row["size_bytes"]) for row in output.rejects if row["size_bytes"]]
        assert found == [("truncated", cut)]
    frame = oracle.uslp_frame(bytes(40), None, fecf=2)
    output = decode(frame * 2 + b"\0" + frame[:6], "uslp", fecf=True, cuts=range(1, 2 * len(frame) + 7))
    assert [(row["reason"], row["size_bytes"]) for row in output.rejects if row["size_bytes"]] == [("garbage", 7)]


def test_uslp_truncated_frames_and_other_protocols() -> None:
    packet = oracle.packet(5, 1, b"abc")
    truncated = ((12 << 28) | (300 << 12) | (3 << 5) | 1).to_bytes(4, "big") + bytes([7 << 5]) + packet
    output = decode(truncated * 2, "uslp", len(truncated))
    assert output.contents == [packet, packet]
    assert {row["frame_count"] for row in output.frames} == {None}
    octets = oracle.uslp_frame(b"x" * 20, None, rule=3, protocol=4)
    assert decode(octets * 3, "uslp", len(octets)).reasons == {"not_packets": 1}
    idle = oracle.uslp_frame(b"x" * 20, None, rule=3, protocol=31)
    assert decode(idle * 3, "uslp", len(idle)).reasons == {}


@pytest.mark.parametrize("first", [0, 3])
def test_uslp_truncated_frames_stand_among_others_of_any_length(first: int) -> None:
    """Theirs is a managed parameter of the link; what they lack, error control, is learnt from the others."""
    packets = [oracle.packet(5, index, bytes(20 + index)) for index in range(12)]
    frames = oracle.uslp_frames(packets, 50, fecf=2)
    packet = oracle.packet(7, 0, b"abc")
    truncated = ((12 << 28) | (300 << 12) | (4 << 5) | 1).to_bytes(4, "big") + bytes([7 << 5]) + packet
    data = b"".join([*frames[:first], truncated, *frames[first:], truncated])
    options: dict[str, Any] = {"truncated_length": len(truncated), "vc_mode": {3: "packets", 4: "packets"}}
    output = decode(data, "uslp", **options)
    assert output.contents.count(packet) == 2 and [row for row in output.contents if row != packet] == packets
    assert output.reasons == {} and [row["fecf"] for row in output.frames].count("absent") == 2
    for cuts in (range(1, len(data)), range(3, len(data), 7)):
        assert output == decode(data, "uslp", cuts=cuts, **options)
    assert decode(data, "uslp").reasons["garbage"] == 2


# -- loss and oddities -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(8))
def test_lost_frames_cost_only_the_packets_in_them(seed: int) -> None:
    rng = seeded(seed)
    packets = some_packets(rng, 100, 400)
    frames = oracle.aos_frames(packets, 120)
    kept = [frame for frame in frames if rng.random() > 0.08]
    output = decode(b"".join(kept), "aos", 120, fecf=False)
    first, last = (int.from_bytes(frame[2:5], "big") for frame in (kept[0], kept[-1]))
    assert sum(row["lost_before"] for row in output.frames) == last - first + 1 - len(kept)
    assert set(output.contents) <= set(packets)
    # A packet is whole if the frames of its stretch of the stream were all there.
    at, whole = 0, []
    present = {int.from_bytes(frame[2:5], "big") for frame in kept}
    for packet in packets:
        if all(number in present for number in range(at // 112, (at + len(packet) - 1) // 112 + 1)):
            whole.append(packet)
        at += len(packet)
    assert output.contents == whole
    assert 0 < output.reasons["partial_packet"] <= len(packets) - len(whole) + 1


def test_repeated_frames_are_no_loss_and_give_nothing_twice() -> None:
    packets = some_packets(seeded(13), 30)
    frames = oracle.tm_frames(packets, 100)
    output = decode(b"".join(frame * 2 for frame in frames), "tm", 100, fecf=False)
    assert output.contents == packets
    assert len(output.frames) == 2 * len(frames)
    assert not output.rejects
    assert sum(row["lost_before"] for row in output.frames) == 0


def test_a_counter_that_stands_still_does_not_stop_packets() -> None:
    packets = some_packets(seeded(14), 30)
    frames = [frame[:2] + b"\0\0\0" + frame[5:] for frame in oracle.aos_frames(packets, 100)]
    assert decode(b"".join(frames), "aos", 100, fecf=False).contents == packets


def test_channels_whose_count_means_nothing_can_be_left_uncounted() -> None:
    rng = seeded(26)
    packets = some_packets(rng, 30)
    frames = [frame[:2] + rng.randbytes(3) + frame[5:] for frame in oracle.aos_frames(packets, 100)]
    data = b"".join(frames)
    counted = decode(data, "aos", 100, fecf=False)
    assert sum(row["lost_before"] for row in counted.frames) > 2**24
    assert len(counted.contents) < len(packets)
    output = decode(data, "aos", 100, fecf=False, uncounted=[5])
    assert output.contents == packets
    assert not output.rejects
    assert not [row for row in output.derived if row["metric"] == "frames_lost"]
    # Without counts nobody knows a repetition from the same data sent again.
    idle = oracle.aos_frames([oracle.packet(2047, 0, bytes(86))], 100)
    assert len(decode(b"".join(idle * 4), "aos", 100, fecf=False, uncounted=[5]).packets) == 4
    assert len(decode(b"".join(idle * 4), "aos", 100, fecf=False).packets) == 1
    with pytest.raises(ValueError, match="virtual channel 64: there are 0 to 63"):
        FrameDecoder("aos", 100, uncounted=[64])


def test_frames_with_a_wrong_crc_are_told_but_not_used() -> None:
    packets = some_packets(seeded(15), 40)
    frames = oracle.tm_frames(packets, 100, fecf=2)
    frames[4] = frames[4][:50] + bytes([frames[4][50] ^ 1]) + frames[4][51:]
    output = decode(b"".join(frames), "tm", 100)
    assert [row["fecf"] for row in output.frames[3:6]] == ["ok", "bad", "ok"]
    assert output.frames[5]["lost_before"] == 1
    assert [(row["offset"], row["size_bytes"]) for row in output.rejects if row["reason"] == "bad_fecf"] == [(400, 0)]
    assert set(output.contents) < set(packets)
    errors = [row for row in output.derived if row["metric"] == "fecf_errors"]
    assert [(row["entity"], row["value"]) for row in errors] == [("/vc/1", 1.0)]


@pytest.mark.parametrize("seed", range(6))
def test_frames_that_prove_themselves_are_found_again_after_missing_or_foreign_bytes(seed: int) -> None:
    rng = seeded(seed)
    packets = some_packets(rng, 60)
    frames = oracle.tm_frames(packets, 100, fecf=2)
    data = b"".join(frames)
    at = rng.randrange(500, len(data) - 1000)
    size = rng.randint(1, 99)
    data = data[:at] + rng.randbytes(size) + data[at:] if seed % 2 else data[:at] + data[at + size :]
    output = decode(data, "tm", 100)
    assert decode(data, "tm", 100, cuts=random_cuts(rng, len(data), 40)) == output
    assert sum(row["fecf"] == "ok" for row in output.frames) >= len(frames) - 2
    assert set(output.contents) <= set(packets)


def test_channels_are_reassembled_apart() -> None:
    rng = seeded(16)
    streams = {vcid: some_packets(rng, 40) for vcid in (0, 5, 40)}
    queues = [oracle.aos_frames(packets, 80, vcid=vcid) for vcid, packets in streams.items()]
    frames = []
    while any(queues):
        queue = rng.choice([queue for queue in queues if queue])
        frames.append(queue.pop(0))
    output = decode(b"".join(frames), "aos", 80, fecf=False)
    for vcid, packets in streams.items():
        found = [row["packet"] for row in output.packets if row["vcid"] == vcid and row["packet"][:2] != b"\x07\xff"]
        assert found == packets
    assert not output.rejects


def test_encapsulation_packets_are_passed_over_by_their_length() -> None:
    rng = seeded(17)
    packets = some_packets(rng, 30)
    mixed = []
    for packet in packets:
        mixed.append(packet)
        size = rng.choice((1, 30, 300, 700))
        form = {1: b"\xe0", 30: b"\xe5\x1e", 300: b"\xe6\0\x01\x2c", 700: b"\xe7\0\0\0\0\0\x02\xbc"}[size]
        mixed.append(form + bytes(size - len(form)))
    output = decode(b"".join(oracle.aos_frames(mixed, 97)), "aos", 97, fecf=False)
    assert output.contents == packets
    assert not output.rejects


def test_of_an_encapsulation_packet_that_goes_on_only_the_header_is_kept() -> None:
    form = b"\xe7\0\0\0\0\0\x02\xbc"
    decoder = FrameDecoder("aos", 100, fecf=False)
    decoder.decode_bytes(b"".join(oracle.aos_frames([form + b"x" * 692], 100)[:2]))
    [stream] = json.loads(decoder.snapshot())["packets"]
    assert (stream["pending"], stream["used"], stream["total"]) == (form.hex(), 2 * 92, 700)


def test_a_channel_whose_packets_are_never_whole_is_not_held_for_ever() -> None:
    """Every other frame is missing, and no packet fits into one: nothing says that these are no packets."""
    first = oracle.aos_frames([oracle.packet(5, 0, bytes(500))], 100)[0]
    frames = [first[:2] + (2 * number).to_bytes(3, "big") + first[5:] for number in range(6000)]
    decoder = FrameDecoder("aos", 100, fecf=False)
    rejects = decoder.decode_bytes(b"".join(frames)).rejects
    assert len(json.loads(decoder.snapshot())["packets"][0]["held"]) <= 4096
    assert sum(batch.num_rows for batch in rejects) == 5999
    assert decode(b"".join(frames), "aos", 100, cuts=[3, 7777], fecf=False).reasons == {"partial_packet": 6000}


def test_insert_zone_that_cannot_be_is_an_error() -> None:
    for zone_bytes in (-1, 65_537):
        with pytest.raises(ValueError, match=f"insert_zone {zone_bytes}: it has 0 bytes or more"):
            FrameDecoder("aos", 100, insert_zone=zone_bytes)


def test_mode_bytes_leaves_a_channel_alone_and_packets_is_not_questioned() -> None:
    rng = seeded(18)
    noise = [b"\x40\x05" + index.to_bytes(3, "big") + b"\0\0\0" + b"\xff" + rng.randbytes(91) for index in range(30)]
    assert decode(b"".join(noise), "aos", 100, fecf=False).reasons == {"not_packets": 1}
    assert decode(b"".join(noise), "aos", 100, fecf=False, vc_mode={5: "bytes"}).rejects == []
    assert decode(b"".join(noise), "aos", 100, fecf=False, vc_mode={5: "packets"}).reasons["partial_packet"] == 30
    packets = some_packets(rng, 20)
    output = decode(b"".join(oracle.aos_frames(packets, 100)), "aos", 100, fecf=False, vc_mode={5: "bytes"})
    assert output.packets == []
    assert len(output.frames) > 10


def test_a_channel_without_packets_does_not_flood() -> None:
    rng = seeded(19)
    noise = [b"\x40\x05" + index.to_bytes(3, "big") + b"\0" + rng.randbytes(94) for index in range(5000)]
    output = decode(b"".join(noise), "aos", 100, fecf=False)
    assert output.reasons == {"not_packets": 1}
    assert output.packets == []


@pytest.mark.parametrize("kind", ["tm", "aos", "uslp", "cadu"])
def test_random_input_is_accounted_for(kind: str) -> None:
    for seed in range(20):
        rng = seeded(seed)
        data = rng.randbytes(5000)
        if seed % 2:                                 # plausible versions
            version = {"tm": 0, "aos": 0x40, "uslp": 0xC0, "cadu": 0x1A}[kind]
            data = bytes(version | (value & 0x3F) if at % 50 == 0 else value for at, value in enumerate(data))
        options: dict[str, Any] = {"rs": "none", "randomized": False} if kind == "cadu" else {}
        whole = decode(data, kind, 50, **options)
        assert decode(data, kind, 50, cuts=random_cuts(rng, len(data), 30), **options) == whole
        if kind == "uslp":
            assert decode(data, kind) == decode(data, kind, cuts=random_cuts(rng, len(data), 30))


# -- batches ---------------------------------------------------------------------------------------------------------------
def test_rows_have_the_schemas_of_the_model_and_the_entity_of_the_channel() -> None:
    decoder = FrameDecoder("tm", 100, spacecraft="HERA", link="dsn", fecf=False)
    frames = oracle.tm_frames(some_packets(seeded(20), 30), 100)
    del frames[3]
    start_ns = 1_700_000_000_000_000_000
    out = decoder.decode(satellite.frames([(start_ns + index, "10.0.0.1", frame) for index, frame in enumerate(frames)]))
    (derived,) = out.derived
    assert derived.schema.equals(SAMPLES, check_metadata=False)
    assert out.rejects[0].schema.equals(REJECTS, check_metadata=False)
    rows = derived.to_pylist()
    assert {row["entity"] for row in rows} == {"HERA/vc/1", "HERA"}
    received = Counter(row["metric"] for row in rows)
    assert received == {"frames_rx": len(frames), "frame_bytes": len(frames), "frames_lost": 1, "master_frames_lost": 1}
    assert out.frames[0].to_pylist()[0]["source"] == "10.0.0.1"
    assert {row["offset"] for row in out.frames[0].to_pylist()} == {0}


def test_datagrams_are_closed_in_themselves() -> None:
    frames = oracle.tm_frames(some_packets(seeded(21), 10), 100)
    decoder = FrameDecoder("tm", 100, boundaries="datagrams", fecf=False)
    batch = satellite.frames([(None, "a", frame) for frame in (frames[0], frames[1][:60], frames[2], frames[3] + frames[4])])
    out = decoder.decode(batch.append_column("offset", pa.array([1000, 2000, 3000, 4000], pa.int64())))
    assert [row["offset"] for row in out.frames[0].to_pylist()] == [1000, 3000, 4000, 4100]
    rejects = [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects[0].to_pylist() if row["size_bytes"]]
    assert rejects == [("truncated", 2000, 60)]


def test_state_survives_in_mid_packet_and_mid_frame() -> None:
    packets = some_packets(seeded(22), 60, 900)
    data = b"".join(oracle.aos_frames(packets, 130, fecf=2))
    whole = decode(data, "aos", 130)
    assert decode(data, "aos", 130, cuts=range(37, len(data), 1009), is_resumed=True) == whole
    assert whole.contents == packets


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_length must be given"):
        FrameDecoder("tm")
    with pytest.raises(ValueError, match="frame_length 3: frames have 7 to 65,536 bytes"):
        FrameDecoder("tm", 3)
    with pytest.raises(ValueError, match="4 equal parts"):
        FrameDecoder("cadu", 893, interleave=4)
    with pytest.raises(ValueError, match="no Reed-Solomon code"):
        FrameDecoder("cadu", rs="255,255")
    with pytest.raises(ValueError, match="can be 'packets' or 'bytes'"):
        FrameDecoder("tm", 100, vc_mode={3: "octets"})
    with pytest.raises(ValueError, match="truncated_length 9 is of truncated USLP frames"):
        FrameDecoder("uslp", 100, truncated_length=9)
    with pytest.raises(ValueError, match="version 9"):
        FrameDecoder("tm", 100).restore(b'{"version":9}')
