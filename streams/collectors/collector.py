"""The role `collect`: every link with `listen`, received into Kafka.

    collector = Collector(config, telemetry, connect=connect_to(config.kafka))
    await collector.start()            # listens; Kafka may come later
    await collector.run(stop)          # until `stop` is set; raises when a listener fails or Kafka never came
    unsent = await collector.finish()  # seals, flushes, counts what could not be sent

Starts in any order: it listens at once and holds frames, up to `[collector] buffer_bytes`, until Kafka is there. With
`[collector] spill`, datagrams go on to disk when a quarter of the buffer is full, and from there to Kafka before newer ones.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from framecodec.priorities import Priorities
from streams.clock import NS, Clock, wall_clock_ns
from streams.collectors.batches import PARCEL_BYTES, VITAL_SHARE, Intake, Lane, Parcel, topic_of
from streams.collectors.delivery import Delivery, FrameSink
from streams.collectors.losses import Losses
from streams.collectors.spill import Spill
from streams.collectors.tcp import TcpListener
from streams.collectors.udp import UdpListener
from streams.errors import ConfigError, DependencyError
from streams.kafka import Producer, create_topics
from streams.repeats import Stamp

if TYPE_CHECKING:
    from streams.addresses import Address
    from streams.config import Config, Kafka
    from streams.telemetry import Telemetry

__all__ = ["Collector", "connect_to"]

log = logging.getLogger(__name__)

REPORT_EVERY_NS = 10 * NS
# Of reports on their way in memory, and the part of the spill that is kept for them; beyond that they wait, added up.
OWN_BYTES_MAX = 32 << 20
OWN_SHARE = 64
# How many parcels come back from disk for each that Kafka takes, so that a long queue does not hold up the event loop.
READ_BACK_MAX = 4
FLUSH_S = 15.0                  # at the end; below the 30 s that orchestrators commonly grant


def connect_to(kafka: Kafka) -> Callable[[], Awaitable[FrameSink]]:
    """Opens a producer, and the topics where they are missing."""

    async def connect() -> FrameSink:
        await create_topics(kafka)
        producer = Producer(kafka)
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    return connect


class Collector:
    def __init__(
        self, config: Config, telemetry: Telemetry, connect: Callable[[], Awaitable[FrameSink]], clock: Clock = wall_clock_ns
    ) -> None:
        self.config, self.clock = config, clock
        self.losses = Losses(telemetry)
        self.intake = Intake(config.collector.buffer_bytes, self.deliver, self.losses)
        self.delivery = Delivery(connect, self.release, self.fail, telemetry)
        self.spill = Spill(config.data_dir / "spill", config.collector.spill_bytes) if config.collector.spill_bytes else None
        self.spilled_frames = telemetry.counter("frames_spilled_total", "Frames that went to disk first.", ["link"])
        spilled = telemetry.gauge("spill_bytes", "Frames on disk that Kafka has not taken.")
        spilled.set_function(lambda: self.spill.size_bytes if self.spill else 0)
        self.own_bytes = 0              # of our own reports on their way
        in_flight = telemetry.gauge("in_flight_bytes", "Memory of frames on their way to Kafka.")
        in_flight.set_function(lambda: self.intake.held_bytes)
        telemetry.gauge("connections", "Open TCP connections.").set_function(self.connections)
        self.udp: list[UdpListener] = []
        self.tcp: list[TcpListener] = []
        self.lanes: dict[str, Lane] = {}
        self.run_name = secrets.token_hex(8)
        self.stamps: Counter[str] = Counter()           # batches so far, by stream
        self.loop: asyncio.AbstractEventLoop | None = None
        self.failure: asyncio.Future[Any] | None = None

    async def start(self) -> None:
        """Bind every listener, then start them all. ConfigError, DependencyError: then none was started."""
        self.loop = asyncio.get_running_loop()
        self.failure = self.loop.create_future()
        links = [link for link in self.config.links if link.listen]
        if not links:
            raise ConfigError("no [[link]] has listen: there is nothing to collect",
                              hint='add for example listen = "udp://0.0.0.0:6343" to a link')
        try:
            for link in links:
                topic, may_spill = topic_of(link, self.config.kafka.prefix), bool(link.listen and link.listen.startswith("udp"))
                lane = self.lanes[link.name] = Lane(link.name, topic, Priorities(link.codec), may_spill)
                self.losses.add_link(link.name)
                common = link, self.config.collector, self.config.kafka.partitions, lane, self.intake, self.losses
                if link.listen and link.listen.startswith("tcp"):
                    tcp = TcpListener(*common, self.clock)
                    await tcp.open()
                    self.tcp.append(tcp)
                else:
                    udp = UdpListener(*common, self.fail)
                    udp.open()
                    self.udp.append(udp)
            if self.spill is not None:
                # After the sockets, which hold what comes while a long queue is looked through.
                streams = {lane.link for lane in self.lanes.values() if not lane.may_spill}
                for _ in range(self.spill.open(first=streams)):
                    self.take_back(self.spill)      # however much: what comes next of a stream must stay behind it
        except BaseException:
            await self.stop_listening()
            raise
        self.read_back()
        for udp in self.udp:
            udp.start()
        for name, address in self.listening().items():
            log.info("link '%s': listening on %s", name, address)

    def listening(self) -> dict[str, Address]:
        """The address of each link, with the port that port 0 became."""
        return {each.link.name: each.address for each in self.udp} | {each.link.name: each.address for each in self.tcp}

    async def run(self, stop: asyncio.Event) -> None:
        assert self.failure is not None, "run before start"
        first: asyncio.Future[Any] = asyncio.create_task(self.delivery.connected())
        ended: asyncio.Future[Any] = asyncio.create_task(stop.wait())
        reporting: asyncio.Future[Any] = asyncio.create_task(self.report_regularly())
        try:
            # At start only: later it waits for ever, since it holds frames that nobody else has.
            wait_s = self.config.kafka.wait_ns / NS
            await asyncio.wait([first, ended, self.failure], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            if not (first.done() or ended.done() or self.failure.done()):
                raise DependencyError(
                    f"Kafka at {self.config.kafka.bootstrap} did not answer for {wait_s:.0f} s: "
                    + self.delivery.kafka.detail
                )
            if not first.done() or not first.exception():
                await asyncio.wait([ended, self.failure, reporting], return_when=asyncio.FIRST_COMPLETED)
            for each in (self.failure, first, reporting):
                if each.done():
                    each.result()
        finally:
            for task in (first, ended, reporting):
                task.cancel()
            await asyncio.gather(first, ended, reporting, return_exceptions=True)

    async def report_regularly(self) -> None:
        while True:
            await asyncio.sleep(REPORT_EVERY_NS / NS)
            self.report()

    def report(self) -> None:
        """Our own counts, on their way like frames, over the limit if need be, or losses would hide themselves."""
        has_room = self.spill is None or self.spill.free_bytes >= self.spill.bytes_max // OWN_SHARE
        if self.own_bytes >= OWN_BYTES_MAX or not has_room:
            return
        for link, partition, batch in self.losses.report(self.clock(), self.config.kafka.partitions):
            parcel = Parcel(self.lanes[link], partition, batch, batch.nbytes + PARCEL_BYTES, is_own=True)
            self.own_bytes += parcel.memory_bytes
            self.intake.force(parcel)
            # The way of the link's frames: their times would otherwise close the windows of frames that wait on disk.
            self.put(parcel)

    async def finish(self, flush_s: float = FLUSH_S) -> int:
        """Stop listening, seal and send everything. Returns how many frames could not be sent; they are counted."""
        await self.stop_listening()
        # What the threads handed over with call_soon_threadsafe comes before this.
        await asyncio.sleep(0)
        started_s = time.monotonic()
        self.report()
        unsent = await self.delivery.finish(flush_s)
        lost = [parcel for parcel in unsent if not self.keep(parcel)]
        for parcel in lost:
            self.losses.shed(parcel.lane.link, parcel.batch, "shutdown")
        if self.spill is not None:
            self.spill.close()
            self.spill = None
        frames: int = sum(parcel.batch.num_rows for parcel in lost)
        if frames:
            log.error("%d frames were not accepted by Kafka within %.0f s and are lost: %s",
                      frames, time.monotonic() - started_s, self.delivery.kafka.detail)
        return frames

    def keep(self, parcel: Parcel) -> bool:
        """Whether the next run will find a parcel on disk."""
        return parcel.segment is not None or (self.spill is not None and self.spill.append(parcel))

    async def stop_listening(self) -> None:
        for tcp in self.tcp:
            await tcp.stop()
        # Their threads may wait for the event loop, so it must not wait for them.
        await asyncio.gather(*(asyncio.to_thread(udp.stop) for udp in self.udp))
        self.udp, self.tcp = [], []

    def connections(self) -> int:
        return sum(len(tcp.connections) for tcp in self.tcp)

    def deliver(self, parcel: Parcel) -> None:
        """From any thread."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.put, parcel)

    def put(self, parcel: Parcel) -> None:
        """The next parcel of its link: to Kafka, or behind those that are on disk already."""
        link, spill = parcel.lane.link, self.spill
        parcel = self.stamped(parcel, link)
        if spill is None or not parcel.lane.may_spill or not (spill.unread or self.intake.held_bytes > self.spill_above_bytes):
            self.delivery.put(parcel)
        elif parcel.is_own:
            if spill.append(parcel):
                self.let_go(parcel)
            else:
                # The disk fails. In a stream of its own, or the worker would take what waits on disk for repeats.
                self.delivery.put(self.stamped(parcel, f"{link}/own"))
        else:
            self.let_go(parcel)
            self.put_aside(parcel, spill)
        self.read_back()

    def stamped(self, parcel: Parcel, stream: str) -> Parcel:
        self.stamps[stream] += 1
        return replace(parcel, stamp=Stamp(f"{self.run_name}/{stream}", self.stamps[stream]))

    def put_aside(self, parcel: Parcel, spill: Spill) -> None:
        """Frames go to disk, flows only as long as there is much room; or are shed."""
        left: Parcel | None = parcel
        if not spill.append(parcel, keep_free_bytes=spill.bytes_max // VITAL_SHARE):
            left = self.intake.shed_flows(parcel)
            if left is not None and not spill.append(left, keep_free_bytes=2 * (spill.bytes_max // OWN_SHARE)):
                self.losses.shed(left.lane.link, left.batch, "buffer_full")
                left = None
        if left is not None:
            self.spilled_frames.labels(left.lane.link).inc(left.batch.num_rows)

    @property
    def spill_above_bytes(self) -> int:
        return self.config.collector.buffer_bytes // 4

    def read_back(self) -> None:
        """From disk to Kafka, as far as there is room in memory."""
        for _ in range(READ_BACK_MAX):
            if self.spill is None or not self.spill.unread or self.intake.held_bytes > self.spill_above_bytes:
                return
            self.take_back(self.spill)

    def take_back(self, spill: Spill) -> None:
        """The oldest parcel on disk to Kafka."""
        try:
            parcel = spill.read()
        except (OSError, ValueError) as error:
            self.fail(DependencyError(f"[collector] spill: {spill.folder} cannot be read: {error}"))
            return
        if parcel is not None:
            self.intake.force(parcel)
            self.delivery.put(parcel)

    def release(self, parcel: Parcel) -> None:
        """Kafka has it."""
        self.let_go(parcel)
        if parcel.segment is not None and self.spill is not None:
            self.spill.done(parcel)
        self.read_back()

    def let_go(self, parcel: Parcel) -> None:
        """It takes no memory any more."""
        self.intake.release(parcel)
        if parcel.is_own:
            self.own_bytes -= parcel.memory_bytes

    def fail(self, error: BaseException) -> None:
        """From any thread: a listener cannot go on."""
        assert self.loop is not None and self.failure is not None
        self.loop.call_soon_threadsafe(set_failure, self.failure, error)


def set_failure(failure: asyncio.Future[Any], error: BaseException) -> None:
    if not failure.done():
        failure.set_exception(error)
        failure.exception()             # looked at, or asyncio would say at the end that nobody did, where run() raised another
