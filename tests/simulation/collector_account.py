"""What of the exporters' datagrams is in Kafka, and what the collector says it lost. For tests.simulation.collector_soak.

Records are handed in; time is theirs. Repeats by stamp are left out as the worker does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.collectors.losses import CODEC
from streams.ipc import decode
from streams.kafka import stamp_of
from streams.repeats import Repeats
from tests.simulation.exporters import LOOPBACK


@dataclass
class Account:
    """What is in Kafka."""

    exporters: int
    stored: int = 0
    repeated: int = 0
    disordered: int = 0
    batches: int = 0
    batch_bytes: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    close_latency_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = np.zeros(self.exporters, np.int64)
        self.repeats: dict[int, Repeats] = {}

    def take(self, record: Any) -> None:
        frames, stamp = decode(record.value), stamp_of(record.headers)
        assert stamp is not None, record.headers
        if not self.repeats.setdefault(record.partition, Repeats()).take(stamp):
            self.repeated += frames.num_rows
        elif frames["codec"][0].as_py() == CODEC:
            for frame in frames["frame"]:
                for sample in decode(frame.as_py()).to_pylist():
                    self.losses[sample["metric"]] += round(sample["value"])
        else:
            self.take_frames(frames, len(record.value))

    def take_windows(self, record: Any) -> None:
        """How long after the end of a window its first result was there."""
        windows = decode(record.value)
        closed_s = np.asarray(windows["bucket"].cast(pa.int64())) + 10
        late = record.timestamp / 1000 - closed_s[np.asarray(windows["metric"].cast(pa.utf8())) == "datagrams_received"]
        self.close_latency_s += late.tolist()

    def take_frames(self, frames: pa.RecordBatch, size_bytes: int) -> None:
        agents, sequences = (numbers_at(frames["frame"], offset) for offset in (8, 16))
        order = np.argsort(agents, kind="stable")
        agents, sequences = agents[order] - LOOPBACK, sequences[order]
        before = np.where(np.r_[True, agents[1:] != agents[:-1]], self.last[agents], np.r_[0, sequences[:-1]])
        self.disordered += int((sequences <= before).sum())
        self.last[agents] = sequences                   # of several, numpy keeps the last
        self.stored += frames.num_rows
        self.batches += 1
        self.batch_bytes += size_bytes


def numbers_at(frames: pa.BinaryArray, offset: int) -> npt.NDArray[np.int64]:
    """The 32-bit number at this place in every frame."""
    _, ends, data = frames.buffers()
    starts = np.frombuffer(ends, np.int32)[frames.offset : frames.offset + len(frames)].astype(np.int64) + offset
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    return (octets[starts] << 24) | (octets[starts + 1] << 16) | (octets[starts + 2] << 8) | octets[starts + 3]
