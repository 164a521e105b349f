"""The one switch from a single server to a cluster.

`render` turns the statements of schemas/clickhouse/ into their cluster variant: each table X becomes a Replicated table
X_local on every shard with a Distributed table X in front, sharded by entity where there is one, so that all revisions
of a window meet on one shard and FINAL there is FINAL everywhere. Views read X as before. With `cluster=None` nothing is
changed.

The macros {cluster}, {shard} and {replica} are those of the servers' configuration.
"""

from __future__ import annotations

import re

from streams.errors import ConfigError

__all__ = ["LEDGER_TABLE", "chosen_cluster", "cluster_of", "local", "on_cluster", "render"]

TABLE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)\s*\n\((.*)\n\)\nENGINE = (\w+)(?:\((\w+)\))?\n(.*)", re.S)
OTHER = re.compile(r"CREATE (?:OR REPLACE VIEW|(?:VIEW|FUNCTION) IF NOT EXISTS) \w+")
DISTRIBUTED = re.compile(r"Distributed\('([^']+)'")

# The first table that a migration makes: what it is says what the others are.
LEDGER_TABLE = "schema_migrations"

# All rows that one FINAL, one GROUP BY key or one join must see together.
SHARDING_KEYS = {
    "flows": "cityHash64(exporter)", "rejects": "cityHash64(source)", "alert_events": "fingerprint",
    "deliveries": "cityHash64(webhook_id)", "dead_letters": "cityHash64(topic, partition)",
    "maintenance": "id", "contacts": "id", "schema_migrations": "cityHash64(name)", "reference_rows": "cityHash64(key)",
}


def on_cluster(cluster: str | None) -> str:
    return f" ON CLUSTER '{cluster}'" if cluster else ""


def local(table: str, cluster: str | None) -> str:
    """The table that holds the rows."""
    return f"{table}_local" if cluster else table


def cluster_of(engine: str) -> str | None:
    """The cluster that a table of this engine (`engine_full` in system.tables) is spread over, if it is."""
    found = DISTRIBUTED.match(engine)
    return found[1] if found else None


def chosen_cluster(asked: str | None, ledger_engine: str, database: str) -> str | None:
    """The cluster to migrate: that of the tables which are there, whoever asks; `asked` where there are none.

    `ledger_engine`: `engine_full` of LEDGER_TABLE, empty where it does not exist. ConfigError when both say something else.
    """
    if not ledger_engine:
        return asked
    found = cluster_of(ledger_engine)
    if asked not in (None, found):
        there = f"is on cluster '{found}'" if found else "was made for a single server"
        hint = "leave --cluster out to migrate it as it is, or name another database in [database] dsn"
        raise ConfigError(f"database '{database}' {there}, not on cluster '{asked}'", hint=hint)
    return found


def render(statements: list[str], database: str, cluster: str | None) -> list[str]:
    """The statements as they are to be sent."""
    if cluster is None:
        return statements
    return [rendered for statement in statements for rendered in render_one(statement, database, cluster)]


def render_one(statement: str, database: str, cluster: str) -> list[str]:
    table = TABLE.fullmatch(statement)
    if not table:
        other = OTHER.match(statement)
        assert other, f"a statement that the cluster variant does not know: {statement[:80]}"
        return [f"{other[0]}{on_cluster(cluster)}{statement[other.end():]}"]
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
