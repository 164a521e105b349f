"""The store role: what the workers made goes into ClickHouse, each row once.

    orbitrack store

`Store` is the role without Kafka: it takes records and says, by topic and partition, up to where everything is stored.
The offset is committed after ClickHouse's answer, for windows after their roll-ups, so a kill at any point means only that
some records come again; their rows are then the same rows (streams/clickhouse/sink.py). A record that is no batch of its
topic's schema goes to `dead_letters`.

While ClickHouse is away records wait in memory up to BUFFER_BYTES_MAX, then in Kafka: `take` does not return, and the
consumer stops fetching.
"""

from __future__ import annotations

import asyncio
import logging
import os
from base64 import b64encode
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streams.clickhouse.client import Watch
from streams.clickhouse.native import TABLES
from streams.clickhouse.rollup import Rollup
from streams.clickhouse.sink import DeadLetter, Held, Place, Sink
from streams.clock import Clock, wall_clock_ns
from streams.database import load_reference_rows, open_client, wait_for_database
from streams.errors import DependencyError
from streams.folders import make_folder
from streams.ipc import BatchError, read_batch
from streams.kafka import Topics, wait_for_topics
from streams.reference import read_reference
from streams.telemetry import Telemetry

if TYPE_CHECKING:
    import faust

    from streams.config import Config

__all__ = ["Offsets", "Store", "create_app", "run"]

log = logging.getLogger(__name__)

# Eight inserts: the one under way, its successor, and room for bursts.
BUFFER_BYTES_MAX = 64 << 20
TICK_S = 0.05
WATCH_S = 5
# What a dead letter takes besides its payload.
LETTER_BYTES = 1000
RETRY_DELAYS_S = (0.2, 0.5, 1, 2, 5, 10)
# What a rebalance may wait for; what is not done by then comes again at the next owner.
LAST_FLUSH_S = 5

# (topic, partition) -> the offset after the last one that is stored, as Kafka wants it committed.
Offsets = dict[tuple[str, int], int]


@dataclass
class Waiting:
    """What a table's next insert will have settled, besides its rows."""

    offsets: Offsets = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    letter_bytes: int = 0

    def bury(self, letter: DeadLetter) -> None:
        self.letters.append(letter)
        self.letter_bytes += LETTER_BYTES + len(letter.payload)

    def before(self, newer: Waiting) -> Waiting:
        """Both, with this one's letters first and the newer offsets."""
        both = self.letters + newer.letters
        return Waiting(self.offsets | newer.offsets, both, self.letter_bytes + newer.letter_bytes)


class Store:
    """Records in, offsets out. One event loop; inserts and roll-ups run in threads, one of each at a time."""

    def __init__(self, config: Config, clock: Clock = wall_clock_ns, telemetry: Telemetry | None = None) -> None:
        self.clock = clock
        topics = Topics(config.kafka.prefix)
        self.tables = {
            topics.samples: "samples", topics.flows: "flows", topics.windows: "windows_10s", topics.rejects: "rejects",
            topics.alerts: "alert_events",
        }
        self.sink = Sink(lambda: open_client(config.database))
        self.rollup = Rollup(lambda: open_client(config.database))
        self.watch = Watch(lambda: open_client(config.database))
        self.counts = StoreCounts(telemetry or Telemetry("store"))
        self.waiting: dict[str, Waiting] = defaultdict(Waiting)
        self.inserting_bytes = 0
        self.unrolled: Offsets = {}                    # windows are stored up to here, their roll-ups are not done
        self.settled: Offsets = {}
        self.room = asyncio.Event()
        self.insert_lock, self.rollup_lock = asyncio.Lock(), asyncio.Lock()

    @property
    def is_full(self) -> bool:
        letter_bytes = sum(each.letter_bytes for each in self.waiting.values())
        return self.sink.size_bytes + letter_bytes + self.inserting_bytes >= BUFFER_BYTES_MAX

    async def take(self, topic: str, partition: int, offset: int, value: bytes | None) -> None:
        """One record. Waits while the buffers are full."""
        while self.is_full:
            self.room.clear()
            await self.room.wait()
        table, place = self.tables[topic], Place(topic, partition, offset)
        waiting = self.waiting[table]
        try:
            batch = read_batch(value, TABLES[table].schema)
        except BatchError as error:
            log.error("%s is no batch for table '%s': %s", place, table, error)
            self.counts.refused.labels(table, "decode").inc()
            waiting.bury(DeadLetter("decode", table, place, 0, 0, str(error), b64encode(value or b"").decode()))
        else:
            self.sink.put(table, batch, place, self.clock())
        waiting.offsets[topic, partition] = offset + 1

    def committable(self) -> Offsets:
        """What became safe to commit since the last call."""
        settled, self.settled = self.settled, {}
        return settled

    async def flush(self) -> Offsets:
        """Stores everything that was taken and brings the roll-ups up to date; returns what may be committed.

        Waits for ClickHouse as long as it takes; limit it with a timeout.
        """
        while due := self.due(everything=True):
            for table in due:
                await self.insert(table)
        await self.roll_up()
        return self.committable()

    def due(self, everything: bool = False) -> list[str]:
        due = self.sink.due(self.clock(), everything)
        return due + [table for table, each in self.waiting.items() if each.letters and table not in due]

    async def insert(self, table: str) -> None:
        """Inserts what waits for a table, again and again until it is stored."""
        async with self.insert_lock:
            held, waiting = self.sink.drain(table), self.waiting.pop(table, Waiting())
            self.inserting_bytes = waiting.letter_bytes + sum(each.batch.nbytes for each in held)
            try:
                await self.insist(f"insert into '{table}'", lambda: self.store(table, held, waiting.letters))
            except BaseException:
                self.sink.put_back(table, held, self.clock())
                self.waiting[table] = waiting.before(self.waiting[table])
                raise
            finally:
                self.inserting_bytes = 0
                self.room.set()
        if table == "windows_10s":
            for each in held:
                self.rollup.mark(each.batch, self.clock())
            self.unrolled |= waiting.offsets
        else:
            self.settled |= waiting.offsets

    def store(self, table: str, held: list[Held], letters: list[DeadLetter]) -> None:
        """Runs in a thread. Repeatable: rows and letters have identities."""
        started = self.clock()
        self.sink.bury(letters)
        if held:
            outcome = self.sink.insert(table, held)
            self.counts.inserted(table, outcome.rows, outcome.size_bytes, len(outcome.refused), (self.clock() - started) / 1e9)

    async def roll_up(self) -> None:
        """Recomputes what the windows inserted so far have changed; their offsets are then settled."""
        async with self.rollup_lock:
            offsets, self.unrolled = self.unrolled, {}
            minutes = self.rollup.take()
            started = self.clock()
            try:
                if minutes:
                    await self.insist("roll-up", lambda: self.rollup.recompute(minutes))
            except BaseException:
                self.rollup.mark_minutes(minutes, self.clock())
                self.unrolled = offsets | self.unrolled
                raise
            took = self.clock() - started
            self.rollup.rest(self.clock(), took)
            self.counts.rollup_seconds.observe(took / 1e9)
            self.settled |= offsets

    async def insist(self, what: str, call: Any) -> None:
        """Runs a blocking call in a thread until ClickHouse has taken it. An error that waiting cannot mend is raised."""
        tries = 0
        while True:
            try:
                await asyncio.to_thread(call)
            except DependencyError as error:
                if not error.retryable:
                    raise
                delay = RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)]
                tries += 1
                self.counts.failed(what, f"{what}, try {tries}: {error}")
                log.warning("%s (try %d, next in %.1f s)", error, tries, delay)
                await asyncio.sleep(delay)
            else:
                self.counts.database.up()
                return

    async def run(self) -> None:
        """Inserts and rolls up when due, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.insert_when_due())
            tasks.create_task(self.roll_up_when_due())
            tasks.create_task(self.watch_database())

    async def insert_when_due(self) -> None:
        while True:
            for table in self.due():
                await self.insert(table)
            self.counts.buffered.set(self.sink.size_bytes)
            await asyncio.sleep(TICK_S)

    async def roll_up_when_due(self) -> None:
        while True:
            if self.rollup.due(self.clock()) or (self.unrolled and not self.rollup.minutes):
                await self.roll_up()
            await asyncio.sleep(TICK_S)

    async def watch_database(self) -> None:
        """Says whether the database is there, also when there is nothing to insert."""
        while True:
            try:
                await asyncio.to_thread(self.watch.look)
            except DependencyError as error:
                self.counts.database.down(str(error))
            else:
                self.counts.database.up()
            await asyncio.sleep(WATCH_S)

    def close(self) -> None:
        self.sink.close()
        self.rollup.close()
        self.watch.close()


class StoreCounts:
    """The store's own metrics."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.rows = telemetry.counter("inserted_rows_total", "Rows that ClickHouse confirmed, repeated ones again.", ["table"])
        self.bytes = telemetry.counter("inserted_bytes_total", "Bytes of Native blocks that ClickHouse confirmed.", ["table"])
        self.inserts = telemetry.counter("inserts_total", "Inserts that ClickHouse confirmed.", ["table"])
        self.refused = telemetry.counter("dead_letters_total", "Rows and records refused for good.", ["table", "stage"])
        self.retries = telemetry.counter("database_retries_total", "Requests without an answer, or refused for now.", ["what"])
        self.buffered = telemetry.gauge("buffered_bytes", "Rows that wait for their insert.")
        self.insert_seconds = telemetry.histogram(
            "insert_seconds", "From the request to the answer.", buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
        )
        self.rollup_seconds = telemetry.histogram(
            "rollup_seconds", "One pass over all levels.", buckets=(0.03, 0.1, 0.3, 1, 3, 10, 30)
        )
        self.lag = telemetry.gauge("lag_records", "Records in Kafka that are not settled.", ["topic", "partition"])
        self.database = telemetry.dependency("database")

    def inserted(self, table: str, rows: int, size_bytes: int, refused: int, seconds: float) -> None:
        self.rows.labels(table).inc(rows)
        self.bytes.labels(table).inc(size_bytes)
        self.inserts.labels(table).inc()
        self.refused.labels(table, "insert").inc(refused)
        self.insert_seconds.observe(seconds)

    def failed(self, what: str, detail: str) -> None:
        self.retries.labels(what).inc()
        self.database.down(detail)


def create_app(config: Config) -> faust.App:
    """The Faust app of the store role, ready to run."""
    from faust.types import TP

    from streams.shell import die_on_failure, make_app

    telemetry = Telemetry("store")
    store = Store(config, telemetry=telemetry)
    # Batches, not rows: sixteen are some megabytes. An outage of the database is waited for inside `take`, for a day.
    app = make_app(config, "store", stream_buffer_maxsize=16, broker_max_poll_interval=86_400)

    async def commit(offsets: Offsets) -> None:
        if offsets:
            await app.consumer._commit({TP(*place): offset for place, offset in offsets.items()})
        mine = app.consumer.assignment()
        for place, offset in offsets.items():
            if TP(*place) in mine:
                # The last offset of a log written in transactions is a marker that nobody reads.
                end = app.consumer.highwater(TP(*place))
                store.counts.lag.labels(*place).set(max((end or offset) - offset - 1, 0))

    async def revoked(*_: Any, **__: Any) -> None:
        try:
            await commit(await asyncio.wait_for(store.flush(), LAST_FLUSH_S))
        except TimeoutError:
            log.warning("partitions are taken away before everything was stored; their next owner stores it")
        store.counts.lag.clear()                       # of partitions that go nobody here knows the lag any more

    app.on_partitions_revoked.connect(die_on_failure(revoked))

    @app.agent(app.topic(*store.tables, key_type=bytes, value_type=bytes))
    @die_on_failure
    async def store_records(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            await store.take(message.topic, message.partition, message.offset, message.value)

    @app.task
    @die_on_failure
    async def insert_and_roll_up() -> None:
        await telemetry.start(config.metrics.listen["store"])
        telemetry.dependency("kafka").up()
        await store.run()

    @app.task
    @die_on_failure
    async def commit_what_is_settled() -> None:
        while True:
            telemetry.heartbeat("loop", within_s=60)
            await asyncio.sleep(TICK_S)
            await commit(store.committable())

    return app


def run(config: Config, log_level: str = "WARNING") -> None:
    """Waits for Kafka and ClickHouse, brings the schema up to date, then stores until SIGTERM. Does not return."""
    from streams.shell import EXIT_FAILED, run_app

    make_folder(config.data_dir)
    # Mistakes in files are said before anything is waited for.
    tables = read_reference(config.reference.files)

    async def prepare() -> None:
        await wait_for_topics(config.kafka)
        await wait_for_database(config.database)
        await load_reference_rows(config.database, tables)

    asyncio.run(prepare())
    run_app(create_app(config), log_level)
    os._exit(EXIT_FAILED)
