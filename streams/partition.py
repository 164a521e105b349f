"""One source partition in a worker: recover, apply, checkpoint; exactly once.

Everything that leaves a partition, what it must remember and how far it has read go into one Kafka transaction:
samples, flows, windows, rejects and late samples; one delta and one shard of the state; the source offset.

    partition = SourcePartition(config, topic, number, group, clock, count)
    await partition.recover()            # fences the former owner, reads the state
    if partition.follows(offset): partition.apply(offset, frames)
    await partition.checkpoint()         # returns when the commit is under way; the next call waits for it
    await partition.close()

Faust is not known here: streams/worker.py hands records in and decides when to checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import ProducerFenced

from streams.checkpoint import SHARDS, Checkpoint, checkpoint_records, recover
from streams.ipc import encode
from streams.kafka import ARROW_HEADERS, Topics, read_partition, transactional_producer
from streams.pipeline import Output, Pipeline, combine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from streams.clock import Clock
    from streams.config import Config
    from streams.repeats import Stamp

__all__ = ["Counts", "SourcePartition"]

log = logging.getLogger(__name__)

# 20,000 rows of samples are about 250 KB compressed, of windows with sketches 900 KB: below what one record may hold.
ROWS_PER_RECORD = {"samples": 20_000, "flows": 10_000, "windows": 5_000, "rejects": 10_000, "late": 20_000}
CLOSE_TIMEOUT_S = 5
# Records that were buffered before a rebalance come again at once; if the next one does not come, it is lost.
GAP_TIMEOUT_S = 30


class Counts(Protocol):
    """What a partition tells about itself."""

    def applied(self, topic: str, frames: int, size_bytes: int, not_finite: int) -> None: ...
    def repeated(self, topic: str, frames: int) -> None: ...
    def sent(self, output: Output) -> None: ...
    def skipped(self, events: Mapping[str, int]) -> None: ...
    def committed(self, seconds: float) -> None: ...


class SourcePartition:
    def __init__(self, config: Config, topic: str, number: int, group: str, clock: Clock, counts: Counts) -> None:
        self.config, self.topic, self.number, self.group = config, topic, number, group
        self.clock, self.counts = clock, counts
        self.topics = Topics(config.kafka.prefix)
        self.pipeline = Pipeline(config)
        self.producer = transactional_producer(config.kafka, f"{group}-{topic}-{number}")
        self.applied = -1                     # offset of the last source record in the pipeline
        self.sequence = 0
        self.quarantined: set[int] = set()
        self.commit: asyncio.Task[None] | None = None
        self.checkpointed_at = time.monotonic()
        self.gap_since_s: float | None = None

    def __repr__(self) -> str:
        return f"{self.topic}[{self.number}]"

    async def recover(self) -> None:
        """Ends the former owner's transaction, then reads state up to the end of what was committed."""
        await self.producer.start()
        kafka = self.config.kafka
        records = [(each.key, each.value) async for each in read_partition(kafka, self.topics.state, self.number)]
        now_ns = self.clock()
        for saved in recover(self.topic, records):
            self.pipeline.load(saved.state, now_ns)
            if saved.is_delta:
                self.sequence, self.applied = saved.sequence, saved.applied
        async for each in read_partition(kafka, self.topics.quarantine, self.number):
            topic, _, offset = each.key.decode().rpartition("/")
            if topic == self.topic and int(offset) > self.applied:
                self.quarantined.add(int(offset))
        self.checkpointed_at = time.monotonic()
        log.info("%r: recovered checkpoint %d, source offset %d", self, self.sequence, self.applied)

    def follows(self, offset: int) -> bool:
        """Whether a record is the next one. Others were applied before, or were buffered before a rebalance."""
        return offset == self.applied + 1

    def apply(self, offset: int, frames: pa.RecordBatch | None, value: bytes, stamp: Stamp | None = None) -> None:
        """Takes the next record in. `frames`: what `value` holds; None where that is no batch of FRAMES."""
        assert self.follows(offset), (self, self.applied, offset)
        if frames is None:
            self.pipeline.refuse(f"{self!r} offset {offset}: not a batch of FRAMES", len(value), self.clock())
        elif offset not in self.quarantined:
            not_finite = self.pipeline.not_finite
            if self.pipeline.feed(frames, self.clock(), stamp):
                not_finite = self.pipeline.not_finite - not_finite
                self.counts.applied(self.topic, frames.num_rows, len(value), not_finite)
            else:
                log.warning("%r: offset %d repeats the batch %s and is left out", self, offset, stamp)
                self.counts.repeated(self.topic, frames.num_rows)
        self.applied = offset
        self.gap_since_s = None

    def skip_to(self, offset: int) -> None:
        """Goes on at `offset`: the records between are gone from the log (retention)."""
        self.applied = offset - 1

    def await_next(self, offset: int, now_s: float) -> None:
        """A record came before the next one did. AssertionError when nothing else has come for GAP_TIMEOUT_S of `now_s`."""
        self.gap_since_s = now_s if self.gap_since_s is None else self.gap_since_s
        assert now_s - self.gap_since_s < GAP_TIMEOUT_S, (
            f"{self!r}: state ends at source offset {self.applied}, but records come from {offset} on"
        )

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.checkpointed_at

    async def checkpoint(self) -> None:
        """Starts one transaction with everything since the last; at most one is under way."""
        while self.commit is not None:
            await self.finish_commit()
        self.checkpointed_at = time.monotonic()
        was_fed = self.pipeline.fed > 0
        output = self.pipeline.close(self.clock(), max(self.applied, 0))
        self.counts.skipped(self.pipeline.new_events())
        if not was_fed and not output.rows():
            return
        self.sequence += 1
        checkpoint = Checkpoint(
            self.sequence, self.applied, self.pipeline.delta(), self.pipeline.snapshot(self.sequence % SHARDS, SHARDS)
        )
        self.commit = asyncio.ensure_future(self.transact(output, checkpoint))

    async def finish_commit(self) -> None:
        """Waits for the commit under way; raises what it raised."""
        commit = self.commit
        if commit is not None:
            try:
                await commit
            finally:
                if self.commit is commit:
                    self.commit = None

    async def transact(self, output: Output, checkpoint: Checkpoint) -> None:
        started = time.monotonic()
        async with self.producer.transaction():
            for name, rows in ROWS_PER_RECORD.items():
                for batch in combine(getattr(output, name), rows):
                    topic = getattr(self.topics, name)
                    await self.producer.send(topic, encode(batch), partition=self.number, headers=ARROW_HEADERS)
            for key, value in checkpoint_records(self.topic, checkpoint):
                await self.producer.send(self.topics.state, value, key=key, partition=self.number)
            place = TopicPartition(self.topic, self.number)
            await self.producer.send_offsets_to_transaction({place: checkpoint.applied + 1}, self.group)
        self.counts.sent(output)
        self.counts.committed(time.monotonic() - started)

    async def close(self) -> None:
        """Lets the commit under way end and leaves. What was not checkpointed is the next owner's to do again."""
        try:
            await asyncio.wait_for(self.finish_commit(), CLOSE_TIMEOUT_S)
        except ProducerFenced:
            log.info("%r: another worker has taken over", self)
        except TimeoutError:
            log.warning("%r: the last commit did not end within %d s", self, CLOSE_TIMEOUT_S)
        try:
            await asyncio.wait_for(self.producer.stop(), CLOSE_TIMEOUT_S)
        except (ProducerFenced, TimeoutError) as error:
            log.info("%r: the producer did not stop cleanly: %r", self, error)
