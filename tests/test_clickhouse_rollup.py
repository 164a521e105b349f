"""Roll-ups against the embedded database equal one straight pass over the windows, whatever came when, twice or late."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from streams.clickhouse.client import connect
from streams.clickhouse.native import TABLES
from streams.clickhouse.rollup import LEVELS, Rollup, recompute_statement
from streams.clock import NS
from streams.errors import DependencyError
from tests.made_windows import as_batch, expected_rollups, make_windows

SEED = random.randrange(1 << 30)
START = 1_790_002_800 - 1_790_002_800 % 86_400 + 86_400 - 90 * 60     # 90 minutes before midnight UTC

VIEWS = {"windows_1m": "v_1m", "windows_1h": "v_1h", "windows_1d": "v_1d"}


@pytest.fixture
def rollup(database: str) -> Iterator[Rollup]:
    rollup = Rollup(lambda: connect(database))
    yield rollup
    rollup.close()


def insert(client, rows: list[dict]) -> None:
    if rows:
        client.raw_insert("windows_10s", insert_block=TABLES["windows_10s"].encode(as_batch(rows)), fmt="Native")


def assert_rollups_are_exact(client, rows: list[dict]) -> None:
    for table, view in VIEWS.items():
        expected = expected_rollups(rows, table)
        result = client.query(
            "SELECT entity, metric, toUnixTimestamp(bucket), cnt, good, expected, vsum, vsumsq, increase, resets, vmin, vmax,"
            f" vfirst, vlast, toUnixTimestamp64Nano(last_time) AS last_time, sk FROM {view}"
        )
        names = [name.split(".")[-1] for name in result.column_names]
        found = {tuple(row[:3]): dict(zip(names[3:], row[3:], strict=True)) for row in result.result_rows}
        assert found.keys() == expected.keys(), table
        for key, row in found.items():
            for name, value in row.items():
                wanted = expected[key][name]
                assert value == (wanted if name == "sk" else pytest.approx(wanted, rel=1e-12, abs=1e-12)), (table, key, name)


def test_all_levels_equal_a_straight_pass_over_the_windows(database: str, rollup: Rollup) -> None:
    print(f"seed {SEED}")
    random_ = random.Random(SEED)
    rows = make_windows(START, minutes=180, seed=SEED)

    with connect(database) as client:
        position = 0
        while position < len(rows):
            some = rows[position : position + random_.randrange(1, 400)]
            position += len(some)
            insert(client, some)
            if random_.random() < 0.2:
                insert(client, some)                    # a replay
            rollup.mark(as_batch(some), 0)
            if random_.random() < 0.5:
                rollup.run(0)
            if random_.random() < 0.2:
                rollup.recompute({some[0]["bucket"] // 60})         # twice, for nothing
        rollup.run(0)
        assert_rollups_are_exact(client, rows)


def test_recompute_that_saw_less_changes_nothing(database: str, rollup: Rollup) -> None:
    """Another store that began earlier, or rows below that have expired."""
    rows = make_windows(START, minutes=3, seed=SEED, late=0)

    with connect(database) as client:
        insert(client, rows)
        rollup.mark(as_batch(rows), 0)
        rollup.run(0)
        client.command("DELETE FROM windows_10s WHERE toSecond(bucket) >= 30")
        rollup.mark(as_batch(rows), 0)
        rollup.run(0)
        assert_rollups_are_exact(client, rows)


def test_nothing_marked_is_nothing_sent() -> None:
    rollup = Rollup(lambda: pytest.fail("no connection is needed"))

    rollup.mark(as_batch([]), 5)

    assert not rollup.due(1000 * NS)
    assert rollup.run(0) == 0


def test_failed_pass_leaves_everything_marked() -> None:
    rollup = Rollup(lambda: connect("http://127.0.0.1:1/orbitrack"))
    rollup.mark(as_batch(make_windows(START, minutes=2, seed=SEED)), 5)
    marked = set(rollup.minutes)

    with pytest.raises(DependencyError):
        rollup.run(7)

    assert rollup.minutes == marked == {START // 60, START // 60 + 1}
    assert rollup.due(7 + rollup.gather_ns)


def test_pass_waits_to_gather_and_takes_no_more_than_its_share() -> None:
    rollup = Rollup(lambda: pytest.fail("no connection is needed"), gather_ns=3 * NS)
    rollup.mark_minutes({1}, 10 * NS)

    assert not rollup.due(13 * NS - 1)
    assert rollup.due(13 * NS)
    rollup.rest(13 * NS, took_ns=2 * NS)                 # a fifth of the time: eight seconds of rest
    assert not rollup.due(21 * NS - 1)
    assert rollup.due(21 * NS)


def test_long_replay_is_many_small_statements(database: str, rollup: Rollup) -> None:
    first = START // 86_400 * 1440
    minutes = {first + number for number in range(0, 30 * 1440, 7)}

    assert rollup.recompute(minutes) == 30 + 30 + 2      # 24 hours, 24 hours, 24 days in each


def test_only_the_marked_hour_is_read(database: str) -> None:
    """Partition and first key column cut the read down to the hour (388 -> 57 CPU-ms)."""
    with connect(database) as client:
        client.command(
            "INSERT INTO windows_10s (bucket, entity, metric, cnt)"
            " SELECT toDateTime({start:UInt32}, 'UTC') + 10 * (number % 8640), toString(intDiv(number, 8640)), 'm', 1"
            " FROM numbers(8640 * 30)", parameters={"start": START // 86_400 * 86_400}
        )
        target, source, *level = LEVELS[0]
        statement = recompute_statement(target, source, *level, [START // 60])
        plan = client.query("EXPLAIN indexes = 1 " + statement[statement.index("SELECT") :]).result_rows

    granules = [line.split()[-1] for (line,) in plan if "Granules:" in line]
    read, total = map(int, granules[-1].split("/"))
    assert total >= 30
    assert read <= total / 24 + 2
