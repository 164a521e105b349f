"""Real brokers that stand still, or die, for longer than a request may take: every batch is in Kafka once, in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.batches import Batches
from streams.collectors.batches import Lane, Parcel
from streams.collectors.delivery import Delivery
from streams.config import Kafka
from streams.ipc import decode
from streams.kafka import Producer, Topics, create_topics, read_partition, stamp_of
from streams.repeats import Stamp
from streams.telemetry import Telemetry
from tests.processes import Cluster, running_cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PARTITIONS, BATCHES = 6, 600
# What aiokafka's default of 40 s is in life: the outages below are several times as long.
REQUEST_TIMEOUT_S = 1.0
OUTAGE_S = 4.0
WAIT_S = 120

Outage = Callable[[Cluster, Producer], Awaitable[None]]


async def freeze(cluster: Cluster, producer: Producer) -> None:
    """All brokers stand still, and answer everything at once when they go on, each request as often as it was sent."""
    for broker in cluster.brokers:
        broker.send_signal(signal.SIGSTOP)
    await asyncio.sleep(OUTAGE_S)                       # the length of the outage is what is tested
    for broker in cluster.brokers:
        broker.send_signal(signal.SIGCONT)


async def take_leader_away(cluster: Cluster, producer: Producer) -> None:
    """A broker dies, and the producer learns that partitions have no leader: here aiokafka would give up."""
    assert producer.producer is not None
    metadata, topic = producer.producer.client.cluster, Topics(producer.kafka.prefix).frames_rack
    cluster.kill(2)
    async with asyncio.timeout(WAIT_S):
        while len(metadata.available_partitions_for_topic(topic) or ()) == PARTITIONS:  # noqa: ASYNC110  aiokafka tells nobody
            await asyncio.sleep(0.1)
    await asyncio.sleep(2 * REQUEST_TIMEOUT_S)
    cluster.restart(2)


def parcels(topic: str) -> list[Parcel]:
    made = []
    for number in range(1, BATCHES + 1):
        batches = Batches("racks", "cadu", 1)
        batches.add([number.to_bytes(4, "big") * 500], "10.0.0.1", 1, 0)
        [(_, memory_bytes, batch)] = batches.seal(0, everything=True)
        lane, stamp = Lane("racks", topic), Stamp("run/racks", number)
        made.append(Parcel(lane, number % PARTITIONS, pa.record_batch(batch), memory_bytes, stamp))
    return made


async def send_through(outage: Outage, cluster: Cluster, kafka: Kafka) -> int:
    """Sends every parcel, half of them before the outage has ended; how many producers it took."""
    producers: list[Producer] = []

    async def connect() -> Producer:
        producer = Producer(kafka, request_timeout_ms=round(1000 * REQUEST_TIMEOUT_S))
        await producer.start()
        producers.append(producer)
        return producer

    await create_topics(kafka)
    acknowledged = asyncio.Semaphore(0)
    delivery = Delivery(connect, lambda parcel: acknowledged.release(), pytest.fail, Telemetry("collect"), quiet_s=0.5)
    sent = parcels(Topics(kafka.prefix).frames_rack)
    for parcel in sent[: BATCHES // 2]:
        delivery.put(parcel)
    await acknowledged.acquire()                        # some are under way, many wait
    await outage(cluster, producers[0])
    for parcel in sent[BATCHES // 2 :]:
        delivery.put(parcel)
    for _ in range(BATCHES - 1):
        await asyncio.wait_for(acknowledged.acquire(), WAIT_S)
    assert await delivery.finish(10) == []
    return len(producers)


async def read_back(kafka: Kafka, partition: int) -> list[tuple[int, Stamp | None]]:
    records = [record async for record in read_partition(kafka, Topics(kafka.prefix).frames_rack, partition)]
    return [
        (int.from_bytes(decode(record.value)["frame"][0].as_py()[:4], "big"), stamp_of(record.headers)) for record in records
    ]


def test_outages_longer_than_a_request_may_take_neither_lose_nor_double_a_batch(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        for outage in (freeze, take_leader_away):
            kafka = Kafka(bootstrap=cluster.bootstrap, partitions=PARTITIONS, prefix=f"{outage.__name__}.")
            producers = asyncio.run(send_through(outage, cluster, kafka))
            found = [asyncio.run(read_back(kafka, partition)) for partition in range(PARTITIONS)]
            for partition, records in enumerate(found):
                numbers = [number for number in range(1, BATCHES + 1) if number % PARTITIONS == partition]
                assert records == [(number, Stamp("run/racks", number)) for number in numbers], outage.__name__
            assert producers == 1, outage.__name__      # it never gave up
