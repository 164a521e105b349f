"""Where not to connect to: a webhook's URL must not make us a way into the network behind us (SSRF).

    resolver = GuardedResolver(webhook.allow)        # for aiohttp's connector: names are resolved once, and checked
    check_literal(host, webhook.allow)               # a host that is an address already

Only global unicast addresses are allowed, and the networks that the configuration names for this webhook. If one of a
name's addresses is refused, all are: a name that points inside and outside is an attack or a mistake.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

__all__ = ["AddressRefused", "GuardedResolver", "check_literal", "refused_kind"]

Network = IPv4Network | IPv6Network
# They carry an IPv4 address that could be private: NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
TUNNELS = tuple(ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
KINDS = ("unspecified", "loopback", "link_local", "multicast", "reserved", "private", "site_local")


class AddressRefused(OSError):
    """The receiver's address is not one that a webhook may go to."""


def refused_kind(address: IPv4Address | IPv6Address, allow: Sequence[Network]) -> str | None:
    """What is wrong with an address, in a word, or None if it may be connected to."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address.version == network.version and address in network for network in allow):
        return None
    kind = next((kind for kind in KINDS if getattr(address, f"is_{kind}", False)), None)
    if kind is None and any(address in network for network in TUNNELS if network.version == address.version):
        kind = "tunnel"
    if kind is None and not address.is_global:
        kind = "not_global"                         # shared space 100.64.0.0/10, for example
    return kind.replace("_", "-") if kind else None


def check(host: str, address: str, allow: Sequence[Network]) -> None:
    kind = refused_kind(ip_address(address), allow)
    if kind is not None:
        place = host if host == address else f"{host} is {address}, which"
        raise AddressRefused(f"refused: {place} is a {kind} address; allow = [\"{address}\"] at this webhook would permit it")


def check_literal(host: str, allow: Sequence[Network]) -> None:
    """AddressRefused if `host` is an address that is not allowed. Names are left to the resolver.

    aiohttp takes every host of digits and dots for an address and asks no resolver; the C library then reads 2130706433
    and 127.1 as 127.0.0.1. Only the usual form is an address here.
    """
    try:
        ip_address(host)
    except ValueError:
        if ":" in host or host.replace(".", "").isdigit():
            raise AddressRefused(f"refused: {host} is not an address in the usual form") from None
        return
    check(host, host, allow)


class GuardedResolver(AbstractResolver):
    """Resolves a name once for each connection and hands out its addresses only if all of them are allowed."""

    def __init__(self, allow: Sequence[Network], inner: AbstractResolver | None = None) -> None:
        self.allow = tuple(allow)
        self.inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results = await self.inner.resolve(host, port, family)
        for result in results:
            check(host, result["host"], self.allow)
        return results

    async def close(self) -> None:
        await self.inner.close()
