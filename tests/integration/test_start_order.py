"""Roles that are started before what they need: they say what they wait for, for as long as they were told, and then work."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from streams.clickhouse.client import ClickHouseError, connect
from streams.config import Config
from streams.errors import DependencyError
from streams.kafka import create_topics
from tests.processes import (
    CONTROLLER_PORT_STEP,
    end,
    environment,
    free_port,
    listens,
    role,
    start_broker,
    start_database,
    wait_for,
)

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

PACKETS = 200
CONFIG = """
data_dir = "data"
[kafka]
bootstrap = "127.0.0.1:{kafka}"
partitions = 2
[database]
dsn = "http://127.0.0.1:{database}/orbitrack"
[windows]
lateness = "0"
idle_timeout = "2s"
[web]
listen = "127.0.0.1:{web}"
[alert]
rules = ["rules.yaml"]
[metrics]
listen = {{ collect = "{any}", worker = "{any}", store = "{any}", alert = "{any}", serve = "{any}" }}
[[link]]
name = "sat"
codec = "ccsds-packets"
listen = "tcp://127.0.0.1:{collect}"
"""
RULES = """
rules:
  - {name: Heard, kind: threshold, metric: packets_rx, op: ">", value: 0}
"""
WAITING = {
    "collect": "waiting for Kafka", "worker": "waiting for Kafka at 127.0.0.1:", "store": "waiting for Kafka at 127.0.0.1:",
    "alert": "waiting for Kafka at 127.0.0.1:",
}  # fmt: skip


def space_packets(number: int) -> bytes:
    """Packets of APID 100 in sequence, four bytes of data each."""
    return b"".join(struct.pack(">HHH4x", 100, 0xC000 | count, 3) for count in range(number))


def ask(port: int, path: str) -> Any:
    """(status, JSON) of a request to the role serve."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def counted(dsn: str) -> int:
    """Packets in the newest revisions of the stored windows."""
    try:
        with connect(dsn) as client:
            return int(client.command("SELECT toUInt64(sum(vsum)) FROM v_10s WHERE metric = 'packets_rx' AND entity = 'sat'"))
    except (DependencyError, ClickHouseError):               # it is away, or has no tables yet
        return -1


def test_roles_wait_visibly_for_kafka_then_for_the_database_and_then_work(tmp_path: Path) -> None:
    ports = {"kafka": free_port(CONTROLLER_PORT_STEP)} | {name: free_port() for name in ("database", "web", "collect")}
    (tmp_path / "orbitrack.toml").write_text(CONFIG.format(**ports, any="127.0.0.1:0"))
    (tmp_path / "rules.yaml").write_text(RULES)
    env = environment() | {"ORBITRACK_CONFIG": str(tmp_path / "orbitrack.toml")}
    logs = {name: tmp_path / f"{name}.log" for name in (*WAITING, "serve")}
    dsn = f"http://127.0.0.1:{ports['database']}/orbitrack"

    def says(name: str, words: str) -> None:
        wait_for(f"{name} says '{words}'", lambda: words in logs[name].read_text(), 60, logs[name])

    roles = {name: role(name, env, log) for name, log in logs.items()}
    processes = list(roles.values())
    try:
        for name, words in WAITING.items():
            says(name, words)
        for name in ("collect", "web"):
            wait_for(f"{name} listens", partial(listens, ports[name]), 60)
        status, answer = ask(ports["web"], "/api/v1/slo")
        assert (status, "Connection refused" in answer["error"]) == (503, True)
        with socket.create_connection(("127.0.0.1", ports["collect"])) as sender:
            sender.sendall(space_packets(PACKETS // 2))        # held by the collector until there is a broker

        processes.append(start_broker(tmp_path / "kafka", ports["kafka"]))
        says("store", "waiting for ClickHouse (try 2")
        says("collect", "Kafka answers after")

        processes.append(start_database(tmp_path / "database", ports["database"]))
        with socket.create_connection(("127.0.0.1", ports["collect"])) as sender:
            sender.sendall(space_packets(PACKETS // 2))
        wait_for("every packet is counted", lambda: counted(dsn) == PACKETS, 120, logs["store"])
        wait_for("the alert is stored", lambda: ask(ports["web"], "/api/v1/alerts")[1] != [], 60, logs["alert"])
        (alert,) = ask(ports["web"], "/api/v1/alerts")[1]
        assert (alert["rule"], alert["entity"]) == ("Heard", "sat")
        assert {name: process.poll() for name, process in roles.items()} == dict.fromkeys(roles)
    finally:
        for process in processes:
            end(process)
    for name, log in logs.items():
        assert "Traceback" not in log.read_text(), name


def test_role_that_waits_in_vain_ends_with_status_3(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    nobody = free_port()
    away: dict[str, Any] = {"kafka__bootstrap": f"127.0.0.1:{nobody}", "kafka__wait": "1s"}
    link = {"link__0__name": "sat", "link__0__codec": "ccsds-packets", "link__0__listen": "tcp://127.0.0.1:0"}
    no_database: dict[str, Any] = {
        "kafka__bootstrap": kafka_bootstrap, "kafka__prefix": topic_prefix, "kafka__partitions": 1,
        "database__dsn": f"http://127.0.0.1:{nobody}/orbitrack", "database__wait": "1s",
    }
    cases = [("collect", away | link, "Kafka"), ("worker", away, "Kafka"), ("store", away, "Kafka"), ("alert", away, "Kafka"),
             ("store", no_database, "ClickHouse"), ("up", away, "Kafka"), ("up", no_database, "ClickHouse")]  # fmt: skip
    running: list[tuple[subprocess.Popen[bytes], Path, str]] = []
    try:
        for number, (name, settings, what) in enumerate(cases):
            log = tmp_path / f"{name}-{number}.log"
            listen = {f"metrics__listen__{each}": "127.0.0.1:0" for each in ("collect", "worker", "store", "alert")}
            env = environment(data_dir=tmp_path / str(number), **settings, **listen)
            arguments = ("--only", "store") if name == "up" else ()
            running.append((role(name, env, log, *arguments), log, what))
        for process, log, what in running:
            assert process.wait(60) == 3, log.read_text()
            text = log.read_text()
            assert f"waiting for {what}" in text
            assert f"127.0.0.1:{nobody}" in text.splitlines()[-1] + text.splitlines()[-2]
            assert "Traceback" not in text
    finally:
        for process, _, _ in running:
            end(process)


def test_roles_end_with_status_2_where_a_topic_has_too_few_partitions(
    kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> None:
    kafka: dict[str, Any] = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "partitions": 2}
    asyncio.run(create_topics(Config.model_validate({"kafka": kafka}).kafka))
    asyncio.run(create_topics(Config.model_validate({"kafka": kafka | {"partitions": 1}}).kafka))       # fewer are no mistake
    settings = {f"kafka__{key}": value for key, value in kafka.items()} | {"kafka__partitions": 3}
    settings |= {"link__0__name": "sat", "link__0__codec": "ccsds-packets", "link__0__listen": "tcp://127.0.0.1:0"}
    for name in ("collect", "worker"):
        log = tmp_path / f"{name}.log"
        process = role(name, environment(data_dir=tmp_path, **settings, **{f"metrics__listen__{name}": "127.0.0.1:0"}), log)
        try:
            assert process.wait(60) == 2, log.read_text()
        finally:
            end(process)
        text = log.read_text()
        assert "Traceback" not in text
        assert f"[kafka] partitions = 3, but the topic '{topic_prefix}frames.rack' has 2" in text
        assert "write partitions = 2" in text
