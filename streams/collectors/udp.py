"""Datagrams: one thread a socket, which spends its time in framecodec.datagrams without the GIL.

    listener = UdpListener(link, config.collector, partitions, lane, intake, losses, on_failure)
    listener.open()        # binds; raises ConfigError or DependencyError with a hint
    listener.start()
    listener.stop()        # takes what the kernel still holds, seals everything, ends the threads; blocks

With several sockets (`[collector] sockets`) the kernel spreads senders over them by their address and port, so each sender
keeps its order.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from framecodec.batches import Batches
from framecodec.datagrams import SOURCES_MAX, Receiver
from streams.addresses import Address, bind_error, parse_address
from streams.clock import NS

if TYPE_CHECKING:
    from streams.collectors.batches import Intake, Lane
    from streams.collectors.losses import Losses
    from streams.config import Collector, Link

__all__ = ["UdpListener"]

log = logging.getLogger(__name__)

# Linux's numbers; Python's socket module does not name them.
SO_RCVBUFFORCE, SO_TIMESTAMPNS, SO_RXQ_OVFL = 33, 35, 40

IDLE_WAIT_NS = NS // 10         # how soon a thread without rows notices that it shall stop
COUNT_EVERY_NS = NS
DRAIN_NS = NS                   # at the end: what the kernel already holds, not what keeps coming


class UdpListener:
    """All sockets of one link. `on_failure` is called in the thread that cannot go on."""

    def __init__(
        self, link: Link, settings: Collector, partitions: int, lane: Lane, intake: Intake, losses: Losses,
        on_failure: Callable[[BaseException], None], *, sources_max: int = SOURCES_MAX,
    ) -> None:
        assert link.listen is not None, link.name
        self.link, self.settings, self.lane, self.intake, self.losses = link, settings, lane, intake, losses
        self.partitions, self.on_failure, self.sources_max = partitions, on_failure, sources_max
        self.address = parse_address(link.listen)
        self.sockets: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self.is_stopping = threading.Event()

    def open(self) -> None:
        """Bind. Port 0 takes a free one; `self.address` then has it."""
        count = self.settings.sockets
        try:
            if count > 1 and self.address.port:
                # Sockets that share a port would also share it with another collector, in silence. Look first.
                open_socket(self.address, share=False).close()
            for _ in range(count):
                sock = open_socket(self.address, share=count > 1)
                self.sockets.append(sock)
                self.address = Address(self.address.host, sock.getsockname()[1], self.address.scheme)
        except OSError as error:
            self.close()
            raise bind_error(error, self.address, f"link '{self.link.name}': listen") from error
        got = [set_receive_buffer(sock, self.settings.socket_buffer_bytes) for sock in self.sockets]
        if min(got) < self.settings.socket_buffer_bytes:
            log.warning(
                "link '%s': the kernel gives %d KiB of the %d KiB of socket_buffer_bytes; more need"
                " `sysctl net.core.rmem_max=%d` or CAP_NET_ADMIN",
                self.link.name, min(got) // 1024, self.settings.socket_buffer_bytes // 1024, self.settings.socket_buffer_bytes,
            )

    def start(self) -> None:
        for number, sock in enumerate(self.sockets):
            reader = SocketReader(self, sock)
            thread = threading.Thread(target=reader.run, name=f"udp-{self.link.name}-{number}", daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self) -> None:
        self.is_stopping.set()
        for thread in self.threads:
            thread.join()
        self.close()

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()


class SocketReader:
    """One socket and its thread."""

    def __init__(self, listener: UdpListener, sock: socket.socket) -> None:
        self.listener = listener
        settings, link = listener.settings, listener.link
        self.batches = Batches(
            link.name, link.codec, listener.partitions, bytes_max=settings.batch_bytes, rows_max=settings.batch_rows,
            age_max_ns=settings.batch_interval_ns,
        )
        self.receiver = Receiver(
            sock.fileno(), self.batches, allow=link.allow, rate=link.rate_limit or 0, priorities=listener.lane.priorities,
            sources_max=listener.sources_max,
        )
        self.kernel_drops = 0

    def run(self) -> None:
        try:
            self.receive_until_stopped()
            self.receive_the_rest()
        except Exception as error:  # noqa: BLE001  the edge of the thread; the role ends with it
            self.listener.on_failure(error)

    def receive_until_stopped(self) -> None:
        now_ns = time.monotonic_ns()
        count_ns = now_ns
        while not self.listener.is_stopping.is_set():
            due_ns = self.batches.next_seal_ns()
            self.receiver.receive(IDLE_WAIT_NS if due_ns is None else max(0, min(due_ns - now_ns, IDLE_WAIT_NS)))
            now_ns = time.monotonic_ns()
            self.pass_on(now_ns)
            if now_ns >= count_ns:
                count_ns = now_ns + COUNT_EVERY_NS
                self.count()

    def receive_the_rest(self) -> None:
        """What the kernel holds, and what the last call brought and a full batch left."""
        end_ns, before = time.monotonic_ns() + DRAIN_NS, -1
        while self.receiver.datagrams != before and time.monotonic_ns() < end_ns:
            before = self.receiver.datagrams
            self.receiver.receive(0)
            self.pass_on(0)
        while self.receiver.receive(-1):
            self.pass_on(0)
        self.listener.intake.offer(self.listener.lane, self.batches.seal(0, everything=True))
        self.count()

    def pass_on(self, now_ns: int) -> None:
        sealed = self.batches.seal(now_ns, everything=self.receiver.has_too_many_sources)
        self.listener.intake.offer(self.listener.lane, sealed)
        if self.receiver.has_too_many_sources:
            self.count()
            self.receiver.forget_sources()

    def count(self) -> None:
        losses, name = self.listener.losses, self.listener.link.name
        losses.received(name, self.receiver.take_sources())
        drops = self.receiver.read_kernel_drops()
        if drops != self.kernel_drops:
            losses.dropped(name, drops - self.kernel_drops, "kernel")
            self.kernel_drops = drops


def open_socket(address: Address, *, share: bool) -> socket.socket:
    """A bound socket whose datagrams carry their receive time and the drop counter. [::] takes IPv4 too."""
    family, kind, protocol, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
        sock.bind(place)
    except BaseException:
        sock.close()
        raise
    return sock


def set_receive_buffer(sock: socket.socket, wanted_bytes: int) -> int:
    """Asks for a receive buffer; returns what it became, in the same count."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    # Beyond net.core.rmem_max only with CAP_NET_ADMIN; then the first request was cut, which the result shows.
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, wanted_bytes)
    # socket(7): the kernel doubles the value, for its own book-keeping, and reports the doubled one.
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
