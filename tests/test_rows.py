"""Arrow columns as JSON and CSV text: held against Python's own json on the same rows."""

from __future__ import annotations

import ipaddress
import json
import math
import random
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from streams.rows import json_array, json_lines, text_columns

TIME = pa.timestamp("ns", tz="UTC")


def written(column: pa.Array, beside: pa.Array | None = None) -> list[Any]:
    return [None if text is None else json.loads(text) for text in json_array(column, beside).to_pylist()]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([0, 255, None], pa.uint8()),
        pa.array([2**64 - 1, 0, None, 2**53 + 1], pa.uint64()),
        pa.array([-(2**63), 2**63 - 1], pa.int64()),
        pa.array([True, None, False]),
        pa.array(["", 'quote " backslash \\ newline \n tab \t', "\x00\x1f\x7f", "ü 漢 🛰", None]),
        pa.array(["a", None, "a", 'b"'] * 3).dictionary_encode(),
        pa.array([[1, 2], [], None, [3]], pa.list_(pa.uint32())),
        pa.array([["a", None], [], None]),
        pa.array([[[1], []], [], None, [[2, 3]]]),
        pa.array([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        pa.array([1.5, -0.1, 5e-324, 1.7976931348623157e308, 1e22, 123456789.125, 0.1 + 0.2, 3.0]),
        pa.nulls(3),
    ],
    ids=str,
)
def test_value_is_read_back_as_it_was(column: pa.Array) -> None:
    assert written(column) == column.to_pylist()
    assert written(column.slice(1)) == column.to_pylist()[1:]
    assert written(column.slice(0, 0)) == []


def test_numbers_that_json_lacks_are_text() -> None:
    assert written(pa.array([math.nan, math.inf, -math.inf, None, 1.0])) == ["NaN", "Infinity", "-Infinity", None, 1.0]


def test_single_precision_is_written_exactly() -> None:
    assert written(pa.array([0.1], pa.float32())) == [0.10000000149011612]


def test_times_have_nine_decimals_and_are_utc() -> None:
    assert written(pa.array([0, 1_790_000_000_000_000_001, -1, None], TIME)) == [
        "1970-01-01T00:00:00.000000000Z", "2026-09-21T14:13:20.000000001Z", "1969-12-31T23:59:59.999999999Z", None,
    ]
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    times = [chance.randrange(-(2**62), 2**62) for _ in range(200)]
    for text, time_ns in zip(written(pa.array(times, TIME)), times, strict=True):
        seconds, rest = divmod(time_ns, 10**9)
        assert text == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:09d}Z"


def test_addresses_are_text() -> None:
    texts = ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "::1", "fe80::a:b:c:d", None]
    packed = []
    for text in texts:
        address = ipaddress.ip_address(text) if text else None
        mapped = address and (bytes(10) + b"\xff\xff" + address.packed if address.version == 4 else address.packed)
        packed.append(mapped)
    assert written(pa.array(packed, pa.binary(16))) == texts


def test_bytes_are_hex_and_macs_have_colons() -> None:
    assert written(pa.array([b"\x00\xff", b"", None])) == ["00ff", "", None]
    assert written(pa.array([bytes(range(250, 256)), None], pa.binary(6))) == ["fa:fb:fc:fd:fe:ff", None]


def test_absent_fields_of_a_struct_are_left_out() -> None:
    column = pa.array([{"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": None, "b": None}, None])
    assert written(column) == [{"a": 1}, {"b": "x"}, {}, None]


def test_calibrated_null_with_a_raw_value_is_null_and_without_is_left_out() -> None:
    raw = pa.array([{"mode": 1, "spare": 2}, {"mode": 9, "spare": None}, {"mode": None, "spare": None}])
    values = pa.array([{"mode": "ON", "spare": 2}, {"mode": None, "spare": None}, {"mode": None, "spare": None}])
    assert written(values, raw) == [{"mode": "ON", "spare": 2}, {"mode": None}, {}]


def test_aggregate_of_absent_members_is_absent() -> None:
    kind = pa.struct([("x", pa.int64()), ("inner", pa.struct([("y", pa.int64()), ("z", pa.int64())]))])
    column = pa.array(
        [{"x": 1, "inner": {"y": None, "z": None}}, {"x": None, "inner": {"y": 2, "z": None}}, {"x": None, "inner": None}], kind
    )
    assert written(column) == [{"x": 1}, {"inner": {"y": 2}}, {}]
    assert written(column, column) == [{"x": 1}, {"inner": {"y": 2}}, {}]


def test_list_of_aggregates_is_a_list_of_objects() -> None:
    raw = pa.array([[{"x": 1}, {"x": 2}], [], None])
    values = pa.array([[{"x": "ON"}, {"x": None}], [], None], pa.list_(pa.struct([("x", pa.utf8())])))
    assert written(values, raw) == [[{"x": "ON"}, {"x": None}], [], None]


def test_line_has_its_type_first_and_fields_in_order() -> None:
    batch = pa.record_batch({"b": [1, None], "a": ["x", None]})
    extra = {"raw": pa.array(['{"k":1}', None])}
    assert json_lines("sample", batch, extra).to_pylist() == [
        '{"type":"sample","b":1,"a":"x","raw":{"k":1}}', '{"type":"sample","b":null,"a":null,"raw":null}',
    ]


def test_plain_text_is_without_quotes() -> None:
    names = pa.array(["x"]).dictionary_encode()
    batch = pa.record_batch({"t": pa.array([0], TIME), "s": ['say "hi"'], "l": [[1, 2]], "d": names})
    columns = {name: column.to_pylist() for name, column in text_columns(batch).items()}
    assert columns == {"t": ["1970-01-01T00:00:00.000000000Z"], "s": ['say "hi"'], "l": ["[1,2]"], "d": ["x"]}
