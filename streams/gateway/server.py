"""ClickHouse's HTTP interface, served from chDB.

A request is parsed (request.py), its user checked (access.py), its session found (sessions.py); then the statement runs
in a thread (engine.py) and its answer leaves as it comes. Errors before the first megabyte of an answer have a status of
their own; later ones are appended to it with the tag that the X-ClickHouse-Exception-Tag header announced.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web

from streams.gateway.access import Access, User
from streams.gateway.compression import encoder_for
from streams.gateway.engine import Answer, Connection, Engine, Written
from streams.gateway.errors import GatewayError
from streams.gateway.formats import content_type, is_streamable
from streams.gateway.forms import ExternalTable, read_form
from streams.gateway.request import Body, Request, credentials
from streams.gateway.sessions import Sessions
from streams.gateway.sql import Insert, find_insert, is_insert, is_select, output_format, tokens

__all__ = ["Gateway"]

QUERIES_MAX = 32  # at once; more are told to come back
QUERY_BYTES_MAX = 16 << 20  # of SQL text; data of an INSERT does not count
HEAD_BYTES_MAX = 1 << 20  # where FORMAT or VALUES of an INSERT must be found
Result = TypeVar("Result")


class Gateway:
    """The HTTP handlers. Give `application()` to aiohttp, and `close()` it before the engine."""

    def __init__(self, engine: Engine, users: list[User]) -> None:
        self.engine, self.access = engine, Access(users)
        self.threads = ThreadPoolExecutor(QUERIES_MAX + 4, "chdb")  # a few over, for KILL QUERY and closing
        self.sessions = Sessions(self.connect, self.disconnect)
        self.running: set[str] = set()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=QUERY_BYTES_MAX)
        application.router.add_get("/ping", self.ok)
        application.router.add_get("/replicas_status", self.ok)
        application.router.add_route("*", "/", self.handle)
        application.router.add_route("*", "/{path:.*}", self.no_such_path)
        return application

    async def close(self) -> None:
        await self.sessions.close()
        self.threads.shutdown()

    async def ok(self, http: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def no_such_path(self, http: web.Request) -> web.Response:
        return web.Response(status=404, text=f"There is no handle {http.path}. Use / or /ping.\n")

    async def handle(self, http: web.Request) -> web.StreamResponse:
        headers = {"X-ClickHouse-Server-Display-Name": "orbitrack", "X-ClickHouse-Timezone": self.engine.timezone}
        try:
            if http.method not in ("GET", "HEAD", "POST", "PUT"):
                raise GatewayError(36, "BAD_ARGUMENTS", f"method {http.method} is not supported", status=405)
            if http.method == "GET" and not http.query:
                return await self.ok(http)
            user = self.access.authenticate(*credentials(http))
            fields, tables = await read_form(http)
            request = Request.parse(http, fields, [table.name for table in tables])
            headers["X-ClickHouse-Query-Id"] = request.query_id
            headers["X-ClickHouse-Exception-Tag"] = uuid.uuid4().hex[:16]
            return await self.run(Exchange(self, http, user, request, tables, headers))
        except GatewayError as error:
            headers["X-ClickHouse-Exception-Code"] = str(error.code)
            return web.Response(status=error.status, text=error.text + "\n", headers=headers)

    async def run(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        if len(self.running) >= QUERIES_MAX:
            what = f"Too many simultaneous queries. Maximum: {QUERIES_MAX}"
            raise GatewayError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", what)
        if request.query_id in self.running:
            what = f"Query with id = {request.query_id} is already running"
            raise GatewayError(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", what)
        self.running.add(request.query_id)
        try:
            async with self.sessions.lease(exchange.user, request) as connection:
                return await exchange.answer(connection)
        finally:
            self.running.discard(request.query_id)

    async def connect(self, user: User, is_kept: bool) -> Connection:
        return await self.in_thread(lambda: self.engine.connect(user, is_kept=is_kept))

    async def disconnect(self, connection: Connection) -> None:
        await self.in_thread(connection.close)

    async def in_thread(self, work: Callable[[], Result], *, kill: str | None = None) -> Result:
        """Runs `work` in a thread and, when the client goes away, waits for its end: sooner with `kill`, the query's mark."""
        future = asyncio.get_running_loop().run_in_executor(self.threads, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            while not future.done():
                if kill is not None:
                    await asyncio.get_running_loop().run_in_executor(self.threads, self.engine.kill, kill)
                # A query that has not registered yet cannot be killed: look again.
                await asyncio.wait([future], timeout=0.2)
            future.exception()
            raise


class Exchange:
    """One statement on its way through: the request, then the answer."""

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
        self.body = Body(http)

    async def answer(self, connection: Connection) -> web.StreamResponse:
        request = self.request
        source = request.query + b"\n" if request.query and not request.query.endswith(b"\n") else request.query
        source += await self.body.read_up_to(HEAD_BYTES_MAX)
        insert = find_insert(source) if is_insert(source) else None
        if insert is None:
            source += await self.body.read_up_to(QUERY_BYTES_MAX - len(source))
            if len(source) > QUERY_BYTES_MAX:
                raise GatewayError(307, "TOO_MANY_BYTES", f"Query is longer than {QUERY_BYTES_MAX} bytes")
        if next(tokens(source), None) is None:
            raise GatewayError(62, "SYNTAX_ERROR", "Syntax error: failed at position 1 (end of query): Empty query")
        settings = {**request.settings, "log_comment": self.mark}
        try:
            await self.in_thread(lambda: connection.prepare(request.database, settings, self.tables))
            if insert is not None:
                return await self.insert(connection, source, insert)
            return await self.execute(connection, source)
        finally:
            await self.in_thread(connection.restore)

    @property
    def mark(self) -> str:
        """The query's log_comment, by which it can be found and killed."""
        return self.request.query_id

    async def in_thread(self, work: Callable[[], Result]) -> Result:
        return await self.gateway.in_thread(work)

    async def execute(self, connection: Connection, source: bytes) -> web.StreamResponse:
        request = self.request
        kind, count = connection.classify(source, request.database)
        if count > 1:
            raise GatewayError(62, "SYNTAX_ERROR", "Syntax error: Multi-statements are not allowed")
        if self.user.read_only:
            await self.in_thread(lambda: connection.check(source, kind, count, request.params))
        elif request.reads_only and kind not in ("READ_ONLY", "UNKNOWN"):
            what = "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. Use POST"
            raise GatewayError(164, "READONLY", what)
        format = output_format(source) or request.default_format or "TabSeparated"
        if kind == "READ_ONLY" and is_streamable(format) and is_select(source):
            blocks = connection.stream(source, format, request.params)
        else:
            blocks = iter((await self.killable(lambda: connection.execute(source, format, request.params)),))
        return await self.send(blocks, format, has_rows=kind == "READ_ONLY")

    async def killable(self, work: Callable[[], Result]) -> Result:
        return await self.gateway.in_thread(work, kill=self.mark)

    async def send(self, blocks: Iterator[Answer], format: str, *, has_rows: bool) -> web.StreamResponse:
        """Sends blocks as they come; an answer that fits into the buffer gets its summary and its errors in the header."""
        encoder = encoder_for(self.request.encoding)
        total = Progress()
        response: web.StreamResponse | None = None
        held = bytearray()
        try:
            while (block := await self.killable(lambda: next(blocks, None))) is not None:
                total.add(block)
                held += encoder.compress(block.body)
                if self.request.wait_end_of_query or len(held) < self.request.buffer_bytes:
                    continue
                if response is None:
                    response = await self.begin(format)
                await response.write(held)
                held.clear()
        except GatewayError as error:
            if response is None:
                raise
            await response.write(held + encoder.compress(self.tagged(error)) + encoder.flush())
            await response.write_eof()
            return response
        finally:
            close = getattr(blocks, "close", None)
            if close is not None:
                await self.in_thread(close)
        held += encoder.flush() if total.result_bytes or response is not None else b""
        if response is None:
            if has_rows or total.result_bytes:
                self.describe(format, encoded=bool(held))
            return web.Response(body=bytes(held), headers={**self.headers, "X-ClickHouse-Summary": total.summary()})
        await response.write(held)
        await response.write_eof()
        return response

    def describe(self, format: str, *, encoded: bool = True) -> None:
        self.headers["X-ClickHouse-Format"] = format
        self.headers["Content-Type"] = content_type(format)
        if self.request.encoding and encoded:
            self.headers["Content-Encoding"] = self.request.encoding

    async def begin(self, format: str) -> web.StreamResponse:
        self.describe(format)
        response = web.StreamResponse(headers=self.headers)
        response.enable_chunked_encoding()
        await response.prepare(self.http)
        return response

    def tagged(self, error: GatewayError) -> bytes:
        """An error after the header has left, as ClickHouse writes it since 25.11."""
        tag, text = self.headers["X-ClickHouse-Exception-Tag"], (error.text + "\n").encode()
        return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (tag.encode(), text, len(text), tag.encode())

    async def insert(self, connection: Connection, source: bytes, insert: Insert) -> web.Response:
        if self.user.read_only or self.request.reads_only:
            raise GatewayError(164, "READONLY", "Cannot execute query in readonly mode")
        format = insert.format or self.request.default_format or "Values"
        self.body.put_back(source[insert.data_start :])
        loop, started_ns = asyncio.get_running_loop(), time.monotonic_ns()

        def pieces() -> Iterator[bytes]:
            while piece := asyncio.run_coroutine_threadsafe(self.body.read(), loop).result():
                yield piece

        written: Written = await self.in_thread(lambda: connection.insert(insert.head, format, self.request.params, pieces()))
        total = Progress(written_rows=written.rows, written_bytes=written.size_bytes, read_rows=written.rows)
        total.read_bytes, total.elapsed_ns = written.size_bytes, time.monotonic_ns() - started_ns
        return web.Response(headers={**self.headers, "X-ClickHouse-Summary": total.summary()})


class Progress:
    """What X-ClickHouse-Summary reports."""

    def __init__(self, *, read_rows: int = 0, written_rows: int = 0, written_bytes: int = 0) -> None:
        self.read_rows, self.written_rows, self.written_bytes = read_rows, written_rows, written_bytes
        self.read_bytes = self.result_rows = self.result_bytes = self.elapsed_ns = 0

    def add(self, block: Answer) -> None:
        # chDB reports running totals of what was read, and rows and bytes of each block.
        self.read_rows, self.read_bytes = max(self.read_rows, block.read_rows), max(self.read_bytes, block.read_bytes)
        self.written_rows, self.written_bytes = block.written_rows, block.written_bytes
        self.result_rows += block.rows
        self.result_bytes += len(block.body)
        self.elapsed_ns = max(self.elapsed_ns, block.elapsed_ns)

    def summary(self) -> str:
        return json.dumps({name: str(value) for name, value in vars(self).items()} | {"total_rows_to_read": "0"})
