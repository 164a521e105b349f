"""The serve role: service levels for people and programs, over HTTP.

    GET /                          the page (streams/web/page.html)
    GET /api/v1/slo                what `orbitrack slo report --format json` prints; ?slo=NAME, ?window=1h or ?month=2026-10
    GET /api/v1/alerts             present alerts
    GET /api/v1/queries            the named queries; /api/v1/queries/NAME?from=...&to=... asks one
    GET /metrics /healthz /readyz  of this role

Read-only: it asks the database what `orbitrack sql` would ask and keeps nothing. It has no users; keep it on loopback or
behind a proxy that has.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
import signal
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from streams.addresses import bind_error, parse_address
from streams.clickhouse.alerts import present_alerts
from streams.clickhouse.ask import ask_rows
from streams.clickhouse.client import Watch, connect
from streams.clickhouse.levels import service_levels
from streams.clickhouse.queries import catalogue, named
from streams.clock import NS, parse_duration_ns, wall_clock_ns
from streams.errors import DependencyError, InputError, OrbitrackError, UsageError
from streams.resources import schemas
from streams.slo import Slo, Span, load, month_span, parse, so_far
from streams.telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from clickhouse_connect.driver.client import Client

    from streams.clock import Clock
    from streams.config import Config

__all__ = ["Server", "run"]

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "web" / "page.html"
ROWS_MAX = 10_000
WATCH_S = 5.0
FRESH_NS = 5 * NS                       # half of what the page waits between its questions
STATUS = {UsageError: 400, InputError: 422, DependencyError: 503}


def security_headers(page: str) -> dict[str, str]:
    """Nothing on the page comes from elsewhere, and nothing runs that is not in the file: script and style by their hash."""
    hashes = {
        tag: b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag, text in re.findall(r"<(script|style)>(.*?)</\1>", page, re.S)
    }
    policy = [
        "default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'", *(f"{tag}-src 'sha256-{each}'" for tag, each in hashes.items()),
    ]
    return {
        "Content-Security-Policy": "; ".join(policy), "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


class Server:
    """The application; `start` listens, `stop` ends it."""

    def __init__(self, config: Config, telemetry: Telemetry, clock: Clock = wall_clock_ns) -> None:
        self.config, self.telemetry, self.clock = config, telemetry, clock
        self.database = telemetry.dependency("database")
        self.requests = telemetry.counter("http_requests_total", "Answered requests.", ["path", "status"])
        files = config.slo.files
        self.slos: list[Slo] = load(files) if files else parse([("demo.yaml", (schemas("slo") / "demo.yaml").read_text())])
        self.text = PAGE.read_text(encoding="utf-8")
        self.headers = security_headers(self.text)
        self.client: Client | None = None
        self.watch = Watch(lambda: connect(config.database.dsn, **config.database.login))
        self.one_at_a_time = asyncio.Lock()
        self.fresh: dict[Hashable, tuple[int, Any]] = {}
        self.runner: web.AppRunner | None = None
        self.port = 0

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.answer_errors])
        app.router.add_get("/", self.page)
        app.router.add_get("/api/v1/slo", self.levels)
        app.router.add_get("/api/v1/alerts", self.alerts)
        app.router.add_get("/api/v1/queries", self.queries)
        app.router.add_get("/api/v1/queries/{name}", self.query)
        app.router.add_get("/metrics", self.telemetry.serve_metrics)
        app.router.add_get("/healthz", self.telemetry.serve_health)
        app.router.add_get("/readyz", self.telemetry.serve_readiness)
        return app

    async def start(self) -> None:
        address = parse_address(self.config.web.listen, schemes=("", "http"))
        self.runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=2)
        await self.runner.setup()
        try:
            await web.TCPSite(self.runner, address.host, address.port).start()
        except OSError as error:
            await self.runner.cleanup()
            raise bind_error(error, address, "web.listen") from error
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
        self.disconnect()
        self.watch.close()

    def disconnect(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None

    @web.middleware
    async def answer_errors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Our errors as JSON with a status; every answer counted and with the security headers."""
        try:
            response: web.StreamResponse = await handler(request)
        except OrbitrackError as error:
            response = as_json({"error": str(error)}, STATUS.get(type(error), 500))
        except web.HTTPException as error:
            response = as_json({"error": error.reason}, error.status)
        route = request.match_info.route.resource
        self.requests.labels(route.canonical if route else "unknown", response.status).inc()
        response.headers.update(self.headers)
        return response

    async def ask(self, question: Any, key: Hashable = None) -> Any:
        """`question(client)` in a thread, one at a time; the client is made when it is first needed.

        What was answered under a key less than FRESH_NS ago is answered again: many pages are one question.
        """
        async with self.one_at_a_time:
            asked_ns = self.clock()
            self.fresh = {each: kept for each, kept in self.fresh.items() if 0 <= asked_ns - kept[0] < FRESH_NS}
            if key in self.fresh:
                return self.fresh[key][1]
            try:
                answer = await asyncio.to_thread(self.ask_blocking, question)
            except DependencyError as error:
                self.database.down(str(error))
                self.disconnect()
                raise
            self.database.up()
            if key is not None:
                self.fresh[key] = (asked_ns, answer)
            return answer

    def ask_blocking(self, question: Any) -> Any:
        if self.client is None:
            database = self.config.database
            self.client = connect(database.dsn, **database.login)
        return question(self.client)

    async def watch_database(self) -> None:
        """Says whether the database is there, also while nobody asks; for ever."""
        while True:
            await self.look_at_database()
            await asyncio.sleep(WATCH_S)

    async def look_at_database(self) -> None:
        try:
            await asyncio.to_thread(self.watch.look)
        except DependencyError as error:
            self.database.down(str(error))
        else:
            self.database.up()

    async def page(self, request: web.Request) -> web.Response:
        return web.Response(text=self.text, content_type="text/html")

    async def levels(self, request: web.Request) -> web.Response:
        questions = self.asked(request.query)
        key = ("slo", *sorted(request.query.items()))
        lines = await self.ask(lambda client: service_levels(client, questions), key)
        return as_json([line.as_dict() for line in lines])

    def asked(self, query: Mapping[str, str]) -> list[tuple[Slo, Span]]:
        """Which SLOs over which time. UsageError where the parameters make no sense."""
        for name in query:
            if name not in ("slo", "window", "month"):
                raise UsageError(f"there is no parameter '{name}'\n  hint: slo, window or month")
        known = {slo.name: slo for slo in self.slos}
        wanted, window, month = query.get("slo"), query.get("window"), query.get("month")
        if wanted is not None and wanted not in known:
            raise UsageError(f"there is no SLO '{wanted}'\n  hint: there are {' '.join(known)}")
        if window and month:
            raise UsageError("window and month exclude each other")
        now_s = self.clock() // NS // 60 * 60
        try:
            length_s = parse_duration_ns(window) // NS // 60 * 60 if window else 0
        except ValueError as error:
            raise UsageError(f"window: {error}") from error
        if window and not 0 < length_s <= now_s:
            raise UsageError(f"window: {window} is not between a minute and the time since 1970")
        return [
            (slo, self.span_of(slo, month, Span(now_s - length_s, now_s) if length_s else None))
            for slo in ([known[wanted]] if wanted is not None else self.slos)
        ]

    def span_of(self, slo: Slo, month: str | None, window: Span | None) -> Span:
        now_s = self.clock() // NS
        if not month:
            return window or slo.window.span(now_s)
        try:
            return so_far(month_span(month, slo.window.zone), now_s)
        except ValueError:
            raise UsageError(f"month: {month} is not a month\n  hint: write for example 2026-10") from None

    async def alerts(self, request: web.Request) -> web.Response:
        names, rows = await self.ask(present_alerts, ("alerts",))
        return as_json([dict(zip(names, row, strict=True)) for row in rows])

    async def queries(self, request: web.Request) -> web.Response:
        return as_json([
            {
                "name": query.name, "title": query.title, "parameters": list(query.parameters),
                "columns": [*query.keys, *query.columns],
            }
            for query in catalogue().values()
        ])

    async def query(self, request: web.Request) -> web.Response:
        bound = named(request.match_info["name"]).bind(dict(request.query))
        names, rows = await self.ask(lambda client: ask_rows(client, bound.sql, bound.parameters, ROWS_MAX))
        return as_json([dict(zip(names, row, strict=True)) for row in rows])


def as_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(value, default=str) + "\n", status=status, content_type="application/json")


async def run(config: Config) -> None:
    """Serves until SIGTERM or SIGINT."""
    telemetry = Telemetry("serve")
    server = Server(config, telemetry)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await telemetry.start(config.metrics.listen["serve"])
    watching = asyncio.create_task(server.watch_database())
    try:
        await server.start()
        log.info("serving http://%s", config.web.listen)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, watching), return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()                           # it has no end of its own: this raises what ended it
    finally:
        watching.cancel()
        await server.stop()
        await telemetry.stop()
