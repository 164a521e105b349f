"""What every test may use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.databases import Database
    from tests.sla_month import Month

REPOSITORY = Path(__file__).parents[1]


def testdata(*parts: str) -> Path:
    """A file of the real captures ($ORBITRACK_TESTDATA, else ../shared/data); skips the test where they are absent."""
    root = Path(os.environ.get("ORBITRACK_TESTDATA") or REPOSITORY.parent / "shared" / "data")
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real captures are absent: no {path} (set ORBITRACK_TESTDATA)")
    return path


testdata.__test__ = False  # type: ignore[attr-defined]  a helper, not a test


@pytest.fixture(scope="session")
def kafka_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Apache Kafka broker, one for the whole session; tests keep apart by topic prefix."""
    from tests.processes import running_broker

    with running_broker(tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture
def topic_prefix(request: pytest.FixtureRequest) -> str:
    """A prefix that no other test uses."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]
    return f"{name}-{os.getpid()}-{time.monotonic_ns() % 10**9}."


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`http://HOST:PORT` of the embedded database, one for the whole session; tests keep apart by database.

    $ORBITRACK_TEST_DATABASE names another ClickHouse to test against.
    """
    from tests.processes import running_database

    if other := os.environ.get("ORBITRACK_TEST_DATABASE"):
        yield other
        return
    with running_database(tmp_path_factory.mktemp("database") / "data") as url:
        yield url


@pytest.fixture
def database(database_server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The DSN of a database of this test alone, with all migrations applied."""
    from streams.clickhouse.migrate import migrate

    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:60]
    dsn = f"{database_server}/{name}"
    migrate(dsn)
    yield dsn
    drop_database(dsn)


def drop_database(dsn: str) -> None:
    from streams.clickhouse.client import connect_to_server, database_of

    with connect_to_server(dsn) as server:
        server.command(f"DROP DATABASE `{database_of(dsn)}`")


@pytest.fixture(scope="session")
def month() -> Month:
    """What happened in the month of tests/sla_month.py; in another one with $ORBITRACK_SEED."""
    from tests.sla_month import SEED, make

    print(f"seed: ORBITRACK_SEED={SEED}")
    return make(SEED)


@pytest.fixture(scope="session")
def month_dsn(database_server: str, month: Month) -> Iterator[str]:
    """The DSN of a database with the month in it, one for the whole session: it is only read."""
    from tests.sla_month import load

    dsn = f"{database_server}/month"
    load(month, dsn)
    yield dsn
    drop_database(dsn)


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The embedded database with passwords, asked over plain HTTP: for tests of the gateway itself."""
    from tests.databases import database_process

    with database_process(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def schema(gateway: Database, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an empty SQL database in `gateway` that goes with the test."""
    name = "t_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)[:60]
    gateway.value(f"CREATE DATABASE {name}")
    yield name
    gateway.value(f"DROP DATABASE {name}")
