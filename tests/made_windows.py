"""Seeded windows with revisions, and what every level above must hold: computed row by row, knowing nothing of SQL."""

from __future__ import annotations

import math
import random
from collections import defaultdict

import pyarrow as pa

from streams.model import WINDOWS

__all__ = ["expected_rollups", "make_windows", "valid_windows"]

LEVELS_S = {"windows_1m": 60, "windows_1h": 3600, "windows_1d": 86_400}
SUMS = ("cnt", "good", "expected", "vsum", "vsumsq", "increase", "resets")


def sketch_key(value: float) -> int:
    if abs(value) < 1e-9:
        return 0
    return int(math.copysign(math.ceil(math.log(abs(value)) / math.log(1.01 / 0.99)) + 4096, value))


def make_window(entity: str, metric: str, bucket_s: int, rev: int, random_: random.Random) -> dict:
    values = [random_.gauss(100, 30) for _ in range(random_.choice([0, 1, 3, 10]))]
    sketch: dict[int, int] = defaultdict(int)
    for value in values:
        sketch[sketch_key(value)] += 1
    return {
        "bucket": bucket_s, "entity": entity, "metric": metric, "rev": rev, "cnt": len(values),
        "good": sum(value < 120 for value in values), "expected": 10, "vsum": sum(values),
        "vsumsq": sum(value * value for value in values), "vmin": min(values, default=0.0), "vmax": max(values, default=0.0),
        "vfirst": values[0] if values else 0.0, "vlast": values[-1] if values else 0.0,
        "last_time": (bucket_s * 10 + 99) * 100_000_000 if values else 0, "increase": random_.random(),
        "resets": random_.randrange(2), "sk": sorted(sketch.items()),
    }


def make_windows(start_s: int, minutes: int, seed: int, entities: int = 3, late: float = 0.1) -> list[dict]:
    """10 s windows of two metrics in the order in which they are emitted; some are emitted again, revised, much later."""
    random_ = random.Random(seed)
    rows, rev = [], 0
    for bucket_s in range(start_s, start_s + minutes * 60, 10):
        for entity in range(entities):
            for metric in ("latency_ms", "up"):
                rev += random_.randrange(3)
                if random_.random() < 0.9:
                    rows.append(make_window(f"e{entity}", metric, bucket_s, rev, random_))
        if rows and random_.random() < late:
            again = random_.choice(rows)
            rev += 1
            rows.append(make_window(again["entity"], again["metric"], again["bucket"], rev, random_))
    return rows


def as_batch(rows: list[dict]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=WINDOWS)


def valid_windows(rows: list[dict]) -> dict[tuple, dict]:
    """The last revision of each window."""
    valid: dict[tuple, dict] = {}
    for row in rows:
        key = (row["entity"], row["metric"], row["bucket"])
        if key not in valid or row["rev"] >= valid[key]["rev"]:
            valid[key] = row
    return valid


def expected_rollups(rows: list[dict], table: str) -> dict[tuple, dict]:
    """(entity, metric, bucket) -> what `table` must hold, in one straight pass over the 10 s windows."""
    groups = defaultdict(list)
    for (entity, metric, bucket), row in sorted(valid_windows(rows).items()):
        groups[entity, metric, bucket // LEVELS_S[table] * LEVELS_S[table]].append(row)
    return {key: merged(group) for key, group in groups.items()}


def merged(group: list[dict]) -> dict:
    counted = [row for row in group if row["cnt"]]
    sketch: dict[int, int] = defaultdict(int)
    for row in group:
        for key, count in row["sk"]:
            sketch[key] += count
    return {name: math.fsum(row[name] for row in group) for name in SUMS} | {
        "vmin": min((row["vmin"] for row in counted), default=0.0), "vmax": max((row["vmax"] for row in counted), default=0.0),
        "vfirst": counted[0]["vfirst"] if counted else 0.0, "vlast": counted[-1]["vlast"] if counted else 0.0,
        "last_time": max(row["last_time"] for row in group), "sk": dict(sorted(sketch.items())),
    }
