"""The database away for a while under load, dead or frozen: nothing lost, nothing double, the store's memory bounded.

The outage of the issue, ten minutes:  ORBITRACK_OUTAGE_S=600 pytest -s tests/integration/test_store_outage.py
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clock import NS
from streams.config import Config
from streams.ipc import encode
from streams.kafka import ARROW_HEADERS, Topics, committed_offsets, create_topics, transactional_producer
from streams.model import SAMPLES
from streams.store import BUFFER_BYTES_MAX
from tests.processes import end, environment, free_port, role, start_database, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3000)]

OUTAGE_S = float(os.environ.get("ORBITRACK_OUTAGE_S", 12))
START_S = 1_790_002_800
ROWS = 10_000
WARM_RECORDS = 10
# More than the store may hold, and then as many as seconds.
OUTAGE_RECORDS = max(150, int(OUTAGE_S))
# Beside the buffer of Arrow batches: what the consumer has fetched, and the insert that is under way as a Native block.
OVERHEAD_BYTES = 192 << 20


def record(number: int) -> bytes:
    first = number * ROWS
    index = range(first, first + ROWS)
    columns = {
        "time": pa.array([START_S * NS + row * 1000 for row in index], SAMPLES.field("time").type),
        "value": pa.array(index, pa.float64()),
        "quality": pa.array([0] * ROWS, pa.uint16()),
    }
    names = {"entity": [f"rack-{row % 100}" for row in index], "metric": ["m"] * ROWS, "kind": ["gauge"] * ROWS}
    names["source"] = ["s"] * ROWS
    for name, values in names.items():
        columns[name] = pa.array(values).dictionary_encode()
    arrays = [columns[field.name] if field.name in columns else pa.nulls(ROWS, field.type) for field in SAMPLES]
    return encode(pa.record_batch(arrays, schema=SAMPLES))


def memory_bytes(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) << 10


async def send(config: Config, first: int, count: int, seconds: float, store: subprocess.Popen[bytes]) -> int:
    """Records at an even rate, 0 s: as fast as may be; the largest memory of the store meanwhile."""
    largest = 0
    producer = transactional_producer(config.kafka, f"{config.kafka.prefix}outage")
    await producer.start()
    try:
        for number in range(first, first + count):
            async with producer.transaction():
                await producer.send(Topics(config.kafka.prefix).samples, record(number), partition=0, headers=ARROW_HEADERS)
            largest = max(largest, memory_bytes(store))
            await asyncio.sleep(seconds / count)           # the length of the outage is what is tested
    finally:
        await producer.stop()
    return largest


def is_drained(config: Config) -> bool:
    offsets = asyncio.run(committed_offsets(config.kafka, f"{config.kafka.prefix}store", Topics(config.kafka.prefix).samples))
    # The last offset of a log is the marker of its transaction.
    return all(committed >= last - 1 for committed, last in offsets)


def test_outage_loses_nothing_and_memory_stays_bounded(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    """Of a database that is dead, and of one that is frozen; side by side, for an outage is mostly waiting."""
    with ThreadPoolExecutor() as pool:
        stories = [
            pool.submit(outage, form, kafka_bootstrap, f"{topic_prefix}{form}.", tmp_path / form) for form in ("dead", "frozen")
        ]
        for story in stories:
            story.result()


def outage(form: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    tmp_path.mkdir()
    port = free_port()
    dsn = f"http://127.0.0.1:{port}/orbitrack"
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "partitions": 1}
    config = Config.model_validate({"kafka": kafka, "database": {"dsn": dsn}})
    env = environment(
        kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, kafka__partitions=1, database__dsn=dsn,
        metrics__listen__store="127.0.0.1:0", data_dir=tmp_path / "store",
    )
    log = tmp_path / "store.log"
    database = start_database(tmp_path / "database", port)
    store = None
    try:
        migrate(dsn)
        asyncio.run(create_topics(config.kafka))
        store = role("store", env, log)
        asyncio.run(send(config, 0, WARM_RECORDS, 0, store))
        wait_for("the first rows", lambda: is_drained(config), 120, log)
        before_bytes = memory_bytes(store)

        if form == "dead":
            database.kill()
            database.wait()
        else:
            database.send_signal(signal.SIGSTOP)
        largest_bytes = asyncio.run(send(config, WARM_RECORDS, OUTAGE_RECORDS, OUTAGE_S, store))
        assert store.poll() is None, log.read_text()[-3000:]
        assert not is_drained(config)
        if form == "dead":
            database = start_database(tmp_path / "database", port)
        else:
            database.send_signal(signal.SIGCONT)

        wait_for("catching up", lambda: is_drained(config), 600, log)
        print(f"\n{form} for {OUTAGE_S:.0f} s: {before_bytes >> 20} MB before, at most {largest_bytes >> 20} MB meanwhile")
        rows = (WARM_RECORDS + OUTAGE_RECORDS) * ROWS
        with connect(dsn) as client:
            found = client.query("SELECT count(), uniqExact(value), min(value), max(value) FROM v_samples").result_rows
        assert found == [(rows, rows, 0, rows - 1)]
        assert largest_bytes - before_bytes < BUFFER_BYTES_MAX + OVERHEAD_BYTES
    finally:
        if store is not None:
            end(store)
        end(database)
