"""A real broker that stands still, or dies, for longer than a request may take: every batch is in Kafka once, in order."""

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
from streams.kafka import Producer, create_topics, decode, read_partition, stamp_of
from streams.repeats import Stamp
from streams.telemetry import Telemetry
from tests.processes import CONTROLLER_PORT_STEP, end, free_port, listens, start_broker, wait_for

pytestmark = pytest.mark.integration

PARTITIONS, BATCHES = 4, 400
# What aiokafka's default of 40 s is in life: the outages below are several times as long.
REQUEST_TIMEOUT_MS = 1000
OUTAGE_S = 4.0


class Broker:
    """One real broker that a test may freeze or kill."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port(CONTROLLER_PORT_STEP)
        self.start()

    def start(self) -> None:
        self.process = start_broker(self.folder, self.port)
        wait_for("the broker", lambda: listens(self.port) or self.process.poll() is not None, 120, self.folder / "broker.log")

    async def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(OUTAGE_S)                   # the length of the outage is what is tested
        self.process.send_signal(signal.SIGCONT)

    async def die(self) -> None:
        self.process.kill()
        self.process.wait()
        await asyncio.sleep(OUTAGE_S)
        await asyncio.to_thread(self.start)


def parcels() -> list[Parcel]:
    made = []
    for number in range(1, BATCHES + 1):
        batches = Batches("racks", "cadu", 1)
        batches.add([number.to_bytes(4, "big") * 500], "10.0.0.1", 1, 0)
        [(_, memory_bytes, batch)] = batches.seal(0, everything=True)
        made.append(Parcel(Lane("racks", "frames.rack"), number % PARTITIONS, pa.record_batch(batch), memory_bytes,
                           Stamp("run/racks", number)))
    return made


@pytest.mark.parametrize("outage", [Broker.freeze, Broker.die], ids=["frozen", "killed"])
def test_an_outage_longer_than_a_request_may_take_neither_loses_nor_doubles_a_batch(
    tmp_path: Path, outage: Callable[[Broker], Awaitable[None]]
) -> None:
    broker = Broker(tmp_path / "kafka")
    kafka = Kafka(bootstrap=f"127.0.0.1:{broker.port}", partitions=PARTITIONS)
    producers: list[Producer] = []

    async def connect() -> Producer:
        producer = Producer(kafka, request_timeout_ms=REQUEST_TIMEOUT_MS)
        await producer.start()
        producers.append(producer)
        return producer

    async def play() -> list[list[tuple[int, Stamp | None]]]:
        await create_topics(kafka)
        done = asyncio.Semaphore(0)
        delivery = Delivery(connect, lambda parcel: done.release(), Telemetry("collect"), quiet_s=0.5)
        sent = parcels()
        for number, parcel in enumerate(sent):
            delivery.put(parcel)
            if number in (BATCHES // 4, BATCHES // 2):
                await done.acquire()                    # some are under way, many wait
                await outage(broker)
        for _ in range(BATCHES - 2):
            await asyncio.wait_for(done.acquire(), 120)
        assert await delivery.finish(10) == []
        found = []
        for partition in range(PARTITIONS):
            records = [record async for record in read_partition(kafka, "frames.rack", partition)]
            found.append([
                (int.from_bytes(decode(record.value)["frame"][0].as_py()[:4], "big"), stamp_of(record.headers))
                for record in records
            ])
        return found

    try:
        found = asyncio.run(play())
    finally:
        end(broker.process)

    for partition, records in enumerate(found):
        numbers = [number for number in range(1, BATCHES + 1) if number % PARTITIONS == partition]
        assert records == [(number, Stamp("run/racks", number)) for number in numbers]
    assert len(producers) == 1                          # it never gave up
