"""Helpers of the satellite tests: decode everything, in pieces, and lay values beside an oracle's."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from framecodec.packets import SpacePacketDecoder
from streams.definitions import Definition

Rows = list[dict[str, Any]]


class Output:
    """What a decoder gave for a whole input."""

    def __init__(self, pieces: Iterable[Any]) -> None:
        self.packets: Rows = []
        self.rejects: Rows = []
        self.samples: Rows = []
        self.derived: Rows = []
        self.values: dict[int, tuple[int, dict[str, Any], dict[str, Any]]] = {}  # packet -> container, raw, values
        for piece in pieces:
            base = len(self.packets)
            for name in ("packets", "rejects", "samples", "derived"):
                for batch in getattr(piece, name):
                    batch.validate(full=True)
                    getattr(self, name).extend(batch.to_pylist())
            for container, batch in piece.containers:
                batch.validate(full=True)
                for row in batch.to_pylist():
                    if row["packet"] >= 0:  # -1: of an idle packet that was asked to have no row
                        self.values[base + row["packet"]] = container, row["raw"], row["values"]

    def tiles(self, size: int) -> bool:
        """Whether packets and rejects cover bytes 0 to size exactly once."""
        spans = [(row["offset"], row["size_bytes"]) for row in self.packets + self.rejects if row["size_bytes"]]
        at = 0
        for offset, span in sorted(spans):
            if offset != at:
                return False
            at += span
        return at == size

    def same_as(self, other: Output) -> bool:
        return same(
            [self.packets, self.rejects, self.samples, self.derived, self.values],
            [other.packets, other.rejects, other.samples, other.derived, other.values],
        )


def decode(pieces: Iterable[bytes], definition: Definition | None = None, **options: Any) -> Output:
    """Decode a byte stream that comes in pieces."""
    decoder = SpacePacketDecoder(definition, spacecraft="sat", boundaries="stream", **options)
    return Output([*(decoder.decode_bytes(piece) for piece in pieces), decoder.finish()])


def frames(rows: Iterable[tuple[int | None, str, bytes]], link: str = "link") -> pa.RecordBatch:
    """A FRAMES batch of (received_ns, source, frame)."""
    received, sources, data = zip(*rows, strict=True) if (rows := list(rows)) else ((), (), ())
    from streams.model import FRAMES

    return pa.RecordBatch.from_arrays(
        [
            pa.array(received, pa.int64()),
            pa.array(sources, pa.utf8()).dictionary_encode(),
            pa.array([link] * len(data), pa.utf8()).dictionary_encode(),
            pa.array(["ccsds-packets"] * len(data), pa.utf8()).dictionary_encode(),
            pa.array(data, pa.binary()),
        ],
        schema=FRAMES,
    )


def flat(raw: Any, value: Any, name: str = "") -> dict[str, list[tuple[Any, Any]]]:
    """Nested raw and values as {name/member: [(raw, value), ...]}, without what the packet does not have."""
    if isinstance(raw, dict):
        merged: dict[str, list[tuple[Any, Any]]] = {}
        for key in raw:
            for path, pairs in flat(raw[key], value[key], f"{name}/{key}" if name else key).items():
                merged.setdefault(path, []).extend(pairs)
        return merged
    if isinstance(raw, list):
        merged = {}
        for inner_raw, inner_value in zip(raw, value, strict=True):
            for path, pairs in flat(inner_raw, inner_value, name).items():
                merged.setdefault(path, []).extend(pairs)
        return merged
    return {} if raw is None else {name: [(raw, value)]}


def expected_flat(entries: Iterable[tuple[str, int, Any, Any]]) -> dict[str, list[tuple[Any, Any]]]:
    """An oracle's values by full path."""
    merged: dict[str, list[tuple[Any, Any]]] = {}
    for path, _, raw, value in entries:
        if raw is not None:
            merged.setdefault(path, []).append((raw, value))
    return merged


def mismatches(got: dict[str, list[tuple[Any, Any]]], wanted: dict[str, list[tuple[Any, Any]]]) -> list[str]:
    """What differs between `flat` and `expected_flat`, in words; the former's names are ends of the latter's paths."""
    found = []
    left = dict(wanted)
    for name, pairs in got.items():
        path = next((path for path in left if path == name or path.endswith(f"/{name}")), None)
        if path is None:
            found.append(f"{name}: not expected")
            continue
        expected = left.pop(path)
        if not same(pairs, expected):
            found.append(f"{name}: {pairs[:4]} expected {expected[:4]}")
    return found + [f"{path}: missing" for path in left]


def same(got: Any, wanted: Any) -> bool:
    """Equal, NaN equal to NaN, doubles but for the last bits, singles by their 32 bits."""
    if isinstance(got, float) or isinstance(wanted, float):
        if got is None or wanted is None or isinstance(got, str) or isinstance(wanted, str):
            return False
        got, wanted = float(got), float(wanted)
        return (
            (math.isnan(got) and math.isnan(wanted)) or got == wanted or math.isclose(got, wanted, rel_tol=1e-12, abs_tol=1e-12)
        )
    if isinstance(got, dict) and isinstance(wanted, dict):
        return got.keys() == wanted.keys() and all(same(got[key], wanted[key]) for key in got)
    if isinstance(got, (list, tuple)) and isinstance(wanted, (list, tuple)):
        return len(got) == len(wanted) and all(same(a, b) for a, b in zip(got, wanted, strict=True))
    return bool(got == wanted)


def as_single(text: str) -> float:
    """A decimal as printed of a 32-bit float, as the double of that float."""
    return float(struct.unpack(">f", struct.pack(">f", float(text)))[0])
