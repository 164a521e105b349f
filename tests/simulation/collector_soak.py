"""A collector under load while its broker is well, slow, away and back: what was sent is stored or counted, exactly.

    python -m tests.simulation.collector_soak --seconds 600 --exporters 2000
    python -m tests.simulation.collector_soak --seconds 60 --exporters 10000 --rate 10 --steady --worker

Without --rate the limit is measured first: a few seconds at every rate, each a third faster, until something is lost, the
buffer fills or the exporters cannot keep up; then all goes on at half of the last one that went well.

Real processes: a broker, `orbitrack collect`, the exporters, and with --worker a worker whose windows are timed. A third of
the time all is well; then the broker is slow (stopped four fifths of the time); then it is dead (SIGKILL); then it is back.
Everything that arrives in Kafka is read: sequences of each exporter must grow, repeats by stamp are left out as the worker
does, and the collector's own samples say what it lost. Prints the account; status 1 where it does not come out even or
the collector's memory went over its cap.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from streams.config import Kafka
from streams.kafka import FETCH_BYTES_MAX, create_topics
from tests.processes import CONTROLLER_PORT_STEP, REPOSITORY, end, environment, free_port, listens, role, start_broker, wait_for
from tests.simulation.collector_account import Account

log = logging.getLogger(__name__)

PARTITIONS = 8
BUFFER_BYTES = 48 << 20
# Beside the buffer: Python, Arrow and its pools, the sockets' 64 datagram buffers, names of senders, and what is on its way
# between the buffer's count and Kafka's (the encoded value, aiokafka's batch).
BESIDE_BYTES = 260 << 20
SLOW_CYCLE_S, SLOW_STOPPED = 0.5, 0.8
DRAIN_S = 180
# To find the limit: datagrams a second, and for how long each. The buffer counts as full well below where shedding begins.
RAMP_FIRST, RAMP_FACTOR, RAMP_MAX, RAMP_S = 20_000.0, 4 / 3, 500_000.0, 4.0
RAMP_BUFFERED, RAMP_KEPT_UP = 0.25, 0.97
COUNTED_S = 1.5                 # the collector asks the kernel for its drops once a second
MEMORY_POINTS = 12              # of memory over time, in the result


@dataclass
class Options:
    seconds: float = 30.0
    exporters: int = 2000
    rate: float | None = None   # datagrams a second of each exporter; None: half of what goes well
    spill: str = "0B"
    steady: bool = False
    worker: bool = False


class Soak:
    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.kafka_port, self.port, self.metrics_port = free_port(CONTROLLER_PORT_STEP), free_port(), free_port()
        self.kafka = Kafka(bootstrap=f"127.0.0.1:{self.kafka_port}", partitions=PARTITIONS)
        self.log = folder / "collect.log"
        self.account = Account(options.exporters)
        self.memory: dict[str, list[int]] = {}          # of each role, in bytes, twice a second
        self.cpu_seconds: dict[str, float] = {}
        self.sent = self.first_turn = 0
        self.seconds = self.limit = 0.0                 # of the last exporters; datagrams a second
        self.processes: list[subprocess.Popen[bytes]] = []

    def configuration(self) -> Path:
        file = self.folder / "orbitrack.toml"
        file.write_text(
            f'data_dir = "{self.folder}"\n[kafka]\nbootstrap = "{self.kafka.bootstrap}"\npartitions = {PARTITIONS}\n'
            f'[collector]\nbuffer_bytes = "{BUFFER_BYTES}B"\nspill = "{self.options.spill}"\n'
            '[windows]\nlateness = "2s"\n'
            f'[metrics.listen]\ncollect = "127.0.0.1:{self.metrics_port}"\nworker = "127.0.0.1:0"\n'
            f'[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "udp://127.0.0.1:{self.port}"\n'
        )
        return file

    async def run(self) -> dict[str, Any]:
        try:
            return await self.play()
        finally:
            for process in reversed(self.processes):
                end(process, 30)

    async def play(self) -> dict[str, Any]:
        options, file = self.options, self.configuration()
        await self.start_broker()
        await create_topics(self.kafka)
        collect = self.start(role("collect", environment(), self.log, "--config", str(file)))
        await asyncio.to_thread(wait_for, "the collector", lambda: "listening on" in self.log.read_text(), 60, self.log)
        watching = [asyncio.create_task(self.watch("collect", collect.pid))]
        if options.worker:
            worker = self.start(role("worker", environment(), self.folder / "worker.log", "--config", str(file)))
            watching.append(asyncio.create_task(self.watch("worker", worker.pid)))
        stop = asyncio.Event()
        readers = [asyncio.create_task(self.read("frames.rack", stop, self.account.take))]
        if options.worker:
            readers.append(asyncio.create_task(self.read("windows", stop, self.account.take_windows)))
        rate = options.rate if options.rate is not None else await self.half_the_limit()
        exporting = asyncio.create_task(self.export(rate, options.seconds))
        if not options.steady:
            await self.trouble_the_broker()
        await exporting
        if options.worker:
            await asyncio.sleep(15)                     # for the last windows to close
        await asyncio.to_thread(end, collect, DRAIN_S)
        for task in watching:
            task.cancel()
        stop.set()
        await asyncio.wait_for(asyncio.gather(*readers), DRAIN_S)
        return self.result(collect.returncode)

    async def export(self, rate: float, seconds: float) -> float:
        """All exporters for some seconds; returns the datagrams a second that they managed."""
        process = self.start(self.start_exporters(rate, seconds))
        printed, _ = await asyncio.to_thread(process.communicate)
        found = json.loads(printed)
        self.sent += found["sent"]
        self.seconds = found["seconds"]
        self.cpu_seconds["exporters"] = found["cpu_seconds"]
        self.first_turn += found["sent"] // self.options.exporters + 1
        return float(found["sent"] / found["seconds"])

    def start_exporters(self, rate: float, seconds: float) -> subprocess.Popen[bytes]:
        options = {"exporters": self.options.exporters, "rate": rate, "seconds": seconds, "first-turn": self.first_turn}
        command = [sys.executable, "-m", "tests.simulation.exporters", f"--to=127.0.0.1:{self.port}",
                   *(f"--{name}={value}" for name, value in options.items())]
        return subprocess.Popen(command, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE)

    async def half_the_limit(self) -> float:
        """Of each exporter."""
        await asyncio.to_thread(wait_for, "Kafka", lambda: self.metric("dependency_up") == 1, 120, self.log)
        wanted = RAMP_FIRST
        while wanted < RAMP_MAX:
            managed = await self.export(wanted / self.options.exporters, RAMP_S)
            await asyncio.sleep(COUNTED_S)
            lost = await asyncio.to_thread(self.metric, "frames_dropped_total")
            buffered_bytes = await asyncio.to_thread(self.metric, "in_flight_bytes")
            log.info("%.0f datagrams a second: sent %.0f, %d lost, %d bytes in memory", wanted, managed, lost, buffered_bytes)
            if lost or buffered_bytes > RAMP_BUFFERED * BUFFER_BYTES or managed < RAMP_KEPT_UP * wanted:
                break
            self.limit = managed
            wanted *= RAMP_FACTOR
        assert self.limit, "not even the first rate went well"
        return self.limit / 2 / self.options.exporters

    def metric(self, name: str) -> float:
        """The sum over all series of a metric of the collector."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sum(each.value for family in families for each in family.samples if each.name == f"orbitrack_{name}")

    def start(self, process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        self.processes.append(process)
        return process

    async def start_broker(self) -> None:
        self.broker = self.start(start_broker(self.folder / "kafka", self.kafka_port))
        await asyncio.to_thread(wait_for, "the broker", lambda: listens(self.kafka_port), 120)

    async def trouble_the_broker(self) -> None:
        """Well for a third of the time, slow for a fifth, dead for a fifth, and back."""
        seconds = self.options.seconds
        await asyncio.sleep(seconds / 3)
        for _ in range(round(seconds / 5 / SLOW_CYCLE_S)):
            self.broker.send_signal(signal.SIGSTOP)
            await asyncio.sleep(SLOW_CYCLE_S * SLOW_STOPPED)
            self.broker.send_signal(signal.SIGCONT)
            await asyncio.sleep(SLOW_CYCLE_S * (1 - SLOW_STOPPED))
        self.broker.kill()
        self.broker.wait()
        await asyncio.sleep(seconds / 5)
        await self.start_broker()

    async def watch(self, name: str, pid: int) -> None:
        """Memory and CPU time of a process."""
        memory = self.memory[name] = []
        while True:
            status, stat = (Path(f"/proc/{pid}/{file}").read_text() for file in ("status", "stat"))
            memory.append(1024 * int(status.partition("VmRSS:")[2].split()[0]))
            ticks = stat.rpartition(")")[2].split()[11:13]                      # proc(5): utime, stime
            self.cpu_seconds[name] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            await asyncio.sleep(0.5)

    async def read(self, topic: str, stop: asyncio.Event, take: Any) -> None:
        """Hands every record over; after `stop`, until the present end."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
            isolation_level="read_committed", max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends: dict[TopicPartition, int] | None = None
            while ends is None or any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        take(record)
                if ends is None and stop.is_set():
                    ends = await consumer.end_offsets(places)
        finally:
            await consumer.stop()

    def result(self, status: int) -> dict[str, Any]:
        account = self.account
        lost = {name: account.losses[name] for name in ("shed", "kernel_drops", "rate_limited", "refused")}
        found: dict[str, Any] = {
            "limit_a_second": round(self.limit), "sent": self.sent, "seconds": round(self.seconds, 1), "stored": account.stored,
            **lost, "missing": self.sent - account.stored - sum(lost.values()), "repeated_left_out": account.repeated,
            "disordered": account.disordered, "received": account.losses["received"], "status": status,
            "rows_a_batch": round(account.stored / max(1, account.batches)),
            "bytes_a_batch": round(account.batch_bytes / max(1, account.batches)),
            "memory_max_mb": round(max(self.memory["collect"]) / 1e6),
            "memory_cap_mb": round((BUFFER_BYTES + BESIDE_BYTES) / 1e6),
            "memory_mb": {name: over_time(memory) for name, memory in self.memory.items()},
            "cpu_seconds": {name: round(seconds, 1) for name, seconds in self.cpu_seconds.items()},
        }
        if account.close_latency_s:
            late = np.asarray(account.close_latency_s)
            found["windows"] = len(late)
            found["close_latency_s"] = {f"p{p}": round(float(np.percentile(late, p)), 2) for p in (1, 50, 99, 100)}
        return found


def over_time(memory_bytes: list[int]) -> list[int]:
    """In MB, some points from begin to end."""
    places = np.linspace(0, len(memory_bytes) - 1, MEMORY_POINTS).round().astype(int)
    return [round(memory_bytes[place] / 1e6) for place in places]


def is_even(found: dict[str, Any]) -> bool:
    return bool(
        found["missing"] == 0 and found["disordered"] == 0 and found["status"] == 0
        and found["received"] + found["kernel_drops"] == found["sent"] and found["memory_max_mb"] <= found["memory_cap_mb"]
    )


def soak(options: Options, folder: Path) -> dict[str, Any]:
    return asyncio.run(Soak(options, folder).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--exporters", type=int, default=2000)
    parser.add_argument("--rate", type=float, help="datagrams a second of each exporter; default: half of what goes well")
    parser.add_argument("--spill", default="0B", help="size of the disk queue")
    parser.add_argument("--steady", action="store_true", help="leave the broker alone")
    parser.add_argument("--worker", action="store_true", help="and time the closing of windows")
    options = Options(**vars(parser.parse_args()))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)     # that the broker is away is meant
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(options, Path(folder))
    print(json.dumps(found, indent=1))
    print(f"{'even' if is_even(found) else 'NOT EVEN'} after {time.monotonic() - started:.0f} s")
    sys.exit(not is_even(found))


if __name__ == "__main__":
    main()
