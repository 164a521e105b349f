"""The serve role over a real socket and a real database."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from streams.clickhouse.client import connect
from streams.config import Config
from streams.errors import DependencyError
from streams.serve import PAGE, Server, security_headers
from streams.telemetry import Telemetry

PAGE_STORY = Path(__file__).with_name("page.mjs")


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


@pytest.mark.parametrize(("query", "message"), [
    ("window=soon", "window: 'soon' is not a duration"), ("window=10s", "window: 10s is not between a minute"),
    ("month=October", "month: October is not a month"), ("month=2026-10&window=1h", "window and month exclude each other"),
    ("slo=satellite", "there is no SLO 'satellite'"), ("windw=1h", "there is no parameter 'windw'"),
])
def test_wrong_parameters_are_named(query: str, message: str) -> None:
    ((status, body),) = ask("http://127.0.0.1:1/orbitrack", f"/api/v1/slo?{query}")
    assert status == 400
    assert message in body["error"]


def test_month_and_name_choose_what_is_asked(database: str) -> None:
    ((status, lines),) = ask(database, "/api/v1/slo?slo=rack-interface-error-free&month=2026-09", now_s=1_790_000_600)
    assert status == 200
    (line,) = lines
    assert line["slo"] == "rack-interface-error-free"
    assert (line["from"], line["to"]) == ("2026-08-31T22:00:00Z", "2026-09-21T14:23:00Z")         # Stockholm's, so far


class Outline(HTMLParser):
    """Elements with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_page_loads_nothing_from_elsewhere() -> None:
    outline = Outline(PAGE.read_text())
    links = [value for _, attributes in outline.found for key, value in attributes.items() if key in ("src", "href", "action")]
    assert all(value and value.startswith(("/api/", "data:")) for value in links)
    assert "@import" not in PAGE.read_text() and "url(" not in PAGE.read_text()


def test_page_may_run_only_what_is_in_its_file(database: str) -> None:
    page = PAGE.read_text()
    policy = security_headers(page)["Content-Security-Policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy
    for tag in ("script", "style"):
        text = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
        assert f"{tag}-src 'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    # Inline handlers and style attributes have no hash: the policy would stop them.
    assert not [key for _, attributes in Outline(page).found for key in attributes if key == "style" or key.startswith("on")]


def test_slow_answer_never_takes_the_place_of_a_newer_one() -> None:
    """The page's own script under node; page.mjs says what is expected."""
    if not (node := shutil.which("node")):
        pytest.skip("node is not here: the page's script is not run")
    run = subprocess.run([node, PAGE_STORY, PAGE], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.returncode) == ("ok\n", 0), run.stderr


def test_page_is_readable_by_machines_and_in_the_dark() -> None:
    page = PAGE.read_text()
    outline = Outline(page)
    assert outline.all("html") == [{"lang": "en"}]
    assert [len(outline.all(tag)) for tag in ("title", "main", "h1", "noscript")] == [1, 1, 1, 1]
    assert len(outline.all("caption")) == len(outline.all("table")) == 2
    assert {attributes.get("role") for _, attributes in outline.found} >= {"status", "region"}
    titles = {attributes["aria-labelledby"] for _, attributes in outline.found if "aria-labelledby" in attributes}
    assert titles == {attributes["id"] for attributes in outline.all("h2")}
    assert "prefers-color-scheme: dark" in page and "color-scheme: light dark" in page
    themes = [dict(re.findall(r"--(\w+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", page, re.S)]
    assert len(themes) == 2
    for theme in themes:
        for name in ("ink", "quiet", "ok", "warn", "bad", "none"):
            for ground in ("paper", "card"):
                assert contrast(theme[name], theme[ground]) >= 4.5, (name, theme)       # WCAG 2.1 1.4.3


def contrast(one: str, other: str) -> float:
    """WCAG 2.1: (lighter + 0.05) / (darker + 0.05) of relative luminances."""
    def luminance(color: str) -> float:
        digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
        channels = [int(digits[at:at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_every_state_of_the_report_and_of_alerts_has_words_on_the_page() -> None:
    page = PAGE.read_text()
    for state in ("ok", "at_risk", "breached", "no_data", "firing", "pending", "suppressed"):
        assert re.search(rf'\b{state}: "', page), state
        assert re.search(rf"\.{state}\b", page), state


def test_alerts_are_those_that_are_present(database: str) -> None:
    with connect(database) as client:
        names = ["at", "rule", "fingerprint", "seq", "state", "labels", "annotations", "value", "starts_at", "reason"]
        rows = [
            [time_, "Hot", 7, seq, state, {"entity": "a", "severity": "critical"}, {"summary": "a is hot"}, 9.0, time_, None]
            for time_, seq, state in (("2026-10-01 10:00:00", 1, "pending"), ("2026-10-01 10:01:00", 2, "firing"))
        ]
        client.command(
            f"INSERT INTO alert_events ({', '.join(names)}) VALUES " + ", ".join(
                f"('{t}', '{r}', {f}, {n}, '{s}', {labels}, {notes}, {value}, '2026-10-01 10:00:00', NULL)"
                for t, r, f, n, s, labels, notes, value, _, _ in rows
            )
        )
    ((status, alerts),) = ask(database, "/api/v1/alerts")
    assert status == 200
    assert alerts == [{
        "state": "firing", "rule": "Hot", "entity": "a", "severity": "critical", "value": 9.0, "since": "2026-10-01T10:00:00Z",
        "why": "", "summary": "a is hot",
    }]


def test_a_value_that_is_no_number_is_null(database: str) -> None:
    """The page's JSON.parse takes no NaN."""
    with connect(database) as client:
        client.command(
            "INSERT INTO alert_events (at, rule, fingerprint, seq, state, value, starts_at)"
            " VALUES ('2026-10-01 10:00:00', 'Odd', 8, 1, 'firing', nan, '2026-10-01 10:00:00')"
        )
    ((status, alerts),) = ask(database, "/api/v1/alerts")
    assert status == 200
    assert [alert["value"] for alert in alerts if alert["rule"] == "Odd"] == [None]


@pytest.mark.parametrize(("dsn", "status"), [(None, 200), ("http://127.0.0.1:1/orbitrack", 503)])
def test_readiness_names_the_database(database: str, dsn: str | None, status: int) -> None:
    _, (found, body), (health, _) = ask(dsn or database, "/api/v1/alerts", "/readyz", "/healthz")
    assert (found, health) == (status, 200)
    assert ("127.0.0.1:1" in json.dumps(body)) == (dsn is not None)


def test_many_pages_are_one_question(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def counted(client: object, questions: list[object]) -> list[object]:
        asked.append(questions)
        return []

    monkeypatch.setattr("streams.serve.service_levels", counted)
    paths = ["/api/v1/slo", "/api/v1/slo?window=1h", "/api/v1/slo", "/api/v1/slo?window=1h", "/api/v1/slo?window=2h"]
    assert [status for status, _ in ask(database, *paths)] == [200] * 5
    assert len(asked) == 3


def test_error_is_not_kept(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [DependencyError("away"), []]

    def first_away(client: object, questions: list[object]) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("streams.serve.service_levels", first_away)
    assert [status for status, _ in ask(database, "/api/v1/slo", "/api/v1/slo")] == [503, 200]
