"""sFlow records one by one, as the structures of sFlow version 5 lay them out; captures have few of them."""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

import pytest

from framecodec.sflow import SflowDecoder
from framecodec.sflow_counters import RECORDS
from tests.racks import counter_sample, flow_sample, frames, raw_header, record, sample, sflow, taken, words

RECEIVED_NS = 1_700_000_000_123_456_789
ADDRESS4 = ipaddress.IPv4Address("192.0.2.254").packed
ADDRESS6 = ipaddress.IPv6Address("2001:db8::fe").packed


def rows(body: bytes, decoder: SflowDecoder | None = None) -> dict[str, list[dict[str, Any]]]:
    return taken((decoder or SflowDecoder(derive=False)).decode(frames([(RECEIVED_NS, "192.0.2.9", body)])))


def flow(*records: bytes) -> dict[str, Any]:
    (row,) = rows(sflow(flow_sample(*records)))["flows"]
    return {name: value for name, value in row.items() if value is not None}


def values(*samples: bytes) -> dict[tuple[str, str], Any]:
    found = rows(sflow(*samples))
    assert found["rejects"] == []
    return {(row["entity"], row["metric"]): row["text"] if row["value"] is None else row["value"] for row in found["samples"]}


def mapped(address: bytes) -> bytes:
    return bytes(10) + b"\xff\xff" + address


def test_an_expanded_flow_sample_gives_the_row_of_a_compact_one() -> None:
    packet = record(3, words(1400, 6, 0x0A000001, 0x0A000002, 443, 5555, 0x1B, 8))
    compact = flow_sample(packet, sequence=7, source=3, rate=100, drops=5, in_if=3, out_if=4)
    expanded = sample(3, words(7, 0, 3, 100, 700, 5, 0, 3, 0, 4, 1) + packet)
    assert rows(sflow(expanded)) == rows(sflow(compact))


def test_expanded_interfaces_above_24_bits_and_of_other_formats() -> None:
    def ports(*formats_and_values: int) -> tuple[int | None, int | None, int | None]:
        (row,) = rows(sflow(sample(3, words(1, 0, 0x01000003, 100, 100, 0, *formats_and_values, 0))))["flows"]
        return row["in_if"], row["out_if"], row["discard_reason"]

    assert ports(0, 0x7FFFFFFF, 0, 0x41000000) == (0x7FFFFFFF, 0x41000000, None)
    assert ports(0, 9, 1, 258) == (9, None, 258)
    assert ports(0, 9, 2, 7) == (9, None, None)


def test_an_expanded_counter_sample_gives_the_rows_of_a_compact_one() -> None:
    ethernet = record(2, words(*range(1, 14)))
    expanded = sample(4, words(1, 0, 3, 1) + ethernet)
    assert values(expanded) == values(counter_sample(ethernet, source=3))
    assert values(expanded)["10.0.0.1/if/3", "dot3_stats_symbol_errors"] == 13


@pytest.mark.parametrize(("address", "cell"), [(words(1) + ADDRESS4, mapped(ADDRESS4)), (words(2) + ADDRESS6, ADDRESS6)])
def test_extended_router(address: bytes, cell: bytes) -> None:
    row = flow(record(1002, address + words(24, 16)))
    assert (row["next_hop"], row["src_mask"], row["dst_mask"]) == (cell, 24, 16)


def test_extended_gateway_ends_of_the_path() -> None:
    path = words(2, 2, 2, 64_601, 64_602, 1, 1, 64_700)              # a sequence of two, a set of one
    row = flow(record(1003, words(1) + ADDRESS4 + words(64_512, 64_513, 64_514) + path + words(1, 4_200_000, 100)))
    assert row["bgp_next_hop"] == mapped(ADDRESS4)
    assert (row["src_as"], row["next_as"], row["dst_as"]) == (64_513, 64_601, 64_700)


def test_extended_gateway_without_a_path_is_the_exporters_own_network() -> None:
    row = flow(record(1003, words(1) + ADDRESS4 + words(64_512, 64_513, 64_514, 0, 0, 100)))
    assert (row["src_as"], "dst_as" in row, "next_as" in row) == (64_513, False, False)


def test_extended_switch_and_vlan_tunnel() -> None:
    row = flow(record(1001, words(100, 0, 0xFFFFFFFF, 0)), record(1012, words(2, 0x0064 | 7 << 13, 0x00C8)))
    assert (row["src_vlan"], row.get("dst_vlan"), row["vlan_id"]) == (100, None, 100)


def test_extended_mpls_gives_the_stack_it_came_with() -> None:
    stack = words(2, 1000 << 12 | 64, 2000 << 12 | 1 << 8 | 64)
    row = flow(record(1006, words(1) + ADDRESS4 + stack + words(0)))
    assert (row["mpls_labels"], row["next_hop"]) == ([1000, 2000], mapped(ADDRESS4))


def test_mpls_and_ppp_headers_are_read_to_the_packet_behind() -> None:
    packet = bytes.fromhex("45000054000040004001") + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2]) + bytes([8, 0]) + bytes(62)
    row = flow(raw_header(words(500 << 12 | 1 << 8 | 64) + packet, protocol=13))
    assert (row["mpls_labels"], row["protocol"], row["icmp_type"], row["icmp_code"], row["bytes"]) == ([500], 1, 8, 0, 84)
    row = flow(raw_header(bytes.fromhex("ff030021") + packet, protocol=7))
    assert (row["protocol"], row["dst_addr"]) == (1, mapped(bytes([10, 0, 0, 2])))


def test_packets_over_sonet_are_read_like_ppp_and_headers_of_other_protocols_are_counted() -> None:
    packet = bytes.fromhex("45000014000040004011") + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    assert flow(raw_header(bytes.fromhex("ff030021") + packet, protocol=14))["protocol"] == 17
    decoder = SflowDecoder()
    for protocol in (1, 7, 11, 12, 13, 14, 5, 15, 99):
        rows(sflow(flow_sample(raw_header(packet, protocol=protocol))), decoder)
    assert decoder.counters()["unknown_records"] == 3


def test_802_11_is_skipped_by_its_length_and_is_not_unknown() -> None:
    decoder = SflowDecoder(derive=False)
    ethernet = record(2, words(*range(1, 14)))
    wireless = [record(1013, words(1, 4) + b"abcd"), record(1014, words(3) + b"net\0" + bytes(40)), record(1015, bytes(44))]
    packet = record(3, words(1400, 6, 1, 2, 443, 5555, 0, 0))
    body = sflow(flow_sample(*wireless, packet), counter_sample(record(6, bytes(80)), record(1002, bytes(20)), ethernet))

    found = rows(body, decoder)

    assert found["rejects"] == []
    assert [row["dst_port"] for row in found["flows"]] == [5555]
    assert sum(row["metric"].startswith("dot3") for row in found["samples"]) == 13
    assert (decoder.counters()["unknown_records"], decoder.counters()["unknown_samples"]) == (0, 0)


def test_queue_lengths_belong_to_queues_of_the_port() -> None:
    found = values(counter_sample(record(1003, words(5, 80, 1000, *range(1, 11))), source=3))
    assert found["10.0.0.1/if/3/queue/5", "queue_length1024"] == 8
    assert found["10.0.0.1/if/3/queue/5", "dropped"] == 10


def test_virtual_node_and_machines() -> None:
    node = record(2100, words(2400, 16) + struct.pack(">QQ", 2**36, 2**33) + words(4))
    cpu, memory = record(2101, words(1, 99_000, 2)), record(2102, struct.pack(">QQ", 2**31, 2**32))
    disk = record(2103, struct.pack(">QQQIQIQI", 10**12, 10**11, 10**10, 5, 6, 7, 8, 9))
    net = record(2104, struct.pack(">QIIIQIII", 2**40, 1, 2, 3, 2**41, 4, 5, 6))
    found = values(sample(2, words(1, 3 << 24 | 77, 5) + node + cpu + memory + disk + net))
    logical = "10.0.0.1/logical/77"
    assert (found[logical, "mhz"], found[logical, "num_domains"], found[logical, "nr_virt_cpu"]) == (2400, 4, 2)
    assert (found[logical, "max_memory"], found[logical, "wr_bytes"], found[logical, "errs"]) == (2**32, 8, 9)
    assert (found[logical, "rx_bytes"], found[logical, "tx_drop"]) == (2**40, 6)


def test_gpu_of_nvidia() -> None:
    gpu = record(5703 << 12 | 1, words(2, 7, 1000, 2000) + struct.pack(">QQ", 2**34, 2**33) + words(0, 12_345, 61, 40))
    host_memory = record(2004, struct.pack(">QQ", 2**36, 2**35))
    found = values(counter_sample(gpu, host_memory))
    gpus = "10.0.0.1/host/gpu"
    assert (found[gpus, "device_count"], found[gpus, "mem_free"], found[gpus, "energy"], found[gpus, "fan_speed"]) == (
        2, 2**33, 12_345, 40,
    )  # fmt: skip
    assert found["10.0.0.1/host", "mem_free"] == 2**35


def test_no_two_structures_of_a_host_write_the_same_metric() -> None:
    written = [(place, field[0]) for place, fields in RECORDS.values() if place in ("host", "gpu") for field in fields]
    assert len(written) > 100
    assert len(written) == len(set(written))


def test_a_discarded_packet_has_its_reason_and_no_scale() -> None:
    packet = record(1, words(1, 1400, 4, 14) + bytes.fromhex("0200000000020200000000010806") + bytes(2))
    out = rows(sflow(sample(5, words(9, 0, 3, 2, 3, 1 << 30 | 256, 289, 1) + packet)), SflowDecoder())
    (row,) = out["flows"]
    assert (row["discard_reason"], row["in_if"], row["out_if"], row["sampling_rate"], row["packets"]) == (289, 3, None, None, 1)
    assert [(each["metric"], each["value"]) for each in out["samples"]] == [("discard_drops", 2.0)]
    assert ("discarded_packets", 1.0, 0) in [(each["metric"], each["value"], each["quality"]) for each in out["derived"]]


@pytest.mark.parametrize(
    ("in_if", "out_if", "counted"), [(3, 4, "if/3"), (0, 4, "if/4"), (0, 0, None), (1 << 31 | 2, 4, "if/4")]
)
def test_a_drop_on_the_way_out_counts_where_it_would_have_left(in_if: int, out_if: int, counted: str | None) -> None:
    out = rows(sflow(sample(5, words(1, 0, 4, 0, in_if, out_if, 289, 0))), SflowDecoder())
    found = [row["entity"] for row in out["derived"] if row["metric"] == "discarded_packets"]
    assert found == ([f"10.0.0.1/{counted}"] if counted else [])


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        (1, words(1, 1400, 4)), (2, bytes(23)), (3, bytes(31)), (4, bytes(55)), (1001, bytes(15)), (1002, words(2) + bytes(15)),
        (1003, words(1, 1, 1, 2, 3, 0xFFFFFFFF, 2, 0xFFFFFFFF)), (1003, words(1, 1, 1, 2, 3)), (1006, words(1, 1, 5, 1, 2)),
        (1012, words(2)), (1002, words(7, 1, 24, 16)),
    ],
)  # fmt: skip
def test_a_record_that_does_not_hold_what_it_says_is_told_and_its_neighbours_are_read(tag: int, body: bytes) -> None:
    found = rows(sflow(flow_sample(record(tag, body), record(3, words(99, 6, 1, 2, 443, 5555, 0, 0)))))
    assert [(row["bytes"], row["dst_port"]) for row in found["flows"]] == [(99, 5555)]
    told = f"record of type {tag}: {len(body)} octets do not hold what it says"
    assert [(row["reason"], row["size_bytes"], row["detail"]) for row in found["rejects"]] == [("bad_length", 0, told)]


def test_a_packet_that_is_shorter_than_it_says_is_read_and_told() -> None:
    packet = bytes.fromhex("45000014000040004011") + bytes(2) + bytes([10, 0, 0, 1, 10, 0, 0, 2])
    out = rows(sflow(flow_sample(record(1, words(11, 1400, 4, 128) + packet), sequence=1), flow_sample(sequence=2)))
    assert [row["protocol"] for row in out["flows"]] == [17, None]
    assert [(row["reason"], row["size_bytes"]) for row in out["rejects"]] == [("bad_length", 0)]


def test_what_follows_the_records_of_a_sample_is_told() -> None:
    for head, form in ((words(1, 3, 100, 100, 0, 3, 4, 0), 1), (words(1, 3, 0), 2)):
        out = rows(sflow(sample(form, head + record(4242, b"abcd")), flow_sample(sequence=2)))
        assert [(row["reason"], row["size_bytes"]) for row in out["rejects"]] == [("trailing_bytes", 12)]
        assert out["flows"][-1]["in_if"] == 3


@pytest.mark.parametrize(
    ("tag", "body", "rest"),
    [
        (2000, words(2**32 - 1) + b"rack-7a\0", 0), (2000, words(4) + b"rack" + bytes(16) + words(1, 2, 99) + b"6.1.0", 4),
        (10, words(1, 2, 3300, 40_000, 2, *range(10)), 13), (10, words(1, 2, 3300, 40_000, 2**32 - 1), 4),
        (1001, b"", 0), (2001, b"", 0),
    ],
)  # fmt: skip
def test_a_counter_record_whose_counts_lie_gives_what_it_has_and_is_told(tag: int, body: bytes, rest: int) -> None:
    out = rows(sflow(counter_sample(record(tag, body), record(1005, words(3) + b"et1\0"))))
    assert [(row["reason"], row["size_bytes"]) for row in out["rejects"]] == [("bad_length", 0)]
    assert [row["metric"] for row in out["samples"]][-1] == "if_name"
    assert len(out["samples"]) == rest + 1


def test_host_adapters_that_are_not_there_are_told() -> None:
    body = words(2, 1, 1) + bytes.fromhex("0200000000010000") + words(2, 0xFFFFFFFF)
    found = rows(sflow(counter_sample(record(2001, body), record(2, words(*range(1, 14))))))
    assert [(row["entity"], row["text"]) for row in found["samples"] if row["metric"] == "mac_address"] == [
        ("10.0.0.1/host/adapter/1", "02:00:00:00:00:01")
    ]
    assert sum(row["metric"].startswith("dot3") for row in found["samples"]) == 13
    assert [(row["reason"], row["size_bytes"]) for row in found["rejects"]] == [("bad_length", 0)]
