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
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from streams.errors import ConfigError, DependencyError
from streams.gateway import access
from streams.gateway.access import User, quoted
from streams.gateway.entities import Entities
from streams.gateway.errors import GatewayError, from_engine
from streams.gateway.forms import ExternalTable
from streams.gateway.sql import find_call, settings_start

__all__ = ["OURS", "Answer", "Connection", "Engine"]

CONFIG = """<clickhouse>
  <logger><level>none</level><console>0</console></logger>
  <max_server_memory_usage_to_ram_ratio>0.5</max_server_memory_usage_to_ram_ratio>
  <user_directories><users_xml><path>{users}</path></users_xml></user_directories>
  <query_log>
    <database>system</database><table>query_log_engine</table><flush_interval_milliseconds>1000</flush_interval_milliseconds>
    <ttl>event_date + INTERVAL 7 DAY DELETE</ttl>
  </query_log>
</clickhouse>
"""

# Query ids of clients are the first line of log_comment (Exchange.mark). The database `system` forgets its views.
QUERY_LOG = """CREATE VIEW system.query_log AS
WITH position(log_comment, '\\n') AS line_end
SELECT * REPLACE (
    if(log_comment = '', query_id, splitByChar('\\n', log_comment)[1]) AS query_id,
    if(line_end = 0, '', substring(log_comment, line_end + 1)) AS log_comment)
FROM system.query_log_engine WHERE NOT startsWith(query, '/*gateway*/')"""
OURS = "/*gateway*/ "  # before statements that no client sent


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


class Engine:
    """chDB on the folder `path`. One process at a time; `open()` and `close()` are its life."""

    def __init__(self, path: Path, users: list[User]) -> None:
        self.path, self.users = path.absolute(), users
        self.private = self.path / "gateway"  # our files beside the engine's
        self.entities = Entities(self.private / "access.json", users)
        self.version, self.timezone = "", "UTC"
        self.table_functions: frozenset[str] = frozenset()
        self.lock_file: int | None = None
        self.anchor: Any = None  # the engine lives as long as its last connection

    def open(self) -> None:
        """Starts the engine; ConfigError if another process has the folder, DependencyError if it cannot be read."""
        private = self.private
        (private / "empty").mkdir(parents=True, exist_ok=True)
        self.lock_file = os.open(private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.lock_file)
            raise ConfigError(f"{self.path} is in use by another gateway", hint="stop it, or use another folder") from error
        self.entities.load()
        users, config = private / "users.xml", private / "config.xml"
        users.write_text(access.users_xml(self.users))
        config.write_text(CONFIG.format(users=users))
        # chDB reads relative names as files of the working directory: let there be none.
        os.chdir(private / "empty")
        try:
            self.anchor = chdb.connect(f"{self.path}?config-file={config}")
            self.anchor.query("SYSTEM FLUSH LOGS")  # makes the table
            self.anchor.query(QUERY_LOG)
            functions = self.anchor.query("SELECT lower(name) FROM system.table_functions", "TSVRaw").bytes().decode()
            row = self.anchor.query("SELECT version(), timezone()", "TSVRaw").bytes().decode()
        except (RuntimeError, chdb.ChdbError) as error:
            raise DependencyError(f"the engine cannot open {self.path}: {error}", retryable=False) from error
        self.table_functions = frozenset(functions.split())
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
        self.own_settings: dict[str, str | None] = {}  # of a session, as far as known; None: the default
        self.own_database: str | None = None

    def close(self) -> None:
        self.handle.close()

    def prepare(self, database: str | None, settings: Mapping[str, str], tables: Sequence[ExternalTable] = ()) -> None:
        """Takes on role, database and settings for a request; read-only users cannot change them any more.

        External tables are made before that, in the full role, so that read-only users can bring some.
        """
        if tables and self.user.read_only:
            self.set(access.NO_EXPRESSIONS)
        for table in tables:
            self.load(table)
        if self.user.read_only:
            access.check_read_settings(self.user, settings)
            settings = {**settings, "readonly": "1"}
        # Our own statements stay out of the query log: the profile has log_queries = 0.
        settings = {**settings, "log_queries": "1"}
        if self.is_kept:
            self.remember(settings, database)
        if database:
            # Before the role, as USE needs SHOW DATABASES; a server lets everybody name a database in a request.
            self.run(f"USE {identifier(database)}")
        if not self.is_set_up:
            self.run(f"SET ROLE {self.user.role}")
            settings = {**self.user.settings(), **settings}
            self.is_set_up = True
        self.set(settings)

    def remember(self, settings: Mapping[str, str], database: str | None) -> None:
        """Notes for `restore` what a session has without this request."""
        if unknown := [quoted(name) for name in settings if name not in self.own_settings]:
            query = f"SELECT name, if(changed, value, NULL) FROM system.settings WHERE name IN ({', '.join(unknown)})"
            with self.translated_errors():
                rows = self.handle.query(query, "JSONCompactEachRow").bytes()
            self.own_settings |= dict(json.loads(row) for row in rows.splitlines())
        own = ((name, self.own_settings[name]) for name in settings if name in self.own_settings)
        back = ", ".join(f"`{name}` = {'DEFAULT' if value is None else quoted(value)}" for name, value in own)
        self.undo.append(f"SET {back}")
        if database:
            if self.own_database is None:
                self.own_database = self.value("SELECT currentDatabase()")
            self.undo.append(f"USE {identifier(self.own_database)}")

    def restore(self) -> None:
        """Takes back what `prepare` did for one request of a session."""
        if self.is_kept:
            for statement in reversed(self.undo):
                with contextlib.suppress(GatewayError):
                    self.run(statement)
            self.undo.clear()

    def forget(self) -> None:
        """To be called when a statement may have changed the session itself: SET, USE."""
        self.own_settings.clear()
        self.own_database = None

    def load(self, table: ExternalTable) -> None:
        self.undo.append(f"DROP TEMPORARY TABLE IF EXISTS {table.quoted_name}")
        with self.translated_errors():
            ast = self.handle.query(f"EXPLAIN AST {table.create}", "TSVRaw").bytes().decode()
        # One CREATE of plain columns, whatever the structure says: DEFAULT file('...') would read for anybody.
        if not ast.startswith("CreateQuery") or access.nodes(ast, "Function") or "SelectQuery" in ast:
            what = f"structure of external table {table.name} may only name columns and types"
            raise GatewayError(497, "ACCESS_DENIED", what)
        self.run(table.create)
        if table.data:
            self.insert(f"INSERT INTO {table.quoted_name}".encode(), table.format, {}, iter((table.data,)))

    def canonical(self, statement: bytes) -> str:
        """The statement as the engine writes it; its SYNTAX_ERROR if it cannot parse it. Nothing is executed or logged."""
        try:
            text = statement.decode()
        except UnicodeDecodeError as error:
            raise GatewayError(36, "BAD_ARGUMENTS", "the statement is not UTF-8") from error
        return self.value(f"{OURS}SELECT formatQuerySingleLine({quoted(text)})")

    def value(self, query: str) -> str:
        with self.translated_errors():
            text: bytes = self.handle.query(query, "TSVRaw").bytes()
        return text.decode().removesuffix("\n")

    def set(self, settings: Mapping[str, str]) -> None:
        if settings:
            self.run("SET " + ", ".join(f"`{name}` = {quoted(value)}" for name, value in settings.items()))

    def run(self, statement: str) -> None:
        with self.translated_errors():
            self.handle.query(OURS + statement)

    def classify(self, statement: bytes, database: str | None) -> tuple[str, int]:
        """`READ_ONLY`, `MUTATING`, `CONTROL` or `UNKNOWN`, and how many statements there are."""
        found = self.handle._conn.classify_query(statement, database or "default")
        return found["query_class"].name, found["statement_count"]

    def check(self, statement: bytes, kind: str, params: Mapping[str, str], database: str | None) -> None:
        """Refuses what a read-only user may not do. Nothing is executed, so it may come before `prepare`."""
        if kind not in ("READ_ONLY", "UNKNOWN"):
            raise GatewayError(164, "READONLY", "Cannot execute query in readonly mode")
        access.check_row_filters(self.user, statement)
        with self.translated_errors():
            ast = self.handle.query(b"EXPLAIN AST " + statement, "TSVRaw", params=dict(params)).bytes()
        if kind == "UNKNOWN":
            # The classifier could not parse what the parser can: then nobody knows what it would do.
            raise GatewayError(164, "READONLY", "Cannot execute query in readonly mode")
        access.check_ast(statement, ast.decode(errors="replace"), database, self.engine.table_functions)

    def columns(self, select: bytes, params: Mapping[str, str], database: str | None) -> dict[str, str]:
        """Names and types of what a SELECT (without FORMAT clause) would return."""
        # The line end closes a comment that may stand at the end.
        statement = OURS.encode() + b"DESCRIBE TABLE (" + select + b"\n)"
        if self.user.read_only:
            # The SELECT was cut out by our lexer: what was checked is not quite what would run.
            self.check(statement, "READ_ONLY", params, database)
        described = self.execute(statement, "JSONCompactEachRow", params)
        return {name: kind for name, kind, *_ in map(json.loads, described.body.splitlines())}

    def execute(self, statement: bytes, format: str, params: Mapping[str, str]) -> Answer:
        """Runs a statement to its end; the whole result is in memory."""
        with self.translated_errors():
            return answer(self.handle.query(statement, format, params=dict(params)))

    def stream(self, statement: bytes, format: str, params: Mapping[str, str]) -> Generator[Answer]:
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

    def insert(self, head: bytes, format: str, params: Mapping[str, str], data: Iterator[bytes]) -> Answer:
        """INSERT with its data in pieces; nothing is written if `data` raises.

        The data becomes a file for a moment. chDB's own streaming inserter swallows every error of the table that it
        writes to (a violated constraint, too many partitions, a full disk) and reports the rows as written.
        """
        self.set({f"param_{name}": value for name, value in params.items()})
        if not format.isidentifier():
            raise GatewayError(73, "UNKNOWN_FORMAT", f"Unknown format {format}")
        place = settings_start(head)
        with tempfile.TemporaryFile(dir=self.engine.private) as spool:
            for piece in data:
                spool.write(piece)
            spool.flush()
            source = f"\nFROM INFILE '/dev/fd/{spool.fileno()}' COMPRESSION 'none' ".encode()
            with self.translated_errors():
                done = self.handle.query(head[:place] + source + head[place:] + f" FORMAT {format}".encode(), "Null")
            rows, size_bytes = done.rows_read(), spool.tell()
        return Answer(b"", rows, rows, size_bytes, rows, size_bytes, int(done.elapsed() * 1e9))

    def insert_selected(self, head: bytes, format: str, params: Mapping[str, str], data: Iterator[bytes]) -> Answer:
        """INSERT ... SELECT ... FROM input('structure'): chDB has no input(), so the data becomes a file for a moment."""
        call = find_call(head, "input")
        if call is None:
            raise GatewayError(48, "NOT_IMPLEMENTED", "INSERT ... SELECT with data must select from input()")
        start, structure, end = call
        with tempfile.NamedTemporaryFile(dir=self.engine.private, prefix="input-") as spool:
            for piece in data:
                spool.write(piece)
            spool.flush()
            arguments = b", ".join([quoted(spool.name).encode(), quoted(format).encode(), structure or b"'auto'"])
            return self.execute(head[:start] + b"file(" + arguments + b")" + head[end:], "Null", params)

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, chdb.ChdbError, UnicodeDecodeError) as error:
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
