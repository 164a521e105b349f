"""The schema, brought to where schemas/clickhouse/*.sql says it should be.

    applied = migrate(config.database.dsn, ttl=config.database.ttl)      # ["0001_functions", ...], [] the next time

Files are applied in the order of their numbers, each statement on its own, and recorded with a checksum in
`schema_migrations`. Every statement can be repeated (IF NOT EXISTS), so a migration that was cut off is simply run
again, and two processes may do it at once. A file that was applied and then changed is refused: what is out there can only be
changed by a new file. tests/golden/clickhouse holds a database as each of them left it, to see that it goes forward.
How long rows stay is configuration, not schema: TTLs are set after every migration.

It does not know what the tables mean, nor how to go back.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streams.clickhouse import cluster as clusters
from streams.clickhouse.client import ClickHouseError, classify, connect, connect_to_server, database_of, quoted
from streams.clickhouse.views import make_views
from streams.clock import NS
from streams.errors import ConfigError, DependencyError
from streams.resources import schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from clickhouse_connect.driver.client import Client

__all__ = ["DEFAULT_TTL_NS", "Migration", "create_database", "load_migrations", "migrate", "set_ttls", "ttl_statement"]

log = logging.getLogger(__name__)

DAY_NS = 86_400 * NS

# Counted from the insert (column `stored`). Raw rows are for looking into the last incident, minutes for a year's contract
# and its disputes, hours for five years, days for ever.
DEFAULT_TTL_NS = {
    "samples": 14 * DAY_NS, "flows": 14 * DAY_NS, "rejects": 30 * DAY_NS,
    "windows_10s": 30 * DAY_NS, "windows_1m": 400 * DAY_NS, "windows_1h": 5 * 366 * DAY_NS, "windows_1d": 0,
    "alert_events": 400 * DAY_NS, "deliveries": 90 * DAY_NS, "dead_letters": 90 * DAY_NS,
}

LEDGER = """\
CREATE TABLE IF NOT EXISTS schema_migrations
(
    name     String   COMMENT 'file in schemas/clickhouse without .sql',
    checksum String   COMMENT 'SHA-256 of the file, hex',
    at       DateTime64(3, 'UTC') DEFAULT now64(3) COMMENT 'UTC: when it was applied'
)
ENGINE = ReplacingMergeTree(at)
ORDER BY name
COMMENT 'which migrations were applied'"""


@dataclass(frozen=True)
class Migration:
    """One file: `statements` as they are sent, `checksum` of the whole text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        return split_statements(self.text)


def split_statements(text: str) -> list[str]:
    """The statements of a file. Comments are whole lines or stand between statements; `;` ends a line."""
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return [statement.strip() for statement in re.split(r";[ \t]*(?:\n|$)", code) if statement.strip()]


def load_migrations() -> list[Migration]:
    """schemas/clickhouse/*.sql in order."""
    files = sorted((each for each in schemas("clickhouse").iterdir() if each.name.endswith(".sql")), key=lambda each: each.name)
    return [Migration(each.name.removesuffix(".sql"), each.read_text(encoding="utf-8")) for each in files]


def applied_checksums(client: Client) -> dict[str, str]:
    """Of the migrations that the database has, by name."""
    rows = client.query("SELECT name, argMax(checksum, at) FROM schema_migrations GROUP BY name").result_rows
    return {str(name): str(checksum) for name, checksum in rows}


def missing_migrations(applied: Mapping[str, str], migrations: Sequence[Migration], database: str) -> list[Migration]:
    """Those not applied yet. ConfigError if one that was has changed since."""
    for migration in migrations:
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise ConfigError(
                f"was applied to database '{database}' with other contents "
                f"(checksum {applied[migration.name][:12]}, now {migration.checksum[:12]})",
                file=f"schemas/clickhouse/{migration.name}.sql",
                hint="leave applied files alone and put the change into a new, higher numbered one",
            )
    return [migration for migration in migrations if migration.name not in applied]


def migrate(
    dsn: str, *, user: str | None = None, password: str | None = None, ttl: Mapping[Any, int] | None = None,
    cluster: str | None = None, migrations: Iterable[Migration] | None = None,
) -> list[str]:
    """Creates the database, applies what is missing, sets the TTLs; returns the names of what it applied.

    The views of the SLA catalogue are made with them, but not with `migrations` (other ones, some of them: the views need the
    whole schema), nor in a database that a newer version has migrated: its views are newer too.
    `ttl`: nanoseconds by table, over DEFAULT_TTL_NS, 0 for ever. `cluster`: name of a ClickHouse cluster, on which tables are
    Replicated with a Distributed one in front (see streams/clickhouse/cluster.py); once they are there it need not be named.
    DependencyError when the database is away or refuses, ConfigError when it is on another cluster.
    """
    database = database_of(dsn)
    files = load_migrations() if migrations is None else list(migrations)
    try:
        with connect_to_server(dsn, user=user, password=password) as server:
            cluster = clusters.chosen_cluster(cluster, engine_of_ledger(server, database), database)
            server.command(create_database(database, cluster))
        with connect(dsn, user=user, password=password) as client:
            for statement in clusters.render([LEDGER], database, cluster):
                client.command(statement)
            applied = applied_checksums(client)
            newer = sorted(applied.keys() - {migration.name for migration in files})
            if newer:
                log.warning("database '%s' was migrated by a newer version: %s", database, ", ".join(newer))
            missing = missing_migrations(applied, files, database)
            for migration in missing:
                apply(client, migration, database, cluster)
            set_ttls(client, DEFAULT_TTL_NS | dict(ttl or {}), cluster)
            if migrations is None and not newer:
                make_views(client, cluster)
    except ClickHouseError as error:
        raise DependencyError(f"migration of database '{database}': {classify(error).text}", retryable=False) from error
    return [migration.name for migration in missing]


def engine_of_ledger(server: Client, database: str) -> str:
    """`engine_full` of schema_migrations, empty where there is none."""
    rows = server.query(
        "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = {table:String}",
        parameters={"database": database, "table": clusters.LEDGER_TABLE},
    ).result_rows
    return str(rows[0][0]) if rows else ""


def create_database(database: str, cluster: str | None = None) -> str:
    return f"CREATE DATABASE IF NOT EXISTS {quoted(database)}{clusters.on_cluster(cluster)}"


def apply(client: Client, migration: Migration, database: str, cluster: str | None) -> None:
    for statement in clusters.render(migration.statements, database, cluster):
        try:
            client.command(statement)
        except ClickHouseError as error:
            first = " ".join(statement.split())[:80]
            raise DependencyError(
                f"schemas/clickhouse/{migration.name}.sql: `{first} ...` was refused: {classify(error).text}", retryable=False
            ) from error
    client.insert("schema_migrations", [[migration.name, migration.checksum]], column_names=["name", "checksum"])


def set_ttls(client: Client, ttl: Mapping[Any, int], cluster: str | None = None) -> list[str]:
    """Makes rows of each table stay `ttl[table]` nanoseconds after their insert, 0 for ever; returns the tables changed.

    Only the clause is changed; the next merges apply it (`materialize_ttl_after_modify = 0`: rewriting all parts at start is
    not worth being exact about old ones).
    """
    names = {clusters.local(table, cluster): table for table in ttl}
    rows = client.query(
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String} AND name IN {tables:Array(String)}",
        parameters={"database": client.database, "tables": list(names)},
    ).result_rows
    changed = []
    for name, engine in rows:
        found = re.search(r"\bTTL stored \+ toIntervalSecond\((\d+)\)", engine)
        seconds = ttl[names[name]] // NS
        if seconds == (int(found[1]) if found else 0):
            continue
        client.command(ttl_statement(name, seconds, cluster), settings={"materialize_ttl_after_modify": 0})
        changed.append(names[name])
    return changed


def ttl_statement(table: str, seconds: int, cluster: str | None = None) -> str:
    """ALTER that makes rows of the table that holds them stay for `seconds` after their insert, 0 for ever."""
    clause = f"MODIFY TTL stored + toIntervalSecond({seconds})" if seconds else "REMOVE TTL"
    return f"ALTER TABLE {quoted(table)}{clusters.on_cluster(cluster)} {clause}"
