"""`orbitrack migrate`: bring the database's tables up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from streams.cli import pass_config

if TYPE_CHECKING:
    from streams.config import Config

__all__ = ["command"]


@click.command()
@click.option("--cluster", metavar="NAME", help="Make Replicated tables with Distributed ones in front, on this cluster.")
@click.option("--prune", is_flag=True, help="Delete what reference files no longer list, also if that is more than half.")
@click.option("--print", "print_only", is_flag=True, help="Print the statements and change nothing.")
@pass_config
def command(config: Config, cluster: str | None, prune: bool, print_only: bool) -> None:
    """Bring the database's tables up to date, and what `[reference] files` list. Safe to repeat, and while everything runs."""
    from streams.clickhouse.client import connect, database_of
    from streams.clickhouse.cluster import render
    from streams.clickhouse.migrate import load_migrations, migrate
    from streams.clickhouse.reference import load_reference
    from streams.reference import read_reference

    database = config.database
    if print_only:
        for migration in load_migrations():
            click.echo(f"-- {migration.name}")
            for statement in render(migration.statements, database_of(database.dsn), cluster):
                click.echo(statement + ";\n")
        return
    tables = read_reference(config.reference.files)
    applied = migrate(database.dsn, **database.login, ttl=database.ttl, cluster=cluster)
    for name in applied:
        click.echo(f"applied {name}")
    if tables:
        with connect(database.dsn, **database.login) as client:
            for change in load_reference(client, tables, prune=prune):
                click.echo(f"loaded {change}")
    click.echo(f"database '{database_of(database.dsn)}' is up to date")
