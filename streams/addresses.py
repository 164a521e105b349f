"""Addresses to listen on, and what to say when that does not work.

    address = parse_address("udp://[::]:6343")      # Address(scheme="udp", host="::", port=6343)
    try: ...bind...
    except OSError as error: raise bind_error(error, address, "link 'racks': listen") from error

Knows nothing of sockets: it only reads texts and writes messages.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from ipaddress import ip_address

from streams.errors import ConfigError, DependencyError, OrbitrackError

__all__ = ["Address", "bind_error", "is_loopback", "parse_address"]

PORT_MAX = 65535
PRIVILEGED_PORTS = 1024         # Linux default of net.ipv4.ip_unprivileged_port_start


@dataclass(frozen=True)
class Address:
    """Where to listen or to send. `scheme` is empty for a plain HOST:PORT; `host` has no brackets."""

    host: str
    port: int
    scheme: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}" if self.scheme else f"{host}:{self.port}"

    def overlaps(self, other: Address) -> bool:
        """Whether only one of the two can be listened on, as far as the texts say (a name may stand for any address)."""
        hosts = {self.host, other.host}
        covers = "::" in hosts or len(hosts) == 1 or ("0.0.0.0" in hosts and not any(":" in host for host in hosts))
        return self.scheme == other.scheme and 0 < self.port == other.port and covers


def parse_address(text: str, *, schemes: tuple[str, ...] = ("", "udp", "tcp")) -> Address:
    """`HOST:PORT`, `udp://HOST:PORT`, `tcp://[IPV6]:PORT` -> `Address`; ValueError says what is wrong."""
    scheme, _, rest = text.strip().rpartition("://")
    if scheme not in schemes:
        wanted = " or ".join(f"{known}://HOST:PORT" if known else "HOST:PORT" for known in schemes)
        raise ValueError(f"'{text}' is not an address; write {wanted}")
    host, colon, port = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"'{text}': put an IPv6 address in brackets, for example [{host}]:{port}")
    if not colon or not host:
        raise ValueError(f"'{text}' has no host or no port; write for example 127.0.0.1:6343")
    if not (port.isascii() and port.isdigit() and int(port) <= PORT_MAX):
        raise ValueError(f"'{text}': '{port}' is not a port; ports are 0 to {PORT_MAX}")
    return Address(host, int(port), scheme)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: an address of loopback, or localhost. Other names are not looked up."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind_error(error: OSError, address: Address, setting: str) -> OrbitrackError:
    """What to raise when listening on `address` failed; `setting` names the configuration key that asked for it."""
    number = error.errno
    if number == errno.EADDRINUSE:
        return DependencyError(
            f"{setting} = '{address}': the port is used by another process",
            hint=f"find it with `ss -lpn 'sport = :{address.port}'`, end it, or choose another port",
        )
    if number in (errno.EACCES, errno.EPERM):
        privileged = 0 < address.port < PRIVILEGED_PORTS
        return ConfigError(
            f"{setting} = '{address}': not allowed to listen there",
            hint="ports below 1024 need CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE),"
            " or choose a port above" if privileged else "the system refused it; look for a sandbox or a firewall rule",
        )
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return ConfigError(
            f"{setting} = '{address}': this machine does not have that address",
            hint="`ip -brief address` lists those it has; 0.0.0.0 and [::] mean all",
        )
    return ConfigError(f"{setting} = '{address}': {error.strerror or error}")
