"""What alerting keeps in the database, and what it asks of it: delivery attempts, maintenance, the present alerts.

    records = Records(config.database)
    records.write(outbox.unrecorded(500))           # tables deliveries, dead_letters; the same again does no harm
    engine.suppress(records.maintenance())
    names, rows = present_alerts(client)

Blocking: call it from a thread. DependencyError while the database is away or refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from streams.clickhouse.ask import ask_rows
from streams.clickhouse.client import ClickHouseError, classify, connect
from streams.clock import NS
from streams.errors import DependencyError
from streams.rules import Maintenance

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.config import Database
    from streams.telemetry import Dependency
    from streams.webhooks.outbox import Attempt

__all__ = ["Records", "present_alerts"]

MAINTENANCE_MAX = 10_000
ALERTS_MAX = 10_000
DELIVERY_COLUMNS = (
    "at", "endpoint", "webhook_id", "attempt", "status", "outcome", "rule", "fingerprint", "latency_ms", "error",
)
LETTER_COLUMNS = ("at", "stage", "target", "code", "error", "payload")
MAINTENANCE = f"""
SELECT toString(id), entity, toInt64(start), toInt64(end), reason FROM maintenance FINAL
WHERE cancelled = 0 AND end > start ORDER BY start DESC, id LIMIT {MAINTENANCE_MAX}"""
# The last event of every alert; firing, pending and suppressed ones are present.
PRESENT = f"""
SELECT state, rule, labels['entity'] AS entity, labels['severity'] AS severity, value,
       formatDateTime(starts_at, '%Y-%m-%dT%H:%i:%SZ') AS since, ifNull(reason, '') AS why, annotations['summary'] AS summary
FROM (SELECT * FROM alert_events ORDER BY seq DESC LIMIT 1 BY rule, fingerprint)
WHERE state IN ('firing', 'pending', 'suppressed')
ORDER BY indexOf(['firing', 'suppressed', 'pending'], state), starts_at, rule, entity LIMIT {ALERTS_MAX}"""


class Records:
    """`dependency`, if given, is told whether the database answers."""

    def __init__(self, database: Database, dependency: Dependency | None = None) -> None:
        self.database, self.dependency = database, dependency
        self.connected: Client | None = None

    def write(self, attempts: Sequence[Attempt]) -> None:
        """Attempts into `deliveries`, those that were the last without success also into `dead_letters`."""
        deliveries = [
            [
                time(each.at_ns), each.webhook, each.webhook_id, each.attempt, each.status or 0, each.outcome, each.rule,
                int(each.fingerprint or "0", 16), each.latency_ms, each.error or "",
            ]
            for each in attempts
        ]
        letters = [
            [time(each.at_ns), "webhook", each.webhook, each.status or 0, each.error or "", each.body.decode()]
            for each in attempts if each.outcome == "dead"
        ]
        self.insert("deliveries", DELIVERY_COLUMNS, deliveries)
        self.insert("dead_letters", LETTER_COLUMNS, letters)

    def insert(self, table: str, columns: Iterable[str], rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self.ask(lambda client: client.insert(table, rows, column_names=list(columns)))

    def maintenance(self) -> list[Maintenance]:
        """All that is not cancelled, the latest MAINTENANCE_MAX."""
        return [
            Maintenance(number, entity, start * NS, end * NS, reason)
            for number, entity, start, end, reason in self.ask(lambda client: client.query(MAINTENANCE).result_rows)
        ]

    def ask(self, question: Any) -> Any:
        try:
            if self.connected is None:
                self.connected = connect(self.database.dsn, **self.database.login)
            answer = question(self.connected)
        except (ClickHouseError, OSError) as error:
            raise self.away(classify(error).text) from error
        except DependencyError as error:
            raise self.away(str(error)) from error
        if self.dependency is not None:
            self.dependency.up()
        return answer

    def away(self, text: str) -> DependencyError:
        if self.connected is not None:
            self.connected.close()
            self.connected = None
        if self.dependency is not None:
            self.dependency.down(text)
        return DependencyError(f"the database did not take or give what alerting needs: {text}")


def present_alerts(client: Client) -> tuple[list[str], list[list[Any]]]:
    """Names and rows of the alerts that are firing, suppressed or pending, as `alert_events` has them. Errors as `ask_rows`."""
    return ask_rows(client, PRESENT)


def time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // NS, UTC) + timedelta(microseconds=time_ns % NS // 1000)
