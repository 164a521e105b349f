"""Native for clients that name their protocol version: block info and time zones."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import clickhouse_connect
import pytest

from streams.gateway.blocks import BLOCK_INFO, BlockInfoJoiner, has_block_info
from tests.databases import ANALYST_PASSWORD, WRITER_PASSWORD, Database

# The version that clickhouse-connect 1.12 names.
VERSION = 54405


def native(*columns: tuple[str, str, bytes]) -> bytes:
    """A Native block of one row; names and types shorter than 128 bytes."""
    named = (bytes([len(name)]) + name.encode() + bytes([len(kind)]) + kind.encode() + data for name, kind, data in columns)
    return bytes([len(columns), 1]) + b"".join(named)


def test_block_info_precedes_every_block_but_not_nothing() -> None:
    joiner = BlockInfoJoiner(VERSION, dict)

    assert [joiner.join(block) for block in (b"\x01\x01a", b"", b"\x01\x02b")] == [
        BLOCK_INFO + b"\x01\x01a", b"", BLOCK_INFO + b"\x01\x02b",
    ]  # fmt: skip
    assert joiner.end() == b""


def test_time_zone_is_put_where_the_type_stands() -> None:
    joiner = BlockInfoJoiner(VERSION, lambda: {"at": "DateTime('Asia/Tokyo')"})
    number, data = ("n", "UInt8", b"\x07"), b"\1\2\3\4"

    block = joiner.join(native(number, ("at", "DateTime", data)))

    assert block == BLOCK_INFO + native(number, ("at", "DateTime('Asia/Tokyo')", data))


def test_column_that_data_imitate_keeps_the_plain_type() -> None:
    joiner = BlockInfoJoiner(VERSION, lambda: {"at": "DateTime('Asia/Tokyo')"})
    block = native(("s", "String", b"\x0c\x02at\x08DateTime"), ("at", "DateTime", b"\1\2\3\4"))

    assert joiner.join(block) == BLOCK_INFO + block


def test_types_are_asked_for_once_and_only_when_there_is_a_datetime() -> None:
    asked = []

    def zones() -> dict[str, str]:
        asked.append(1)
        return {}

    joiner = BlockInfoJoiner(VERSION, zones)
    joiner.join(native(("t", "DateTime64(9)", bytes(8))))
    assert not asked
    joiner.join(native(("t", "DateTime", bytes(4))))
    joiner.join(native(("t", "DateTime", bytes(4))))
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("format", "version", "has"),
    [("Native", 54337, True), ("native", 1, True), ("Native", 0, False), ("Native", 54454, False), ("CSV", VERSION, False)],
)
def test_which_answers_get_block_info(format: str, version: int, has: bool) -> None:
    assert has_block_info(format, version) == has


def test_gateway_answers_by_the_version_that_it_is_told(gateway: Database) -> None:
    query = "SELECT toDateTime(1676369730, 'Asia/Shanghai') AS at -- why\n FORMAT Native"
    plain = native(("at", "DateTime", b"\x42\x5f\xeb\x63"))
    zoned = native(("at", "DateTime('Asia/Shanghai')", b"\x42\x5f\xeb\x63"))

    assert gateway.ask(query).body == plain
    assert gateway.ask(query, client_protocol_version=54337).body == BLOCK_INFO + zoned
    assert gateway.ask(query, client_protocol_version=54336).body == BLOCK_INFO + plain
    assert gateway.ask(query, client_protocol_version=60000).body == plain
    assert gateway.ask("SELECT 1 WHERE 0 FORMAT Native", client_protocol_version=VERSION).body == b""
    exists = gateway.ask("EXISTS TABLE system.one FORMAT Native", client_protocol_version=VERSION)
    assert exists.body == BLOCK_INFO + native(("result", "UInt8", b"\1"))
    assert gateway.ask(query, client_protocol_version="new").code == 72


def test_block_info_is_written_for_every_block_of_a_stream(gateway: Database) -> None:
    query = "SELECT toUInt8(1) AS a FROM numbers(10) GROUP BY number WITH TOTALS SETTINGS max_block_size = 2, max_threads = 1"
    body = gateway.ask(f"{query} FORMAT Native", client_protocol_version=VERSION).body

    rows = [blocks[1] for blocks in body.split(BLOCK_INFO)[1:]]
    assert body.startswith(BLOCK_INFO)
    assert sum(rows) == 10


@pytest.mark.parametrize("user", ["writer", "analyst"])
def test_driver_shows_times_in_their_zone(gateway: Database, schema: str, user: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (at DateTime('Asia/Tokyo'), s String) ENGINE = MergeTree ORDER BY at")
    gateway.value(f"INSERT INTO {schema}.t VALUES ('2026-10-01 09:00:00', 'x')")
    password = {"writer": WRITER_PASSWORD, "analyst": ANALYST_PASSWORD}[user]
    login: dict[str, Any] = {"username": user, "password": password, "database": schema}
    with clickhouse_connect.get_client(host="127.0.0.1", port=gateway.port, **login) as client:
        rows = client.query("SELECT * FROM t WHERE s = {s:String}", parameters={"s": "x"}).result_rows
        empty = client.query("SELECT * FROM t WHERE 0").result_rows

    assert client.protocol_version == VERSION
    assert rows == [(datetime(2026, 10, 1, 9, tzinfo=ZoneInfo("Asia/Tokyo")), "x")]
    assert empty == []


def test_zone_in_a_temporary_table_of_a_session_is_not_known(gateway: Database, schema: str) -> None:
    create = "CREATE TEMPORARY TABLE own (at DateTime('Asia/Tokyo')) AS SELECT toDateTime(0)"
    gateway.value(create, session_id=schema)

    answer = gateway.ask("SELECT at FROM own FORMAT Native", session_id=schema, client_protocol_version=VERSION)

    assert answer.body == BLOCK_INFO + native(("at", "DateTime", bytes(4)))
