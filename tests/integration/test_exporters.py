"""Real exporters, softflowd and pmacctd: what they export of a made-up capture arrives in ClickHouse with its totals.

All of them send to one port (codec rack). Their packages are `softflowd` and `pmacct`; .ci/run installs them.
"""

from __future__ import annotations

import asyncio
import ipaddress
import random
import shutil
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.clickhouse.client import connect
from streams.config import Kafka
from streams.kafka import create_topics
from tests.processes import end, environment, free_port, role, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

Flow = tuple[str, str, int, int, int]           # source, destination, ports, protocol
UDP, TCP = 17, 6
FLOWS, SECONDS = 40, 20


def need(program: str) -> str:
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        pytest.skip(f"{program} is not installed (Debian packages softflowd and pmacct)")
    return path


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ipv4(flow: Flow, payload: bytes, number: int) -> bytes:
    source, destination, source_port, destination_port, protocol = flow
    if protocol == UDP:
        segment = struct.pack(">HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    else:
        segment = struct.pack(">HHIIBBHHH", source_port, destination_port, number, 0, 0x50, 0x10, 100, 0, 0) + payload
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(segment), number, 0, 64, protocol, 0) + addresses
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + segment


def write_capture(path: Path, case: int, generator: random.Random) -> tuple[Counter[Flow], Counter[Flow]]:
    """A classic pcap of traffic from 10.<case>.0.0/16; packets and bytes (of IP) of every flow in it."""
    packets: Counter[Flow] = Counter()
    octets: Counter[Flow] = Counter()
    begin = time.time() - 2 * SECONDS
    frames = []
    for number in range(FLOWS):
        flow = (f"10.{case}.0.{number + 1}", f"198.51.100.{number % 7 + 1}", 1024 + number, [53, 80, 443][number % 3],
                UDP if number % 2 else TCP)
        for packet in range(generator.randrange(1, 30)):
            ip = ipv4(flow, bytes(generator.randrange(900)), packet)
            frames.append((begin + generator.random() * SECONDS, b"\2" * 6 + b"\4" * 6 + b"\x08\0" + ip))
            packets[flow] += 1
            octets[flow] += len(ip)
    # Behind them what nobody counts: pmacctd sends what has not filled a datagram of sFlow a minute after the last packet.
    rest = ipv4(("192.0.2.1", "198.51.100.1", 1024, 443, UDP), bytes(100), 0)
    frames += [(begin + SECONDS, b"\2" * 6 + b"\4" * 6 + b"\x08\0" + rest)] * 20
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for at, frame in sorted(frames):
            file.write(struct.pack("<IIII", int(at), int(at % 1 * 1e6), len(frame), len(frame)) + frame)
    return packets, octets


# Sends what a capture holds to a port; a process that goes on sending is put on the list.
Export = Callable[[Path, int, list["subprocess.Popen[bytes]"]], None]


def softflowd(version: int) -> Export:
    def export(capture: Path, port: int, running: list[subprocess.Popen[bytes]]) -> None:
        command = [need("softflowd"), "-r", str(capture), "-n", f"127.0.0.1:{port}", "-v", str(version), "-d", "-c", "none",
                   "-p", str(capture.with_suffix(".pid"))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    return export


def pmacctd(*settings: str) -> Export:
    """Its NetFlow is sent when it ends, at the end of the file; its sFlow only as long as it runs."""

    def export(capture: Path, port: int, running: list[subprocess.Popen[bytes]]) -> None:
        file, log = capture.with_suffix(".conf"), capture.with_suffix(".log")
        lines = ["daemonize: false", f"pcap_savefile: {capture}", "aggregate: src_host,dst_host,src_port,dst_port,proto"]
        file.write_text("\n".join([*lines, *settings]).replace("PORT", str(port)) + "\n")
        with log.open("wb") as output:
            process = subprocess.Popen([need("pmacctd"), "-f", str(file)], stdout=output, stderr=subprocess.STDOUT)
        running.append(process)
        if "pcap_savefile_wait: true" not in settings:
            process.wait(60)                            # its status is 1 when its two processes end in the wrong order

    return export


EXPORTERS: dict[str, Export] = {
    "softflowd NetFlow 5": softflowd(5),
    "softflowd NetFlow 9": softflowd(9),
    "softflowd IPFIX": softflowd(10),
    "pmacctd NetFlow 9": pmacctd("plugins: nfprobe[a]", "nfprobe_receiver[a]: 127.0.0.1:PORT", "nfprobe_version[a]: 9",
                                 "nfprobe_engine[a]: 9"),
    "pmacctd IPFIX": pmacctd("plugins: nfprobe[a]", "nfprobe_receiver[a]: 127.0.0.1:PORT", "nfprobe_version[a]: 10",
                             "nfprobe_engine[a]: 10"),
    "pmacctd sFlow": pmacctd("plugins: sfprobe[a]", "sfprobe_receiver[a]: 127.0.0.1:PORT", "sfprobe_agentip[a]: 192.0.2.250",
                             "sampling_rate[a]: 1", "pcap_savefile_wait: true"),
}


@pytest.fixture
def port(kafka_bootstrap: str, topic_prefix: str, database: str, tmp_path: Path) -> Iterator[int]:
    """The UDP port of a collector with a worker and a store behind it."""
    port = free_port()
    file, log = tmp_path / "orbitrack.toml", tmp_path / "roles.log"
    file.write_text(
        f'data_dir = "{tmp_path}"\n[kafka]\nbootstrap = "{kafka_bootstrap}"\nprefix = "{topic_prefix}"\npartitions = 2\n'
        f'[database]\ndsn = "{database}"\n'
        '[metrics.listen]\ncollect = "127.0.0.1:0"\nworker = "127.0.0.1:0"\nstore = "127.0.0.1:0"\n'
        f'[[link]]\nname = "racks"\ncodec = "rack"\nlisten = "udp://127.0.0.1:{port}"\n'
    )
    asyncio.run(create_topics(Kafka(bootstrap=kafka_bootstrap, prefix=topic_prefix, partitions=2)))
    processes = [role(name, environment(), log, "--config", str(file)) for name in ("collect", "worker", "store")]
    try:
        wait_for("the collector", lambda: "listening on" in log.read_text(), 60, log)
        yield port
    finally:
        for process in processes:
            end(process)


def stored_flows(database: str, case: int) -> tuple[Counter[Flow], Counter[Flow]]:
    packets: Counter[Flow] = Counter()
    octets: Counter[Flow] = Counter()
    query = ("SELECT src_addr, dst_addr, src_port, dst_port, protocol, packets, bytes FROM v_flows "
             f"WHERE src_addr BETWEEN toIPv6('10.{case}.0.0') AND toIPv6('10.{case}.255.255')")
    with connect(database) as client:
        rows: Any = client.query(query).result_rows
    for source, destination, source_port, destination_port, protocol, packet_count, size_bytes in rows:
        flow = (plain(source), plain(destination), source_port, destination_port, protocol)
        packets[flow] += packet_count
        octets[flow] += size_bytes
    return packets, octets


def plain(address: Any) -> str:
    found = ipaddress.IPv6Address(str(address))
    return str(found.ipv4_mapped or found)


def test_what_real_exporters_send_arrives_with_its_totals(port: int, database: str, tmp_path: Path) -> None:
    need("softflowd")
    need("pmacctd")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    wanted = {}
    running: list[subprocess.Popen[bytes]] = []
    try:
        for case, (name, export) in enumerate(EXPORTERS.items(), 1):
            capture = tmp_path / f"case{case}.pcap"
            wanted[name] = case, write_capture(capture, case, generator)
            export(capture, port, running)
        for name, (case, totals) in wanted.items():
            wait_for(f"{name}: {totals[0].total()} packets in ClickHouse",
                     lambda case=case, totals=totals: stored_flows(database, case)[0].total() >= totals[0].total(), 90,
                     tmp_path / "roles.log")
            assert stored_flows(database, case) == totals, name
    finally:
        for process in running:
            end(process)
    with connect(database) as client:
        rejects = client.query("SELECT reason, detail FROM rejects").result_rows
    assert rejects == []
