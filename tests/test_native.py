"""Native blocks against the engine: what is read back is what went in, column by column."""

from __future__ import annotations

import datetime
import random
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from framecodec.native import BlockEncoder
from framecodec.order import RowOrder
from streams.clickhouse.client import ClickHouseError, connect
from streams.clickhouse.native import TABLES, Piece, clickhouse_type
from tests.random_batches import random_batch
from tests.test_order import plain_order

SEED = random.randrange(1 << 30)


def as_read(column: pa.Array) -> list:
    """An Arrow column as the driver should give it back."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(pa.int64()).to_pylist()
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return [value or [] for value in column.to_pylist()]
    return column.to_pylist()


def normal(value: object) -> object:
    if isinstance(value, dict):
        return list(value.items())
    return list(value) if isinstance(value, tuple) else value


def expression(field: pa.Field) -> str:
    """How to read a column so that nothing is lost on the way to Python."""
    if field.type == pa.timestamp("ns", tz="UTC"):
        return f"toUnixTimestamp64Nano({field.name}) AS {field.name}"
    if field.type == pa.timestamp("s", tz="UTC"):
        return f"toUnixTimestamp({field.name}) AS {field.name}"
    if pa.types.is_fixed_size_binary(field.type):
        return f"hex({field.name}) AS {field.name}"
    return str(field.name)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("rows", [1, 2000])
def test_what_is_read_back_is_what_went_in(database: str, name: str, rows: int) -> None:
    table = TABLES[name]
    batch = random_batch(table.schema, rows, SEED)
    order = plain_order(table, batch) if table.key else range(rows)
    print(f"seed {SEED}")

    with connect(database) as client:
        client.command(f"CREATE TABLE copy AS {name} ENGINE = Memory")
        client.raw_insert("copy", column_names=table.column_names, insert_block=table.encode(batch, 3, 77), fmt="Native")
        found = client.query(
            f"SELECT {', '.join(expression(field) for field in table.schema)} FROM copy", column_oriented=True
        ).result_columns
        identity = client.query(f"SELECT {', '.join(table.identity)} FROM copy").result_rows if table.identity else None

    for field, values in zip(table.schema, found, strict=True):
        expected = as_read(batch.column(field.name))
        if pa.types.is_fixed_size_binary(field.type):
            expected = [None if value is None else value.hex().upper() for value in expected]
        assert [normal(value) for value in values] == [expected[row] for row in order], field.name
    if identity is not None:
        assert identity == [(3, 77, position) for position in order]


def test_slices_and_several_blocks_are_one_insert(database: str) -> None:
    table = TABLES["samples"]
    whole = random_batch(table.schema, 1000, SEED)
    cuts = [0, 1, 7, 400, 400, 999, 1000]
    blocks = [table.encode(whole.slice(first, last - first), 1, 5, first) for first, last in pairwise(cuts)]

    with connect(database, settings={"max_partitions_per_insert_block": 0}) as client:
        client.raw_insert("samples", column_names=table.column_names, insert_block=b"".join(blocks), fmt="Native")
        pieces = client.query("SELECT position, entity, value, text FROM samples ORDER BY position").result_rows

    assert [row[0] for row in pieces] == list(range(1000))
    assert [row[1] for row in pieces] == whole.column("entity").to_pylist()
    assert [row[2] for row in pieces] == whole.column("value").to_pylist()
    assert [row[3] for row in pieces] == whole.column("text").to_pylist()


@pytest.mark.parametrize("records", [2, 300])
def test_records_become_one_block_in_which_each_row_knows_its_own(database: str, records: int) -> None:
    table = TABLES["flows"]
    batches = [random_batch(table.schema, rows, SEED + rows, names=rows) for rows in range(records)]
    pieces = [Piece(batch, number % 3, 1000 + number, number * 2) for number, batch in enumerate(batches)]
    block = table.encode_all(pieces)

    with connect(database) as client:
        client.command("CREATE TABLE copy AS flows ENGINE = Memory")
        client.raw_insert("copy", column_names=table.column_names, insert_block=block, fmt="Native")
        found = client.query(
            "SELECT partition, offset, position, exporter, codec, domain FROM copy ORDER BY offset, position"
        ).result_rows

    expected = [
        (piece.partition, piece.offset, piece.first_position + row, *values)
        for piece in pieces
        for row, values in enumerate(
            zip(*(piece.batch.column(name).to_pylist() for name in ("exporter", "codec", "domain")), strict=True)
        )
    ]
    assert found == expected
    assert table.encode_all([]) == table.encode_all(pieces[:1]) == b""


@pytest.mark.parametrize("names", [1, 254, 255, 256, 65_534, 65_535, 65_536])
def test_dictionaries_of_every_index_width(database: str, names: int) -> None:
    """An empty key stands in front of the dictionary: the width changes at 255 and 65,535 names."""
    words = [f"n{number}" for number in range(names)]
    column = pa.DictionaryArray.from_arrays(pa.array(range(names), pa.int32()), pa.array(words))
    batch = pa.record_batch([column], names=["name"])
    block = BlockEncoder([("name", "LowCardinality(String)")]).encode(batch)

    with connect(database) as client:
        client.command("CREATE TABLE names (name LowCardinality(String)) ENGINE = Memory")
        client.raw_insert("names", insert_block=block, fmt="Native")
        assert client.query("SELECT count(), uniqExact(name), min(length(name)) FROM names").result_rows == [(names, names, 2)]


def test_repeated_and_unused_names_of_a_dictionary_do_no_harm(database: str) -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([3, 0, None, 2, 1], pa.int32()), pa.array(["a", "", "a", "b", "unused"]))
    batch = pa.record_batch([column], names=["name"])
    block = BlockEncoder([("name", "LowCardinality(Nullable(String))")]).encode(batch)

    with connect(database) as client:
        client.command("CREATE TABLE names (name LowCardinality(Nullable(String))) ENGINE = Memory")
        client.raw_insert("names", insert_block=block, fmt="Native")
        assert client.query("SELECT name FROM names").result_columns == [["b", "a", None, "a", ""]]


@pytest.mark.parametrize("records", [1, 2])
def test_null_in_a_dictionary_is_a_null_row(database: str, records: int) -> None:
    """Other people's producers may write them so."""
    names = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int32()), pa.array(["a", None]))
    samples = random_batch(TABLES["samples"].schema, 3, SEED)
    samples = samples.set_column(samples.schema.get_field_index("text"), samples.schema.field("text"), names)
    block = TABLES["samples"].encode_all([Piece(samples, 0, number) for number in range(records)])

    with connect(database) as client:
        client.command("CREATE TABLE copy AS samples ENGINE = Memory")
        client.raw_insert("copy", column_names=TABLES["samples"].column_names, insert_block=block, fmt="Native")
        found = client.query("SELECT text FROM copy ORDER BY offset, position").result_columns

    assert found == [["a", None, None] * records]


def test_block_of_many_pages_is_the_rows_in_order() -> None:
    """Large ones lie in huge pages."""
    print(f"seed {SEED}")
    generator = np.random.default_rng(SEED)
    times, values = generator.integers(-1 << 40, 1 << 40, 700_000), generator.random(700_000)
    batch = pa.record_batch({"time": pa.array(times), "value": pa.array(values)})
    order = RowOrder(["time", "value"], [(("time",), 1)])

    block = BlockEncoder([("time", "Int64"), ("value", "Float64")], order=order).encode(batch)

    rows = np.argsort(times, kind="stable")
    head = b"\x02" + bytes([700_000 & 127 | 128, 700_000 >> 7 & 127 | 128, 700_000 >> 14])
    assert block == head + b"\x04time\x05Int64" + times[rows].tobytes() + b"\x05value\x07Float64" + values[rows].tobytes()


def test_no_rows_are_no_block() -> None:
    table = TABLES["flows"]

    assert table.encode(random_batch(table.schema, 0, SEED)) == b""


@pytest.mark.parametrize("value", [0, None])
def test_column_of_nothing_is_a_block_all_the_same(database: str, value: int | None) -> None:
    block = BlockEncoder([("a", "Nullable(UInt32)")]).encode(pa.record_batch([pa.array([value] * 3, pa.uint32())], names=["a"]))

    with connect(database) as client:
        client.command("CREATE TABLE few (a Nullable(UInt32)) ENGINE = Memory")
        client.raw_insert("few", insert_block=block, fmt="Native")
        assert client.query("SELECT a FROM few").result_columns == [[value] * 3]


def test_zeros_and_nulls_that_the_table_would_say_anyway_are_not_sent() -> None:
    table = TABLES["windows_10s"]
    zeros = dict.fromkeys(table.schema.names, 0) | {"entity": "e", "metric": "m", "sk": []}
    few = pa.RecordBatch.from_pylist([zeros] * 1000, schema=table.schema)

    assert len(table.encode(few)) < 1000 * (4 + 1 + 1 + 8) + 200     # the first column, two names, the ends of the sketch


def test_seconds_outside_the_type_are_held_to_its_ends(database: str) -> None:
    batch = pa.record_batch([pa.array([-5, 0, 1 << 32, 1 << 40], pa.timestamp("s", tz="UTC"))], names=["at"])
    block = BlockEncoder([("at", "DateTime('UTC')")]).encode(batch)

    with connect(database) as client:
        client.command("CREATE TABLE seconds (at DateTime('UTC')) ENGINE = Memory")
        client.raw_insert("seconds", insert_block=block, fmt="Native")
        assert client.query("SELECT toUnixTimestamp(at) FROM seconds").result_columns == [[0, 0, 0xFFFFFFFF, 0xFFFFFFFF]]


def test_every_cut_of_a_block_is_refused(database: str) -> None:
    """A request that was cut must not become rows."""
    table = TABLES["rejects"]
    row = {"time": 1, "source": "s", "reason": "late", "offset": 1, "size_bytes": 2, "detail": "d"}
    block = table.encode(pa.RecordBatch.from_pylist([row], schema=table.schema), 1, 2)

    with connect(database) as client:
        for length in range(1, len(block), 7):
            with pytest.raises(ClickHouseError):
                client.raw_insert("rejects", column_names=table.column_names, insert_block=block[:length], fmt="Native")
        assert client.command("SELECT count() FROM rejects") == 0


def test_other_columns_are_refused_with_their_names() -> None:
    encoder = BlockEncoder([("a", "UInt32"), ("b", "LowCardinality(String)")])

    with pytest.raises(TypeError, match="expected the columns a, b, got a"):
        encoder.encode(pa.record_batch([pa.array([1], pa.uint32())], names=["a"]))
    with pytest.raises(TypeError, match=r"column 'b': expected Arrow format i\{u\}, got u"):
        encoder.encode(pa.record_batch([pa.array([1], pa.uint32()), pa.array(["x"])], names=["a", "b"]))
    with pytest.raises(TypeError, match="column 'a': expected Arrow format I, got l"):
        encoder.encode(pa.record_batch([pa.array([1]), pa.array(["x"]).dictionary_encode()], names=["a", "b"]))


def test_index_outside_its_dictionary_is_refused() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["only"]), safe=False)
    encoder = BlockEncoder([("name", "LowCardinality(String)")])

    with pytest.raises(ValueError, match="column 'name': an index outside its dictionary"):
        encoder.encode(pa.record_batch([column], names=["name"]))


def test_offsets_that_go_backwards_are_refused() -> None:
    offsets = pa.py_buffer(b"".join(value.to_bytes(4, "little") for value in (0, 4, 2)))
    column = pa.Array.from_buffers(pa.utf8(), 2, [None, offsets, pa.py_buffer(b"abcd")])

    with pytest.raises(ValueError, match="column 's': offsets that go backwards"):
        BlockEncoder([("s", "String")]).encode(pa.record_batch([column], names=["s"]))


def test_type_without_an_encoding_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no Native encoding for the type Decimal"):
        BlockEncoder([("d", "Decimal(9, 2)")])
    with pytest.raises(TypeError, match="no ClickHouse column type for Arrow type date32"):
        clickhouse_type(pa.date32())


def test_addresses_are_ipv6_with_ipv4_mapped(database: str) -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes([10, 0, 0, 1])
    flow = dict.fromkeys(TABLES["flows"].schema.names) | {
        "exporter": "e", "domain": 0, "codec": "sflow", "sequence": 1, "src_addr": mapped,
        "time_start": datetime.datetime(2026, 10, 1, tzinfo=datetime.UTC),
    }
    batch = pa.RecordBatch.from_pylist([flow], schema=TABLES["flows"].schema)

    with connect(database) as client:
        table = TABLES["flows"]
        client.raw_insert("flows", column_names=table.column_names, insert_block=table.encode(batch), fmt="Native")
        row = client.command("SELECT toString(src_addr), dst_addr IS NULL, mpls_labels FROM flows")
    assert row == ["::ffff:10.0.0.1", "1", "[]"]
