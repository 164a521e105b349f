"""Batches from Kafka into tables, each row once whatever happens.

    sink = Sink(lambda: connect(dsn))
    sink.put("samples", batch, Place("samples", partition, offset), now_ns)
    for table in sink.due(now_ns):                   # 100 k rows, 8 MB or 1 s
        held = sink.drain(table)
        outcome = sink.insert(table, held)           # blocks; DependencyError: nothing is lost, insert `held` again

`put`, `due` and `drain` belong to one thread and never wait; `insert` may run in another, one at a time. An insert that was
answered, or not, may be repeated: rows carry their place in Kafka and the request a token. A row that ClickHouse refuses
for what is in it is found by halving and goes to `dead_letters`; everything around it is stored.

It does not know about Kafka's offsets, nor how long to wait before trying again.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streams.clickhouse.client import ClickHouseError, Fault, Refusal, classify, quoted
from streams.clickhouse.native import TABLES, Piece
from streams.clock import NS
from streams.errors import DependencyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from clickhouse_connect.driver.client import Client

__all__ = ["DeadLetter", "Held", "Outcome", "Place", "Sink"]

# Three times as many would cost 12 % less each, and take three times the memory: benchmarks/bench_store.py.
FLUSH_ROWS = 100_000
FLUSH_BYTES = 8 << 20
FLUSH_NS = NS

# A table that refuses more rows than this of one insert has a fault of its own; filling dead_letters would only hide it.
REFUSED_ROWS_MAX = 100

PAYLOAD_BYTES_MAX = 1 << 20

SETTINGS = {
    # Old captures span many days, and each day is a partition; it is bounded by what fits into one flush.
    "max_partitions_per_insert_block": 0,
    # The answer is what we commit on: neither a buffer nor, on a cluster, the initiator's queue may stand behind it.
    "async_insert": 0,
    "distributed_foreground_insert": 1,
    # No merge of the block with itself: rows of one insert differ in their place. 0.69 -> 0.29 CPU-s per million samples.
    "optimize_on_insert": 0,
}


@dataclass(frozen=True)
class Place:
    """Where in Kafka a record lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True)
class Held:
    """Rows of one record that wait for their insert. `first`: position of the batch's first row in the record."""

    place: Place
    batch: pa.RecordBatch
    first: int = 0

    @property
    def token(self) -> str:
        return f"{self.place}:{self.first}+{self.batch.num_rows}"


@dataclass(frozen=True)
class DeadLetter:
    """What was refused for good."""

    stage: str
    target: str
    place: Place
    position: int
    code: int
    error: str
    payload: str


@dataclass
class Outcome:
    """What became of one insert."""

    rows: int = 0
    size_bytes: int = 0
    refused: list[DeadLetter] = field(default_factory=list)


@dataclass
class Buffer:
    held: list[Held] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    since_ns: int = 0


class Sink:
    """Collects batches by table and inserts them. `connect` opens a client; it is called when one is first needed."""

    def __init__(
        self, connect: Callable[[], Client], *, flush_rows: int = FLUSH_ROWS, flush_bytes: int = FLUSH_BYTES,
        flush_ns: int = FLUSH_NS,
    ) -> None:
        self.connect, self.flush_rows, self.flush_bytes, self.flush_ns = connect, flush_rows, flush_bytes, flush_ns
        self.buffers = {name: Buffer() for name in TABLES}
        self.client: Client | None = None

    @property
    def size_bytes(self) -> int:
        """Arrow bytes that wait to be drained."""
        return sum(buffer.size_bytes for buffer in self.buffers.values())

    def put(self, table: str, batch: pa.RecordBatch, place: Place, now_ns: int) -> None:
        """Takes a batch of the table's schema over. TypeError where it has another one."""
        expected = TABLES[table].schema
        if not batch.schema.equals(expected):
            raise TypeError(f"rows for table '{table}' with the columns {', '.join(batch.schema.names)}")
        buffer = self.buffers[table]
        if not buffer.held:
            buffer.since_ns = now_ns
        buffer.held.append(Held(place, batch))
        buffer.rows += batch.num_rows
        buffer.size_bytes += batch.nbytes

    def due(self, now_ns: int, everything: bool = False) -> list[str]:
        """The tables whose rows should be inserted now, oldest first."""
        waiting = [(buffer.since_ns, name) for name, buffer in self.buffers.items() if buffer.held and (
            everything or buffer.rows >= self.flush_rows or buffer.size_bytes >= self.flush_bytes
            or now_ns - buffer.since_ns >= self.flush_ns
        )]
        return [name for _, name in sorted(waiting)]

    def drain(self, table: str) -> list[Held]:
        """What waits for a table, in the order it came; the caller now owns it."""
        held, self.buffers[table] = self.buffers[table].held, Buffer()
        return held

    def put_back(self, table: str, held: list[Held], now_ns: int) -> None:
        """Returns what was drained and not inserted, to the front."""
        buffer = self.buffers[table]
        buffer.held[:0] = held
        buffer.rows += sum(each.batch.num_rows for each in held)
        buffer.size_bytes += sum(each.batch.nbytes for each in held)
        buffer.since_ns = now_ns

    def insert(self, table: str, held: list[Held]) -> Outcome:
        """Stores `held`; rows refused for what is in them are stored as dead letters.

        DependencyError when ClickHouse is away or refuses the table: insert the same again, later.
        """
        outcome = Outcome()
        self.insert_or_halve(table, held, outcome)
        self.bury(outcome.refused)
        return outcome

    def insert_or_halve(self, table: str, held: list[Held], outcome: Outcome) -> None:
        body = TABLES[table].encode_all(
            [Piece(each.batch, each.place.partition, each.place.offset, each.first) for each in held]
        )
        refusal = self.send(table, body, token_of(held)) if body else None
        rows = sum(each.batch.num_rows for each in held)
        if refusal is None:
            outcome.rows += rows
            outcome.size_bytes += len(body)
        elif rows == 1:
            outcome.refused.append(dead_row(table, next(each for each in held if each.batch.num_rows), refusal))
            if len(outcome.refused) > REFUSED_ROWS_MAX:
                raise DependencyError(
                    f"table '{table}' refused more than {REFUSED_ROWS_MAX} rows of one insert: {refusal.text}", retryable=False,
                    hint="was the table changed by hand? `orbitrack migrate` compares it with the schema",
                )
        else:
            for half in halves(held):
                self.insert_or_halve(table, half, outcome)

    def send(self, table: str, body: bytes, token: str) -> Refusal | None:
        """None when the rows are stored, the refusal when a row is at fault, DependencyError otherwise."""
        try:
            if self.client is None:
                self.client = self.connect()
            self.client.raw_insert(
                # As a memoryview it is sent as it is; bytes would be copied behind the statement.
                quoted(table), column_names=TABLES[table].column_names, insert_block=memoryview(body), fmt="Native",
                settings={**SETTINGS, "insert_deduplication_token": token},
            )
        except (ClickHouseError, OSError) as error:
            refusal = classify(error)
            if refusal.fault is Fault.ROW:
                return refusal
            raise unavailable(f"insert into '{table}'", refusal) from error
        return None

    def bury(self, letters: list[DeadLetter]) -> None:
        """Stores dead letters. DependencyError as `insert`."""
        if not letters:
            return
        rows = [
            [
                each.stage, each.target, each.place.topic, each.place.partition, each.place.offset, each.position,
                each.code, each.error, each.payload[:PAYLOAD_BYTES_MAX],
            ]
            for each in letters
        ]
        names = ["stage", "target", "topic", "partition", "offset", "position", "code", "error", "payload"]
        try:
            if self.client is None:
                self.client = self.connect()
            self.client.insert("dead_letters", rows, column_names=names)
        except (ClickHouseError, OSError) as error:
            raise unavailable("insert into 'dead_letters'", classify(error)) from error

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


def unavailable(what: str, refusal: Refusal) -> DependencyError:
    hint = "tables or rights are not as they should be: run `orbitrack migrate`" if refusal.fault is Fault.TABLE else None
    return DependencyError(f"{what}: {refusal.text}", retryable=True, hint=hint)


def token_of(held: list[Held]) -> str:
    """Names exactly these rows, so that a repeated request is recognised."""
    if len(held) == 1:
        return held[0].token
    digest = hashlib.sha256("\n".join(each.token for each in held).encode()).hexdigest()[:16]
    return f"{held[0].place}..{held[-1].place}-{digest}"


def halves(held: list[Held]) -> tuple[list[Held], list[Held]]:
    if len(held) > 1:
        middle = len(held) // 2
        return held[:middle], held[middle:]
    (only,) = held
    middle = only.batch.num_rows // 2
    return (
        [Held(only.place, only.batch.slice(0, middle), only.first)],
        [Held(only.place, only.batch.slice(middle), only.first + middle)],
    )


def dead_row(table: str, held: Held, refusal: Refusal) -> DeadLetter:
    return DeadLetter("insert", table, held.place, held.first, refusal.code, refusal.text, row_as_json(held.batch))


def row_as_json(row: pa.RecordBatch) -> str:
    """One row for people to read: times as nanoseconds (seconds for windows), bytes in base64."""
    values: dict[str, Any] = {}
    for name, column in zip(row.schema.names, row.columns, strict=True):
        values[name] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()[0]
    return json.dumps(values, default=lambda value: b64encode(value).decode() if isinstance(value, bytes) else str(value))
