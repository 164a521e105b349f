"""A rule that asks the database, on a real broker and a real database: fires, survives kill -9, is suppressed, resolves."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from streams.clickhouse.client import connect
from streams.config import Kafka
from streams.ipc import decode
from streams.kafka import Topics, create_topics, read_partition
from tests.processes import end, environment, role
from tests.webhook_server import SECRET, Server

CONFIG = """
data_dir = "data"
[kafka]
bootstrap = "{bootstrap}"
partitions = 1
prefix = "{prefix}"
[database]
dsn = "{dsn}"
[windows]
lateness = "1s"
[slo]
files = ["slo.yaml"]
[alert]
rules = ["rules.yaml"]
poll = "1s"
[metrics]
listen = {{ alert = "127.0.0.1:0" }}
[[webhook]]
name = "ops"
url = "http://127.0.0.1:{receiver}/"
secret = "{secret}"
allow = ["127.0.0.0/8"]
"""
RULES = """
rules:
  - {name: BudgetBurns, kind: burn_rate, annotations: {summary: "{entity}: {slo} burns {value}"}}
  - {name: CreditDue, kind: credit, entity: SAT-1}
"""
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {name: delivery, annotations: {orbitrack/credit-tiers: "99:10,0:50"}}
spec:
  indicator: {spec: {ratioMetric: {good: {metricSource: {type: orbitrack, spec: {metric: packets_rx}}},
    total: {metricSource: {type: orbitrack, spec: {metric: [packets_rx, packets_lost]}}}}}}
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
  alertPolicies: [{kind: AlertPolicy, metadata: {name: anyBurn}, spec: {alertWhenBreaching: true, alertWhenResolved: false,
    notificationTargets: [{targetRef: ops}], conditions: [{kind: AlertCondition, metadata: {name: c},
      spec: {severity: ticket, condition: {threshold: 2, lookbackWindow: 1h, alertAfter: 0m}}}]}}]
"""


def fill(dsn: str, entity: str, lost: float, rev: int) -> None:
    """The last two hours of an entity, and the next minutes: received 90 a minute, lost so many."""
    now_s = int(time.time()) // 60 * 60
    with connect(dsn) as client:
        rows = [
            [bucket, entity, metric, rev, 1, 1, value]
            for bucket in range(now_s - 7200, now_s + 600, 60)
            for metric, value in (("packets_rx", 90.0), ("packets_lost", lost))
        ]
        client.insert("windows_1m", rows, column_names=["bucket", "entity", "metric", "rev", "cnt", "good", "vsum"])


async def events_in(kafka: Kafka) -> dict[bytes, dict[str, Any]]:
    """What the topic `alerts` holds, by key: what was published again after a kill is the same."""
    found: dict[bytes, dict[str, Any]] = {}
    async for record in read_partition(kafka, Topics(kafka.prefix).alerts, 0):
        event = decode(record.value).to_pylist()[0]
        assert found.setdefault(record.key, event) == event
    return found


@pytest.mark.integration
def test_poll_rules_fire_once_over_kills_and_resolve(
    kafka_bootstrap: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    kafka, log = Kafka(bootstrap=kafka_bootstrap, partitions=1, prefix=topic_prefix), tmp_path / "alert.log"
    for entity, lost in (("SAT-1", 30.0), ("SAT-2", 0.0), ("SAT-3", 30.0)):
        fill(database, entity, lost, 1)
    now_s = int(time.time())
    with connect(database) as client:
        client.insert(
            "maintenance", [["7", "SAT-3", now_s - 7200, now_s + 7200, "moved", 0]],
            column_names=["id", "entity", "start", "end", "reason", "cancelled"],
        )
    env = environment() | {"ORBITRACK_CONFIG": str(tmp_path / "orbitrack.toml")}

    async def until(what: str, condition: Callable[[], bool]) -> None:
        end_at = asyncio.get_running_loop().time() + 120
        while not condition():
            assert asyncio.get_running_loop().time() < end_at, f"{what}: not within 120 s\n{log.read_text()[-3000:]}"
            await asyncio.sleep(0.1)

    async def story() -> tuple[list[tuple[str, str, str]], list[dict[str, Any]]]:
        await create_topics(kafka)
        async with Server() as server:
            (tmp_path / "rules.yaml").write_text(RULES)
            (tmp_path / "slo.yaml").write_text(SLO)
            (tmp_path / "orbitrack.toml").write_text(CONFIG.format(
                bootstrap=kafka_bootstrap, prefix=topic_prefix, dsn=database, receiver=server.port, secret=SECRET
            ))

            def told() -> list[tuple[str, str, str]]:
                seen: dict[str, list[tuple[str, str, str]]] = {}
                for headers, body in server.got:
                    Verifier(SECRET).verify(body, headers)
                    seen[headers["webhook-id"]] = [
                        (each["labels"]["alertname"], each["labels"]["entity"], each["status"])
                        for each in json.loads(body)["alerts"]
                    ]
                return [alert for alerts in seen.values() for alert in alerts]

            process = role("alert", env, log)
            try:
                await until("the first alerts", lambda: len(told()) >= 3)
                process.send_signal(signal.SIGKILL)
                process.wait()
                process = role("alert", env, log)
                fill(database, "SAT-1", 0.0, 2)             # late data: nothing was lost after all
                await until("the end", lambda: sum(state == "resolved" for _, _, state in told()) >= 2)
                end_at = asyncio.get_running_loop().time() + 120        # receivers may hear of an event before the topic does
                while len(events := await events_in(kafka)) < 8 and asyncio.get_running_loop().time() < end_at:
                    pass
            finally:
                end(process)
            return told(), list(events.values())

    told, events = asyncio.run(story())

    assert sorted(told) == [
        ("BudgetBurns", "SAT-1", "firing"), ("BudgetBurns", "SAT-1", "resolved"), ("CreditDue", "SAT-1", "firing"),
        ("CreditDue", "SAT-1", "resolved"), ("anyBurn", "SAT-1", "firing"),
    ]
    by_alert: dict[tuple[str, str], list[tuple[str, str | None]]] = {}
    for event in events:
        by_alert.setdefault((event["rule"], dict(event["labels"])["entity"]), []).append((event["state"], event["reason"]))
    for rule in ("BudgetBurns:delivery", "CreditDue:delivery", "anyBurn:delivery"):
        (first, _), (last, why) = by_alert.pop((rule, "SAT-1"))
        assert (first, last) == ("firing", "resolved")
        assert why in (None, "corrected by late data")      # by whether the minute was asked again, or the next one
    assert by_alert == {
        (rule, "SAT-3"): [("suppressed", "maintenance 7: moved")] for rule in ("BudgetBurns:delivery", "anyBurn:delivery")
    }
    first = next(event for event in events if event["rule"] == "anyBurn:delivery")
    assert dict(first["labels"])["severity"] == "warning"
    assert dict(first["annotations"])["summary"] == (
        "SAT-1: delivery burns its error budget 25 times as fast as allowed, more than 2 over 1h"
    )
