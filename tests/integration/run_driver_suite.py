"""Runs clickhouse-connect's own integration tests against the gateway and counts.

    python tests/integration/run_driver_suite.py CHECKOUT [PYTEST-ARGUMENT...]

CHECKOUT is a checkout of the driver's repository at the version that is installed here; its source distribution has no
tests. They run in a virtual environment of their own, made by pip in a temporary folder (or in --venv DIR, to keep it), so
nothing of theirs gets into ours. Status 0 if at least FLOOR tests pass.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.databases import start_database
from tests.processes import end

FLOOR = 810
NATIVE_PORT = 9000  # one test takes it for the port of HTTP
# What the tests import beside the driver.
NEEDS = (
    "pytest pytest-asyncio pytest-mock pytest-timeout pytest-dotenv pytz tzlocal pyarrow pandas polars numpy sqlalchemy"
    " alembic aiohttp lz4 zstandard orjson shapely greenlet"
)


def prepared(folder: Path) -> Path:
    """The Python of a virtual environment with the driver as installed here and what its tests import."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        driver = f"clickhouse-connect[sqlalchemy]=={version('clickhouse-connect')}"
        subprocess.run([python, "-m", "pip", "install", "-q", driver, *NEEDS.split()], check=True)
    return python


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1)
@click.option("--venv", "environment", type=click.Path(path_type=Path), help="Where to make or find the environment.")
def main(checkout: Path, arguments: tuple[str, ...], environment: Path | None) -> None:
    """Runs the driver's integration tests in CHECKOUT against a gateway of its own."""
    suite = checkout / "tests" / "integration_tests"
    if not suite.is_dir():
        raise click.UsageError(f"{checkout} has no tests/integration_tests: not a checkout of clickhouse-connect")
    with tempfile.TemporaryDirectory(prefix="driver-suite-") as folder:
        python = prepared((environment or Path(folder) / "venv").absolute())
        # Without passwords: the tests log in as `default`.
        passwords = {"ORBITRACK_WRITER_PASSWORD": "", "ORBITRACK_ANALYST_PASSWORD": ""}
        options = ["--native-port", str(NATIVE_PORT)] if is_free(NATIVE_PORT) else []
        database = start_database(Path(folder) / "data", options=options, **passwords)
        variables = {
            "CLICKHOUSE_CONNECT_TEST_HOST": "127.0.0.1",
            "CLICKHOUSE_CONNECT_TEST_PORT": str(database.port),
            "CLICKHOUSE_CONNECT_TEST_DOCKER": "False",
            # The installed driver, compiled, not the sources beside the tests.
            "PYTHONPATH": str(Path(folder) / "tests-only"),
        }
        (Path(folder) / "tests-only").mkdir()
        (Path(folder) / "tests-only" / "tests").symlink_to((checkout / "tests").resolve(), target_is_directory=True)
        command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=120", "tests/integration_tests"]
        try:
            run = subprocess.run(
                [*command, *arguments],
                cwd=Path(folder) / "tests-only",
                env=os.environ | variables,
                stdout=subprocess.PIPE,
                text=True,
            )
        finally:
            end(database.process)
    print(run.stdout)
    passed = re.search(r"(\d+) passed", run.stdout)
    count = int(passed.group(1)) if passed else 0
    print(f"{count} passed; the floor is {FLOOR}")
    sys.exit(0 if count >= FLOOR else 1)


if __name__ == "__main__":
    main()
