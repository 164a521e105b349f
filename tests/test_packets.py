"""Space packets through the decoder: real files, cuts, damage, gaps, times, state."""

from __future__ import annotations

import csv
import json
import random

import pytest

from framecodec.packets import SpacePacketDecoder
from streams import definitions
from tests.conftest import testdata
from tests.oracle import space_packets
from tests.satellite import Output, as_single, decode, flat, frames, same

SEED = 20261123


@pytest.fixture(scope="module")
def jpss() -> definitions.Definition:
    return definitions.load(testdata("packets", "jpss1", "geolocation.xtce.xml"))


@pytest.fixture(scope="module")
def jpss_bytes() -> bytes:
    return testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()


# -- real files --------------------------------------------------------------------------------------------------------
def test_jpss_packets_are_those_of_the_length_chain(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    out = decode([jpss_bytes], jpss, emit=("packets",))
    chain = space_packets.split(jpss_bytes)

    assert len(out.packets) == 7200
    assert [(row["offset"], row["size_bytes"]) for row in out.packets] == [(offset, len(packet)) for offset, packet in chain]
    assert {row["apid"] for row in out.packets} == {11}
    assert out.rejects == []
    # The header says 2021-04-09T00:00:00.007137Z: day 23109 since 1958, 7 ms, 137 us.
    assert out.packets[0]["time"].value == 1_617_926_400_007_137_000


def test_jpss_values_equal_those_of_another_library(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    out = decode([jpss_bytes], jpss, emit=("packets", "values"))
    wanted: dict[int, dict[str, tuple[str, str]]] = {}
    with testdata("packets", "jpss1", "expected_first300.tsv").open() as lines:
        for number, _, path, _, _, raw, value in csv.reader(lines, delimiter="\t"):
            wanted.setdefault(int(number), {})[path.rpartition("/")[2]] = raw, value

    assert len(wanted) == 300
    for number, expected in wanted.items():
        _, raw, values = out.values[number]
        assert raw.keys() == values.keys() == expected.keys()
        for name, (raw_text, value_text) in expected.items():
            read = as_single if "." in raw_text or "e" in raw_text else int
            assert (raw[name], values[name]) == (read(raw_text), read(value_text)), (number, name)


def test_jpss_samples_are_all_values_of_all_packets(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    out = decode([jpss_bytes[: 71 * 200]], jpss)

    assert len(out.samples) == 200 * 27
    assert len(out.derived) == 200
    for number in range(200):
        rows = out.samples[27 * number : 27 * number + 27]
        _, _, values = out.values[number]
        assert [row["metric"].rpartition("/")[2] for row in rows] == list(values)
        assert [row["value"] for row in rows] == list(values.values())
        assert {(row["time"], row["entity"], row["quality"]) for row in rows} == {(out.packets[number]["time"], "sat", 0)}


def test_swapi_values_equal_the_ground_equipments_export() -> None:
    definition = definitions.load(testdata("packets", "imap_swapi", "swapi.xtce.xml"))
    out = decode([testdata("packets", "imap_swapi", "swapi.ccsds").read_bytes()], definition, emit=("packets", "values"))
    by_apid: dict[int, list[dict[str, object]]] = {}
    for number, packet in enumerate(out.packets):
        by_apid.setdefault(packet["apid"], []).append(out.values[number][1])

    assert len(out.packets) == 463
    checked = 0
    for apid, name in ((1184, "HK"), (1188, "SCI")):
        with testdata("packets", "imap_swapi", f"idle_export_raw.SWP_{name}_20240924_080204.csv").open() as lines:
            for row, raw in zip(csv.DictReader(lines), by_apid[apid], strict=True):
                for column, text in row.items():
                    # The definition lacks the five monitors before the housekeeping's checksum that the export has.
                    if column in raw and text.lstrip("-").isdigit() and (column, name) != ("CHKSUM", "HK"):
                        got = raw[column]
                        # The export prints the housekeeping's signed 12-bit counts as unsigned.
                        assert isinstance(got, int) and int(text) - got in (0, 1 << 12), (apid, column)
                        checked += 1
    assert checked > 5000


def test_hit_housekeeping_equals_the_export() -> None:
    definition = definitions.load(testdata("packets", "imap_hit", "hit.xtce.xml"))
    out = decode([testdata("packets", "imap_hit", "hk.ccsds").read_bytes()], definition, emit=("packets", "values"))
    with testdata("packets", "imap_hit", "hk_expected_raw.csv").open() as lines:
        expected = list(csv.DictReader(lines))

    assert (len(out.packets), len(expected)) == (88, 87)  # the export lacks one packet
    by_count = {packet["sequence_count"]: out.values[number] for number, packet in enumerate(out.packets)}
    checked = 0
    for number, row in enumerate(expected):
        _, raw, values = by_count[int(row["CCSDS_SEQ_CNT"])]
        for column, text in row.items():
            name = f"HIT_HSKP.{column}"
            if name in raw:
                assert raw[name] == int(text), (number, column)
                checked += 1
        # polynomials of the definition: TEMP0 is c0 + c1 x + ...
        assert isinstance(values["HIT_HSKP.TEMP0"], float)
    assert checked > 87 * 100


def test_cygnss_splits_by_apid_as_ccsdspy_does() -> None:
    data = testdata("packets", "cygnss", "first101.ccsds").read_bytes()
    out = decode([data], emit=("packets",))
    counted: dict[int, int] = {}
    for row in out.packets:
        counted[row["apid"]] = counted.get(row["apid"], 0) + 1

    assert len(out.packets) == 101 and out.tiles(len(data))
    ccsdspy_utils = pytest.importorskip("ccsdspy.utils")
    by_apid = ccsdspy_utils.split_by_apid(str(testdata("packets", "cygnss", "first101.ccsds")))
    sizes: dict[int, int] = {}
    for row in out.packets:
        sizes[row["apid"]] = sizes.get(row["apid"], 0) + row["size_bytes"]
    assert {apid: len(stream.getvalue()) for apid, stream in by_apid.items()} == sizes
    assert len(counted) == 7


# -- cuts --------------------------------------------------------------------------------------------------------------
def mixed_stream(randoms: random.Random) -> bytes:
    """Packets of several APIDs and sizes with gaps, garbage, a damaged length, and an end inside a packet."""
    counts = {apid: randoms.randrange(16384) for apid in (5, 6, 77, 2047)}
    pieces = []
    for number in range(60):
        apid = randoms.choice(list(counts))
        counts[apid] = (counts[apid] + randoms.choice((1, 1, 1, 3))) % 16384
        pieces.append(space_packets.packet(apid, counts[apid], randoms.randbytes(randoms.randrange(1, 90))))
        if number in (20, 33):
            pieces.append(randoms.randbytes(3))
        if number == 40:
            pieces[-1] = pieces[-1][:4] + b"\x01\x40" + pieces[-1][6:]
    return b"".join(pieces)[:-4]


@pytest.mark.parametrize("seed", range(SEED, SEED + 8))
def test_output_is_the_same_for_every_cut(seed: int) -> None:
    data = mixed_stream(random.Random(seed))
    whole = decode([data])

    assert whole.tiles(len(data)), f"seed {seed}"
    assert decode([data[place : place + 1] for place in range(len(data))]).same_as(whole), f"byte by byte, seed {seed}"
    for place in range(0, len(data), 7):
        assert decode([data[:place], data[place:]]).same_as(whole), f"cut at {place}, seed {seed}"


def test_jpss_values_are_the_same_for_every_cut(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    data = jpss_bytes[: 71 * 9]
    whole = decode([data], jpss)

    for place in range(0, len(data), 5):
        assert decode([data[:place], data[place:]], jpss).same_as(whole), place


def test_snapshot_goes_on_in_mid_packet(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    data = jpss_bytes[: 71 * 5] + b"\xff\xff" + jpss_bytes[71 * 6 : 71 * 12]
    whole = decode([data], jpss)

    for place in range(0, len(data), 5):
        first = SpacePacketDecoder(jpss, spacecraft="sat", boundaries="stream")
        pieces = [first.decode_bytes(data[:place])]
        second = SpacePacketDecoder(jpss, spacecraft="sat", boundaries="stream")
        second.restore(first.snapshot())
        pieces += [second.decode_bytes(data[place:]), second.finish()]
        assert Output(pieces).same_as(whole), place


def test_restore_refuses_a_state_of_another_version() -> None:
    with pytest.raises(ValueError, match="version 7; this program writes 1"):
        SpacePacketDecoder().restore(json.dumps({"version": 7}).encode())


# -- damage ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("garbage", [b"\xde\xad\xbf", b"\0\0\0", b"\xff\xff\xff", b"\x08\x0b\xc0"])
@pytest.mark.parametrize("is_defined", [True, False])
def test_three_bytes_between_two_packets_cost_none(
    jpss: definitions.Definition, jpss_bytes: bytes, garbage: bytes, is_defined: bool
) -> None:
    data = jpss_bytes[: 71 * 50] + garbage + jpss_bytes[71 * 50 : 71 * 100]
    out = decode([data], jpss if is_defined else None)

    assert len(out.packets) == 100 and out.tiles(len(data))
    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [("garbage", 71 * 50, 3)]


def test_three_bytes_inside_a_packet_cost_at_most_that_one(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    packets = {packet for _, packet in space_packets.split(jpss_bytes[: 71 * 100])}
    randoms = random.Random(SEED)
    for place in range(71 * 50, 71 * 51):
        data = jpss_bytes[:place] + randoms.randbytes(3) + jpss_bytes[place : 71 * 100]
        out = decode([data], jpss, emit=("packets",))
        recovered = {data[row["offset"] : row["offset"] + row["size_bytes"]] for row in out.packets}
        assert len(recovered & packets) >= 99, f"at {place}, seed {SEED}"
        assert out.tiles(len(data))
        # What is left over: the three, where the packet's length says that the next one begins; or all that was the packet's.
        assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] in (
            [("garbage", 71 * 50, 3)],
            [("garbage", 71 * 50, 74)],
            [("garbage", 71 * 51, 3)],
        )


def test_a_damaged_length_costs_one_packet(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    for bit in range(32, 48):
        data = bytearray(jpss_bytes[: 71 * 100])
        data[71 * 50 + bit // 8] ^= 128 >> bit % 8
        out = decode([bytes(data)], jpss, emit=("packets",))
        assert sum(row["size_bytes"] == 71 for row in out.packets) >= 99, bit
        assert out.tiles(len(data))


def test_nothing_in_nothing_out() -> None:
    out = decode([b""])
    assert (out.packets, out.rejects) == ([], [])


def test_one_byte_short_is_truncated(jpss_bytes: bytes) -> None:
    out = decode([jpss_bytes[: 71 * 3 - 1]])

    assert [row["offset"] for row in out.packets] == [0, 71]
    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [("truncated", 142, 70)]


def test_every_shorter_end_is_truncated(jpss_bytes: bytes) -> None:
    for left in range(1, 71):
        out = decode([jpss_bytes[: 71 * 3 + left]])
        assert len(out.packets) == 3
        assert [(row["reason"], row["size_bytes"]) for row in out.rejects] == [("truncated", left)], left


def test_trailing_bytes_that_begin_no_packet_are_garbage(jpss_bytes: bytes) -> None:
    for trailing in (b"\xff", b"\xff" * 5, b"\xff" * 100):
        out = decode([jpss_bytes[: 71 * 3] + trailing])
        assert len(out.packets) == 3
        assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [("garbage", 213, len(trailing))]


def test_noise_alone_gives_no_values_and_ends(jpss: definitions.Definition) -> None:
    data = random.Random(SEED).randbytes(200_000)
    out = decode([data], jpss, emit=("packets", "values"))

    assert out.tiles(len(data))
    assert len(out.values) <= 2, f"seed {SEED}"


def test_a_file_of_zeros_ends(jpss: definitions.Definition) -> None:
    assert decode([bytes(100_000)], jpss, emit=("packets",)).tiles(100_000)


def test_one_packet_alone_is_found() -> None:
    packet = space_packets.packet(99, 3, b"hello")
    out = decode([packet])
    assert [(row["apid"], row["sequence_count"], row["size_bytes"]) for row in out.packets] == [(99, 3, 11)]


def test_packets_that_agree_on_another_version_are_packets() -> None:
    data = testdata("packets", "var_length", "var_length_packets.bin").read_bytes()
    assert data[0] >> 5 == 1
    for pieces in ([data], [data[place : place + 1] for place in range(len(data))]):
        out = decode(pieces)
        assert [row["size_bytes"] for row in out.packets] == [6 + 2 * size for size in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)]
        assert out.rejects == []


def test_two_packets_of_another_version_are_garbage() -> None:
    data = b"".join(space_packets.packet(5, count, b"abc") for count in (1, 2)).replace(b"\0\x05", b"\x60\x05")
    out = decode([data])
    assert out.packets == []
    assert [(row["reason"], row["size_bytes"]) for row in out.rejects] == [("garbage", len(data))]


def test_record_header_bytes_are_skipped(jpss_bytes: bytes) -> None:
    data = b"".join(b"HEAD" + packet for _, packet in space_packets.split(jpss_bytes[: 71 * 20]))
    out = decode([data], record_header_bytes=4)

    assert [row["offset"] for row in out.packets] == [4 + 75 * number for number in range(20)]
    assert out.rejects == []


# -- frames and datagrams ----------------------------------------------------------------------------------------------
def test_a_frame_that_is_a_packet_is_not_held_back(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    decoder = SpacePacketDecoder(jpss, spacecraft="sat", boundaries="frames")
    for number, (_, packet) in enumerate(space_packets.split(jpss_bytes[: 71 * 5])):
        out = Output([decoder.decode(frames([(1_617_926_400_000_000_000 + number, "10.0.0.1", packet)]))])
        assert len(out.packets) == 1
        assert out.packets[0]["received"].value == 1_617_926_400_000_000_000 + number


def test_frames_of_two_senders_are_two_streams(jpss_bytes: bytes) -> None:
    packets = [packet for _, packet in space_packets.split(jpss_bytes[: 71 * 8])]
    rows: list[tuple[int | None, str, bytes]] = []
    for number in range(0, 8, 2):
        rows += [(None, "a", packets[number][:30]), (None, "b", packets[number + 1][:50])]
        rows += [(None, "a", packets[number][30:]), (None, "b", packets[number + 1][50:])]
    decoder = SpacePacketDecoder(boundaries="frames")
    out = Output([decoder.decode(frames(rows)), decoder.finish()])

    assert sorted(row["sequence_count"] for row in out.packets) == list(range(2606, 2614))
    assert out.rejects == []


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_frames_give_the_same_however_they_are_batched(seed: int) -> None:
    randoms = random.Random(seed)
    data = mixed_stream(randoms)
    cuts = sorted(randoms.sample(range(1, len(data)), 40))
    rows = [(10**18 + start, "tcp", data[start:end]) for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]

    def run(size: int) -> Output:
        decoder = SpacePacketDecoder(boundaries="frames")
        pieces = [decoder.decode(frames(rows[place : place + size])) for place in range(0, len(rows), size)]
        return Output([*pieces, decoder.finish()])

    whole = run(len(rows))
    for size in (1, 3, 7):
        assert run(size).same_as(whole), f"{size} frames a batch, seed {seed}"
    assert sum(row["size_bytes"] for row in whole.packets + whole.rejects) == len(data)


def test_datagrams_are_closed_in_themselves(jpss_bytes: bytes) -> None:
    packets = [packet for _, packet in space_packets.split(jpss_bytes[: 71 * 4])]
    decoder = SpacePacketDecoder(boundaries="datagrams")
    out = Output(
        [
            decoder.decode(
                frames(
                    [
                        (1, "a", packets[0]),
                        (2, "a", packets[1][:40]),
                        (3, "a", packets[2] + packets[3]),
                        (4, "a", b"\xff" * 9),
                        (5, "a", b""),
                    ]
                )
            )
        ]
    )

    assert [row["sequence_count"] for row in out.packets] == [2606, 2608, 2609]
    assert [(row["reason"], row["offset"], row["size_bytes"], row["time"].value) for row in out.rejects] == [
        ("truncated", 0, 40, 2),
        ("garbage", 0, 9, 4),
    ]


def test_a_batch_that_is_sliced_is_read_at_its_place(jpss_bytes: bytes) -> None:
    packets = [packet for _, packet in space_packets.split(jpss_bytes[: 71 * 6])]
    batch = frames([(number, "a", packet) for number, packet in enumerate(packets)]).slice(2, 3)
    out = Output([SpacePacketDecoder().decode(batch)])
    assert [row["sequence_count"] for row in out.packets] == [2608, 2609, 2610]
    assert [row["received"].value for row in out.packets] == [2, 3, 4]


def test_a_batch_of_something_else_is_a_type_error() -> None:
    import pyarrow as pa

    with pytest.raises(TypeError, match="5 are needed"):
        SpacePacketDecoder().decode(pa.record_batch({"a": [1]}))
    batch = frames([(1, "a", b"x")])
    plain = batch.set_column(1, "source", pa.array([0], pa.int32()))
    with pytest.raises(TypeError, match="column 1 is 'i', it should be a dictionary of strings"):
        SpacePacketDecoder().decode(plain)
    placed = batch.append_column("offset", pa.array([0], pa.int32()))
    with pytest.raises(TypeError, match="column 5 is 'i', it should be 'l'"):
        SpacePacketDecoder().decode(placed)


def test_segments_without_an_end_are_held_up_to_a_bound_and_the_first_ones_go() -> None:
    """1,100 packets begin, and none goes on: more than 64 MiB."""
    body = bytes(65_535)
    decoder = SpacePacketDecoder(emit=("packets",), join_segments=True)
    given_up = []
    for apid in range(1100):
        first = space_packets.packet(apid, 0, body)
        out = decoder.decode_bytes(first[:2] + b"\x40\0" + first[4:])
        given_up += [row for batch in out.rejects for row in batch.to_pylist()]
    assert len(decoder.finish().rejects[0]) + len(given_up) == 1100
    assert {row["reason"] for row in given_up} == {"partial_packet"}
    assert 1100 - len(given_up) <= (64 << 20) // len(first) + 3, "a packet waits for its successor"


# -- gaps --------------------------------------------------------------------------------------------------------------
def gaps_of(counts: list[int], **options: object) -> Output:
    return decode([b"".join(space_packets.packet(7, count, b"xy") for count in counts)], **options)


def test_gaps_are_counted_modulo_16384() -> None:
    out = gaps_of([16382, 16383, 0, 1, 4, 5])

    assert [row["lost_before"] for row in out.packets] == [0, 0, 0, 0, 2, 0]
    assert [(row["metric"], row["value"]) for row in out.samples] == [("sequence_gaps", 2.0)]
    assert [row["value"] for row in out.derived if row["metric"] == "packets_lost"] == [2.0]
    assert sum(row["value"] for row in out.derived if row["metric"] == "packets_rx") == 6


def test_a_late_packet_gives_back_what_was_counted_as_lost() -> None:
    out = gaps_of([10, 11, 13, 14, 12, 12, 15])

    assert [row["lost_before"] for row in out.packets] == [0, 0, 1, 0, -1, 0, 0]
    assert sum(row["value"] for row in out.derived if row["metric"] == "packets_lost") == 0


def test_a_repeated_packet_is_no_loss() -> None:
    assert [row["lost_before"] for row in gaps_of([10, 11, 11, 11, 12]).packets] == [0, 0, 0, 0, 0]


def test_a_packet_before_the_first_was_not_lost() -> None:
    assert [row["lost_before"] for row in gaps_of([10, 9, 11]).packets] == [0, 0, 0]


def test_idle_packets_have_lines_but_no_values_and_no_gaps(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    idle = space_packets.packet(2047, 5, bytes(20)) + space_packets.packet(2047, 9, bytes(20))
    data = jpss_bytes[:71] + idle + jpss_bytes[71:142]
    out = decode([data], jpss)

    assert [row["apid"] for row in out.packets] == [11, 2047, 2047, 11]
    assert sorted(out.values) == [0, 3]
    assert out.rejects == []
    assert [row["apid"] for row in decode([data], jpss, idle=False).packets] == [11, 11]


# -- times -------------------------------------------------------------------------------------------------------------
def test_a_clock_that_is_off_is_replaced_by_the_receive_time(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    device_ns = 1_617_926_400_007_137_000
    for received_ns, expected_ns, quality in (
        (device_ns + 5, device_ns, 0),
        (device_ns + 86_400 * 10**9, device_ns, 0),
        (device_ns + 86_400 * 10**9 + 1, device_ns + 86_400 * 10**9 + 1, 1),
        (None, device_ns, 0),
    ):
        out = Output([SpacePacketDecoder(jpss).decode(frames([(received_ns, "a", jpss_bytes[:71])]))])
        assert {(row["time"].value, row["quality"]) for row in out.samples + out.derived} == {(expected_ns, quality)}
        assert out.packets[0]["time"].value == device_ns


def test_without_any_time_samples_say_so() -> None:
    out = gaps_of([1, 2])
    assert {(row["time"].value, row["quality"]) for row in out.derived} == {(0, 1)}
    assert out.packets[0]["time"] is None


# -- what is asked for -------------------------------------------------------------------------------------------------
def test_only_what_is_asked_for_is_there(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    out = decode([jpss_bytes[: 71 * 3]], jpss, parameters=["ADGPSPOSX", "/JPSS_Geolocation_Packets/DOY"])

    assert [list(out.values[number][1]) for number in range(3)] == [["DOY", "ADGPSPOSX"]] * 3
    assert {row["metric"].rpartition("/")[2] for row in out.samples} == {"DOY", "ADGPSPOSX"}
    assert out.packets[0]["time"] is not None


def test_asking_for_what_is_not_there_is_an_error(jpss: definitions.Definition) -> None:
    with pytest.raises(ValueError, match="no parameter 'FAN_RPM'"):
        SpacePacketDecoder(jpss, parameters=["FAN_RPM"])


def test_packets_of_no_container_are_remarked(jpss: definitions.Definition) -> None:
    out = decode([space_packets.packet(12, 1, bytes(64)) + space_packets.packet(12, 2, bytes(64))], jpss)

    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [
        ("no_container", 0, 0),
        ("no_container", 70, 0),
    ]
    assert [row["container"] for row in out.packets] == [None, None]


def test_a_packet_too_short_keeps_what_fits(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    short = jpss_bytes[:4] + (20 - 7).to_bytes(2, "big") + jpss_bytes[6:20]
    out = decode([short + jpss_bytes[71:142]], jpss)
    whole = decode([jpss_bytes[:142]], jpss)

    assert [(row["reason"], row["size_bytes"]) for row in out.rejects] == [("short_for_definition", 0)]
    fits = flat(*out.values[0][1:])
    assert list(fits) == [
        "VERSION",
        "TYPE",
        "SEC_HDR_FLG",
        "PKT_APID",
        "SEQ_FLGS",
        "SRC_SEQ_CTR",
        "PKT_LEN",
        "DOY",
        "MSEC",
        "USEC",
        "ADAESCID",
        "ADAET1DAY",
    ]
    assert same(out.values[1], whole.values[1])


def test_a_short_packet_among_calibrated_ones_lacks_only_its_own_values() -> None:
    definition = definitions.load(testdata("packets", "imap_hit", "hit.xtce.xml"))
    packets = [packet for _, packet in space_packets.split(testdata("packets", "imap_hit", "hk.ccsds").read_bytes()[: 150 * 3])]
    short = packets[1][:4] + (100 - 7).to_bytes(2, "big") + packets[1][6:100]
    out = decode([packets[0] + short + packets[2]], definition)
    whole = decode([b"".join(packets)], definition)

    assert same(out.values[0], whole.values[0]) and same(out.values[2], whole.values[2])
    fits, everything = flat(*out.values[1][1:]), flat(*whole.values[1][1:])
    assert 60 < len(fits) < len(everything) == 131
    assert all(same(fits[name], everything[name]) for name in fits if name != "PKT_LEN")
    assert sum(row["value"] is not None for row in out.samples) == 131 * 2 + len(fits)


# -- counts and packets from frames ------------------------------------------------------------------------------------
def test_counts_are_those_of_the_rows(jpss_bytes: bytes) -> None:
    decoder = SpacePacketDecoder(boundaries="stream")
    data = jpss_bytes[: 71 * 10] + b"\xff" + jpss_bytes[71 * 13 : 71 * 20]
    decoder.decode_bytes(data)
    decoder.finish()

    assert decoder.counts == {
        "input_bytes": len(data),
        "rejects": {"garbage": 1},
        "links": [
            {
                "scid": None,
                "vcid": None,
                "packets": 17,
                "packet_bytes": 17 * 71,
                "sequence_gaps": 1,
                "packets_lost": 3,
                "apids": {11: 17},
            }
        ],
    }
    decoder.reset_counts()
    assert decoder.counts == {"input_bytes": 0, "links": [], "rejects": {}}


def test_packets_out_of_frames_keep_their_channel(jpss: definitions.Definition, jpss_bytes: bytes) -> None:
    import pyarrow as pa

    packets = [packet for _, packet in space_packets.split(jpss_bytes[: 71 * 4])]
    batch = pa.record_batch(
        {
            "received_ns": pa.array([1, None, 3, 4, 5], pa.int64()),
            "source": pa.array(["a"] * 5).dictionary_encode(),
            "packet": pa.array([packets[0], packets[1], packets[3], packets[2][:-1], b"\xff" * 30], pa.binary()),
            "offset": pa.array([0, 100, 200, 300, 400], pa.int64()),
            "scid": pa.array([159, 159, 159, None, 1], pa.int32()),
            "vcid": pa.array([0, 1, 0, 0, 0], pa.int32()),
        }
    )
    out = Output([SpacePacketDecoder(jpss).decode_packets(batch)])

    assert [(row["offset"], row["scid"], row["vcid"], row["lost_before"]) for row in out.packets] == [
        (0, 159, 0, 0),
        (100, 159, 1, 0),
        (200, 159, 0, 2),
    ]
    assert [(row["reason"], row["offset"], row["size_bytes"]) for row in out.rejects] == [
        ("truncated", 300, 70),
        ("garbage", 400, 30),
    ]
