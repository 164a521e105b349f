"""Records that a worker cannot use: what senders wrote is refused, what we cannot process is put aside, all else is exact.

No input is known that makes the pipeline raise, so the worker of these tests is the real one with a mistake built in: after
it has taken a batch in, it fails if one of the frames says POISON. The next owner makes the same mistake.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from streams.config import Config
from streams.ipc import decode, encode
from streams.kafka import ARROW_HEADERS, Producer, Topics, committed_offsets, create_topics, read_partition
from tests.integration.test_worker_kill import as_frames, sample_batch
from tests.processes import end, environment, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

FAULTY_WORKER = """
import os
from streams.cli.logs import set_up_logging
from streams.config import load_config
from streams.pipeline import Pipeline
from streams.worker import run

take_in = Pipeline.feed

def feed(pipeline, frames, now_ns, stamp=None):
    is_new = take_in(pipeline, frames, now_ns, stamp)
    assert not any(b"POISON" in frame.as_buffer().to_pybytes() for frame in frames["frame"]), "the mistake of this test"
    return is_new

Pipeline.feed = feed
set_up_logging("text")
run(load_config(None, os.environ))
"""
PACKET = bytes.fromhex("0064 c000 0003 01020304")          # APID 100, sequence count 0, four bytes of data
EXIT_FAILED = 70


@dataclass
class Line:
    """One partition of frames, the faulty workers on it, and what was sent that must be counted."""

    config: Config
    env: dict[str, str]
    log: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            command = [sys.executable, "-c", FAULTY_WORKER]
            self.workers.append(subprocess.Popen(command, env=self.env, stdout=output, stderr=output, stdin=subprocess.DEVNULL))
        return self.workers[-1]

    def wait_until_it_fails(self) -> None:
        worker = self.start()
        wait_for("the worker fails", lambda: worker.poll() is not None, 60, self.log)
        assert worker.returncode == EXIT_FAILED, self.log.read_text()

    def is_at_the_end(self) -> bool:
        kafka = self.config.kafka
        ((committed, last),) = asyncio.run(committed_offsets(kafka, f"{kafka.prefix}worker", self.topics.frames_rack))
        return committed == last

    @property
    def topics(self) -> Topics:
        return Topics(self.config.kafka.prefix)

    def read(self, topic: str) -> list[Any]:
        async def everything() -> list[Any]:
            return [record async for record in read_partition(self.config.kafka, topic, 0)]

        return asyncio.run(everything())

    def rows(self, topic: str) -> list[dict[str, Any]]:
        return [row for record in self.read(topic) for row in decode(record.value).to_pylist()]

    def send(self, *records: tuple[bytes | None, Any]) -> None:
        """(value, headers) of every record, in order."""

        async def each() -> None:
            async with Producer(self.config.kafka) as producer:
                assert producer.producer is not None
                for value, headers in records:
                    await producer.producer.send_and_wait(
                        self.topics.frames_rack, value, key=b"x", partition=0, headers=headers
                    )

        asyncio.run(each())


@pytest.fixture
def line(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> Iterator[Line]:
    kafka = {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "partitions": 1}
    # While no worker lives a source is idle; its windows are then emitted again, with everything in them.
    windows = {"lateness": "1s", "allowed_lateness": "30m", "idle_timeout": "1s"}
    config = Config.model_validate({"kafka": kafka, "windows": windows})
    settings = [("kafka", kafka), ("windows", windows), ("link__0", {"name": "probe", "codec": "ccsds-packets"})]
    env = environment(
        data_dir=tmp_path, metrics__listen__worker="127.0.0.1:0",
        **{f"{section}__{key}": value for section, values in settings for key, value in values.items()},
    )
    asyncio.run(create_topics(config.kafka))
    running = Line(config, env, tmp_path / "worker.log")
    yield running
    for worker in running.workers:
        end(worker)


def poison() -> pa.RecordBatch:
    batch = as_frames(sample_batch(0, 1)[0])
    return batch.set_column(4, batch.schema.field(4), pa.array([batch["frame"][0].as_py() + b"POISON"], pa.binary()))


def plain(frames: pa.RecordBatch) -> pa.RecordBatch:
    names = frames.schema.names
    return pa.RecordBatch.from_arrays(
        [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in frames.columns], names
    )


def test_records_that_cannot_be_used_disturb_nothing(line: Line) -> None:
    made = [sample_batch(0, number) for number in range(12)]
    frames = [as_frames(batch) for batch, _ in made]
    good = [(encode(each), ARROW_HEADERS) for each in frames]
    other_producers = [
        (encode(frames[8].append_column("offset", pa.array([0]))), ARROW_HEADERS),
        (encode(plain(frames[9])), ARROW_HEADERS),
        (PACKET, [("link", b"probe")]),
    ]
    refused = [
        (b"\x00 no Arrow", ARROW_HEADERS),
        (good[0][0][:200], ARROW_HEADERS),
        (encode(made[0][0]), ARROW_HEADERS),              # samples, not frames
        (None, ARROW_HEADERS),
        (None, []),
    ]
    unknown = [(PACKET, [("link", b"nobody")]), (PACKET, [("link", None)]), (PACKET, [])]
    bad = (encode(poison()), ARROW_HEADERS)
    records = [*good[:5], bad, *good[5:8], *refused, *other_producers, *unknown, *good[10:]]
    line.send(*records)

    line.wait_until_it_fails()
    (aside,) = line.read(line.topics.quarantine)
    assert aside.key.decode() == f"{line.topics.frames_rack}/5"
    assert aside.value == bad[0]
    error = dict(aside.headers)["error"].decode()
    assert error.startswith("Traceback")
    assert "AssertionError: the mistake of this test" in error

    line.start()
    wait_for("the next owner is done", line.is_at_the_end, 60, line.log)
    truth = pd.concat([sent for _, sent in made]).groupby(["entity", "metric", "bucket"])["value"].agg(cnt="size", vsum="sum")
    wait_for("the last windows", partial(has_windows, line, len(truth) + 1), 60, line.log)
    assert line.workers[-1].poll() is None
    assert len(line.read(line.topics.quarantine)) == 1

    newest = newest_windows(line)
    packets = newest[newest["metric"] == "packets_rx"]
    assert packets["vsum"].tolist() == [1]
    assert packets["entity"].iloc[0].startswith("probe")
    found = newest[newest["metric"].isin(["temp_c", "power_w"])].set_index(["entity", "metric", "bucket"]).sort_index()
    assert found.index.equals(truth.sort_index().index)
    assert (found["cnt"] == truth.sort_index()["cnt"]).all()
    np.testing.assert_allclose(found["vsum"], truth.sort_index()["vsum"], rtol=1e-12)

    rejects = line.rows(line.topics.rejects)
    assert [row["reason"] for row in rejects] == ["bad_batch"] * len(refused) + ["unknown_link"] * len(unknown)
    assert [row["size_bytes"] for row in rejects[: len(refused)]] == [len(value or b"") for value, _ in refused]
    for row, offset in zip(rejects, range(9, 9 + len(refused)), strict=False):
        assert f"offset {offset}:" in row["detail"]
    assert sum(decode(record.value).num_rows for record in line.read(line.topics.samples)) == sum(len(sent) for _, sent in made)


def newest_windows(line: Line) -> pd.DataFrame:
    batches = [decode(record.value).to_pandas() for record in line.read(line.topics.windows)]
    if not batches:
        return pd.DataFrame(columns=["entity", "metric", "bucket"])
    windows = pd.concat(batches).astype({"entity": str, "metric": str, "bucket": "int64"}).sort_values("rev", kind="stable")
    return windows.drop_duplicates(["entity", "metric", "bucket"], keep="last")


def has_windows(line: Line, number: int) -> bool:
    windows = newest_windows(line)
    return len(windows[windows["metric"].isin(["temp_c", "power_w", "packets_rx"])]) >= number


def test_two_failures_in_a_row_are_not_put_aside(line: Line) -> None:
    good, bad = (encode(as_frames(sample_batch(0, 0)[0])), ARROW_HEADERS), (encode(poison()), ARROW_HEADERS)
    line.send(good, bad, bad, good)
    for _ in range(3):
        line.wait_until_it_fails()
    (aside,) = line.read(line.topics.quarantine)
    assert aside.key.decode().endswith("/1")
    assert "two records in a row failed; stopping" in line.log.read_text()
    ((committed, last),) = asyncio.run(
        committed_offsets(line.config.kafka, f"{line.config.kafka.prefix}worker", line.topics.frames_rack)
    )
    assert committed < 3 < last                             # neither the second nor what follows it is lost


def test_definition_that_cannot_be_used_puts_nothing_aside(line: Line, tmp_path: Path) -> None:
    (tmp_path / "broken.xml").write_text("<SpaceSystem")
    line.send((PACKET, [("link", b"probe")]))
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli", "worker"], env=line.env | {"ORBITRACK__LINK__0__DEFINITION": "broken.xml"},
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    assert "broken.xml:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not line.read(line.topics.quarantine)
