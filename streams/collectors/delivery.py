"""Batches to Kafka: in order within a partition, for as long as it takes.

    delivery = Delivery(connect, release, fail, telemetry)
    delivery.put(parcel)                      # in the event loop; the caller bounds the memory (Intake)
    unsent = await delivery.finish(timeout_s=10)

Each (topic, partition) has at most one batch under way, so that a retry cannot overtake. Nothing is counted twice:

- The producer is idempotent and retries for as long as it lives, so the broker stores a batch once, however long it was
  away (streams/kafka.py has the one place where aiokafka would give up).
- Where that ends, the stamp begins (streams/repeats.py): a broker forgets a producer after a day without writes
  (producer.id.expiration.ms); an error that cannot be retried makes a new producer take over, with a new id; a spill file
  is read by the next process. The batch is then sent again with the stamp it had, and the worker leaves out the second.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Protocol

from streams.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa

    from streams.collectors.batches import Parcel
    from streams.repeats import Stamp
    from streams.telemetry import Telemetry

__all__ = ["Delivery", "FrameSink"]

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
# Without an acknowledgement for so long, Kafka is shown as away. The producer goes on trying.
QUIET_S = 5.0


class FrameSink(Protocol):
    """`streams.kafka.Producer`, or a list in a test."""

    async def send(self, topic: str, partition: int, batch: pa.RecordBatch, *, stamp: Stamp | None) -> Awaitable[Any]:
        """Hands a batch over; awaiting the result waits for the acknowledgement."""
        ...

    async def stop(self) -> None: ...


@dataclass(eq=False)
class Connection:
    """One sink. After a failed send there are no new ones on it, and it is closed when those under way have ended."""

    sink: FrameSink
    sending: int = 0
    is_broken: bool = False


class Delivery:
    """Sends parcels through a sink that `connect` opens and opens again. `done` is called when a parcel is stored.

    `fail` is called with what waiting cannot mend: a ConfigError before Kafka answered for the first time, or a fault of ours.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[FrameSink]], done: Callable[[Parcel], None],
        fail: Callable[[BaseException], None], telemetry: Telemetry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep, quiet_s: float = QUIET_S,
    ) -> None:
        self.connect, self.done, self.fail, self.sleep, self.quiet_s = connect, done, fail, sleep, quiet_s
        self.lanes: dict[tuple[str, int], deque[Parcel]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.connection: Connection | None = None
        self.has_connected = False
        self.silent: set[tuple[str, int]] = set()       # partitions that Kafka takes nothing for
        self.connecting = asyncio.Lock()
        self.closing: set[asyncio.Task[None]] = set()
        self.kafka = telemetry.dependency("kafka")
        self.sent_frames = telemetry.counter("frames_sent_total", "Frames acknowledged by Kafka.", ["link"])
        self.sent_batches = telemetry.counter("batches_sent_total", "Batches acknowledged by Kafka.", ["link"])
        self.failed = telemetry.counter("sends_failed_total", "Sends that Kafka did not acknowledge; they are tried again.")

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel behind those of its partition."""
        place = parcel.lane.topic, parcel.partition
        lane = self.lanes.get(place)
        if lane is None:
            lane = self.lanes[place] = deque()
            task = asyncio.create_task(self.work_off(place, lane))
            self.tasks.add(task)
            task.add_done_callback(self.ended)
        lane.append(parcel)

    def ended(self, task: asyncio.Task[None]) -> None:
        """A partition has nothing to send, or never will again: then its parcels would wait for ever, and nobody know."""
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.fail(error)

    async def work_off(self, place: tuple[str, int], lane: deque[Parcel]) -> None:
        while lane:
            parcel = lane[0]
            await self.send(parcel)
            lane.popleft()
            self.sent_frames.labels(parcel.lane.link).inc(parcel.batch.num_rows)
            self.sent_batches.labels(parcel.lane.link).inc()
            self.done(parcel)
        del self.lanes[place]

    async def send(self, parcel: Parcel) -> None:
        place = parcel.lane.topic, parcel.partition
        for tries in count():
            connection = await self.connected()
            connection.sending += 1
            try:
                sent = await connection.sink.send(parcel.lane.topic, parcel.partition, parcel.batch, stamp=parcel.stamp)
                await self.acknowledged(asyncio.ensure_future(sent), place)
                return
            except Exception as error:  # noqa: BLE001  the edge of the role: whatever Kafka says, it is shown and tried again
                self.failed.inc()
                self.note_silence(place, f"{type(error).__name__}: {error}")
                log.warning("Kafka did not take a batch of %d frames, it is kept: %s: %s",
                            parcel.batch.num_rows, type(error).__name__, error)
                connection.is_broken = True
                if self.connection is connection:
                    self.connection = None
            finally:
                connection.sending -= 1
                if connection.is_broken and not connection.sending:
                    self.close(connection)
            await self.sleep(delay_s(tries))

    async def acknowledged(self, sent: asyncio.Future[Any], place: tuple[str, int]) -> None:
        """Waits, for as long as it takes; says meanwhile that Kafka does not answer."""
        waited_s = 0.0
        try:
            while not (await asyncio.wait([sent], timeout=self.quiet_s))[0]:
                waited_s += self.quiet_s
                if not self.silent:
                    log.warning("Kafka has not acknowledged a batch of %s[%d] for %.0f s; the producer goes on trying",
                                *place, waited_s)
                self.note_silence(place, f"no acknowledgement for {waited_s:.0f} s, {place[0]}[{place[1]}]")
        finally:
            if not sent.done():
                sent.cancel()
        sent.result()
        self.silent.discard(place)
        # Others may be at a broker that is well; Kafka is up again when all are.
        if not self.silent and not self.kafka.is_up:
            log.warning("Kafka acknowledges again")
            self.kafka.up()

    def note_silence(self, place: tuple[str, int], detail: str) -> None:
        self.silent.add(place)
        self.kafka.down(detail)

    async def connected(self) -> Connection:
        """The connection for new sends; waits, with growing pauses, until there is one. ConfigError only before the first."""
        tries = 0
        async with self.connecting:
            while self.connection is None:
                try:
                    self.connection = Connection(await self.connect())
                except Exception as error:
                    if isinstance(error, ConfigError) and not self.has_connected:
                        self.kafka.down(error.what)
                        raise
                    pause_s = delay_s(tries)
                    tries += 1
                    self.kafka.down(f"attempt {tries}: {error}")
                    if tries & (tries - 1) == 0:        # 1st, 2nd, 4th, 8th ...: visible, not a flood
                        log.warning("waiting for Kafka (attempt %d, next in %.1f s): %s", tries, pause_s, error)
                    await self.sleep(pause_s)
                else:
                    self.has_connected = True
                    if not self.silent:
                        self.kafka.up()
                    if tries:
                        log.warning("Kafka answers after %d attempts", tries + 1)
            return self.connection

    def close(self, connection: Connection) -> None:
        """In the background: a producer that is broken may take its time."""
        task = asyncio.create_task(stop(connection.sink))
        self.closing.add(task)
        task.add_done_callback(self.closing.discard)

    async def finish(self, timeout_s: float) -> list[Parcel]:
        """Send what is queued; gives up after `timeout_s` and returns what was not acknowledged."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=timeout_s)
        unsent = [parcel for lane in self.lanes.values() for parcel in lane]
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self.lanes.clear()
        if self.connection is not None:
            self.close(self.connection)
            self.connection = None
        if self.closing:
            # Without anything to flush this takes no time; with a broken broker it must not hold up the end.
            await asyncio.wait(self.closing, timeout=2 if unsent else timeout_s)
        return unsent


def delay_s(tries: int) -> float:
    return RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)]


async def stop(sink: FrameSink) -> None:
    try:
        await sink.stop()
    except Exception as error:  # noqa: BLE001  it is given up anyway
        log.warning("closing the producer: %s: %s", type(error).__name__, error)
