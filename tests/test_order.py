"""Row orders against a plain sort of Python values, and against the tables' own opinion."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from framecodec.order import RowOrder
from streams.clickhouse.client import connect
from streams.clickhouse.native import TABLES, Table
from tests.random_batches import random_batch

SEED = random.randrange(1 << 30)
KEYED = [table for table in TABLES.values() if table.key]
BLOCKS = "SELECT event, value FROM system.events WHERE event LIKE 'MergeTreeDataWriterBlocks%'"


def plain_order(table: Table, batch: pa.RecordBatch) -> list[int]:
    """By comparing names and times of one row with those of another."""
    columns = {
        name: (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }

    def key(row: int) -> list[object]:
        parts: list[object] = []
        for names, unit in table.key:
            value = next((columns[name][row] for name in names if columns[name][row] is not None), 0)
            parts.append(value.encode() if unit is None else value // unit)
        return parts

    return sorted(range(batch.num_rows), key=key)


def numbers(found: bytes | None, rows: int) -> list[int]:
    return list(range(rows)) if found is None else np.frombuffer(found, np.uint32).tolist()


@pytest.mark.parametrize("table", KEYED, ids=lambda table: table.name)
@pytest.mark.parametrize("rows", [1, 2, 3, 300, 5000])
def test_order_is_that_of_a_plain_sort(table: Table, rows: int) -> None:
    print(f"seed {SEED}")
    batch = random_batch(table.schema, rows, SEED, names=rows // 3)
    order = RowOrder(table.schema.names, table.key)

    assert numbers(order.find(batch), rows) == plain_order(table, batch)
    part = batch.slice(rows // 3, rows // 2)
    assert numbers(order.find(part), part.num_rows) == plain_order(table, part)


@pytest.mark.parametrize("table", KEYED, ids=lambda table: table.name)
def test_table_finds_its_blocks_in_order(database: str, table: Table) -> None:
    """The engine counts the blocks that it need not sort; a day is a block of its own."""
    batch = random_batch(table.schema, 3000, SEED)

    with connect(database, settings={"max_partitions_per_insert_block": 0}) as client:
        before = dict(client.query(BLOCKS).result_rows)
        client.raw_insert(table.name, column_names=table.column_names, insert_block=table.encode(batch, 1, 2), fmt="Native")
        after = dict(client.query(BLOCKS).result_rows)

    made = {name: after[name] - before.get(name, 0) for name in after}
    assert made["MergeTreeDataWriterBlocksAlreadySorted"] == made["MergeTreeDataWriterBlocks"] > 0


def test_rows_in_order_need_no_numbers() -> None:
    table = TABLES["samples"]
    batch = random_batch(table.schema, 500, SEED)
    order = RowOrder(table.schema.names, table.key)

    assert order.find(batch.take(plain_order(table, batch))) is None
    assert order.find(batch.slice(0, 0)) is None


def test_times_before_1970_come_first() -> None:
    order = RowOrder(["at"], [(("at",), 3600), (("at",), 1)])

    found = order.find(pa.record_batch([pa.array([3600, -1, 0, -3601, -(1 << 62), 1 << 62])], names=["at"]))

    assert numbers(found, 6) == [4, 3, 1, 2, 0, 5]


def test_first_time_that_is_not_null_counts() -> None:
    order = RowOrder(["a", "b"], [(("a", "b"), 1)])

    found = order.find(pa.record_batch([pa.array([5, None, None]), pa.array([0, 3, None], pa.int64())], names=["a", "b"]))

    assert numbers(found, 3) == [2, 1, 0]


def test_name_that_stands_twice_in_its_dictionary_is_one_name() -> None:
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, 0], pa.int32()), pa.array(["b", "a", "b"]))
    order = RowOrder(["name", "at"], [(("name",), None), (("at",), 1)])

    found = order.find(pa.record_batch([words, pa.array([3, 0, 1, 0, 2])], names=["name", "at"]))

    assert numbers(found, 5) == [1, 3, 2, 4, 0]


def test_ids_outside_the_dictionary_are_left_to_the_encoder() -> None:
    order = RowOrder(["name"], [(("name",), None)])
    wild = pa.DictionaryArray.from_arrays(pa.array([1, -7, 1 << 30, 0], pa.int32()), pa.array(["a", "b"]), safe=False)
    empty = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int32()), pa.array([], pa.utf8()))

    assert sorted(numbers(order.find(pa.record_batch([wild], names=["name"])), 4)) == [0, 1, 2, 3]
    assert order.find(pa.record_batch([empty], names=["name"])) is None


def test_keys_of_other_types_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"key 'name': expected dictionary<int32, utf8>, got Arrow format u"):
        RowOrder(["name"], [(("name",), None)]).find(pa.record_batch([pa.array(["a"])], names=["name"]))
    with pytest.raises(TypeError, match="key 'at': expected int64 or a timestamp, got Arrow format i"):
        RowOrder(["at"], [(("at",), 1)]).find(pa.record_batch([pa.array([1], pa.int32())], names=["at"]))
    with pytest.raises(TypeError, match="expected 1 columns, got 2"):
        RowOrder(["at"], [(("at",), 1)]).find(pa.record_batch([pa.array([1]), pa.array([1])], names=["at", "b"]))
    with pytest.raises(ValueError, match="expected 1 to 8 keys of 1 to 4 columns"):
        RowOrder(["at"], [])
