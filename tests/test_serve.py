"""The serve role over a real socket and a real database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from streams.clickhouse.client import connect
from streams.config import Config
from streams.serve import Server
from streams.telemetry import Telemetry


def ask(database: str, *paths: str, now_s: int = 1_790_000_600) -> list[tuple[int, Any]]:
    """(status, body) of each path, asked of a server of its own."""

    async def run() -> list[tuple[int, Any]]:
        config = Config.model_validate({"database": {"dsn": database}, "web": {"listen": "127.0.0.1:0"}})
        server = Server(config, Telemetry("serve"), lambda: now_s * 10**9)
        await server.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
                answers = []
                for path in paths:
                    async with session.get(path) as answer:
                        text = await answer.text()
                        is_json = answer.content_type == "application/json"
                        answers.append((answer.status, json.loads(text) if is_json else text))
                return answers
        finally:
            await server.stop()

    return asyncio.run(run())


def test_levels_are_those_of_the_report(database: str) -> None:
    with connect(database) as client:
        for metric, total in (("packets_rx", 990.0), ("packets_lost", 10.0)):
            row = [1_790_000_400, "SAT-1", metric, 1, 1, 1, total]
            client.insert("windows_1m", [row], column_names=["bucket", "entity", "metric", "rev", "cnt", "good", "vsum"])
    ((status, lines),) = ask(database, "/api/v1/slo?window=10m")
    assert status == 200
    (line,) = [line for line in lines if line["entity"] == "SAT-1"]
    assert (line["sli"], line["good"], line["total"], line["state"]) == (0.99, 990, 1000, "breached")


def test_named_queries_are_listed_and_asked(database: str) -> None:
    (_, names), (status, rows) = ask(
        database, "/api/v1/queries", "/api/v1/queries/availability?from=2026-10-01&to=2026-10-02"
    )
    assert "availability" in {query["name"] for query in names}
    assert (status, rows) == (200, [])


def test_a_wrong_question_is_the_askers_fault(database: str) -> None:
    (status, body), (missing, _) = ask(database, "/api/v1/queries/availabilty", "/nothing")
    assert status == 400
    assert "did you mean 'availability'?" in body["error"]
    assert missing == 404


def test_page_and_metrics_are_served(database: str) -> None:
    (status, page), (_, metrics) = ask(database, "/", "/metrics")
    assert status == 200 and "Did the links keep their promise?" in page
    assert 'orbitrack_http_requests_total{path="/",status="200"} 1.0' in metrics


def test_database_away_is_503_and_says_so() -> None:
    ((status, body),) = ask("http://127.0.0.1:1/orbitrack", "/api/v1/slo")
    assert status == 503
    assert "127.0.0.1:1" in body["error"]


@pytest.mark.parametrize("is_there", [True, False])
def test_readiness_is_known_before_anybody_asks(database: str, is_there: bool) -> None:
    async def run() -> dict[str, str]:
        telemetry = Telemetry("serve")
        dsn = database if is_there else "http://127.0.0.1:1/orbitrack"
        server = Server(Config.model_validate({"database": {"dsn": dsn}}), telemetry)
        await server.look_at_database()
        await server.stop()
        return telemetry.readiness()

    wrong = asyncio.run(run())
    assert not wrong if is_there else "127.0.0.1:1" in wrong["database"]
