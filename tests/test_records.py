"""The records of the core are those of the model, column by column."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from framecodec import records
from framecodec.columns import Names, Rows
from streams.model import SCHEMAS
from tests.processes import REPOSITORY

WRITTEN_BY_THE_CORE = ("samples", "flows", "rejects", "windows", "frames")


@pytest.mark.parametrize("name", WRITTEN_BY_THE_CORE)
def test_rows_leave_with_the_schema_of_the_model(name: str) -> None:
    rows = Rows(getattr(records, f"{name.upper()}_FIELDS"))
    assert pa.record_batch(rows.flush()).schema.equals(SCHEMAS[name])


@pytest.mark.parametrize("name", WRITTEN_BY_THE_CORE)
def test_column_numbers_are_in_the_order_of_the_model(name: str) -> None:
    header = (REPOSITORY / "ext" / "framecodec" / "records.pxd").read_text()
    prefix = name.upper().removesuffix("S")
    numbered = re.findall(rf"^    {prefix}_(\w+)$", header, re.MULTILINE)
    assert [column.lower() for column in numbered] == [column.removesuffix("_") for column in SCHEMAS[name].names]


def test_names_have_equal_numbers_when_they_are_equal() -> None:
    names = Names()
    words = [f"entity-{number % 1000}/if/{number % 7}" for number in range(20_000)]
    numbers = [names.add(word) for word in words]
    assert [names.name(number) for number in numbers] == words
    assert len(names) == len(set(words)) == max(numbers) + 1


def test_a_batch_is_taken_once() -> None:
    batch = Rows(records.REJECTS_FIELDS).flush()
    pa.record_batch(batch)
    with pytest.raises(ValueError, match="taken before"):
        pa.record_batch(batch)


def test_masks_are_for_64_columns_at_most() -> None:
    fields = [(f"c{number}", "l", True) for number in range(65)]
    assert len(Rows(fields[:64], has_masks=True)) == 0
    with pytest.raises(ValueError, match="masks have 64 bits, not 65"):
        Rows(fields, has_masks=True)
