"""The database as a role needs it at its start: there, migrated, and knowing what operators have written down.

    await wait_for_database(config.database)
    await load_reference_files(config)

It waits visibly, up to `[database] wait`, and says what it did in log lines.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clickhouse.reference import load_reference
from streams.clock import NS
from streams.errors import DependencyError
from streams.kafka import retry_visibly
from streams.reference import read_reference

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.config import Config, Database

__all__ = ["load_reference_files", "open_client", "wait_for_database"]

log = logging.getLogger(__name__)


def open_client(database: Database) -> Client:
    return connect(database.dsn, **database.login)


async def wait_for_database(database: Database) -> list[str]:
    """Returns, when the tables are as they should be, the migrations that were applied.

    DependencyError (exit status 3) when there is no database within `[database] wait`, or it does not let us in.
    """

    async def bring_up_to_date() -> list[str]:
        return await asyncio.to_thread(migrate, database.dsn, **database.login, ttl=database.ttl)

    applied: list[str] = await retry_visibly("ClickHouse", bring_up_to_date, (DependencyError,), database.wait_ns / NS)
    return applied


async def load_reference_files(config: Config) -> None:
    """Makes entities, maintenance and contacts say what `[reference] files` list. Errors as above, ConfigError for a file."""
    tables = read_reference(config.reference.files)

    def load() -> None:
        with open_client(config.database) as client:
            for change in load_reference(client, tables):
                log.warning("%s", change)

    await retry_visibly("ClickHouse", lambda: asyncio.to_thread(load), (DependencyError,), config.database.wait_ns / NS)
