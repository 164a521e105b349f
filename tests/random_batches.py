"""Seeded random record batches of any schema in streams/model.py, with nulls, empty values and the ends of every range."""

from __future__ import annotations

import random

import pyarrow as pa

__all__ = ["random_batch"]

INTEGERS = {
    pa.int8(): (-(1 << 7), (1 << 7) - 1), pa.int16(): (-(1 << 15), (1 << 15) - 1), pa.int32(): (-(1 << 31), (1 << 31) - 1),
    pa.int64(): (-(1 << 63), (1 << 63) - 1), pa.uint8(): (0, 255), pa.uint16(): (0, 65535), pa.uint32(): (0, (1 << 32) - 1),
    pa.uint64(): (0, (1 << 64) - 1),
}
WORDS = ["", "a", "rack-7/if/3", "Ünïcödé ☃", "x" * 130, "y" * 20_000]


def random_batch(schema: pa.Schema, rows: int, seed: int, names: int = 40) -> pa.RecordBatch:
    """`rows` rows; a nullable column has no, some or only nulls. `names`: distinct texts of dictionary columns."""
    random_ = random.Random(seed)
    return pa.record_batch([random_column(field, rows, random_, names) for field in schema], schema=schema)


def random_column(field: pa.Field, rows: int, random_: random.Random, names: int) -> pa.Array:
    nulls = random_.choice([0, 0.3, 1]) if field.nullable else 0
    if pa.types.is_dictionary(field.type):
        words = WORDS[:5] + [f"name-{number}" for number in range(names)]
        indices = [None if random_.random() < nulls else random_.randrange(len(words)) for _ in range(rows)]
        return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(words))
    values = [None if random_.random() < nulls else random_value(field.type, random_) for _ in range(rows)]
    return pa.array(values, field.type)


def random_value(kind: pa.DataType, random_: random.Random) -> object:
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return random_.choice([low, high, 0, 1, random_.randint(low, high)])
    if pa.types.is_floating(kind):
        return random_.choice([0.0, -0.0, 1e308, -1.5, random_.uniform(-1e6, 1e6), float("inf")])
    if pa.types.is_timestamp(kind):
        second = random_.randint(1_500_000_000, 1_900_000_000)
        return second if kind.unit == "s" else second * 1_000_000_000 + random_.randrange(1_000_000_000)
    if pa.types.is_fixed_size_binary(kind):
        return random_.choice([bytes(kind.byte_width), random_.randbytes(kind.byte_width)])
    if pa.types.is_list(kind):
        return [random_value(kind.value_type, random_) for _ in range(random_.choice([0, 1, 3, 300]))]
    if pa.types.is_map(kind):
        keys = sorted({random_value(kind.key_type, random_) for _ in range(random_.choice([0, 1, 5]))})
        return [(key, random_value(kind.item_type, random_)) for key in keys]
    return random_.choice(WORDS)
