"""Stores and the database killed, stopped, frozen and added at random while records flow: every row once, roll-ups exact.

Again with the same choices:  ORBITRACK_SEED=... pytest tests/integration/test_store_kill.py
More of it:                   ORBITRACK_KILLS=100
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clock import NS
from streams.config import Config
from streams.ipc import encode
from streams.kafka import ARROW_HEADERS, Topics, committed_offsets, create_topics, transactional_producer
from streams.model import REJECTS, SAMPLES
from tests.made_windows import as_batch, make_windows
from tests.processes import end, environment, free_port, role, start_database
from tests.test_clickhouse_rollup import assert_rollups_are_exact

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

SEED = int(os.environ.get("ORBITRACK_SEED", random.randrange(1 << 30)))
MISFORTUNES = int(os.environ.get("ORBITRACK_KILLS", 12))
PARTITIONS = 3
START_S = 1_790_002_800
ROWS = 300
# Of the group session in streams/shell.py, 6 s: a store frozen longer has lost its partitions when it wakes up.
FREEZE_S = 8


@dataclass
class Installation:
    """The processes, and what was done to them."""

    env: dict[str, str]
    log: Path
    data: Path
    port: int
    generator: random.Random
    database: subprocess.Popen[bytes]
    stores: list[subprocess.Popen[bytes]] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)

    def add(self) -> None:
        self.stores.append(role("store", self.env, self.log))

    def awake(self) -> list[subprocess.Popen[bytes]]:
        return [store for store in self.stores if store.poll() is None and store.pid not in self.frozen]

    def thaw(self, everybody: bool = False) -> None:
        for store in self.stores:
            if store.pid in self.frozen and (everybody or time.monotonic() > self.frozen[store.pid]):
                del self.frozen[store.pid]
                store.send_signal(signal.SIGCONT)

    def act(self) -> None:
        """One random misfortune."""
        self.thaw()
        choice = self.generator.choices(
            ("kill a store", "kill the database", "stop a store", "freeze a store", "add a store"), (4, 3, 1, 1, 1)
        )[0]
        awake = self.awake()
        if choice == "kill the database":
            self.database.kill()
            self.database.wait()
            self.database = start_database(self.data, self.port)
        elif not awake or (choice == "add a store" and len(awake) < 3):
            choice = "add a store"
            self.add()
        else:
            victim = self.generator.choice(awake)
            if choice == "freeze a store":
                victim.send_signal(signal.SIGSTOP)
                self.frozen[victim.pid] = time.monotonic() + FREEZE_S
            elif choice == "stop a store":
                victim.terminate()
            else:
                choice = "kill a store"
                victim.kill()
        self.done[choice] += 1

    def close(self) -> None:
        self.thaw(everybody=True)
        for store in self.stores:
            if store.poll() is None:
                store.kill()
                store.wait()
        end(self.database)


def sample_batch(partition: int, number: int) -> pa.RecordBatch:
    """One second of one source; values say where they come from."""
    rows = [
        {
            "time": (START_S + number) * NS + row, "entity": f"rack-{partition}/if/{row % 20}", "metric": f"m{row % 3}",
            "value": float(number * ROWS + row), "kind": "gauge", "source": f"rack-{partition}", "quality": 0,
        }
        for row in range(ROWS)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLES)


def reject_batch(partition: int) -> pa.RecordBatch:
    """Equal rows: only their place tells them apart."""
    row = {"time": START_S * NS, "source": f"s{partition}", "reason": "truncated", "offset": 5, "size_bytes": 1, "detail": ""}
    return pa.RecordBatch.from_pylist([row] * 10, schema=REJECTS)


async def feed(config: Config, installation: Installation) -> tuple[int, list[dict]]:
    """Transactions like a worker's, some aborted, until all misfortunes have happened; (batches a partition, windows)."""
    topics = Topics(config.kafka.prefix)
    generator, loop = installation.generator, asyncio.get_running_loop()
    windows = make_windows(START_S, minutes=75, seed=SEED, entities=PARTITIONS * 2)
    producers = [transactional_producer(config.kafka, f"{config.kafka.prefix}{number}") for number in range(PARTITIONS)]
    for producer in producers:
        await producer.start()
    number = emitted = 0
    misfortunes = MISFORTUNES
    next_act = loop.time() + 5
    try:
        while misfortunes or emitted < len(windows):
            some = windows[emitted : emitted + generator.randrange(1, 200)]
            for partition, producer in enumerate(producers):
                mine = [row for row in some if int(row["entity"][1:]) % PARTITIONS == partition]
                records = [(topics.samples, sample_batch(partition, number)), (topics.rejects, reject_batch(partition))]
                records += [(topics.windows, as_batch(mine))] if mine else []
                if generator.random() < 0.2:           # a worker that died: none of it counts, and it all comes again
                    await producer.begin_transaction()
                    for topic, batch in records:
                        await producer.send(topic, encode(batch), partition=partition, headers=ARROW_HEADERS)
                    await producer.abort_transaction()
                async with producer.transaction():
                    for topic, batch in records:
                        await producer.send(topic, encode(batch), partition=partition, headers=ARROW_HEADERS)
            number, emitted = number + 1, emitted + len(some)
            if misfortunes and loop.time() >= next_act:
                await asyncio.to_thread(installation.act)
                misfortunes -= 1
                next_act = loop.time() + generator.uniform(0.5, 3)
            await asyncio.sleep(0.1)                   # the rate of the source, not a wait for anything
    finally:
        for producer in producers:
            await producer.stop()
    return number, windows


async def drained(config: Config, installation: Installation, deadline_s: float) -> None:
    """Returns when the stores have committed everything."""
    installation.thaw(everybody=True)
    topics = Topics(config.kafka.prefix)
    until = time.monotonic() + deadline_s
    for topic in (topics.samples, topics.rejects, topics.windows):
        while True:
            if not installation.awake():
                installation.add()
            offsets = await committed_offsets(config.kafka, f"{config.kafka.prefix}store", topic)
            # The last offset of each log is the marker of its transaction; nobody reads it, so nobody commits past it.
            if all(committed >= last - 1 for committed, last in offsets):
                break
            assert time.monotonic() < until, f"not drained: {offsets}\n{installation.log.read_text()[-4000:]}"
            await asyncio.sleep(0.3)


def test_every_row_is_stored_once_whatever_is_killed(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    port = free_port()
    dsn = f"http://127.0.0.1:{port}/orbitrack"
    settings = {"kafka": {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "partitions": PARTITIONS}}
    config = Config.model_validate(settings | {"database": {"dsn": dsn}})
    env = environment(
        kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, kafka__partitions=PARTITIONS, database__dsn=dsn,
        metrics__listen__store="127.0.0.1:0", data_dir=tmp_path / "roles",
    )
    database = start_database(tmp_path / "database", port)
    installation = Installation(env, tmp_path / "stores.log", tmp_path / "database", port, random.Random(SEED), database)
    try:
        migrate(dsn)
        asyncio.run(create_topics(config.kafka))
        installation.add()
        batches, windows = asyncio.run(feed(config, installation))
        asyncio.run(drained(config, installation, 300))
        print(dict(installation.done), f"{batches} batches a partition")

        with connect(dsn) as client:
            samples = client.query(
                "SELECT source, count(), uniqExact(time, entity, metric), uniqExact(value), toUInt64(sum(value)) FROM v_samples"
                " GROUP BY source ORDER BY source"
            ).result_rows
            rejects = client.query("SELECT source, count() FROM rejects FINAL GROUP BY source ORDER BY source").result_rows
            rows = batches * ROWS
            assert samples == [(f"rack-{number}", rows, rows, rows, rows * (rows - 1) // 2) for number in range(PARTITIONS)]
            assert rejects == [(f"s{number}", batches * 10) for number in range(PARTITIONS)]
            assert client.command("SELECT count() FROM dead_letters") == 0
            assert_rollups_are_exact(client, windows)
    finally:
        installation.close()
