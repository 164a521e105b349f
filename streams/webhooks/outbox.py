"""Everything that alerting must not lose, in one SQLite file: DATA/alert/outbox.sqlite.

    outbox = Outbox(path)
    outbox.commit(rows, {partition: offset}, events, messages, now_ns)         # one transaction: all of it or nothing
    message = outbox.next_due("ops", now_ns)
    outbox.delivered(message, now_ns, status, latency_ms)

Why a file and not the topic `alerts` alone: the engine's state, the offsets that led to it, the events and the messages
must change together, and attempts and due times change with every delivery; one local transaction does that exactly.
One process owns it; `orbitrack alerts` comes as a guest, to read or to revive dead letters. The file itself: outbox_file.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streams.clock import NS
from streams.webhooks.messages import Message
from streams.webhooks.outbox_file import OutboxFile
from streams.webhooks.retry import CIRCUIT_FAILURES

__all__ = ["Attempt", "Outbox", "Waiting"]

# Delivered messages and published events are kept for `orbitrack alerts`; dead letters longer, somebody may want them back.
KEEP_DONE_NS = 7 * 86_400 * NS
KEEP_DEAD_NS = 30 * 86_400 * NS
ERROR_CHARS_MAX = 500


@dataclass(frozen=True)
class Waiting:
    """A message that is due. `attempts` were made before."""

    number: int
    webhook: str
    webhook_id: str
    body: bytes
    attempts: int


@dataclass(frozen=True)
class Attempt:
    """One try at a delivery: a row of the table `deliveries`. `outcome` is delivered, retry or dead.

    `status` is None where there was no answer; `rule`, `fingerprint` and `body` are those of its message.
    """

    number: int
    at_ns: int
    webhook_id: str
    webhook: str
    attempt: int
    outcome: str
    status: int | None
    error: str | None
    latency_ms: float
    rule: str
    fingerprint: str
    body: bytes


class Outbox(OutboxFile):
    """`access`: its owner, of which there is one, or a guest that comes to read, or to write as well."""

    # --- what the alerter decides ---

    def commit(
        self, rows: Mapping[str, bytes | None], progress: Mapping[int, int], events: Sequence[tuple[str, bytes]],
        messages: Iterable[Message], now_ns: int,
    ) -> None:
        """`rows`: what changed of the engine's state, by name; None is deleted. `progress`: the last applied offset of each
        partition. `events`: (identity, Arrow IPC). All of it or nothing.

        What is there already stays: the same decision made twice is one.
        """
        with self.transaction():
            kept = [(name, row) for name, row in rows.items() if row is not None]
            self.database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", kept)
            gone = [(name,) for name, row in rows.items() if row is None]
            self.database.executemany("DELETE FROM state WHERE name = ?", gone)
            self.database.executemany("INSERT OR REPLACE INTO progress VALUES (?, ?)", progress.items())
            self.database.executemany(
                "INSERT OR IGNORE INTO events (identity, content, at_ns) VALUES (?, ?, ?)",
                [(identity, content, now_ns) for identity, content in events],
            )
            self.put(messages, now_ns)

    def put(self, messages: Iterable[Message], now_ns: int) -> None:
        self.database.executemany(
            "INSERT OR IGNORE INTO messages (webhook, webhook_id, lane, fingerprint, body, created_ns, due_ns)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(each.webhook, each.webhook_id, each.lane, each.fingerprint, each.body, now_ns, now_ns) for each in messages],
        )

    def rows(self) -> dict[str, bytes]:
        """The engine's state as it was committed last; empty for a new outbox."""
        return dict(self.database.execute("SELECT name, content FROM state").fetchall())

    def progress(self) -> dict[int, int]:
        return dict(self.database.execute("SELECT partition, offset FROM progress").fetchall())

    # --- events on their way to the topic ---

    def unpublished(self, limit: int) -> list[tuple[int, str, bytes]]:
        """(number, identity, Arrow IPC) of the oldest events that Kafka has not acknowledged."""
        return self.database.execute(
            "SELECT number, identity, content FROM events WHERE NOT is_published ORDER BY number LIMIT ?", (limit,)
        ).fetchall()

    def published(self, numbers: Iterable[int]) -> None:
        self.mark("UPDATE events SET is_published = 1 WHERE number = ?", numbers)

    # --- messages on their way to receivers ---

    def next_due(self, webhook: str, now_ns: int) -> Waiting | None:
        """The oldest message that may be sent now: first in its lane, its pause over, its webhook not left alone."""
        values = {"webhook": webhook, "now": now_ns}
        if self.database.execute("SELECT 1 FROM webhooks WHERE name = :webhook AND closed_until_ns > :now", values).fetchone():
            return None
        # The oldest of all is the first of its lane; only while it pauses are the other lanes looked through.
        for first in (
            "(SELECT min(number) FROM messages WHERE webhook = :webhook AND state = 'waiting')",
            "(SELECT min(number) FROM messages WHERE webhook = :webhook AND state = 'waiting' GROUP BY lane)",
        ):
            row = self.database.execute(
                f"SELECT number, webhook, webhook_id, body, attempts FROM messages"
                f" WHERE number IN {first} AND due_ns <= :now ORDER BY number LIMIT 1",
                values,
            ).fetchone()
            if row:
                return Waiting(*row)
        return None

    def next_due_ns(self, webhook: str) -> int | None:
        """When `next_due` can next have something; None while nothing waits."""
        (due_ns,) = self.database.execute(
            """SELECT min(due_ns) FROM messages WHERE number IN
               (SELECT min(number) FROM messages WHERE webhook = ? AND state = 'waiting' GROUP BY lane)""",
            (webhook,),
        ).fetchone()
        if due_ns is None:
            return None
        row = self.database.execute("SELECT closed_until_ns FROM webhooks WHERE name = ?", (webhook,)).fetchone()
        return max(int(due_ns), int(row[0]) if row else 0)

    def delivered(self, message: Waiting, now_ns: int, status: int, latency_ms: float) -> None:
        """It got through. If nothing did before, the others that wait for this webhook need wait no longer."""
        with self.transaction():
            self.database.execute(
                "UPDATE messages SET state = 'delivered', attempts = attempts + 1, done_ns = ?, error = NULL WHERE number = ?",
                (now_ns, message.number),
            )
            self.note_attempt(message, now_ns, "delivered", status, None, latency_ms)
            failures = self.failures(message.webhook)
            if failures:
                self.note_health(message.webhook, 0, 0)
            if failures >= CIRCUIT_FAILURES:
                self.database.execute(
                    "UPDATE messages SET due_ns = min(due_ns, ?) WHERE webhook = ? AND state = 'waiting'",
                    (now_ns, message.webhook),
                )

    def failed(
        self, message: Waiting, now_ns: int, status: int | None, error: str, latency_ms: float, *,
        due_ns: int | None, failures: int, closed_until_ns: int,
    ) -> None:
        """It did not get through: again at `due_ns`, or never (None: a dead letter)."""
        state, done_ns = ("waiting", None) if due_ns is not None else ("dead", now_ns)
        with self.transaction():
            self.database.execute(
                "UPDATE messages SET state = ?, attempts = attempts + 1, due_ns = coalesce(?, due_ns), done_ns = ?, error = ?"
                " WHERE number = ?",
                (state, due_ns, done_ns, error[:ERROR_CHARS_MAX], message.number),
            )
            self.note_attempt(message, now_ns, "retry" if state == "waiting" else "dead", status, error, latency_ms)
            self.note_health(message.webhook, failures, closed_until_ns)

    def note_health(self, webhook: str, failures: int, closed_until_ns: int) -> None:
        self.database.execute("INSERT OR REPLACE INTO webhooks VALUES (?, ?, ?)", (webhook, failures, closed_until_ns))

    def note_attempt(
        self, message: Waiting, now_ns: int, outcome: str, status: int | None, error: str | None, latency_ms: float
    ) -> None:
        shown = error and error[:ERROR_CHARS_MAX]
        self.database.execute(
            "INSERT INTO attempts (at_ns, webhook_id, webhook, attempt, outcome, status, error, latency_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (now_ns, message.webhook_id, message.webhook, message.attempts + 1, outcome, status, shown, latency_ms),
        )

    def failures(self, webhook: str) -> int:
        """How many attempts at this webhook have failed in a row."""
        row = self.database.execute("SELECT failures FROM webhooks WHERE name = ?", (webhook,)).fetchone()
        return int(row[0]) if row else 0

    def bury(self, webhooks: Sequence[str], now_ns: int) -> int:
        """Messages for webhooks that are not configured any more become dead letters. Returns how many."""
        marks = ", ".join("?" * len(webhooks))
        return self.change(
            f"UPDATE messages SET state = 'dead', done_ns = ?, error = 'no such webhook in the configuration'"
            f" WHERE state = 'waiting' AND webhook NOT IN ({marks})",
            now_ns, *webhooks,
        )

    def revive(self, webhook: str, now_ns: int) -> int:
        """Dead letters of a webhook are tried again. Returns how many."""
        return self.change(
            "UPDATE messages SET state = 'waiting', attempts = 0, due_ns = ?, done_ns = NULL"
            " WHERE state = 'dead' AND webhook = ?",
            now_ns, webhook,
        )

    # --- attempts on their way to the table `deliveries` ---

    def unrecorded(self, limit: int) -> list[Attempt]:
        rows = self.database.execute(
            "SELECT a.number, at_ns, webhook_id, webhook, attempt, outcome, status, a.error, latency_ms,"
            " lane, fingerprint, body FROM attempts AS a JOIN messages USING (webhook, webhook_id)"
            " WHERE NOT is_recorded ORDER BY a.number LIMIT ?",
            (limit,),
        ).fetchall()
        return [Attempt(*row) for row in rows]

    def recorded(self, numbers: Iterable[int]) -> None:
        self.mark("UPDATE attempts SET is_recorded = 1 WHERE number = ?", numbers)

    # --- housekeeping ---

    def change(self, statement: str, *values: object) -> int:
        """One statement on its own; returns how many rows it changed."""
        with self.transaction():
            return self.database.execute(statement, values).rowcount

    def mark(self, statement: str, numbers: Iterable[int]) -> None:
        with self.transaction():
            self.database.executemany(statement, [(number,) for number in numbers])

    def prune(self, now_ns: int) -> None:
        """Forgets what is done and old."""
        with self.transaction():
            self.database.execute(
                "DELETE FROM messages WHERE (state = 'delivered' AND done_ns < ?) OR (state = 'dead' AND done_ns < ?)",
                (now_ns - KEEP_DONE_NS, now_ns - KEEP_DEAD_NS),
            )
            self.database.execute("DELETE FROM events WHERE is_published AND at_ns < ?", (now_ns - KEEP_DONE_NS,))
            # The database was away for a month: then it is not told.
            self.database.execute(
                "DELETE FROM attempts WHERE at_ns < ? AND (is_recorded OR at_ns < ?)",
                (now_ns - KEEP_DONE_NS, now_ns - KEEP_DEAD_NS),
            )

    def status(self) -> list[dict[str, Any]]:
        """For each webhook: how many messages wait, were delivered, are dead; the oldest that waits; the last error."""
        cursor = self.database.execute(
            """SELECT webhook, sum(state = 'waiting') AS waiting, sum(state = 'delivered') AS delivered,
                      sum(state = 'dead') AS dead, min(iif(state = 'waiting', created_ns, NULL)) AS oldest_ns,
                      coalesce((SELECT failures FROM webhooks WHERE name = webhook), 0) AS failures,
                      (SELECT error FROM attempts AS a WHERE a.webhook = m.webhook ORDER BY number DESC LIMIT 1) AS last_error
               FROM messages AS m GROUP BY webhook ORDER BY webhook"""
        )
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
