"""One number for every window, and what a rule says of it; columns in, columns out.

    values = column_values("mean", windows, window_ns)
    verdicts = judge(values, op=">", value=90.0, resolve=80.0)        # int8: BREACH, HOLD or CLEAR for every row

Globs and metric names are matched on the dictionaries of the columns, not on the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from streams.clock import NS
from streams.slo.sql import glob_pattern

__all__ = [
    "BREACH", "CLEAR", "COLUMNS", "HOLD", "OPERATORS", "column_values", "glob_mask", "glob_pattern", "judge", "name_mask",
]

# What one window says: the condition holds; it holds no longer; neither (between the two thresholds, or no number).
BREACH, HOLD, CLEAR = 1, 0, -1

OPERATORS: dict[str, Callable[..., pa.Array]] = {
    "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal, "==": pc.equal, "!=": pc.not_equal,
}


def floats(windows: pa.RecordBatch, name: str) -> pa.Array:
    return windows.column(name).cast(pa.float64())


def ratio(part: pa.Array, whole: pa.Array) -> pa.Array:
    """part / whole, null where whole is 0."""
    return pc.divide(part, pc.if_else(pc.equal(whole, 0.0), pa.scalar(None, pa.float64()), whole))


def deviation(windows: pa.RecordBatch) -> pa.Array:
    """Population standard deviation; rounding may leave a tiny negative variance, which is 0."""
    mean = ratio(windows.column("vsum"), floats(windows, "cnt"))
    variance = pc.subtract(ratio(windows.column("vsumsq"), floats(windows, "cnt")), pc.multiply(mean, mean))
    return pc.sqrt(pc.max_element_wise(variance, 0.0, skip_nulls=False))


PLAIN = ("vmin", "vmax", "vfirst", "vlast", "vsum", "increase", "cnt", "good", "resets")
COLUMNS: dict[str, Callable[[pa.RecordBatch], pa.Array]] = {
    "mean": lambda windows: ratio(windows.column("vsum"), floats(windows, "cnt")),
    **{name: partial(floats, name=name) for name in PLAIN},
    "stddev": deviation,
    "bad": lambda windows: pc.subtract(floats(windows, "cnt"), floats(windows, "good")),
    "good_ratio": lambda windows: ratio(floats(windows, "good"), floats(windows, "cnt")),
    "completeness": lambda windows: ratio(floats(windows, "cnt"), floats(windows, "expected")),
}


def column_values(column: str, windows: pa.RecordBatch, window_ns: int) -> pa.Array:
    """float64, null where the column has no value (no samples, nothing expected). `rate` is `increase` per second."""
    if column == "rate":
        return pc.divide(windows.column("increase"), window_ns / NS)
    return COLUMNS[column](windows)


def judge(values: pa.Array, op: str, value: float, resolve: float) -> pa.Array:
    """int8 for every row: BREACH where `op value` is true, CLEAR where `op resolve` is false, else HOLD."""
    usable = pc.fill_null(pc.invert(pc.is_nan(values)), False)
    breach = pc.and_(usable, pc.fill_null(OPERATORS[op](values, value), False))
    clear = pc.and_(usable, pc.invert(pc.fill_null(OPERATORS[op](values, resolve), True)))
    return pc.subtract(breach.cast(pa.int8()), clear.cast(pa.int8()))


def name_mask(names: pa.DictionaryArray, wanted: Iterable[str]) -> pa.Array:
    """Boolean for every row: is its metric, or entity, one of `wanted`."""
    return pc.take(pc.is_in(names.dictionary, pa.array(list(wanted), pa.utf8())), names.indices)


def glob_mask(entities: pa.DictionaryArray, glob: str) -> pa.Array:
    """Boolean for every row: does its entity match."""
    return pc.take(pc.match_substring_regex(entities.dictionary, glob_pattern(glob)), entities.indices)
