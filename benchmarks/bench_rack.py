"""sFlow, NetFlow and IPFIX datagrams to rows, against the Python libraries that read them.

    python benchmarks/bench_rack.py [--datagrams 4000] [--rounds 5]

One thread, one run, peer and we alternating, as long as each other, best of the rounds, in CPU time: the millisecond that we
need for the peer's records would hang on what else the machine does just then. Ours goes from a FRAMES batch, as it comes out
of Kafka, to Arrow record batches of flows and samples; `with windows' rows` adds the window-only contributions that the worker
asks for. Values are compared, row by row, before any time is taken. Floors and ambitions are those the project began with.

sFlow counters have a second peer where it is installed, pmacct's sfacctd, in C: its figure is the CPU time of the whole
process, JSON lines included, less that of one datagram. sflowtool, of which we have what it prints, is in no package.

Biases: pysflow leaves the sampled header as hexadecimal text, where we read Ethernet, VLAN, IP and TCP out of it. netflume
makes a dict a record and keeps every element, where we keep those that have a column; it looks after sequence and sampling,
as we do. Batches hold 700 datagrams, about a megabyte; at 256 KiB
every batch's own cost, mostly pyarrow's, weighs four times as much.
"""

from __future__ import annotations

import argparse
import ipaddress
import struct
import sys
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from framecodec.netflow import NetflowDecoder
from framecodec.sflow import SflowDecoder
from peers import sfacctd
from streams.model import FLOWS, FRAMES, NAME, REJECTS, SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 700  # about 1 MiB, the largest Kafka value of a collector
EXPORTER = "10.1.2.3"
EXPORT_S = 1_700_000_000

# Cisco's usual record in v9 and IPFIX: (element, octets).
SPECS = (
    (8, 4), (12, 4), (15, 4), (10, 4), (14, 4), (2, 4), (1, 4), (22, 4), (21, 4), (7, 2), (11, 2), (6, 1), (4, 1), (5, 1),
    (16, 4), (17, 4), (9, 1), (13, 1), (61, 1), (89, 1),
)  # fmt: skip
NETFLUME_COLUMNS = {
    "src_addr": "src_addr", "dst_addr": "dst_addr", "next_hop": "next_hop", "in_if": "in_if", "out_if": "out_if",
    "packets": "packets", "octets": "bytes", "src_port": "src_port", "dst_port": "dst_port", "tcp_flags": "tcp_flags",
    "proto": "protocol", "tos": "tos", "src_as": "src_as", "dst_as": "dst_as", "src_mask": "src_mask", "dst_mask": "dst_mask",
}  # fmt: skip
SFACCTD_METRICS = {
    "sflow_cnt_generic": {
        "ifInOctets": "if_in_octets", "ifInDiscards": "if_in_discards", "ifOutOctets": "if_out_octets",
        "ifOutErrors": "if_out_errors",
    },
    "sflow_cnt_ethernet": {
        "dot3StatsFCSErrors": "dot3_stats_fcs_errors", "dot3StatsSymbolErrors": "dot3_stats_symbol_errors",
    },
}  # fmt: skip


@dataclass
class Case:
    name: str
    datagrams: list[bytes]
    per_datagram: int  # records: flows, or samples of counters
    ours: Callable[[bool], Any]  # a new decoder, with or without windows' rows
    codec: str
    peer_name: str
    peer: Callable[[list[bytes]], int]
    check: Callable[[Case], None]
    floor: float
    ambition: float


def batches(case: Case) -> list[pa.RecordBatch]:
    out = []
    for start in range(0, len(case.datagrams), BATCH):
        piece = case.datagrams[start : start + BATCH]
        names = [pa.array([text] * len(piece)).dictionary_encode().cast(NAME) for text in (EXPORTER, "racks", case.codec)]
        received = pa.array([EXPORT_S * 10**9] * len(piece), pa.int64())
        out.append(pa.record_batch([received, *names, pa.array(piece, pa.binary())], schema=FRAMES))
    return out


def decode(decoder: Any, frames: list[pa.RecordBatch]) -> int:
    """Rows that came out, as Arrow."""
    rows = 0
    for batch in frames:
        out = decoder.decode(batch)
        for cores, schema in ((out.flows, FLOWS), (out.samples, SAMPLES), (out.derived, SAMPLES), (out.rejects, REJECTS)):
            rows += sum(core.take(schema).num_rows for core in cores)
    return rows


def flow_rows(case: Case) -> list[dict[str, Any]]:
    decoder = case.ours(False)
    rows: list[dict[str, Any]] = []
    for batch in batches(case):
        for core in decoder.decode(batch).flows:
            rows += pa.record_batch(core).to_pylist()
    return rows


def address(value: bytes) -> str:
    found = ipaddress.IPv6Address(value)
    return str(found.ipv4_mapped or found)


# sFlow


def packet(number: int) -> bytes:
    tcp = struct.pack(">HHIIBBHHH", 443, 1024 + number % 60_000, number, 0, 0x50, 0x18, 512, 0, 0) + bytes(62)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 1400, number & 0xFFFF, 0, 60, 6, 0) + struct.pack(
        ">II", 0x0A000000 + number % 4096, 0xC0A80001
    )
    return bytes.fromhex("020000000002020000000001 8100 0064 0800".replace(" ", "")) + ip + tcp


def sflow_flows(count: int, routed: bool) -> list[bytes]:
    """Seven samples a datagram, with the records of a switch, or of a router that speaks BGP."""
    router = struct.pack(">III4sII", 1002, 16, 1, bytes([10, 0, 0, 254]), 24, 16)
    path = struct.pack(">III3I", 1, 2, 3, 64_513, 64_600, 64_700)
    gateway = (
        struct.pack(">I4sIII", 1, bytes([10, 0, 0, 253]), 64_512, 64_800, 64_801)
        + path
        + struct.pack(">III", 1, 4_200_000, 100)
    )
    gateway = struct.pack(">II", 1003, len(gateway)) + gateway
    out = []
    for number in range(count):
        samples = b""
        for index in range(7):
            header = packet(7 * number + index)
            raw = (
                struct.pack(">IIIIII", 1, 16 + len(header) + -len(header) % 4, 1, 1418, 4, len(header))
                + header
                + bytes(-len(header) % 4)
            )
            switch = struct.pack(">IIIIII", 1001, 16, 100, 0, 200, 0)
            more = router + gateway if routed else b""
            body = struct.pack(">IIIIIIII", number, 3 + index, 1000, 1000 * number, 0, 3 + index, 9, 4 if routed else 2)
            body += switch + more + raw
            samples += struct.pack(">II", 1, len(body)) + body
        out.append(struct.pack(">IIIIIII", 5, 1, 0x0A010203, 0, number, 1000 * number, 7) + samples)
    return out


def sflow_counters(count: int) -> list[bytes]:
    out = []
    for number in range(count):
        samples = b""
        for index in range(7):
            generic = struct.pack(">IIIIQII", 1, 88, 3 + index, 6, 10**10, 1, 3) + struct.pack(
                ">QIIIIIIQIIIIII", 10**9 + 1000 * number, number, 1, 2, 3, 4, 5, 10**8 + number, number, 6, 7, 8, 9, 0
            )
            ethernet = struct.pack(">II13I", 2, 52, *range(13))
            body = struct.pack(">III", number, 3 + index, 2) + generic + ethernet
            samples += struct.pack(">II", 2, len(body)) + body
        out.append(struct.pack(">IIIIIII", 5, 1, 0x0A010203, 0, number, 1000 * number, 7) + samples)
    return out


def pysflow(datagrams: list[bytes]) -> int:
    import sflow  # type: ignore[import-untyped]

    return sum(len(sflow.decode(datagram)["samples"]) for datagram in datagrams)


def check_sflow_flows(case: Case) -> None:
    import sflow

    rows = iter(flow_rows(case))
    for datagram in case.datagrams[:200]:
        message = sflow.decode(datagram)
        for sample in message["samples"]:
            row = next(rows)
            switch, *more, raw = sample["flow_records"]
            wire = bytes.fromhex(raw["header"].decode() if isinstance(raw["header"], bytes) else raw["header"])
            assert (row["sampling_rate"], row["in_if"], row["out_if"]) == (
                sample["sampling_rate"],
                sample["input"],
                sample["output"],
            )
            assert (row["src_vlan"], row["dst_vlan"]) == (switch["src_vlan"], switch["dst_vlan"])
            if more:
                router, gateway = more
                assert (row["src_mask"], row["dst_mask"]) == (router["src_mask_len"], router["dst_mask_len"])
                assert (row["src_as"], row["next_as"], row["dst_as"]) == (gateway["src_as"], 64_513, 64_700)
            assert (row["sequence"], row["exporter"]) == (message["sequence_number"], EXPORTER)
            assert (row["dst_mac"], row["src_mac"], row["src_addr"][12:]) == (wire[:6], wire[6:12], wire[30:34])
            assert (row["dst_port"], row["bytes"], row["tcp_flags"], row["vlan_id"]) == (
                int.from_bytes(wire[40:42]), int.from_bytes(wire[20:22]), wire[51], 100,
            )  # fmt: skip


def check_sflow_counters(case: Case) -> None:
    import sflow

    decoder = case.ours(False)
    samples = pa.record_batch(decoder.decode(batches(case)[0]).samples[0]).to_pylist()
    found = {(row["entity"], row["metric"]): row["value"] for row in reversed(samples)}  # the first of each
    for sample in sflow.decode(case.datagrams[0])["samples"]:
        generic, ethernet = sample["counters"]
        entity = f"{EXPORTER}/if/{sample['source_id']}"
        assert found[(entity, "if_in_octets")] == generic["ifInOctets"]
        assert found[(entity, "if_out_errors")] == generic["ifOutErrors"]
        assert found[(entity, "dot3_stats_symbol_errors")] == ethernet["dot3StatsSymbolErrors"]


def check_sfacctd(case: Case) -> None:
    decoder = case.ours(False)
    samples = pa.record_batch(decoder.decode(batches(case)[0]).samples[0]).to_pylist()
    found = {(row["entity"], row["metric"]): row["value"] for row in reversed(samples)}  # the first of each
    written, _ = sfacctd.read_counters(case.datagrams[:1])
    assert len(written) == 2 * case.per_datagram  # generic and ethernet
    for line in written:
        entity = f"{EXPORTER}/if/{line['source_id_index']}"
        for name, metric in SFACCTD_METRICS[line["sf_cnt_type"]].items():
            assert found[(entity, metric)] == line[name], (entity, metric)


def sfacctd_rate(case: Case, rounds: int) -> float:
    """Samples a second of CPU time; what one datagram takes, mostly the start, is taken off."""
    start_s = min(sfacctd.read_counters(case.datagrams[:1])[1] for _ in range(rounds))
    all_s = min(sfacctd.read_counters(case.datagrams)[1] for _ in range(rounds))
    return (len(case.datagrams) - 1) * case.per_datagram / (all_s - start_s)


# NetFlow and IPFIX


def record(number: int) -> tuple[int, ...]:
    return (
        0x0A000000 + number % 65_536, 0xC0A80000 + number % 256, 0x0A0000FE, 3 + number % 8, 11, 10 + number % 90,
        1500 * (1 + number % 90), 900_000, 990_000, 1024 + number % 50_000, 443, 0x1B, 6, 0, 64_512, 64_513, 24, 16, 0, 64,
    )  # fmt: skip


LAYOUT = ">" + "".join({1: "B", 2: "H", 4: "I"}[octets] for _, octets in SPECS)


def v9_or_ipfix(count: int, version: int) -> list[bytes]:
    template = struct.pack(">HH", 256, len(SPECS)) + b"".join(struct.pack(">HH", *spec) for spec in SPECS)
    out = []
    sequence = 0
    for number in range(count):
        data = b"".join(struct.pack(LAYOUT, *record(24 * number + index)) for index in range(24))
        sets = struct.pack(">HH", 256, 4 + len(data)) + data
        if number % 200 == 0:  # as often as exporters send it again
            sets = struct.pack(">HH", 0 if version == 9 else 2, 4 + len(template)) + template + sets
        if version == 9:
            out.append(struct.pack(">HHIIII", 9, 24, 1_000_000, EXPORT_S, number, 7) + sets)
        else:
            out.append(struct.pack(">HHIII", 10, 16 + len(sets), EXPORT_S, sequence, 7) + sets)
        sequence += 24
    return out


def v5(count: int) -> list[bytes]:
    out = []
    for number in range(count):
        body = b""
        for index in range(30):
            one = record(30 * number + index)
            body += struct.pack(
                ">IIIHHIIIIHHBBBBHHBBH", *one[:3], one[3], one[4], one[5], one[6], one[7], one[8], one[9], one[10], 0, one[11],
                one[12], one[13], one[14], one[15], one[16], one[17], 0,
            )  # fmt: skip
        out.append(struct.pack(">HHIIIIHH", 5, 30, 1_000_000, EXPORT_S, 0, 30 * number, 1, 0) + body)
    return out


def netflume_flows(datagrams: list[bytes]) -> int:
    import netflume

    decoder = netflume.Decoder()  # type: ignore[no-untyped-call]
    messages = [decoder.decode(datagram, EXPORTER) for datagram in datagrams]  # type: ignore[no-untyped-call]
    return sum(len(message.flows) for message in messages)


def check_netflow(case: Case) -> None:
    import netflume

    decoder = netflume.Decoder()  # type: ignore[no-untyped-call]
    rows = iter(flow_rows(case))
    for datagram in case.datagrams[:200]:
        for flow in decoder.decode(datagram, EXPORTER).flows:  # type: ignore[no-untyped-call]
            row = next(rows)
            for name, column in NETFLUME_COLUMNS.items():
                value = address(row[column]) if column in ("src_addr", "dst_addr", "next_hop") else row[column]
                assert value == flow[name], (name, value, flow[name])


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this thread."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def ours_rate(case: Case, frames: list[pa.RecordBatch], derive: bool, least_s: float) -> float:
    """Records a second of decoders that run already, over `least_s`: the first batch of each is not timed."""
    timed, spent_s = 0, 0.0
    while spent_s < least_s:
        decoder = case.ours(derive)
        decode(decoder, frames[:1])
        spent_s += seconds(partial(decode, decoder, frames[1:]))
        timed += sum(batch.num_rows for batch in frames[1:]) * case.per_datagram
    return timed / spent_s


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--datagrams", type=int, default=4000, help="of each kind; the peer gets an eighth")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # pysflow uses xdrlib, gone in Python 3.13
    count = chosen.datagrams

    def sflow_decoder(derive: bool) -> Any:
        return SflowDecoder(derive=derive)

    def netflow_decoder(derive: bool) -> Any:
        return NetflowDecoder(derive=derive)

    v9, ipfix = v9_or_ipfix(count, 9), v9_or_ipfix(count, 10)
    sflow_peer, netflow_peer = ("pysflow", pysflow), ("netflume", netflume_flows)
    router, switch = sflow_flows(count, True), sflow_flows(count, False)
    cases = [
        Case("sFlow flows of a router", router, 7, sflow_decoder, "sflow", *sflow_peer, check_sflow_flows, 200, 450),
        Case("sFlow flows of a switch", switch, 7, sflow_decoder, "sflow", *sflow_peer, check_sflow_flows, 200, 450),
        Case("sFlow counters", sflow_counters(count), 7, sflow_decoder, "sflow", *sflow_peer, check_sflow_counters, 0, 0),
        Case("NetFlow v5", v5(count), 30, netflow_decoder, "netflow", *netflow_peer, check_netflow, 80, 130),
        Case("NetFlow v9", v9, 24, netflow_decoder, "netflow", *netflow_peer, check_netflow, 80, 150),
        Case("IPFIX", ipfix, 24, netflow_decoder, "netflow", *netflow_peer, check_netflow, 80, 150),
    ]  # fmt: skip
    print(f"{'records/s':24}{'peer':>22}{'ours':>14}{'ratio':>8}{'floor':>7}{'ambition':>10}{'with windows rows':>20}")
    failed = False
    for case in cases:
        case.check(case)
        frames = batches(case)
        some = case.datagrams[: max(len(case.datagrams) // 8, 1)]
        peer = ours = with_rows = 0.0
        for _ in range(chosen.rounds):
            peer_s = seconds(partial(case.peer, some))
            peer = max(peer, len(some) * case.per_datagram / peer_s)
            ours = max(ours, ours_rate(case, frames, derive=False, least_s=peer_s))
            with_rows = max(with_rows, ours_rate(case, frames, derive=True, least_s=peer_s))
        ratio = ours / peer
        failed = failed or ratio < case.floor
        print(
            f"{case.name:24}{case.peer_name + f' {peer:,.0f}':>22}{ours:>14,.0f}{ratio:>7.0f}x"
            f"{case.floor:>6.0f}x{case.ambition:>9.0f}x{with_rows:>20,.0f}"
        )
        if case.name == "sFlow counters":
            print_sfacctd(case, chosen.rounds, ours)
    return 1 if failed else 0


def print_sfacctd(case: Case, rounds: int, ours: float) -> None:
    if not sfacctd.is_installed():
        print("  sfacctd is not installed (Debian package pmacct)")
        return
    check_sfacctd(case)
    peer = sfacctd_rate(case, rounds)
    print(f"{'  and a collector in C':24}{f'sfacctd {peer:,.0f}':>22}{ours:>14,.0f}{ours / peer:>7.0f}x")


if __name__ == "__main__":
    sys.exit(main())
