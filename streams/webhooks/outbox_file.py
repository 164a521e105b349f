"""The file of the outbox: SQLite with one owner, whose changes are all of it or nothing.

    file = OutboxFile(path)                      # another process that owns it: DependencyError
    with file.transaction():
        file.database.execute(...)
    guest = OutboxFile(path, "read")             # beside the owner; "write", too

WAL with synchronous=FULL: what was committed survives kill -9 and a power cut. Knows the tables and nothing of what is in them.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from streams.errors import DependencyError, InputError

__all__ = ["Access", "OutboxFile"]

FORMAT = 1
Access = Literal["own", "read", "write"]
SCHEMA = """
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS progress (partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL UNIQUE, content BLOB NOT NULL, at_ns INTEGER NOT NULL,
    is_published INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS unpublished ON events (number) WHERE NOT is_published;
CREATE TABLE IF NOT EXISTS messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT, webhook TEXT NOT NULL, webhook_id TEXT NOT NULL, lane TEXT NOT NULL,
    fingerprint TEXT NOT NULL, body BLOB NOT NULL, created_ns INTEGER NOT NULL, due_ns INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, state TEXT NOT NULL DEFAULT 'waiting', done_ns INTEGER, error TEXT,
    UNIQUE (webhook, webhook_id));
CREATE INDEX IF NOT EXISTS waiting ON messages (webhook, lane, number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS oldest ON messages (webhook, number) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS counted ON messages (webhook, state, created_ns);
CREATE INDEX IF NOT EXISTS done ON messages (done_ns) WHERE state <> 'waiting';
CREATE TABLE IF NOT EXISTS attempts (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, webhook_id TEXT NOT NULL, webhook TEXT NOT NULL,
    attempt INTEGER NOT NULL, outcome TEXT NOT NULL, status INTEGER, error TEXT, latency_ms REAL NOT NULL,
    is_recorded INTEGER NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS latest ON attempts (webhook, number);
CREATE INDEX IF NOT EXISTS unrecorded ON attempts (number) WHERE NOT is_recorded;
CREATE TABLE IF NOT EXISTS webhooks (
    name TEXT PRIMARY KEY, failures INTEGER NOT NULL DEFAULT 0, closed_until_ns INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
"""


class OutboxFile:
    def __init__(self, path: Path, access: Access = "own") -> None:
        """The owner creates what is missing. DependencyError if there is another owner or the disk refuses; InputError if
        there is nothing to `read` or `write`."""
        self.path = path
        self.lock: int | None = None
        try:
            if access != "own":
                mode = "ro" if access == "read" else "rw"
                self.database = sqlite3.connect(f"file:{quote(str(path))}?mode={mode}", uri=True, isolation_level=None)
                self.database.execute("SELECT count(*) FROM messages")
                return
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.lock = take_lock(path.with_suffix(".lock"))
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))          # bodies may hold a routing key
            self.database = sqlite3.connect(path, isolation_level=None)
            self.database.execute("PRAGMA journal_mode = WAL")
            self.database.execute("PRAGMA synchronous = FULL")
            self.create()
        except (sqlite3.Error, OSError) as error:
            if access != "own":
                raise InputError(f"{path}: no outbox can be read there: {error}") from error
            raise DependencyError(f"the outbox {path} cannot be used: {error}", retryable=False) from error

    def create(self) -> None:
        (found,) = self.database.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            raise DependencyError(f"{self.path} has format {found}; this program knows {FORMAT}", retryable=False)
        with self.transaction():
            for statement in SCHEMA.split(";"):
                self.database.execute(statement)
            self.database.execute(f"PRAGMA user_version = {FORMAT}")

    def close(self) -> None:
        self.database.close()
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing; DependencyError when the disk refuses it."""
        try:
            self.database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.database.execute("COMMIT")
            except BaseException:
                if self.database.in_transaction:            # a full disk has already ended it
                    self.database.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise DependencyError(f"the outbox {self.path} cannot be written: {error}") from error


def take_lock(path: Path) -> int:
    """Held until the process ends, however it ends."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise DependencyError(
            f"another alert process uses {path.parent}", retryable=False, hint="one alert process serves an installation"
        ) from error
    return handle
