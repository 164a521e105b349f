"""How far a running query is, as the database sees it.

    progress = QueryProgress(lambda: connect(dsn), query_id)
    progress.look()         # "1,200,000 of 50,000,000 rows read", or "" while nobody knows
    progress.close()

It asks on a connection of its own, so it may be used while another thread waits for the query. A user who may not see
processes sees no progress.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from streams.clickhouse.ask import ask_rows
from streams.errors import OrbitrackError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["QueryProgress"]

# The embedded engine gives queries ids of its own; the client's is then the first line of the comment (docs/gateway.md).
RUNNING = """
SELECT read_rows, total_rows_approx FROM system.processes
WHERE {id:String} IN (query_id, splitByChar('\\n', Settings['log_comment'])[1])"""


class QueryProgress:
    def __init__(self, connect: Callable[[], Client], query_id: str) -> None:
        self.connect, self.query_id = connect, query_id
        self.client: Client | None = None
        self.is_refused = False

    def look(self) -> str:
        """Blocks for an answer; never raises for want of one."""
        if self.is_refused:
            return ""
        try:
            self.client = self.client or self.connect()
            rows = ask_rows(self.client, RUNNING, {"id": self.query_id})[1]
        except OrbitrackError:
            self.is_refused = True
            return ""
        read, total = map(int, rows[0]) if rows else (0, 0)
        return f"{read:,} of {total:,} rows read" if total > read else f"{read:,} rows read" if read else ""

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None
