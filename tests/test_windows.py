"""Windows against the oracle: any order, any cuts, killed at any checkpoint."""

from __future__ import annotations

import math
import random
from typing import Any

import pyarrow as pa
import pytest

from framecodec.cells import sketch_key
from framecodec.windows import Windower
from streams.model import SAMPLES, WINDOWS
from tests.oracle import windows as oracle

NS = 1_000_000_000
START = 1_790_000_000 * NS
FOREVER = 1 << 62


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    filler = {"received": None, "text": None, "unit": None, "source": "test", "quality": 0}
    return pa.RecordBatch.from_pylist([filler | row for row in rows], schema=SAMPLES)


def sample(
    seconds: float, value: float | None, entity: str = "rack-1/if/1", metric: str = "temp_c", kind: str = "gauge"
) -> dict[str, Any]:
    return {"time": START + round(seconds * NS), "entity": entity, "metric": metric, "value": value, "kind": kind}


def windower(lateness_s: float = 30, allowed_s: float = 120, idle_s: float = 60, **objectives: Any) -> Windower:
    return Windower(10 * NS, round(lateness_s * NS), round(allowed_s * NS), round(idle_s * NS), objectives)


def add(w: Windower, rows: list[dict[str, Any]]) -> list[int]:
    """One record with these samples, received at START."""
    late: list[int] = w.add(batch(rows))
    w.advance(START)
    return late


def rows_of(closed: Any) -> list[dict[str, Any]]:
    table = pa.record_batch(closed)
    assert table.schema.equals(WINDOWS)
    return [
        row | {"bucket": int(row["bucket"].timestamp()), "last_time": row["last_time"].value, "sk": dict(row["sk"])}
        for row in table.to_pylist()
    ]


def latest(rows: list[dict[str, Any]]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What a ReplacingMergeTree(rev) keeps."""
    kept: dict[tuple[str, str, int], dict[str, Any]] = {}
    for row in rows:
        key = (row["entity"], row["metric"], row["bucket"])
        if key not in kept or row["rev"] >= kept[key]["rev"]:
            kept[key] = row
    return kept


def assert_equal(found: dict[Any, dict[str, Any]], truth: dict[Any, dict[str, Any]]) -> None:
    assert found.keys() == truth.keys()
    for key, expected in truth.items():
        for column, value in expected.items():
            got = found[key][column]
            if isinstance(value, float):
                assert math.isclose(got, value, rel_tol=1e-12, abs_tol=1e-9), (key, column, got, value)
            else:
                assert got == value, (key, column, got, value)


def test_window_closes_when_the_watermark_passes_its_end() -> None:
    w = windower(lateness_s=30)
    add(w, [sample(1, 5.0), sample(9.999999999, 7.0)])
    assert len(w.close(START, 1)) == 0
    add(w, [sample(39.999999999, 1.0)])
    assert len(w.close(START, 2)) == 0
    add(w, [sample(40, 1.0)])
    (row,) = rows_of(w.close(START, 3))
    assert (row["bucket"], row["cnt"], row["vsum"], row["rev"]) == (START // NS, 2, 12.0, 3)
    assert len(w.close(START, 4)) == 0


def test_late_sample_within_the_allowance_emits_full_totals_again() -> None:
    w = windower(lateness_s=0, allowed_s=60)
    add(w, [sample(1, 5.0)])
    add(w, [sample(30, 0.0)])
    assert [row["vsum"] for row in rows_of(w.close(START, 1))] == [5.0]
    assert add(w, [sample(2, 7.0)]) == []
    (row,) = rows_of(w.close(START, 2))
    assert (row["cnt"], row["vsum"], row["vmax"], row["rev"]) == (2, 12.0, 7.0, 2)


def test_sample_past_the_allowance_is_named_by_row_and_counted_nowhere() -> None:
    w = windower(lateness_s=0, allowed_s=60)
    add(w, [sample(100, 1.0)])
    assert add(w, [sample(101, 2.0), sample(39.9, 3.0), sample(40, 4.0)]) == [1]
    assert w.late == 1
    assert {row["bucket"] - START // NS: row["cnt"] for row in rows_of(w.close(START, 1))} == {40: 1}


def test_idle_group_closes_by_the_wall_clock() -> None:
    w = windower(idle_s=60)
    add(w, [sample(1, 5.0)])
    assert len(w.close(START + 59 * NS, 1)) == 0
    assert len(w.close(START + 60 * NS, 2)) == 1


def test_silent_group_does_not_hold_the_lowest_watermark_back() -> None:
    w = windower(lateness_s=0, idle_s=60)
    assert w.min_watermark_ns() is None
    add(w, [sample(1, 5.0, entity="sat-1"), sample(101, 5.0, entity="sat-2")])
    assert w.min_watermark_ns() == START + NS
    w.close(START + 59 * NS, 1)
    w.advance(START + 59 * NS)
    add(w, [sample(102, 5.0, entity="sat-2")])
    assert w.min_watermark_ns() == START + NS
    w.close(START + 10**6 * NS, 2)
    assert w.min_watermark_ns() is None
    add(w, [sample(201, 5.0, entity="sat-2")])
    assert w.min_watermark_ns() == START + 201 * NS


def test_groups_have_watermarks_of_their_own() -> None:
    w = windower(lateness_s=0)
    add(w, [sample(1, 5.0, entity="sat-1"), sample(-86_400, 1.0, entity="sat-2/vc/3")])
    add(w, [sample(-86_380, 1.0, entity="sat-2/vc/4")])
    closed = rows_of(w.close(START, 1))
    assert [(row["entity"], row["bucket"] - START // NS) for row in closed] == [("sat-2/vc/3", -86_400)]
    assert w.watermarks() == {"sat-1": START + NS, "sat-2": START - 86_380 * NS}


def test_nothing_becomes_late_between_the_batches_of_one_record() -> None:
    w = windower(lateness_s=0, allowed_s=0)
    assert w.add(batch([sample(1, 1.0), sample(100, 2.0)])) == []
    assert w.add(batch([sample(2, 1.0, metric="other")])) == []
    w.advance(START)
    assert w.add(batch([sample(3, 1.0)])) == [0]


def test_good_counts_what_meets_the_objective() -> None:
    w = windower(lateness_s=0, latency_ms=("le", 45.0))
    values = [44.0, 45.0, 45.0000001]
    add(w, [sample(1, v, metric="latency_ms") for v in values] + [sample(1, 1.0, metric="other")])
    assert {row["metric"]: row["good"] for row in rows_of(w.close(FOREVER, 1))} == {"latency_ms": 2, "other": 1}


def test_nulls_and_numbers_that_are_none_are_in_no_window() -> None:
    w = windower()
    add(w, [sample(1, None), sample(1, math.nan), sample(1, math.inf), sample(1, 2.0)])
    assert [row["cnt"] for row in rows_of(w.close(FOREVER, 1))] == [1]
    assert w.not_finite == 2


@pytest.mark.parametrize(
    ("points", "increase", "resets"),
    [
        ([(1, 100.0), (5, 160.0)], 60.0, 0),
        ([(5, 160.0), (1, 100.0)], 60.0, 0),                      # out of order
        ([(1, 2.0**32 - 10), (5, 20.0)], 30.0, 0),                # a 32-bit wrap
        ([(1, 5000.0), (5, 20.0)], 20.0, 1),                      # a reset
        ([(1, 100.0), (12, 130.0), (15, 135.0)], 35.0, 0),        # over the edge of a window
    ],
)
def test_counter_rises(points: list[tuple[float, float]], increase: float, resets: int) -> None:
    w = windower(lateness_s=0)
    add(w, [sample(t, v, metric="if_in_errors", kind="counter") for t, v in points])
    rows = rows_of(w.close(FOREVER, 1))
    assert (sum(row["increase"] for row in rows), sum(row["resets"] for row in rows)) == (increase, resets)
    assert all(row["sk"] == {} for row in rows)


def test_octets_are_64_bits_wide_and_never_wrap() -> None:
    w = windower(lateness_s=0)
    add(w, [sample(t, v, metric="if_in_octets", kind="counter") for t, v in [(1, 2.0**32 - 10), (2, 20.0)]])
    (row,) = rows_of(w.close(FOREVER, 1))
    assert (row["increase"], row["resets"]) == (20.0, 1)


def test_late_counter_sample_moves_the_increase_of_the_window_after() -> None:
    w = windower(lateness_s=0, allowed_s=300)
    add(w, [sample(t, v, metric="if_in_errors", kind="counter") for t, v in [(1, 100.0), (11, 130.0), (60, 200.0)]])
    first = rows_of(w.close(START, 1))
    assert [row["increase"] for row in first] == [0.0, 30.0]
    add(w, [sample(9, 120.0, metric="if_in_errors", kind="counter")])
    assert [row["increase"] for row in rows_of(w.close(START, 2))] == [20.0, 10.0]


def test_counter_remembers_its_standing_after_its_windows_expired() -> None:
    w = windower(lateness_s=0, allowed_s=0)
    add(w, [sample(1, 100.0, metric="if_in_errors", kind="counter")])
    w.close(START + 3600 * NS, 1)
    w.delta()
    copy = windower(lateness_s=0, allowed_s=0)
    copy.load(w.snapshot(0, 1), START)
    for target in (w, copy):
        add(target, [sample(7200, 150.0, metric="if_in_errors", kind="counter")])
        assert [row["increase"] for row in rows_of(target.close(FOREVER, 2))] == [50.0]


@pytest.mark.parametrize("value", [0.0, 1e-10, -1e-10, 1e-9, 1.0, -1.0, 45.0, 1e17, -3.7e5, 1e300, 5e-324])
def test_sketch_key_is_the_documented_formula(value: float) -> None:
    assert sketch_key(value) == oracle.sketch_key(value)


def test_sketch_keys_of_random_values_and_of_bucket_edges_are_exact() -> None:
    generator = random.Random(7)
    values = [generator.lognormvariate(0, 30) for _ in range(200_000)]
    edges = [(1.01 / 0.99) ** power for power in range(-900, 900)]
    values += edges + [math.nextafter(edge, 0) for edge in edges] + [math.nextafter(edge, math.inf) for edge in edges]
    assert [value for value in values if sketch_key(value) != oracle.sketch_key(value)] == []


def random_rows(generator: random.Random, count: int) -> list[dict[str, Any]]:
    """A few entities, gauges and counters, over two minutes, somewhat out of order."""
    rows = []
    standing = {}
    for number in range(count):
        entity = f"rack-{generator.randrange(3)}/if/{generator.randrange(3)}"
        seconds = number * 120 / count + generator.uniform(-8, 8)
        if generator.random() < 0.5:
            rows.append(sample(seconds, generator.lognormvariate(3, 2) * generator.choice((1, -1)), entity))
        else:
            value = standing[entity] = standing.get(entity, 2**32 - 3000) + generator.randrange(100)
            rows.append(sample(seconds, float(value % 2**32), entity, "if_in_errors", "counter"))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_any_cut_and_any_restart_gives_the_windows_of_the_oracle(seed: int) -> None:
    generator = random.Random(seed)
    rows = random_rows(generator, 1500)
    w = windower(lateness_s=5, allowed_s=60)
    emitted: list[dict[str, Any]] = []
    shards = 4
    state: dict[str, tuple[int, bytes]] = {}
    sequence = 0
    at = applied = 0
    while at < len(rows):
        step = generator.randrange(1, 120)
        assert add(w, rows[at : at + step]) == []
        at += step
        if generator.random() < 0.6:                     # checkpoint: output and state in one transaction
            sequence += 1
            emitted += rows_of(w.close(START, sequence))
            state[f"d{sequence % shards}"] = (sequence, w.delta())
            state[f"s{sequence % shards}"] = (sequence, w.snapshot(sequence % shards, shards))
            applied = at
        if generator.random() < 0.15:                    # kill -9, then recover and read again from the last checkpoint
            w = windower(lateness_s=5, allowed_s=60)
            for _, blob in sorted(state.values(), key=lambda entry: entry[0]):
                w.load(blob, START)
            at = applied
    emitted += rows_of(w.close(FOREVER, sequence + 1))
    assert_equal(latest(emitted), oracle.windows(rows))


def test_state_of_another_kind_is_refused() -> None:
    w = windower()
    add(w, [sample(1, 5.0)])
    w.close(START, 1)
    blob = w.delta()
    for size in range(1, len(blob)):
        if size == 8 + int.from_bytes(blob[4:8], "little"):
            continue                                     # names without groups: an empty state
        with pytest.raises(ValueError, match="no window state"):
            windower().load(blob[:size], START)


def test_batch_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="not a batch of SAMPLES: column 0"):
        windower().add(pa.RecordBatch.from_pydict({"a": [1]}))


def test_names_that_are_no_dictionary_are_refused() -> None:
    columns = {"time": pa.array([0], pa.timestamp("ns", "UTC")), "received": pa.array([None], pa.timestamp("ns", "UTC"))}
    plain = pa.RecordBatch.from_pydict(columns | {"entity": pa.array([0], pa.int32())})
    with pytest.raises(ValueError, match=r"not a batch of SAMPLES: column 2 is not entity \(name\)"):
        windower().add(plain)
