"""`orbitrack up`: every role on this machine, each a process of its own.

    await Up(config, Options(...), say).run()

Kafka and the database come first, then the schema and the topics, then the other roles. All ports are those of the
configuration plus `port_offset`; children learn theirs from the environment, as any setting.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from streams.addresses import is_loopback
from streams.database import wait_for_database
from streams.embedded.broker import CONTROLLER_PORT_STEP, fetch_jars, wait_until_listening
from streams.embedded.supervisor import Supervisor
from streams.errors import ConfigError, DependencyError, UsageError, nearest
from streams.kafka import wait_for_topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streams.config import Config

__all__ = ["ROLES", "Options", "Up", "parse_roles"]

ROLES = ("kafka", "database", "collect", "worker", "store", "alert", "serve")
START_TIMEOUT_S = 120
HEALTH_PERIOD_S = 0.2
PORT = re.compile(r":(\d+)(?=$|[/?])")


@dataclass(frozen=True)
class Options:
    roles: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROLES, 1))    # role -> processes
    port_offset: int = 0
    exit_after_s: float | None = None
    log_format: str = "text"
    config_file: Path | None = None
    is_demo: bool = False                  # the webhook receiver is ours too, and so is its port


def parse_roles(text: str | None) -> dict[str, int]:
    """`kafka,worker=2` -> {"kafka": 1, "worker": 2}, in the order in which roles start."""
    wanted: dict[str, int] = {}
    for word in (text or ",".join(ROLES)).split(","):
        role, _, count = word.strip().partition("=")
        if role not in ROLES or (count and not (count.isdigit() and int(count))):
            match = nearest(role, ROLES)
            known = f"one of {', '.join(ROLES)}, as ROLE or ROLE=COUNT"
            hint = f"did you mean '{match}'?" if match and match != role else known
            raise UsageError(f"--only: no role '{word.strip()}'\n  hint: {hint}")
        wanted[role] = wanted.get(role, 0) + int(count or 1)
    return {role: wanted[role] for role in ROLES if role in wanted}


def shift(address: str, offset: int) -> str:
    """`udp://0.0.0.0:6343` and 2 -> `udp://0.0.0.0:6345`. Port 0 stays: it takes a free one."""
    return PORT.sub(lambda match: f":{int(match[1]) + offset}" if int(match[1]) else match[0], address, count=1)


def shift_dsn(dsn: str, offset: int) -> str:
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=user + at + shift(host, offset)))


def is_here(address: str) -> bool:
    return is_loopback(address.rpartition(":")[0].strip("[]"))


def shifted(config: Config, options: Options) -> Config:
    """The configuration with every port of ours moved. A broker or database of the user's own keeps its port."""
    offset = options.port_offset
    if not offset:
        return config
    metrics = {role: shift(listen, offset) for role, listen in config.metrics.listen.items()}
    links = [link.model_copy(update={"listen": shift(link.listen, offset)}) if link.listen else link for link in config.links]
    changes: dict[str, object] = {
        "links": links,
        "web": config.web.model_copy(update={"listen": shift(config.web.listen, offset)}),
        "metrics": config.metrics.model_copy(update={"listen": metrics}),
    }
    if options.is_demo:
        changes["webhooks"] = [hook.model_copy(update={"url": shift_dsn(hook.url, offset)}) for hook in config.webhooks]
    if "kafka" in options.roles or is_here(config.kafka.bootstrap):
        changes["kafka"] = config.kafka.model_copy(update={"bootstrap": shift(config.kafka.bootstrap, offset)})
    if "database" in options.roles or is_here(urlsplit(config.database.dsn).netloc.rpartition("@")[2]):
        changes["database"] = config.database.model_copy(update={"dsn": shift_dsn(config.database.dsn, offset)})
    return config.model_copy(update=changes)


class Up:
    """All roles of one machine, from the first process to the last."""

    def __init__(self, config: Config, options: Options, say: Callable[[str], None]) -> None:
        self.options, self.say = options, say
        self.config = shifted(config, options)
        self.data_dir = config.data_dir
        self.supervisor = Supervisor(self.data_dir, say)
        self.stopped = asyncio.Event()
        self.is_ready = False
        self.free: dict[str, str] = {}                         # where the second and later processes of a role say how they are

    async def run(self, while_ready: Callable[[Up], asyncio.Future[None]] | None = None) -> None:
        """Starts everything, runs until SIGINT, SIGTERM or `exit_after_s` of full operation, and ends everything.

        `while_ready(self)` is started when all roles work, and cancelled at the end; if it fails, that is the end.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopped.set)
        self.supervisor.open()
        self.check_ports()
        extra = None
        try:
            starting = asyncio.create_task(self.start())
            stopping = asyncio.create_task(self.stopped.wait())
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                return
            await starting
            if while_ready is not None:
                extra = asyncio.ensure_future(while_ready(self))
            waited = (stopping,) if extra is None else (stopping, extra)
            done, _ = await asyncio.wait(waited, timeout=self.options.exit_after_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self.say(f"{self.options.exit_after_s:g} s of full operation are over")
        finally:
            if extra is not None:
                extra.cancel()
                await asyncio.gather(extra, return_exceptions=True)
            self.say("stopping")
            await self.supervisor.stop()
        if extra is not None and not extra.cancelled() and extra.exception() is not None:
            raise extra.exception()  # type: ignore[misc]

    async def start(self) -> None:
        roles = self.options.roles
        if "kafka" in roles:
            await fetch_jars(self.say)
        for role in ("kafka", "database"):
            if role in roles:
                self.supervisor.add(role, self.command(role), self.environment(role))
                await self.supervisor.start(role)
        if "kafka" in roles:
            await self.listening("kafka", self.kafka_port)
        if roles.keys() - {"database", "serve"}:
            await wait_for_topics(self.config.kafka)
            self.say(f"kafka: {self.config.kafka.bootstrap}")
        if "database" in roles:
            await self.listening("database", self.database_port)
        if roles.keys() & {"database", "store", "serve"}:
            applied = await wait_for_database(self.config.database)
            address = urlsplit(self.config.database.dsn).netloc.rpartition("@")[2]
            state = f"{len(applied)} migrations applied" if applied else "schema is current"
            self.say(f"database: http://{address}, {state}")
        names = []
        for role in ROLES[2:]:
            for number in range(1, roles.get(role, 0) + 1):
                name = role if number == 1 else f"{role}-{number}"
                self.supervisor.add(name, self.command(role), self.environment(name))
                await self.supervisor.start(name)
                names.append(name)
        await self.all_healthy(names)
        self.is_ready = True
        self.say("ready: " + ", ".join(f"{name} {self.address(name)}".strip() for name in names))

    async def listening(self, role: str, port: int) -> None:
        """Waits until a child listens; says its last words if it does not."""
        waiting = asyncio.create_task(wait_until_listening(port, START_TIMEOUT_S))
        while not waiting.done():
            await asyncio.wait((waiting,), timeout=HEALTH_PERIOD_S)
            if self.supervisor.children[role].restarts > 2:
                waiting.cancel()
                raise DependencyError(f"{role} does not start:\n{self.supervisor.last_words(role)}", retryable=False)
        await waiting

    async def all_healthy(self, names: list[str]) -> None:
        if not names:
            return
        tasks = {asyncio.create_task(self.healthy(name), name=name) for name in names}
        done, late = await asyncio.wait(tasks, timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_EXCEPTION)
        for task in late:
            task.cancel()
        for task in done:
            task.result()
        if late:
            missing = ", ".join(sorted(task.get_name() for task in late))
            hint = f"see {self.data_dir / 'log'}"
            raise DependencyError(f"no sign of life from {missing} within {START_TIMEOUT_S} s", hint=hint)

    async def healthy(self, name: str) -> None:
        """Waits until a process says on /readyz that it can work."""
        address = self.metrics_listen(name)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                if self.supervisor.children[name].restarts > 2:
                    raise DependencyError(f"{name} does not start:\n{self.supervisor.last_words(name)}", retryable=False)
                if self.supervisor.is_alive(name):
                    if not address or address.endswith(":0"):
                        return
                    try:
                        async with session.get(f"http://{address}/readyz") as answer:
                            if answer.status == 200 or self.is_due_to_others(await answer.json()):
                                return
                    except (aiohttp.ClientError, TimeoutError, ValueError):
                        pass                                   # not yet; the loop has an end
                await asyncio.sleep(HEALTH_PERIOD_S)

    def is_due_to_others(self, answer: dict[str, Any]) -> bool:
        """All that a process lacks is a broker or a database that somebody else runs: it waits, and we need not."""
        return bool(answer.get("wrong")) and answer["wrong"].keys() <= {"kafka", "database"} - self.options.roles.keys()

    def metrics_listen(self, name: str) -> str:
        """Where a process has its /metrics and /readyz: the first of a role where the configuration says, others anywhere."""
        role = name.partition("-")[0]
        listen: str = self.config.metrics.listen.get(role, "")                            # type: ignore[call-overload]
        if name == role or not listen:
            return listen
        if name not in self.free:
            with socket.create_server(("127.0.0.1", 0)) as probe:
                self.free[name] = f"127.0.0.1:{probe.getsockname()[1]}"
        return self.free[name]

    def command(self, role: str) -> list[str]:
        python = [sys.executable, "-m"]
        if role == "kafka":
            folder = str(self.data_dir / "kafka")
            return [*python, "streams.embedded.broker", "--data-dir", folder, "--port", str(self.kafka_port)]
        if role == "database":
            folder = str(self.data_dir / "database")
            return [*python, "streams.embedded.database", "--path", folder, "--port", str(self.database_port)]
        return [*python, "streams.cli", role, "--log-format", self.options.log_format]

    def environment(self, name: str) -> dict[str, str]:
        """Settings of a child that differ from the file: ports, the data directory; a second process has a port of its own."""
        config, own = self.config, name.partition("-")[0]
        settings = {
            "KAFKA__BOOTSTRAP": config.kafka.bootstrap,
            "DATABASE__DSN": config.database.dsn,
            "DATA_DIR": str(self.data_dir.absolute()),
            "WEB__LISTEN": config.web.listen,
        }
        for role, listen in config.metrics.listen.items():
            settings[f"METRICS__LISTEN__{role.upper()}"] = self.metrics_listen(name) if role == own else listen
        for index, link in enumerate(config.links):
            if link.listen:
                settings[f"LINK__{index}__LISTEN"] = link.listen
        if self.options.is_demo:
            settings |= {f"WEBHOOK__{index}__URL": hook.url for index, hook in enumerate(config.webhooks)}
        environment = os.environ | {f"ORBITRACK__{key}": value for key, value in settings.items()}
        if password := config.database.login["password"] or urlsplit(config.database.dsn).password:
            environment["ORBITRACK_WRITER_PASSWORD"] = password           # the embedded database asks for the same
        if self.options.config_file:
            environment["ORBITRACK_CONFIG"] = str(self.options.config_file.absolute())
        return environment

    @property
    def kafka_port(self) -> int:
        return int(self.config.kafka.bootstrap.split(",")[0].rpartition(":")[2])

    @property
    def database_port(self) -> int:
        return urlsplit(self.config.database.dsn).port or 8123

    def address(self, name: str) -> str:
        if name == "serve":
            return f"http://{self.config.web.listen}"
        if name == "collect":
            return " ".join(link.listen for link in self.config.links if link.listen)
        return ""

    def check_ports(self) -> None:
        """Raises DependencyError for a port that somebody else has, before anything starts."""
        ports: dict[int, str] = {}
        if "kafka" in self.options.roles:
            ports |= {self.kafka_port: "kafka", self.kafka_port + CONTROLLER_PORT_STEP: "kafka's controller"}
        if "database" in self.options.roles:
            ports[self.database_port] = "the database"
        if "serve" in self.options.roles:
            ports[int(self.config.web.listen.rpartition(":")[2])] = "the web page"
        for port, what in ports.items():
            if port > 65535:
                raise ConfigError(f"port {port} for {what} is above 65535", hint="use a smaller --port-offset")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise DependencyError(
                        f"port {port} for {what} is taken by another program ({error.strerror})", retryable=False,
                        hint="end it, or move all ports with --port-offset N",
                    ) from None
