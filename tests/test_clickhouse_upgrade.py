"""Databases as earlier versions left them (tests/golden/clickhouse), brought to the present with everything in them."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from streams.clickhouse.client import connect, connect_to_server
from streams.clickhouse.migrate import Migration, load_migrations, migrate
from streams.errors import ConfigError, DependencyError
from tests.schema_dump import FOLDER, insertable, missing, rows, schema, statements_of, tables

DUMPS = sorted(FOLDER.glob("after_*.sql"))


@pytest.fixture
def empty(database_server: str, request: pytest.FixtureRequest) -> str:
    """DSN of a database without anything."""
    name = re.sub(r"\W", "_", request.node.name)[-50:]
    with connect_to_server(f"{database_server}/{name}") as server:
        server.command(f"DROP DATABASE IF EXISTS {name} SYNC")
        server.command(f"CREATE DATABASE {name}")
    return f"{database_server}/{name}"


def restore(dsn: str, dump: Path) -> None:
    with connect(dsn) as client:
        for statement in statements_of(dump.read_text()):
            client.command(statement, settings={"optimize_on_insert": 0})


def test_every_migration_has_a_dump() -> None:
    assert [file.name for _, file in missing()] == [], "run `python -m tests.schema_dump`"


@pytest.mark.parametrize("dump", DUMPS, ids=lambda file: file.stem)
def test_earlier_state_goes_forward_with_its_rows(empty: str, database: str, dump: Path) -> None:
    restore(empty, dump)
    number = DUMPS.index(dump) + 1
    with connect(empty) as client:
        columns = {table: insertable(client, table) for table in tables(client)}
        before = {table: rows(client, table, columns[table]) for table in columns}

    applied = migrate(empty)

    assert applied == [each.name for each in load_migrations()[number:]]
    with connect(empty) as client, connect(database) as fresh:
        assert schema(client) == schema(fresh)
        del before["schema_migrations"]
        assert {table: rows(client, table, columns[table]) for table in before} == before
    assert number == 1 or sum(map(len, before.values())) > 5
    assert migrate(empty) == []


def test_dump_reads_as_the_rows_that_were_put_in(empty: str) -> None:
    restore(empty, DUMPS[-1])

    with connect(empty) as client:
        (window,) = (json.loads(row) for row in rows(client, "windows_10s", ["rev", "cnt", "sk"]))
        entities = rows(client, "entities", ["entity", "kind"])
        assert client.command("SELECT count() FROM samples") == 3
        assert client.command("SELECT count() FROM v_samples") == 2

    assert window == {"rev": "6", "cnt": "3", "sk": {"4211": 1, "4281": 1, "4293": 1}}
    assert entities == ['{"entity":"link-1","kind":"rack"}']


def test_released_migration_that_was_edited_is_refused_for_every_earlier_state(empty: str) -> None:
    restore(empty, DUMPS[2])
    edited = [Migration(each.name, each.text + "-- tidied\n" * (each.name == "0003_windows")) for each in load_migrations()]

    with pytest.raises(ConfigError, match=r"schemas/clickhouse/0003_windows\.sql: was applied to database '.*' with other"):
        migrate(empty, migrations=edited)
    with connect(empty) as client:
        assert "alert_events" not in tables(client)         # nothing after it was applied either


def test_migration_that_fails_half_way_names_its_statement_and_is_finished_later(empty: str) -> None:
    good = "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x;\n"
    bad = "CREATE TABLE IF NOT EXISTS b (x UInt9) ENGINE = MergeTree ORDER BY x;\n"

    with pytest.raises(DependencyError) as refusal:
        migrate(empty, migrations=[Migration("0001_two", good + bad)])

    assert str(refusal.value).startswith(
        "schemas/clickhouse/0001_two.sql: `CREATE TABLE IF NOT EXISTS b (x UInt9) ENGINE = MergeTree ORDER BY x ...` was"
    )
    assert not refusal.value.retryable
    assert migrate(empty, migrations=[Migration("0001_two", good + bad.replace("9", "16"))]) == ["0001_two"]
    with connect(empty) as client:
        assert tables(client) == ["a", "b", "schema_migrations"]


def test_database_of_a_newer_version_is_used_and_said(empty: str, caplog: pytest.LogCaptureFixture) -> None:
    """So that the old stores of a rolling upgrade may start again."""
    restore(empty, DUMPS[-1])

    with caplog.at_level(logging.WARNING):
        assert migrate(empty, migrations=load_migrations()[:2]) == []

    assert "was migrated by a newer version: 0003_windows, 0004_reference" in caplog.text
