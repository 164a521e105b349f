"""Byte streams: packets of satellites, and IPFIX, over TCP.

    listener = TcpListener(link, config.collector, partitions, lane, intake, losses)
    await listener.open()      # binds and listens; raises ConfigError or DependencyError with a hint
    await listener.stop()      # ends the connections; what they left goes on

Space packets become one frame each, by their own length field (framecodec.batches.PacketCutter), and so do IPFIX messages
(framecodec.messages), which are their sender's; every other codec's bytes go on as they came, the frames of a link one after
another being the stream. When the buffer towards Kafka is full, nothing
is dropped: we stop reading, and TCP holds the sender back. The receive time is when we read, in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import time
from typing import TYPE_CHECKING, cast

from framecodec.batches import Batches, PacketCutter
from framecodec.messages import MessageCutter
from streams.addresses import Address, bind_error, parse_address
from streams.collectors.losses import Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from framecodec.columns import Batch
    from streams.clock import Clock
    from streams.collectors.batches import Intake, Lane
    from streams.collectors.losses import Losses
    from streams.config import Collector, Link

__all__ = ["TcpListener"]

log = logging.getLogger(__name__)

# One read, hence also the largest frame that bytes without packets become. Fits a packet of the largest size.
READ_BYTES = 64 * 1024
# 16 MiB, above the largest receive buffer that Linux gives a TCP socket by itself (tcp_rmem, 6 MiB).
DRAIN_READS_MAX = 256


class TcpListener:
    """All connections of one link; they share its batches, and its stream where it has one."""

    def __init__(
        self, link: Link, settings: Collector, partitions: int, lane: Lane, intake: Intake, losses: Losses, clock: Clock,
        monotonic_ns: Clock = time.monotonic_ns,
    ) -> None:
        assert link.listen is not None, link.name
        self.link, self.settings, self.lane, self.intake, self.losses = link, settings, lane, intake, losses
        self.clock, self.monotonic_ns = clock, monotonic_ns
        self.address = parse_address(link.listen)
        self.batches = Batches(
            link.name, link.codec, partitions, bytes_max=settings.batch_bytes, rows_max=settings.batch_rows,
            age_max_ns=settings.batch_interval_ns,
        )
        self.connections: set[Connection] = set()
        self.server: asyncio.Server | None = None
        self.timer: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        create_server = asyncio.get_running_loop().create_server
        try:
            if self.address.host == "::":           # asyncio's own sockets would take IPv6 only, and those for UDP take both
                place = self.address.host, self.address.port
                both = socket.create_server(place, family=socket.AF_INET6, dualstack_ipv6=True)
                self.server = await create_server(lambda: Connection(self), sock=both, start_serving=True)
            else:
                self.server = await create_server(
                    lambda: Connection(self), self.address.host, self.address.port, start_serving=True
                )
        except OSError as error:
            raise bind_error(error, self.address, f"link '{self.link.name}': listen") from error
        self.address = Address(self.address.host, self.server.sockets[0].getsockname()[1], self.address.scheme)

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
        for connection in list(self.connections):
            connection.end()
        if self.timer is not None:
            self.timer.cancel()
        self.pass_on(self.batches.seal(0, everything=True))

    def admits(self, host: str) -> bool:
        """Whether a sender may connect; says why not."""
        address = ipaddress.ip_address(host)
        if self.link.allow and not any(address in network for network in self.link.allow):
            log.warning("link '%s': connection from %s refused, it is not in allow", self.link.name, host)
            return False
        if len(self.connections) >= self.settings.connections:
            log.warning("link '%s': connection from %s refused, %d are open", self.link.name, host, len(self.connections))
            return False
        return True

    def pass_on(self, sealed: list[tuple[int, int, Batch]]) -> None:
        self.intake.offer(self.lane, sealed, may_shed=False)

    def count(self, peer: str, frames: int, frames_bytes: int) -> None:
        """Counts for the spacecraft, or for the exporter that `peer` is."""
        sender = peer if self.link.is_rack else self.link.entity
        self.losses.received(self.link.name, [Sender(sender, True, frames, frames_bytes)])

    def set_timer(self) -> None:
        """Seal by age, also when nothing more comes."""
        if self.timer is None and (due_ns := self.batches.next_seal_ns()) is not None:
            delay_s = max(0, due_ns - self.monotonic_ns()) / 1e9
            self.timer = asyncio.get_running_loop().call_later(delay_s, self.seal_by_age)

    def seal_by_age(self) -> None:
        self.timer = None
        self.pass_on(self.batches.seal(self.monotonic_ns()))
        self.set_timer()


def sender_text(host: str) -> str:
    """The address as datagrams have it: without a zone, and IPv4 in dots although it came to an IPv6 socket."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)


class Connection(asyncio.BufferedProtocol):
    """One sender. asyncio reads into our buffer and calls `buffer_updated`."""

    def __init__(self, listener: TcpListener) -> None:
        self.listener = listener
        self.buffer = bytearray(READ_BYTES)
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self.is_paused = False
        self.feed: Callable[[memoryview, int, int], int] = self.feed_bytes
        if listener.link.codec == "ccsds-packets":
            self.cutter = PacketCutter(listener.batches, listener.link.name)
            self.feed = self.feed_packets
        elif listener.link.codec == "netflow":
            self.messages = MessageCutter()
            self.feed = self.feed_messages

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = self.transport.get_extra_info("peername")         # None: it has gone already
        self.peer = sender_text(peer[0]) if peer else ""
        if not peer or not self.listener.admits(self.peer):
            self.listener.losses.dropped(self.listener.link.name, 1, "refused")
            self.transport.abort()
            return
        self.listener.connections.add(self)
        log.info("link '%s': %s connected", self.listener.link.name, self.peer)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        listener = self.listener
        if self not in listener.connections:
            return                                      # refused; asyncio may still hand over what came with it
        self.take(memoryview(self.buffer)[:nbytes])
        listener.set_timer()
        if listener.intake.is_full and self.transport is not None and not self.is_paused:
            self.is_paused = True
            self.transport.pause_reading()
            listener.intake.wait_for_space(self.resume)

    def take(self, data: memoryview) -> None:
        frames = self.feed(data, self.listener.clock(), self.listener.monotonic_ns())
        self.listener.count(self.peer, frames, len(data))

    def resume(self) -> None:
        self.is_paused = False
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def feed_packets(self, data: memoryview, received_ns: int, now_ns: int) -> int:
        before = self.cutter.frames
        self.listener.pass_on(self.cutter.feed(data, received_ns, now_ns))
        return self.cutter.frames - before

    def feed_messages(self, data: memoryview, received_ns: int, now_ns: int) -> int:
        messages = self.messages.feed(data)
        self.listener.pass_on(self.listener.batches.add(messages, self.peer, received_ns, now_ns))
        if self.messages.is_lost and self.transport is not None:
            # RFC 7011 section 9.1. The octets went on, to be rejected with a reason.
            log.warning("link '%s': %s sent what is no IPFIX message, closing", self.listener.link.name, self.peer)
            self.transport.abort()
        return len(messages)

    def feed_bytes(self, data: memoryview, received_ns: int, now_ns: int) -> int:
        self.listener.pass_on(self.listener.batches.add([bytes(data)], self.listener.link.name, received_ns, now_ns))
        return 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self not in self.listener.connections:
            return
        self.listener.connections.remove(self)
        left = 0
        if self.feed == self.feed_packets:
            left = self.cutter.pending_bytes
            self.listener.pass_on(self.cutter.finish(self.listener.clock(), self.listener.monotonic_ns()))
        elif self.feed == self.feed_messages and (rest := self.messages.finish()):
            left = len(rest)
            self.listener.pass_on(
                self.listener.batches.add([rest], self.peer, self.listener.clock(), self.listener.monotonic_ns())
            )
        if left:
            self.listener.count(self.peer, 1, 0)
            self.listener.set_timer()
        log.info("link '%s': %s disconnected%s%s", self.listener.link.name, self.peer,
                 f" inside a packet, {left} bytes go on as they are" if left else "", f": {exc}" if exc else "")

    def end(self) -> None:
        """Ours to end. What the sender thinks delivered, because the kernel has acknowledged it, is still taken."""
        assert self.transport is not None
        descriptor = self.transport.get_extra_info("socket").fileno()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(DRAIN_READS_MAX):
                if not (data := os.read(descriptor, READ_BYTES)):
                    break
                self.take(memoryview(data))
        self.connection_lost(None)
        self.transport.abort()
