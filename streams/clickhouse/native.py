"""Record batches of streams/model.py as Native blocks of our tables.

    table = TABLES["samples"]
    client.raw_insert(table.name, insert_block=table.encode(batch, partition=0, offset=17), fmt="Native")

The column types here are derived from the Arrow schemas; tests/test_model.py holds the tables of schemas/clickhouse to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from framecodec.native import BlockEncoder
from streams import model

__all__ = ["TABLES", "Table", "clickhouse_type"]

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
class Table:
    """A table that is filled with batches of one schema. `identity` are its columns for a row's place in Kafka."""

    name: str
    schema: pa.Schema
    identity: tuple[str, str, str] | None = None

    @property
    def columns(self) -> list[tuple[str, str]]:
        """(name, ClickHouse type) without the identity."""
        return [(field.name, clickhouse_type(field.type, field.nullable)) for field in self.schema]

    @cached_property
    def column_names(self) -> list[str]:
        return [*self.schema.names, *(self.identity or ())]

    @cached_property
    def encoder(self) -> BlockEncoder:
        return BlockEncoder(self.columns, self.identity)

    def encode(self, batch: pa.RecordBatch, partition: int = 0, offset: int = 0, first_position: int = 0) -> bytes:
        """One Native block; b"" for no rows. TypeError or ValueError where the batch is not of this schema."""
        return self.encoder.encode(batch, partition, offset, first_position)


TABLES = {
    table.name: table
    for table in (
        Table("samples", model.SAMPLES, ("partition", "offset", "position")),
        Table("flows", model.FLOWS, ("partition", "offset", "position")),
        # `offset` is the reject's own there.
        Table("rejects", model.REJECTS, ("record_partition", "record_offset", "record_position")),
        # The rest has an identity of its own: (entity, metric, bucket, rev) and (rule, fingerprint, starts_at, seq).
        Table("windows_10s", model.WINDOWS),
        Table("alert_events", model.ALERTS),
    )
}
