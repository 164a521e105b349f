"""`orbitrack up` as a user has it: what starts, what comes back, what ends, what lasts, and what is said when it cannot.

Ports are those of the configuration plus an offset. Again with the same choices:

    ORBITRACK_SEED=... pytest tests/integration/test_up.py
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streams.clickhouse.client import connect
from streams.config import Config
from streams.errors import DependencyError
from streams.kafka import Producer, Topics
from tests.integration.test_worker_kill import PARTITIONS, ROWS, as_frames, sample_batch
from tests.processes import end, environment, free_port, listens, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

SEED = int(os.environ.get("ORBITRACK_SEED", os.getpid()))
PORTS = (9092, 10092, 8123, 8080, *range(9101, 9107))          # of a configuration that says nothing else
COMMANDS = {"kafka": "kafka.Kafka", "database": "streams.embedded.database", "worker": "streams.cli worker",
            "worker-2": "streams.cli worker", "store": "streams.cli store"}  # fmt: skip


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def offset() -> int:
    """A port offset of which every port is free, below those that the system hands out."""
    print(f"again: ORBITRACK_SEED={SEED} pytest tests/integration/test_up.py")
    offsets = list(range(1000, 22_000, 20))
    random.Random(SEED).shuffle(offsets)
    return next(each for each in offsets if all(is_free(port + each) for port in PORTS))


@dataclass
class Up:
    """One `orbitrack up` and everything that it has started so far."""

    data: Path
    offset: int
    process: subprocess.Popen[bytes]
    output: Path
    pids: set[int] = field(default_factory=set)

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, text: str, deadline_s: float = 120) -> None:
        def is_over() -> bool:
            return text in self.said() or self.process.poll() is not None

        wait_for(f"`up` says '{text}'", is_over, deadline_s, self.output)
        assert text in self.said(), f"ended with status {self.process.returncode}:\n{self.said()}"

    def pid(self, role: str) -> int | None:
        with suppress(FileNotFoundError, ValueError):
            pid = int((self.data / "run" / f"{role}.pid").read_text())
            self.pids.add(pid)
            return pid
        return None

    def is_running(self, role: str) -> bool:
        pid = self.pid(role)
        return pid is not None and COMMANDS[role] in command_of(pid)

    def end(self) -> int:
        """SIGTERM; the status it ends with."""
        self.process.terminate()
        return self.process.wait(60)

    @property
    def database(self) -> str:
        return f"http://127.0.0.1:{8123 + self.offset}/orbitrack"


def command_of(pid: int) -> str:
    """A process's command line; empty when it is gone or has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def up(data: Path, offset: int, *arguments: str, **variables: str) -> Up:
    data.parent.mkdir(exist_ok=True)
    number = len(list(data.parent.glob(f"{data.name}-*.out")))
    output = data.parent / f"{data.name}-{number}.out"
    command = [sys.executable, "-m", "streams.cli", "up", "--data-dir", str(data), "--port-offset", str(offset), *arguments]
    settings = environment(kafka__partitions=PARTITIONS, windows__lateness="1s") | variables
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command, env=settings, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=data.parent
        )
    return Up(data, offset, process, output)


@pytest.fixture
def started(offset: int) -> Iterator[list[Up]]:
    """Everything in here is ended with the test, however it ends."""
    running: list[Up] = []
    yield running
    for each in running:
        end(each.process, 60)
        for pid in each.pids:
            if command_of(pid):
                os.kill(pid, signal.SIGKILL)


async def send(offset: int, numbers: range) -> None:
    """Batches of samples into every partition, each acknowledged by Kafka."""
    kafka = Config.model_validate({"kafka": {"bootstrap": f"127.0.0.1:{9092 + offset}", "partitions": PARTITIONS}}).kafka
    async with Producer(kafka) as producer:
        for number in numbers:
            for partition in range(PARTITIONS):
                batch, _ = sample_batch(partition, number)
                await (await producer.send(Topics().frames_rack, partition, as_frames(batch)))


def rows(dsn: str) -> int:
    """Samples in the database; -1 while it is away."""
    with suppress(DependencyError), connect(dsn) as client:
        return int(client.command("SELECT count() FROM v_samples"))
    return -1


def test_everything_starts_comes_back_and_ends_and_data_lasts(tmp_path: Path, offset: int, started: list[Up]) -> None:
    data, roles = tmp_path / "data", ("--only", "kafka,database,worker=2,store")
    first = up(data, offset, *roles)
    started.append(first)
    first.wait_for("ready: ")
    for role in COMMANDS:
        wait_for(f"the pid of {role}", lambda role=role: first.is_running(role), 30, first.output)
    assert len(first.pids) == len(COMMANDS)
    assert {file.stem for file in (data / "run").glob("*.pid")} == set(COMMANDS)

    # Neither a second one on the same data nor one on the same ports disturbs it.
    for folder, words in ((data, "is in use by another `orbitrack up`"), (tmp_path / "other", "is taken by another program")):
        second = up(folder, offset, *roles)
        started.append(second)
        assert second.process.wait(60) == 3, second.said()
        assert words in second.said()
        assert "Traceback" not in second.said()

    asyncio.run(send(offset, range(5)))
    wait_for("the first samples", lambda: rows(first.database) == 5 * PARTITIONS * ROWS, 60, data / "log" / "store.log")
    order = list(COMMANDS)
    random.Random(SEED).shuffle(order)
    for role in order:
        wait_for(f"{role} runs", lambda role=role: first.is_running(role), 60, first.output)
        killed = first.pid(role)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        first.wait_for(f"{role} was killed by SIGKILL; starting again in", 30)
        assert not command_of(killed)
    for role in COMMANDS:
        wait_for(f"{role} is back", lambda role=role: first.is_running(role), 60, first.output)
    wait_for("Kafka", lambda: listens(9092 + offset), 60, data / "log" / "kafka.log")
    asyncio.run(send(offset, range(5, 10)))
    expected = 10 * PARTITIONS * ROWS
    wait_for("every sample, once", lambda: rows(first.database) == expected, 120, data / "log" / "store.log")

    first.process.kill()
    first.process.wait()
    wait_for("no child is left", lambda: not any(map(command_of, first.pids)), 30, first.output)

    second = up(data, offset, *roles)
    started.append(second)
    second.wait_for("ready: ")
    assert rows(second.database) == expected
    assert "schema is current" in second.said()
    for role in COMMANDS:
        wait_for(f"{role} runs", lambda role=role: second.is_running(role), 30, second.output)
    assert second.end() == 0, second.said()
    assert not any(map(command_of, second.pids))
    assert not list((data / "run").glob("*.pid"))
    assert "Traceback" not in first.said() + second.said()


def test_exit_after_ends_it_with_status_0(tmp_path: Path, offset: int, started: list[Up]) -> None:
    running = up(tmp_path / "data", offset, "--only", "database", "--exit-after", "0.5")
    started.append(running)

    assert running.process.wait(120) == 0, running.said()
    assert "0.5 s of full operation are over" in running.said()
    assert not listens(8123 + offset)
    assert not list((tmp_path / "data" / "run").glob("*.pid"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_with_status_0_at_any_time(tmp_path: Path, offset: int, started: list[Up], number: int) -> None:
    running = up(tmp_path / "data", offset, "--only", "database,serve")
    started.append(running)
    running.wait_for("ready: " if number == signal.SIGTERM else "")
    if number == signal.SIGINT:                                # while it starts
        wait_for("the database's pid", lambda: running.pid("database") is not None, 30, running.output)
    for role in ("database", "serve"):
        running.pid(role)
    running.process.send_signal(number)
    assert running.process.wait(60) == 0, running.said()
    assert not any(map(command_of, running.pids))
    assert not list((tmp_path / "data" / "run").glob("*.pid"))
    assert "Traceback" not in running.said()


UP = ("-m", "streams.cli", "up", "--data-dir")
BROKER = ("-m", "streams.embedded.broker", "--port", "19092", "--data-dir")
DATABASE = ("-m", "streams.embedded.database", "--port", "18123", "--path")
ROLES = [("-m", "streams.cli", role) for role in ("worker", "store", "alert")]


@pytest.mark.parametrize(
    ("command", "place", "words"),
    [
        *((command, "file", "FOLDER is a file\n") for command in (UP, BROKER, DATABASE, *ROLES)),
        *((command, "/sys/orbitrack", "cannot be written: ") for command in (UP, DATABASE)),
    ],
    ids=["up", "kafka", "database", "worker", "store", "alert", "up_not_writable", "database_not_writable"],
)
def test_data_directory_that_cannot_be_one_is_told(tmp_path: Path, command: tuple[str, ...], place: str, words: str) -> None:
    (tmp_path / "file").write_text("taken")
    folder = tmp_path / place                                  # sysfs lets not even root make folders
    arguments = [*command, str(folder)] if command[-1].startswith("--") else [*command]
    done = subprocess.run(
        [sys.executable, *arguments], env=environment(data_dir=folder, kafka__bootstrap="127.0.0.1:1"), capture_output=True,
        text=True, timeout=60, check=False, cwd=tmp_path,
    )
    assert done.returncode == 2, done.stderr
    assert words.replace("FOLDER", str(folder)) in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path, offset: int, started: list[Up]) -> None:
    with socket.create_server(("127.0.0.1", 8123 + offset)):
        refused = up(tmp_path / "data", offset, "--only", "kafka,database")
        started.append(refused)
        assert refused.process.wait(60) == 3
    assert f"port {8123 + offset} for the database is taken by another program" in refused.said()
    assert "move all ports with --port-offset" in refused.said()
    assert "Traceback" not in refused.said()


def test_role_that_cannot_start_is_told_with_its_reason(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str, started: list[Up]
) -> None:
    (tmp_path / "orbitrack.toml").write_text(
        '[[link]]\nname = "sat"\ncodec = "ccsds-packets"\ndefinition = "broken.xml"\n'
    )
    (tmp_path / "broken.xml").write_text("<SpaceSystem")
    listen = f"127.0.0.1:{free_port()}"
    variables = environment(kafka__bootstrap=kafka_bootstrap, kafka__prefix=topic_prefix, metrics__listen__worker=listen)
    refused = up(tmp_path / "data", 0, "--only", "worker", **variables)
    started.append(refused)
    assert refused.process.wait(60) == 3, refused.said()
    assert "worker does not start:" in refused.said()
    assert "broken.xml:1" in refused.said()
    assert "Traceback" not in refused.said()


@pytest.mark.parametrize("how", ["empty_folder", "no_internet"])
def test_kafka_without_jars_says_how_to_do_without(tmp_path: Path, offset: int, started: list[Up], how: str) -> None:
    nobody = "http://127.0.0.1:9"                              # the discard port: nothing listens there
    names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
    cut_off = dict.fromkeys(names, nobody) | {"no_proxy": "", "NO_PROXY": ""}
    (tmp_path / "jars").mkdir()
    variables = {
        "empty_folder": {"ORBITRACK_KAFKA_JARS": str(tmp_path / "jars")},
        "no_internet": cut_off | {"HOME": str(tmp_path), "JGO_CACHE_DIR": str(tmp_path / "cache")},
    }[how]
    refused = up(tmp_path / "data", offset, "--only", "kafka", **variables)
    started.append(refused)
    assert refused.process.wait(120) == 3, refused.said()
    said = refused.said()
    assert ("no .jar file in" if how == "empty_folder" else "Kafka's jars could not be downloaded") in said
    assert "ORBITRACK_KAFKA_JARS" in said
    assert "[kafka] bootstrap" in said
    assert "Traceback" not in said
