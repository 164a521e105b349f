"""The embedded database for tests: a real gateway over a real chDB, as a process of its own on a free port."""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.processes import end, environment

START_S = 60
ANALYST_PASSWORD = "night shift"
WRITER_PASSWORD = "day shift"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_complete: bool = True

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def code(self) -> int:
        """The exception's, 0 if there is none."""
        return int(self.headers.get("X-ClickHouse-Exception-Code", 0))

    @property
    def summary(self) -> dict[str, int]:
        return {name: int(value) for name, value in json.loads(self.headers["X-ClickHouse-Summary"]).items()}


@dataclass
class Database:
    process: subprocess.Popen[bytes]
    port: int
    path: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(
        self,
        body: str | bytes = b"",
        *,
        user: str | None = "writer",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        **parameters: object,
    ) -> Reply:
        """One request on a connection of its own; parameters go into the URL."""
        password = {"writer": WRITER_PASSWORD, "analyst": ANALYST_PASSWORD, "default": WRITER_PASSWORD}.get(user or "")
        own = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password or ""} if user else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = body.encode() if isinstance(body, str) else body
            connection.request(method, "/?" + urllib.parse.urlencode(parameters), data, {**own, **(headers or {})})
            response = connection.getresponse()
            try:
                return Reply(response.status, dict(response.headers), response.read())
            except http.client.IncompleteRead as cut:
                return Reply(response.status, dict(response.headers), cut.partial, is_complete=False)
        finally:
            connection.close()

    def value(self, query: str, **parameters: object) -> str:
        """What a query returns, which must succeed."""
        reply = self.ask(query, **parameters)  # type: ignore[arg-type]
        assert reply.status == 200, reply.text
        return reply.text.rstrip("\n")


def start_database(path: Path, *, options: Sequence[str] = (), **variables: str) -> Database:
    """Starts the process on a free port and waits for its ready line."""
    passwords = {"ORBITRACK_WRITER_PASSWORD": WRITER_PASSWORD, "ORBITRACK_ANALYST_PASSWORD": ANALYST_PASSWORD}
    log = path.with_name(f"{path.name}.log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.embedded.database", "--path", path, "--port", "0", *options],
            env=environment() | passwords | variables,
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
        )
    assert process.stdout is not None
    is_ready = select.select([process.stdout], [], [], START_S)[0]
    line = process.stdout.readline() if is_ready else b""
    if not line:
        end(process)
        raise AssertionError(f"the database did not start, status {process.returncode}:\n{log.read_text()[-3000:]}")
    ready = json.loads(line)
    assert ready["event"] == "database_ready"
    return Database(process, ready["port"], path)


@contextmanager
def database_process(path: Path) -> Iterator[Database]:
    database = start_database(path)
    try:
        yield database
    finally:
        end(database.process)
        if database.process.stdout is not None:
            database.process.stdout.close()
