"""Frames that somebody else's producer writes in transactions: the markers between them are no records that are missing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streams.config import Kafka
from streams.ipc import decode, encode
from streams.kafka import ARROW_HEADERS, Topics, create_topics, read_partition, transactional_producer
from tests.processes import end, environment, role, wait_for
from tests.test_pipeline import counters, frames

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def test_frames_written_in_transactions_are_decoded_once_and_in_order(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = Kafka(bootstrap=kafka_bootstrap, prefix=topic_prefix, partitions=1)
    topics, log = Topics(topic_prefix), tmp_path / "worker.log"
    env = environment(kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, kafka__partitions=1, data_dir=tmp_path,
                      metrics__listen__worker="127.0.0.1:0")
    file = tmp_path / "orbitrack.toml"
    file.write_text('[[link]]\nname = "racks"\ncodec = "sflow"\n')

    async def send() -> None:
        producer = transactional_producer(kafka, f"{topic_prefix}connect")
        await producer.start()
        try:
            for number in range(1, 6):
                await producer.begin_transaction()
                value = encode(frames([counters(number, 1000 * number)]))
                await producer.send(topics.frames_rack, value, partition=0, headers=ARROW_HEADERS)
                await (producer.abort_transaction() if number == 3 else producer.commit_transaction())
        finally:
            await producer.stop()

    async def octets() -> list[float]:
        batches = [decode(record.value) async for record in read_partition(kafka, topics.samples, 0)]
        return [row["value"] for batch in batches for row in batch.to_pylist() if row["metric"] == "if_in_octets"]

    asyncio.run(create_topics(kafka))
    asyncio.run(send())
    worker = role("worker", env, log, "--config", str(file))
    try:
        wait_for("four samples", lambda: len(asyncio.run(octets())) >= 4, 60, log)
    finally:
        end(worker)
    assert asyncio.run(octets()) == [1000, 2000, 4000, 5000]
