"""ClickHouse's HTTP interface, served from chDB.

A request is parsed (request.py, forms.py), its user checked (access.py), its session found (sessions.py); then its
statement runs (exchange.py) in a thread of the pool here (engine.py), and its answer leaves as it comes.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from aiohttp import web

from streams.gateway.access import Access, User
from streams.gateway.access_sql import Administration
from streams.gateway.engine import Connection, Engine
from streams.gateway.errors import GatewayError
from streams.gateway.exchange import QUERY_BYTES_MAX, Exchange
from streams.gateway.forms import read_form
from streams.gateway.request import Request, credentials, is_from_a_foreign_page
from streams.gateway.sessions import Sessions
from streams.telemetry import Telemetry

__all__ = ["Gateway"]

QUERIES_MAX = 32  # at once; more are told to come back
READERS_MAX = 24  # of them by read-only users, so that they cannot keep the writers out
KILL_RETRY_S = 0.2
LINGER_S = 1.0  # for a client to read the error in a broken-off answer
CLIENT_LEFT, UNKNOWN_EXCEPTION = 210, 1002  # NETWORK_ERROR
Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Gateway:
    """The HTTP handlers. Give `application()` to aiohttp, and `close()` it before the engine."""

    def __init__(self, engine: Engine, users: list[User], telemetry: Telemetry) -> None:
        self.engine, self.entities = engine, engine.entities
        self.access = Access(users, self.entities.user)
        self.administration = Administration(self.entities)
        self.threads = ThreadPoolExecutor(QUERIES_MAX + 4, "chdb")  # a few over, for KILL QUERY and closing
        self.sessions = Sessions(self.connect, self.disconnect)
        self.running: dict[str, User] = {}  # by query id
        text = "Statements by user and by ClickHouse's error code, 0 for none."
        self.statements = telemetry.counter("gateway_statements_total", text, ["user", "code"])
        self.refused = telemetry.counter("gateway_logins_refused_total", "Requests without a known user and its password.")
        telemetry.gauge("gateway_running", "Statements under way.").set_function(lambda: len(self.running))

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
        headers = {"X-ClickHouse-Server-Display-Name": "orbitrack"}
        user, code = None, 0
        try:
            if http.method not in ("GET", "HEAD", "POST", "PUT"):
                raise GatewayError(36, "BAD_ARGUMENTS", f"method {http.method} is not supported", status=405)
            if http.method == "GET" and not http.query:
                return await self.ok(http)
            user = self.login(http)
            fields, tables = await read_form(http)
            request = Request.parse(http, fields, [table.name for table in tables])
            headers["X-ClickHouse-Query-Id"] = request.query_id
            zone = request.settings.get("session_timezone", "")
            headers["X-ClickHouse-Timezone"] = zone if zone and zone.isprintable() else self.engine.timezone
            headers["X-ClickHouse-Exception-Tag"] = uuid.uuid4().hex[:16]
            exchange = Exchange(self, http, user, request, tables, headers)
            response = await self.run(exchange)
            if code := exchange.code:
                await close_when_read(http)
            return response
        except GatewayError as error:
            code = error.code
            return failure(error, headers)
        except (ConnectionError, asyncio.CancelledError):
            code = CLIENT_LEFT
            raise
        except Exception:  # the edge: one broken request must not look like a success, nor end the others
            code = UNKNOWN_EXCEPTION
            log.exception("request %s failed", headers.get("X-ClickHouse-Query-Id", "?"))
            return failure(GatewayError(code, "UNKNOWN_EXCEPTION", "the gateway failed; see its log"), headers)
        finally:
            if user is not None:
                self.statements.labels(user.name, str(code)).inc()

    def login(self, http: web.Request) -> User:
        """The user of a request; GatewayError if there is none, or if it may not come this way or in this role."""
        try:
            user = self.access.authenticate(*credentials(http))
            if not user.has_password and is_from_a_foreign_page(http):
                what = "a user without password answers only to this machine, and to no web page of another site"
                raise GatewayError(516, "AUTHENTICATION_FAILED", what)
        except GatewayError:
            self.refused.inc()
            raise
        return self.entities.effective(user, http.query.getall("role", ()))

    async def run(self, exchange: Exchange) -> web.StreamResponse:
        request = exchange.request
        readers = sum(user.read_only for user in self.running.values())
        if len(self.running) >= QUERIES_MAX or (exchange.user.read_only and readers >= READERS_MAX):
            what = f"Too many simultaneous queries. Maximum: {READERS_MAX if exchange.user.read_only else QUERIES_MAX}"
            raise GatewayError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", what)
        if request.query_id in self.running:
            what = f"Query with id = {request.query_id} is already running"
            raise GatewayError(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", what)
        self.running[request.query_id] = exchange.user
        try:
            async with self.sessions.lease(exchange.user, request) as connection:
                return await exchange.answer(connection)
        finally:
            del self.running[request.query_id]

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
                await asyncio.wait((future,), timeout=KILL_RETRY_S)
            future.exception()
            raise


async def close_when_read(http: web.Request) -> None:
    """Closes a connection whose answer was broken off: when the client leaves, or after `LINGER_S`.

    Not at once: some clients (Node's) see the close first, and throw away the error they had yet to read.
    """
    with suppress(asyncio.CancelledError):  # it left
        await asyncio.sleep(LINGER_S)
    if http.transport is not None:
        http.transport.close()


def failure(error: GatewayError, headers: dict[str, str]) -> web.Response:
    headers["X-ClickHouse-Exception-Code"] = str(error.code)
    return web.Response(status=error.status, text=error.text + "\n", headers=headers)
