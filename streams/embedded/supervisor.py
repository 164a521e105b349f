"""Processes that are kept alive: started, watched, started again with back-off, and ended by their own pids.

    supervisor = Supervisor(data_dir, say)
    supervisor.add("worker", command, environment)
    await supervisor.start("worker")
    ...
    await supervisor.stop()                # in reverse order of their start

Each has a log, DATA/log/NAME.log, and a pid file, DATA/run/NAME.pid. A process that dies is said and started again.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streams.errors import DependencyError
from streams.folders import folder_error, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import IO

__all__ = ["Supervisor"]

RESTART_DELAYS_S = (0.5, 1, 2, 5, 10)
HEALTHY_AFTER_S = 30          # a process that ran this long starts with the first delay again
GRACE_S = 15
ROOM_BYTES_MIN = 16_000_000     # less is a full disk: a segment, a part or a journal does not fit
PR_SET_PDEATHSIG = 1          # linux/prctl.h


def die_with_parent() -> None:
    """Runs in the child before exec: should we be killed, it is told to end, so no broker is left behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Child:
    name: str
    command: list[str]
    environment: Mapping[str, str]
    process: asyncio.subprocess.Process | None = None
    watcher: asyncio.Task[None] | None = None
    restarts: int = 0


@dataclass
class Supervisor:
    data_dir: Path
    say: Callable[[str], None]
    children: dict[str, Child] = field(default_factory=dict)
    lock: IO[str] | None = None
    is_stopping: bool = False

    def open(self) -> None:
        """Makes the folders and takes the data directory for this process.

        DependencyError when another `orbitrack up` has it; see `make_folder` for the others.
        """
        for folder in ("run", "log"):
            make_folder(self.data_dir / folder)
        try:
            self.lock = (self.data_dir / "run" / "lock").open("w")
        except OSError as error:
            raise folder_error(self.data_dir, error) from error
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DependencyError(f"{self.data_dir} is in use by another `orbitrack up`", retryable=False) from None

    def add(self, name: str, command: list[str], environment: Mapping[str, str]) -> None:
        self.children[name] = Child(name, command, environment)

    async def start(self, name: str) -> None:
        child = self.children[name]
        await self.launch(child)
        child.watcher = asyncio.create_task(self.watch(child))

    def is_alive(self, name: str) -> bool:
        process = self.children[name].process
        return process is not None and process.returncode is None

    async def launch(self, child: Child) -> None:
        with self.log_file(child.name).open("ab") as log:
            child.process = await asyncio.create_subprocess_exec(
                *child.command, env=dict(child.environment), stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=die_with_parent, start_new_session=True,
            )
        try:
            self.pid_file(child.name).write_text(f"{child.process.pid}\n")
        except OSError as error:                  # the process runs: without a pid file is better than twice
            self.say(f"{self.pid_file(child.name)} cannot be written: {error.strerror}")

    async def watch(self, child: Child) -> None:
        while not self.is_stopping:
            assert child.process is not None
            started = time.monotonic()
            status = await child.process.wait()
            self.pid_file(child.name).unlink(missing_ok=True)
            if self.is_stopping:
                return
            if time.monotonic() - started > HEALTHY_AFTER_S:
                child.restarts = 0
            await self.restart(child, ended(status))

    async def restart(self, child: Child, reason: str) -> None:
        """Tries, with growing pauses, until the process runs or we are stopping."""
        is_running = False
        while not is_running and not self.is_stopping:
            delay = RESTART_DELAYS_S[min(child.restarts, len(RESTART_DELAYS_S) - 1)]
            child.restarts += 1
            self.say(f"{child.name} {reason}; starting again in {delay:g} s (its log: {self.log_file(child.name)})")
            self.say_if_full()
            await asyncio.sleep(delay)
            if not self.is_stopping:
                try:
                    await self.launch(child)
                    is_running = True
                except OSError as error:
                    reason = f"could not be started ({error.strerror})"

    def say_if_full(self) -> None:
        try:
            free = shutil.disk_usage(self.data_dir).free
        except OSError as error:
            self.say(f"{self.data_dir} cannot be used: {error.strerror}")
        else:
            if free < ROOM_BYTES_MIN:
                self.say(f"the disk of {self.data_dir} is full ({free / 1e6:.1f} MB left): make room, then it goes on")

    async def stop(self) -> None:
        """Ends all, last started first, each with SIGTERM and after GRACE_S with SIGKILL."""
        self.is_stopping = True
        for child in reversed(list(self.children.values())):
            await self.end(child)
        if self.lock is not None:
            self.lock.close()

    async def end(self, child: Child) -> None:
        process = child.process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), GRACE_S)
            except TimeoutError:
                self.say(f"{child.name} did not end within {GRACE_S} s; killing it")
                process.kill()
                await process.wait()
        self.pid_file(child.name).unlink(missing_ok=True)
        if child.watcher is not None:
            child.watcher.cancel()

    def log_file(self, name: str) -> Path:
        return self.data_dir / "log" / f"{name}.log"

    def pid_file(self, name: str) -> Path:
        return self.data_dir / "run" / f"{name}.pid"

    def last_words(self, name: str, lines: int = 3) -> str:
        """The end of a child's log, for a message."""
        file = self.log_file(name)
        if not file.exists():
            return ""
        with file.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 4096))
            return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-lines:])


def ended(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
