"""chDB as the gateway uses it: one engine in this process, a connection for every request, and for every session.

A connection costs 0.6 ms and takes its settings, its role and its temporary tables with it when it closes, so nothing
of one request can leak into the next. Everything here blocks: the server calls it from threads. One connection is used
by one thread at a time; chDB itself lets connections work side by side.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from streams.errors import ConfigError
from streams.gateway import access
from streams.gateway.access import User, quoted
from streams.gateway.errors import GatewayError, from_engine
from streams.gateway.forms import ExternalTable

__all__ = ["Answer", "Connection", "Engine", "Written"]

CONFIG = """<clickhouse>
  <logger><level>none</level><console>0</console></logger>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <query_log>
    <database>system</database><table>query_log</table><flush_interval_milliseconds>1000</flush_interval_milliseconds>
    <ttl>event_date + INTERVAL 7 DAY DELETE</ttl>
  </query_log>
</clickhouse>
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement returned, formatted by the engine, and what it took."""

    body: bytes
    rows: int
    read_rows: int
    read_bytes: int
    written_rows: int
    written_bytes: int
    elapsed_ns: int


@dataclass(frozen=True, slots=True)
class Written:
    rows: int
    size_bytes: int
    elapsed_ns: int


class Engine:
    """chDB on the folder `path`. One process at a time; `open()` and `close()` are its life."""

    def __init__(self, path: Path, users: list[User]) -> None:
        self.path, self.users = path.absolute(), users
        self.version, self.timezone = "", "UTC"
        self.lock_file: int | None = None
        self.anchor: Any = None  # the engine lives as long as its last connection

    def open(self) -> None:
        """Starts the engine; ConfigError if another process has the folder."""
        private = self.path / "gateway"
        (private / "empty").mkdir(parents=True, exist_ok=True)
        self.lock_file = os.open(private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.lock_file)
            raise ConfigError(f"{self.path} is in use by another gateway", hint="stop it, or use another folder") from error
        users, config = private / "users.xml", private / "config.xml"
        users.write_text(access.users_xml(self.users))
        config.write_text(CONFIG.format(users=users))
        # chDB reads relative names as files of the working directory: let there be none.
        os.chdir(private / "empty")
        self.anchor = chdb.connect(f"{self.path}?config-file={config}")
        row = self.anchor.query("SELECT version(), timezone()", "TSVRaw").bytes().decode()
        self.version, self.timezone = row.rstrip("\n").split("\t")

    def close(self) -> None:
        if self.anchor is not None:
            self.anchor.close()
            self.anchor = None
        if self.lock_file is not None:
            os.close(self.lock_file)
            self.lock_file = None

    def connect(self, user: User, *, is_kept: bool = False) -> Connection:
        """A connection for one request, or for a session (`is_kept`)."""
        return Connection(self, user, chdb.connect(str(self.path)), is_kept=is_kept)

    def kill(self, mark: str) -> None:
        """Stops the running query whose log_comment is `mark`; nothing happens if it is gone."""
        connection = chdb.connect(str(self.path))
        try:
            connection.query(f"KILL QUERY WHERE Settings['log_comment'] = {quoted(mark)} ASYNC")
        finally:
            connection.close()


class Connection:
    """One chDB connection in the role of one user."""

    def __init__(self, engine: Engine, user: User, handle: Any, *, is_kept: bool = False) -> None:
        self.engine, self.user, self.handle, self.is_kept = engine, user, handle, is_kept
        self.is_set_up = False
        self.undo: list[str] = []  # statements that end what holds for one request

    def close(self) -> None:
        self.handle.close()

    def prepare(self, database: str | None, settings: Mapping[str, str], tables: Sequence[ExternalTable] = ()) -> None:
        """Takes on role, database and settings; read-only users get their caps last and cannot change them any more.

        External tables are made before that, in the full role, so that read-only users can bring some.
        """
        for table in tables:
            self.load(table)
        if not self.is_set_up:
            self.run(f"SET ROLE {self.user.role}")
            self.set(self.user.settings())
            self.is_set_up = True
        if database:
            self.undo.append(f"USE {identifier(self.value('SELECT currentDatabase()'))}")
            self.run(f"USE {identifier(database)}")
        if self.user.read_only:
            access.check_read_settings(self.user, settings)
        else:
            self.undo += self.settings_now(settings)
        self.set(settings)
        if self.user.read_only:
            self.run("SET readonly = 1")

    def restore(self) -> None:
        """Takes back what `prepare` did for one request; only sessions need it."""
        if not self.is_kept:
            return
        for statement in reversed(self.undo):
            with contextlib.suppress(GatewayError):
                self.run(statement)
        self.undo.clear()

    def settings_now(self, settings: Mapping[str, str]) -> list[str]:
        """Statements that set `settings` back to what they are."""
        if not self.is_kept or not settings:
            return []
        names = ", ".join(quoted(name) for name in settings)
        query = f"SELECT name, changed, value FROM system.settings WHERE name IN ({names})"
        found = [json.loads(row) for row in self.handle.query(query, "JSONCompactEachRow").bytes().splitlines()]
        return [f"SET `{name}` = {quoted(value) if changed else 'DEFAULT'}" for name, changed, value in found]

    def load(self, table: ExternalTable) -> None:
        self.undo.append(f"DROP TEMPORARY TABLE IF EXISTS {table.quoted_name}")
        with self.translated_errors():
            ast = self.handle.query(f"EXPLAIN AST {table.create}", "TSVRaw").bytes().decode()
        # One CREATE of plain columns, whatever the structure says: DEFAULT file('...') would read for anybody.
        if not ast.startswith("CreateQuery") or access.functions(ast) or "SelectQuery" in ast:
            what = f"structure of external table {table.name} may only name columns and types"
            raise GatewayError(497, "ACCESS_DENIED", what)
        self.run(table.create)
        if table.data:
            self.insert(f"INSERT INTO {table.quoted_name}".encode(), table.format, {}, iter((table.data,)))

    def value(self, query: str) -> str:
        with self.translated_errors():
            text: bytes = self.handle.query(query, "TSVRaw").bytes()
        return text.decode().removesuffix("\n")

    def set(self, settings: Mapping[str, str]) -> None:
        if settings:
            self.run("SET " + ", ".join(f"`{name}` = {quoted(value)}" for name, value in settings.items()))

    def run(self, statement: str) -> None:
        with self.translated_errors():
            self.handle.query(statement)

    def classify(self, statement: bytes, database: str | None) -> tuple[str, int]:
        """`READ_ONLY`, `MUTATING`, `CONTROL` or `UNKNOWN`, and how many statements there are."""
        found = self.handle._conn.classify_query(statement, database or "default")
        return found["query_class"].name, found["statement_count"]

    def check(self, statement: bytes, kind: str, count: int, params: Mapping[str, str]) -> None:
        """Refuses what a read-only user may not do."""
        if kind == "UNKNOWN":
            return  # does not parse; the engine will say where
        if kind != "READ_ONLY" or count != 1:
            raise GatewayError(164, "READONLY", "Cannot execute query in readonly mode")
        with self.translated_errors():
            ast = self.handle.query(b"EXPLAIN AST " + statement, "TSVRaw", params=dict(params)).bytes()
        access.check_ast(statement, ast.decode(errors="replace"))

    def execute(self, statement: bytes, format: str, params: Mapping[str, str]) -> Answer:
        """Runs a statement to its end; the whole result is in memory."""
        with self.translated_errors():
            return answer(self.handle.query(statement, format, params=dict(params)))

    def stream(self, statement: bytes, format: str, params: Mapping[str, str]) -> Iterator[Answer]:
        """Runs a query block by block, for formats whose blocks can simply be put behind one another."""
        with self.translated_errors():
            blocks = self.handle.send_query(statement, format, params=dict(params))
        try:
            while True:
                with self.translated_errors():
                    block = blocks.fetch()
                if block is None:
                    return
                yield answer(block)
        finally:
            with contextlib.suppress(RuntimeError, chdb.ChdbError):
                blocks.close()

    def insert(self, head: bytes, format: str, params: Mapping[str, str], data: Iterator[bytes]) -> Written:
        """INSERT with its data in pieces; nothing is written if `data` raises."""
        self.set({f"param_{name}": value for name, value in params.items()})
        with self.translated_errors():
            inserter = self.handle.send_insert(head, format)
            try:
                for piece in data:
                    inserter.append(piece)
                result = inserter.finish()
            except BaseException:
                with contextlib.suppress(RuntimeError, chdb.ChdbError):
                    inserter.cancel()
                raise
        return Written(result.rows_written, result.bytes_written, int(result.elapsed * 1e9))

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, chdb.ChdbError) as error:
            raise from_engine(error, self.engine.version) from error


def identifier(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def answer(result: Any) -> Answer:
    return Answer(
        result.bytes() or b"",
        result.rows_read(),
        result.storage_rows_read(),
        result.storage_bytes_read(),
        result.rows_written(),
        result.bytes_written(),
        int(result.elapsed() * 1e9),
    )
