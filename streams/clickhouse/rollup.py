"""Roll-ups, recomputed from the level below: windows_10s -> windows_1m -> windows_1h -> windows_1d.

    rollup = Rollup(lambda: connect(dsn))
    rollup.mark(windows)                     # after their insert was answered
    if rollup.due(now_ns):
        rollup.run(now_ns)                   # blocks; DependencyError: what was marked stays marked

Recomputed, never added to: a re-emitted window would count twice in a materialized view. A roll-up's
revision is the sum of (rev + 1) of what it is made of. It grows when a window is added or revised, it is the same whoever
computes it, and a recompute that saw less (because rows below have expired, or because it began earlier) has a lower one
and changes nothing.

Nothing is written down about what is marked: whoever commits Kafka offsets of windows does so after `run`, and so gets them
again if it dies before.
"""

from __future__ import annotations

from itertools import groupby, islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from streams.clickhouse.client import ClickHouseError, classify
from streams.clickhouse.sink import unavailable
from streams.clock import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clickhouse_connect.driver.client import Client

__all__ = ["LEVELS", "Rollup", "recompute_statement"]

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

# (target, source, size of the target's windows in seconds, span that leads the source's key in seconds and its function).
LEVELS = (
    ("windows_1m", "windows_10s", MINUTE_S, HOUR_S, "toStartOfHour"),
    ("windows_1h", "windows_1m", HOUR_S, HOUR_S, "toStartOfHour"),
    ("windows_1d", "windows_1h", DAY_S, DAY_S, "toStartOfDay"),
)

# How long to gather before a pass: one pass of a busy hour reads that hour, whether one minute or ten are new in it.
GATHER_NS = 3 * NS

# A pass may take this share of the time; with heavy hours passes become rarer, not the inserts slower.
DUTY = 0.2

# Hours (days) of the source in one statement, so that replaying a year is many small statements.
SPANS_PER_STATEMENT = 24

# `cnt` is 0 in windows that only say how many samples were expected; they have no values.
RECOMPUTE = """\
INSERT INTO {target}
    (bucket, entity, metric, rev, cnt, good, expected, vsum, vsumsq, vmin, vmax, vfirst, vlast, last_time, increase, resets, sk)
SELECT toDateTime(intDiv(toUnixTimestamp(bucket), {size_s}) * {size_s}, 'UTC') AS start, entity, metric,
    sum(w.rev + 1), sum(w.cnt), sum(w.good), sum(w.expected), sum(w.vsum), sum(w.vsumsq),
    minIf(w.vmin, w.cnt > 0), maxIf(w.vmax, w.cnt > 0),
    argMinIf(w.vfirst, w.bucket, w.cnt > 0), argMaxIf(w.vlast, w.bucket, w.cnt > 0),
    max(w.last_time), sum(w.increase), sum(w.resets), sumMap(w.sk)
FROM {source} AS w FINAL
WHERE {lead}(bucket) IN ({spans}) AND bucket >= {first} AND bucket < {last}
    AND intDiv(toUnixTimestamp(bucket), {size_s}) IN ({starts})
GROUP BY start, entity, metric
SETTINGS do_not_merge_across_partitions_select_final = 1, max_partitions_per_insert_block = 0,
    distributed_foreground_insert = 1, optimize_on_insert = 0"""


def recompute_statement(target: str, source: str, size_s: int, span_s: int, lead: str, starts: list[int]) -> str:
    """The statement that recomputes the windows of `target` numbered `starts` (start / size), all keys.

    The span that leads the key is named on its own: with it the engine reads the granules of that hour only (388 -> 57
    CPU-ms a pass, tried).
    """
    spans = sorted({start * size_s // span_s for start in starts})
    return RECOMPUTE.format(
        target=target, source=source, size_s=size_s, lead=lead,
        spans=", ".join(date_time(span * span_s) for span in spans),
        first=date_time(min(starts) * size_s), last=date_time((max(starts) + 1) * size_s),
        starts=", ".join(map(str, starts)),
    )


def date_time(second: int) -> str:
    return f"toDateTime({second}, 'UTC')"


class Rollup:
    """Which minutes have changed, and the passes that bring the levels above up to date."""

    def __init__(self, connect: Callable[[], Client], gather_ns: int = GATHER_NS) -> None:
        self.connect, self.gather_ns = connect, gather_ns
        self.client: Client | None = None
        self.minutes: set[int] = set()            # number of the minute since 1970
        self.since_ns: int | None = None
        self.not_before_ns = 0

    def mark(self, windows: pa.RecordBatch, now_ns: int) -> None:
        """Remembers the minutes of a batch of model.WINDOWS that is now in windows_10s."""
        seconds = windows.column("bucket").cast(pa.int64())
        self.mark_minutes(set(pc.unique(pc.divide(seconds, MINUTE_S)).to_pylist()), now_ns)

    def mark_minutes(self, minutes: set[int], now_ns: int) -> None:
        if minutes and self.since_ns is None:
            self.since_ns = now_ns
        self.minutes |= minutes

    def due(self, now_ns: int) -> bool:
        return self.since_ns is not None and now_ns >= max(self.since_ns + self.gather_ns, self.not_before_ns)

    def take(self) -> set[int]:
        """The marked minutes, which are now the caller's to `recompute`, and to mark again if that fails."""
        taken, self.minutes, self.since_ns = self.minutes, set(), None
        return taken

    def recompute(self, minutes: set[int]) -> int:
        """Brings all levels above up to date for these minutes; returns the number of statements. Blocks."""
        statements = 0
        for target, source, size_s, span_s, lead in LEVELS:
            starts = {start * MINUTE_S // size_s for start in minutes}
            for some in by_spans(starts, span_s // size_s):
                self.send(recompute_statement(target, source, size_s, span_s, lead, some), target)
                statements += 1
        return statements

    def run(self, now_ns: int) -> int:
        """`take` and `recompute`; DependencyError leaves everything marked."""
        minutes = self.take()
        try:
            return self.recompute(minutes)
        except BaseException:
            self.mark_minutes(minutes, now_ns)
            raise

    def rest(self, now_ns: int, took_ns: int) -> None:
        """Says how long the last pass took, so that passes take no more than their share."""
        self.not_before_ns = now_ns + int(took_ns * (1 / DUTY - 1))

    def send(self, statement: str, target: str) -> None:
        try:
            if self.client is None:
                self.client = self.connect()
            self.client.command(statement)
        except (ClickHouseError, OSError) as error:
            raise unavailable(f"roll-up into '{target}'", classify(error)) from error

    def close(self) -> None:
        if self.client is not None:
            self.client.close()
            self.client = None


def by_spans(starts: set[int], windows_per_span: int) -> Iterator[list[int]]:
    """The starts in order, those of SPANS_PER_STATEMENT spans at a time."""
    spans = groupby(sorted(starts), lambda start: start // windows_per_span)
    while some := [start for _, starts_of_span in islice(spans, SPANS_PER_STATEMENT) for start in starts_of_span]:
        yield some
