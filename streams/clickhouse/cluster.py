"""The one switch from a single server to a cluster.

`render` turns the statements of schemas/clickhouse/ into their cluster variant: each table X becomes a Replicated table
X_local on every shard with a Distributed table X in front, sharded by entity where there is one, so that all revisions
of a window meet on one shard and FINAL there is FINAL everywhere. Views read X as before. With `cluster=None` nothing is
changed.

The macros {cluster}, {shard} and {replica} are those of the servers' configuration.
"""

from __future__ import annotations

import re

__all__ = ["local", "on_cluster", "render"]

TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\s*\n\((.*)\n\)\nENGINE = (\w+)(?:\((\w+)\))?\n(.*)", re.S)
OTHER = re.compile(r"CREATE (VIEW|FUNCTION) IF NOT EXISTS (\w+)")

# All rows that one FINAL, one GROUP BY key or one join must see together.
SHARDING_KEYS = {
    "flows": "cityHash64(exporter)", "rejects": "cityHash64(source)", "alert_events": "fingerprint",
    "deliveries": "cityHash64(webhook_id)", "dead_letters": "cityHash64(topic, partition)",
    "maintenance": "id", "contacts": "id", "schema_migrations": "cityHash64(name)",
}


def on_cluster(cluster: str | None) -> str:
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def local(table: str, cluster: str | None) -> str:
    """The table that holds the rows."""
    return f"{table}_local" if cluster else table


def render(statements: list[str], database: str, cluster: str | None) -> list[str]:
    """The statements as they are to be sent."""
    if cluster is None:
        return statements
    return [rendered for statement in statements for rendered in render_one(statement, database, cluster)]


def render_one(statement: str, database: str, cluster: str) -> list[str]:
    table = TABLE.fullmatch(statement)
    if not table:
        rendered, found = OTHER.subn(rf"CREATE \1 IF NOT EXISTS \2{on_cluster(cluster)}", statement, count=1)
        assert found, f"a statement that the cluster variant does not know: {statement[:80]}"
        return [rendered]
    name, columns, engine, version, rest = table.groups()
    # ON CLUSTER inserts retried after a lost answer are recognised by their token for a week (the default of the window).
    rest = rest.replace("non_replicated_deduplication_window", "replicated_deduplication_window")
    path = f"'/clickhouse/tables/{{shard}}/{database}/{name}', '{{replica}}'"
    arguments = f"{path}, {version}" if version else path
    key = SHARDING_KEYS.get(name, "cityHash64(entity)")
    return [
        f"CREATE TABLE IF NOT EXISTS {name}_local{on_cluster(cluster)}\n({columns}\n)\n"
        f"ENGINE = Replicated{engine}({arguments})\n{rest}",
        f"CREATE TABLE IF NOT EXISTS {name}{on_cluster(cluster)} AS {name}_local\n"
        f"ENGINE = Distributed('{cluster}', '{database}', '{name}_local', {key})",
    ]
