"""What Prometheus and an orchestrator are told."""

import asyncio
import socket

import aiohttp
import pytest

from streams.addresses import Address, bind_error, parse_address
from streams.errors import ConfigError, DependencyError
from streams.telemetry import Telemetry


def ask(telemetry: Telemetry, *paths: str) -> list[tuple[int, str]]:
    async def run() -> list[tuple[int, str]]:
        await telemetry.start("127.0.0.1:0")
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{telemetry.port}") as session:
                answers = []
                for path in paths:
                    async with session.get(path) as answer:
                        answers.append((answer.status, await answer.text()))
                return answers
        finally:
            await telemetry.stop()

    return asyncio.run(run())


def test_metrics_carry_our_prefix_and_the_role():
    telemetry = Telemetry("collect")
    telemetry.counter("frames_total", "Frames.", ["link"]).labels("racks").inc(3)

    [(status, text)] = ask(telemetry, "/metrics")

    assert status == 200
    assert 'orbitrack_frames_total{link="racks"} 3.0' in text
    assert 'orbitrack_role_info{role="collect"} 1.0' in text


def test_ready_only_while_all_dependencies_are_up_healthy_all_the_time():
    telemetry = Telemetry("worker")
    kafka = telemetry.dependency("kafka")
    kafka.down("connection refused, attempt 3")

    (ready, text), (health, _) = ask(telemetry, "/readyz", "/healthz")
    assert (ready, health) == (503, 200)
    assert "connection refused, attempt 3" in text

    kafka.up()
    assert [status for status, _ in ask(telemetry, "/readyz", "/healthz")] == [200, 200]


def test_missing_heartbeat_and_failure_are_unhealthy_with_a_reason():
    now_ns = 0
    telemetry = Telemetry("worker", monotonic_ns=lambda: now_ns)
    telemetry.heartbeat("loop", within_s=5)
    assert telemetry.health() == {}

    now_ns = 7_000_000_000
    assert telemetry.health() == {"loop": "no sign of life for 7.0 s"}

    telemetry.heartbeat("loop", within_s=0)
    telemetry.fail("quarantined twice")
    assert telemetry.health() == {"process": "quarantined twice"}


def test_used_metrics_port_is_a_message_with_a_hint():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DependencyError, match=f"metrics.listen = '127.0.0.1:{port}': the port is used by another process"):
            asyncio.run(Telemetry("serve").start(f"127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("udp://0.0.0.0:6343", Address("0.0.0.0", 6343, "udp")),
        ("tcp://[::1]:7001", Address("::1", 7001, "tcp")),
        ("localhost:0", Address("localhost", 0)),
    ],
)
def test_addresses_are_read_and_written_back(text, address):
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("first", "second", "is_taken"),
    [
        ("udp://127.0.0.1:6343", "udp://127.0.0.1:6343", True),
        ("udp://0.0.0.0:6343", "udp://127.0.0.1:6343", True),
        ("udp://[::]:6343", "udp://127.0.0.1:6343", True),       # our sockets on :: take IPv4 too
        ("udp://[::]:6343", "udp://[::1]:6343", True),
        ("udp://0.0.0.0:6343", "udp://[::1]:6343", False),
        ("udp://127.0.0.1:6343", "udp://127.0.0.2:6343", False),
        ("udp://127.0.0.1:6343", "tcp://127.0.0.1:6343", False),
        ("udp://127.0.0.1:0", "udp://127.0.0.1:0", False),       # each gets a free one
    ],
)
def test_addresses_that_only_one_can_have(first, second, is_taken):
    assert parse_address(first).overlaps(parse_address(second)) == is_taken
    assert parse_address(second).overlaps(parse_address(first)) == is_taken


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sctp://0.0.0.0:1", "is not an address; write"),
        ("udp://::1:6343", "put an IPv6 address in brackets"),
        ("6343", "has no host or no port"),
        ("udp://0.0.0.0:70000", "'70000' is not a port"),
    ],
)
def test_wrong_addresses_say_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse_address(text)


def test_privileged_port_says_which_capability_is_missing():
    error = bind_error(PermissionError(13, "Permission denied"), parse_address("udp://0.0.0.0:514"), "link 'logs': listen")
    assert isinstance(error, ConfigError)
    assert error.exit_status == 2
    assert "CAP_NET_BIND_SERVICE" in str(error)
