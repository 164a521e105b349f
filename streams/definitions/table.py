"""ccsdspy tables: a `.csv` with the columns name, data_type, bit_length and perhaps bit_offset.

One line is one field after the primary header, in order; `bit_offset` counts from the start of the packet, header
included. Data types are uint, int, float, str and fill, with an array's size in brackets: `uint(16)`, `uint(2, 3)`,
`uint(COUNT)` for a size in an earlier field, `uint(expand)` for as many as the packet holds before the fields that follow.
Such a table has one container, named after the file, and every packet is one of it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from streams.definitions.compiler import pruned
from streams.definitions.entries import Tables, field_size, varies
from streams.definitions.model import (
    Column,
    Container,
    Definition,
    Encoding,
    Expression,
    Field,
    Instruction,
    Layout,
    Node,
)
from streams.definitions.packet_time import find_time
from streams.errors import DefinitionError, nearest

__all__ = ["load_table"]

HEADER_BITS = 48
TYPES = {"uint": "unsigned", "int": "twos_complement", "float": "ieee754", "str": "string", "fill": ""}
FLOAT_BITS = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    name: str
    kind: str
    bits: int
    place: int | None
    shape: str  # what stands in the brackets, or nothing


def load_table(path: Path) -> Definition:
    """The definition in a table; DefinitionError with file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"cannot be read: {error}", file=path) from error
    return TableCompiler(path).compile(text)


class TableCompiler:
    def __init__(self, path: Path) -> None:
        self.path, self.root = path, f"/{path.name.split('.')[0]}"
        self.tables = Tables()
        self.slots: dict[str, int] = {}
        self.columns: list[Column] = []
        self.scalars: list[tuple[int, int, bool]] = []
        self.domains = [-1]
        self.fixed: list[tuple[int, int]] = []
        self.fixed_bits = 0
        self.full: list[Instruction] = []
        self.tail: list[Instruction] = []

    def fail(self, line: int, what: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.path, line=line, hint=hint)

    def compile(self, text: str) -> Definition:
        lines = self.lines(text)
        names: dict[str, Line] = {}
        for line in lines:
            if line.kind != "fill" and line.name in names:
                self.fail(line.number, f"there are two fields '{line.name}'", f"the first is in line {names[line.name].number}")
            names[line.name] = line
            if line.shape and line.shape != "expand" and not line.shape.replace(",", "").replace(" ", "").isdigit():
                self.slots.setdefault(f"{self.root}/{line.shape}", len(self.slots))
        at: int | None = HEADER_BITS
        for index, line in enumerate(lines):
            at = self.field(line, lines[index + 1 :], at, names)
        fields = tuple(self.tables.fields)
        time_scalar, time_code = find_time(self.fixed, self.scalars, list(fields))
        layout = Layout(
            tuple(self.columns),
            tuple(self.scalars),
            tuple(self.domains),
            tuple(self.fixed),
            self.fixed_bits,
            tuple(self.tail),
            tuple(self.full),
            time_scalar,
            time_code,
        )
        layout = pruned(layout, fields, self.slots)
        container = Container(0, self.root[1:], self.root, 0)
        return Definition(
            file=str(self.path),
            name=self.root[1:],
            root=self.root,
            containers=(container,),
            fields=fields,
            conditions=(),
            expressions=tuple(self.tables.expressions),
            layouts=(layout,),
            nodes=(Node(0, 0, (), (), ()),),
            slots=self.slots,
        )

    def lines(self, text: str) -> list[Line]:
        reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
        missing = [name for name in ("name", "data_type", "bit_length") if name not in (reader.fieldnames or ())]
        if missing:
            self.fail(1, f"column {missing[0]} is missing", "the first line is: name,data_type,bit_length[,bit_offset]")
        found = []
        for row in reader:
            number = reader.line_num
            kind, _, shape = (row["data_type"] or "").strip().partition("(")
            if kind not in TYPES:
                guess = nearest(kind, TYPES)
                self.fail(
                    number,
                    f"data type '{kind}' is not known",
                    f"did you mean {guess}?" if guess else f"one of {', '.join(TYPES)}",
                )
            place = (row.get("bit_offset") or "").strip()
            found.append(
                Line(
                    number,
                    (row["name"] or "").strip(),
                    kind,
                    self.whole(number, row["bit_length"]),
                    self.whole(number, place) if place else None,
                    shape.rstrip(") "),
                )
            )
        if not found:
            self.fail(1, "the table has no fields")
        return found

    def whole(self, line: int, text: str | None) -> int:
        if not (text or "").strip().isdigit():
            self.fail(line, f"'{text}' is no number of bits")
        return int(text or "")

    def encoding(self, line: Line) -> Encoding:
        if line.kind == "str":
            return Encoding("string", Expression(line.bits))
        if line.kind == "float" and line.bits not in FLOAT_BITS:
            self.fail(line.number, f"a float of {line.bits} bits is not supported", f"one of {', '.join(map(str, FLOAT_BITS))}")
        if not 1 <= line.bits <= 64:
            self.fail(line.number, f"a number of {line.bits} bits is not supported", "1 to 64")
        return Encoding(TYPES[line.kind], Expression(line.bits))

    def field(self, line: Line, following: list[Line], at: int | None, names: dict[str, Line]) -> int | None:
        """Compile one line that begins at `at` (None: not known beforehand); returns where the next one begins."""
        if line.place is not None:
            at = line.place
            self.both("seek", at)
        if line.kind == "fill":
            if at is None:
                self.both("move_by", self.tables.expression(Expression(line.bits)))
                return None
            self.both("seek", at + line.bits)
            return at + line.bits
        field = Field(f"{self.root}/{line.name}", "text" if line.kind == "str" else "gauge", self.encoding(line))
        number = self.tables.field(field)
        if line.shape:
            return self.array(line, following, at, names, number)
        scalar = len(self.scalars)
        self.scalars.append((number, 0, False))
        self.columns.append(Column(line.name, 0, scalar=scalar))
        self.full.append(("read", number, scalar, -1 if at is None else at))
        size = field_size(field)
        self.tail.append(self.full[-1])
        if at is not None and size is not None and not varies(field):
            self.fixed.append((scalar, at))
            self.fixed_bits = max(self.fixed_bits, at + size)
        return None if at is None or size is None else at + size

    def array(self, line: Line, following: list[Line], at: int | None, names: dict[str, Line], field: int) -> int | None:
        if line.kind == "str":
            self.fail(line.number, "arrays of str are not supported", "give the str more bits")
        if at is not None:
            self.both("seek", at)
        sizes = [part.strip() for part in line.shape.split(",")]
        counts: list[Expression] = []
        for size in sizes:
            if size.isdigit():
                counts.append(Expression(int(size)))
            elif size in names and names[size].number < line.number and names[size].kind in ("uint", "int"):
                counts.append(Expression(0, 1, self.slots[f"{self.root}/{size}"]))
            elif size != "expand" or len(sizes) > 1:
                guess = nearest(size, names)
                self.fail(
                    line.number,
                    f"the size '{size}' is no number and no whole-number field before this one",
                    f"did you mean {guess}?" if guess else None,
                )
        scalar = len(self.scalars)
        domain, column = 0, Column("item", len(self.domains) + len(sizes) - 1, scalar=scalar)
        outer = []
        for _ in sizes:
            self.domains.append(domain)
            outer.append((domain, len(self.domains) - 1))
            domain = len(self.domains) - 1
        self.scalars.append((field, domain, False))
        for parent, inside in reversed(outer):
            column = Column(line.name if parent == 0 else "item", parent, list_domain=inside, members=(column,))
        self.columns.append(column)
        if sizes == ["expand"]:
            footer = sum(after.bits for after in following if after.place is None and not after.shape)
            if any(after.shape for after in following):
                self.fail(line.number, "an expanding array must be the last array", "fields after it must have a fixed size")
            self.both("run_to_end", domain, field, scalar, footer)
            self.both("move_from_end", self.tables.expression(Expression(footer)))
            return None
        jumps = []
        for count, (_, inside) in zip(counts[:-1], outer, strict=False):
            jumps.append((len(self.full), len(self.tail), self.tables.expression(count)))
            self.both("loop", jumps[-1][2], -1)
            self.both("item", inside)
        self.both("run", domain, field, scalar, self.tables.expression(counts[-1]))
        gap = self.tables.expression(Expression(0))
        for full, tail, count_number in reversed(jumps):
            self.full.append(("next", gap, full + 1))
            self.tail.append(("next", gap, tail + 1))
            self.full[full], self.tail[tail] = ("loop", count_number, len(self.full)), ("loop", count_number, len(self.tail))
        total = line.bits
        for count in counts:
            if count.constant is None:
                return None
            total *= count.constant
        return None if at is None else at + total

    def both(self, *instruction: str | int) -> None:
        self.full.append(instruction)
        self.tail.append(instruction)
