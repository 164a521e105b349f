"""A collector that is killed while frames wait on its disk, and again while it sends them: each of them counts once."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from streams.collectors.losses import CODEC
from streams.collectors.spill import Spill
from streams.config import Kafka
from streams.ipc import decode
from streams.kafka import create_topics, read_partition, stamp_of
from streams.repeats import Repeats
from tests.processes import CONTROLLER_PORT_STEP, end, environment, free_port, listens, role, start_broker, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PARTITIONS, AGENTS, DATAGRAMS, KILLS = 4, 20, 6000, 5


def send(port: int, numbers: range) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in numbers:
            agent = number % AGENTS
            datagram = struct.pack(">IIIII", 5, 1, 0x0A000000 + agent, 0, number) + random.Random(number).randbytes(400)
            sender.sendto(datagram, ("127.0.0.1", port))


def numbers_of(frames: object) -> list[int]:
    return [int.from_bytes(frame[16:20], "big") for frame in frames.to_pylist()]       # type: ignore[attr-defined]


def spilled_numbers(folder: Path) -> set[int]:
    """What the disk holds, as the next collector would find it."""
    spill, found = Spill(folder, 1 << 30), set()
    spill.open()
    while (parcel := spill.read()) is not None:
        if parcel.batch["codec"][0].as_py() != CODEC:
            found.update(numbers_of(parcel.batch["frame"]))
    spill.close()
    return found


async def counted(kafka: Kafka) -> tuple[list[list[int]], int]:
    """The numbers of each partition in order, as a worker takes them, and how many frames it leaves out as repeats."""
    partitions, left_out = [], 0
    for partition in range(PARTITIONS):
        repeats, numbers = Repeats(), []
        async for record in read_partition(kafka, "frames.rack", partition):
            frames, stamp = decode(record.value), stamp_of(record.headers)
            assert stamp is not None
            if not repeats.take(stamp):
                left_out += frames.num_rows
            elif frames["codec"][0].as_py() != CODEC:
                numbers += numbers_of(frames["frame"])
        partitions.append(numbers)
    return partitions, left_out


def test_frames_on_disk_survive_kills_and_count_once(tmp_path: Path) -> None:
    kafka_port, port = free_port(CONTROLLER_PORT_STEP), free_port()
    kafka, log, folder = Kafka(bootstrap=f"127.0.0.1:{kafka_port}", partitions=PARTITIONS), tmp_path / "log", tmp_path / "spill"
    file = tmp_path / "orbitrack.toml"
    file.write_text(
        f'data_dir = "{tmp_path}"\n[kafka]\nbootstrap = "{kafka.bootstrap}"\npartitions = {PARTITIONS}\n'
        '[collector]\nbuffer_bytes = "2MB"\nbatch_bytes = "16KB"\nbatch_interval = "10ms"\nspill = "5MB"\n'
        '[metrics.listen]\ncollect = "127.0.0.1:0"\n'
        f'[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "udp://127.0.0.1:{port}"\n'
    )
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    processes: list[subprocess.Popen[bytes]] = []

    def start_collector() -> subprocess.Popen[bytes]:
        log.write_text("")
        processes.append(role("collect", environment(), log, "--config", str(file)))
        wait_for("the collector", lambda: "listening on" in log.read_text(), 60, log)
        return processes[-1]

    def disk_bytes() -> int:
        return sum(path.stat().st_size for path in folder.glob("*.spill"))

    try:
        broker = start_broker(tmp_path / "kafka", kafka_port)
        processes.append(broker)
        wait_for("the broker", lambda: listens(kafka_port), 120, tmp_path / "kafka" / "broker.log")
        asyncio.run(create_topics(kafka))
        collector = start_collector()
        broker.send_signal(signal.SIGSTOP)
        for begin in range(1, DATAGRAMS, 500):
            before = disk_bytes()
            send(port, range(begin, begin + 500))
            if begin > DATAGRAMS // 2:
                wait_for("more on disk", lambda before=before: disk_bytes() > before, 60, log)     # type: ignore[misc]
        collector.kill()
        collector.wait()
        on_disk = spilled_numbers(folder)
        broker.send_signal(signal.SIGCONT)
        for _ in range(KILLS):
            collector = start_collector()
            enough = disk_bytes() * generator.random()
            wait_for("some are sent", lambda enough=enough: disk_bytes() <= enough, 60, log)       # type: ignore[misc]
            collector.kill()
            collector.wait()
        collector = start_collector()
        wait_for("all are sent", lambda: disk_bytes() == 0, 60, log)
        collector.terminate()
        assert collector.wait(60) == 0
        partitions, left_out = asyncio.run(counted(kafka))
    finally:
        for process in reversed(processes):
            end(process)

    print(f"{len(on_disk)} frames on disk at the first kill, {left_out} repeats left out")
    everything = [number for numbers in partitions for number in numbers]
    assert len(set(everything)) == len(everything)
    assert len(on_disk) > DATAGRAMS // 4
    assert on_disk <= set(everything)
    for numbers in partitions:
        for agent in range(AGENTS):
            of_agent = [number for number in numbers if number % AGENTS == agent]
            assert of_agent == sorted(of_agent)
