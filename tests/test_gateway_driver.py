"""clickhouse-connect against the gateway: what its users do, unchanged.

The driver's own suite runs with tests/integration/run_driver_suite.py.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import IPv6Address
from typing import Any

import clickhouse_connect
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.databases import ANALYST_PASSWORD, WRITER_PASSWORD, Database

FAILS_LATE = "SELECT sleepEachRow(0.002), throwIf(number = 100) FROM numbers(200)"
BY_ROW = {"max_block_size": 1, "wait_end_of_query": 0}
COLUMNS = (
    "id UInt32, time DateTime64(3, 'UTC'), zone DateTime64(0, 'Asia/Tokyo'), low LowCardinality(String),"
    " map Map(String, Float64), array Array(Nullable(Int32)), value Nullable(Float64), uuid UUID, wide Decimal(38, 9),"
    " ip IPv6, enum Enum8('a' = 1, 'b' = 2), tuple Tuple(a Int8, b String), fixed FixedString(3), big UInt256"
)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


def rows(count: int) -> list[list[Any]]:
    """Rows of the table `t`, with every third value absent."""
    return [
        [n, NOW, NOW.replace(microsecond=0), f"low{n % 5}", {"a": n / 2}, [n, None], None if n % 3 == 0 else n / 4, UUID,
         Decimal(n) / 8, f"2001:db8::{n:x}", "ab"[n % 2], (n % 100, str(n)), b"abc", 2**200 + n]
        for n in range(count)
    ]  # fmt: skip


@pytest.fixture
def connect(gateway: Database, schema: str) -> Iterator[Callable[..., Any]]:
    """Makes clients of the test's database."""
    clients: list[Any] = []

    def connect(**options: Any) -> Any:
        login = {"username": "writer", "password": WRITER_PASSWORD, "database": schema} | options
        clients.append(clickhouse_connect.get_client(host="127.0.0.1", port=gateway.port, **login))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def client(connect: Callable[..., Any]) -> Any:
    client = connect()
    client.command(f"CREATE TABLE t ({COLUMNS}) ENGINE = MergeTree ORDER BY id")
    return client


def test_rows_of_every_type_come_back_as_they_went(client: Any) -> None:
    written = rows(50)
    assert client.insert("t", written).written_rows == 50

    read = client.query("SELECT * FROM t ORDER BY id").result_rows

    assert [row[0] for row in read] == list(range(50))
    for sent, got in zip(written, read, strict=True):
        assert got[1].timestamp() == NOW.timestamp()
        assert got[2].utcoffset().total_seconds() == 9 * 3600
        assert list(got[3:9]) == sent[3:9]
        assert got[9] == IPv6Address(sent[9])
        assert (got[10], got[12], got[13]) == (sent[10], b"abc", sent[13])


def test_columns_frames_and_arrow_go_in(client: Any) -> None:
    client.insert("t", [[1, 2], ["x", "y"]], column_names=["id", "low"], column_oriented=True)
    client.insert_df("t", pd.DataFrame({"id": [3, 4], "low": ["z", "z"], "value": [1.5, 2.5]}))
    client.insert_arrow("t", pa.table({"id": pa.array([5, 6], pa.uint32()), "low": ["p", "q"]}))
    client.raw_insert("t", ["id", "low"], "7,csv\n8,csv\n", fmt="CSV")
    client.raw_insert("t", ["id", "low"], gzip.compress(b"9,zipped\n"), fmt="CSV", compression="gzip")
    client.raw_insert("t", ["id"], b"\x01\x02\x02id\x06UInt32\x0a\0\0\0\x0b\0\0\0", fmt="Native")
    client.command("INSERT INTO t (id) FORMAT CSV", data="12\n")
    client.command("INSERT INTO t (id) SELECT number + 13 FROM numbers(2)")

    assert client.query("SELECT groupArray(id) FROM (SELECT id FROM t ORDER BY id)").result_rows[0][0] == list(range(1, 15))


def test_answers_come_as_rows_columns_arrays_frames_and_arrow(client: Any) -> None:
    query = "SELECT number AS n, toString(number) AS s FROM numbers(1000)"

    assert client.query(query).result_columns[0] == list(range(1000))
    assert client.query_np("SELECT number FROM numbers(1000)").tolist() == [[n] for n in range(1000)]
    assert isinstance(client.query_np(query), np.ndarray)
    assert client.query_df(query)["n"].sum() == 499500
    assert client.query_df_arrow(query)["s"].iloc[-1] == "999"
    assert client.query_arrow(query).column("n").to_pylist() == list(range(1000))
    assert client.raw_query(query, fmt="TSV").count(b"\n") == 1000


def test_streams_are_whole(client: Any) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(500000)") as blocks:
        assert sum(len(block) for block in blocks) == 500_000
    with client.query_column_block_stream("SELECT number FROM numbers(500000)") as blocks:
        assert sum(sum(block[0]) for block in blocks) == 124999750000
    with client.query_rows_stream("SELECT number FROM numbers(10000)") as stream:
        assert sum(row[0] for row in stream) == 49995000
    with client.query_arrow_stream("SELECT number FROM numbers(500000)") as batches:
        assert sum(batch.num_rows for batch in batches) == 500_000
    with client.query_df_stream("SELECT number FROM numbers(200000)") as frames:
        assert sum(len(frame) for frame in frames) == 200_000
    assert client.raw_stream("SELECT number FROM numbers(100000)", fmt="TSV").read().count(b"\n") == 100_000


def test_stream_may_be_left_early_and_the_session_goes_on(client: Any) -> None:
    with client.query_rows_stream("SELECT number, repeat('x', 1000) FROM numbers(100000)") as stream:
        assert next(iter(stream))[0] == 0

    assert client.command("SELECT 1") == 1


def test_empty_answers_have_columns_only_when_asked(client: Any) -> None:
    assert client.query("SELECT id, low FROM t LIMIT 0").column_names == ("id", "low")
    assert client.query("SELECT id FROM t WHERE id = 999").result_rows == []
    assert client.command("SELECT 13 WHERE 0") == ""
    assert "query_id" in client.query("SET max_threads = 1").first_item


def test_parameters_and_binary_values_are_bound(client: Any) -> None:
    assert client.query("SELECT {x:UInt32} + 1, {s:String}", parameters={"x": 41, "s": "it's"}).result_rows == [(42, "it's")]
    assert client.query("SELECT %(x)s", parameters={"x": "q'q"}).result_rows == [("q'q",)]
    assert client.query("SELECT arraySum({x:Array(Int32)})", parameters={"x": [1, 2, 3]}).result_rows == [(6,)]
    assert client.raw_query("SELECT b FROM format(CSVWithNames, $d$)", parameters={"$d$": b"a,b\n100,700"}) == b"700\n"
    assert client.query("SELECT length($d$) AS n", parameters={"$d$": b"\xff\x00'"}).result_rows == [(3,)]


@pytest.mark.parametrize("compress", ["lz4", "zstd", "gzip", False])
def test_every_compression_works_both_ways(client: Any, connect: Callable[..., Any], compress: str | bool) -> None:
    compressing = connect(compress=compress)
    compressing.insert("t", rows(3000))

    assert compressing.query("SELECT count(), sum(id) FROM t").result_rows == [(3000, 4498500)]
    assert len(compressing.query("SELECT * FROM t").result_rows) == 3000


@pytest.mark.parametrize("mode", [True, "scrub", False])
@pytest.mark.parametrize("compress", [False, "lz4", "zstd"])
def test_error_after_the_first_rows_reaches_the_client(
    connect: Callable[..., Any], caplog: pytest.LogCaptureFixture, mode: Any, compress: Any
) -> None:
    caplog.set_level(logging.CRITICAL)
    client = connect(compress=compress, show_clickhouse_errors=mode)

    for ask in (lambda: client.query(FAILS_LATE, settings=BY_ROW).result_rows, lambda: consume(client)):
        with pytest.raises(StreamFailureError) as caught:
            ask()
        text = str(caught.value)
        if mode is False:
            assert text == "The ClickHouse server returned an error"
        else:
            assert "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO" in text
            assert ("version" in text) == (mode is True)
    assert client.command("SELECT 1") == 1


def consume(client: Any) -> None:
    with client.query_rows_stream(FAILS_LATE, settings=BY_ROW) as stream:
        for _ in stream:
            pass


def test_errors_carry_code_and_name(client: Any) -> None:
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM does_not_exist")
    assert (caught.value.code, caught.value.name) == (60, "UNKNOWN_TABLE")

    with pytest.raises(DatabaseError, match=r"Code: (117|27)"):
        client.raw_insert("t", ["id"], "abc\n", fmt="CSV")
    with pytest.raises(DatabaseError, match="max_block_siz"):
        client.query("SELECT 1", settings={"max_block_siz": 1})
    assert client.command("SELECT 1") == 1


def test_settings_are_per_query_per_client_or_per_session(client: Any, connect: Callable[..., Any]) -> None:
    asked = "SELECT getSetting('max_block_size')"

    assert client.query(asked, settings={"max_block_size": 12345}).result_rows == [(12345,)]
    assert client.query(asked).result_rows == [(65409,)]
    assert connect(settings={"max_block_size": 999}).query(asked).result_rows == [(999,)]
    client.command("SET max_block_size = 777")
    assert client.query(asked).result_rows == [(777,)]


def test_temporary_tables_live_in_the_session(client: Any) -> None:
    client.command("CREATE TEMPORARY TABLE kept (a String, b String)")
    client.command("INSERT INTO kept VALUES ('1', '2'), ('3', '4')")
    client.insert_df("kept", client.query_df("SELECT * FROM kept"))

    assert client.command("SELECT count() FROM kept") == 4


def test_server_may_be_described(client: Any) -> None:
    assert client.ping()
    assert "statement" in client.query("SHOW CREATE TABLE system.tables").column_names
    assert "CREATE TABLE" in client.command("SHOW CREATE TABLE t")
    assert client.command("EXISTS t") == 1
    assert len(client.query("DESCRIBE TABLE t").result_rows) == 14
    assert client.command("SHOW TABLES") == "t"


def test_external_data_is_a_table(connect: Callable[..., Any]) -> None:
    data = ExternalData(
        file_name="actors.csv", data=b"Redford,1936\nPacino,1940\n", fmt="CSV", structure="name String, born UInt16"
    )
    query = "SELECT name FROM actors WHERE born > {year:UInt16}"

    for options in ({}, {"form_encode_query_params": True}, {"username": "analyst", "password": ANALYST_PASSWORD}):
        asked = connect(**options).query(query, parameters={"year": 1938}, external_data=data)
        assert asked.result_rows == [("Pacino",)]


def test_query_ids_are_the_clients(client: Any) -> None:
    assert client.query("SELECT 1", settings={"query_id": "mine"}).query_id == "mine"
    assert uuid.UUID(client.query("SELECT 1").query_id).version == 4
    assert uuid.UUID(client.command("DROP TABLE IF EXISTS absent").query_id()).version == 4


def test_read_only_user_reads(client: Any, connect: Callable[..., Any]) -> None:
    client.insert("t", rows(10))
    analyst = connect(username="analyst", password=ANALYST_PASSWORD)

    assert analyst.query_df("SELECT id FROM t")["id"].sum() == 45
    with pytest.raises(DatabaseError, match="READONLY"):
        analyst.insert("t", rows(1))


def test_asynchronous_clients_share_the_engine(gateway: Database, schema: str) -> None:
    async def work() -> None:
        login = {"username": "writer", "password": WRITER_PASSWORD, "database": schema}
        async with await clickhouse_connect.get_async_client(
            host="127.0.0.1", port=gateway.port, autogenerate_session_id=False, **login
        ) as client:
            await client.command("CREATE TABLE t (a UInt32) ENGINE = MergeTree ORDER BY a")
            batches = [client.insert("t", [[n * 10 + i] for i in range(10)], column_names=["a"]) for n in range(8)]
            await asyncio.gather(*batches)
            answers = await asyncio.gather(*(client.query(f"SELECT {n}, count() FROM t") for n in range(20)))
            assert [answer.result_rows[0] for answer in answers] == [(n, 80) for n in range(20)]

            async with await client.query_rows_stream("SELECT number FROM numbers(10000)") as stream:
                assert sum([row[0] async for row in stream]) == 49995000
            with pytest.raises(StreamFailureError, match="Code: 395"):
                async with await client.query_rows_stream(FAILS_LATE, settings=BY_ROW) as stream:
                    async for _ in stream:
                        pass
            assert (await client.query_df("SELECT count() AS n FROM t"))["n"].tolist() == [80]

    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)
    asyncio.run(work())


def test_parquet_can_be_asked_for(client: Any) -> None:
    client.insert("t", rows(10))

    data = client.raw_query("SELECT id, value FROM t ORDER BY id", fmt="Parquet")

    assert pd.read_parquet(io.BytesIO(data))["id"].tolist() == list(range(10))
