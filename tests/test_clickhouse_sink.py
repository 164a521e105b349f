"""The sink against the embedded database: every row once, bad rows aside, nothing lost when the answer is."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest

from streams import model
from streams.clickhouse.client import connect
from streams.clickhouse.native import TABLES
from streams.clickhouse.sink import REFUSED_ROWS_MAX, DeadLetter, Place, Sink
from streams.clock import NS
from streams.errors import DependencyError
from tests.random_batches import random_batch

SEED = random.randrange(1 << 30)
DAY = 1_790_000_000 * NS


def samples(values: list[float], first: int = 0) -> pa.RecordBatch:
    rows = [
        {
            "time": DAY + (first + number) * NS, "entity": "e", "metric": "m", "value": value, "kind": "gauge", "source": "s",
            "quality": 0,
        }
        for number, value in enumerate(values)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=model.SAMPLES)


@pytest.fixture
def sink(database: str):
    sink = Sink(lambda: connect(database))
    yield sink
    sink.close()


def count(database: str, table: str) -> int:
    with connect(database) as client:
        return client.command(f"SELECT count() FROM {table}")


def test_table_is_due_by_rows_bytes_or_age() -> None:
    sink = Sink(lambda: pytest.fail("no connection is needed"), flush_rows=10, flush_bytes=1 << 20, flush_ns=5 * NS)

    sink.put("samples", samples([1.0] * 9), Place("samples", 0, 1), now_ns=100)
    sink.put("rejects", random_batch(model.REJECTS, 11, SEED), Place("rejects", 0, 1), now_ns=200)

    assert sink.due(201) == ["rejects"]
    assert sink.due(100 + 5 * NS) == ["samples", "rejects"]
    assert sink.due(201, everything=True) == ["samples", "rejects"]


def test_drained_rows_are_gone_and_come_back_in_front() -> None:
    sink = Sink(lambda: pytest.fail("no connection is needed"))
    sink.put("samples", samples([1.0]), Place("samples", 0, 1), 0)
    held = sink.drain("samples")
    sink.put("samples", samples([2.0]), Place("samples", 0, 2), 0)
    assert sink.size_bytes == samples([2.0]).nbytes

    sink.put_back("samples", held, 0)

    assert [each.place.offset for each in sink.drain("samples")] == [1, 2]
    assert sink.size_bytes == 0


@pytest.mark.parametrize("table", TABLES)
def test_repeated_inserts_with_other_cuts_are_the_same_rows(database: str, sink: Sink, table: str) -> None:
    schema = TABLES[table].schema
    batches = [random_batch(schema, rows, SEED + rows, names=5) for rows in (1, 50, 200)]
    view = {"samples": "v_samples", "flows": "v_flows", "windows_10s": "v_10s"}.get(table, f"{table} FINAL")
    print(f"seed {SEED}")

    for cut in ([0, 1, 2], [0], [1, 2], [2, 0], [1]):
        for number in cut:
            sink.put(table, batches[number], Place(table, 1, 100 + number), 0)
        sink.insert(table, sink.drain(table))

    expected = 251
    if table == "windows_10s":
        keys = pa.Table.from_batches(batches).select(["bucket", "entity", "metric"]).to_pylist()
        expected = len({tuple(key.values()) for key in keys})
    assert count(database, view) == expected


def test_repetitions_inside_one_insert_are_one_row_before_and_after_a_merge(database: str, sink: Sink) -> None:
    """The engine is told not to merge a block with itself (optimize_on_insert): one part then holds a row twice."""
    drawn = random_batch(model.WINDOWS, 50, SEED)

    def windows(rev: int) -> pa.RecordBatch:
        own = {"rev": pa.array([rev] * 50, pa.uint64()), "cnt": pa.array(range(rev, rev + 50), pa.uint64())}
        return pa.RecordBatch.from_pydict({name: drawn.column(name) for name in drawn.schema.names} | own, schema=model.WINDOWS)

    for table, batches in {
        "samples": [samples([1.0, 2.0]), samples([1.0, 2.0])],
        "windows_10s": [windows(1), windows(9), windows(1)],
    }.items():
        for batch in batches:
            sink.put(table, batch, Place(table, 0, 7), 0)
        sink.insert(table, sink.drain(table))
    print(f"seed {SEED}")

    with connect(database) as client:
        parts = "SELECT rows FROM system.parts WHERE active AND database = currentDatabase() AND table = 'samples'"
        assert client.query(parts).result_rows == [(4,)]
        for _ in range(2):
            assert client.command("SELECT count() FROM v_samples") == 2
            assert client.query("SELECT count(), min(rev), sum(cnt) FROM v_10s").result_rows == [(50, 9, sum(range(9, 59)))]
            client.command("OPTIMIZE TABLE samples FINAL")
            client.command("OPTIMIZE TABLE windows_10s FINAL")


def test_repeated_request_is_recognised_by_its_token(database: str, sink: Sink) -> None:
    sink.put("samples", samples([1.0, 2.0]), Place("samples", 0, 1), 0)
    sink.put("samples", samples([3.0], 2), Place("samples", 0, 2), 0)
    held = sink.drain("samples")

    for _ in range(3):
        sink.insert("samples", held)

    assert count(database, "samples") == 3              # without FINAL


def test_row_at_fault_is_found_and_everything_around_it_is_stored(database: str, sink: Sink) -> None:
    with connect(database) as client:
        client.command("ALTER TABLE samples ADD CONSTRAINT poison CHECK value < 1e9")
    values = [float(number) for number in range(1000)]
    values[17] = values[512] = values[999] = 6e9
    sink.put("samples", samples(values), Place("samples", 2, 40), 0)
    sink.put("samples", samples([6e9], 2000), Place("samples", 2, 41), 0)
    sink.put("samples", samples([5.0], 3000), Place("samples", 3, 7), 0)

    outcome = sink.insert("samples", sink.drain("samples"))

    assert outcome.rows == 998
    with connect(database) as client:
        assert client.command("SELECT count(), countIf(value > 1e9) FROM v_samples") == ["998", "0"]
        letters = client.query(
            "SELECT stage, target, topic, partition, offset, position, code, payload FROM dead_letters"
            " ORDER BY offset, position"
        ).result_rows
    assert [row[:7] for row in letters] == [
        ("insert", "samples", "samples", 2, 40, 17, 469), ("insert", "samples", "samples", 2, 40, 512, 469),
        ("insert", "samples", "samples", 2, 40, 999, 469), ("insert", "samples", "samples", 2, 41, 0, 469),
    ]
    payload = json.loads(letters[0][7])
    assert (payload["value"], payload["time"], payload["entity"]) == (6e9, DAY + 17 * NS, "e")


def test_table_that_refuses_everything_is_not_buried_row_by_row(database: str, sink: Sink) -> None:
    with connect(database) as client:
        client.command("ALTER TABLE samples ADD CONSTRAINT broken CHECK value > 1e9")
    sink.put("samples", samples([1.0] * 1000), Place("samples", 0, 1), 0)

    with pytest.raises(DependencyError, match=f"refused more than {REFUSED_ROWS_MAX} rows of one insert") as refusal:
        sink.insert("samples", sink.drain("samples"))

    assert not refusal.value.retryable
    assert count(database, "dead_letters") == 0


def test_missing_table_is_waited_for_and_names_the_remedy(database: str, sink: Sink) -> None:
    with connect(database) as client:
        client.command("RENAME TABLE samples TO elsewhere")
    sink.put("samples", samples([1.0]), Place("samples", 0, 1), 0)
    held = sink.drain("samples")

    with pytest.raises(DependencyError) as refusal:
        sink.insert("samples", held)

    assert refusal.value.retryable
    assert "run `orbitrack migrate`" in str(refusal.value)
    with connect(database) as client:
        client.command("RENAME TABLE elsewhere TO samples")
    assert sink.insert("samples", held).rows == 1


def test_absent_database_is_retryable() -> None:
    sink = Sink(lambda: connect("http://127.0.0.1:1/orbitrack"))
    sink.put("samples", samples([1.0]), Place("samples", 0, 1), 0)

    with pytest.raises(DependencyError) as refusal:
        sink.insert("samples", sink.drain("samples"))

    assert refusal.value.retryable


def test_capture_of_many_years_is_one_insert(database: str, sink: Sink) -> None:
    batch = samples([1.0] * 400)
    times = pa.array([DAY - number * 86_400 * NS for number in range(400)], model.TIME)
    sink.put("samples", batch.set_column(0, batch.schema.field(0), times), Place("samples", 0, 1), 0)

    sink.insert("samples", sink.drain("samples"))

    assert count(database, "samples") == 400


def test_buried_letters_are_the_same_when_buried_again(database: str, sink: Sink) -> None:
    letters = [DeadLetter("decode", "samples", Place("samples", 0, 9), 0, 0, "no batch", "AAAA")]

    sink.bury(letters)
    sink.bury(letters)

    assert count(database, "dead_letters FINAL") == 1


def test_other_schema_is_refused_before_it_is_held() -> None:
    sink = Sink(lambda: pytest.fail("no connection is needed"))

    with pytest.raises(TypeError, match="rows for table 'flows' with the columns time, received"):
        sink.put("flows", samples([1.0]), Place("flows", 0, 1), 0)
