"""Our own metrics and health: what Prometheus scrapes and what an orchestrator asks.

Every role has one `Telemetry` and serves it on `[metrics] listen`:

    telemetry = Telemetry("worker")
    frames = telemetry.counter("frames_total", "Frames taken from Kafka.", ["link"])
    kafka = telemetry.dependency("kafka")           # not ready until kafka.up()
    await telemetry.start("127.0.0.1:9101")
    frames.labels("racks").inc(1000)                # once a batch, never once a frame
    kafka.down("connection refused, attempt 3")
    await telemetry.stop()

`/metrics` is Prometheus text. `/healthz` is 200 while the process can work and 503 with the reason after `fail` or when
a heartbeat is missing. `/readyz` is 200 when it is healthy and all dependencies are up. It does not know what it
counts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

import prometheus_client
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from streams.addresses import bind_error, parse_address
from streams.clock import NS
from streams.errors import ConfigError

__all__ = ["Dependency", "Telemetry"]

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]     # a `_created` beside every counter

PREFIX = "orbitrack_"
SHUTDOWN_S = 2.0                # how long a scrape in progress may hold up the end of a role


class Dependency:
    """One thing outside that a role needs: Kafka, the database, a receiver. Down until told otherwise."""

    def __init__(self, name: str, gauge: Gauge) -> None:
        self.name, self.is_up, self.detail = name, False, "not tried yet"
        self.gauge = gauge.labels(name)
        self.gauge.set(0)

    def up(self) -> None:
        self.is_up, self.detail = True, ""
        self.gauge.set(1)

    def down(self, detail: str) -> None:
        """`detail` is shown by /readyz: what failed and which attempt this was."""
        self.is_up, self.detail = False, detail
        self.gauge.set(0)


class Telemetry:
    """The metrics and the health of one role. `monotonic_ns` only judges heartbeats."""

    def __init__(self, role: str, *, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.role = role
        self.registry = CollectorRegistry()
        self.monotonic_ns = monotonic_ns
        self.dependencies: dict[str, Dependency] = {}
        self.heartbeats: dict[str, tuple[int, int]] = {}
        self.failure: str | None = None
        self.runner: web.AppRunner | None = None
        self.port = 0
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.dependency_up = self.gauge("dependency_up", "1 while the dependency answers.", ["dependency"])
        self.gauge("role_info", "Which role this process has.", ["role"]).labels(role).set(1)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """`name` without prefix, unit then `_total` last: `frames_bytes_total`."""
        assert name.endswith("_total"), name
        return Counter(PREFIX + name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        return Gauge(PREFIX + name, text, labels, registry=self.registry)

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = Histogram.DEFAULT_BUCKETS
    ) -> Histogram:
        return Histogram(PREFIX + name, text, labels, buckets=buckets, registry=self.registry)

    def dependency(self, name: str) -> Dependency:
        """The dependency of this name; from the first call on /readyz waits for it."""
        if name not in self.dependencies:
            self.dependencies[name] = Dependency(name, self.dependency_up)
        return self.dependencies[name]

    def heartbeat(self, task: str, within_s: float) -> None:
        """`task` lives; if it does not call again within that time, /healthz says so. `within_s` 0 ends the watch."""
        if within_s <= 0:
            self.heartbeats.pop(task, None)
        else:
            self.heartbeats[task] = (self.monotonic_ns() + round(within_s * NS), round(within_s * NS))

    def fail(self, reason: str) -> None:
        """This process cannot go on: /healthz is 503 with `reason` from now on."""
        self.failure = reason

    def health(self) -> dict[str, str]:
        """What is wrong with the process itself, by part; empty when healthy."""
        now_ns = self.monotonic_ns()
        wrong = {
            task: f"no sign of life for {(now_ns - due_ns + within_ns) / NS:.1f} s"
            for task, (due_ns, within_ns) in self.heartbeats.items()
            if now_ns > due_ns
        }
        return {"process": self.failure, **wrong} if self.failure else wrong

    def readiness(self) -> dict[str, str]:
        """`health` and the dependencies that are away."""
        return self.health() | {each.name: each.detail for each in self.dependencies.values() if not each.is_up}

    async def start(self, listen: str) -> None:
        """Serve on `listen` (`HOST:PORT`, port 0 is any; the one taken is `self.port`). An empty text serves nothing.

        ConfigError or DependencyError when that address cannot be had.
        """
        if not listen:
            return
        try:
            address = parse_address(listen, schemes=("", "http"))
        except ValueError as error:
            raise ConfigError(f"metrics.listen: {error}") from error
        app = web.Application()
        app.router.add_get("/metrics", self.serve_metrics)
        app.router.add_get("/healthz", self.serve_health)
        app.router.add_get("/readyz", self.serve_readiness)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, address.host, address.port).start()
        except OSError as error:
            await runner.cleanup()
            raise bind_error(error, address, "metrics.listen") from error
        self.runner, self.port = runner, runner.addresses[0][1]

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def serve_metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})

    async def serve_health(self, request: web.Request) -> web.Response:
        return self.answer(self.health())

    async def serve_readiness(self, request: web.Request) -> web.Response:
        return self.answer(self.readiness())

    def answer(self, wrong: dict[str, str]) -> web.Response:
        body = {"role": self.role, "status": "failing" if wrong else "ok", **({"wrong": wrong} if wrong else {})}
        return web.Response(status=503 if wrong else 200, text=json.dumps(body) + "\n", content_type="application/json")
