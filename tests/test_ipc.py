"""What stands in Kafka may have been written by anybody: it is taken, or refused with a reason, and never crashes a role."""

from __future__ import annotations

import os
import random

import numpy as np
import pyarrow as pa
import pytest

from streams.ipc import BatchError, encode, read_batch
from streams.model import FRAMES, SAMPLES, SCHEMAS, WINDOWS

SEED = int(os.environ.get("ORBITRACK_SEED", 5))
PLAIN = pa.RecordBatch.from_pydict({
    "received_ns": pa.array([1, None]), "source": ["10.0.0.1", "10.0.0.2"], "link": ["racks", "racks"],
    "codec": ["sflow", "sflow"], "frame": [b"one", b"two"],
})


def names(indices: list[int | None], values: list[str | None]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(values, pa.utf8()), safe=False)


def frames(**columns: pa.Array) -> pa.RecordBatch:
    """PLAIN as FRAMES, with other columns, and nothing checked."""
    batch = PLAIN.cast(FRAMES)
    return pa.RecordBatch.from_arrays([columns.get(name, batch[name]) for name in FRAMES.names], schema=FRAMES)


@pytest.mark.parametrize(
    "batch",
    [
        PLAIN.cast(FRAMES),
        PLAIN,
        PLAIN.append_column("offset", pa.array([0, 3])),
        PLAIN.select(["frame", "codec", "link", "source", "received_ns"]),
        PLAIN.set_column(4, "frame", PLAIN["frame"].cast(pa.large_binary())),
    ],
    ids=["as_collectors_write_it", "plain_text", "with_offset", "other_order", "large_binary"],
)
def test_frames_of_other_producers_are_taken(batch: pa.RecordBatch) -> None:
    taken = read_batch(encode(batch), FRAMES)
    assert taken.schema.equals(FRAMES)
    assert taken.to_pylist() == PLAIN.to_pylist()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "ArrowInvalid"),
        (b"", "ArrowInvalid"),
        (b"\x00\x05 no Arrow at all", "Arrow|OS"),
        (encode(PLAIN)[:100], "Arrow|OS"),
        (encode(PLAIN.drop_columns(["codec"])), "codec"),
        (encode(PLAIN.set_column(0, "received_ns", pa.array(["now", "then"]))), "int64"),
        (encode(pa.RecordBatch.from_pylist([], schema=SAMPLES)), "received_ns"),
        (encode(frames(source=names([0, 7], ["10.0.0.1"]))), "out of bounds"),
        (encode(frames(source=names([0, -1], ["10.0.0.1"]))), "out of bounds"),
        (encode(frames(link=names([0, None], ["racks"]))), "'link' holds a null"),
        (encode(frames(link=names([0, 1], ["racks", None]))), "'link' holds a null"),
        (encode(frames(frame=pa.array([b"one", None]))), "'frame' holds a null"),
        (encode(frames(codec=pa.DictionaryArray.from_arrays(
            pa.array([0, 0], pa.int32()), pa.array([b"\xff\xfe"]).view(pa.utf8())))), "UTF"),
    ],
    ids=["tombstone", "empty", "garbage", "cut", "a_column_less", "text_for_a_number", "other_schema", "index_too_high",
         "index_negative", "null_index", "null_name", "null_frame", "not_utf8"],
)  # fmt: skip
def test_what_is_no_batch_of_frames_is_refused(value: bytes | None, reason: str) -> None:
    with pytest.raises(BatchError, match=reason):
        read_batch(value, FRAMES)


@pytest.mark.parametrize("name", ["frames", "windows", "samples"])
def test_damaged_batches_are_refused_or_whole(name: str) -> None:
    print(f"again: ORBITRACK_SEED={SEED} pytest tests/test_ipc.py")
    schema = {"frames": FRAMES, "windows": WINDOWS, "samples": SAMPLES}[name]
    generator = np.random.default_rng(SEED)
    columns = []
    for field in schema:
        numbers = generator.integers(0, 3, 50)
        if pa.types.is_dictionary(field.type):
            columns.append(names(list(numbers), ["a", "b", "c"]))
        elif pa.types.is_binary(field.type):
            columns.append(pa.array([b"x" * number for number in numbers]))
        elif pa.types.is_timestamp(field.type):
            columns.append(pa.array(numbers).cast(field.type))
        elif pa.types.is_map(field.type):
            columns.append(pa.array([[(number, 1)] for number in numbers], field.type))
        else:
            columns.append(pa.array(numbers).cast(field.type))
    value = encode(pa.RecordBatch.from_arrays(columns, schema=SCHEMAS[name]))
    dice = random.Random(SEED)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(value)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            batch = read_batch(bytes(damaged[: dice.randrange(len(damaged) // 2, len(damaged) + 1)]), schema)
        except BatchError:
            refused += 1
        else:
            batch.validate(full=True)
            assert batch.schema.equals(schema)
    print(f"{name}: {refused} of 2000 refused")
    assert refused > 1000
