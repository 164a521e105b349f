"""Entities, maintenance and contacts in the database as the files of the configuration list them.

    for change in load_reference(client, read_reference(config.reference.files)):
        print(change)                        # entities: 2 new, 1 changed, 1 deleted

What a file lists is inserted where the database does not say the same already, so that loading again changes nothing. What a
file listed once and none lists any more is deleted. Rows inserted with SQL under other keys stay as they are, and so do
tables that no file lists. Several processes may load at once: all come to the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from streams.clickhouse.client import ClickHouseError, classify
from streams.clickhouse.cluster import cluster_of, local, on_cluster
from streams.errors import DependencyError
from streams.reference import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clickhouse_connect.driver.client import Client

    from streams.reference import Row

__all__ = ["Change", "load_reference"]

# Of keys in one DELETE: a statement has a size limit.
DELETE_KEYS = 1000


@dataclass(frozen=True)
class Change:
    """What loading did to a table."""

    table: str
    new: int = 0
    changed: int = 0
    deleted: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({', '.join(self.deleted[:5])}{', ...' if len(self.deleted) > 5 else ''})" if self.deleted else ""
        return f"{self.table}: {self.new} new, {self.changed} changed, {len(self.deleted)} deleted{named}"


def load_reference(client: Client, tables: Mapping[str, Mapping[Any, Row]]) -> list[Change]:
    """Makes the tables say what `tables` (streams.reference.read_reference) list; returns what changed, table by table.

    DependencyError when the database is away or refuses.
    """
    try:
        changes = [load_table(client, table, rows) for table, rows in tables.items()]
    except ClickHouseError as error:
        raise DependencyError(f"loading of reference files: {classify(error).text}", retryable=True) from error
    return [change for change in changes if change.new or change.changed or change.deleted]


def load_table(client: Client, table: str, rows: Mapping[Any, Row]) -> Change:
    held = {row[KEYS[table]]: row for row in stored_rows(client, table, rows)}
    fresh = {key: row for key, row in rows.items() if held.get(key) != row}
    if fresh:
        columns = list(next(iter(fresh.values())))
        client.insert(table, [[row[column] for column in columns] for row in fresh.values()], column_names=columns)
    listed = {str(key) for key in rows}
    known = {key for (key,) in client.query(
        "SELECT key FROM reference_rows FINAL WHERE kind = {table:String} AND is_listed", parameters={"table": table}
    ).result_rows}
    # Before the rows go: killed in between, the next load finds them marked as listed and deletes them.
    mark(client, table, listed - known, is_listed=True)
    gone = sorted(known - listed)
    if gone:
        delete(client, table, gone)
        mark(client, table, gone, is_listed=False)
    new = sum(key not in held for key in fresh)
    return Change(table, new, len(fresh) - new, tuple(gone))


def stored_rows(client: Client, table: str, rows: Mapping[Any, Row]) -> Iterator[Row]:
    """What the table says now, in the columns that files have."""
    if not rows:
        return
    columns = list(next(iter(rows.values())))
    for row in client.query(f"SELECT {', '.join(columns)} FROM {table} FINAL").result_rows:
        # Times of a column in UTC come without saying so.
        values = (value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for value in row)
        yield dict(zip(columns, values, strict=True))


def mark(client: Client, table: str, keys: Any, *, is_listed: bool) -> None:
    if keys:
        client.insert(
            "reference_rows", [[table, key, int(is_listed)] for key in sorted(keys)], column_names=["kind", "key", "is_listed"]
        )


def delete(client: Client, table: str, keys: list[str]) -> None:
    """Takes rows away, on a cluster from every shard; returns when they are gone."""
    engine = str(client.command(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        parameters={"table": table},
    ))
    cluster = cluster_of(engine)
    for first in range(0, len(keys), DELETE_KEYS):
        client.command(
            f"ALTER TABLE {local(table, cluster)}{on_cluster(cluster)} DELETE WHERE toString({KEYS[table]}) IN %(keys)s",
            parameters={"keys": tuple(keys[first : first + DELETE_KEYS])}, settings={"mutations_sync": 2},
        )
