"""Windows the obvious way: keep every sample, sort, sum. Knows nothing of watermarks."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

GAMMA = 1.01 / 0.99


def sketch_key(value: float) -> int:
    if abs(value) < 1e-9:
        return 0
    return int(math.copysign(min(math.ceil(math.log(abs(value)) / math.log(GAMMA)) + 4096, 32767), value))


def rise(before: float, after: float, wide: bool) -> tuple[float, int]:
    if after >= before:
        return after - before, 0
    if not wide and before < 2**32 and after + 2**32 - before < 2**31:
        return after + 2**32 - before, 0
    return after, 1


def windows(rows: list[dict[str, Any]], size_ns: int = 10_000_000_000) -> dict[tuple[str, str, int], dict[str, Any]]:
    """(entity, metric, bucket in s) -> columns of WINDOWS, from rows in order of arrival."""
    series = defaultdict(list)
    for arrival, row in enumerate(rows):
        if row["value"] is not None and math.isfinite(row["value"]):
            series[row["entity"], row["metric"]].append((row["time"], arrival, row["value"], row["kind"]))
    result = {}
    for (entity, metric), points in series.items():
        is_counter = points[0][3] == "counter"
        wide = metric.endswith(("octets", "bytes"))
        buckets = defaultdict(list)
        for point in points:
            buckets[point[0] // size_ns].append(point)
        before = None
        for bucket in sorted(buckets):
            arrived = buckets[bucket]
            ordered = sorted(arrived, key=lambda point: point[:2])
            increase, resets = 0.0, 0
            if is_counter:
                for point in ordered:
                    if before is not None:
                        more, reset = rise(before, point[2], wide)
                        increase, resets = increase + more, resets + reset
                    before = point[2]
            values = [point[2] for point in arrived]
            result[entity, metric, bucket * size_ns // 1_000_000_000] = {
                "cnt": len(values),
                "vsum": math.fsum(values),
                "vsumsq": math.fsum(value * value for value in values),
                "vmin": min(values),
                "vmax": max(values),
                "vfirst": min(arrived, key=lambda point: point[:2])[2],
                "vlast": ordered[-1][2],
                "last_time": ordered[-1][0],
                "increase": increase,
                "resets": resets,
                "sk": {} if is_counter else dict(sorted(Counter(map(sketch_key, values)).items())),
            }
    return result
