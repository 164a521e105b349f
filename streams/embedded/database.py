"""The embedded database as a process of its own.

    python -m streams.embedded.database --path DIR [--host 127.0.0.1] [--port 8123] [--users FILE]
        [--metrics HOST:PORT] [--native-port 9000]

Passwords come from the environment: ORBITRACK_WRITER_PASSWORD and ORBITRACK_ANALYST_PASSWORD. On loopback a user without
one may log in with an empty password; elsewhere it does not exist. `default` is the writer under ClickHouse's own name.
More users: streams/embedded/users.py.

When it is ready it prints one line of JSON: {"event": "database_ready", "host": ..., "port": ..., "version": ...}.
SIGTERM and SIGINT give running queries GRACE_S to end, then stop them and close the engine; after kill -9 the folder
simply opens again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import click
from aiohttp import web

from streams.addresses import is_loopback
from streams.embedded.users import read_users
from streams.errors import ConfigError, DependencyError, OrbitrackError
from streams.folders import folder_error, make_folder
from streams.gateway import Engine, Gateway, User
from streams.gateway.native_port import listen_native
from streams.telemetry import Telemetry

__all__ = ["database_users", "serve_database"]

GRACE_S = 2.0  # twice: for running queries to end, and to be stopped
URI_BYTES_MAX = 1 << 20  # http_max_uri_size of ClickHouse
WRITER_PASSWORD, ANALYST_PASSWORD = "ORBITRACK_WRITER_PASSWORD", "ORBITRACK_ANALYST_PASSWORD"

METRICS_LISTEN = "ORBITRACK__METRICS__LISTEN__GATEWAY"  # as every role of `orbitrack up` is told


def database_users(writer_password: str = "", analyst_password: str = "", *, is_loopback: bool = True) -> list[User]:
    """The users of the embedded database; without password only where nobody else can reach it."""
    users = [
        User("default", writer_password),
        User("writer", writer_password),
        User("analyst", analyst_password, read_only=True),
    ]
    return [user for user in users if user.password or is_loopback]


async def serve_database(
    path: Path,
    host: str,
    port: int,
    users: list[User],
    *,
    metrics_listen: str = "",
    native_port: int = 0,
    ready: asyncio.Event | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until `stop` is set, or SIGTERM or SIGINT if there is none. Prints the ready line, then sets `ready`.

    `metrics_listen` is where /metrics and /healthz are; empty: nowhere. On `native_port` clients are told to use HTTP; 0:
    nothing listens there.

    ConfigError if another process has the folder; DependencyError if the port is taken.
    """
    if not users:
        hint = f"set {WRITER_PASSWORD} or listen on 127.0.0.1"
        raise ConfigError(f"nobody could log in: {host} is not loopback and there is no password", hint=hint)
    stop = stop or stop_on_signals()
    make_folder(path)
    engine = Engine(path, users)
    try:
        engine.open()
    except OSError as error:
        raise folder_error(path, error) from error
    telemetry = Telemetry("gateway")
    native: asyncio.Server | None = None
    gateway = Gateway(engine, users, telemetry)
    runner = web.AppRunner(
        gateway.application(),
        access_log=None,
        auto_decompress=False,
        handler_cancellation=True,
        max_line_size=URI_BYTES_MAX,
        max_field_size=URI_BYTES_MAX,
        shutdown_timeout=GRACE_S,
    )
    try:
        await telemetry.start(metrics_listen)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
            bound = runner.addresses[0][1]
            native = await listen_native(host, native_port, http_port=bound) if native_port else None
        except OSError as error:
            taken = native_port if runner.addresses else port
            hint = "another database may be running; choose another " + ("--native-port" if runner.addresses else "--port")
            raise DependencyError(f"cannot listen on {host}:{taken}: {error.strerror}", retryable=False, hint=hint) from error
        line = {"event": "database_ready", "host": host, "port": bound, "path": str(engine.path), "version": engine.version}
        print(json.dumps(line), flush=True)
        if ready is not None:
            ready.set()
        await stop.wait()
    finally:
        if native is not None:
            native.close()
        await runner.cleanup()
        await gateway.close()
        await telemetry.stop()
        engine.close()


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@click.command()
@click.option("--path", type=click.Path(path_type=Path), required=True, help="Folder of the data.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8123, show_default=True, help="0 for any free one.")
@click.option("--users", "users_file", type=click.Path(path_type=Path), help="TOML file of further users.")
@click.option("--native-port", default=0, help="Where clients of the native protocol (9000) are told to use HTTP.")
@click.option("--metrics", default="", envvar=METRICS_LISTEN, help="HOST:PORT of /metrics and /healthz.")
def main(path: Path, host: str, port: int, users_file: Path | None, native_port: int, metrics: str) -> None:
    """chDB behind ClickHouse's HTTP interface."""
    passwords = (os.environ.get(WRITER_PASSWORD, ""), os.environ.get(ANALYST_PASSWORD, ""))
    try:
        users = database_users(*passwords, is_loopback=is_loopback(host))
        users += read_users(users_file, os.environ) if users_file else []
        asyncio.run(serve_database(path, host, port, users, metrics_listen=metrics, native_port=native_port))
    except OrbitrackError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
