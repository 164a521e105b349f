"""The alert role on a real broker, killed at random with its receiver away now and then: every alert told, once by its id."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from standardwebhooks import Webhook as Verifier

from streams.alert import Alerter
from streams.clock import NS
from streams.config import Kafka
from streams.ipc import decode
from streams.kafka import Producer, Topics, create_topics, read_partition
from streams.rules import load_rules
from streams.webhooks import Outbox
from tests.alert_scenario import windows_batch
from tests.processes import end, environment, free_port, role
from tests.webhook_server import SECRET, Server, webhook

PARTITIONS = 4
RECORDS = 160
KILLS = int(os.environ.get("ORBITRACK_KILLS", 5))
# Without timers: what they decide depends on when the role lives, and no straight pass would say the same.
RULES = """
rules:
  - {name: TooHot, kind: threshold, metric: temp_c, op: ">", value: 80}
  - {name: Jumps, kind: rate, metric: temp_c, op: ">", value: 8.9}
"""
CONFIG = """
data_dir = "data"
[kafka]
bootstrap = "{bootstrap}"
partitions = 4
prefix = "{prefix}"
[database]
dsn = "http://127.0.0.1:{nobody}/orbitrack"
[alert]
rules = ["rules.yaml"]
[metrics]
listen = {{ alert = "127.0.0.1:0" }}
[[webhook]]
name = "ops"
url = "http://127.0.0.1:{receiver}/"
secret = "{secret}"
max_attempts = 1000
allow = ["127.0.0.0/8"]
"""


def made_windows(dice: random.Random) -> list[tuple[int, pa.RecordBatch]]:
    """(partition, windows) in the order in which they are produced; an entity stays in its partition."""
    made = []
    for number in range(RECORDS):
        partition = number % PARTITIONS
        rows = [
            {"bucket": 1_900_000_000 + 10 * (number // PARTITIONS), "entity": f"p{partition}-{each}", "metric": "temp_c",
             "value": dice.choice((20, 85, 85, 90))}
            for each in range(5)
        ]
        made.append((partition, windows_batch(rows)))
    return made


def truth(folder: Path, made: list[tuple[int, pa.RecordBatch]]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Events by identity and bodies by webhook-id of one pass without Kafka and without kills."""
    outbox = Outbox(folder / "truth.sqlite")
    alerter = Alerter(load_rules([folder / "rules.yaml"]), outbox, [webhook("http://127.0.0.1:1/")])
    offsets = [0] * PARTITIONS
    for partition, batch in made:
        alerter.take(partition, offsets[partition], batch, 0)
        offsets[partition] += 1
    events = {identity: without_at(decode(content)) for _, identity, content in outbox.unpublished(100_000)}
    bodies = dict(outbox.database.execute("SELECT webhook_id, body FROM messages").fetchall())
    outbox.close()
    return events, bodies


def without_at(batch: pa.RecordBatch) -> dict[str, Any]:
    (row,) = batch.drop_columns(["at"]).to_pylist()
    return row


async def events_in(kafka: Kafka) -> dict[str, Any]:
    """What the topic `alerts` holds, by key; repeats must be the same."""
    events: dict[str, Any] = {}
    for partition in range(PARTITIONS):
        async for record in read_partition(kafka, Topics(kafka.prefix).alerts, partition):
            found = without_at(decode(record.value))
            assert events.setdefault(record.key.decode(), found) == found
    return events


async def until(what: str, condition: Callable[[], bool], deadline_s: float, log: Path) -> None:
    end_at = asyncio.get_running_loop().time() + deadline_s
    while not condition():
        assert asyncio.get_running_loop().time() < end_at, f"{what}: not within {deadline_s} s\n{log.read_text()[-3000:]}"
        await asyncio.sleep(0.1)


@pytest.mark.integration
def test_killed_alert_role_tells_everything(kafka_bootstrap, topic_prefix, tmp_path):
    seed = int(os.environ.get("ORBITRACK_SEED", random.randrange(10**6)))
    print(f"seed: ORBITRACK_SEED={seed} pytest tests/integration/test_alert_kill.py")
    dice = random.Random(seed)
    kafka = Kafka(bootstrap=kafka_bootstrap, partitions=PARTITIONS, prefix=topic_prefix)
    port, log = free_port(), tmp_path / "alert.log"
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "orbitrack.toml").write_text(
        CONFIG.format(bootstrap=kafka_bootstrap, prefix=topic_prefix, nobody=free_port(), receiver=port, secret=SECRET)
    )
    made = made_windows(dice)
    expected_events, expected_bodies = truth(tmp_path, made)
    got: list[tuple[dict[str, str], bytes]] = []
    env = environment() | {"ORBITRACK_CONFIG": str(tmp_path / "orbitrack.toml")}

    async def produce() -> None:
        async with Producer(kafka) as producer:
            for partition, batch in made:
                await (await producer.send(Topics(kafka.prefix).windows, partition, batch))
                await asyncio.sleep(0.15)

    async def receive() -> None:
        """Up and down in turns, so that some deliveries fail."""
        while True:
            async with Server(port=port, got=got):
                await asyncio.sleep(dice.uniform(1, 5))
            await asyncio.sleep(dice.uniform(0.2, 2))

    async def story() -> dict[str, Any]:
        await create_topics(kafka)
        running = [asyncio.create_task(produce()), asyncio.create_task(receive())]
        process = role("alert", env, log)
        try:
            for _ in range(KILLS):
                await asyncio.sleep(dice.uniform(2, 8))
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = role("alert", env, log)
            await running[0]
            await until("all messages", lambda: expected_bodies.keys() <= {each["webhook-id"] for each, _ in got}, 120, log)
            until_ns = time.monotonic_ns() + 60 * NS
            while (events := await events_in(kafka)).keys() < expected_events.keys() and time.monotonic_ns() < until_ns:
                pass                                        # receivers may hear of an event before the topic does
            return events
        finally:
            end(process)
            for task in running:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    events = asyncio.run(story())
    assert len(expected_bodies) > 20
    assert {headers["webhook-id"] for headers, _ in got} == set(expected_bodies)
    for headers, body in got:
        assert body == expected_bodies[headers["webhook-id"]]
        Verifier(SECRET).verify(body, headers)
    assert events == expected_events
    first_seen = list(dict.fromkeys(headers["webhook-id"] for headers, _ in got))
    told: dict[str, list[str]] = {}
    for webhook_id in first_seen:
        for alert in json.loads(expected_bodies[webhook_id])["alerts"]:
            told.setdefault(alert["fingerprint"], []).append(alert["status"])
    for states in told.values():
        assert states == ["firing" if turn % 2 == 0 else "resolved" for turn in range(len(states))]
    repeats = len(got) - len(first_seen)
    print(f"{len(expected_events)} events, {len(first_seen)} messages, {repeats} delivered again, {KILLS} kills")
