"""The worker role: frames from Kafka through a `Pipeline` for each partition, one transaction a checkpoint.

Faust gives the consumer group; the rest is streams/partition.py. Started as

    orbitrack worker

any number of times; Kafka spreads the partitions. Any exception ends the process before anything is acknowledged; the
record that caused it goes to the topic `quarantine` first, and the next owner passes over it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from aiokafka.errors import ProducerFenced

from streams.clock import wall_clock_ns
from streams.decode import dictionary, open_decoder
from streams.folders import make_folder
from streams.ipc import BatchError, read_batch
from streams.kafka import Producer, Topics, is_arrow, log_start, next_offset, stamp_of, wait_for_topics
from streams.model import FRAMES
from streams.partition import SourcePartition
from streams.shell import EXIT_FAILED, die_on_failure, make_app, run_app
from streams.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Mapping

    import faust

    from streams.config import Config
    from streams.pipeline import Output

__all__ = ["create_app", "run"]

log = logging.getLogger(__name__)

CHECKPOINT_S = 1.0
TICK_S = 0.05


class Worker:
    """The partitions that this process owns."""

    def __init__(self, config: Config, app: faust.App) -> None:
        self.config, self.app = config, app
        self.telemetry = Telemetry("worker")
        self.counts = WorkerCounts(self.telemetry)
        self.partitions: dict[tuple[str, int], SourcePartition] = {}
        self.mine: set[tuple[str, int]] = set()
        self.recovered = asyncio.Event()                # some partition was recovered, or the assignment changed

    async def revoked(self, app: Any, revoked: Any, **_: Any) -> None:
        self.mine.clear()
        for partition in list(self.partitions.values()):
            try:
                await partition.finish_commit()
            except ProducerFenced:
                log.info("%r: another worker has taken over", partition)

    async def assigned(self, app: Any, assigned: Any, **_: Any) -> None:
        """Keeps what stays, closes what went, recovers what came. A partition that stays is safe to keep: had anybody
        else owned it in between, our producer would be fenced and the next commit would end this process."""
        wanted = {(place.topic, place.partition) for place in assigned if place.topic in self.sources}
        gone = [self.partitions.pop(place) for place in set(self.partitions) - wanted]
        await asyncio.gather(*(partition.close() for partition in gone))
        self.mine = wanted
        self.counts.lag.clear()                         # of partitions that went nobody here knows the lag any more
        self.recovered.set()
        await asyncio.gather(*(self.recover(place) for place in wanted - set(self.partitions)))

    async def recover(self, place: tuple[str, int]) -> None:
        partition = SourcePartition(self.config, *place, self.app.conf.id, wall_clock_ns, self.counts)
        await partition.recover()
        if place in self.mine:
            self.partitions[place] = partition
            self.recovered.set()
        else:
            await partition.close()

    @property
    def sources(self) -> tuple[str, str]:
        topics = Topics(self.config.kafka.prefix)
        return topics.frames_rack, topics.frames_satellite

    async def take(self, message: Any) -> None:
        """One record of a frames topic."""
        place = (message.topic, message.partition)
        while place in self.mine and place not in self.partitions:
            await self.recovered.wait()                 # Faust delivers before recovery has ended
            self.recovered.clear()
        partition = self.partitions.get(place)
        if partition is None or place not in self.mine or message.offset <= partition.applied:
            return
        if not partition.follows(message.offset):
            is_next = await self.is_real_gap(partition, message)
            if not is_next or place not in self.mine or self.partitions.get(place) is not partition:
                return                                  # meanwhile it may have been taken away
        try:
            partition.apply(message.offset, frames_of(message), message.value or b"", stamp_of(message.headers))
        except (MemoryError, OSError, ImportError):
            raise                         # the machine's or the installation's fault: the record is not to blame
        except Exception:                 # ours: the record is put aside, and the process ends
            await self.quarantine(partition, message, traceback.format_exc())
            raise
        if partition.pipeline.is_full:
            await partition.checkpoint()

    async def is_real_gap(self, partition: SourcePartition, message: Any) -> bool:
        """Nothing that can be read is between what was applied and this record.

        Otherwise this one was buffered before a rebalance, and they all come again. Retention may have deleted what was between
        (then the loss is said), or there were only the marks of transactions, and what those gave up.
        """
        start = await log_start(self.config.kafka, message.topic, message.partition)
        if start > partition.applied + 1:
            lost = start - partition.applied - 1
            log.error("%r: %d records were deleted by retention before they were read", partition, lost)
            self.counts.lost.inc(lost)
            partition.skip_to(start)
            return partition.follows(message.offset)
        if await next_offset(self.config.kafka, message.topic, message.partition, partition.applied + 1) == message.offset:
            partition.skip_to(message.offset)
            return True
        partition.await_next(message.offset, asyncio.get_running_loop().time())
        return False

    async def quarantine(self, partition: SourcePartition, message: Any, error: str) -> None:
        """Puts a record that we cannot process aside. Not when the one before it went the same way: then we are broken."""
        if message.offset - 1 in partition.quarantined:
            log.critical("%r: two records in a row failed; stopping", partition)
            return
        async with Producer(self.config.kafka) as producer:
            await producer.put_aside(
                Topics(self.config.kafka.prefix).quarantine, message.partition, f"{message.topic}/{message.offset}",
                message.value or b"", error,
            )
        self.counts.quarantined.inc()

    async def tick(self) -> None:
        """Checkpoints what is due; a failed commit ends the process."""
        while True:
            await asyncio.sleep(TICK_S)
            self.telemetry.heartbeat("loop", within_s=60)
            for place, partition in list(self.partitions.items()):
                if place in self.mine and partition.age_s >= CHECKPOINT_S:
                    await partition.checkpoint()
                if partition.commit is not None and partition.commit.done():
                    await partition.finish_commit()
            self.counts.watermark(self.partitions.values(), wall_clock_ns())
            self.counts.follow(self.app, self.partitions)


class WorkerCounts:
    """The worker's own metrics."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.frames = telemetry.counter("frames_total", "Frames taken from Kafka and applied.", ["topic"])
        self.repeats = telemetry.counter("frames_repeated_total", "Frames that a collector sent again, left out.", ["topic"])
        self.bytes = telemetry.counter("frame_bytes_total", "Bytes of Kafka values with frames.", ["topic"])
        self.rows = telemetry.counter("rows_total", "Rows sent on, by topic.", ["topic"])
        self.rejects = telemetry.counter("rejects_total", "Input that could not be used.", ["reason"])
        self.not_finite = telemetry.counter("not_finite_samples_total", "Samples of NaN or infinity: stored, in no window.")
        self.events = telemetry.counter("decoder_events_total", "What decoders skipped or forgot without a row.", ["event"])
        self.lost = telemetry.counter("lost_records_total", "Records that retention deleted before they were read.")
        self.quarantined = telemetry.counter("quarantined_total", "Records put aside because processing them failed.")
        self.seconds = telemetry.histogram(
            "checkpoint_seconds", "From the start of a transaction to its commit.", buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10)
        )
        self.age = telemetry.gauge("watermark_age_seconds", "How far the slowest source with an open window is behind.")
        self.lag = telemetry.gauge("lag_records", "Records in Kafka that were not applied yet.", ["topic", "partition"])

    def applied(self, topic: str, frames: int, size_bytes: int, not_finite: int) -> None:
        self.frames.labels(topic).inc(frames)
        self.bytes.labels(topic).inc(size_bytes)
        self.not_finite.inc(not_finite)

    def repeated(self, topic: str, frames: int) -> None:
        self.repeats.labels(topic).inc(frames)

    def sent(self, output: Output) -> None:
        for name, batches in vars(output).items():
            self.rows.labels(name).inc(sum(batch.num_rows for batch in batches))
        for batch in output.rejects:
            for each in batch["reason"].value_counts().to_pylist():
                self.rejects.labels(each["values"]).inc(each["counts"])

    def skipped(self, events: Mapping[str, int]) -> None:
        for event, count in events.items():
            self.events.labels(event).inc(count)

    def committed(self, seconds: float) -> None:
        self.seconds.observe(seconds)

    def watermark(self, partitions: Any, now_ns: int) -> None:
        lowest = [mark for each in partitions if (mark := each.pipeline.min_watermark_ns()) is not None]
        self.age.set(max((now_ns - min(lowest)) / 1e9, 0) if lowest else 0)

    def follow(self, app: faust.App, partitions: dict[tuple[str, int], SourcePartition]) -> None:
        for (topic, number), partition in partitions.items():
            highwater = app.consumer.highwater(topic_partition(topic, number))
            if highwater is not None:
                self.lag.labels(topic, number).set(max(highwater - partition.applied - 1, 0))


def topic_partition(topic: str, number: int) -> Any:
    from faust.types import TP

    return TP(topic, number)


def frames_of(message: Any) -> pa.RecordBatch | None:
    """The FRAMES batch in a record; a raw frame of somebody else's producer becomes a batch of one. None: neither."""
    if is_arrow(message.headers):
        try:
            return read_batch(message.value, FRAMES)
        except BatchError as error:
            log.warning("%s[%d] offset %d: %s", message.topic, message.partition, message.offset, error)
            return None
    if message.value is None:
        return None
    link = (dict(message.headers or ()).get("link") or b"").decode("utf-8", "replace")
    return pa.RecordBatch.from_arrays(
        [
            # Kafka has milliseconds, Faust makes seconds of them.
            pa.array([round(message.timestamp * 1e3) * 1_000_000], pa.int64()), dictionary(link, 1), dictionary(link, 1),
            dictionary("", 1), pa.array([message.value], pa.binary()),
        ],
        schema=FRAMES,
    )


def create_app(config: Config) -> faust.App:
    """The Faust app of the worker role, ready to run."""
    app = make_app(config, "worker", stream_buffer_maxsize=64)
    worker = Worker(config, app)
    app.on_partitions_revoked.connect(die_on_failure(worker.revoked))
    app.on_partitions_assigned.connect(die_on_failure(worker.assigned))

    @app.agent(app.topic(*worker.sources, key_type=bytes, value_type=bytes))
    @die_on_failure
    async def apply_frames(stream: Any) -> None:
        async for event in stream.noack().events():
            await worker.take(event.message)

    @app.task
    @die_on_failure
    async def checkpoint_partitions() -> None:
        await worker.telemetry.start(config.metrics.listen["worker"])
        worker.telemetry.dependency("kafka").up()
        await worker.tick()

    return app


def run(config: Config, log_level: str = "WARNING") -> None:
    """Waits for Kafka, then works until SIGTERM. Does not return. DefinitionError for a link that cannot be decoded."""

    for link in config.links:
        open_decoder(link)                                 # mistakes are told before anything is waited for
    make_folder(config.data_dir)
    asyncio.run(wait_for_topics(config.kafka))
    run_app(create_app(config), log_level)
    os._exit(EXIT_FAILED)
