"""Batches to Kafka: in order within a partition, for as long as it takes.

    delivery = Delivery(connect, release, telemetry)
    delivery.put(parcel)                      # in the event loop; the caller bounds the memory (Intake)
    unsent = await delivery.finish(timeout_s=10)

Each (topic, partition) has at most one batch under way, so that a retry cannot overtake. The producer is idempotent: what
it retries is stored once. If it gives up on a batch (its brokers were away for its whole timeout), all of its sends are
awaited, a new producer takes over and the batch is sent again; should the lost acknowledgement have been for a stored
batch, that one is stored twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from streams.collectors.batches import Parcel
    from streams.telemetry import Telemetry

__all__ = ["Delivery", "FrameSink"]

log = logging.getLogger(__name__)

RETRY_DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0)


class FrameSink(Protocol):
    """`streams.kafka.Producer`, or a list in a test."""

    async def send(self, topic: str, partition: int, batch: pa.RecordBatch) -> Awaitable[Any]:
        """Hands a batch over; awaiting the result waits for the acknowledgement."""
        ...

    async def stop(self) -> None: ...


class Delivery:
    """Sends parcels through a sink that `connect` opens and opens again. `done` is called when a parcel is stored."""

    def __init__(
        self, connect: Callable[[], Awaitable[FrameSink]], done: Callable[[Parcel], None], telemetry: Telemetry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.connect, self.done, self.sleep = connect, done, sleep
        self.lanes: dict[tuple[str, int], deque[Parcel]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.sink: FrameSink | None = None
        self.sending = 0                    # sends under way on `sink`
        self.is_broken = False              # a send failed: no new ones on `sink`, a new sink when the last has ended
        self.connecting = asyncio.Lock()
        self.idle = asyncio.Event()         # set while nothing is under way on `sink`
        self.idle.set()
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
            task.add_done_callback(self.tasks.discard)
        lane.append(parcel)

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
        while True:
            sink = await self.connected()
            self.sending += 1
            self.idle.clear()
            try:
                await (await sink.send(parcel.lane.topic, parcel.partition, parcel.batch))
                return
            except Exception as error:  # noqa: BLE001  the edge of the role: whatever Kafka says, it is shown and tried again
                self.failed.inc()
                self.is_broken = True
                self.kafka.down(f"{type(error).__name__}: {error}")
                log.warning("Kafka did not take a batch of %d frames, it is kept: %s: %s",
                            parcel.batch.num_rows, type(error).__name__, error)
            finally:
                self.sending -= 1
                if self.sending == 0:
                    self.idle.set()

    async def connected(self) -> FrameSink:
        """The sink; waits, with growing pauses, until there is one."""
        tries = 0
        async with self.connecting:
            if self.is_broken and self.sink is not None:
                await self.idle.wait()
                await self.close(self.sink)
                self.sink, self.is_broken = None, False
            while self.sink is None:
                try:
                    self.sink = await self.connect()
                except Exception as error:  # noqa: BLE001  as above
                    delay_s = RETRY_DELAYS_S[min(tries, len(RETRY_DELAYS_S) - 1)]
                    tries += 1
                    self.kafka.down(f"attempt {tries}: {error}")
                    if tries & (tries - 1) == 0:        # 1st, 2nd, 4th, 8th ...: visible, not a flood
                        log.warning("waiting for Kafka (attempt %d, next in %.1f s): %s", tries, delay_s, error)
                    await self.sleep(delay_s)
            if tries:
                log.warning("Kafka answers after %d attempts", tries + 1)
            self.kafka.up()
            return self.sink

    async def close(self, sink: FrameSink) -> None:
        try:
            await sink.stop()
        except Exception as error:  # noqa: BLE001  it is given up anyway
            log.warning("closing the producer: %s: %s", type(error).__name__, error)

    async def finish(self, timeout_s: float) -> list[Parcel]:
        """Send what is queued; gives up after `timeout_s` and returns what was not acknowledged."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=timeout_s)
        unsent = [parcel for lane in self.lanes.values() for parcel in lane]
        running = list(self.tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self.sink is not None:
            # Without anything to flush this takes no time; with a broken broker it must not hold up the end.
            await asyncio.wait([asyncio.ensure_future(self.close(self.sink))], timeout=2 if unsent else timeout_s)
        return unsent
