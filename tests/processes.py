"""Real parts for tests: the embedded Kafka broker, and roles of orbitrack as processes that may be killed.

Every process is ended by its own pid when the test ends; ports are free ones of the loopback interface.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CONTROLLER_PORT_STEP = 1000
# Below those that Linux gives to whoever connects or binds port 0 (ip_local_port_range, from 32768): such a one may be taken
# by the time it is listened on, or while its owner is killed and started again.
PORTS = range(20_000, 31_000)

given_ports: set[int] = set()


def free_port(also_above: int = 0) -> int:
    """A port of loopback that is free for TCP and UDP, as is the one `also_above` higher; none that was given out before."""
    for port in random.Random().sample(PORTS, len(PORTS)):
        wanted = {port, port + also_above}
        if given_ports.isdisjoint(wanted) and all(map(is_free, wanted)):
            given_ports.update(wanted)
            return port
    raise AssertionError("no free port")


def is_free(port: int) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def environment(**settings: object) -> dict[str, str]:
    """The environment of a child: ours, the source tree, and settings such as kafka__prefix='t.'"""
    path = os.pathsep.join([str(REPOSITORY / "ext"), str(REPOSITORY)])
    own = {f"ORBITRACK__{key.upper()}": str(value) for key, value in settings.items()}
    return os.environ | {"PYTHONPATH": path} | own


def role(name: str, env: dict[str, str], log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Starts `orbitrack NAME`; its output goes to the end of `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "streams.cli", name, *arguments], env=env, stdout=output, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )


def end(process: subprocess.Popen[bytes], grace_s: float = 10) -> None:
    """SIGTERM, and SIGKILL for what does not heed it."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kill(process: subprocess.Popen[bytes]) -> None:
    """For what nobody needs any more."""
    process.kill()
    process.wait()


def wait_for(what: str, condition: Callable[[], bool], deadline_s: float, log: Path | None = None) -> None:
    """Asks until the condition holds; fails with the end of the log when it does not in time."""
    until = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > until:
            tail = log.read_text(errors="replace")[-3000:] if log and log.exists() else ""
            raise AssertionError(f"{what}: not within {deadline_s} s\n{tail}")
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_broker(folder: Path, port: int, node: int = 1, voters: str | None = None) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "streams.embedded.broker", "--data-dir", str(folder), "--port", str(port)]
    command += ["--node", str(node)]
    if voters:
        command += ["--voters", voters]
    with (folder / "broker.log").open("ab") as output:
        return subprocess.Popen(command, env=environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)


@contextmanager
def running_broker(folder: Path) -> Iterator[str]:
    """`HOST:PORT` of a fresh one-node broker."""
    port = free_port(CONTROLLER_PORT_STEP)
    process = start_broker(folder, port)
    try:
        wait_for("the broker", lambda: listens(port) or process.poll() is not None, 120, folder / "broker.log")
        assert process.poll() is None, (folder / "broker.log").read_text()[-3000:]
        yield f"127.0.0.1:{port}"
    finally:
        kill(process)


@dataclass
class Cluster:
    """Three brokers, each a combined broker and controller."""

    folder: Path
    ports: list[int]
    brokers: list[subprocess.Popen[bytes]]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    @property
    def voters(self) -> str:
        return ",".join(f"{node}@127.0.0.1:{port + CONTROLLER_PORT_STEP}" for node, port in enumerate(self.ports, 1))

    def start(self, index: int) -> subprocess.Popen[bytes]:
        return start_broker(self.folder / f"node-{index + 1}", self.ports[index], index + 1, self.voters)

    def kill(self, index: int) -> None:
        self.brokers[index].kill()
        self.brokers[index].wait()

    def restart(self, index: int) -> None:
        self.brokers[index] = self.start(index)


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """Three brokers that form a cluster."""
    cluster = Cluster(folder, [], [])
    while len(cluster.ports) < 3:
        port = free_port(CONTROLLER_PORT_STEP)
        if port not in cluster.ports:
            cluster.ports.append(port)
    try:
        cluster.brokers = [cluster.start(index) for index in range(3)]
        for index, port in enumerate(cluster.ports):
            wait_for("a broker of three", lambda port=port: listens(port), 120, folder / f"node-{index + 1}" / "broker.log")
        yield cluster
    finally:
        for broker in cluster.brokers:                      # in order, the last two would wait for a majority
            kill(broker)


@contextmanager
def running_database(folder: Path, port: int = 0) -> Iterator[str]:
    """`http://HOST:PORT` of a fresh embedded database."""
    port = port or free_port()
    process = start_database(folder, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def start_database(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The embedded database, ready for queries; it may be killed and started again with the same folder and port."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f"{folder.name}.log"
    command = [sys.executable, "-m", "streams.embedded.database", "--path", str(folder), "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
    wait_for("the database", lambda: listens(port) or process.poll() is not None, 60, log)
    assert process.poll() is None, log.read_text()[-3000:]
    return process
