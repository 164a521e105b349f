"""The lines of a ccsdspy table, each judged by itself.

    lines, mistakes = read_lines(Path("mission.csv"))

What a line says wrongly is replaced by something harmless, so that lines that refer to it are not wrong for its sake. What
lines mean together (where a field is, what an array's size names) is table.py's business.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.errors import DefinitionError, nearest

__all__ = ["PACKET_BITS_MAX", "TYPES", "Line", "read_lines", "whole_number"]

# CCSDS 133.0-B-2 4.1.3.5.3: the length field's 16 bits count octets after the header, minus one; the header has six.
PACKET_BITS_MAX = 8 * (65_536 + 6)
TYPES = {"uint": "unsigned", "int": "twos_complement", "float": "ieee754", "str": "string", "fill": ""}
NUMBER_BITS_MAX = 64
FLOAT_BITS = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    name: str
    kind: str
    bits: int
    place: int | None
    shape: str  # what stands in the brackets, or nothing


def read_lines(path: Path) -> tuple[list[Line], list[DefinitionError]]:
    """The fields in their order, and every mistake that one line shows. DefinitionError: it is no table at all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"cannot be read: {error}", file=path) from error
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    mistakes: list[DefinitionError] = []
    try:
        missing = [name for name in ("name", "data_type", "bit_length") if name not in (reader.fieldnames or ())]
        if missing:
            hint = "the first line is: name,data_type,bit_length[,bit_offset]"
            raise DefinitionError(f"column {missing[0]} is missing", file=path, line=1, hint=hint)
        lines = [LineReader(path, reader.line_num, mistakes).line(row) for row in reader]
    except csv.Error as error:
        raise DefinitionError(f"is not CSV: {error}", file=path, line=max(reader.line_num, 1)) from None
    if not lines:
        raise DefinitionError("the table has no fields", file=path, line=1)
    return lines, mistakes


def whole_number(text: str) -> int | None:
    """None if it is none; of one that nothing in a packet can have only the first digits."""
    return int(text.lstrip("0")[:18] or "0") if text.isascii() and text.isdigit() else None


@dataclass(frozen=True, slots=True)
class LineReader:
    path: Path
    number: int
    mistakes: list[DefinitionError]

    def mistake(self, what: str, hint: str | None = None) -> None:
        self.mistakes.append(DefinitionError(what, file=self.path, line=self.number, hint=hint))

    def line(self, row: dict[str, Any]) -> Line:
        name, place = (row["name"] or "").strip(), (row.get("bit_offset") or "").strip()
        kind, _, shape = (row["data_type"] or "").strip().partition("(")
        if kind not in TYPES:
            guess = nearest(kind, TYPES)
            self.mistake(
                f"data type '{kind}' is not known", f"did you mean {guess}?" if guess else f"one of {', '.join(TYPES)}"
            )
            kind = "uint"
        if not name and kind != "fill":
            self.mistake("the field has no name")
        bits = self.bits((row["bit_length"] or "").strip(), kind)
        offset = self.bits(place, "fill") if place else None
        return Line(self.number, name, kind, bits, offset, shape.rstrip(") "))

    def bits(self, text: str, kind: str) -> int:
        bits, harmless = whole_number(text), 32 if kind == "float" else 8
        if bits is None:
            self.mistake(f"'{text[:40]}' is no number of bits")
        elif kind == "float" and bits not in FLOAT_BITS:
            self.mistake(f"a float of {bits} bits is not supported", f"one of {', '.join(map(str, FLOAT_BITS))}")
        elif kind in ("uint", "int") and not 1 <= bits <= NUMBER_BITS_MAX:
            self.mistake(f"a number of {bits} bits is not supported", f"1 to {NUMBER_BITS_MAX}")
        elif bits > PACKET_BITS_MAX:
            self.mistake(f"{bits} bits are more than a packet has", f"at most {PACKET_BITS_MAX}")
        else:
            return bits
        return harmless
