"""Faust's settings that its defaults would get wrong for us. In a process of its own: the import chooses the event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

CODE = """
import sys
from streams.config import Config
from streams.shell import make_app

app = make_app(Config.model_validate({"data_dir": sys.argv[1]}), "worker")
print(app.conf.broker_commit_livelock_soft_timeout)
"""


def test_faust_does_not_take_our_commits_for_missing_ones(tmp_path: Path) -> None:
    """By default it writes an error a partition every few seconds after five minutes without a commit of its own."""
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=True)
    assert float(result.stdout) > 10 * 365 * 86_400
