"""From a chain of containers to a Layout: columns, and instructions with every bit position that is known beforehand.

    builder = LayoutBuilder(parameters, tables)
    layout = builder.build(chain)             # chain: the root container, its heir, ... , the container itself

Entries are walked in order with a position that is a number as long as nothing before it varies. What stands at a known
place in every packet becomes `fixed` (run column by column); everything else goes into `tail`. An entry placed from the
container's end is the previous entry for what follows it in the same container, but heirs go on where the base had been
before it (XTCE leaves this open; every definition with a trailer needs it so).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from streams.definitions.document import Element, Space
from streams.definitions.entries import NESTING_MAX, Chain, field_size, type_size, varies
from streams.definitions.model import Column, Expression, Field, Layout
from streams.definitions.packet_time import find_time
from streams.definitions.positions import Positions
from streams.definitions.types import Aggregate, Array, Type

__all__ = ["LayoutBuilder"]

# Of a container, and of all: files of a few kilobytes can ask for billions.
INSTRUCTIONS_MAX, ALL_INSTRUCTIONS_MAX = 200_000, 5_000_000


class LayoutBuilder(Positions):
    all_instructions = 0

    def build(self, chain: Chain) -> Layout:
        self.begin(chain[-1][0])
        self.fixed: list[tuple[int, int]] = []
        self.fixed_bits = 0
        self.scalars: list[tuple[int, int, bool]] = []
        self.domains = [-1]
        self.shapes: dict[str, Column] = {}  # parameter: its column, or that of an item where it is a list
        self.lists: dict[str, int] = {}  # parameter that occurs repeatedly: its list's domain
        self.sites: dict[str, tuple[int, int]] = {}  # scalar path: field and bit (-1 unknown) of its last occurrence
        self.repeated = self.occurring_repeatedly(chain)
        for element, space in chain:
            self.entries(element, space)
        columns = self.columns()
        time_scalar, time_code = find_time(self.fixed, self.scalars, self.tables.fields)
        self.all_instructions += len(self.full)
        if self.all_instructions > ALL_INSTRUCTIONS_MAX:
            self.document.fail(chain[-1][0], f"all containers together take more than {ALL_INSTRUCTIONS_MAX} instructions")
        return Layout(
            columns,
            tuple(self.scalars),
            tuple(self.domains),
            tuple(self.fixed),
            self.fixed_bits,
            tuple(self.tail),
            tuple(self.full),
            time_scalar,
            time_code,
        )

    def columns(self) -> tuple[Column, ...]:
        """Named by bare names, or by paths where two would clash."""
        bare = Counter(column.name for column in self.shapes.values())
        found = []
        for path, column in self.shapes.items():
            name = column.name if bare[column.name] == 1 else path
            if path in self.lists:
                column = Column(name, 0, list_domain=self.lists[path], members=(column,))
            found.append(column if column.name == name else replace(column, name=name))
        return tuple(found)

    # -- entries -------------------------------------------------------------------------------------------------------
    def entries(self, container: Element, space: Space) -> None:
        entries = self.entry_list(container)
        resume: tuple[int | None] | None = None
        for index, entry in enumerate(entries):
            if len(entry) == 0:
                self.body(entry, space)
                continue
            following = entries[index + 1] if index + 1 < len(entries) else None
            location = entry.find("LocationInContainerInBits")
            from_end = location is not None and location.get("referenceLocation") == "containerEnd"
            if from_end and resume is None:
                self.settle()
                self.emit("save")
                resume = (self.bit,)
            self.entry(entry, space, location, following)
        if resume is not None:
            self.emit("restore")
            self.bit = resume[0]

    def entry(self, entry: Element, space: Space, location: Element | None, following: Element | None) -> None:
        condition = entry.find("IncludeCondition")
        jumps: tuple[int, int] | None = None
        if condition is not None:
            matched = self.parameters.conditions.match(condition, space)
            if self.never(matched):
                return
            self.settle()
            number = self.tables.condition(matched)
            jumps = len(self.full), len(self.tail)
            self.emit("if", number, -1)
            self.depth += 1
        if location is not None:
            self.move(entry, location, following, space)
        repeat = entry.find("RepeatEntry")
        if repeat is not None:
            self.loop(entry, repeat, space)
        else:
            self.body(entry, space)
        if jumps is not None:
            self.settle()
            self.depth -= 1
            self.full[jumps[0]] = ("if", number, len(self.full))
            self.tail[jumps[1]] = ("if", number, len(self.tail))
            self.bit = None

    def loop(self, entry: Element, repeat: Element, space: Space) -> None:
        self.document.expect(repeat, "Count", "Offset")
        count, gap = repeat.find("Count"), repeat.find("Offset")
        if count is None:
            self.document.fail(repeat, "RepeatEntry has no Count")
        counted = self.parameters.conditions.integer(count, space)
        gapped = self.parameters.conditions.integer(gap, space) if gap is not None else Expression(0)
        if gap is not None and gap.get("offsetSizeInBits", "1") != "1":
            self.document.fail(gap, "an Offset in units of several bits is not supported", 'offsetSizeInBits="1", or none')
        begin = self.bit
        self.settle()
        self.begin_loop(counted)
        self.body(entry, space)
        self.end_loop(gapped)
        size = self.size_of(entry, space)
        if None not in (begin, size, counted.constant, gapped.constant):
            times = max(counted.constant or 0, 0)
            self.bit = (begin or 0) + times * (size or 0) + max(times - 1, 0) * (gapped.constant or 0)

    def body(self, entry: Element, space: Space) -> None:
        if len(self.full) > INSTRUCTIONS_MAX:
            self.document.fail(entry, f"the container takes more than {INSTRUCTIONS_MAX} instructions")
        self.at = entry
        if entry.tag == "ContainerRefEntry":
            self.container(entry, space)
            return
        path, kind = self.parameter_of(entry, space)
        sizes: tuple[Expression, ...] = ()
        if isinstance(kind, Array):
            listed = entry.find("DimensionList")
            sizes = self.parameters.types.dimensions(listed, space) if listed is not None else kind.sizes
            if len(sizes) != kind.dimensions:
                self.document.fail(
                    entry,
                    f"'{path}' has {kind.dimensions} dimensions, {len(sizes)} sizes are given",
                    "a DimensionList in the type or in an ArrayParameterRefEntry",
                )
        shape = self.shapes.get(path)
        if shape is None:
            domain = 0
            if path in self.repeated:
                domain = self.lists[path] = self.new_domain(0)
            shape = self.shapes[path] = self.shape(path, kind, path.rpartition("/")[2], domain)
        if path in self.lists:
            self.emit("item", self.lists[path])
        self.read(shape, kind, path, sizes)

    def container(self, entry: Element, space: Space) -> None:
        chain = self.chain_of(entry, space)
        element = chain[-1][0]
        if len(self.starts) > NESTING_MAX:
            self.document.fail(entry, f"containers are nested more than {NESTING_MAX} deep, or in a circle")
        encoding = element.find("BinaryEncoding")
        size, number = None, -1
        if encoding is not None:
            bits = encoding.find("SizeInBits")
            self.document.expect(encoding, "SizeInBits")
            if bits is None:
                self.document.fail(encoding, "BinaryEncoding has no SizeInBits")
            expression = self.parameters.conditions.integer(bits, chain[-1][1])
            size, number = expression.constant, self.tables.expression(expression)
        begin = self.bit
        self.settle()
        self.emit("enter", number)
        self.starts.append(begin)
        for part, part_space in chain:
            self.entries(part, part_space)
        self.starts.pop()
        self.settle()
        self.emit("leave")
        if number >= 0:
            self.bit = begin + size if begin is not None and size is not None else None

    # -- values --------------------------------------------------------------------------------------------------------
    def new_domain(self, parent: int) -> int:
        self.domains.append(parent)
        return len(self.domains) - 1

    def shape(self, path: str, kind: Type, name: str, domain: int) -> Column:
        if isinstance(kind, Field):
            self.scalars.append((self.number_of(path, kind), domain, domain == 0 and self.depth > 0))
            return Column(name, domain, len(self.scalars) - 1)
        if isinstance(kind, Array):
            return self.array_shape(path, kind, name, domain, kind.dimensions)
        members = tuple(self.shape(f"{path}/{member}", inner, member, domain) for member, inner in kind.members)
        return Column(name, domain, members=members)

    def array_shape(self, path: str, kind: Array, name: str, domain: int, dimensions: int) -> Column:
        inner = self.new_domain(domain)
        item = (
            self.array_shape(path, kind, "item", inner, dimensions - 1)
            if dimensions > 1
            else self.shape(path, kind.item, "item", inner)
        )
        return Column(name, domain, list_domain=inner, members=(item,))

    def read(self, shape: Column, kind: Type, path: str, sizes: tuple[Expression, ...]) -> None:
        if isinstance(kind, Field):
            self.read_scalar(shape.scalar)
        elif isinstance(kind, Aggregate):
            for part, (member, inner) in zip(shape.members, kind.members, strict=True):
                if isinstance(inner, Array) and not inner.sizes:
                    self.document.fail(self.at, f"array member '{path}/{member}' has no DimensionList")
                self.read(part, inner, f"{path}/{member}", inner.sizes if isinstance(inner, Array) else ())
        else:
            self.read_array(shape, kind, path, sizes)

    def read_array(self, shape: Column, kind: Array, path: str, sizes: tuple[Expression, ...]) -> None:
        begin, size = self.bit, type_size(kind, sizes)
        item = shape.members[0]
        domain = shape.list_domain
        self.settle()
        if len(sizes) == 1 and isinstance(kind.item, Field) and path not in self.parameters.slots and not varies(kind.item):
            self.emit("run", domain, self.scalars[item.scalar][0], item.scalar, self.tables.expression(sizes[0]))
            self.bit = None
        else:
            self.begin_loop(sizes[0])
            self.emit("item", domain)
            if len(sizes) > 1:
                self.read_array(item, kind, path, sizes[1:])
            else:
                self.read(item, kind.item, path, kind.item.sizes if isinstance(kind.item, Array) else ())
            self.end_loop(Expression(0))
        self.bit = begin + size if begin is not None and size is not None else None

    def read_scalar(self, scalar: int) -> None:
        number, domain, _ = self.scalars[scalar]
        field = self.tables.fields[number]
        if field.calibrators:
            self.check_operands(field)
        size = field_size(field)
        at = self.known_bit()
        self.full.append(("read", number, scalar, at))
        known = at >= 0 and self.depth == 0
        self.sites[field.path] = (number, at if known and size is not None and not field.needs_others else -1)
        if known and size is not None and domain == 0 and not varies(field):
            self.fixed.append((scalar, at))
            self.fixed_bits = max(self.fixed_bits, at + size)
        # Of what is fixed the tail keeps what somebody needs the slot of: see compiler.pruned().
        self.tail.append(self.full[-1])
        self.bit = at + size if at >= 0 and size is not None else None

    def check_operands(self, field: Field) -> None:
        """That what a calibrator takes from other parameters is there by then, if it is in the packet."""
        for operand in field.operands:
            path = self.parameters.slot_paths[operand.slot]
            if path not in self.sites:
                self.document.fail(
                    self.at,
                    f"'{field.path}' is calibrated with '{path}', which is not decoded before it here",
                    "entries are decoded in their order: put its entry before this one",
                )
