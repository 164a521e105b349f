"""A collector under load while its broker is well, slow, away and back: what was sent is stored or counted, exactly.

    python -m tests.simulation.collector_soak --seconds 600 --exporters 2000 --rate 10
    python -m tests.simulation.collector_soak --seconds 60 --exporters 10000 --rate 10 --steady --worker

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
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.collectors.losses import CODEC
from streams.config import Kafka
from streams.kafka import FETCH_BYTES_MAX, create_topics, decode, stamp_of
from streams.repeats import Repeats
from tests.processes import CONTROLLER_PORT_STEP, REPOSITORY, end, environment, free_port, listens, role, start_broker, wait_for
from tests.simulation.exporters import LOOPBACK

PARTITIONS = 8
BUFFER_BYTES = 48 << 20
# Beside the buffer: Python, Arrow and its pools, the sockets' 64 datagram buffers, names of senders, and what is on its way
# between the buffer's count and Kafka's (the encoded value, aiokafka's batch).
BESIDE_BYTES = 260 << 20
SLOW_CYCLE_S, SLOW_STOPPED = 0.5, 0.8
DRAIN_S = 180


@dataclass
class Options:
    seconds: float = 30.0
    exporters: int = 2000
    rate: float = 5.0
    spill: str = "0B"
    steady: bool = False
    worker: bool = False


@dataclass
class Account:
    """What is in Kafka."""

    exporters: int
    stored: int = 0
    repeated: int = 0
    disordered: int = 0
    batches: int = 0
    batch_bytes: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    close_latency_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = np.zeros(self.exporters, np.int64)
        self.repeats: dict[int, Repeats] = {}

    def take(self, record: Any) -> None:
        frames, stamp = decode(record.value), stamp_of(record.headers)
        assert stamp is not None, record.headers
        if not self.repeats.setdefault(record.partition, Repeats()).take(stamp):
            self.repeated += frames.num_rows
        elif frames["codec"][0].as_py() == CODEC:
            for frame in frames["frame"]:
                for sample in decode(frame.as_py()).to_pylist():
                    self.losses[sample["metric"]] += round(sample["value"])
        else:
            self.take_frames(frames, len(record.value))

    def take_frames(self, frames: pa.RecordBatch, size_bytes: int) -> None:
        agents, sequences = (numbers_at(frames["frame"], offset) for offset in (8, 16))
        order = np.argsort(agents, kind="stable")
        agents, sequences = agents[order] - LOOPBACK, sequences[order]
        before = np.where(np.r_[True, agents[1:] != agents[:-1]], self.last[agents], np.r_[0, sequences[:-1]])
        self.disordered += int((sequences <= before).sum())
        self.last[agents] = sequences                   # of several, numpy keeps the last
        self.stored += frames.num_rows
        self.batches += 1
        self.batch_bytes += size_bytes


def numbers_at(frames: pa.BinaryArray, offset: int) -> npt.NDArray[np.int64]:
    """The 32-bit number at this place in every frame."""
    _, ends, data = frames.buffers()
    starts = np.frombuffer(ends, np.int32)[frames.offset : frames.offset + len(frames)].astype(np.int64) + offset
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    return (octets[starts] << 24) | (octets[starts + 1] << 16) | (octets[starts + 2] << 8) | octets[starts + 3]


class Soak:
    def __init__(self, options: Options, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.kafka_port, self.port = free_port(CONTROLLER_PORT_STEP), free_port()
        self.kafka = Kafka(bootstrap=f"127.0.0.1:{self.kafka_port}", partitions=PARTITIONS)
        self.log = folder / "collect.log"
        self.account = Account(options.exporters)
        self.memory_bytes: list[int] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def configuration(self) -> Path:
        file = self.folder / "orbitrack.toml"
        file.write_text(
            f'data_dir = "{self.folder}"\n[kafka]\nbootstrap = "{self.kafka.bootstrap}"\npartitions = {PARTITIONS}\n'
            f'[collector]\nbuffer_bytes = "{BUFFER_BYTES}B"\nspill = "{self.options.spill}"\n'
            '[windows]\nlateness = "2s"\n'
            '[metrics.listen]\ncollect = "127.0.0.1:0"\nworker = "127.0.0.1:0"\n'
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
        if options.worker:
            self.start(role("worker", environment(), self.folder / "worker.log", "--config", str(file)))
        stop = asyncio.Event()
        readers = [asyncio.create_task(self.read("frames.rack", stop, self.account.take))]
        if options.worker:
            readers.append(asyncio.create_task(self.read("windows", stop, self.see_windows)))
        watching = asyncio.create_task(self.watch_memory(collect.pid))
        exporters = self.start(self.start_exporters())
        if not options.steady:
            await self.trouble_the_broker()
        printed, _ = await asyncio.to_thread(exporters.communicate)
        if options.worker:
            await asyncio.sleep(15)                     # for the last windows to close
        await asyncio.to_thread(end, collect, DRAIN_S)
        watching.cancel()
        stop.set()
        await asyncio.wait_for(asyncio.gather(*readers), DRAIN_S)
        return self.result(json.loads(printed), collect.returncode)

    def start_exporters(self) -> subprocess.Popen[bytes]:
        options = {name: getattr(self.options, name) for name in ("exporters", "rate", "seconds")}
        command = [sys.executable, "-m", "tests.simulation.exporters", f"--to=127.0.0.1:{self.port}",
                   *(f"--{name}={value}" for name, value in options.items())]
        return subprocess.Popen(command, env=environment(), cwd=REPOSITORY, stdout=subprocess.PIPE)

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

    async def watch_memory(self, pid: int) -> None:
        while True:
            status = Path(f"/proc/{pid}/status").read_text()
            self.memory_bytes.append(1024 * int(status.partition("VmRSS:")[2].split()[0]))
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

    def see_windows(self, record: Any) -> None:
        windows = decode(record.value)
        closed_s = np.asarray(windows["bucket"].cast(pa.int64())) + 10
        late = record.timestamp / 1000 - closed_s[np.asarray(windows["metric"].cast(pa.utf8())) == "datagrams_received"]
        self.account.close_latency_s += late.tolist()

    def result(self, sent: dict[str, Any], status: int) -> dict[str, Any]:
        account = self.account
        lost = {name: account.losses[name] for name in ("shed", "kernel_drops", "rate_limited", "refused")}
        found: dict[str, Any] = {
            "sent": sent["sent"], "a_second": round(sent["sent"] / sent["seconds"]), "stored": account.stored, **lost,
            "missing": sent["sent"] - account.stored - sum(lost.values()), "repeated_left_out": account.repeated,
            "disordered": account.disordered, "received": account.losses["received"], "status": status,
            "rows_a_batch": round(account.stored / max(1, account.batches)),
            "bytes_a_batch": round(account.batch_bytes / max(1, account.batches)),
            "memory_max_mb": round(max(self.memory_bytes) / 1e6), "memory_cap_mb": round((BUFFER_BYTES + BESIDE_BYTES) / 1e6),
        }
        if account.close_latency_s:
            late = np.asarray(account.close_latency_s)
            found["windows"] = len(late)
            found["close_latency_s"] = {f"p{p}": round(float(np.percentile(late, p)), 2) for p in (1, 50, 99, 100)}
        return found


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
    parser.add_argument("--rate", type=float, default=5.0, help="datagrams a second of each exporter")
    parser.add_argument("--spill", default="0B", help="size of the disk queue")
    parser.add_argument("--steady", action="store_true", help="leave the broker alone")
    parser.add_argument("--worker", action="store_true", help="and time the closing of windows")
    options = Options(**vars(parser.parse_args()))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)     # that the broker is away is meant
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(options, Path(folder))
    print(json.dumps(found, indent=1))
    print(f"{'even' if is_even(found) else 'NOT EVEN'} after {time.monotonic() - started:.0f} s")
    sys.exit(not is_even(found))


if __name__ == "__main__":
    main()
