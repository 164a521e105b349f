"""A source partition without a broker: what it tells of a record before the first checkpoint."""

from __future__ import annotations

import asyncio
import math
import struct
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest

from streams.clock import NS
from streams.config import Config, Link
from streams.decode import OWN_SAMPLES
from streams.ipc import encode
from streams.model import FRAMES, SAMPLES
from streams.partition import SourcePartition
from streams.pipeline import Pipeline
from tests.netflow_messages import a_set, ipfix
from tests.racks import counter_sample, record, sample, sflow

NOW = 1_790_000_000 * NS


def own_sample(value: float) -> dict[str, Any]:
    names = {"entity": "racks", "metric": "temperature", "kind": "gauge", "source": "racks"}
    return names | {"time": NOW, "received": NOW, "value": value, "quality": 0}


def test_samples_that_are_not_finite_are_stored_and_told_but_in_no_window() -> None:
    samples = pa.RecordBatch.from_pylist([own_sample(1.0), own_sample(math.nan), own_sample(math.inf)], schema=SAMPLES)
    frame = {"received_ns": NOW, "source": "collector", "link": "racks", "codec": OWN_SAMPLES, "frame": encode(samples)}

    async def apply() -> tuple[Mock, Any]:
        counts = Mock()
        partition = SourcePartition(Config(), "frames.rack", 0, "test", lambda: NOW, counts)
        partition.apply(0, pa.RecordBatch.from_pylist([frame], schema=FRAMES), b"12345")
        return counts, partition.pipeline.close(1 << 62, 0)

    counts, output = asyncio.run(apply())
    counts.applied.assert_called_once_with("frames.rack", 1, 5, 2)
    assert sum(batch.num_rows for batch in output.samples) == 3
    assert [row["cnt"] for batch in output.windows for row in batch.to_pylist()] == [1]


def test_what_rack_decoders_skip_is_told_once() -> None:
    config = Config(link=[Link(name="racks", codec="rack"), Link(name="jpss1", codec="ccsds-packets")])
    unknown = sflow(counter_sample(record(4242, b"")), sample(4243, b""))
    withdrawal = ipfix(a_set(2, struct.pack(">HH", 256, 0)))
    rows = [
        {"received_ns": NOW, "source": "10.0.0.1", "link": link, "codec": codec, "frame": frame}
        for link, codec, frame in (("racks", "rack", unknown), ("racks", "rack", withdrawal), ("jpss1", "ccsds-packets", b"?"))
    ]
    pipeline = Pipeline(config)
    pipeline.feed(pa.RecordBatch.from_pylist(rows, schema=FRAMES), NOW)
    assert pipeline.new_events() == {"unknown_records": 1, "unknown_samples": 1, "withdrawals": 1}
    assert pipeline.new_events() == {}
    pipeline.feed(pa.RecordBatch.from_pylist(rows[:1], schema=FRAMES), NOW)
    assert pipeline.new_events() == {"unknown_records": 1, "unknown_samples": 1}


def test_a_gap_that_was_closed_does_not_count_for_the_next_one() -> None:
    """Every rebalance may leave records in buffers that do not follow; hours later the first one is long forgotten."""
    frames = pa.RecordBatch.from_pylist([], schema=FRAMES)

    async def live() -> None:
        partition = SourcePartition(Config(), "frames.rack", 0, "test", lambda: NOW, Mock())
        partition.await_next(7, now_s=100.0)
        partition.apply(0, frames, b"")
        partition.await_next(9, now_s=5000.0)
        partition.await_next(9, now_s=5029.9)
        with pytest.raises(AssertionError, match=r"rack\[0\]: state ends at source offset 0, but records come from 9 on"):
            partition.await_next(9, now_s=5030.0)

    asyncio.run(live())


def test_a_partition_that_nothing_came_to_writes_no_checkpoint() -> None:
    """Else every quiet partition would have a transaction each second."""

    async def live() -> tuple[Any, int]:
        partition = SourcePartition(Config(), "frames.rack", 0, "test", lambda: NOW, Mock())
        await partition.checkpoint()
        return partition.commit, partition.sequence

    assert asyncio.run(live()) == (None, 0)
