"""A batch that is twice in Kafka, under one stamp, is once in what a real worker makes of it, also after kill -9."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from streams.config import Kafka
from streams.ipc import decode
from streams.kafka import Producer, Topics, create_topics, read_partition
from streams.repeats import Stamp
from tests.processes import end, environment, role, wait_for
from tests.test_pipeline import counters, frames

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_a_worker_counts_a_repeated_batch_once_also_after_kill_9(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = Kafka(bootstrap=kafka_bootstrap, prefix=topic_prefix, partitions=1)
    topics, log = Topics(topic_prefix), tmp_path / "worker.log"
    env = environment(kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, kafka__partitions=1, data_dir=tmp_path,
                      metrics__listen__worker="127.0.0.1:0")
    file = tmp_path / "orbitrack.toml"
    file.write_text('[[link]]\nname = "racks"\ncodec = "sflow"\n')

    async def send(*numbers: int) -> None:
        async with Producer(kafka) as producer:
            for number in numbers:
                batch = frames([counters(number, 1000 * number)])
                await (await producer.send(topics.frames_rack, 0, batch, stamp=Stamp("run/racks", number)))

    async def octets() -> Counter[float]:
        batches = [decode(record.value) async for record in read_partition(kafka, topics.samples, 0)]
        return Counter(
            row["value"] for batch in batches for row in batch.to_pylist() if row["metric"] == "if_in_octets"
        )

    asyncio.run(create_topics(kafka))
    worker = role("worker", env, log, "--config", str(file))
    try:
        asyncio.run(send(1, 1, 2, 2, 1))
        wait_for("two samples", lambda: asyncio.run(octets()).total() >= 2, 60, log)
        worker.kill()
        worker.wait()
        asyncio.run(send(2, 1, 3))
        worker = role("worker", env, log, "--config", str(file))
        wait_for("the third", lambda: 3000 in asyncio.run(octets()), 60, log)
    finally:
        end(worker)

    assert asyncio.run(octets()) == {1000: 1, 2000: 1, 3000: 1}
    assert log.read_text().count("is left out") >= 3
