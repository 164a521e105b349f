"""ccsdspy tables: a `.csv` with the columns name, data_type, bit_length and perhaps bit_offset.

One line is one field after the primary header, in order; `bit_offset` counts from the start of the packet, header
included. Data types are uint, int, float, str and fill, with an array's size in brackets: `uint(16)`, `uint(2, 3)`,
`uint(COUNT)` for a size in an earlier field, `uint(expand)` for as many as the packet holds before the fields that follow.
Such a table has one container, named after the file, and every packet is one of it.
"""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import NoReturn

from streams.definitions.compiler import pruned
from streams.definitions.entries import NESTING_MAX, Tables, field_size, varies
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
from streams.definitions.table_lines import PACKET_BITS_MAX, TYPES, Line, read_lines, whole_number
from streams.errors import DefinitionError, nearest

__all__ = ["examine_table", "load_table"]

HEADER_BITS = 48


def load_table(path: Path) -> Definition:
    """The definition in a table; DefinitionError with file and line: the first mistake."""
    definition, mistakes = examine_table(path)
    if definition is None:
        raise mistakes[0]
    return definition


def examine_table(path: Path) -> tuple[Definition | None, list[DefinitionError]]:
    """The definition, or all mistakes, in the order of the lines. DefinitionError: it is no table at all."""
    lines, mistakes = read_lines(path)
    compiler = TableCompiler(path)
    definition = compiler.compile(lines)
    mistakes = sorted([*mistakes, *compiler.mistakes], key=lambda error: error.line or 0)
    return (None, mistakes) if mistakes else (definition, [])


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
        self.mistakes: list[DefinitionError] = []

    def fail(self, line: int, what: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.path, line=line, hint=hint)

    def compile(self, lines: list[Line]) -> Definition | None:
        """None if `mistakes` has any."""
        names: dict[str, Line] = {}
        at: int | None = HEADER_BITS
        for line in lines:
            if line.kind != "fill":
                names.setdefault(line.name, line)
            for size in sizes_of(line):
                if size != "expand" and whole_number(size) is None:
                    self.slots.setdefault(f"{self.root}/{size}", len(self.slots))
        for index, line in enumerate(lines):
            try:
                at = self.field(line, lines[index + 1 :], at, names)
            except DefinitionError as error:
                self.mistakes.append(error)
                at = None
        if self.mistakes:
            return None
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
        if line.name and names[line.name] is not line:
            self.fail(line.number, f"there are two fields '{line.name}'", f"the first is in line {names[line.name].number}")
        encoding = Encoding(TYPES[line.kind], Expression(line.bits))
        field = Field(f"{self.root}/{line.name}", "text" if line.kind == "str" else "gauge", encoding)
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
        sizes = sizes_of(line)
        if len(sizes) > NESTING_MAX:
            self.fail(line.number, f"an array of {len(sizes)} dimensions is not supported", f"at most {NESTING_MAX}")
        counts: list[Expression] = []
        for size in sizes:
            if (whole := whole_number(size)) is not None:
                counts.append(Expression(whole))
            elif size in names and names[size].number < line.number and names[size].kind in ("uint", "int"):
                counts.append(Expression(0, 1, self.slots[f"{self.root}/{size}"]))
            elif size != "expand" or len(sizes) > 1:
                guess = nearest(size, names)
                self.fail(
                    line.number,
                    f"the size '{size}' is no number and no whole-number field before this one",
                    f"did you mean {guess}?" if guess else None,
                )
        total = line.bits * prod(count.constant for count in counts if count.constant is not None)
        if total > PACKET_BITS_MAX:
            self.fail(line.number, f"an array of {total} bits is more than a packet has", f"at most {PACKET_BITS_MAX}")
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
        return None if at is None or any(count.constant is None for count in counts) else at + total

    def both(self, *instruction: str | int) -> None:
        self.full.append(instruction)
        self.tail.append(instruction)


def sizes_of(line: Line) -> list[str]:
    """What stands in an array's brackets, a text for each dimension."""
    return [size.strip() for size in line.shape.split(",")] if line.shape else []
