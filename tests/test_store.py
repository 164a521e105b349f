"""The store without Kafka: what it may commit, and when."""

from __future__ import annotations

import asyncio
import base64
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from streams import model
from streams import store as store_module
from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clock import NS
from streams.config import Config
from streams.ipc import encode
from streams.store import Store
from tests.made_windows import as_batch, expected_rollups, make_windows
from tests.processes import end, free_port, start_database
from tests.random_batches import random_batch

SEED = random.randrange(1 << 30)
NOW = 1_790_000_000 * NS


class Clock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.now_ns = NOW

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = open_store(database)
    yield store
    store.close()


def open_store(dsn: str, **settings: object) -> Store:
    return Store(Config.model_validate({"database": {"dsn": dsn}, **settings}), Clock())


def scalar(dsn: str, query: str) -> object:
    with connect(dsn) as client:
        return client.command(query)


def in_one_day(samples: pa.RecordBatch) -> pa.RecordBatch:
    """With times that need one partition, not hundreds."""
    times = pa.array(range(NOW, NOW + samples.num_rows * NS, NS), model.TIME)
    return samples.set_column(0, samples.schema.field(0), times)


def test_offsets_are_given_out_once_after_the_rows_are_there(database: str, store: Store) -> None:
    async def run() -> None:
        for offset in (5, 6, 9):                       # 7 and 8: markers of transactions
            await store.take("samples", 3, offset, encode(random_batch(model.SAMPLES, 10, SEED + offset)))
        await store.take("flows", 0, 1, encode(random_batch(model.FLOWS, 10, SEED)))
        assert store.committable() == {}
        assert await store.flush() == {("samples", 3): 10, ("flows", 0): 2}
        assert store.committable() == {}
        assert await store.flush() == {}

    asyncio.run(run())
    assert scalar(database, "SELECT (SELECT count() FROM v_samples), (SELECT count() FROM v_flows)") == ["30", "10"]


def test_offsets_of_windows_wait_for_their_rollups(database: str, store: Store) -> None:
    rows = make_windows(NOW // NS // 3600 * 3600, minutes=2, seed=SEED)

    async def run() -> None:
        await store.take("windows", 1, 41, encode(as_batch(rows)))
        await store.insert("windows_10s")
        assert scalar(database, "SELECT count() > 0 FROM v_10s") == 1
        assert store.committable() == {}
        await store.roll_up()
        assert store.committable() == {("windows", 1): 42}

    asyncio.run(run())
    for view, table in (("v_1m", "windows_1m"), ("v_1h", "windows_1h"), ("v_1d", "windows_1d")):
        assert scalar(database, f"SELECT count() FROM {view}") == len(expected_rollups(rows, table))


@pytest.mark.parametrize("value", [b"", b"garbage", bytes(1000), encode(random_batch(model.FLOWS, 3, 1))])
def test_record_that_is_no_batch_is_a_dead_letter_and_the_next_one_is_stored(database: str, store: Store, value: bytes) -> None:
    async def run() -> None:
        await store.take("samples", 2, 7, value)
        await store.take("samples", 2, 8, encode(random_batch(model.SAMPLES, 3, SEED)))
        assert await store.flush() == {("samples", 2): 9}

    asyncio.run(run())
    with connect(database) as client:
        assert client.query("SELECT stage, target, topic, partition, offset, payload FROM dead_letters").result_rows == [
            ("decode", "samples", "samples", 2, 7, base64.b64encode(value).decode())
        ]
        assert client.command("SELECT count() FROM v_samples") == 3


@pytest.mark.parametrize("cut", [1, 100, -1])
def test_cut_record_is_a_dead_letter(database: str, store: Store, cut: int) -> None:
    value = encode(random_batch(model.SAMPLES, 30, SEED))[:cut]

    async def run() -> None:
        await store.take("samples", 0, 0, value)
        await store.flush()

    asyncio.run(run())
    assert scalar(database, "SELECT (SELECT count() FROM v_samples), (SELECT count() FROM dead_letters)") in (
        ["0", "1"], ["30", "0"]                          # the end-of-stream mark alone may be missing
    )


def test_alerts_become_alert_events(database: str, store: Store) -> None:
    async def run() -> None:
        for offset in (0, 1, 0):                       # a replay
            await store.take("alerts", 0, offset, encode(random_batch(model.ALERTS, 5, SEED + offset)))
        await store.flush()

    asyncio.run(run())
    assert scalar(database, "SELECT count() FROM alert_events FINAL") == 10


def test_prefix_of_topics_is_honoured(database: str) -> None:
    store = open_store(database, kafka={"prefix": "test."})

    assert set(store.tables) == {"test.samples", "test.flows", "test.windows", "test.rejects", "test.alerts"}


def test_tables_are_inserted_when_due(database: str, store: Store) -> None:
    async def run() -> None:
        await store.take("samples", 0, 0, encode(random_batch(model.SAMPLES, 3, SEED)))
        assert store.due() == []
        store.clock.now_ns += NS                       # type: ignore[attr-defined]
        assert store.due() == ["samples"]

    asyncio.run(run())


def test_outage_of_the_database_loses_nothing_and_bounds_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records wait in `take` while the database is away; a kill -9 of it in the middle is such an outage."""
    monkeypatch.setattr(store_module, "BUFFER_BYTES_MAX", 200_000)
    monkeypatch.setattr(store_module, "RETRY_DELAYS_S", (0.05,))
    port = free_port()
    dsn = f"http://127.0.0.1:{port}/orbitrack"
    database = start_database(tmp_path / "data", port)
    store = open_store(dsn)
    batches = [in_one_day(random_batch(model.SAMPLES, 500, SEED + number, names=5)) for number in range(40)]
    taken = 0

    async def feed() -> None:
        nonlocal taken
        for number, batch in enumerate(batches):
            store.clock.now_ns += NS                   # type: ignore[attr-defined]
            await store.take("samples", 0, number, encode(batch))
            taken = number + 1

    async def until(condition) -> None:
        while not condition():                         # noqa: ASYNC110  other processes set no events
            await asyncio.sleep(0.01)

    async def run() -> dict:
        nonlocal database
        running = asyncio.create_task(store.run())
        feeding = asyncio.create_task(feed())
        await asyncio.wait_for(until(lambda: taken > 5), 60)
        database.send_signal(signal.SIGKILL)
        database.wait()
        await asyncio.wait_for(until(lambda: store.is_full), 60)
        for _ in range(20):
            await asyncio.sleep(0.01)
        held = store.sink.size_bytes + store.inserting_bytes
        assert held < 200_000 + 2 * batches[0].nbytes
        assert not feeding.done()
        assert "insert into 'samples', try" in store.counts.database.detail
        database = await asyncio.to_thread(start_database, tmp_path / "data", port)
        await asyncio.wait_for(feeding, 60)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return store.settled | await asyncio.wait_for(store.flush(), 60)

    try:
        migrate(dsn)
        print(f"seed {SEED}")
        assert asyncio.run(run()) == {("samples", 0): 40}
        rows = scalar(dsn, "SELECT count(), uniqExact(offset, position), sum(position) FROM v_samples")
        assert rows == ["20000", "20000", str(40 * sum(range(500)))]
    finally:
        store.close()
        end(database)


def test_records_that_are_no_batches_fill_the_buffers_like_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can write them, as many as he likes, while the database is away."""
    monkeypatch.setattr(store_module, "BUFFER_BYTES_MAX", 200_000)
    store = open_store("http://127.0.0.1:1/orbitrack")

    async def feed() -> None:
        for offset in range(1000):
            await store.take("samples", 0, offset, bytes(3000))

    async def run() -> None:
        feeding = asyncio.create_task(feed())
        for _ in range(20):
            await asyncio.sleep(0)
        assert store.is_full and not feeding.done()
        assert sum(len(letter.payload) for letter in store.waiting["samples"].letters) < 200_000
        with pytest.raises(asyncio.CancelledError):    # put back, they still count
            inserting = asyncio.create_task(store.insert("samples"))
            await asyncio.sleep(0.01)
            assert store.is_full
            inserting.cancel()
            await inserting
        assert store.is_full and not feeding.done()
        feeding.cancel()

    asyncio.run(run())


def test_database_is_known_to_be_up_or_away_without_any_insert(database: str, store: Store) -> None:
    async def run() -> None:
        watching = asyncio.create_task(store.watch_database())
        try:
            while not store.counts.database.is_up:                 # noqa: ASYNC110
                await asyncio.sleep(0.01)
        finally:
            watching.cancel()
        store.watch.connect = lambda: connect("http://127.0.0.1:1/orbitrack")
        store.watch.close()
        watching = asyncio.create_task(store.watch_database())
        try:
            while store.counts.database.is_up:                     # noqa: ASYNC110
                await asyncio.sleep(0.01)
        finally:
            watching.cancel()
        assert "127.0.0.1:1" in store.counts.database.detail

    asyncio.run(asyncio.wait_for(run(), 60))


def test_interrupted_flush_keeps_what_it_was_storing(database: str, store: Store) -> None:
    """A rebalance gives up waiting: the rows are still the store's, and are stored by the next flush."""
    async def run() -> None:
        store.sink.connect = lambda: connect("http://127.0.0.1:1/orbitrack")
        await store.take("samples", 0, 4, encode(random_batch(model.SAMPLES, 10, SEED)))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.flush(), 0.1)
        assert store.committable() == {}
        store.sink.connect = lambda: connect(database)
        assert await store.flush() == {("samples", 0): 5}

    asyncio.run(run())
    assert scalar(database, "SELECT count() FROM v_samples") == 10
