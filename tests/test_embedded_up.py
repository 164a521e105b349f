"""`orbitrack up` without a broker: when it says that all is ready, and which fleet the demo sends."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from streams.config import Config
from streams.embedded.demo import NEW, Demo
from streams.embedded.up import Options, Up
from streams.errors import DependencyError, UsageError
from streams.simulate import Fleet, Size
from streams.simulate.resume import keep, read_kept
from tests.processes import free_port

# In the place of a role: answers /readyz with 503 until there is a file, and counts how often it was asked.
ROLE = """
import http.server, json, os, pathlib, sys

class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0

    def do_GET(self):
        Handler.asked += 1
        wrong = pathlib.Path("wrong.json").read_text()
        ready = pathlib.Path(f"ready-{port}").exists()
        body = b"{}" if ready else json.dumps({"wrong": json.loads(wrong)}).encode()
        self.send_response(200 if ready else 503)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)
        pathlib.Path(f"asked-{port}").write_text(str(Handler.asked))

host, port = os.environ["ORBITRACK__METRICS__LISTEN__WORKER"].split(":")
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


class Story:
    """Two processes of one role, and whether `up` takes them for ready."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], roles: dict[str, int]) -> None:
        monkeypatch.chdir(folder)
        (folder / "wrong.json").write_text(json.dumps(wrong))
        self.folder = folder
        listen = {"worker": f"127.0.0.1:{free_port()}"}
        config = Config.model_validate({"data_dir": str(folder / "data"), "metrics": {"listen": listen}})
        self.up = Up(config, Options(roles=roles), print)

    async def start(self) -> asyncio.Task[None]:
        self.up.supervisor.open()
        for name in ("worker", "worker-2"):
            self.up.supervisor.add(name, [sys.executable, "-c", ROLE], self.up.environment(name))
            await self.up.supervisor.start(name)
        return asyncio.create_task(self.up.all_healthy(["worker", "worker-2"]))

    def file(self, what: str, name: str) -> Path:
        return self.folder / f"{what}-{self.up.metrics_listen(name).rpartition(':')[2]}"

    async def asked_often(self, name: str) -> None:
        end_at = asyncio.get_running_loop().time() + 60
        while not self.file("asked", name).exists() or int(self.file("asked", name).read_text() or 0) < 3:
            assert asyncio.get_running_loop().time() < end_at, f"{name} was not asked"
            await asyncio.sleep(0.02)


def test_up_is_ready_when_the_second_worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(tmp_path, monkeypatch, {"kafka": "not tried yet"}, {"kafka": 1, "worker": 2})

    async def run() -> None:
        ready = await story.start()
        try:
            story.file("ready", "worker").touch()
            await story.asked_often("worker-2")
            assert not ready.done()
            story.file("ready", "worker-2").touch()
            await asyncio.wait_for(ready, 60)
        finally:
            await story.up.supervisor.stop()

    asyncio.run(run())


def test_what_up_does_not_run_itself_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(tmp_path, monkeypatch, {"database": "refused"}, {"kafka": 1, "worker": 2})

    async def run() -> None:
        try:
            await asyncio.wait_for(await story.start(), 60)
        finally:
            await story.up.supervisor.stop()

    asyncio.run(run())


def demo(folder: Path) -> Demo:
    return Demo(Up(Config.model_validate({"data_dir": str(folder)}), Options(), print), print)


def test_what_runs_beside_the_roles_ends_them_when_it_fails(tmp_path: Path) -> None:
    said: list[str] = []

    async def receiver(running: Up) -> None:
        assert running.is_ready
        raise DependencyError("webhook receiver: the port is used by another process")

    async def run() -> None:
        up = Up(Config.model_validate({"data_dir": str(tmp_path)}), Options(roles={}), said.append)
        await asyncio.wait_for(up.run(lambda running: asyncio.ensure_future(receiver(running))), 60)

    with pytest.raises(DependencyError, match="webhook receiver"):
        asyncio.run(run())
    assert said[-1] == "stopping"


def test_demo_goes_on_with_the_fleet_of_its_data(tmp_path: Path) -> None:
    size, command = demo(tmp_path).fleet()
    assert size == NEW
    assert command[-6:] == ["--racks", "20", "--satellites", "3", "--seed", "1"]
    keep(tmp_path / "simulate.json", Fleet(Size(racks=2, satellites=1), seed=9, start_ns=0, steps=7))
    size, command = demo(tmp_path).fleet()
    assert size == Size(racks=2, satellites=1)
    assert command[-2:] == ["--resume", str(tmp_path / "simulate.json")]
    assert read_kept(tmp_path / "simulate.json").steps == 7


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"seed": 1, "size": {"tanks": 3}, "steps": 4}'])
def test_file_that_tells_of_no_fleet_says_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "simulate.json").write_text(text)
    with pytest.raises(UsageError, match="tells of no fleet\n  hint: remove the file, and a new fleet begins"):
        demo(tmp_path).fleet()
