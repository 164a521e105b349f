"""Checkpoints as Kafka records: what one transaction writes to the compacted topic `state`, and how it is read back.

A checkpoint is one delta and one shard of a snapshot, rolling, so that the newest SHARDS checkpoints hold everything.
Their keys repeat every SHARDS checkpoints, which lets compaction drop what is older.

    records = checkpoint_records("frames.rack", Checkpoint(sequence, applied, delta, snapshot))
    checkpoints = recover("frames.rack", records)        # oldest first; load them in this order

A record value is cut at PART_BYTES. A part of an older, longer delta may survive compaction; only complete ones count.
"""

from __future__ import annotations

import json
import struct
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["PART_BYTES", "SHARDS", "Checkpoint", "Saved", "checkpoint_records", "recover"]

SHARDS = 16
PART_BYTES = 900_000                     # below the broker's and the producer's limit of 1 MiB, with room for headers
HEADER = struct.Struct("<QII")           # sequence, part, parts
ZSTD = pa.Codec("zstd", compression_level=1)


@dataclass(frozen=True)
class Checkpoint:
    """`applied`: offset of the last source record whose effects are in here."""

    sequence: int
    applied: int
    delta: Mapping[str, bytes]
    snapshot: Mapping[str, bytes]


@dataclass(frozen=True)
class Saved:
    """One delta or shard as it was read back."""

    sequence: int
    applied: int
    is_delta: bool
    state: dict[str, bytes]


def checkpoint_records(topic: str, checkpoint: Checkpoint) -> list[tuple[bytes, bytes]]:
    """(key, value) of every record of a checkpoint of one partition of `topic`."""
    slot = checkpoint.sequence % SHARDS
    records = []
    for kind, state in (("delta", checkpoint.delta), ("shard", checkpoint.snapshot)):
        body = pack(state, checkpoint.applied)
        parts = [body[start : start + PART_BYTES] for start in range(0, len(body), PART_BYTES)]
        for number, part in enumerate(parts):
            key = f"{topic}/{kind}/{slot}.{number}".encode()
            records.append((key, HEADER.pack(checkpoint.sequence, number, len(parts)) + part))
    return records


def recover(topic: str, records: Iterable[tuple[bytes, bytes]]) -> list[Saved]:
    """What the records of a state partition hold for `topic`, oldest first; empty where nothing was saved.

    `records`: (key, value) in the order of the log; a later one with the same key replaces an earlier one.
    """
    newest = {key: value for key, value in records if key.rpartition(b"/")[0].rpartition(b"/")[0] == topic.encode()}
    parts: dict[tuple[str, str, int], dict[int, bytes]] = defaultdict(dict)
    counts: dict[tuple[str, str, int], int] = {}
    for key, value in newest.items():
        _, kind, place = key.decode().rsplit("/", 2)
        sequence, number, count = HEADER.unpack_from(value)
        whole = (kind, place.partition(".")[0], sequence)
        parts[whole][number] = value[HEADER.size :]
        counts[whole] = count
    saved = []
    for (kind, slot, sequence), pieces in parts.items():
        if len(pieces) == counts[kind, slot, sequence]:
            state, applied = unpack(b"".join(pieces[number] for number in range(len(pieces))))
            saved.append(Saved(sequence, applied, kind == "delta", state))
    saved.sort(key=lambda each: (each.sequence, each.is_delta))
    check_whole(saved)
    return saved


def check_whole(saved: list[Saved]) -> None:
    """Asserts what the transaction promises: the newest checkpoints are all there, without a hole."""
    deltas = [each.sequence for each in saved if each.is_delta]
    if deltas:
        newest = range(max(deltas[-1] - SHARDS, 0) + 1, deltas[-1] + 1)
        assert set(newest) <= set(deltas), f"state has lost deltas: found {deltas}, need {newest}"


def pack(state: Mapping[str, bytes], applied: int) -> bytes:
    index = {"applied": applied, "sizes": {name: len(blob) for name, blob in state.items()}}
    header = json.dumps(index).encode()
    body = struct.pack("<I", len(header)) + header + b"".join(state.values())
    return struct.pack("<Q", len(body)) + bytes(ZSTD.compress(body))


def unpack(packed: bytes) -> tuple[dict[str, bytes], int]:
    body = bytes(ZSTD.decompress(packed[8:], struct.unpack_from("<Q", packed)[0]))
    start = 4 + struct.unpack_from("<I", body)[0]
    index = json.loads(body[4:start])
    state = {}
    for name, size in index["sizes"].items():
        state[name] = body[start : start + size]
        start += size
    return state, index["applied"]
