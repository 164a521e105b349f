"""The database as a role needs it at its start: there, migrated, and knowing what operators have written down.

    await wait_for_database(config.database)
    await load_reference_rows(config.database, read_reference(config.reference.files))

It waits visibly, up to `[database] wait`, and says what it did in log lines.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clickhouse.reference import load_reference
from streams.clock import NS
from streams.errors import ConfigError, DependencyError
from streams.kafka import retry_visibly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clickhouse_connect.driver.client import Client

    from streams.config import Database
    from streams.reference import Row

__all__ = ["load_reference_rows", "open_client", "wait_for_database"]

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


async def load_reference_rows(database: Database, tables: Mapping[str, Mapping[Any, Row]]) -> None:
    """Makes entities, maintenance and contacts say what files list (streams.reference.read_reference). Errors as above.

    Where that would delete most of what files once listed, nothing is loaded and an error logged: rows from Kafka need not wait
    for somebody who looks for a file.
    """

    def load() -> None:
        try:
            with open_client(database) as client:
                for change in load_reference(client, tables):
                    log.warning("loaded %s", change)
        except ConfigError as error:
            log.error("%s", error)

    await retry_visibly("ClickHouse", lambda: asyncio.to_thread(load), (DependencyError,), database.wait_ns / NS)
