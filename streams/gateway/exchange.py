"""One statement on its way through: find out what it is, run it in threads, send the answer as it comes.

Errors before anything was sent have a status of their own; later ones are appended to the answer with the tag that the
X-ClickHouse-Exception-Tag header announced, and the connection is closed without the chunk that would end it well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from streams.gateway.access import User
from streams.gateway.access_sql import is_access_statement
from streams.gateway.blocks import BlockInfoJoiner, has_block_info
from streams.gateway.compression import encoder_for
from streams.gateway.engine import OURS, Answer, Connection
from streams.gateway.errors import GatewayError
from streams.gateway.formats import Joiner, content_type, joiner_for
from streams.gateway.forms import ExternalTable
from streams.gateway.request import PIECE_BYTES, Body, Request
from streams.gateway.rewrites import show_create_system_table, with_client_query_ids, with_own_name
from streams.gateway.sql import Insert, Statement, read_statement

if TYPE_CHECKING:
    from streams.gateway.server import Gateway

__all__ = ["Exchange"]

QUERY_BYTES_MAX = 16 << 20  # of SQL text; data of an INSERT does not count
READ_QUERY_BYTES_MAX = 256 << 10  # of a read-only user's: the engine's own max_query_size, before anything is parsed
HEAD_BYTES_MAX = 1 << 20  # where FORMAT or VALUES of an INSERT must be found
HOLD_S = 0.05  # how long rows wait for more of them before they leave
Result = TypeVar("Result")


class Exchange:
    """A parsed request of a known user; `answer` runs it on a connection."""

    def __init__(
        self,
        gateway: Gateway,
        http: web.Request,
        user: User,
        request: Request,
        tables: list[ExternalTable],
        headers: dict[str, str],
    ) -> None:
        self.gateway, self.http, self.user, self.request, self.tables = gateway, http, user, request, tables
        self.headers = headers
        self.code = 0  # of an error that came too late for the header
        self.body = Body(http, decompresses=request.decompress)

    @property
    def mark(self) -> str:
        """The statement's log_comment in the engine, which knows only query ids of its own making.

        First line the client's query id, the rest the client's log_comment.
        """
        comment = self.request.settings.get("log_comment")
        return f"{self.request.query_id}\n{comment}" if comment else self.request.query_id

    async def answer(self, connection: Connection) -> web.StreamResponse:
        request = self.request
        source = request.query + b"\n" if request.query and not request.query.endswith(b"\n") else request.query
        source += await self.body.read_up_to(HEAD_BYTES_MAX)
        if source.startswith(OURS.rstrip().encode()):
            source = b" " + source  # or it would stay out of the query log, as ours do
        if self.user.read_only:
            check_length(source, READ_QUERY_BYTES_MAX)
        statement = await self.in_thread(lambda: read_statement(source))
        if statement.insert is None and (rest := await self.body.read_up_to(QUERY_BYTES_MAX - len(source))):
            source += rest
            check_length(source, QUERY_BYTES_MAX)
            statement = await self.in_thread(lambda: read_statement(source))
        self.check(statement)
        if statement.insert is not None and (self.user.read_only or request.reads_only):
            raise GatewayError(164, "READONLY", "Cannot execute query in readonly mode")
        if statement.is_select and (own := await self.in_thread(lambda: with_own_name(source, self.user))) != source:
            source, statement = own, read_statement(own)
        kind = "MUTATING" if statement.insert else await self.kind(connection, source)
        if is_access_statement(source):
            answer = await self.in_thread(lambda: self.administer(connection, source[: statement.end]))
            if answer is None:
                return web.Response(headers={**self.headers, "X-ClickHouse-Summary": Progress().summary()})
            source, format = answer, statement.output_format
            statement = read_statement(source)
            statement.output_format = format
        # SET and USE are about the session; what the request says about itself must not be mixed up with it.
        sets_session = statement.first_word in (b"SET", b"USE")
        database = None if sets_session else request.database
        settings = {**({} if sets_session else request.settings), "log_comment": self.mark}
        try:
            await self.in_thread(lambda: connection.prepare(database, settings, self.tables))
            if statement.insert is not None:
                return await self.insert(connection, statement.insert, source[statement.insert.data_start :])
            return await self.execute(connection, statement, kind, source)
        finally:
            await self.in_thread(connection.restore)
            if sets_session:
                connection.forget()

    async def kind(self, connection: Connection, source: bytes) -> str:
        """What the engine says the statement does; refuses what this user or this method may not do."""
        kind, count = await self.in_thread(lambda: connection.classify(source, self.request.database))
        if count > 1:
            raise GatewayError(62, "SYNTAX_ERROR", "Syntax error: Multi-statements are not allowed")
        if self.user.read_only:
            request = self.request
            await self.in_thread(lambda: connection.check(source, kind, request.params, request.database))
        elif self.request.reads_only and kind not in ("READ_ONLY", "UNKNOWN"):
            what = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. Use POST"
            raise GatewayError(164, "READONLY", what)
        return kind

    def administer(self, connection: Connection, source: bytes) -> bytes | None:
        """Carries out a statement about users, roles or row policies. Returns the SELECT that answers it, if any. Blocks."""
        canonical = connection.canonical(source)
        database = self.request.database or connection.value("SELECT currentDatabase()")
        return self.gateway.administration.run(canonical, self.user, database)

    def check(self, statement: Statement) -> None:
        """What a server refuses and the engine, made for the command line, does not."""
        if not statement.first_word:
            raise GatewayError(62, "SYNTAX_ERROR", "Syntax error: failed at position 1 (end of query): Empty query")
        if statement.has_outfile:
            raise GatewayError(358, "INTO_OUTFILE_NOT_ALLOWED", "INTO OUTFILE is not allowed", status=400)
        if statement.has_infile:
            raise GatewayError(48, "NOT_IMPLEMENTED", "INSERT ... FROM INFILE works in clients only")

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        return await self.gateway.in_thread(work)

    async def killable(self, work: Callable[[], Result]) -> Result:
        return await self.gateway.in_thread(work, kill=self.mark)

    async def execute(self, connection: Connection, statement: Statement, kind: str, source: bytes) -> web.StreamResponse:
        request = self.request
        if statement.is_kill:
            source = with_client_query_ids(source)
        format = statement.output_format or request.default_format or "TabSeparated"
        statement.has_extra_rows |= request.settings.get("extremes", "0") not in ("0", "false")
        joiner = joiner_for(format) if kind == "READ_ONLY" and statement.is_streamable(format) else None
        if joiner is not None:
            blocks = self.streamed(connection, source, format, joiner)
        else:
            joiner = Joiner()
            blocks = self.executed(connection, source, format)
        if has_block_info(format, request.protocol_version):
            # What is not streamed (SHOW, DESCRIBE, EXPLAIN, ...) is one block.
            select = source[: statement.end] if statement.is_select else b""
            joiner = BlockInfoJoiner(request.protocol_version, lambda: self.zones(select))
        return await self.send(blocks, joiner, format, has_rows=kind == "READ_ONLY" or statement.is_kill)

    def streamed(self, connection: Connection, source: bytes, format: str, joiner: Joiner) -> Generator[Answer]:
        """Blocks as they come. For no rows the engine streams none, but a header is due then too: it is asked in one go."""
        is_empty = True
        with closing(connection.stream(source, format, self.request.params)) as blocks:
            for block in blocks:
                is_empty = False
                yield block
        if is_empty and joiner.has_header:
            yield connection.execute(source, format, self.request.params)

    def zones(self, select: bytes) -> dict[str, str]:
        """Columns of a SELECT that are DateTime with a time zone, and their types. Blocks: asks on a connection of its own."""
        if not select:
            return {}
        connection = self.gateway.engine.connect(self.user)
        try:
            connection.prepare(self.request.database, self.request.settings, self.tables)
            columns = connection.columns(select, self.request.params, self.request.database)
        except GatewayError:
            return {}  # it needs what only the session has: a temporary table, a setting
        finally:
            connection.close()
        return {name: kind for name, kind in columns.items() if kind.startswith("DateTime(")}

    def executed(self, connection: Connection, source: bytes, format: str) -> Generator[Answer]:
        """The one answer of a statement that is not streamed."""
        try:
            yield connection.execute(source, format, self.request.params)
        except GatewayError as error:
            if "There is no metadata of table" not in error.text:
                raise
            instead = show_create_system_table(source, self.request.database)
            answer = connection.execute(instead, format, {}) if instead else None
            if answer is None or not answer.rows:
                raise
            yield answer

    async def send(self, blocks: Generator[Answer], joiner: Joiner, format: str, *, has_rows: bool) -> web.StreamResponse:
        """Sends blocks as they come, with the next one under way meanwhile; what is over soon is sent in one piece."""
        encoder = encoder_for(self.request.encoding, self.request.native_compression)
        total = Progress()
        response: web.StreamResponse | None = None
        held, due_s = bytearray(), 0.0
        clock = asyncio.get_running_loop().time

        def fetch() -> bytes | None:
            block = next(blocks, None)
            if block is None:
                return None
            total.add(block)
            return encoder.compress(joiner.join(block.body))

        task = asyncio.ensure_future(self.killable(fetch))
        try:
            while True:
                leaves_soon = held and self.request.buffer_bytes is None and not self.request.wait_end_of_query
                await asyncio.wait((task,), timeout=max(due_s - clock(), 0) if leaves_soon else None)
                if task.done():
                    piece = task.result()
                    if piece is None:
                        break
                    due_s = due_s if held else clock() + HOLD_S
                    held += piece
                    task = asyncio.ensure_future(self.killable(fetch))
                    is_full = len(held) >= (self.request.buffer_bytes or PIECE_BYTES)
                    if self.request.wait_end_of_query or not (is_full or (leaves_soon and clock() >= due_s)):
                        continue
                response = response or await self.begin(format)
                await response.write(bytes(held))
                held.clear()
        except GatewayError as error:
            if response is None:
                raise
            self.code = error.code
            await self.break_off(response, bytes(held) + encoder.compress(self.tagged(error)) + encoder.flush())
            return response
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
            await self.in_thread(blocks.close)
        if total.result_bytes or response is not None:
            held += encoder.compress(joiner.end()) + encoder.flush()
        if response is None:
            if has_rows or held:
                self.describe(format, is_encoded=bool(held))
            return web.Response(body=bytes(held), headers={**self.headers, "X-ClickHouse-Summary": total.summary()})
        await response.write(bytes(held))
        await response.write_eof()
        return response

    def describe(self, format: str, *, is_encoded: bool) -> None:
        self.headers["X-ClickHouse-Format"] = format
        self.headers["Content-Type"] = content_type(format)
        if self.request.encoding and is_encoded:
            self.headers["Content-Encoding"] = self.request.encoding

    async def begin(self, format: str) -> web.StreamResponse:
        self.describe(format, is_encoded=True)
        response = web.StreamResponse(headers=self.headers)
        response.enable_chunked_encoding()
        await response.prepare(self.http)
        return response

    async def break_off(self, response: web.StreamResponse, last: bytes) -> None:
        """Sends `last` and no end, so that no client takes a part for the whole; the gateway closes the connection."""
        await response.write(last)
        response.force_close()

    def tagged(self, error: GatewayError) -> bytes:
        """An error after the header has left, as ClickHouse writes it since 25.11."""
        tag, text = self.headers["X-ClickHouse-Exception-Tag"], (error.text + "\n").encode()
        return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag.encode(), text, len(text), tag.encode())

    async def insert(self, connection: Connection, insert: Insert, first: bytes) -> web.Response:
        """INSERT with data: `first`, then the rest of the body as it comes."""
        format = insert.format or self.request.default_format or "Values"
        loop, params = asyncio.get_running_loop(), self.request.params

        def pieces() -> Iterator[bytes]:
            if first:
                yield first
            yield from self.body.rest(lambda: asyncio.run_coroutine_threadsafe(self.body.receive(), loop).result())

        run = connection.insert_selected if insert.selects_from_input else connection.insert
        written = await self.in_thread(lambda: run(insert.head, format, params, pieces()))
        total = Progress()
        total.add(written)
        return web.Response(headers={**self.headers, "X-ClickHouse-Summary": total.summary()})


def check_length(source: bytes, most_bytes: int) -> None:
    if len(source) > most_bytes:
        raise GatewayError(307, "TOO_MANY_BYTES", f"Query is longer than {most_bytes} bytes", status=413)


class Progress:
    """What X-ClickHouse-Summary reports."""

    def __init__(self) -> None:
        self.read_rows = self.read_bytes = self.written_rows = self.written_bytes = 0
        self.result_rows = self.result_bytes = self.elapsed_ns = 0

    def add(self, block: Answer) -> None:
        # chDB reports running totals of what was read, and rows and bytes of each block.
        self.read_rows, self.read_bytes = max(self.read_rows, block.read_rows), max(self.read_bytes, block.read_bytes)
        self.written_rows, self.written_bytes = block.written_rows, block.written_bytes
        self.result_rows += block.rows
        self.result_bytes += len(block.body)
        self.elapsed_ns = max(self.elapsed_ns, block.elapsed_ns)

    def summary(self) -> str:
        return json.dumps({name: str(value) for name, value in vars(self).items()} | {"total_rows_to_read": "0"})
