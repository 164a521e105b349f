"""`orbitrack replay`: what a collector would have put into Kafka, at the pace asked for; datagrams and streams to sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from framecodec.batches import partition_of, source_key
from streams.cli import main
from streams.clock import NS
from streams.config import Config, Link, load_config
from streams.ipc import decode
from streams.kafka import is_arrow, read_partition
from streams.model import FRAMES
from streams.replay import Pace, read_frames, replay
from tests.capture_files import ethernet, ip, pcap, udp
from tests.conftest import testdata

TIME_NS = 1_790_000_000_000_000_000
PARTITIONS = 4


def capture(folder: Path, times_ns: list[int], name: str = "some.pcap") -> Path:
    """Datagrams "0", "1", ... of three senders at the given times."""
    file = folder / name
    packets = [
        (time_ns, ethernet(ip(udp(str(number).encode()), f"192.0.2.{number % 3}"))) for number, time_ns in enumerate(times_ns)
    ]
    file.write_bytes(pcap(packets, nanoseconds=True))
    return file


def link(codec: str = "sflow", **keys: object) -> Link:
    return Link.model_validate({"name": "racks" if codec == "sflow" else "jpss1", "codec": codec, **keys})


class Recorder:
    """A target that keeps what it gets, with the time on the test's clock."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.sent: list[tuple[int, pa.RecordBatch]] = []

    def clock(self) -> int:
        return self.now_ns

    async def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * NS)

    async def start(self) -> None: ...

    async def send(self, frames: pa.RecordBatch) -> None:
        assert frames.schema.equals(FRAMES)
        self.sent.append((self.now_ns, frames))

    async def stop(self) -> None: ...

    def play(self, frames: Iterator[tuple[pa.RecordBatch, int]], pace: Pace, **options: Any) -> list[tuple[int, int]]:
        async def all_of_it() -> list[tuple[int, int]]:
            return [step async for step in replay(frames, self, pace, self.clock, self.sleep, **options)]

        return asyncio.run(all_of_it())

    def frames(self) -> list[bytes]:
        return [frame for _, batch in self.sent for frame in batch["frame"].to_pylist()]

    def received(self) -> list[int | None]:
        return [time_ns for _, batch in self.sent for time_ns in batch["received_ns"].to_pylist()]

    def sent_at(self) -> list[int]:
        return [at_ns for at_ns, batch in self.sent for _ in range(batch.num_rows)]


def test_as_fast_as_possible_does_not_wait(tmp_path: Path) -> None:
    file = capture(tmp_path, [TIME_NS, TIME_NS + 3600 * NS])
    recorder = Recorder()
    steps = recorder.play(read_frames([file], link()), Pace())
    assert recorder.frames() == [b"0", b"1"]
    assert recorder.now_ns == 0
    assert sum(frames for frames, _ in steps) == 2
    assert sum(size for _, size in steps) == file.stat().st_size


def test_original_pace_is_that_of_the_capture(tmp_path: Path) -> None:
    seconds = [0, 0.5, 0.5, 2, 1.9, 7]
    file = capture(tmp_path, [TIME_NS + round(each * NS) for each in seconds])
    recorder = Recorder()
    recorder.play(read_frames([file], link()), Pace(original=True))
    assert recorder.frames() == [b"0", b"1", b"2", b"3", b"4", b"5"], "the order of the capture, also where its times go back"
    for at_ns, second in zip(recorder.sent_at(), [0, 0.5, 0.5, 2, 2, 7], strict=True):
        assert 0 <= at_ns - second * NS <= 0.03 * NS
    assert recorder.received() == [TIME_NS + round(each * NS) for each in seconds]


@pytest.mark.parametrize("per_second", [0.5, 10, 1000])
def test_rate_is_frames_a_second(tmp_path: Path, per_second: float) -> None:
    file = capture(tmp_path, [TIME_NS] * 50)
    recorder = Recorder()
    recorder.play(read_frames([file], link()), Pace(per_second=per_second))
    assert len(recorder.frames()) == 50
    for number, at_ns in enumerate(recorder.sent_at()):
        assert 0 <= at_ns - number / per_second * NS <= 0.021 * NS


def test_receive_time_may_be_now(tmp_path: Path) -> None:
    recorder = Recorder()
    recorder.play(read_frames([capture(tmp_path, [TIME_NS] * 3)], link()), Pace(), received_now=lambda: 42)
    assert recorder.received() == [42, 42, 42]


def test_rounds_follow_each_other_in_time(tmp_path: Path) -> None:
    files = [capture(tmp_path, [TIME_NS, TIME_NS + 5 * NS], "a.pcap"), capture(tmp_path, [TIME_NS + 2 * NS], "b.pcap")]
    recorder = Recorder()
    recorder.play(read_frames(files, link(), loops=3), Pace())
    once = [TIME_NS, TIME_NS + 5 * NS, TIME_NS + 2 * NS]
    assert recorder.received() == [time_ns + loop * 6 * NS for loop in range(3) for time_ns in once]


def test_raw_packets_are_cut_and_have_no_receive_time() -> None:
    file = testdata("packets", "jpss1", "geolocation.ccsds")
    recorder = Recorder()
    recorder.play(read_frames([file], link("ccsds-packets"), partitions=PARTITIONS), Pace(original=True))
    frames = recorder.frames()
    assert len(frames) == 7200
    assert {len(frame) for frame in frames} == {71}
    assert b"".join(frames) == file.read_bytes()
    assert set(recorder.received()) == {None}
    assert {name for _, batch in recorder.sent for name in batch["source"].to_pylist()} == {"jpss1"}


def test_raw_transfer_frames_are_cut_at_their_length(tmp_path: Path) -> None:
    file = tmp_path / "frames.bin"
    file.write_bytes(bytes(range(256)) * 10)
    recorder = Recorder()
    recorder.play(read_frames([file], link("aos", frame_length=100)), Pace())
    assert b"".join(recorder.frames()) == file.read_bytes()
    assert {len(frame) for frame in recorder.frames()} == {100, 60}


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["replay", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def config_file(folder: Path, bootstrap: str = "127.0.0.1:1", prefix: str = "") -> Path:
    file = folder / "orbitrack.toml"
    file.write_text(
        f'[kafka]\nbootstrap = "{bootstrap}"\npartitions = {PARTITIONS}\nprefix = "{prefix}"\n'
        '[[link]]\nname = "racks"\ncodec = "sflow"\n[[link]]\nname = "jpss1"\ncodec = "ccsds-packets"\n'
        '[[link]]\nname = "east"\ncodec = "netflow"\n[[link]]\nname = "west"\ncodec = "netflow"\n'
    )
    return file


async def stored(config: Config, topic: str) -> dict[int, list[pa.RecordBatch]]:
    found: dict[int, list[pa.RecordBatch]] = {}
    for partition in range(PARTITIONS):
        async for record in read_partition(config.kafka, config.kafka.prefix + topic, partition):
            assert is_arrow(record.headers)
            found.setdefault(partition, []).append(decode(record.value))
    return found


@pytest.mark.integration
def test_kafka_holds_every_datagram_in_its_sources_partition(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    file = config_file(tmp_path, kafka_bootstrap, topic_prefix)
    captures = sorted(testdata("rack", "sflow").glob("*.pcap"))
    result = run("--config", file, "--codec", "sflow", "--rate", "max", *captures)
    assert "42 frames from 34522 bytes in " in result.stderr
    by_partition = asyncio.run(stored(load_config(file, {}), "frames.rack"))
    rows = [(partition, row) for partition, batches in by_partition.items() for batch in batches for row in batch.to_pylist()]
    for partition, row in rows:
        assert (row["link"], row["codec"]) == ("racks", "sflow")
        key = source_key("sflow", "racks", row["source"], row["frame"])
        assert partition == partition_of(key, PARTITIONS)
    expected = [
        row for path in captures for batch, _ in read_frames([path], link()) for row in batch.to_pylist()
    ]
    assert sorted(map(repr, expected)) == sorted(repr(row) for _, row in rows)
    for partition in by_partition:
        order = [expected.index(row) for found, row in rows if found == partition]
        assert order == sorted(order), "a partition keeps the order of the capture"


@pytest.mark.integration
def test_kafka_holds_every_packet_of_a_raw_file_in_order(kafka_bootstrap: str, topic_prefix: str, tmp_path: Path) -> None:
    packets = testdata("packets", "jpss1", "geolocation.ccsds")
    file = config_file(tmp_path, kafka_bootstrap, topic_prefix)
    run("--config", file, "--codec", "ccsds-packets", "--rate", "max", packets)
    by_partition = asyncio.run(stored(load_config(file, {}), "frames.satellite"))
    [(partition, batches)] = by_partition.items()
    assert partition == partition_of(b"jpss1", PARTITIONS)
    assert b"".join(frame for batch in batches for frame in batch["frame"].to_pylist()) == packets.read_bytes()
    assert len(batches) <= 4, "sealed by size, as a collector seals them"


def test_absent_kafka_is_said_and_gives_status_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.replay.KAFKA_DEADLINE_S", 0.1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = config_file(tmp_path, f"127.0.0.1:{port}")
    result = run("--config", file, "--codec", "sflow", capture(tmp_path, [TIME_NS]), status=3)
    assert f"Kafka at 127.0.0.1:{port} is away" in result.stderr


def test_udp_sends_one_datagram_a_frame(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        port = receiver.getsockname()[1]
        run("--codec", "sflow", "--to", f"udp://127.0.0.1:{port}", "--rate", "max", capture(tmp_path, [TIME_NS] * 20))
        assert [receiver.recv(2048) for _ in range(20)] == [str(number).encode() for number in range(20)]


def test_json_progress_is_json_to_the_last_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{receiver.getsockname()[1]}"
        result = run("--log-format", "json", "--codec", "sflow", "--to", address, capture(tmp_path, [0, 1]))
    assert json.loads(result.stderr.splitlines()[-1])["frames"] == 2
    assert all(json.loads(line) for line in result.stderr.splitlines())


def test_tcp_sends_the_stream() -> None:
    file = testdata("packets", "jpss1", "geolocation.ccsds")
    received = bytearray()

    def receive(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while data := connection.recv(65_536):
                received.extend(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        receiver = threading.Thread(target=receive, args=(server,))
        receiver.start()
        port = server.getsockname()[1]
        run("--codec", "ccsds-packets", "--to", f"tcp://127.0.0.1:{port}", "--rate", "max", "--loop", "2", file)
        receiver.join(30)
    assert bytes(received) == 2 * file.read_bytes()


def test_nobody_listening_on_tcp_gives_status_3(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    result = run("--codec", "sflow", "--to", f"tcp://127.0.0.1:{port}", capture(tmp_path, [TIME_NS]), status=3)
    assert result.stderr.startswith(f"tcp://127.0.0.1:{port}: ")
    assert "hint: is a receiver listening there?" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "sflow", "--link", "rack"], "--link: no [[link]] is named 'rack'\n  hint: did you mean 'racks'?"),
        (["--codec", "sflow", "--link", "jpss1"], "--link: 'jpss1' is configured with codec ccsds-packets, not sflow"),
        (["--codec", "netflow"], "--link: which of east, west?"),
        (["--codec", "cadu"], "no [[link]] has codec cadu"),
        (["--codec", "sflow", "--rate", "fast"], "--rate: 'fast' is not original, max or a number of frames a second"),
        (["--codec", "sflow", "--rate", "0"], "--rate: '0' is not original, max or a number of frames a second"),
        (["--codec", "sflow", "--to", "http://127.0.0.1:1"], "--to: 'http://127.0.0.1:1' is not an address"),
        (["--codec", "sflow", "--loop", "2", "-"], "--loop: standard input can be read only once"),
    ],
)
def test_wrong_use_gives_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    file = config_file(tmp_path)
    result = run("--config", file, *arguments, capture(tmp_path, [TIME_NS]), status=2)
    assert result.stderr.startswith(message)


def test_absent_file_gives_status_1(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        result = run("--codec", "sflow", "--to", f"udp://127.0.0.1:{receiver.getsockname()[1]}", tmp_path / "absent", status=1)
    assert result.stderr.startswith(f"{tmp_path / 'absent'}: cannot be read")
