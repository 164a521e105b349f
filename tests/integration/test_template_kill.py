"""Workers killed between a NetFlow template and the data that needs it, at random points: the same rows as without.

Every template and every sampling rate is sent once, some after their data, so whatever a killed worker had learnt must
come back from its checkpoint, and what it had not yet committed from Kafka. Several workers, each alone in its group, are
killed side by side: Kafka waits six seconds for each that is gone.

Again with the same choices:  ORBITRACK_SEED=... pytest tests/integration/test_template_kill.py
More of it:                   ORBITRACK_KILLS=100
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from aiokafka import TopicPartition

from framecodec.netflow import NetflowDecoder
from streams.config import Config
from streams.decode import as_arrow
from streams.ipc import decode
from streams.kafka import Producer, Topics, create_topics, partition_consumer, read_partition, wait_for_broker
from tests.netflow_messages import a_set, fields, ipfix, template, v9
from tests.processes import environment, role
from tests.racks import Datagram, frames

WORKERS = 4
START_NS = 1_790_000_000 * 10**9
EXPORTERS = 3
# Lengths by element: numbers, addresses, a text of variable length, a sampler.
ELEMENTS = {8: 4, 12: 4, 1: 4, 2: 4, 10: 4, 14: 4, 7: 2, 11: 2, 4: 1, 27: 16, 82: 0xFFFF, 48: 1}
SAMPLER = 48
KINDS = ("flows", "samples", "rejects")


@dataclass
class Traffic:
    """Datagrams of a few exporters, made up as they are needed: data, and templates that are sent once."""

    chance: random.Random
    sent: list[Datagram] = field(default_factory=list)
    layouts: dict[tuple[int, int, int], list[int]] = field(default_factory=dict)       # (exporter, version, number) -> elements
    owed: list[tuple[tuple[int, int, int], int]] = field(default_factory=list)         # templates whose data went first

    def batch(self) -> pa.RecordBatch:
        new = [self.datagram() for _ in range(self.chance.randrange(1, 8))]
        self.sent += new
        return frames(new, "netflow")

    def datagram(self) -> Datagram:
        index = len(self.sent)
        choice = self.chance.random()
        if self.owed and choice < 0.15:
            key, _ = self.owed.pop(0)
            body = self.message(key, self.template_of(key))
        elif choice < 0.4 or not self.layouts:
            key = self.new_layout(index)
            if self.chance.random() < 0.4:
                self.owed.append((key, index))
                body = self.message(key, self.data(key))
            else:
                body = self.message(key, self.template_of(key))
        elif choice < 0.45:
            key = self.chance.choice(list(self.layouts))
            body = self.message(key, self.sampling(key[1]))
        else:
            key = self.chance.choice(list(self.layouts))
            body = self.message(key, self.data(key))
        return START_NS + index * 10**7 + self.chance.randrange(10**6), f"192.0.2.{key[0]}", body

    def new_layout(self, index: int) -> tuple[int, int, int]:
        # One in four takes the number of another, whose layout is thereby replaced: for data that come after it.
        known = [key for key in self.layouts if key not in [owed for owed, _ in self.owed]]
        if known and self.chance.random() < 0.25:
            key = self.chance.choice(known)
        else:
            key = (self.chance.randrange(EXPORTERS), self.chance.choice((9, 10)), 300 + index)
        self.layouts[key] = self.chance.sample(list(ELEMENTS), self.chance.randrange(3, 8))
        return key

    def template_of(self, key: tuple[int, int, int]) -> bytes:
        specs = [(element, ELEMENTS[element]) for element in self.layouts[key]]
        return a_set(0 if key[1] == 9 else 2, template(key[2], *specs))

    def data(self, key: tuple[int, int, int]) -> bytes:
        records = b""
        for _ in range(self.chance.randrange(1, 5)):
            for element in self.layouts[key]:
                text = b"port %d" % self.chance.randrange(10**6)
                length = ELEMENTS[element]
                number = self.chance.choice((1, 2)) if element == SAMPLER else self.chance.randrange(1, 256)
                records += bytes([len(text)]) + text if length == 0xFFFF else bytes([number]) * length
        return struct.pack(">HH", key[2], 4 + len(records)) + records

    def sampling(self, version: int) -> bytes:
        """Options: one of two samplers takes one in so many packets."""
        values = struct.pack(">BI", self.chance.choice((1, 2)), self.chance.randrange(1, 5000))
        if version == 9:
            head = struct.pack(">HHH", 256, 4, 8) + fields((1, 4), (SAMPLER, 1), (34, 4))
            return a_set(1, head) + struct.pack(">HH", 256, 13) + bytes(4) + values
        head = struct.pack(">HHH", 256, 2, 1) + fields((SAMPLER, 1), (34, 4))
        return a_set(3, head) + struct.pack(">HH", 256, 9) + values

    def message(self, key: tuple[int, int, int], a_set: bytes) -> bytes:
        make = v9 if key[1] == 9 else ipfix
        return make(a_set, sequence=len(self.sent), seconds=START_NS // 10**9 + len(self.sent) // 100)


@dataclass
class Victim:
    """One worker after another in a group of its own, and what was sent to it."""

    config: Config
    env: dict[str, str]
    log: Path
    traffic: Traffic
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    between: int = 0                                # of these, where something sent was not committed yet
    offset: int = -1                                # of the last record sent

    def start(self) -> None:
        self.process = role("worker", self.env, self.log)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


async def suffer(victim: Victim, kills: int) -> None:
    """Feeds the worker, kills it, starts it again, so many times; then lets it finish."""
    chance, topic = victim.traffic.chance, Topics(victim.config.kafka.prefix).frames_rack
    consumer = partition_consumer(victim.config.kafka, f"{victim.config.kafka.prefix}worker")
    await consumer.start()
    place = TopicPartition(topic, 0)
    consumer.assign([place])

    async def committed() -> int:
        return (await consumer.committed(place)) or 0

    async def reach(offset: int) -> None:
        until = time.monotonic() + 120
        while await committed() <= offset:
            assert time.monotonic() < until, f"stays at {await committed()} of {offset}\n{victim.log.read_text()[-4000:]}"
            assert victim.process is not None and victim.process.poll() is None, victim.log.read_text()[-4000:]
            await asyncio.sleep(0.05)

    try:
        async with Producer(victim.config.kafka) as producer:

            async def send(batches: int) -> None:
                for _ in range(batches):
                    victim.offset = (await (await producer.send(topic, 0, victim.traffic.batch()))).offset
                    await asyncio.sleep(chance.uniform(0, 0.1))           # the rate of the source

            victim.start()
            for _ in range(kills):
                await send(chance.randrange(1, 6))
                await reach(chance.randrange(victim.offset - 1, victim.offset + 1))     # it works: not killed while it starts
                await send(chance.randrange(0, 8))
                await asyncio.sleep(chance.choice((0, 0, chance.uniform(0, 1.2))))      # a point of the second between commits
                victim.kill()
                victim.kills += 1
                victim.between += await committed() <= victim.offset
                await send(chance.randrange(0, 4))
                victim.start()
            # What is owed comes last: data sent long ago are decoded now.
            while victim.traffic.owed:
                await send(1)
            await reach(victim.offset)
    finally:
        await consumer.stop()
        victim.kill()


async def committed_rows(victim: Victim, topic: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async for record in read_partition(victim.config.kafka, topic, 0):
        rows += decode(record.value).to_pylist()
    return rows


def undisturbed_rows(victim: Victim) -> dict[str, list[dict[str, Any]]]:
    """What one decoder makes of all that was sent, in one go."""
    out = as_arrow(NetflowDecoder().decode(frames(victim.traffic.sent, "netflow")))
    return {name: [row for batch in getattr(out, name) for row in batch.to_pylist()] for name in KINDS}


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_rows_are_those_of_a_worker_that_was_never_killed(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("ORBITRACK_SEED", time.time_ns() % 10**9))
    kills = int(os.environ.get("ORBITRACK_KILLS", 20))
    print(f"again: ORBITRACK_SEED={seed} ORBITRACK_KILLS={kills} pytest tests/integration/test_template_kill.py")
    victims = []
    for number in range(WORKERS):
        kafka = {"bootstrap": kafka_bootstrap, "prefix": f"{topic_prefix}{number}.", "partitions": 1}
        windows = {"lateness": "5s", "allowed_lateness": "30m", "idle_timeout": "30m"}
        link = {"name": "racks", "codec": "netflow"}
        folder = tmp_path / str(number)
        folder.mkdir()
        config = Config.model_validate({"kafka": kafka, "windows": windows, "link": [link], "data_dir": str(folder)})
        settings: dict[str, object] = {"data_dir": folder, "metrics__listen__worker": "127.0.0.1:0"}
        for section, values in (("kafka", kafka), ("windows", windows), ("link__0", link)):
            settings |= {f"{section}__{key}": value for key, value in values.items()}
        env = environment(**settings)
        victims.append(Victim(config, env, folder / "worker.log", Traffic(random.Random(seed * WORKERS + number))))

    async def run() -> list[dict[str, list[dict[str, Any]]]]:
        await wait_for_broker(victims[0].config.kafka, 120)
        for victim in victims:
            await create_topics(victim.config.kafka)
        shares = [kills // WORKERS + (number < kills % WORKERS) for number in range(WORKERS)]
        async with asyncio.TaskGroup() as group:
            for victim, share in zip(victims, shares, strict=True):
                group.create_task(suffer(victim, share))
        found = []
        for victim in victims:
            topics = Topics(victim.config.kafka.prefix)
            found.append({name: await committed_rows(victim, getattr(topics, name)) for name in KINDS})
        return found

    try:
        found = asyncio.run(run())
    finally:
        for victim in victims:
            victim.kill()
    flows = 0
    for victim, rows in zip(victims, found, strict=True):
        wanted = undisturbed_rows(victim)
        for name in KINDS:
            assert rows[name] == wanted[name], name
        flows += len(wanted["flows"])
        assert any(row["sampling_rate"] for row in wanted["flows"])
    between, datagrams = sum(victim.between for victim in victims), sum(len(victim.traffic.sent) for victim in victims)
    print(f"{kills} kills, {between} with records on their way, {datagrams} datagrams, {flows} flows")
    assert sum(victim.kills for victim in victims) == kills
