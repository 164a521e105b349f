"""Whose fault a refusal is."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from streams.clickhouse.ask import AWAY, GIVEN_UP, ask_rows, failure
from streams.clickhouse.client import ROW_FAULTS, TABLE_FAULTS, ClickHouseError, Fault, classify, connect, database_of
from streams.errors import DependencyError, InputError, OrbitrackError, UsageError


def test_codes_have_the_names_that_the_engine_gives_them(database: str) -> None:
    away = dict(zip(
        AWAY, ("TOO_MANY_SIMULTANEOUS_QUERIES", "SOCKET_TIMEOUT", "NETWORK_ERROR", "ALL_CONNECTION_TRIES_FAILED"), strict=True,
    ))
    given_up = dict(zip(GIVEN_UP, (
        "TOO_MANY_ROWS", "TIMEOUT_EXCEEDED", "TOO_SLOW", "MEMORY_LIMIT_EXCEEDED", "TOO_MANY_BYTES", "QUERY_WAS_CANCELLED",
        "TOO_MANY_ROWS_OR_BYTES",
    ), strict=True))
    expected = ROW_FAULTS | TABLE_FAULTS | away | given_up

    with connect(database) as client:
        rows = client.query(
            "SELECT code, errorCodeToName(code) FROM (SELECT arrayJoin({codes:Array(Int32)}) AS code)",
            parameters={"codes": list(expected)},
        ).result_rows

    assert dict(rows) == expected


def refusal_of(dsn: str, statement: str):
    with connect(dsn) as client, pytest.raises(ClickHouseError) as refused:
        client.command(statement)
    return classify(refused.value)


def test_missing_table_is_the_tables_fault(database: str) -> None:
    refusal = refusal_of(database, "INSERT INTO absent VALUES (1)")

    assert (refusal.code, refusal.fault, refusal.retryable) == (60, Fault.TABLE, True)


def test_violated_constraint_is_the_rows_fault(database: str) -> None:
    with connect(database) as client:
        client.command("CREATE TABLE few (a UInt8, CONSTRAINT few CHECK a < 3) ENGINE = Memory")

    refusal = refusal_of(database, "INSERT INTO few VALUES (1), (7)")

    assert (refusal.code, refusal.fault, refusal.retryable) == (469, Fault.ROW, False)


def test_memory_limit_is_the_dependencys_fault(database: str) -> None:
    refusal = refusal_of(database, "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")

    assert (refusal.code, refusal.fault) == (241, Fault.DEPENDENCY)


def test_unknown_codes_and_lost_connections_are_waited_for() -> None:
    assert classify(ConnectionResetError("gone")).fault is Fault.DEPENDENCY
    assert classify(OSError()).text == "OSError"


@pytest.mark.parametrize(("code", "kind", "what"), [
    *((code, DependencyError, "the database does not answer") for code in (None, *AWAY)),
    *((code, InputError, "the database gave up") for code in GIVEN_UP), (62, UsageError, "the database refused"),
])
def test_who_asked_in_vain_is_told_whose_fault_it_is(code: int | None, kind: type[OrbitrackError], what: str) -> None:
    error = DatabaseError("said so")
    error.code = code

    told = failure(error)

    assert (type(told), str(told).splitlines()[0]) == (kind, f"{what}: said so")


def test_connecting_where_nothing_listens_says_where_and_what_to_do() -> None:
    with pytest.raises(DependencyError) as refusal:
        connect("http://127.0.0.1:1/orbitrack")

    assert "ClickHouse at 127.0.0.1:1: " in str(refusal.value)
    assert "hint: is `orbitrack up` running, and is [database] dsn right?" in str(refusal.value)


def test_settings_of_the_dsn_reach_the_server(database: str) -> None:
    with connect(database + "?max_threads=3", settings={"max_block_size": 77}) as client:
        assert client.command("SELECT getSetting('max_threads'), getSetting('max_block_size')") == ["3", "77"]


def test_database_of_a_dsn() -> None:
    assert database_of("http://u:p@h:1/my%2Ddata?x=1") == "my-data"
    assert database_of("http://h:1") == "orbitrack"


def test_analyst_is_answered_in_our_formats(database: str) -> None:
    dsn = database.replace("http://", "http://analyst@")
    with connect(dsn) as client:
        names, rows = ask_rows(client, "SELECT toDateTime(0, 'UTC') AS epoch, toUInt64(1) AS one")
    assert (names, rows) == (["epoch", "one"], [["1970-01-01T00:00:00Z", 1]])
