"""Many frames of differing length in flat arrays, so that making a thousand costs little more than making one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from streams.model import FRAMES

__all__ = ["Frames", "Ints", "as_frames", "concatenate"]

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frames:
    """Frame i is data[starts[i] : starts[i] + sizes[i]], made at time_ns[i] by source number source[i].

    `weight` is how many records (flow samples, counter samples, packets) a frame holds, by column of `WEIGHTS`.
    """

    time_ns: Ints
    source: Ints
    starts: Ints
    sizes: Ints
    weight: Ints                # (frames, records)
    data: Bytes

    def __len__(self) -> int:
        return len(self.time_ns)

    def take(self, rows: Ints) -> Frames:
        """These rows, in this order; a row may be taken twice. The bytes are shared until `packed`."""
        return Frames(
            self.time_ns[rows], self.source[rows], self.starts[rows], self.sizes[rows], self.weight[rows], self.data
        )

    def packed(self) -> Frames:
        """The same frames with their bytes one after another, in order, and nobody else's."""
        starts = np.cumsum(self.sizes) - self.sizes
        total = int(self.sizes.sum())
        if total == len(self.data) and np.array_equal(starts, self.starts):
            return self
        data = np.empty(total, np.uint8)
        for size in np.unique(self.sizes).tolist():         # few sizes, so few and large copies
            rows = np.flatnonzero(self.sizes == size)
            windows(data, size)[starts[rows]] = windows(self.data, size)[self.starts[rows]]
        return Frames(self.time_ns, self.source, starts, self.sizes, self.weight, data)

    def frame(self, row: int) -> bytes:
        start = int(self.starts[row])
        return self.data[start : start + int(self.sizes[row])].tobytes()

    def to_arrow(self, link: str, codec: str, sources: Sequence[str]) -> pa.RecordBatch:
        """A batch of FRAMES received at the moment they were made; `sources` are the names by number."""
        packed = self.packed()
        offsets = np.concatenate([[0], np.cumsum(packed.sizes)]).astype(np.int32)
        rows = len(self)
        zeros = pa.array(np.zeros(rows, np.int32))
        columns = [
            pa.array(packed.time_ns),
            pa.DictionaryArray.from_arrays(pa.array(packed.source.astype(np.int32)), pa.array(sources, pa.utf8())),
            pa.DictionaryArray.from_arrays(zeros, pa.array([link])),
            pa.DictionaryArray.from_arrays(zeros, pa.array([codec])),
            pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(packed.data)]),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=FRAMES)


def windows(data: Bytes, size: int) -> npt.NDArray[np.uint8]:
    """Every run of `size` bytes, as rows that overlap: a view, through which `data` is also written."""
    return np.lib.stride_tricks.sliding_window_view(data, size, writeable=True)


def as_frames(records: npt.NDArray[np.void], time_ns: Ints, source: Ints, weight: tuple[int, ...]) -> Frames:
    """Each row of a structured array is one frame."""
    rows, size = len(records), records.dtype.itemsize
    data = np.frombuffer(bytearray(records), np.uint8)      # its own bytes, and writable
    return Frames(
        time_ns, source, np.arange(rows, dtype=np.int64) * size, np.full(rows, size, np.int64),
        np.tile(np.array(weight, np.int64), (rows, 1)), data,
    )


def concatenate(parts: Sequence[Frames]) -> Frames:
    """All of them; the order is that of the parts."""
    lengths = np.cumsum([0] + [len(part.data) for part in parts])
    return Frames(
        np.concatenate([part.time_ns for part in parts]),
        np.concatenate([part.source for part in parts]),
        np.concatenate([part.starts + shift for part, shift in zip(parts, lengths[:-1], strict=True)]),
        np.concatenate([part.sizes for part in parts]),
        np.concatenate([part.weight for part in parts]),
        np.concatenate([part.data for part in parts]),
    )
