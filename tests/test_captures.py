"""Capture files: every format, link and address family; fragments; damage; cut anywhere, the same rows."""

from __future__ import annotations

import io
import random
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.pcap import CaptureError, CaptureReader, is_capture
from streams.captures import open_capture
from streams.errors import InputError
from streams.model import FRAMES, REJECTS
from tests.capture_files import ethernet, fragments_v4, fragments_v6, ip, pcap, pcapng, udp
from tests.conftest import testdata

TIME_NS = 1_790_000_000_123_456_789
Row = tuple[int | None, str, bytes]


def read(data: bytes, port: int = 0, step: int = 0) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """(frames, rejects) of a capture fed in pieces of `step` bytes."""
    reader = CaptureReader("racks", "sflow", port=port)
    frames, rejects = [], []
    for start in range(0, len(data), step or len(data)):
        reader.feed(data[start : start + (step or len(data))])
        taken = [pa.record_batch(batch) for batch in reader.take()]
        frames += taken[0].to_pylist()
        rejects += taken[1].to_pylist()
    reader.finish()
    taken = [pa.record_batch(batch) for batch in reader.take()]
    return frames + taken[0].to_pylist(), rejects + taken[1].to_pylist()


def rows(data: bytes, port: int = 0) -> list[Row]:
    frames, rejects = read(data, port)
    assert not rejects
    for frame in frames:
        offset, payload = frame["offset"], frame["frame"]
        assert isinstance(offset, int) and isinstance(payload, bytes)
        assert data[offset : offset + len(payload)] == payload
    return [(frame["received_ns"], frame["source"], frame["frame"]) for frame in frames]  # type: ignore[misc]


def reasons(data: bytes, port: int = 0) -> list[tuple[object, object, object, object]]:
    frames, rejects = read(data, port)
    assert not frames
    return [(row["reason"], row["offset"], row["size_bytes"], row["detail"]) for row in rejects]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nanoseconds", "kept_ns"), [(True, TIME_NS), (False, TIME_NS // 1000 * 1000)])
def test_pcap_in_both_byte_orders_and_both_units(order: str, nanoseconds: bool, kept_ns: int) -> None:
    data = pcap([(TIME_NS, ethernet(ip(udp(b"hello"))))], order=order, nanoseconds=nanoseconds)
    assert rows(data) == [(kept_ns, "192.0.2.1", b"hello")]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "unit_ns"), [(None, 1000), (9, 1), (3, 10**6), (0, 10**9), (10, 1), (0x80 | 20, 954), (0x80 | 33, 1)]
)
@pytest.mark.parametrize("old_blocks", [False, True])
def test_pcapng_in_every_resolution(order: str, resolution: int | None, unit_ns: int, old_blocks: bool) -> None:
    packets = [(TIME_NS, ethernet(ip(udp(b"hello"))))]
    [(received_ns, _, payload)] = rows(pcapng(packets, order=order, resolution=resolution, old_blocks=old_blocks))
    assert payload == b"hello"
    assert received_ns is not None
    assert 0 <= TIME_NS - received_ns <= unit_ns


def test_pcapng_time_offset_is_added() -> None:
    data = pcapng([(TIME_NS, ethernet(ip(udp(b"x"))))], resolution=9, offset_s=1_700_000_000)
    assert rows(data) == [(TIME_NS, "192.0.2.1", b"x")]


def test_pcapng_simple_packets_have_no_time() -> None:
    assert rows(pcapng([(None, ethernet(ip(udp(b"x"))))])) == [(None, "192.0.2.1", b"x")]


def test_pcapng_time_beyond_int64_is_unknown() -> None:
    data = bytearray(pcapng([(TIME_NS, ethernet(ip(udp(b"x"))))], resolution=0))
    place = data.index(struct.pack("<III", 6, 76, 0)) + 12
    data[place : place + 8] = b"\xff" * 8
    assert rows(bytes(data)) == [(None, "192.0.2.1", b"x")]


def test_pcapng_sections_may_differ_in_byte_order_and_link() -> None:
    data = pcapng([(TIME_NS, ethernet(ip(udp(b"one"))))], order="<", resolution=9)
    data += pcapng([(TIME_NS, ip(udp(b"two"), "2001:db8::1"))], link_type=101, order=">", resolution=9)
    assert rows(data) == [(TIME_NS, "192.0.2.1", b"one"), (TIME_NS, "2001:db8::1", b"two")]


PACKETS = [ip(udp(b"four")), ip(udp(b"six"), "2001:db8::1")]


@pytest.mark.parametrize("packet", PACKETS, ids=["ipv4", "ipv6"])
@pytest.mark.parametrize(
    "link",
    [
        (1, lambda p: ethernet(p)),
        (1, lambda p: ethernet(p, [(0x8100, 30)])),
        (1, lambda p: ethernet(p, [(0x88A8, 30), (0x8100, 40)])),
        (1, lambda p: ethernet(p, [(0x9100, 30), (0x8100, 40), (0x8100, 50)])),
        (1, lambda p: ethernet(p) + b"padding"),
        (101, lambda p: p),
        (12, lambda p: p),
        (228, lambda p: p),
        (229, lambda p: p),
        (0, lambda p: struct.pack("<I", 2 if p[0] >> 4 == 4 else 30) + p),
        (0, lambda p: struct.pack(">I", 2 if p[0] >> 4 == 4 else 10) + p),
        (108, lambda p: struct.pack(">I", 2 if p[0] >> 4 == 4 else 24) + p),
        (113, lambda p: bytes(14) + (b"\x08\x00" if p[0] >> 4 == 4 else b"\x86\xdd") + p),
        (113, lambda p: bytes(14) + b"\x81\x00\x00\x1e" + (b"\x08\x00" if p[0] >> 4 == 4 else b"\x86\xdd") + p),
        (276, lambda p: (b"\x08\x00" if p[0] >> 4 == 4 else b"\x86\xdd") + bytes(18) + p),
    ],
)
def test_every_link_gives_the_payload(link: tuple[int, object], packet: bytes) -> None:
    link_type, wrap = link
    expected = [(TIME_NS, "192.0.2.1", b"four")] if packet[0] >> 4 == 4 else [(TIME_NS, "2001:db8::1", b"six")]
    assert rows(pcap([(TIME_NS, wrap(packet))], link_type, nanoseconds=True)) == expected  # type: ignore[operator]


def test_options_and_extension_headers_are_passed() -> None:
    hop_by_hop = bytes([60, 0]) + bytes(6)
    destination = bytes([17, 1]) + bytes(14)
    packets = [
        ip(udp(b"options"), options=bytes(12)),
        ip(udp(b"extensions"), "2001:db8::1", protocol=0, extensions=hop_by_hop + destination),
        ip(udp(b"atomic"), "2001:db8::1", protocol=44, extensions=bytes([17, 0, 0, 0, 0, 0, 0, 9])),
        ip(udp(b"authenticated"), "2001:db8::1", protocol=51, extensions=bytes([17, 4]) + bytes(22)),
        ip(udp(b"jumbo"), "2001:db8::1", total=0),
        ip(udp(b"offloaded"), total=0),
    ]
    found = [payload for _, _, payload in rows(pcap([(TIME_NS, packet) for packet in packets], 101))]
    assert found == [b"options", b"extensions", b"atomic", b"authenticated", b"jumbo", b"offloaded"]


def test_port_keeps_that_destination_only_and_counts_the_rest() -> None:
    data = pcap([(TIME_NS, ethernet(ip(udp(str(port).encode(), port=port)))) for port in (6343, 2055, 6343, 4739)])
    assert [payload for _, _, payload in rows(data, port=6343)] == [b"6343", b"6343"]
    assert len(rows(data)) == 4
    reader = CaptureReader("racks", "sflow", port=6343)
    reader.feed(data)
    assert reader.counts == {"records": 4, "datagrams": 2, "passed": 2, "input_bytes": len(data)}


def test_what_is_not_udp_is_passed_over() -> None:
    tcp = ethernet(ip(b"x" * 20, protocol=6))
    icmp6 = ethernet(ip(b"x" * 20, "2001:db8::1", protocol=58))
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    assert rows(pcap([(TIME_NS, packet) for packet in (tcp, icmp6, arp, b"", b"\x01")])) == []


def test_frames_have_the_schema_of_the_model_and_an_offset() -> None:
    reader = CaptureReader("racks", "sflow")
    reader.feed(pcap([(TIME_NS, ethernet(ip(udp(b"x"))))]))
    frames, rejects = (pa.record_batch(batch) for batch in reader.take())
    assert frames.schema.names == [*FRAMES.names, "offset"]
    assert pa.RecordBatch.from_arrays(frames.columns[:5], schema=FRAMES).num_rows == 1
    assert rejects.schema.equals(REJECTS)
    assert frames["link"].to_pylist() == ["racks"]
    assert frames["codec"].to_pylist() == ["sflow"]


LARGE = udp(bytes(range(256)) * 12)


@pytest.mark.parametrize("parts", [fragments_v4(LARGE, 1000), fragments_v6(LARGE, 1000)], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [0, 0, 1, 1, 2, 3, 3]])
def test_fragments_in_any_order_become_one_datagram(parts: list[bytes], order: list[int]) -> None:
    data = pcap([(TIME_NS + number, parts[index]) for number, index in enumerate(order)], 101, nanoseconds=True)
    frames, rejects = read(data)
    assert [frame["frame"] for frame in frames] == [LARGE[8:]]
    assert frames[0]["received_ns"] == TIME_NS, "the first fragment's time"
    # A repeated last fragment comes after its datagram was complete, and is all that is left.
    assert [reject["reason"] for reject in rejects] == ["fragment"] * (order.count(3) - 1)


def test_fragments_of_two_datagrams_do_not_mix() -> None:
    one, other = fragments_v4(LARGE, 1000), fragments_v4(udp(b"b" * 1500), 1000, identification=8)
    packets = [one[0], other[0], one[1], other[1], one[2], one[3]]
    frames, rejects = read(pcap([(TIME_NS, packet) for packet in packets], 101))
    assert [frame["frame"] for frame in frames] == [b"b" * 1500, LARGE[8:]]
    assert not rejects


def test_missing_fragment_is_a_reject_at_the_end() -> None:
    parts = fragments_v4(LARGE, 1000)
    data = pcap([(TIME_NS, part) for part in (parts[0], parts[1], parts[3])], 101)
    assert reasons(data) == [("fragment", 24 + 16 + 20, len(LARGE) - 1000, "fragments are missing")]


def test_missing_fragment_of_another_port_is_no_reject() -> None:
    parts = fragments_v4(LARGE, 1000)
    assert reasons(pcap([(TIME_NS, parts[0])], 101), port=2055) == []
    assert len(reasons(pcap([(TIME_NS, parts[0])], 101), port=6343)) == 1
    assert reasons(pcap([(TIME_NS, parts[1])], 101), port=6343) == []


def test_overlapping_fragments_are_refused_whole() -> None:
    parts = fragments_v4(LARGE, 1000)
    shifted = ip(b"\0" * 1000, flags_and_offset=0x2000 | 992 // 8)
    [(reason, _, size_bytes, detail)] = reasons(pcap([(TIME_NS, part) for part in (parts[0], shifted)], 101))
    assert (reason, size_bytes, detail) == ("fragment", 2000, "fragments contradict each other")


@pytest.mark.parametrize("behind", [1, 2])
def test_last_fragment_before_others_is_refused_whole(behind: int) -> None:
    """Where the bytes add up, too: 1,000 beyond the end do not stand for the 1,000 that are missing at the beginning."""
    beyond = [ip(b"a" * 1000, flags_and_offset=0x2000 | (2000 + 1000 * number) // 8) for number in range(behind)]
    last = ip(b"b" * 1000, flags_and_offset=1000 // 8)
    [(reason, _, size_bytes, detail)] = reasons(pcap([(TIME_NS, part) for part in (*beyond, last)], 101))
    assert (reason, size_bytes, detail) == ("fragment", 1000 * behind + 1000, "fragments contradict each other")


def test_fragment_beyond_64_kib_is_refused() -> None:
    last = ip(b"x" * 1000, flags_and_offset=0x1FFF)
    assert reasons(pcap([(TIME_NS, last)], 101))[0][3] == "fragments contradict each other"


def test_stale_fragments_give_way_to_a_new_datagram_of_the_same_number() -> None:
    parts = fragments_v4(LARGE, 1000)
    late_ns = TIME_NS + 31 * 10**9
    data = pcap([(TIME_NS, parts[0])] + [(late_ns, part) for part in parts], 101)
    frames, rejects = read(data)
    assert [frame["frame"] for frame in frames] == [LARGE[8:]]
    assert [reject["detail"] for reject in rejects] == ["fragments are missing"]


def test_open_fragments_are_bounded() -> None:
    packets = [fragments_v4(LARGE, 1000, identification=number)[0] for number in range(100)]
    found = reasons(pcap([(TIME_NS, packet) for packet in packets], 101))
    assert len(found) == 100
    assert [detail for *_, detail in found].count("too many incomplete datagrams") == 36
    offsets = [offset for _, offset, *_ in found]
    assert offsets == sorted(offsets), "the oldest gives way"  # type: ignore[type-var]


def test_snapped_packets_are_truncated() -> None:
    packet = ethernet(ip(udp(b"x" * 200)))
    for snap_bytes, detail in ((150, "the capture ends inside the datagram"), (40, "no room for a UDP header")):
        data = pcap([(TIME_NS, packet)], snap_bytes=snap_bytes)
        assert reasons(data) == [("truncated", 24 + 16 + 34, snap_bytes - 34, detail)]
        assert reasons(pcapng([(TIME_NS, packet)], snap_bytes=snap_bytes))[0][::2] == ("truncated", snap_bytes - 34)


@pytest.mark.parametrize(
    ("packet", "detail"),
    [
        (ip(udp(b"x" * 20, length=7)), "the length in the UDP header"),
        (ip(udp(b"x" * 20, length=29)), "the length in the UDP header"),
        (ip(udp(b"x")[:6]), "no room for a UDP header"),
        (ip(udp(b"x"), total=19), "lengths in the IPv4 header"),
        (b"\x44" + ip(udp(b"x"))[1:], "lengths in the IPv4 header"),
        (ip(udp(b"x"), "2001:db8::1", protocol=60, extensions=bytes([17, 9]) + bytes(6)), "lengths in the IPv6 headers"),
    ],
)
def test_contradicting_lengths_are_rejects(packet: bytes, detail: str) -> None:
    [(reason, offset, _, found)] = reasons(pcap([(TIME_NS, packet)], 101))
    assert (reason, found) == ("bad_length", detail)
    assert isinstance(offset, int) and 40 <= offset <= 40 + len(packet)


def test_file_that_ends_inside_a_record_keeps_what_came_before() -> None:
    data = pcap([(TIME_NS, ethernet(ip(udp(b"one")))), (TIME_NS, ethernet(ip(udp(b"two"))))])
    first_end = 24 + 16 + 14 + 28 + 3
    for end in range(first_end + 1, len(data)):
        frames, rejects = read(data[:end])
        assert [frame["frame"] for frame in frames] == [b"one"]
        [row] = rejects
        assert (row["reason"], row["offset"], row["size_bytes"]) == ("truncated", first_end, end - first_end)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 1000])
def test_pieces_of_any_size_give_the_same_rows(step: int) -> None:
    packets = [(TIME_NS + index, ethernet(ip(udp(bytes(index % 50))))) for index in range(30)]
    for part in [*fragments_v6(LARGE, 1000), ip(udp(b"x" * 20, length=7))]:
        packets.append((TIME_NS, ethernet(part)))
    for data in (pcap(packets, snap_bytes=70), pcap(packets), pcapng(packets), pcapng(packets, order=">")):
        assert read(data, step=step) == read(data)


def test_damaged_record_is_an_error_with_its_place_after_the_good_part(tmp_path: Path) -> None:
    good = pcap([(TIME_NS, ethernet(ip(udp(b"one"))))])
    file = tmp_path / "damaged.pcap"
    file.write_bytes(good + b"\xff" * 100)
    found = []
    with pytest.raises(InputError) as caught, open_capture(file, link="racks", codec="sflow") as capture:
        for piece in capture:
            assert piece.frames is not None
            found += piece.frames["frame"].to_pylist()
    assert found == [b"one"]
    assert str(caught.value) == f"{file}: byte {len(good)}: a record that cannot be"


def test_unknown_link_type_is_an_error() -> None:
    reader = CaptureReader("racks", "sflow")
    with pytest.raises(CaptureError, match="link type 147 is not read") as caught:
        reader.feed(pcap([(TIME_NS, b"x")], 147))
    assert caught.value.offset == 24


def test_unreadable_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pcap"
    for path, why in ((absent, "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError) as caught, open_capture(path, link="racks", codec="sflow"):
            pass
        assert str(caught.value) == f"{path}: cannot be read: {why}"


def test_raw_file_comes_as_it_is_in_pieces(tmp_path: Path) -> None:
    data = bytes(range(250)) * 9
    file = tmp_path / "packets.bin"
    file.write_bytes(data)
    with open_capture(file, link="jpss1", codec="ccsds-packets", piece_bytes=1000) as capture:
        pieces = [(piece.offset, piece.data) for piece in capture]
    assert pieces == [(start, data[start : start + 1000]) for start in range(0, len(data), 1000)]
    assert capture.input_bytes == len(data)


def test_standard_input_is_told_apart_by_content_too(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(pcap([(TIME_NS, ethernet(ip(udp(b"one"))))]))

    monkeypatch.setattr("sys.stdin", Input())
    with open_capture(Path("-"), link="racks", codec="sflow") as capture:
        [piece] = capture
    assert piece.frames is not None
    assert piece.frames["frame"].to_pylist() == [b"one"]


@pytest.mark.parametrize("first", [b"", b"\xa1", b"\xa1\xb2\xc3", b"\x08\x0b\xc0\x00", b"\x00\x00\x00\x05"])
def test_what_does_not_begin_like_a_capture_is_none(first: bytes) -> None:
    assert not is_capture(first)


def test_mutated_captures_never_do_worse_than_an_error() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    parts = [ip(udp(b"x" * 30)), *fragments_v4(LARGE, 1000), *fragments_v6(LARGE, 1000)]
    packets = [(TIME_NS, ethernet(part)) for part in parts]
    originals = [pcap(packets), pcap(packets, order=">"), pcapng(packets), pcapng(packets, order=">", resolution=9)]
    for _ in range(400):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            frames, rejects = read(bytes(data), step=chance.choice((0, 0, 97)))
        except CaptureError as error:
            assert 0 <= error.offset <= len(data)
            continue
        assert sum(len(frame["frame"]) for frame in frames) <= 2 * len(data)  # type: ignore[arg-type,misc]
        assert all(0 <= row["offset"] <= len(data) for row in (*frames, *rejects))  # type: ignore[operator]


def test_real_captures_are_read_whole() -> None:
    for name, datagrams in (("tcpdump__sflow_multiple_counter_30_pdus", 30), ("gopacket__SFlowTestPacket2", 1)):
        data = testdata("rack", "sflow", f"{name}.pcap").read_bytes()
        assert len(rows(data)) == datagrams
