"""sFlow: real captures against what sflowtool printed, hand-made datagrams against the specification."""

from __future__ import annotations

import ipaddress
import json
import random
import re
import struct
from typing import Any

import pyarrow as pa
import pytest

from framecodec.sflow import SflowDecoder
from tests.conftest import testdata
from tests.racks import (
    address,
    counter_sample,
    datagrams,
    flow_sample,
    frames,
    raw_header,
    record,
    rows_of,
    sample,
    sflow,
    taken,
    words,
)

RECEIVED_NS = 1_700_000_000_123_456_789
CASES = (
    "goflow2__TestExpandedSFlowDecode-data",
    "goflow2__TestSFlowDecode-data",
    "goflow2__TestSFlowDecodeDropEgressQueue-data",
    "goflow2__TestSFlowDecodeDropExtendedACL-data",
    "goflow2__TestSFlowDecodeDropExtendedFunction-data",
    "gopacket__SFlowEthernetFramePacket",
    "gopacket__SFlowTestPacket10",
    "gopacket__SFlowTestPacket12",
    "gopacket__SFlowTestPacket2",
    "gopacket__SFlowTestPacket4",
    "gopacket__SFlowTestPacket6",
    "gopacket__SFlowTestPacket8",
    "tcpdump__sflow_multiple_counter_30_pdus",
)

# Where sflowtool prints something else than the wire says, and why:
#   IPID            printed in the byte order of the machine that ran it: swapped here.
#   subnet masks    TestPacket8 sends 0xFFFFFFFF and 0xFFFFFF80: no mask lengths, hence null in a row.
#   VLAN priority, stripped bytes, header bytes, URL, user, tunnel and queue fields have no column.
#   networkType     is ifType. in_vlan of a VLAN counter record is its VLAN, hence part of the entity.
#   4294967295      in a counter: unknown (sFlow v5 section 5), hence no row.
#   JSON            of a sample whose length field is wrong ends without its closing brackets: closed here.
#   cpu_, disk_, nio_  are sflowtool's prefixes; the structure has the bare names, but `cpu_user`.
COUNTER_NAMES = {
    "networkType": "if_type", "UUID": "uuid", "cpu_load_one": "load_one", "cpu_load_five": "load_five",
    "cpu_load_fifteen": "load_fifteen", "cpu_proc_run": "proc_run", "cpu_proc_total": "proc_total", "cpu_uptime": "uptime",
    "cpuintr": "cpu_intr", "cpuinterrupts": "interrupts", "cpu_contexts": "contexts", "nio_pkts_out": "packets_out",
    "disk_partition_max_used": "part_max_used", "disk_reads": "reads", "disk_bytes_read": "bytes_read",
    "disk_read_time": "read_time", "disk_writes": "writes", "disk_bytes_written": "bytes_written",
    "disk_write_time": "write_time",
}  # fmt: skip
TEXTS = {"if_name", "openflow_datapath_id", "hostname", "uuid", "os_release"}
NOT_COUNTERS = {"counterBlock_tag", "ifIndex", "in_vlan", "adaptor_list"}
UNKNOWN = {"4294967295", "18446744073709551615"}


def printed_datagrams(case: str) -> list[dict[str, Any]]:
    """What sflowtool printed, one datagram a line."""
    found = []
    for line in testdata("rack", "sflow", f"{case}.sflowtool.jsonl").read_text().splitlines():
        if not line.strip():
            continue
        open_brackets = re.sub(r'"[^"]*"', "", line)
        stack: list[str] = []
        for mark in open_brackets:
            if mark in "[{":
                stack.append("]" if mark == "[" else "}")
            elif mark in "]}":
                assert mark == stack[-1] or line.endswith("}}"), line
                if mark == stack[-1]:
                    stack.pop()
        whole = line.removesuffix("}") if line.endswith("}}") and stack else line
        found.append(json.loads(whole + "".join(reversed(stack))))
    return found


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def mac(text: str) -> bytes:
    return bytes.fromhex(text)


def interface(port: str) -> int | None:
    return int(port) if port.isdigit() else None


def expected_flow(datagram: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """The columns of a flow row that sflowtool's fields determine."""
    row: dict[str, Any] = {
        "exporter": datagram["agent"],
        "domain": int(datagram["agentSubId"]),
        "sequence": int(datagram["packetSequenceNo"]),
        "codec": "sflow",
        "packets": 1,
        "in_if": interface(one["inputPort"]),
        "out_if": interface(one["outputPort"]),
        "sampling_rate": int(one["meanSkipCount"]) if "meanSkipCount" in one else None,
        "discard_reason": int(one["discardCode"]) if "discardCode" in one else None,
    }
    names: dict[str, tuple[str, Any]] = {
        "srcMAC": ("src_mac", mac), "dstMAC": ("dst_mac", mac), "decodedVLAN": ("vlan_id", int),
        "ethernet_type": ("ethertype", int), "ip.tot_len": ("bytes", int), "srcIP": ("src_addr", str),
        "dstIP": ("dst_addr", str),
        "IPProtocol": ("protocol", int), "IPTOS": ("tos", int), "IPTTL": ("ttl", int), "TCPSrcPort": ("src_port", int),
        "TCPDstPort": ("dst_port", int), "UDPSrcPort": ("src_port", int), "UDPDstPort": ("dst_port", int),
        "TCPFlags": ("tcp_flags", int), "ICMPType": ("icmp_type", int), "ICMPCode": ("icmp_code", int),
        "in_vlan": ("src_vlan", int), "out_vlan": ("dst_vlan", int), "bgp_nexthop": ("bgp_next_hop", str),
        "src_as": ("src_as", int), "dst_as": ("dst_as", int), "dst_peer_as": ("next_as", int), "ethernet_len": ("bytes", int),
        "ethernet_src": ("src_mac", mac), "ethernet_dst": ("dst_mac", mac),
    }  # fmt: skip
    for element in one["elements"]:
        for name, value in element.items():
            if name in names:
                column, convert = names[name]
                row[column] = convert(value)
            elif name == "IPID":
                row["fragment_id"] = int.from_bytes(int(value).to_bytes(2, "little"), "big")
            elif name == "nextHop":
                row["next_hop"] = str(ipaddress.ip_address(value))
    return row


def expected_counters(datagram: dict[str, Any], one: dict[str, Any]) -> list[tuple[str, str, Any]]:
    rows: list[tuple[str, str, Any]] = []
    for element in one["elements"]:
        source = one["sourceId"].split(":")
        entity = f"{datagram['agent']}/{'if' if source[0] == '0' else 'physical'}/{source[1]}"
        if "ifIndex" in element:
            entity = f"{datagram['agent']}/if/{element['ifIndex']}"
        if element["counterBlock_tag"] == "0:5":
            entity = f"{datagram['agent']}/vlan/{element['in_vlan']}"
        if int(element["counterBlock_tag"].split(":")[1]) in range(2000, 2011):
            entity = f"{datagram['agent']}/host"
        for adapter in element.get("adaptor_list", ()):
            for found in adapter["mac_list"]:
                rows.append((f"{entity}/adapter/{adapter['ifIndex']}", "mac_address", bytes.fromhex(found).hex(":")))
        for name, value in element.items():
            if name in NOT_COUNTERS or value in UNKNOWN:
                continue
            metric = COUNTER_NAMES.get(name, snake(name.removeprefix("nio_")))
            rows.append((entity, metric, value if metric in TEXTS else float(value)))
        if "ifStatus" in element:
            rows.append((entity, "up", float(int(element["ifStatus"]) >> 1 & 1)))
    return rows


def rounded(metric: str, value: float) -> float:
    """sflowtool prints loads with three decimals; they are 32-bit floats."""
    return round(value, 3) if metric.startswith("load_") else value


@pytest.mark.parametrize("case", CASES)
def test_rows_equal_what_sflowtool_printed(case: str) -> None:
    printed = printed_datagrams(case)
    out = rows_of(SflowDecoder(), datagrams(testdata("rack", "sflow", f"{case}.pcap")))

    flows, counters = [], []
    for datagram in printed:
        for one in datagram.get("samples", ()):
            if one["sampleType"] == "COUNTERSSAMPLE":
                counters += expected_counters(datagram, one)
            else:
                flows.append(expected_flow(datagram, one))
    assert len(flows) + len(counters) > 0
    assert len(out["flows"]) == len(flows)
    for got, wanted in zip(out["flows"], flows, strict=True):
        for column in ("src_addr", "dst_addr", "next_hop", "bgp_next_hop"):
            got[column] = address(got[column])
        assert {name: got[name] for name in wanted} == wanted
    got_counters = [
        (row["entity"], row["metric"], row["text"] if row["value"] is None else rounded(row["metric"], row["value"]))
        for row in out["samples"]
        if row["metric"] not in ("drops", "discard_drops", "sequence_gaps", "sample_gaps")
    ]
    assert got_counters == counters


def test_interface_and_ethernet_counters_are_counters() -> None:
    out = rows_of(SflowDecoder(), datagrams(testdata("rack", "sflow", "tcpdump__sflow_multiple_counter_30_pdus.pcap")))
    kinds = {row["metric"]: (row["kind"], row["unit"]) for row in out["samples"]}
    assert kinds["if_in_octets"] == ("counter", "bytes")
    assert kinds["if_out_errors"] == ("counter", "packets")
    assert kinds["dot3_stats_fcs_errors"] == ("counter", "frames")
    assert kinds["if_speed"] == ("gauge", "bit/s")
    assert kinds["up"] == ("state", None)
    # The capture also holds NetFlow version 5 on another port, which is no sFlow.
    assert {row["reason"] for row in out["rejects"]} == {"unknown_version"}


def ethernet(payload: bytes, ethertype: int, tags: bytes = b"") -> bytes:
    return bytes.fromhex("0200000000020200000000 01".replace(" ", "")) + tags + struct.pack(">H", ethertype) + payload


def ipv4(payload: bytes, protocol: int, fragment: int = 0, options: bytes = b"") -> bytes:
    size = 20 + len(options) + len(payload)
    head = struct.pack(">BBHHHBBH", 0x40 | (5 + len(options) // 4), 0xB8, size, 0x1234, fragment, 61, protocol, 0)
    return head + bytes([192, 0, 2, 1, 198, 51, 100, 2]) + options + payload


def ipv6(payload: bytes, next_header: int) -> bytes:
    head = struct.pack(">IHBB", 6 << 28 | 0x2E << 20 | 0xABCDE, len(payload), next_header, 55)
    return head + ipaddress.ip_address("2001:db8::1").packed + ipaddress.ip_address("2001:db8::2").packed + payload


TCP = struct.pack(">HHIIBBHHH", 443, 51000, 1, 2, 0x50, 0x12, 100, 0, 0)
UDP = struct.pack(">HHHH", 53, 40000, 8, 0)


def one_flow(packet: bytes, protocol: int = 1) -> dict[str, Any]:
    out = rows_of(SflowDecoder(), [(RECEIVED_NS, "10.9.9.9", sflow(flow_sample(raw_header(packet, protocol))))])
    assert out["rejects"] == []
    (row,) = out["flows"]
    return row


def test_qinq_gives_the_outer_tag_and_the_inner_packet() -> None:
    row = one_flow(ethernet(ipv4(UDP, 17), 0x0800, bytes.fromhex("88a80064 8100012c".replace(" ", ""))))
    assert (row["vlan_id"], row["ethertype"]) == (100, 0x0800)
    assert (row["src_port"], row["dst_port"], row["protocol"], row["bytes"]) == (53, 40000, 17, 28)


def test_mpls_labels_are_listed_top_first_and_the_packet_behind_is_read() -> None:
    stack = struct.pack(">II", 16001 << 12 | 64, 24 << 12 | 0x100 | 64)
    row = one_flow(ethernet(stack + ipv6(TCP, 6), 0x8847))
    assert row["mpls_labels"] == [16001, 24]
    assert (row["ethertype"], row["flow_label"], row["tos"], row["ttl"], row["bytes"]) == (0x8847, 0xABCDE, 0x2E, 55, 60)
    assert address(row["src_addr"]) == "2001:db8::1"
    assert row["tcp_flags"] == 0x12


def test_ipv6_extension_headers_are_walked_to_the_upper_layer() -> None:
    hop_by_hop = bytes([60, 0]) + bytes(6)
    destination = bytes([44, 1]) + bytes(14)
    fragment = bytes([51, 0]) + struct.pack(">HI", 0 << 3 | 1, 0xDEADBEEF)
    authentication = bytes([58, 4]) + bytes(22)
    row = one_flow(ethernet(ipv6(hop_by_hop + destination + fragment + authentication + bytes([128, 9]), 0), 0x86DD))
    assert (row["protocol"], row["icmp_type"], row["icmp_code"]) == (58, 128, 9)
    assert (row["fragment_id"], row["fragment_offset"]) == (0xDEADBEEF, 0)


def test_later_fragment_has_no_ports() -> None:
    row = one_flow(ethernet(ipv4(TCP, 6, fragment=185), 0x0800))
    assert (row["fragment_id"], row["fragment_offset"]) == (0x1234, 185)
    assert row["src_port"] is None
    later = bytes([6, 0]) + struct.pack(">HI", 100 << 3, 7)
    row = one_flow(ethernet(ipv6(later + TCP, 44), 0x86DD))
    assert (row["protocol"], row["fragment_offset"], row["fragment_id"], row["src_port"]) == (6, 100, 7, None)


def test_ipv4_options_are_skipped_and_headers_without_ethernet_are_read() -> None:
    row = one_flow(ipv4(TCP, 6, options=bytes(8)), protocol=11)
    assert (row["src_port"], row["ethertype"], row["src_mac"]) == (443, 0x0800, None)
    assert one_flow(ipv6(UDP, 17), protocol=12)["dst_port"] == 40000
    assert one_flow(bytes.fromhex("ff030021") + ipv4(UDP, 17), protocol=7)["dst_port"] == 40000
    assert one_flow(struct.pack(">I", 99 << 12 | 0x100) + ipv4(UDP, 17), protocol=13)["mpls_labels"] == [99]


def test_header_cut_at_every_byte_gives_the_fields_before_the_cut() -> None:
    packet = ethernet(ipv6(bytes([60, 0]) + bytes(6) + bytes([6, 0]) + bytes(6) + TCP, 0), 0x86DD, bytes.fromhex("81000007"))
    whole = one_flow(packet)
    for size in range(len(packet)):
        row = one_flow(packet[:size])
        for column, value in row.items():
            if column not in ("bytes", "protocol"):
                assert value is None or value == whole[column], (size, column)


def test_ip_and_ethernet_record_forms_fill_the_same_columns() -> None:
    v4 = record(3, words(1400, 6) + bytes([192, 0, 2, 1, 198, 51, 100, 2]) + words(80, 1234, 0x18, 4))
    v6 = record(4, words(900, 17) + bytes(15) + b"\x01" + bytes(15) + b"\x02" + words(53, 99, 0, 7))
    out = rows_of(SflowDecoder(), [(RECEIVED_NS, "10.9.9.9", sflow(flow_sample(v4), flow_sample(v6, sequence=2)))])
    first, second = out["flows"]
    assert (first["bytes"], first["protocol"], first["src_port"], first["dst_port"], first["tcp_flags"], first["tos"]) == (
        1400, 6, 80, 1234, 0x18, 4,
    )  # fmt: skip
    assert (address(first["src_addr"]), first["ethertype"]) == ("192.0.2.1", 0x0800)
    assert (address(second["dst_addr"]), second["ethertype"], second["bytes"]) == ("::2", 0x86DD, 900)


def test_sampling_rate_zero_is_unknown_and_marked() -> None:
    out = rows_of(
        SflowDecoder(), [(RECEIVED_NS, "10.9.9.9", sflow(flow_sample(raw_header(ethernet(ipv4(TCP, 6), 0x800)), rate=0)))]
    )
    assert out["flows"][0]["sampling_rate"] is None
    contributions = {(row["entity"], row["metric"]): (row["value"], row["quality"]) for row in out["derived"]}
    assert contributions[("10.0.0.1/if/3", "flow_in_bytes")] == (40.0, 2)
    assert contributions[("10.0.0.1/if/4", "flow_out_packets")] == (1.0, 2)


def test_derived_volumes_are_scaled_by_sampling() -> None:
    out = rows_of(
        SflowDecoder(), [(RECEIVED_NS, "10.9.9.9", sflow(flow_sample(raw_header(ethernet(ipv4(TCP, 6), 0x800)), rate=512)))]
    )
    contributions = {(row["entity"], row["metric"]): (row["value"], row["quality"]) for row in out["derived"]}
    assert contributions == {
        ("10.0.0.1/domain/0", "datagrams_received"): (1.0, 0),
        ("10.0.0.1/if/3", "flow_in_bytes"): (40.0 * 512, 0),
        ("10.0.0.1/if/3", "flow_in_packets"): (512.0, 0),
        ("10.0.0.1/if/4", "flow_out_bytes"): (40.0 * 512, 0),
        ("10.0.0.1/if/4", "flow_out_packets"): (512.0, 0),
    }
    assert taken(SflowDecoder(derive=False).decode(frames([(1, "a", sflow())])))["derived"] == []


def test_interface_formats_1_and_2_are_null() -> None:
    discarded = rows_of(SflowDecoder(), [(1, "a", sflow(flow_sample(out_if=1 << 30 | 258)))])["flows"][0]
    several = rows_of(SflowDecoder(), [(1, "a", sflow(flow_sample(out_if=2 << 30 | 7)))])["flows"][0]
    assert (discarded["out_if"], discarded["discard_reason"]) == (None, 258)
    assert (several["out_if"], several["discard_reason"]) == (None, None)


def host_cpu() -> bytes:
    return struct.pack(">fff", 0.25, 0.5, 1.5) + words(2, 300, 8, 3200, 86400, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def values(*samples: bytes) -> dict[tuple[str, str], Any]:
    out = rows_of(SflowDecoder(), [(RECEIVED_NS, "10.9.9.9", sflow(*samples))])
    assert out["rejects"] == []
    return {(row["entity"], row["metric"]): row["text"] if row["value"] is None else row["value"] for row in out["samples"]}


def test_host_counters_go_under_the_host() -> None:
    descr = words(7) + b"rack-7a\0" + bytes(range(16)) + words(3, 2, 6) + b"6.1.0-\0\0"
    got = values(counter_sample(record(2003, host_cpu()), record(2000, descr), source=2 << 24 | 1))
    assert got[("10.0.0.1/host", "load_one")] == 0.25
    assert got[("10.0.0.1/host", "load_fifteen")] == 1.5
    assert got[("10.0.0.1/host", "contexts")] == 9.0
    assert ("10.0.0.1/host", "cpu_steal") not in got
    assert got[("10.0.0.1/host", "hostname")] == "rack-7a"
    assert got[("10.0.0.1/host", "uuid")] == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert got[("10.0.0.1/host", "os_release")] == "6.1.0-"


def test_load_averages_of_minus_one_are_unknown() -> None:
    got = values(counter_sample(record(2003, struct.pack(">fff", -1, 0.5, -1) + words(*[2**32 - 1] * 16))))
    assert got == {("10.0.0.1/host", "load_five"): 0.5}


def test_percentages_are_in_percent_and_unknown_ones_absent() -> None:
    got = values(counter_sample(record(1001, words(2599, 0xFFFFFFFF, 100, 0, 8 << 20, 0, 1 << 20))))
    assert got == {
        ("10.0.0.1/host", "cpu_5s"): 25.99,
        ("10.0.0.1/host", "cpu_5m"): 1.0,
        ("10.0.0.1/host", "total_memory"): float(8 << 20),
        ("10.0.0.1/host", "free_memory"): float(1 << 20),
    }


def test_optics_lanes_are_entities_below_the_interface() -> None:
    lane = words(2, 6500, 500, 400, 600, 1310, 450, 1, 900, 1311)
    got = values(counter_sample(record(10, words(9, 4, 3300, 0xFFFFFFFF - 4999, 1) + lane)))
    assert got[("10.0.0.1/if/3", "module_supply_voltage")] == 3300.0
    assert got[("10.0.0.1/if/3", "module_num_lanes")] == 4.0
    assert got[("10.0.0.1/if/3", "module_temperature")] == -5000.0
    assert got[("10.0.0.1/if/3/lane/2", "tx_bias_current")] == 6500.0
    assert got[("10.0.0.1/if/3/lane/2", "rx_wavelength")] == 1311.0


def test_lacp_port_counters() -> None:
    body = (
        bytes.fromhex("0200000000aa0000 0200000000bb0000".replace(" ", ""))
        + words(48)
        + bytes([1, 61, 2, 63])
        + words(*range(10, 18))
    )
    got = values(counter_sample(record(7, body)))
    assert got[("10.0.0.1/if/3", "dot3ad_agg_port_actor_system_id")] == "02:00:00:00:00:aa"
    assert got[("10.0.0.1/if/3", "dot3ad_agg_port_actor_oper_state")] == 61.0
    assert got[("10.0.0.1/if/3", "dot3ad_agg_port_stats_lacpdus_rx")] == 10.0
    assert got[("10.0.0.1/if/3", "dot3ad_agg_port_stats_marker_response_pdus_tx")] == 17.0


@pytest.mark.parametrize(("width", "counted"), [(4, False), (8, False), (4, True), (8, True)])
def test_priority_flow_control_of_eight_priorities(width: int, counted: bool) -> None:
    def array(first: int) -> bytes:
        numbers = b"".join((first + priority).to_bytes(width, "big") for priority in range(8))
        return (words(8) if counted else b"") + numbers

    got = values(counter_sample(record(11, array(100) + array(200))))
    assert got[("10.0.0.1/if/3", "pfc_requests_0")] == 100.0
    assert got[("10.0.0.1/if/3", "pfc_indications_7")] == 207.0
    assert len(got) == 16


def test_unknown_records_and_samples_are_skipped_by_length_and_counted() -> None:
    decoder = SflowDecoder()
    vlan = record(5, words(10, 0, 77, 1, 2, 3, 4))
    body = sflow(sample(4300 << 12 | 1002, bytes(20)), counter_sample(record(999, bytes(11)), vlan))
    out = rows_of(decoder, [(RECEIVED_NS, "10.9.9.9", body)])
    assert {row["metric"] for row in out["samples"]} == {"octets", "ucast_pkts", "multicast_pkts", "broadcast_pkts", "discards"}
    assert out["rejects"] == []
    assert decoder.counters()["unknown_records"] == 1
    assert decoder.counters()["unknown_samples"] == 1


def gaps(decoder: SflowDecoder, *bodies: bytes) -> list[tuple[str, str, float]]:
    out = rows_of(decoder, [(RECEIVED_NS, "10.9.9.9", body) for body in bodies])
    return [(row["entity"], row["metric"], row["value"]) for row in out["samples"]]


def test_missing_datagrams_are_counted_per_agent_and_sub_agent() -> None:
    decoder = SflowDecoder()
    assert gaps(decoder, sflow(sequence=10), sflow(sub_agent=1, sequence=500), sflow(sequence=11)) == []
    assert gaps(decoder, sflow(sequence=14), sflow(sub_agent=1, sequence=501)) == [("10.0.0.1/domain/0", "sequence_gaps", 2.0)]
    assert gaps(decoder, sflow(sequence=15, agent="10.0.0.2")) == []


def test_sequence_number_wraps_without_a_gap_and_late_ones_lose_nothing() -> None:
    decoder = SflowDecoder()
    assert gaps(decoder, sflow(sequence=2**32 - 1), sflow(sequence=0), sflow(sequence=1)) == []
    assert gaps(decoder, sflow(sequence=3), sflow(sequence=2), sflow(sequence=2), sflow(sequence=4)) == [
        ("10.0.0.1/domain/0", "sequence_gaps", 1.0)
    ]


def test_restarted_agent_is_a_reset_and_no_gap() -> None:
    decoder = SflowDecoder()
    assert gaps(
        decoder, sflow(sequence=700, uptime_ms=9_000_000), sflow(sequence=1, uptime_ms=500), sflow(sequence=2, uptime_ms=600)
    ) == [("10.0.0.1/domain/0", "sequence_resets", 1.0)]


def test_an_agent_of_which_little_was_heard_before_it_started_again_has_lost_nothing() -> None:
    got = gaps(
        SflowDecoder(),
        sflow(flow_sample(sequence=3), sequence=5, uptime_ms=90_000_000),
        sflow(flow_sample(sequence=80), sequence=900, uptime_ms=5_000),
        sflow(flow_sample(sequence=81), sequence=901, uptime_ms=6_000),
    )
    assert got == [("10.0.0.1/if/3", "drops", 0.0), ("10.0.0.1/domain/0", "sequence_resets", 1.0)]


def test_drops_of_a_source_are_a_counter_on_change() -> None:
    decoder = SflowDecoder()
    got = gaps(
        decoder,
        sflow(flow_sample(sequence=1, drops=5), sequence=1),
        sflow(flow_sample(sequence=2, drops=5), flow_sample(sequence=5, drops=9), sequence=2),
    )
    assert got == [("10.0.0.1/if/3", "drops", 5.0), ("10.0.0.1/if/3", "sample_gaps", 2.0), ("10.0.0.1/if/3", "drops", 9.0)]


def test_drops_of_flow_samples_and_of_discarded_packets_are_two_counters() -> None:
    discard = sample(5, words(1, 0, 3, 2, 3, 4, 256, 0))
    got = gaps(SflowDecoder(), sflow(flow_sample(sequence=1, drops=5), discard))
    assert got == [("10.0.0.1/if/3", "drops", 5.0), ("10.0.0.1/if/3", "discard_drops", 2.0)]


def test_state_survives_snapshot_and_restore() -> None:
    decoder = SflowDecoder()
    gaps(decoder, sflow(flow_sample(sequence=8, drops=3), sequence=10))
    other = SflowDecoder()
    other.restore(decoder.snapshot())
    assert gaps(other, sflow(flow_sample(sequence=9, drops=3), sequence=15)) == [("10.0.0.1/domain/0", "sequence_gaps", 4.0)]
    with pytest.raises(ValueError, match="not a snapshot of a rack decoder"):
        other.restore(b"nonsense")
    with pytest.raises(ValueError, match=r"cut short|wrong size"):
        other.restore(decoder.snapshot()[:-1])


def test_rows_do_not_depend_on_how_datagrams_are_batched() -> None:
    rows = [row for case in CASES for row in datagrams(testdata("rack", "sflow", f"{case}.pcap"))]
    whole = rows_of(SflowDecoder(), rows)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    cuts = sorted(random.Random(seed).sample(range(1, len(rows)), 9))
    decoder = SflowDecoder()
    pieces: dict[str, list[Any]] = {name: [] for name in whole}
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        following = SflowDecoder()
        following.restore(decoder.snapshot())
        decoder = following
        for name, found in taken(decoder.decode(frames(rows).slice(start, end - start))).items():
            pieces[name] += found
    assert pieces == whole


def test_cells_of_an_earlier_batch_do_not_show_through() -> None:
    full = [(RECEIVED_NS, "a", sflow(flow_sample(raw_header(ethernet(ipv6(TCP, 6), 0x86DD)))))] * 300
    bare = [(RECEIVED_NS, "a", sflow(flow_sample(rate=0, in_if=1 << 30)))] * 40
    decoder = SflowDecoder()
    for rows in (full, bare, full + bare, bare, bare + full):
        batch = pa.record_batch(decoder.decode(frames(rows)).flows[0])
        fresh = pa.record_batch(SflowDecoder().decode(frames(rows)).flows[0])
        assert batch.equals(fresh)
        for name in ("src_addr", "sampling_rate", "in_if", "src_port", "flow_id"):
            column = batch[name]
            width = column.type.bit_width // 8
            values = column.buffers()[1].to_pybytes()
            for row in range(len(column)):
                assert column[row].is_valid or not any(values[row * width : (row + 1) * width])


def test_without_receive_time_the_uptime_stands_in() -> None:
    (row,) = rows_of(SflowDecoder(), [(None, "a", sflow(flow_sample(drops=1), uptime_ms=5000))])["samples"]
    assert row["received"] is None
    assert (row["time"].timestamp(), row["quality"]) == (5.0, 1)


def test_agent_addresses_of_all_types() -> None:
    def exporter(body: bytes) -> str:
        return str(rows_of(SflowDecoder(), [(1, "192.0.2.9", body)])["flows"][0]["exporter"])

    assert exporter(sflow(flow_sample(), agent="2001:db8::7")) == "2001:db8::7"
    assert exporter(words(5, 0, 0, 1, 1, 1) + flow_sample()) == "192.0.2.9"


# Malformed input


def test_the_first_agent_may_have_the_address_of_nobody() -> None:
    out = taken(SflowDecoder().decode(frames([(RECEIVED_NS, "192.0.2.1", sflow(agent="::"))], "sflow")))
    assert [(row["entity"], row["source"]) for row in out["derived"]] == [("::/domain/0", "::")]


def test_every_truncation_of_every_capture_is_rejected_and_keeps_the_samples_before() -> None:
    for case in CASES:
        for received, sender, body in datagrams(testdata("rack", "sflow", f"{case}.pcap"))[:3]:
            whole = rows_of(SflowDecoder(), [(received, sender, body)])
            cut = taken(SflowDecoder().decode(frames([(received, sender, body[:size]) for size in range(len(body))])))
            assert all(row["size_bytes"] >= 0 and row["offset"] >= 0 for row in cut["rejects"])
            for size in range(0, len(body), 7):
                out = rows_of(SflowDecoder(), [(received, sender, body[:size])])
                assert out["rejects"], (case, size)
                assert len(out["flows"]) <= len(whole["flows"])
                assert out["flows"][:-1] == whole["flows"][: max(len(out["flows"]) - 1, 0)]


def test_foreign_and_short_datagrams_have_reasons() -> None:
    bodies = [b"", b"\0\0", b"\0\5\0\1" + bytes(40), words(4, 1), words(5), words(5, 1), words(5, 9, 0, 0), sflow() + b"\0"]
    out = rows_of(SflowDecoder(), [(1, "192.0.2.9", body) for body in bodies])
    assert [row["reason"] for row in out["rejects"]] == [
        "truncated", "truncated", "unknown_version", "unknown_version", "truncated", "truncated", "bad_length",
        "trailing_bytes",
    ]  # fmt: skip
    assert [row["size_bytes"] for row in out["rejects"]] == [0, 2, 44, 8, 4, 8, 16, 1]


@pytest.mark.parametrize(
    ("body", "reason", "offset"),
    [
        (sflow(count=1), "truncated", 28),
        (sflow(words(1, 0xFFFFFFFF)), "truncated", 28),
        (sflow(sample(1, bytes(31))), "bad_length", 28),
        (sflow(sample(1, words(1, 3, 1, 1, 0, 1, 2, 1) + words(1, 0xFFFFFFF0)) + sample(9, b""), count=2), "bad_length", 68),
        (sflow(sample(2, words(1, 3, 0xFFFFFFFF))), "bad_length", 48),
        (sflow(sample(1, words(1, 3, 1, 1, 0, 1, 2, 0xFFFFFFFF)), count=0xFFFFFFFF), "bad_length", 68),
    ],
)
def test_lengths_and_counts_that_lie_end_with_a_reason(body: bytes, reason: str, offset: int) -> None:
    out = rows_of(SflowDecoder(), [(1, "192.0.2.9", body)])
    assert (out["rejects"][0]["reason"], out["rejects"][0]["offset"]) == (reason, offset)


def test_gateway_and_adapter_counts_that_lie_do_not_loop() -> None:
    gateway = record(1003, words(1, 0x01020304, 1, 2, 3, 0xFFFFFFFF, 2, 0xFFFFFFFF))
    adapters = record(2001, words(0xFFFFFFFF, 7, 0xFFFFFFFF) + bytes(8))
    out = rows_of(SflowDecoder(), [(1, "a", sflow(flow_sample(gateway), counter_sample(adapters)))])
    assert (out["flows"][0]["src_as"], out["flows"][0]["dst_as"]) == (2, None)


def test_oversized_frame_stops_at_the_row_limit() -> None:
    body = sflow(*[flow_sample() for _ in range(20_000)])
    out = rows_of(SflowDecoder(), [(1, "a", body)])
    assert [row["reason"] for row in out["rejects"]] == ["rows_limit"]
    assert len(out["flows"]) + len(out["samples"]) == 16_384


def test_mutated_captures_never_break_a_batch() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    bodies = [row[2] for case in CASES for row in datagrams(testdata("rack", "sflow", f"{case}.pcap"))[:4]]
    mutated = []
    for _ in range(2000):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randrange(1, 8)):
            body[chance.randrange(len(body))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        mutated.append((RECEIVED_NS, "192.0.2.9", bytes(body[: chance.randrange(1, len(body) + 1)])))
    out = rows_of(SflowDecoder(), mutated)
    assert out["rejects"]


def test_a_batch_of_another_schema_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="expected a batch of FRAMES with 5 columns, got 1"):
        SflowDecoder().decode(pa.record_batch({"frame": pa.array([b""], pa.binary())}))


def test_an_ip_length_of_zero_does_not_replace_a_known_one() -> None:
    ipv4 = record(3, words(500, 6, 0x0A000001, 0x0A000002, 443, 50_000, 0x18, 0))
    cut_by_the_card = bytes(12) + b"\x08\x00" + b"\x45\x00\x00\x00" + bytes(16)
    flows = rows_of(SflowDecoder(), [(RECEIVED_NS, "10.0.0.1", sflow(flow_sample(ipv4, raw_header(cut_by_the_card))))])["flows"]
    assert [row["bytes"] for row in flows] == [500]


def test_cells_that_come_and_go_are_the_same_in_any_batch(seed: int = 20_261_123) -> None:
    chance = random.Random(seed)
    print("seed", seed)
    bodies = []
    for number in range(300):
        samples = []
        for _ in range(chance.randrange(8)):
            tag = b"\x81\x00\x00\x05" if chance.random() < 0.5 else b""
            transport = chance.choice((1, 6, 17, 47))
            if chance.random() < 0.3:
                ip = b"\x86\xdd\x60\x00\x00\x00\x00\x40" + bytes((transport, 64)) + chance.randbytes(32)
            else:
                ip = b"\x08\x00\x45\x00\x02\x00\x00\x00\x00\x00\x40" + bytes((transport, 0, 0)) + chance.randbytes(8)
            packet = (chance.randbytes(12) + tag + ip + chance.randbytes(20))[: chance.choice((5, 13, 20, 40, 128))]
            more = [record(1001, words(100, 0, 200, 0))] * chance.randrange(2)
            samples.append(flow_sample(raw_header(packet), *more, rate=chance.choice((0, 100)), sequence=number))
        bodies.append((None if chance.random() < 0.1 else RECEIVED_NS + number, "10.0.0.9", sflow(*samples, sequence=number)))
    together, decoder = rows_of(SflowDecoder(), bodies)["flows"], SflowDecoder()
    assert together == [row for body in bodies for row in rows_of(decoder, [body])["flows"]]
    assert {name for row in together for name, value in row.items() if value is None} > {"src_addr", "src_port", "received"}
