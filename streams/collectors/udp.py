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
from framecodec.datagrams import Receiver
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
        on_failure: Callable[[BaseException], None],
    ) -> None:
        assert link.listen is not None, link.name
        self.link, self.settings, self.lane, self.intake, self.losses = link, settings, lane, intake, losses
        self.partitions, self.on_failure = partitions, on_failure
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
            thread = threading.Thread(target=self.run, args=[sock], name=f"udp-{self.link.name}-{number}", daemon=True)
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

    def run(self, sock: socket.socket) -> None:
        try:
            self.receive(sock)
        except Exception as error:  # noqa: BLE001  the edge of the thread; the role ends with it
            self.on_failure(error)

    def receive(self, sock: socket.socket) -> None:
        batches = Batches(
            self.link.name, self.link.codec, self.partitions, bytes_max=self.settings.batch_bytes,
            rows_max=self.settings.batch_rows, age_max_ns=self.settings.batch_interval_ns,
        )
        receiver = Receiver(sock.fileno(), batches, allow=self.link.allow)
        now_ns = time.monotonic_ns()
        count_ns, drops = now_ns, 0
        while not self.is_stopping.is_set():
            due_ns = batches.next_seal_ns()
            receiver.receive(IDLE_WAIT_NS if due_ns is None else max(0, min(due_ns - now_ns, IDLE_WAIT_NS)))
            now_ns = time.monotonic_ns()
            self.intake.offer(self.lane, batches.seal(now_ns, everything=receiver.has_too_many_sources))
            if now_ns >= count_ns or receiver.has_too_many_sources:
                count_ns = now_ns + COUNT_EVERY_NS
                drops = self.count(receiver, drops)
                if receiver.has_too_many_sources:
                    receiver.forget_sources()
        end_ns, before = time.monotonic_ns() + DRAIN_NS, -1
        while receiver.datagrams != before and time.monotonic_ns() < end_ns:
            before = receiver.datagrams
            receiver.receive(0)
            self.intake.offer(self.lane, batches.seal(0))
            if receiver.has_too_many_sources:
                break
        self.intake.offer(self.lane, batches.seal(0, everything=True))
        self.count(receiver, drops)

    def count(self, receiver: Receiver, drops_before: int) -> int:
        self.losses.received(self.link.name, receiver.take_sources())
        drops = receiver.read_kernel_drops()
        if drops != drops_before:
            self.losses.dropped(self.link.name, drops - drops_before, "kernel")
        return drops


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
