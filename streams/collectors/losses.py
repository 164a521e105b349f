"""What a collector received and what it lost, for Prometheus at once and as samples every ten seconds.

A collector knows no formats, so its own samples travel like frames, with the codec `orbitrack-samples`: the frame is an
Arrow IPC stream of one batch of SAMPLES, which the worker passes through to the `samples` topic and to the windows. A
count is a gauge of what came since the last report, so that its sum over any time is exact, also when a collector restarts.

| metric       | entity             | what                                                                    |
|--------------|--------------------|-------------------------------------------------------------------------|
| received     | the sender         | frames taken; a row only for who sent something                         |
| shed         | the sender         | frames given up because Kafka was slow or away; a row only when not 0   |
| rate_limited | the sender         | datagrams beyond the link's `rate_limit`; a row only when not 0         |
| clock_skew   | the sender         | seconds that its clock is ahead of ours, by its least delayed datagram  |
| kernel_drops | collector/<link>   | datagrams that the kernel dropped at our socket; always                 |
| refused      | collector/<link>   | frames of senders outside `allow`; a row only when not 0                |

The samples' `source` is their entity, so that `orbitrack sql --named data_loss` names the sender.

Called from any thread.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from framecodec.batches import address_bytes, partition_of
from streams.clock import NS
from streams.ipc import encode
from streams.model import FRAMES, SAMPLES

if TYPE_CHECKING:
    from streams.telemetry import Telemetry

__all__ = ["CODEC", "REASONS", "Losses", "Sender"]

CODEC = "orbitrack-samples"
REASONS = ("buffer_full", "shutdown", "kernel", "refused", "rate_limited")
# Names of senders that one report keeps apart; more (a spoofed flood) are counted together under "others".
SENDERS_MAX = 100_000

# Of one frame: 500 KB where each is of another random IPv6 address. A topic of somebody else's may take 1 MB.
REPORT_ROWS_MAX = 5_000

# entity, metric, value, unit
Row = tuple[str, str, float, str]


class Sender(NamedTuple):
    """What one sender sent in a while; `Receiver.take_sources` returns such."""

    name: str
    is_allowed: bool
    frames: int
    frames_bytes: int
    limited: int = 0
    skew_ns: int | None = None


class Losses:
    """Counts by link and sender."""

    def __init__(self, telemetry: Telemetry) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[tuple[str, str, str]] = Counter()      # (link, entity, metric)
        self.skews_ns: dict[tuple[str, str], int] = {}              # the largest by (link, sender)
        self.links: dict[str, Counter[str]] = {}                    # totals since start, by "received" and reason
        self.received_total = telemetry.counter("frames_received_total", "Datagrams, frames and packets taken.", ["link"])
        self.received_bytes = telemetry.counter("frames_received_bytes_total", "Bytes of them.", ["link"])
        self.dropped_total = telemetry.counter("frames_dropped_total", "Frames that did not get to Kafka.", ["link", "reason"])

    def add_link(self, link: str) -> None:
        """Makes all series of a link visible at 0."""
        self.links[link] = Counter()
        self.received_total.labels(link)
        for reason in REASONS:
            self.dropped_total.labels(link, reason)

    def received(self, link: str, senders: Iterable[Sender | tuple[str, bool, int, int, int, int | None]]) -> None:
        """What came from those who sent something."""
        taken, taken_bytes, refused, all_limited = 0, 0, 0, 0
        with self.lock:
            for sender, is_allowed, frames, frames_bytes, limited, skew_ns in senders:
                if not is_allowed:
                    refused += frames
                    continue
                self.count(link, sender, "received", frames)
                if limited:
                    self.count(link, sender, "rate_limited", limited)
                if skew_ns is not None:
                    self.see_skew(link, sender, skew_ns)
                taken, taken_bytes, all_limited = taken + frames, taken_bytes + frames_bytes, all_limited + limited
            self.links[link]["received"] += taken
            self.links[link]["rate_limited"] += all_limited
        self.received_total.labels(link).inc(taken)
        self.received_bytes.labels(link).inc(taken_bytes)
        self.dropped_total.labels(link, "rate_limited").inc(all_limited)
        if refused:
            self.dropped(link, refused, "refused")

    def dropped(self, link: str, frames: int, reason: str) -> None:
        """`kernel` or `refused`: nobody knows, or wants to know, whose."""
        metric = {"kernel": "kernel_drops", "refused": "refused"}[reason]
        self.dropped_total.labels(link, reason).inc(frames)
        with self.lock:
            self.links[link][reason] += frames
            self.count(link, f"collector/{link}", metric, frames)

    def shed(self, link: str, batch: pa.RecordBatch, reason: str) -> None:
        """A batch of FRAMES that is given up."""
        self.dropped_total.labels(link, reason).inc(batch.num_rows)
        counted = pc.value_counts(batch.column("source")).to_pylist()
        with self.lock:
            self.links[link][reason] += batch.num_rows
            for each in counted:
                self.count(link, each["values"], "shed", each["counts"])

    def count(self, link: str, entity: str, metric: str, frames: int) -> None:
        key = (link, entity, metric)
        if len(self.counts) >= SENDERS_MAX and key not in self.counts:
            key = (link, "others", metric)
        self.counts[key] += frames

    def see_skew(self, link: str, sender: str, skew_ns: int) -> None:
        key = (link, sender)
        if key in self.skews_ns or len(self.skews_ns) < SENDERS_MAX:
            self.skews_ns[key] = max(skew_ns, self.skews_ns.get(key, skew_ns))

    def total(self, kind: str) -> int:
        """Frames since start, all links: `received`, or one of REASONS."""
        with self.lock:
            return sum(counter[kind] for counter in self.links.values())

    def report(self, now_ns: int, partitions: int) -> list[tuple[str, int, pa.RecordBatch]]:
        """(link, partition, batch of FRAMES) of everything since the last report. A sender always has the same partition."""
        with self.lock:
            counts, self.counts = self.counts, Counter()
            skews_ns, self.skews_ns = self.skews_ns, {}
            for link in self.links:
                counts[link, f"collector/{link}", "kernel_drops"] += 0
        rows: dict[tuple[str, int], list[Row]] = {}

        def add(link: str, entity: str, metric: str, value: float, unit: str) -> None:
            partition = partition_of_entity(entity, partitions)
            rows.setdefault((link, partition), []).append((entity, metric, value, unit))

        for (link, entity, metric), frames in counts.items():
            add(link, entity, metric, float(frames), "frames")
        for (link, sender), skew_ns in skews_ns.items():
            add(link, sender, "clock_skew", skew_ns / NS, "s")
        return [
            (link, partition, as_frames(link, each[start : start + REPORT_ROWS_MAX], now_ns))
            for (link, partition), each in sorted(rows.items()) for start in range(0, len(each), REPORT_ROWS_MAX)
        ]


@lru_cache(SENDERS_MAX)
def partition_of_entity(entity: str, partitions: int) -> int:
    return partition_of(address_bytes(entity) or entity.encode(), partitions)


def as_frames(link: str, rows: list[Row], now_ns: int) -> pa.RecordBatch:
    entities, metrics, values, units = zip(*rows, strict=True)
    height, source = len(rows), f"collector/{link}"
    columns = [
        [now_ns] * height, [now_ns] * height, entities, metrics, values, [None] * height, ["gauge"] * height, units,
        entities, [0] * height,
    ]
    samples = pa.record_batch([pa.array(column, field.type) for column, field in zip(columns, SAMPLES, strict=True)], SAMPLES)
    frame = [now_ns, source, link, CODEC, encode(samples)]
    return pa.record_batch([pa.array([value], field.type) for value, field in zip(frame, FRAMES, strict=True)], FRAMES)
