"""Record batches as bytes: a Kafka value, or a frame of a collector's own samples, is one Arrow IPC stream with one batch.

    value = encode(batch)
    batch = decode(value)                         # what we wrote ourselves
    batch = read_batch(value, model.FRAMES)       # what anybody may have written; BatchError

Knows no Kafka and not what the columns mean.
"""

from __future__ import annotations

import pyarrow as pa

__all__ = ["BatchError", "decode", "encode", "read_batch"]

# Arrow's own lz4: 23 ns a sample to write and 19 to read, 7.5 bytes; zstd level 1: 54, 37 and 4.2 (docs/architecture.md).
IPC_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)


class BatchError(ValueError):
    """A value that is no record batch of the schema that was expected."""


def encode(batch: pa.RecordBatch) -> bytes:
    """A record batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=IPC_OPTIONS) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def decode(value: bytes) -> pa.RecordBatch:
    """What `encode` made. pa.ArrowInvalid where it is something else, OSError where its end is missing."""
    with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
        try:
            return reader.read_next_batch()
        except StopIteration:
            raise pa.ArrowInvalid("an Arrow stream without a batch") from None


def read_batch(value: bytes | None, schema: pa.Schema) -> pa.RecordBatch:
    """The record batch in bytes that anybody may have written, with exactly this schema.

    Columns are found by name, others are left out, text becomes a dictionary. Everything is checked before it is touched:
    an index behind the end of a dictionary would take the process down. BatchError where it cannot be had.
    """
    try:
        batch = decode(value or b"")
        batch.validate(full=True)
        if not batch.schema.equals(schema):
            batch = batch.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError, TypeError, KeyError, OSError) as error:
        raise BatchError(f"{type(error).__name__}: {error}") from error
    for column, field in zip(batch.columns, schema, strict=True):
        values = column.dictionary if pa.types.is_dictionary(field.type) else column
        if not field.nullable and (column.null_count or values.null_count):
            raise BatchError(f"'{field.name}' holds a null")
    return batch
