"""A webhook's URL is no way into the network behind us."""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import ip_address, ip_network

import pytest
from aiohttp.abc import AbstractResolver

from streams.webhooks.guard import AddressRefused, GuardedResolver, refused_kind
from streams.webhooks.sender import open_session, post
from tests.webhook_server import Server, webhook

REFUSED = {
    "127.0.0.1": "loopback", "127.255.255.254": "loopback", "0.0.0.0": "unspecified", "10.0.0.1": "private",
    "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "169.254.169.254": "link-local",
    "100.64.0.1": "not-global", "224.0.0.1": "multicast", "240.0.0.1": "reserved", "255.255.255.255": "reserved",
    "192.0.2.1": "private", "198.18.0.1": "private", "192.0.0.1": "private",
    "::": "unspecified", "::1": "loopback", "fe80::1": "link-local", "fe80::1%eth0": "link-local", "fc00::1": "private",
    "fd00:ec2::254": "private", "ff02::1": "multicast", "2001:db8::1": "private",
    "::ffff:127.0.0.1": "loopback", "::ffff:169.254.169.254": "link-local", "::ffff:10.0.0.1": "private",
    "64:ff9b::7f00:1": None, "64:ff9b:1::a00:1": None, "2002:7f00:1::": None, "2001:0:53aa:64c:0:0:80ff:fffe": None,
    "::7f00:1": None, "fec0::1": "site-local",
}


@pytest.mark.parametrize("address", REFUSED)
def test_address_inside_is_refused(address):
    kind = refused_kind(ip_address(address), [])
    assert kind is not None
    assert REFUSED[address] in (None, kind)


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "169.253.255.255", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_public_address_is_allowed(address):
    assert refused_kind(ip_address(address), []) is None


def test_allowed_network_admits_its_own_addresses_only():
    allow = [ip_network("10.1.0.0/16"), ip_network("fd00::/64")]
    assert refused_kind(ip_address("10.1.2.3"), allow) is None
    assert refused_kind(ip_address("::ffff:10.1.2.3"), allow) is None
    assert refused_kind(ip_address("fd00::5"), allow) is None
    assert refused_kind(ip_address("10.2.0.1"), allow) == "private"
    assert refused_kind(ip_address("fd00:0:0:1::5"), allow) == "private"


class FixedResolver(AbstractResolver):
    """A name server of the test's own."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    async def resolve(self, host, port=0, family=socket.AF_INET):
        self.asked += 1
        addresses = self.answers[min(self.asked, len(self.answers)) - 1]
        return [
            {"hostname": host, "host": address, "port": port, "proto": 0, "flags": 0,
             "family": socket.AF_INET6 if ":" in address else socket.AF_INET}
            for address in addresses
        ]

    async def close(self):
        pass


def test_name_with_one_address_inside_is_refused_whole():
    resolver = GuardedResolver([], FixedResolver(["1.1.1.1", "10.0.0.1"]))
    with pytest.raises(AddressRefused, match=r"refused: hook\.example is 10\.0\.0\.1, which is a private address"):
        asyncio.run(resolver.resolve("hook.example", 80))


def test_name_with_public_addresses_resolves():
    resolver = GuardedResolver([], FixedResolver(["1.1.1.1", "2606:4700:4700::1111"]))
    assert [each["host"] for each in asyncio.run(resolver.resolve("hook.example", 80))] == ["1.1.1.1", "2606:4700:4700::1111"]


def attempt(url, allow=(), resolver=None):
    """One POST to a URL whose port is that of a real server on 127.0.0.1; returns the answer and what the server got."""
    async def story():
        async with Server() as server:
            hook = webhook(url.replace("PORT", str(server.port)), allow=list(allow))
            async with open_session(hook) as session:
                if resolver is not None:
                    session.connector._resolver.inner = resolver
                answer = await post(session, hook, "msg_1", b"{}", time.time_ns())
            return answer, server.got
    return asyncio.run(story())


@pytest.mark.parametrize("host", [
    "127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1",
    "017700000001",
    "[::ffff:127.0.0.1]", "[::1]", "0", "0.0.0.0", "127.0.0.1.", "１２７.0.0.1", "①②⑦.0.0.1", "user:pw@127.0.0.1",
    "1.1.1.1@127.0.0.1", "[::1%25lo]", "[fe80::1%25eth0]",
])
def test_no_spelling_of_loopback_is_connected_to(host):
    answer, got = attempt(f"http://{host}:PORT/")
    assert got == []
    assert answer.status is None
    assert answer.error


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost", "2130706433"])
def test_refusal_says_what_would_permit_it(host):
    answer, _ = attempt(f"http://{host}:PORT/")
    assert answer.error.startswith("refused: ")
    if host in ("127.0.0.1", "localhost"):
        assert answer.error.endswith("would permit it")


def test_allowed_loopback_is_connected_to():
    answer, got = attempt("http://127.0.0.1:PORT/", ["127.0.0.0/8"])
    assert (answer.status, len(got)) == (204, 1)


def test_name_is_resolved_once_so_a_second_answer_cannot_lead_inside():
    resolver = FixedResolver(["127.0.0.1"], ["10.0.0.1"])
    answer, got = attempt("http://hook.example:PORT/", ["127.0.0.0/8"], resolver)
    assert (answer.status, len(got), resolver.asked) == (204, 1, 1)


def test_name_that_points_inside_is_refused_in_plain_words():
    answer, got = attempt("http://hook.example:PORT/", [], FixedResolver(["127.0.0.1"]))
    assert got == []
    assert answer.error == (
        'refused: hook.example is 127.0.0.1, which is a loopback address; allow = ["127.0.0.1"] at this webhook would permit it'
    )


def test_proxy_of_the_environment_is_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    answer, got = attempt("http://127.0.0.1:PORT/", ["127.0.0.0/8"])
    assert (answer.status, len(got)) == (204, 1)
