"""A disk that fills up: it is said, nothing that was acknowledged is lost, and with room everything goes on.

The disk is a small tmpfs; where mounting is not allowed these tests are skipped.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.clickhouse.client import ClickHouseError, Fault, classify, connect
from streams.config import Config, Kafka
from streams.errors import DependencyError
from streams.kafka import Topics, read_partition
from streams.webhooks import Outbox
from tests.integration.test_up import Up, offset, started, up  # noqa: F401  (fixtures)
from tests.processes import end, environment, listens, role, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

DISK = "80m"
ROOM_BYTES = 1_000_000
VALUE_BYTES = 20_000
ROWS = "INSERT INTO kept SELECT number, randomPrintableASCII(1000) FROM numbers(100)"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with DISK of room."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs is not allowed here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, room_bytes: int) -> Path:
    """Leaves `room_bytes`; returns the file that takes the rest."""
    filler = disk / "filler"
    found = os.statvfs(disk)
    with filler.open("wb") as stream:
        stream.write(bytes(found.f_bavail * found.f_frsize - room_bytes))
    return filler


async def send_until_refused(kafka: Kafka) -> list[int]:
    """Numbers of the records that the broker acknowledged before it took no more."""
    acknowledged: list[int] = []
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, enable_idempotence=True, acks="all", retry_backoff_ms=500)
    await producer.start()
    try:
        for number in range(10 * ROOM_BYTES // VALUE_BYTES):
            value = number.to_bytes(4, "big") + os.urandom(VALUE_BYTES)
            sending = asyncio.ensure_future(producer.send_and_wait(Topics().frames_rack, value, partition=0))
            while not sending.done() and listens(int(kafka.bootstrap.rpartition(":")[2])):
                await asyncio.wait([sending], timeout=0.2)
            if not sending.done() or sending.exception():       # the broker has ended: its disk is full
                sending.cancel()
                return acknowledged
            acknowledged.append(number)
    finally:
        await asyncio.wait([asyncio.ensure_future(producer.stop())], timeout=1)
    raise AssertionError("the disk did not fill up")


async def stored(kafka: Kafka) -> list[int]:
    return [int.from_bytes(record.value[:4], "big") async for record in read_partition(kafka, Topics().frames_rack, 0)]


def test_full_disk_loses_nothing_that_was_acknowledged(disk: Path, offset: int, started: list[Up]) -> None:  # noqa: F811
    running = up(disk / "data", offset, "--only", "kafka,database")
    started.append(running)
    running.wait_for("ready: ")
    settings = {"kafka": {"bootstrap": f"127.0.0.1:{9092 + offset}", "partitions": 4}}
    kafka = Config.model_validate(settings).kafka
    with connect(running.database) as client:
        client.command("CREATE TABLE kept (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
        client.command(ROWS)
        filler = fill(disk, ROOM_BYTES)

        acknowledged = asyncio.run(send_until_refused(kafka))
        running.wait_for(f"the disk of {disk / 'data'} is full", 60)
        running.wait_for("kafka ended with status", 60)
        with pytest.raises(ClickHouseError) as refused:
            client.command(ROWS)
        refusal = classify(refused.value)
        assert (refusal.fault, refusal.retryable) == (Fault.DEPENDENCY, True)
        assert "space" in refusal.text
        assert client.command("SELECT count() FROM kept") == 100

        filler.unlink()
        client.command(ROWS)
        assert client.command("SELECT count() FROM kept") == 200
    wait_for("Kafka is back", lambda: running.pid("kafka") is not None and answers(kafka), 60, running.output)
    found = asyncio.run(stored(kafka))
    assert 0 < len(acknowledged) <= len(found)
    assert found[: len(acknowledged)] == acknowledged
    assert running.end() == 0
    assert "Traceback" not in running.said()


def answers(kafka: Kafka) -> bool:
    try:
        asyncio.run(stored(kafka))
    except (KafkaError, OSError):
        return False
    return True


def test_outbox_on_a_full_disk_keeps_what_it_had_and_takes_more_with_room(disk: Path) -> None:
    outbox = Outbox(disk / "alert" / "outbox.sqlite")
    outbox.commit({"engine": b"first"}, {0: 1}, [("a/1/1", b"event")], [], 0)
    filler = fill(disk, 64 << 10)
    large = os.urandom(1 << 20)
    with pytest.raises(DependencyError, match=r"the outbox .*outbox.sqlite cannot be written: database or disk is full"):
        outbox.commit({"engine": large}, {0: 2}, [("a/1/2", large)], [], 1)
    assert (outbox.rows(), outbox.progress()) == ({"engine": b"first"}, {0: 1})
    assert [identity for _, identity, _ in outbox.unpublished(10)] == ["a/1/1"]
    filler.unlink()
    outbox.commit({"engine": large}, {0: 2}, [("a/1/2", large)], [], 1)
    outbox.close()
    again = Outbox(disk / "alert" / "outbox.sqlite")
    assert (again.rows(), again.progress()) == ({"engine": large}, {0: 2})
    assert [identity for _, identity, _ in again.unpublished(10)] == ["a/1/1", "a/1/2"]
    again.close()


def test_alert_role_on_a_full_disk_says_so(disk: Path, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    fill(disk, 0)
    env = environment(
        kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, kafka__partitions=1, data_dir=disk / "data",
        metrics__listen__alert="127.0.0.1:0",
    )
    log = tmp_path / "alert.log"
    process = role("alert", env, log)
    try:
        assert process.wait(60) == 3, log.read_text()
    finally:
        end(process)
    assert "the outbox" in log.read_text()
    assert "full" in log.read_text() or "No space left" in log.read_text()
    assert "Traceback" not in log.read_text()
