"""The collector against a real broker that comes late and stalls: what the simulator sent is in Kafka, once, or counted."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from streams.collectors.losses import CODEC
from streams.config import Config
from streams.ipc import decode
from streams.kafka import read_partition
from tests.processes import CONTROLLER_PORT_STEP, end, environment, free_port, listens, role, start_broker, wait_for

pytestmark = pytest.mark.integration

PARTITIONS = 4


def configuration(folder: Path, kafka_port: int, ports: list[int]) -> Path:
    file = folder / "orbitrack.toml"
    links = "".join(
        f'[[link]]\nname = "sat-{number}"\ncodec = "ccsds-packets"\nlisten = "tcp://127.0.0.1:{port}"\n'
        for number, port in enumerate(ports[1:], 1)
    )
    file.write_text(
        f'[kafka]\nbootstrap = "127.0.0.1:{kafka_port}"\npartitions = {PARTITIONS}\n'
        '[metrics.listen]\ncollect = "127.0.0.1:0"\n'
        f'[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "udp://127.0.0.1:{ports[0]}"\nallow = ["127.0.0.0/8"]\n{links}'
    )
    return file


async def read_all(config: Config, topic: str) -> list[pa.RecordBatch]:
    return [
        decode(record.value) for partition in range(PARTITIONS)
        async for record in read_partition(config.kafka, topic, partition)
    ]


def test_every_frame_is_in_kafka_once_although_the_broker_comes_late_and_stalls(tmp_path):
    kafka_port = free_port(CONTROLLER_PORT_STEP)
    ports = [free_port() for _ in range(3)]
    file, log, account = configuration(tmp_path, kafka_port, ports), tmp_path / "collect.log", tmp_path / "account.json"
    config = Config.model_validate({"kafka": {"bootstrap": f"127.0.0.1:{kafka_port}", "partitions": PARTITIONS}})
    processes = []
    try:
        collect = role("collect", environment(), log, "--config", str(file))
        processes.append(collect)
        wait_for("the collector listens", lambda: listens(ports[1]) and listens(ports[2]), 60, log)
        simulate = role(
            "simulate", environment(), tmp_path / "simulate.log", "--config", str(file), "--satellites", "2", "--rate", "5",
            "--account", str(account), "--seed", "11",
        )
        processes.append(simulate)
        broker = start_broker(tmp_path / "kafka", kafka_port)
        processes.append(broker)
        wait_for("the collector reaches Kafka", lambda: "Kafka answers" in log.read_text(), 120, log)
        broker.send_signal(signal.SIGSTOP)
        with pytest.raises(subprocess.TimeoutExpired):
            simulate.wait(3)                        # it goes on sending while the broker stands still
        broker.send_signal(signal.SIGCONT)
        simulate.send_signal(signal.SIGTERM)        # not after a duration: on a busy machine Kafka takes its time to start
        assert simulate.wait(60) == 0, (tmp_path / "simulate.log").read_text()
        collect.send_signal(signal.SIGTERM)
        assert collect.wait(60) == 0, log.read_text()
        rack, satellite = (asyncio.run(read_all(config, topic)) for topic in ("frames.rack", "frames.satellite"))
    finally:
        for process in reversed(processes):
            end(process)

    rows = [row for batch in rack + satellite for row in batch.to_pylist()]
    frames = [row for row in rows if row["codec"] != CODEC]
    losses: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["codec"] == CODEC:
            for sample in decode(row["frame"]).to_pylist():
                losses[row["link"], sample["metric"]] += sample["value"]
    sent = json.loads(account.read_text())["account"]
    assert {row["link"] for batch in rack for row in batch.to_pylist()} == {"racks"}

    racks = [row for row in frames if row["link"] == "racks"]
    assert sent["racks"]["unsent"] == 0
    assert len(racks) + losses["racks", "kernel_drops"] + losses["racks", "shed"] == sent["racks"]["sent"]
    assert losses["racks", "received"] + losses["racks", "kernel_drops"] == sent["racks"]["sent"]
    assert len({row["source"] for row in racks}) == 20
    for number in (1, 2):
        packets = [row["frame"] for row in frames if row["link"] == f"sat-{number}"]
        assert sum(map(len, packets)) == sent[f"SAT-{number}"]["sent_bytes"]
        assert losses[f"sat-{number}", "received"] == len(packets)
        assert losses[f"sat-{number}", "shed"] == 0
