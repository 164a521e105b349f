"""Dumps of databases as earlier versions left them: schema, a few rows in every table, and the list of migrations.

    PYTHONPATH=ext:. python -m tests.schema_dump        # writes the missing ones of tests/golden/clickhouse/after_NNNN.sql

A dump is SQL that can be run statement by statement in an empty database. It is written once, when its migration is new,
and never again: tests/test_clickhouse_upgrade.py brings each of them to the present.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streams.clickhouse.client import connect, connect_to_server
from streams.clickhouse.migrate import load_migrations, migrate, split_statements
from tests.processes import REPOSITORY, running_database

FOLDER = REPOSITORY / "tests" / "golden" / "clickhouse"
# JSON values that mean the same in every version; floats with all their digits.
FORMAT = {"output_format_json_quote_64bit_integers": 1, "output_format_json_quote_denormals": 1}
INSERTABLE = """
SELECT name FROM system.columns WHERE database = currentDatabase() AND table = {table:String} AND default_kind != 'MATERIALIZED'
ORDER BY position
"""

def tables(client: Any) -> list[str]:
    found = client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' ORDER BY name"
    )
    return [name for (name,) in found.result_rows]


def schema(client: Any) -> list[str]:
    """Statements that make the same functions, tables and views, without the name of the database."""
    functions = client.query("SELECT create_query FROM system.functions WHERE origin = 'SQLUserDefined' ORDER BY name")
    made = client.query(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() ORDER BY engine = 'View', name"
    )
    statements = [text.replace("CREATE FUNCTION", "CREATE FUNCTION IF NOT EXISTS", 1) for (text,) in functions.result_rows]
    return statements + [text.replace(f"{client.database}.", "") for (text,) in made.result_rows]


def rows(client: Any, table: str, columns: list[str]) -> list[str]:
    """One JSON object a row, as the valid revisions are read."""
    text = client.raw_query(f"SELECT {', '.join(columns)} FROM {table} FINAL", settings=FORMAT, fmt="JSONEachRow").decode()
    return sorted(text.splitlines())


def insertable(client: Any, table: str) -> list[str]:
    return [str(name) for (name,) in client.query(INSERTABLE, parameters={"table": table}).result_rows]


def dump(client: Any) -> str:
    statements = schema(client)
    for table in tables(client):
        columns = insertable(client, table)
        if held := client.raw_query(f"SELECT {', '.join(columns)} FROM {table}", settings=FORMAT, fmt="JSONEachRow").decode():
            statements.append(f"INSERT INTO {table} ({', '.join(columns)}) FORMAT JSONEachRow\n{held.rstrip()}")
    return ";\n\n".join(statements) + ";\n"


def statements_of(text: str) -> list[str]:
    return [statement for statement in text.rstrip().removesuffix(";").split(";\n\n") if statement]


def missing() -> Iterator[tuple[int, Path]]:
    """How many migrations, and the dump after them."""
    for count, migration in enumerate(load_migrations(), 1):
        file = FOLDER / f"after_{migration.name[:4]}.sql"
        if not file.exists():
            yield count, file


def write(server: str, count: int, file: Path) -> None:
    with connect_to_server(f"{server}/golden") as client:
        client.command("DROP DATABASE IF EXISTS golden SYNC")
    migrate(f"{server}/golden", migrations=load_migrations()[:count])
    with connect(f"{server}/golden") as client:
        for statement in split_statements((FOLDER / "rows.sql").read_text()):
            if statement.split()[2] in tables(client):
                # As it is: what stands twice is not merged on its way in.
                client.command(statement, settings={"optimize_on_insert": 0})
        file.write_text(dump(client))
        print(file.relative_to(REPOSITORY))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for count, file in missing():
        # An engine of its own: functions belong to no database, and later migrations make more of them.
        with tempfile.TemporaryDirectory() as folder, running_database(Path(folder) / "data") as server:
            write(server, count, file)
