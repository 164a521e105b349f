"""Arrow batches as the lines that people and scripts read: JSON, CSV, tables.

    for line in json_lines("flow", batch): ...       # one string array of whole lines, made column by column
    texts = text_columns(batch)                      # {name: string array}, null where absent

The forms are a contract: times RFC 3339 UTC with nine decimals, addresses as text, bytes as hex, integers exact
to 64 bits, NaN and infinities as text. Nothing here knows which rows there are, beyond which columns are addresses or MACs
(by their Arrow types). Texts and addresses that repeat are formatted once; only bytes, which hardly do, are taken row by row.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from streams.model import ADDRESS, MAC

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["json_array", "json_lines", "text_columns"]

MAPPED_IPV4 = bytes(10) + b"\xff\xff"


def json_lines(kind: str, batch: pa.RecordBatch, extra: dict[str, pa.Array] | None = None) -> pa.Array:
    """One JSON object a row, `type` first. `extra` are columns that are JSON already (null: `null`)."""
    columns = {name: json_array(batch.column(name)) for name in batch.schema.names} | (extra or {})
    parts: list[pa.Array | pa.Scalar] = [pa.scalar('{"type":' + json.dumps(kind))]
    for name, column in columns.items():
        parts += [pa.scalar(f",{json.dumps(name)}:"), pc.fill_null(column, "null")]
    return joined([*parts, pa.scalar("}")])


def text_columns(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Every column as text for CSV and tables: strings bare, lists and structs as JSON."""
    return {name: plain_array(batch.column(name)) for name in batch.schema.names}


def json_array(column: pa.Array, beside: pa.Array | None = None) -> pa.Array:
    """A string array of JSON values; null stays null.

    A struct leaves out its absent fields: null, or a struct of nothing but absent fields. With a struct `beside` it (the
    raw values), that one's fields decide which are absent, and what is null only here is written as `null`.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return by_dictionary(column, json_array)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return column.cast(pa.utf8())
    if pa.types.is_floating(kind):
        return json_floats(column)
    if pa.types.is_struct(kind):
        return json_objects(column, beside)
    if pa.types.is_list(kind):
        return json_lists(column, beside)
    if pa.types.is_string(kind):
        return by_dictionary(column.dictionary_encode(), json_texts)
    return quoted(plain_array(column))              # times, addresses, bytes: nothing in them needs escaping


def plain_array(column: pa.Array) -> pa.Array:
    """A string array of what stands between the quotes."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return by_dictionary(column, plain_array)
    if pa.types.is_timestamp(kind):
        return times(column)
    if kind == ADDRESS:
        return by_dictionary(column.dictionary_encode(), lambda unique: texts(unique, address_text))
    if kind == MAC:
        return by_dictionary(column.dictionary_encode(), lambda unique: texts(unique, lambda mac: mac.hex(":")))
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return texts(column, bytes.hex)
    if pa.types.is_string(kind):
        return column
    return json_array(column)


def by_dictionary(column: pa.DictionaryArray, form: Callable[[pa.Array], pa.Array]) -> pa.Array:
    return form(column.dictionary).take(column.indices)


def texts(column: pa.Array, form: Callable[[bytes], str]) -> pa.Array:
    return pa.array([None if value is None else form(value) for value in column.to_pylist()], pa.utf8())


def json_texts(unique: pa.Array) -> pa.Array:
    return pa.array([None if text is None else json.dumps(text, ensure_ascii=False) for text in unique.to_pylist()], pa.utf8())


def address_text(address: bytes) -> str:
    if address.startswith(MAPPED_IPV4):
        return socket.inet_ntop(socket.AF_INET, address[12:])
    return socket.inet_ntop(socket.AF_INET6, address)


def times(column: pa.Array) -> pa.Array:
    """Arrow writes `2026-10-01 12:00:00.000000000Z`; RFC 3339 as we promise it has a T."""
    with_decimals = column.cast(pa.timestamp("ns", tz="UTC")).cast(pa.utf8())
    return pc.utf8_replace_slice(with_decimals, start=10, stop=11, replacement="T")


def json_floats(column: pa.Array) -> pa.Array:
    column = column.cast(pa.float64())
    written = column.cast(pa.utf8())
    if pc.all(pc.is_finite(column)).as_py() is not False:
        return written
    # JSON has no numbers for these.
    names = pc.if_else(pc.is_nan(column), '"NaN"', pc.if_else(pc.less(column, 0.0), '"-Infinity"', '"Infinity"'))
    return pc.if_else(pc.is_finite(column), written, names)


def json_objects(column: pa.StructArray, beside: pa.Array | None) -> pa.Array:
    others = {}
    if beside is not None and pa.types.is_struct(beside.type):
        others = {field.name: child for field, child in zip(beside.type, beside.flatten(), strict=True)}
    parts: list[pa.Array | pa.Scalar] = []
    for field, child in zip(column.type, column.flatten(), strict=True):
        other = others.get(field.name, child)
        member = joined([pa.scalar(f",{json.dumps(field.name)}:"), pc.fill_null(json_array(child, other), "null")])
        parts.append(pc.if_else(is_present(other), member, ""))
    members = pc.utf8_slice_codeunits(joined(parts), start=1) if parts else pa.scalar("")
    return where(column.is_valid(), joined([pa.scalar("{"), members, pa.scalar("}")]))


def json_lists(column: pa.ListArray, beside: pa.Array | None) -> pa.Array:
    others = beside.flatten() if beside is not None and pa.types.is_list(beside.type) else None
    items = column.flatten()
    written = pc.fill_null(json_array(items, others if others is not None and len(others) == len(items) else None), "null")
    # flatten() leaves out what null lists and slices hide, so the offsets are counted again.
    ends = pc.cumulative_sum(pc.fill_null(pc.list_value_length(column), 0)).cast(pa.int32())
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    members = pc.binary_join(pa.ListArray.from_arrays(offsets, written), ",")
    return where(column.is_valid(), joined([pa.scalar("["), members, pa.scalar("]")]))


def is_present(column: pa.Array) -> pa.Array:
    if not pa.types.is_struct(column.type):
        return column.is_valid()
    found = pa.array([False] * len(column))
    for child in column.flatten():
        found = pc.or_(found, is_present(child))
    return found


def where(valid: pa.Array, written: pa.Array | pa.Scalar) -> pa.Array:
    return pc.if_else(valid, written, pa.scalar(None, pa.utf8()))


def quoted(column: pa.Array) -> pa.Array:
    return joined([pa.scalar('"'), column, pa.scalar('"')])


def joined(parts: list[pa.Array | pa.Scalar]) -> pa.Array:
    """Null where any part is null."""
    return pc.binary_join_element_wise(*parts, "")
