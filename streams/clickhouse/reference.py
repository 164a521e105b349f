"""Entities, maintenance and contacts in the database as the files of the configuration list them.

    for change in load_reference(client, read_reference(config.reference.files)):
        print(change)                        # entities: 2 new, 1 changed, 1 deleted

What a file lists is inserted where the database does not say the same already, so that loading again changes nothing. What a
file listed once and none lists any more is deleted. Rows inserted with SQL under other keys stay as they are, and so do
tables that no file lists. Several processes may load at once: all come to the same rows.

More than half of what files listed is not deleted unasked: a file that was forgotten looks just like one that was emptied.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from streams.clickhouse.client import ClickHouseError, classify
from streams.clickhouse.cluster import cluster_of, local, on_cluster
from streams.errors import ConfigError, DependencyError
from streams.reference import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from clickhouse_connect.driver.client import Client

    from streams.reference import Row

__all__ = ["Change", "delete_statement", "load_reference"]

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
        named = f" ({some(self.deleted)})" if self.deleted else ""
        return f"{self.table}: {self.new} new, {self.changed} changed, {len(self.deleted)} deleted{named}"


def some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")


def load_reference(client: Client, tables: Mapping[str, Mapping[Any, Row]], *, prune: bool = False) -> list[Change]:
    """Makes the tables say what `tables` (streams.reference.read_reference) list; returns what changed, table by table.

    ConfigError, with nothing changed, when that would delete more than half of the rows that files have listed in a table,
    unless with `prune`. DependencyError when the database is away or refuses.
    """
    try:
        known = {table: listed_keys(client, table) for table in tables}
        if not prune:
            check_losses(tables, known)
        changes = [load_table(client, table, rows, known[table]) for table, rows in tables.items()]
    except ClickHouseError as error:
        raise DependencyError(f"loading of reference files: {classify(error).text}", retryable=True) from error
    return [change for change in changes if change.new or change.changed or change.deleted]


def listed_keys(client: Client, table: str) -> set[str]:
    """Of the rows that a file listed at the last load."""
    return {str(key) for (key,) in client.query(
        "SELECT key FROM reference_rows FINAL WHERE kind = {table:String} AND is_listed", parameters={"table": table}
    ).result_rows}


def check_losses(tables: Mapping[str, Mapping[Any, Row]], known: Mapping[str, set[str]]) -> None:
    losses = []
    for table, rows in tables.items():
        gone = sorted(known[table] - {str(key) for key in rows})
        if 2 * len(gone) > len(known[table]):
            losses.append(f"{len(gone)} of {len(known[table])} {table} ({some(gone)})")
    if losses:
        raise ConfigError(
            f"the reference files no longer list {' and '.join(losses)}: they were not deleted, and nothing was loaded",
            hint="is a file missing in [reference] files? if they shall go: `orbitrack migrate --prune`",
        )


def load_table(client: Client, table: str, rows: Mapping[Any, Row], known: set[str]) -> Change:
    held = {row[KEYS[table]]: row for row in stored_rows(client, table, rows)}
    fresh = {key: row for key, row in rows.items() if held.get(key) != row}
    if fresh:
        columns = list(next(iter(fresh.values())))
        client.insert(table, [[row[column] for column in columns] for row in fresh.values()], column_names=columns)
    listed = {str(key) for key in rows}
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
        some_keys = tuple(keys[first : first + DELETE_KEYS])
        client.command(delete_statement(table, cluster), parameters={"keys": some_keys}, settings={"mutations_sync": 2})


def delete_statement(table: str, cluster: str | None = None) -> str:
    """ALTER that takes the rows of %(keys)s away, on every server of a cluster."""
    return f"ALTER TABLE {local(table, cluster)}{on_cluster(cluster)} DELETE WHERE toString({KEYS[table]}) IN %(keys)s"
