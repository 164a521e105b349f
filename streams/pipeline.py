"""One source partition: frames in, samples, flows, windows and rejects out.

    pipeline = Pipeline(config)
    pipeline.feed(frames, now_ns)                     # as often as frames come
    output = pipeline.close(now_ns, rev)              # at a checkpoint: everything since the last one
    state = pipeline.delta(), pipeline.snapshot(3, 16)

The worker, replay, simulation and tests drive this object; it is synchronous, is handed batches and the time, and does no
I/O. What it gives and keeps depends only on what it was handed, in which order.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from framecodec.windows import Windower
from streams.clock import NS
from streams.decode import OWN_SAMPLES, Decoded, Decoder, OwnSamplesDecoder, open_decoder, reject
from streams.model import FRAMES, REJECTS, WINDOWS
from streams.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from streams.config import Config, Link
    from streams.repeats import Stamp

__all__ = ["WINDOW_NS", "Output", "Pipeline", "combine"]

log = logging.getLogger(__name__)

WINDOW_NS = 10 * NS

# docs/sla.md: a minute is up where `up` never fell below 1; so every sample of it is good or not, without configuration.
BUILT_IN_OBJECTIVES = {"up": ("ge", 1.0)}


# A transaction takes 40 ms whatever it holds, so at full speed it should hold much: 500,000 samples are 4 MB on the wire and
# 25 MB here. With 50,000 (four commits a second and partition) the worker waited four fifths of the time.
OUTPUT_ROWS_MAX = 500_000
TOUCHED_CELLS_MAX = 50_000


@dataclass
class Output:
    """What leaves at one checkpoint: lists of record batches by topic."""

    samples: list[pa.RecordBatch] = field(default_factory=list)
    flows: list[pa.RecordBatch] = field(default_factory=list)
    windows: list[pa.RecordBatch] = field(default_factory=list)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    late: list[pa.RecordBatch] = field(default_factory=list)

    def rows(self) -> int:
        return sum(batch.num_rows for batches in vars(self).values() for batch in batches)


class Pipeline:
    """Decoders by link and the windows behind them, for one partition of a frames topic."""

    def __init__(self, config: Config) -> None:
        self.links: dict[str, Link] = {link.name: link for link in config.links}
        windows = config.windows
        objectives = BUILT_IN_OBJECTIVES | {each.metric: (each.op, each.value) for each in config.objectives}
        times = WINDOW_NS, windows.lateness_ns, windows.allowed_lateness_ns, windows.idle_timeout_ns
        self.windower = Windower(*times, objectives)
        # What collectors report of a sender has a watermark of its own: their clock is not the sender's, and either of the two,
        # where it is ahead, would close the windows of the other.
        self.report_windower = Windower(*times, objectives)
        self.decoders: dict[str, Decoder] = {}
        self.restored: dict[str, bytes] = {}
        self.codecs: dict[str, str] = {}               # of the links that have or had a decoder
        self.repeats = Repeats()
        self.output = Output()
        self.fed = 0                                   # batches since the last close
        self.events: Counter[str] = Counter()          # as last told

    @property
    def is_full(self) -> bool:
        """Whether a checkpoint should not wait longer: what it has to send or to save has become large."""
        touched_cells = self.windower.touched_cells + self.report_windower.touched_cells
        return self.output.rows() >= OUTPUT_ROWS_MAX or touched_cells >= TOUCHED_CELLS_MAX

    @property
    def not_finite(self) -> int:
        """Samples of NaN or infinity so far, which are in no window."""
        return self.windower.not_finite + self.report_windower.not_finite

    def new_events(self) -> Counter[str]:
        """How often decoders skipped or forgot something that no row shows, since the last call."""
        before = self.events
        self.events = sum((each.events() for each in self.decoders.values()), Counter[str]())
        return self.events - before

    def min_watermark_ns(self) -> int | None:
        """The lowest watermark that holds a window open; None where none is open."""
        marks = [mark for each in (self.windower, self.report_windower) if (mark := each.min_watermark_ns()) is not None]
        return min(marks, default=None)

    def feed(self, frames: pa.RecordBatch, now_ns: int, stamp: Stamp | None = None) -> bool:
        """Decodes a batch of FRAMES and counts its samples into windows. `now_ns`: wall clock, only for idleness.

        `stamp` is the collector's; a batch that repeats an earlier one is left out, and the result is False.
        """
        self.fed += 1
        if stamp is not None and not self.repeats.take(stamp):
            return False
        for name, part in by_link(frames):
            decoder = self.decoder(name, part)
            if decoder is None:
                self.output.rejects.append(reject(part, "unknown_link", f"no [[link]] is named '{name}'"))
                continue
            is_report = isinstance(decoder, OwnSamplesDecoder)
            self.take(decoder.decode(part), self.report_windower if is_report else self.windower)
        self.windower.advance(now_ns)
        self.report_windower.advance(now_ns)
        return True

    def refuse(self, detail: str, size_bytes: int, now_ns: int) -> None:
        """Counts a record that holds no frames as rejected."""
        self.fed += 1
        row = {"time": now_ns, "source": "", "reason": "bad_batch", "offset": 0, "size_bytes": size_bytes, "detail": detail}
        self.output.rejects.append(pa.RecordBatch.from_pylist([row], schema=REJECTS))

    def take(self, decoded: Decoded, windower: Windower) -> None:
        self.output.samples += decoded.samples
        self.output.flows += decoded.flows
        self.output.rejects += decoded.rejects
        for samples in decoded.samples + decoded.derived:
            late = windower.add(samples)
            if late:
                rows = samples.take(pa.array(late))
                self.output.late.append(rows)
                self.output.rejects.append(late_rejects(rows))

    def close(self, now_ns: int, rev: int) -> Output:
        """Everything that leaves now: what was decoded since the last call, and windows that closed or changed."""
        output, self.output = self.output, Output()
        for windower in (self.windower, self.report_windower):
            windows = pa.record_batch(windower.close(now_ns, rev))
            if windows.num_rows:
                output.windows.append(pa.RecordBatch.from_arrays(windows.columns, schema=WINDOWS))
        self.fed = 0
        return output

    def delta(self) -> dict[str, bytes]:
        """State that changed since the last call, by name. Call it after `close`."""
        states = {f"decoder/{name}": decoder.snapshot() for name, decoder in self.decoders.items()}
        waiting = {f"decoder/{name}": state for name, state in self.restored.items()}
        windows = {"windows": self.windower.delta(), "report_windows": self.report_windower.delta()}
        others = {"repeats": self.repeats.dump(), "codecs": json.dumps(self.codecs).encode()}
        return windows | others | waiting | states

    def snapshot(self, shard: int, shards: int) -> dict[str, bytes]:
        """One shard of the state that deltas do not repeat."""
        return {
            "windows": self.windower.snapshot(shard, shards), "report_windows": self.report_windower.snapshot(shard, shards),
        }

    def load(self, state: dict[str, bytes], now_ns: int) -> None:
        """Takes in a delta or a shard; oldest first. Decoders keep the state of the newest delta."""
        for name, blob in state.items():
            if name == "windows":
                self.windower.load(blob, now_ns)
            elif name == "report_windows":
                self.report_windower.load(blob, now_ns)
            elif name == "repeats":
                self.repeats.load(blob)
            elif name == "codecs":
                self.codecs = json.loads(blob)
            else:
                self.restored[name.removeprefix("decoder/")] = blob

    def decoder(self, name: str, frames: pa.RecordBatch) -> Decoder | None:
        """The decoder of a link, opened and restored when its first frame comes; None for a link nobody configured."""
        codec = frames["codec"][0].as_py()
        key = OWN_SAMPLES if codec == OWN_SAMPLES else name
        if key not in self.decoders:
            link = self.links.get(name)
            if key == OWN_SAMPLES:
                self.decoders[key] = OwnSamplesDecoder()
            elif link is not None:
                self.decoders[key] = open_decoder(link)
                former, self.codecs[key] = self.codecs.get(key, link.codec), link.codec
                if former != link.codec and key in self.restored:
                    del self.restored[key]
                    log.warning("link '%s' was %s and is %s: what its decoder remembered is forgotten", key, former, link.codec)
            else:
                return None
            if state := self.restored.pop(key, None):
                self.decoders[key].restore(state)
        return self.decoders[key]


def by_link(frames: pa.RecordBatch) -> Iterable[tuple[str, pa.RecordBatch]]:
    """The batch cut by link and codec; whole, without a copy, where it has only one (as collectors make them)."""
    assert frames.schema.equals(FRAMES), f"not a batch of FRAMES: {frames.schema}"
    if not frames.num_rows:
        return
    # A dictionary of somebody else's may hold an entry twice.
    links = frames["link"].dictionary.unique().to_pylist()
    codecs = frames["codec"].dictionary.unique().to_pylist()
    if len(links) == 1 and len(codecs) == 1:
        yield links[0], frames
        return
    for link in links:
        for codec in codecs:
            mask = pc.and_(pc.equal(frames["link"], link), pc.equal(frames["codec"], codec))
            part = frames.filter(mask)
            if part.num_rows:
                yield link, part


def late_rejects(samples: pa.RecordBatch) -> pa.RecordBatch:
    """A reject row for each sample that no window could take; the samples themselves are stored and in the topic `late`."""
    rows = samples.num_rows
    entities = samples["entity"].cast(pa.utf8())
    metrics = samples["metric"].cast(pa.utf8())
    zeros = pa.array([0] * rows, pa.int64())
    reason = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["late"]))
    columns = [samples["time"], samples["source"], reason, zeros, zeros, pc.binary_join_element_wise(entities, metrics, " ")]
    return pa.RecordBatch.from_arrays(columns, schema=REJECTS)


def combine(batches: list[pa.RecordBatch], rows_max: int) -> list[pa.RecordBatch]:
    """The same rows, in order, in few batches of at most `rows_max` rows.

    Small batches are put together (137 ns a sample, for their dictionaries); one that is large enough stays as it is.
    """
    combined: list[pa.RecordBatch] = []
    small: list[pa.RecordBatch] = []

    def put_together() -> None:
        if small:
            combined.extend(small if len(small) == 1 else concatenated(small))
            small.clear()

    for batch in batches:
        if 2 * batch.num_rows >= rows_max:
            put_together()
            combined += [batch.slice(start, rows_max) for start in range(0, batch.num_rows, rows_max)]
            continue
        if sum(each.num_rows for each in small) + batch.num_rows > rows_max:
            put_together()
        small.append(batch)
    put_together()
    return combined


def concatenated(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    whole: list[pa.RecordBatch] = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()
    return whole
