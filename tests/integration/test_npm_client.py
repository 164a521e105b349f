"""@clickhouse/client for Node against the gateway. Needs node and npm; skipped, and said so, where they are not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.databases import WRITER_PASSWORD, Database

PACKAGE = "@clickhouse/client@1.23.1"
SCRIPT = Path(__file__).with_name("npm_client.mjs")


@pytest.fixture(scope="module")
def seen(gateway: Database, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the client saw, by step of the script."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not here: the client for Node is not tried")
    folder = tmp_path_factory.mktemp("npm")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PACKAGE]
    installed = subprocess.run(install, capture_output=True, text=True, timeout=120)
    if installed.returncode:
        pytest.skip(f"{PACKAGE} cannot be installed: {installed.stderr.strip()[-200:]}")
    shutil.copy(SCRIPT, folder)
    gateway.value("CREATE DATABASE npm_client")
    run = subprocess.run(
        ["node", SCRIPT.name, gateway.url, WRITER_PASSWORD], cwd=folder, capture_output=True, text=True, timeout=120
    )
    gateway.value("DROP DATABASE npm_client")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_rows_go_in_and_come_out(seen: Any) -> None:
    assert seen["ping"] is True
    assert seen["insert"]["written_rows"] == "2"
    assert [(row["a"], row["b"]) for row in seen["rows"]] == [(1, "x"), (2, "it's"), (3, "z"), (4, "w"), (5, "q"), (6, "r")]
    assert seen["json"]["data"] == [{"n": 1}]
    assert (seen["stream"], seen["csv"]) == (300_000, 300_000)
    assert seen["exec"] == '"a"\n1\n'


def test_parameters_settings_and_sessions_hold(seen: Any) -> None:
    assert seen["parameters"] == [{"n": 5, "s": "it's\n\\ a\ttab", "a": [1, 2]}]
    assert seen["setting"] == [{"v": 123}]
    assert seen["session"] == [{"n": 0}]


def test_errors_have_codes_also_after_the_first_rows(seen: Any) -> None:
    assert seen["unknown"] == {"code": "60", "type": "UNKNOWN_TABLE"}
    assert seen["late"] == {"code": "395", "type": "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"}


def test_aborted_query_is_stopped(seen: Any) -> None:
    assert seen["aborted"] == "given up"
