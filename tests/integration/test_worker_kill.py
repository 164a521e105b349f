"""Workers and stores killed, stopped, frozen and added at random while frames flow: every window and sample once, and right.

Again with the same choices:  ORBITRACK_SEED=... pytest tests/integration/test_worker_kill.py
More of it:                   ORBITRACK_KILLS=300
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from aiokafka.errors import KafkaError

from streams.clickhouse.client import connect
from streams.clock import NS
from streams.config import Config
from streams.errors import DependencyError
from streams.ipc import decode
from streams.kafka import (
    Producer,
    Topics,
    committed_offsets,
    create_topics,
    read_partition,
    retry_visibly,
    wait_for_broker,
)
from streams.model import FRAMES, SAMPLES
from tests.processes import Cluster, environment, role, running_cluster
from tests.racks import counter_sample, record, sflow, words

PARTITIONS = 4
ENTITIES = 20
ROWS = 500
DATAGRAMS = 16
START_S = 1_790_000_000
WINDOW_S = 10
FAR_S = 3600


def column(values: list[str], indices: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), pa.array(values))


def sample_batch(partition: int, number: int, last: bool = False) -> tuple[pa.RecordBatch, pd.DataFrame]:
    """A batch of samples of one rack in one second, and the same as a frame for pandas. `last`: far ahead, closes all."""
    generator = np.random.default_rng(partition * 1_000_003 + number)
    entities = [f"rack-{partition}/if/{port}" for port in range(ENTITIES)]
    entity = generator.integers(0, ENTITIES, ROWS)
    metric = generator.integers(0, 2, ROWS)
    times = (START_S + number + (FAR_S if last else 0)) * NS + generator.integers(0, NS, ROWS)
    values = np.round(generator.lognormal(3, 1, ROWS), 3)
    zeros = np.zeros(ROWS)
    columns = {
        "time": pa.array(times).cast(pa.timestamp("ns")).cast(SAMPLES.field("time").type),
        "received": pa.nulls(ROWS, SAMPLES.field("received").type),
        "entity": column(entities, entity),
        "metric": column(["temp_c", "power_w"], metric),
        "value": pa.array(values),
        "text": pa.nulls(ROWS, SAMPLES.field("text").type),
        "kind": column(["gauge"], zeros),
        "unit": pa.nulls(ROWS, SAMPLES.field("unit").type),
        "source": column([f"rack-{partition}"], zeros),
        "quality": pa.array(zeros.astype(np.uint16)),
    }
    truth = pd.DataFrame({
        "entity": np.array(entities)[entity], "metric": np.array(["temp_c", "power_w"])[metric],
        "bucket": times // (WINDOW_S * NS) * WINDOW_S, "value": values,
    })
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=SAMPLES), truth


def as_frames(samples: pa.RecordBatch) -> pa.RecordBatch:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, samples.schema) as writer:
        writer.write_batch(samples)
    zero = np.zeros(1)
    return pa.RecordBatch.from_arrays(
        [pa.array([None], pa.int64()), column(["test"], zero), column(["test"], zero), column(["orbitrack-samples"], zero),
         pa.array([sink.getvalue().to_pybytes()], pa.binary())],
        schema=FRAMES,
    )


def datagram_batch(partition: int, number: int, last: bool = False) -> pa.RecordBatch:
    """Sixteen sFlow datagrams of one agent in one second: their sequence goes on from batch to batch, as does the counter."""
    second = START_S + number + (FAR_S if last else 0)
    frames = []
    for index in range(DATAGRAMS):
        sequence = number * DATAGRAMS + index + 1
        generic = words(1, 6, 0, 10**9, 1, 3, 0, sequence * 1000, *[0] * 14)
        frames.append(sflow(counter_sample(record(1, generic), sequence=sequence), agent=agent(partition), sequence=sequence))
    zeros = np.zeros(DATAGRAMS)
    times = second * NS + np.arange(DATAGRAMS) * (NS // DATAGRAMS)
    columns = [pa.array(times), column([agent(partition)], zeros), column(["racks"], zeros), column(["sflow"], zeros)]
    return pa.RecordBatch.from_arrays([*columns, pa.array(frames, pa.binary())], schema=FRAMES)


def agent(partition: int) -> str:
    return f"10.0.0.{partition + 1}"


@dataclass
class Fleet:
    """Worker processes and what was done to them."""

    env: dict[str, str]
    log: Path
    generator: random.Random
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    stores: list[subprocess.Popen[bytes]] = field(default_factory=list)
    cluster: Cluster | None = None
    broker_down: tuple[int, float] | None = None
    frozen: dict[int, float] = field(default_factory=dict)
    done: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("killed", "stopped", "frozen", "added", "stores_killed", "brokers_killed"), 0)
    )

    def add(self) -> None:
        self.workers.append(role("worker", self.env, self.log))

    def restart_store(self) -> None:
        for store in self.stores:
            if store.poll() is None:
                store.kill()
                store.wait()
                self.done["stores_killed"] += 1
        self.stores.append(role("store", self.env, self.log))

    def trouble_brokers(self, everybody_up: bool = False) -> None:
        """Kills one broker of a cluster now and then, and starts it again before the next."""
        if self.cluster is None:
            return
        if self.broker_down is not None:
            index, until = self.broker_down
            if everybody_up or time.monotonic() > until:
                self.cluster.restart(index)
                self.broker_down = None
        elif not everybody_up and self.generator.random() < 0.3:
            index = self.generator.randrange(3)
            self.cluster.kill(index)
            self.broker_down = index, time.monotonic() + self.generator.uniform(3, 6)
            self.done["brokers_killed"] += 1

    def awake(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self.workers if worker.poll() is None and worker.pid not in self.frozen]

    def thaw(self, everybody: bool = False) -> None:
        for worker in self.workers:
            if worker.pid in self.frozen and (everybody or time.monotonic() > self.frozen[worker.pid]):
                del self.frozen[worker.pid]
                worker.send_signal(signal.SIGCONT)

    def act(self) -> None:
        """One random misfortune."""
        self.thaw()
        self.trouble_brokers()
        awake = self.awake()
        choice = self.generator.random()
        if self.generator.random() < 0.15:
            self.restart_store()
        if len(awake) < 2 or (choice < 0.2 and len(awake) < 3):
            self.add()
            self.done["added"] += 1
            return
        victim = self.generator.choice(awake)
        if choice < 0.75:
            victim.kill()
            self.done["killed"] += 1
        elif choice < 0.88 or self.frozen:
            victim.terminate()
            self.done["stopped"] += 1
        else:
            victim.send_signal(signal.SIGSTOP)
            # Past the session timeout of 6 s: the group goes on without it, and it wakes up as an owner that is none.
            self.frozen[victim.pid] = time.monotonic() + self.generator.uniform(7, 9)
            self.done["frozen"] += 1

    def close(self) -> None:
        self.thaw(everybody=True)
        for process in self.workers + self.stores:
            if process.poll() is None:
                process.kill()
                process.wait()


async def feed(config: Config, fleet: Fleet, misfortunes: int) -> pd.DataFrame:
    """Batches to every partition, without pause, while misfortunes happen; returns everything that was sent."""
    topic = Topics(config.kafka.prefix).frames_rack
    sent = []
    number = 0
    loop = asyncio.get_running_loop()
    async with Producer(config.kafka) as producer:
        next_act = loop.time() + 4
        while misfortunes or number < 60:
            for partition in range(PARTITIONS):
                batch, truth = sample_batch(partition, number)
                await (await producer.send(topic, partition, as_frames(batch)))
                await (await producer.send(topic, partition, datagram_batch(partition, number)))
                sent.append(truth)
            number += 1
            if misfortunes and loop.time() >= next_act:
                fleet.act()
                misfortunes -= 1
                next_act = loop.time() + fleet.generator.uniform(0.3, 2.5)
            await asyncio.sleep(0.1)                       # the rate of the source, not a wait for anything
        for partition in range(PARTITIONS):
            batch, _ = sample_batch(partition, number, last=True)
            await (await producer.send(topic, partition, as_frames(batch)))
            await (await producer.send(topic, partition, datagram_batch(partition, number, last=True)))
    return pd.concat(sent)


async def drained(config: Config, fleet: Fleet, deadline_s: float) -> None:
    """Returns when the workers have committed everything, and then the store."""
    fleet.thaw(everybody=True)
    fleet.trouble_brokers(everybody_up=True)
    topics = Topics(config.kafka.prefix)
    until = time.monotonic() + deadline_s
    for group, topic in (("worker", topics.frames_rack), ("store", topics.samples), ("store", topics.windows)):
        while True:
            if not fleet.awake():
                fleet.add()
            if all(store.poll() is not None for store in fleet.stores):
                fleet.restart_store()
            offsets = await committed_offsets(config.kafka, f"{config.kafka.prefix}{group}", topic)
            # A transaction's marker is the last offset of its log; nobody reads it, so nobody commits past it.
            if all(committed >= last - (group == "store") for committed, last in offsets):
                break
            assert time.monotonic() < until, f"{group} not drained: {offsets}\n{fleet.log.read_text()[-4000:]}"
            await asyncio.sleep(0.3)


async def emitted_windows(config: Config) -> pd.DataFrame:
    batches = []
    for partition in range(PARTITIONS):
        async for each in read_partition(config.kafka, Topics(config.kafka.prefix).windows, partition):
            batches.append(decode(each.value).to_pandas())
    frame = pd.concat(batches)
    frame["bucket"] = frame["bucket"].astype("int64")
    return frame.astype({"entity": str, "metric": str})


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_every_window_is_emitted_once_whatever_happens_to_workers(
    kafka_bootstrap: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    check_exactness({"bootstrap": kafka_bootstrap, "prefix": topic_prefix}, database, tmp_path, misfortunes=30)


@pytest.mark.integration
@pytest.mark.timeout(1800)
def test_every_window_is_emitted_once_while_brokers_of_three_die(database: str, tmp_path: Path) -> None:
    with running_cluster(tmp_path / "kafka") as cluster:
        check_exactness({"bootstrap": cluster.bootstrap, "replication": 3}, database, tmp_path, misfortunes=12, cluster=cluster)


def check_exactness(
    kafka: dict[str, object], database: str, folder: Path, misfortunes: int, cluster: Cluster | None = None
) -> None:
    """Runs the fleet through its misfortunes and compares Kafka and ClickHouse with what was sent."""
    seed = int(os.environ.get("ORBITRACK_SEED", time.time_ns() % 10**9))
    misfortunes = int(os.environ.get("ORBITRACK_KILLS", misfortunes))
    print(f"again: ORBITRACK_SEED={seed} pytest tests/integration/test_worker_kill.py")
    settings = kafka | {"partitions": PARTITIONS}
    # Nothing may be late or idle here, so that each window is emitted once and a second time would be a mistake.
    windows = {"lateness": "5s", "allowed_lateness": "30m", "idle_timeout": "30m"}
    link = {"name": "racks", "codec": "sflow"}
    config = Config.model_validate({"kafka": settings, "windows": windows, "link": [link], "data_dir": str(folder)})
    listen = {"listen__worker": "127.0.0.1:0", "listen__store": "127.0.0.1:0"}
    sections = {"kafka": settings, "windows": windows, "metrics": listen, "database": {"dsn": database}, "link__0": link}
    env = environment(
        data_dir=folder,
        **{f"{section}__{key}": value for section, values in sections.items() for key, value in values.items()},
    )
    fleet = Fleet(env, folder / "roles.log", random.Random(seed), cluster=cluster)

    async def run() -> tuple[pd.DataFrame, pd.DataFrame]:
        await wait_for_broker(config.kafka, 120)
        await retry_visibly("all brokers", lambda: create_topics(config.kafka), (KafkaError, DependencyError), 60)
        sent = await feed(config, fleet, misfortunes)
        await drained(config, fleet, 150)
        return sent, await emitted_windows(config)

    fleet.add()
    fleet.add()
    fleet.restart_store()
    try:
        sent, emitted = asyncio.run(run())
    finally:
        fleet.close()
    print(f"{fleet.done}, {len(sent)} samples, {len(emitted)} windows")
    check_datagrams(emitted, len(sent) // PARTITIONS // ROWS)
    emitted = emitted[emitted["entity"].str.startswith("rack-")]
    keys = ["entity", "metric", "bucket"]
    assert not emitted.duplicated(keys).any()
    truth = sent.groupby(keys)["value"].agg(cnt="size", vsum="sum", vmin="min", vmax="max").sort_index()
    assert_windows_equal(emitted, truth)
    assert sum(fleet.done.values()) >= misfortunes

    ours = "entity LIKE 'rack-%'"
    with connect(database) as client:
        columns = "entity, metric, toUnixTimestamp(bucket) AS bucket, cnt, vsum, vmin, vmax"
        stored = client.query_df(f"SELECT {columns} FROM v_10s WHERE {ours}")
        assert_windows_equal(stored.astype({"bucket": "int64"}), truth)
        by_series = "GROUP BY entity, metric ORDER BY entity, metric"
        minutes = client.query_df(f"SELECT sum(cnt) AS cnt, sum(vsum) AS vsum FROM v_1m WHERE {ours} {by_series}")
        sums = sent.groupby(["entity", "metric"])["value"].agg(cnt="size", vsum="sum")
        assert (minutes["cnt"].to_numpy() == sums["cnt"].to_numpy()).all()
        np.testing.assert_allclose(minutes["vsum"], sums["vsum"], rtol=1e-12)
        before = f"time < toDateTime({START_S + FAR_S})"
        rows, total = client.query(f"SELECT count(), sum(value) FROM v_samples WHERE {ours} AND {before}").result_rows[0]
        assert rows == len(sent)
        assert total == pytest.approx(sent["value"].sum(), rel=1e-12)


def check_datagrams(emitted: pd.DataFrame, batches: int) -> None:
    """Each datagram counted once, none missed by the decoder whoever decoded it, and the counter's rise without a break."""
    emitted = emitted[emitted["bucket"] < START_S + FAR_S]
    for partition in range(PARTITIONS):
        own = emitted[emitted["entity"].str.startswith(agent(partition) + "/")]
        by_metric = own.groupby("metric")[["vsum", "increase"]].sum()
        assert by_metric["vsum"]["datagrams_received"] == batches * DATAGRAMS
        assert "sequence_gaps" not in by_metric.index and "datagrams_lost" not in by_metric.index
        assert by_metric["increase"]["if_in_octets"] == (batches * DATAGRAMS - 1) * 1000


def assert_windows_equal(found: pd.DataFrame, truth: pd.DataFrame) -> None:
    found = found[found["bucket"] < START_S + FAR_S].set_index(["entity", "metric", "bucket"]).sort_index()
    assert found.index.equals(truth.index)
    assert (found["cnt"].to_numpy() == truth["cnt"].to_numpy()).all()
    np.testing.assert_allclose(found["vsum"], truth["vsum"], rtol=1e-12)
    np.testing.assert_array_equal(found[["vmin", "vmax"]], truth[["vmin", "vmax"]])
