"""Record batches of streams/model.py as Native blocks of our tables.

    table = TABLES["samples"]
    client.raw_insert(table.name, insert_block=table.encode(batch, partition=0, offset=17), fmt="Native")
    block = table.encode_all([Piece(batch, 0, 17), Piece(other, 0, 18)])        # the rows of several records as one block

Rows leave in the order of the table's key.

The column types here are derived from the Arrow schemas; tests/test_model.py holds the tables of schemas/clickhouse to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from framecodec.native import BlockEncoder
from framecodec.order import RowOrder
from streams import model
from streams.clock import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TABLES", "Piece", "Table", "clickhouse_type"]

PLAIN = {
    pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64",
    pa.uint8(): "UInt8", pa.uint16(): "UInt16", pa.uint32(): "UInt32", pa.uint64(): "UInt64",
    pa.float32(): "Float32", pa.float64(): "Float64", pa.utf8(): "String", pa.binary(): "String",
    pa.timestamp("s", tz="UTC"): "DateTime('UTC')", pa.timestamp("ns", tz="UTC"): "DateTime64(9, 'UTC')",
    model.ADDRESS: "IPv6",
}


def clickhouse_type(kind: pa.DataType, nullable: bool = False) -> str:
    """The column type for an Arrow type. Arrays and maps have no null in ClickHouse: there it is empty."""
    if pa.types.is_dictionary(kind):
        inner = clickhouse_type(kind.value_type)
        return f"LowCardinality(Nullable({inner}))" if nullable else f"LowCardinality({inner})"
    if pa.types.is_map(kind):
        return f"Map({clickhouse_type(kind.key_type)}, {clickhouse_type(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"Array({clickhouse_type(kind.value_type)})"
    plain = PLAIN.get(kind)
    if plain is None and pa.types.is_fixed_size_binary(kind):
        plain = f"FixedString({kind.byte_width})"
    if plain is None:
        raise TypeError(f"no ClickHouse column type for Arrow type {kind}")
    return f"Nullable({plain})" if nullable else plain


@dataclass(frozen=True)
class Piece:
    """Rows of one Kafka record, the first of them at `first_position` in it."""

    batch: pa.RecordBatch
    partition: int = 0
    offset: int = 0
    first_position: int = 0


@dataclass(frozen=True)
class Table:
    """A table that is filled with batches of one schema. `identity` are its columns for a row's place in Kafka.

    `key`: what its sorting key begins with, as framecodec.order.RowOrder takes it; empty: rows are sent as they come.
    """

    name: str
    schema: pa.Schema
    identity: tuple[str, str, str] | None = None
    key: tuple[tuple[tuple[str, ...], int | None], ...] = ()

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(name, ClickHouse type) without the identity."""
        return [(field.name, clickhouse_type(field.type, field.nullable)) for field in self.schema]

    @cached_property
    def column_names(self) -> list[str]:
        return [*self.schema.names, *(self.identity or ())]

    @cached_property
    def encoder(self) -> BlockEncoder:
        order = RowOrder(self.schema.names, self.key) if self.key else None
        return BlockEncoder(self.columns, self.identity, order)

    def encode(self, batch: pa.RecordBatch, partition: int = 0, offset: int = 0, first_position: int = 0) -> bytes:
        """One Native block; b"" for no rows. TypeError or ValueError where the batch is not of this schema."""
        return self.encode_all([Piece(batch, partition, offset, first_position)])

    def encode_all(self, pieces: Sequence[Piece]) -> bytes:
        """One Native block of all rows; b"" for no rows. Errors as `encode`."""
        pieces = [piece for piece in pieces if piece.batch.num_rows]
        if not pieces:
            return b""
        runs, rows = [], 0
        for piece in pieces:
            runs.append((rows, piece.partition, piece.offset, piece.first_position))
            rows += piece.batch.num_rows
        return self.encoder.encode(joined([piece.batch for piece in pieces]), runs)


def joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """The rows of all batches, with one dictionary a column."""
    batches = [without_null_names(batch) for batch in batches]
    if len(batches) == 1:
        return batches[0]
    (whole,) = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    return whole


def without_null_names(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A row whose name is a null in the dictionary becomes a null: Arrow allows both, but joins dictionaries without only."""
    columns = [
        column.dictionary_decode().dictionary_encode()
        if pa.types.is_dictionary(column.type) and column.dictionary.null_count else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


HOUR_S = 3600
FLOW_TIME = ("time_start", "time_end", "received")

# Keys as in schemas/clickhouse; tests/test_native.py holds them against the tables.
TABLES = {
    table.name: table
    for table in (
        Table(
            "samples", model.SAMPLES, ("partition", "offset", "position"),
            key=((("metric",), None), (("entity",), None), (("time",), 1)),
        ),
        Table(
            "flows", model.FLOWS, ("partition", "offset", "position"),
            key=((FLOW_TIME, HOUR_S * NS), (("exporter",), None), (FLOW_TIME, 1)),
        ),
        # `offset` is the reject's own there.
        Table(
            "rejects", model.REJECTS, ("record_partition", "record_offset", "record_position"),
            key=((("source",), None), (("reason",), None), (("time",), 1)),
        ),
        # The rest has an identity of its own: (entity, metric, bucket, rev) and (rule, fingerprint, starts_at, seq).
        Table(
            "windows_10s", model.WINDOWS,
            key=((("bucket",), HOUR_S), (("metric",), None), (("entity",), None), (("bucket",), 1)),
        ),
        Table("alert_events", model.ALERTS),
    )
}
