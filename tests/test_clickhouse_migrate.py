"""Migrations against the embedded database: the tables are those of the model, and no state is left half way."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from streams.clickhouse.client import connect, connect_to_server
from streams.clickhouse.cluster import chosen_cluster, cluster_of, render
from streams.clickhouse.migrate import (
    DEFAULT_TTL_NS,
    LEDGER,
    Migration,
    create_database,
    load_migrations,
    migrate,
    set_ttls,
    split_statements,
    ttl_statement,
)
from streams.clickhouse.native import TABLES
from streams.clickhouse.queries import catalogue
from streams.clock import NS
from streams.errors import ConfigError, DependencyError

ROLLUPS = ("windows_1m", "windows_1h", "windows_1d")


def columns(client, table: str) -> list[tuple[str, str, str]]:
    """(name, type, default kind) in order."""
    return [
        tuple(row) for row in client.query(
            "SELECT name, type, default_kind FROM system.columns WHERE database = currentDatabase() AND table = {table:String}"
            " ORDER BY position", parameters={"table": table},
        ).result_rows
    ]


@pytest.mark.parametrize("name", [*TABLES, *ROLLUPS])
def test_table_has_the_columns_of_its_schema_and_its_identity(database: str, name: str) -> None:
    table = TABLES.get(name, TABLES["windows_10s"])

    with connect(database) as client:
        found = [(column, kind) for column, kind, default in columns(client, name) if default != "MATERIALIZED"]

    identity = list(zip(table.identity or (), ("UInt32", "UInt64", "UInt32"), strict=False))
    assert found == table.columns + identity


def test_every_column_says_its_unit_and_meaning(database: str) -> None:
    with connect(database) as client:
        silent = client.query(
            "SELECT c.table, c.name FROM system.columns AS c"
            " JOIN system.tables AS t ON t.database = c.database AND t.name = c.table"
            " WHERE c.database = currentDatabase() AND t.engine LIKE '%MergeTree' AND length(c.comment) < 3"
        ).result_rows

    assert silent == []


def test_everything_named_in_the_design_is_there(database: str) -> None:
    expected = {
        "samples", "flows", "windows_10s", "windows_1m", "windows_1h", "windows_1d", "rejects", "entities", "maintenance",
        "contacts", "alert_events", "deliveries", "dead_letters", "schema_migrations", "reference_rows",
        "v_samples", "v_flows", "v_10s", "v_1m", "v_1h", "v_1d",
    } | {f"sla_{name}" for name in catalogue()}

    with connect(database) as client:
        found = {name for (name,) in client.query("SHOW TABLES").result_rows}
        functions = client.query("SELECT name FROM system.functions WHERE origin = 'SQLUserDefined'").result_columns[0]

    assert found == expected
    assert set(functions) == {"sk_key", "sk_val", "sk_quantile", "sk_le", "mac_text"}


def test_second_run_applies_nothing(database: str) -> None:
    assert migrate(database) == []


def test_changed_file_is_refused_by_name(database: str) -> None:
    changed = [Migration(each.name, each.text + "-- changed\n" * (each.name == "0002_records")) for each in load_migrations()]

    with pytest.raises(ConfigError) as refusal:
        migrate(database, migrations=changed)

    assert "schemas/clickhouse/0002_records.sql: was applied to database" in str(refusal.value)
    assert "hint: leave applied files alone" in str(refusal.value)


def test_migration_that_was_cut_off_is_finished(database_server: str) -> None:
    dsn = f"{database_server}/cut_off"
    files = load_migrations()
    with connect_to_server(dsn) as server:
        server.command("CREATE DATABASE cut_off")
    with connect(dsn) as client:
        for statement in files[1].statements[:2]:       # applied, but not recorded: killed in between
            client.command(statement)

    assert migrate(dsn) == [each.name for each in files]
    assert migrate(dsn) == []


def test_two_processes_may_migrate_at_once(database_server: str) -> None:
    dsn = f"{database_server}/at_once"

    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: migrate(dsn), range(4)))

    assert any(applied)
    with connect(dsn) as client:
        assert client.command("SELECT uniqExact(name) FROM schema_migrations") == len(load_migrations())


def test_ttl_counts_from_the_insert_and_follows_the_configuration(database: str) -> None:
    def ttls(client) -> dict[str, int]:
        rows = client.query("SELECT name, engine_full FROM system.tables WHERE database = currentDatabase()").result_rows
        found = {name: re.search(r"TTL stored \+ toIntervalSecond\((\d+)\)", engine) for name, engine in rows}
        return {name: int(match[1]) * NS for name, match in found.items() if match}

    with connect(database) as client:
        assert ttls(client) == {table: ttl for table, ttl in DEFAULT_TTL_NS.items() if ttl}

        migrate(database, ttl={"samples": 0, "windows_1d": 3600 * NS})
        assert "samples" not in ttls(client)
        assert ttls(client)["windows_1d"] == 3600 * NS
        assert set_ttls(client, {"samples": 0}) == []


def test_row_without_an_expired_age_survives_a_merge_however_old_its_event_is(database: str) -> None:
    with connect(database) as client:
        client.command("INSERT INTO samples (time, entity, metric, value) VALUES ('2001-01-01 00:00:00', 'a', 'm', 1)")
        client.command("OPTIMIZE TABLE samples FINAL")
        assert client.command("SELECT count() FROM samples") == 1


def test_rows_inserted_by_hand_are_told_apart_by_content(database: str) -> None:
    row = "('2026-10-01 00:00:00', 'e', {bytes})"
    with connect(database) as client:
        for bytes_ in (1, 2, 2):
            client.command(f"INSERT INTO flows (time_start, exporter, bytes) VALUES {row.format(bytes=bytes_)}")
        assert client.query("SELECT bytes, partition, offset, position FROM v_flows ORDER BY bytes").result_rows == [
            (1, 0, 0, 0), (2, 0, 0, 0)
        ]


def test_macs_are_text_in_the_view(database: str) -> None:
    with connect(database) as client:
        client.command("INSERT INTO flows (exporter, src_mac) VALUES ('e', unhex('AABBCC0102FF'))")
        assert client.query("SELECT src_mac, dst_mac FROM v_flows").result_rows == [("aa:bb:cc:01:02:ff", None)]


def test_last_inserted_row_with_an_id_is_the_valid_one(database: str) -> None:
    span = "'2026-10-01 00:00:00', '2026-10-01 01:00:00'"
    with connect(database) as client:
        client.command(f"INSERT INTO maintenance (id, entity, start, end) VALUES (7, 'a', {span})")
        client.command(f"INSERT INTO maintenance (id, entity, start, end, cancelled) VALUES (7, 'b', {span}, 1)")
        assert client.query("SELECT entity, reason, cancelled FROM maintenance FINAL").result_rows == [("b", "planned", 1)]


@pytest.mark.parametrize("scale", [1e-7, 1.0, -1.0, 1e7, 1e15])
def test_sketch_quantiles_keep_one_percent_at_every_scale(database: str, scale: float) -> None:
    values = np.arange(1, 1001) * scale

    with connect(database) as client:
        (found,) = client.query(
            f"WITH (number + 1) * {scale} AS v, sumMap(map(sk_key(v), 1)::Map(Int16, UInt32)) AS sk"
            " SELECT sk_quantile(sk, 0.5), sk_quantile(sk, 0.99), sk_le(sk, 2e30), sk_le(sk, -2e30) FROM numbers(1000)"
        ).result_rows

    assert found[:2] == pytest.approx(np.quantile(values, [0.5, 0.99], method="inverted_cdf"), rel=0.0101)
    assert found[2:] == (1, 0)


def test_empty_sketch_has_no_quantile(database: str) -> None:
    with connect(database) as client:
        assert client.command("SELECT isNaN(sk_quantile(map()::Map(Int16, UInt32), 0.5))") == 1


def test_cluster_variant_parses_and_replicates_every_table(database: str) -> None:
    statements = [statement for each in load_migrations() for statement in each.statements]

    rendered = render(statements, "orbitrack", "main")

    with connect(database) as client:
        for statement in rendered:
            client.query("EXPLAIN AST " + statement)
    tables = [statement for statement in rendered if statement.startswith("CREATE TABLE")]
    assert all(" ON CLUSTER 'main'" in statement for statement in rendered)
    replicated = [each for each in tables if "ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/" in each]
    distributed = [each for each in tables if "ENGINE = Distributed('main', 'orbitrack', " in each]
    assert len(replicated) == len(distributed) == len(tables) / 2
    assert not any("non_replicated_deduplication_window" in each for each in tables)


def test_statements_about_databases_and_ages_parse_for_a_cluster(database: str) -> None:
    statements = [create_database("a`b", "main"), ttl_statement("samples_local", 60, "main"), ttl_statement("t", 0, "main")]

    assert all(" ON CLUSTER 'main'" in statement for statement in statements)
    with connect(database) as client:
        for statement in statements + [each.replace(" ON CLUSTER 'main'", "") for each in statements]:
            client.query("EXPLAIN AST " + statement)


# An engine that knows a cluster; ours knows none.
ASK_ENGINE = """
import chdb, sys
folder, *statements = sys.argv[1:]
connection = chdb.connect(f"{folder}/data?config-file={folder}/config.xml")
for statement in statements:
    connection.query(statement)
print(connection.query("SELECT engine_full FROM system.tables WHERE name = 'schema_migrations'", "TSVRaw").bytes().decode())
"""
REMOTE_SERVERS = """<clickhouse><remote_servers><main><shard>
    <replica><host>127.0.0.1</host><port>9000</port></replica>
</shard></main></remote_servers></clickhouse>"""


def test_cluster_is_read_from_the_tables_as_the_engine_describes_them(tmp_path: Path) -> None:
    (tmp_path / "config.xml").write_text(REMOTE_SERVERS)
    _, distributed = render([LEDGER], "orbitrack", "main")
    statements = ["CREATE DATABASE orbitrack", "USE orbitrack", LEDGER.replace("schema_migrations", "schema_migrations_local")]
    statements.append(distributed.replace(" ON CLUSTER 'main'", ""))

    answer = subprocess.run(
        [sys.executable, "-c", ASK_ENGINE, str(tmp_path), *statements], capture_output=True, text=True, timeout=120, check=True
    )

    assert cluster_of(answer.stdout) == "main"
    assert chosen_cluster(None, answer.stdout, "orbitrack") == chosen_cluster("main", answer.stdout, "orbitrack") == "main"
    with pytest.raises(ConfigError, match="database 'orbitrack' is on cluster 'main', not on cluster 'other'"):
        chosen_cluster("other", answer.stdout, "orbitrack")


def test_tables_of_a_single_server_stay_there(database: str) -> None:
    with pytest.raises(ConfigError, match="was made for a single server, not on cluster 'main'\n  hint: leave --cluster out"):
        migrate(database, cluster="main")
    assert chosen_cluster("main", "", "orbitrack") == "main"


def test_views_of_a_newer_version_are_left_alone(database: str) -> None:
    """An old store that starts again during an upgrade."""
    with connect(database) as client:
        client.command("CREATE OR REPLACE VIEW sla_worst AS SELECT 1 AS newer COMMENT 'newer'")
        client.command("INSERT INTO schema_migrations (name, checksum) VALUES ('9999_newer', '')")

        assert migrate(database) == []
        assert client.query("SELECT * FROM sla_worst").column_names == ("newer",)

        client.command("ALTER TABLE schema_migrations DELETE WHERE name = '9999_newer' SETTINGS mutations_sync = 2")
        migrate(database)
        assert client.command("SELECT count() FROM system.tables WHERE database = currentDatabase() AND comment = 'newer'") == 0


def test_statements_are_told_apart() -> None:
    assert split_statements("-- a; b\nSELECT 1;\n\n-- c\nSELECT\n  ';x' ;\n") == ["SELECT 1", "SELECT\n  ';x'"]


def test_absent_database_is_a_retryable_dependency() -> None:
    with pytest.raises(DependencyError) as refusal:
        migrate("http://127.0.0.1:1/orbitrack")

    assert refusal.value.retryable
    assert "ClickHouse at 127.0.0.1:1" in str(refusal.value)
