"""From a chain of containers to a Layout: columns, and instructions with every bit position that is known beforehand.

    builder = LayoutBuilder(containers, tables)
    layout = builder.build(chain)             # chain: the root container, its heir, ... , the container itself

Entries are walked in order with a position that is a number as long as nothing before it varies. What stands at a known
place in every packet becomes `fixed` (run column by column); everything else goes into `tail`. An entry placed from the
container's end is the previous entry for what follows it in the same container, but heirs go on where the base had been
before it (XTCE leaves this open; every definition with a trailer needs it so).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from lxml import etree

from streams.definitions.document import Space, children, first, tag
from streams.definitions.model import Column, Condition, Expression, Field, Instruction, Layout
from streams.definitions.packet_time import find_time
from streams.definitions.parameters import Aggregate, Array, Parameters, Type

__all__ = ["LayoutBuilder", "Tables"]

NESTING_MAX = 32  # of containers in containers, loops in loops; framecodec.plan reserves as many
INSTRUCTIONS_MAX = 200_000
ENTRIES = ("ParameterRefEntry", "ContainerRefEntry", "ArrayParameterRefEntry")
Chain = list[tuple[etree._Element, Space]]


class Tables:
    """Fields, conditions and expressions of a whole definition, each once."""

    def __init__(self) -> None:
        self.fields: dict[Field, int] = {}
        self.conditions: dict[Condition, int] = {}
        self.expressions: dict[Expression, int] = {}

    def field(self, field: Field) -> int:
        return self.fields.setdefault(field, len(self.fields))

    def condition(self, condition: Condition) -> int:
        return self.conditions.setdefault(condition, len(self.conditions))

    def expression(self, expression: Expression) -> int:
        return self.expressions.setdefault(expression, len(self.expressions))


@dataclass(slots=True)
class Shape:
    """Where the values of one parameter go: the mirror of its Column, with what the instructions need."""

    column: Column
    scalar: int = -1
    members: tuple[Shape, ...] = ()


class LayoutBuilder:
    def __init__(self, parameters: Parameters, tables: Tables) -> None:
        self.parameters, self.document, self.tables = parameters, parameters.document, tables

    # -- what the walk keeps -------------------------------------------------------------------------------------------
    def build(self, chain: Chain) -> Layout:
        self.full: list[Instruction] = []
        self.tail: list[Instruction] = []
        self.fixed: list[tuple[int, int]] = []
        self.fixed_bits = 0
        self.scalars: list[tuple[int, int, bool]] = []
        self.domains = [-1]
        self.shapes: dict[str, Shape] = {}
        self.columns: dict[str, Column] = {}
        self.open_loops: list[tuple[int, int, int]] = []
        self.lists: dict[str, int] = {}  # parameter that occurs repeatedly: its list's domain
        self.sites: dict[str, tuple[int, int]] = {}  # scalar path: field and bit (-1 unknown) of its last occurrence
        self.bit: int | None = 0  # where the next entry begins, if that is known
        self.starts: list[int | None] = [0]
        self.depth = 0  # of conditions and loops
        self.loops = 0
        self.present: set[str] = set()  # paths of all parameters in the chain
        self.repeated = self.occurring_repeatedly(chain)
        for element, space in chain:
            self.entries(element, space)
        names = self.names()
        columns = tuple(replace(column, name=names[path]) for path, column in self.columns.items())
        time_scalar, time_code = find_time(self.fixed, self.scalars, list(self.tables.fields))
        if len(self.full) > INSTRUCTIONS_MAX:
            self.document.fail(chain[-1][0], f"the container has more than {INSTRUCTIONS_MAX} instructions")
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

    def names(self) -> dict[str, str]:
        """Bare names, or paths where two would clash."""
        bare: dict[str, int] = {}
        for path in self.shapes:
            name = path.rpartition("/")[2]
            bare[name] = bare.get(name, 0) + 1
        return {path: name if bare[name := path.rpartition("/")[2]] == 1 else path for path in self.shapes}

    def emit(self, *instruction: str | int) -> None:
        self.full.append(instruction)
        self.tail.append(instruction)

    def settle(self) -> None:
        """Make the run-time position agree with a known one, before something that moves it by what it finds."""
        if self.bit is not None:
            self.emit("seek", self.bit)

    # -- entries -------------------------------------------------------------------------------------------------------
    def entry_list(self, container: etree._Element) -> list[etree._Element]:
        self.document.expect(
            container, "EntryList", "BaseContainer", "BinaryEncoding", "DefaultRateInStream", "RateInStreamSet"
        )
        listed = first(container, "EntryList")
        if listed is None:
            return []
        self.document.expect(listed, *ENTRIES)
        return [entry for entry in children(listed) if tag(entry) in ENTRIES]

    def entries(self, container: etree._Element, space: Space) -> None:
        entries = self.entry_list(container)
        resume: tuple[int | None] | None = None
        for index, entry in enumerate(entries):
            following = entries[index + 1] if index + 1 < len(entries) else None
            self.document.expect(entry, "LocationInContainerInBits", "RepeatEntry", "IncludeCondition", "DimensionList")
            location = first(entry, "LocationInContainerInBits")
            from_end = location is not None and location.get("referenceLocation") == "containerEnd"
            if from_end and resume is None:
                self.settle()
                self.emit("save")
                resume = (self.bit,)
            self.entry(entry, space, location, following)
        if resume is not None:
            self.emit("restore")
            self.bit = resume[0]

    def entry(
        self, entry: etree._Element, space: Space, location: etree._Element | None, following: etree._Element | None
    ) -> None:
        condition = first(entry, "IncludeCondition")
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
        repeat = first(entry, "RepeatEntry")
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

    def loop(self, entry: etree._Element, repeat: etree._Element, space: Space) -> None:
        self.document.expect(repeat, "Count", "Offset")
        count, gap = first(repeat, "Count"), first(repeat, "Offset")
        if count is None:
            self.document.fail(repeat, "RepeatEntry has no Count")
        counted = self.parameters.conditions.integer(count, space)
        gapped = self.parameters.conditions.integer(gap, space) if gap is not None else Expression(0)
        begin = self.bit
        self.settle()
        self.begin_loop(counted)
        self.body(entry, space)
        self.end_loop(gapped)
        size = self.size_of(entry, space)
        if None not in (begin, size, counted.constant, gapped.constant):
            times = max(counted.constant or 0, 0)
            self.bit = (begin or 0) + times * (size or 0) + max(times - 1, 0) * (gapped.constant or 0)

    def begin_loop(self, count: Expression) -> None:
        if self.loops >= NESTING_MAX:
            self.document.fail(self.document.root.element, f"more than {NESTING_MAX} repeats inside each other")
        self.open_loops.append((len(self.full), len(self.tail), self.tables.expression(count)))
        self.emit("loop", self.open_loops[-1][2], -1)
        self.depth += 1
        self.loops += 1
        self.bit = None

    def end_loop(self, gap: Expression) -> None:
        full, tail, count = self.open_loops.pop()
        number = self.tables.expression(gap)
        self.settle()
        self.full.append(("next", number, full + 1))
        self.tail.append(("next", number, tail + 1))
        self.full[full] = ("loop", count, len(self.full))
        self.tail[tail] = ("loop", count, len(self.tail))
        self.depth -= 1
        self.loops -= 1
        self.bit = None

    def move(self, entry: etree._Element, location: etree._Element, following: etree._Element | None, space: Space) -> None:
        """LocationInContainerInBits, XTCE 1.1: forwards it gives the entry's start, backwards the entry's end."""
        reference = location.get("referenceLocation", "previousEntry")
        offset = self.parameters.conditions.integer(location, space)
        if reference == "previousEntry":
            if self.bit is not None and offset.constant is not None:
                self.bit += offset.constant
            else:
                self.settle()
                self.emit("move_by", self.tables.expression(offset))
                self.bit = None
        elif reference == "containerStart":
            start = self.starts[-1]
            if start is not None and offset.constant is not None:
                self.bit = start + offset.constant
            else:
                self.emit("move_to", self.tables.expression(offset))
                self.bit = None
        elif reference == "containerEnd":
            size = self.needed_size(entry, space, location)
            self.emit("move_from_end", self.tables.expression(replace(offset, intercept=offset.intercept + size)))
            self.bit = None
        elif reference == "nextEntry":
            self.before_next(entry, location, following, space, offset)
        else:
            self.document.fail(
                location,
                f"referenceLocation '{reference}' is not known",
                "containerStart, containerEnd, previousEntry or nextEntry",
            )
        if self.bit is not None and self.bit < 0:
            self.document.fail(location, f"this entry would begin {-self.bit} bits before the container")

    def before_next(
        self,
        entry: etree._Element,
        location: etree._Element,
        following: etree._Element | None,
        space: Space,
        offset: Expression,
    ) -> None:
        where = first(following, "LocationInContainerInBits") if following is not None else None
        if following is None or where is None or where.get("referenceLocation") not in ("containerStart", "containerEnd"):
            self.document.fail(
                location,
                "nextEntry needs a next entry with a place of its own",
                "give the next entry a LocationInContainerInBits from containerStart or containerEnd",
            )
        distance = self.parameters.conditions.integer(where, space)
        if distance.constant is None or offset.constant is None:
            self.document.fail(location, "nextEntry with a distance that changes is not supported", "a FixedValue")
        size = self.needed_size(entry, space, location)
        if where.get("referenceLocation") == "containerStart":
            start = self.starts[-1]
            if start is not None:
                self.bit = start + distance.constant - offset.constant - size
            else:
                self.emit("move_to", self.tables.expression(Expression(distance.constant - offset.constant - size)))
                self.bit = None
        else:
            back = distance.constant + self.needed_size(following, space, where) + offset.constant + size
            self.emit("move_from_end", self.tables.expression(Expression(back)))
            self.bit = None

    def needed_size(self, entry: etree._Element, space: Space, at: etree._Element) -> int:
        size = self.size_of(entry, space)
        if size is None:
            self.document.fail(at, "an entry placed from behind needs a size that does not change")
        return size

    def body(self, entry: etree._Element, space: Space) -> None:
        if tag(entry) == "ContainerRefEntry":
            self.container(entry, space)
            return
        path, kind = self.parameter_of(entry, space)
        sizes: tuple[Expression, ...] = ()
        if isinstance(kind, Array):
            listed = first(entry, "DimensionList")
            sizes = self.parameters.dimensions(listed, space) if listed is not None else kind.sizes
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
            self.columns[path] = Column("", 0, list_domain=domain, members=(shape.column,)) if domain else shape.column
        if path in self.lists:
            self.emit("item", self.lists[path])
        self.read(shape, kind, path, sizes)

    def parameter_of(self, entry: etree._Element, space: Space) -> tuple[str, Type]:
        path, kind, members = self.parameters.find(self.document.attribute(entry, "parameterRef"), space, entry)
        if members:
            self.document.fail(entry, f"'{path}' can only be put into a container as a whole")
        if (bare := without_encoding(kind)) is not None:
            self.document.fail(entry, f"'{path}' has no data encoding and cannot be in a packet", f"see type {bare}")
        return path, kind

    def container(self, entry: etree._Element, space: Space) -> None:
        chain = self.chain_of(entry, space)
        element = chain[-1][0]
        if len(self.starts) > NESTING_MAX:
            self.document.fail(entry, f"containers are nested more than {NESTING_MAX} deep, or in a circle")
        encoding = first(element, "BinaryEncoding")
        size, number = None, -1
        if encoding is not None:
            bits = first(encoding, "SizeInBits")
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

    def chain_of(self, entry: etree._Element, space: Space) -> Chain:
        """The container that an entry includes, after what it is based on."""
        owner, element = self.document.find("containers", self.document.attribute(entry, "containerRef"), space, entry)
        chain = [(element, owner)]
        while (base := first(chain[0][0], "BaseContainer")) is not None:
            owner, element = self.document.find("containers", self.document.attribute(base, "containerRef"), chain[0][1], base)
            if len(chain) > NESTING_MAX:
                self.document.fail(base, "BaseContainer leads in a circle")
            chain.insert(0, (element, owner))
        return chain

    # -- values --------------------------------------------------------------------------------------------------------
    def new_domain(self, parent: int) -> int:
        self.domains.append(parent)
        return len(self.domains) - 1

    def shape(self, path: str, kind: Type, name: str, domain: int) -> Shape:
        if isinstance(kind, Aggregate):
            members = tuple(self.shape(f"{path}/{member}", inner, member, domain) for member, inner in kind.members)
            return Shape(Column(name, domain, members=tuple(part.column for part in members)), members=members)
        if isinstance(kind, Array):
            return self.array_shape(path, kind, name, domain, kind.dimensions)
        number = self.tables.field(replace(kind, path=path))
        self.scalars.append((number, domain, domain == 0 and self.depth > 0))
        return Shape(Column(name, domain, scalar=len(self.scalars) - 1), scalar=len(self.scalars) - 1)

    def array_shape(self, path: str, kind: Array, name: str, domain: int, dimensions: int) -> Shape:
        inner = self.new_domain(domain)
        item = (
            self.array_shape(path, kind, "item", inner, dimensions - 1)
            if dimensions > 1
            else self.shape(path, kind.item, "item", inner)
        )
        return Shape(Column(name, domain, list_domain=inner, members=(item.column,)), members=(item,))

    def read(self, shape: Shape, kind: Type, path: str, sizes: tuple[Expression, ...]) -> None:
        if isinstance(kind, Aggregate):
            for part, (member, inner) in zip(shape.members, kind.members, strict=True):
                if isinstance(inner, Array) and not inner.sizes:
                    self.document.fail(self.document.root.element, f"array member '{path}/{member}' has no DimensionList")
                self.read(part, inner, f"{path}/{member}", inner.sizes if isinstance(inner, Array) else ())
        elif isinstance(kind, Array):
            self.read_array(shape, kind, path, sizes)
        else:
            self.read_scalar(replace(kind, path=path), shape.scalar)

    def read_array(self, shape: Shape, kind: Array, path: str, sizes: tuple[Expression, ...]) -> None:
        begin, size = self.bit, type_size(kind, sizes)
        item = shape.members[0]
        domain = shape.column.list_domain
        self.settle()
        if len(sizes) == 1 and isinstance(kind.item, Field) and path not in self.parameters.slots and not varies(kind.item):
            number = self.tables.field(replace(kind.item, path=path))
            self.emit("run", domain, number, item.scalar, self.tables.expression(sizes[0]))
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

    def read_scalar(self, field: Field, scalar: int) -> None:
        number = self.tables.field(field)
        size = field_size(field)
        at = -1 if self.bit is None else self.bit
        self.full.append(("read", number, scalar, at))
        known = at >= 0 and self.depth == 0
        self.sites[field.path] = (number, at if known and size is not None else -1)
        if known and size is not None and self.scalars[scalar][1] == 0 and not varies(field):
            self.fixed.append((scalar, at))
            self.fixed_bits = max(self.fixed_bits, at + size)
            self.tail.append(("load", number, at))  # dropped again where nobody needs the slot
        else:
            self.tail.append(("read", number, scalar, at))
        self.bit = at + size if at >= 0 and size is not None else None

    # -- static questions ----------------------------------------------------------------------------------------------
    def size_of(self, entry: etree._Element, space: Space) -> int | None:
        """The bits of an entry where they never change; None where they do. Not counting its repeats."""
        if tag(entry) == "ContainerRefEntry":
            return self.container_size(entry, space, 0)
        _, kind = self.parameter_of(entry, space)
        sizes: tuple[Expression, ...] = ()
        if isinstance(kind, Array):
            listed = first(entry, "DimensionList")
            sizes = self.parameters.dimensions(listed, space) if listed is not None else kind.sizes
        return type_size(kind, sizes)

    def container_size(self, entry: etree._Element, space: Space, depth: int) -> int | None:
        total = 0
        chain = self.chain_of(entry, space)
        bits = first(chain[-1][0], "BinaryEncoding")
        if bits is not None and (size := first(bits, "SizeInBits")) is not None:
            return self.parameters.conditions.integer(size, chain[-1][1]).constant
        for element, owner in chain:
            for inner in self.entry_list(element):
                if depth > NESTING_MAX or any(
                    first(inner, name) is not None for name in ("LocationInContainerInBits", "RepeatEntry", "IncludeCondition")
                ):
                    return None
                size_bits = (
                    self.container_size(inner, owner, depth + 1)
                    if tag(inner) == "ContainerRefEntry"
                    else self.size_of(inner, owner)
                )
                if size_bits is None:
                    return None
                total += size_bits
        return total

    def occurring_repeatedly(self, chain: Chain) -> set[str]:
        """Parameters that occur more than once, or inside a repeat: they become lists."""
        seen: set[str] = set()
        repeated: set[str] = set()

        def visit(parts: Chain, inside: bool, depth: int) -> None:
            for element, space in parts:
                for entry in self.entry_list(element):
                    again = inside or first(entry, "RepeatEntry") is not None
                    if tag(entry) == "ContainerRefEntry":
                        if depth > NESTING_MAX:
                            self.document.fail(entry, f"containers are nested more than {NESTING_MAX} deep, or in a circle")
                        visit(self.chain_of(entry, space), again, depth + 1)
                        continue
                    path, _ = self.parameter_of(entry, space)
                    if again or path in seen:
                        repeated.add(path)
                    seen.add(path)

        visit(chain, False, 0)
        self.present = seen
        return repeated

    def never(self, condition: Condition) -> bool:
        """Whether it can never hold, because it asks for parameters that are nowhere in this container."""
        paths = {slot: path for path, slot in self.parameters.slots.items()}
        stack: list[bool] = []
        for test in condition:
            if isinstance(test, tuple):
                operands = [stack.pop() for _ in range(test[1])]
                stack.append(any(operands) if test[0] == "and" else all(operands))
            else:
                asked = [paths[slot] for slot in (test.slot, test.other) if slot >= 0]
                stack.append(not all(self.is_present(path) for path in asked))
        return bool(stack) and stack[-1]

    def is_present(self, path: str) -> bool:
        """Also as a member of an aggregate."""
        while path:
            if path in self.present:
                return True
            path = path.rpartition("/")[0]
        return False


def without_encoding(kind: Type) -> str | None:
    """The type in `kind` that has no encoding, which only parameters of the ground have."""
    if isinstance(kind, Field):
        return kind.path if kind.encoding.kind == "none" else None
    inner = [member for _, member in kind.members] if isinstance(kind, Aggregate) else [kind.item]
    return next((found for part in inner if (found := without_encoding(part)) is not None), None)


def field_size(field: Field) -> int | None:
    coded = field.encoding
    size = coded.size.constant
    return None if size is None or size < 0 else size


def type_size(kind: Type, sizes: tuple[Expression, ...]) -> int | None:
    if isinstance(kind, Field):
        return field_size(kind)
    total = 0
    if isinstance(kind, Aggregate):
        for _, inner in kind.members:
            size = type_size(inner, inner.sizes if isinstance(inner, Array) else ())
            if size is None:
                return None
            total += size
        return total
    size = type_size(kind.item, kind.item.sizes if isinstance(kind.item, Array) else ())
    if size is None:
        return None
    for count in sizes:
        if count.constant is None:
            return None
        size *= max(count.constant, 0)
    return size


def varies(field: Field) -> bool:
    """Whether more than the bits of the field decide its value, or it is no number: then it is read packet by packet."""
    return (
        field.encoding.kind in ("string", "binary")
        or field.is_number_as_text
        or any(condition for condition, _ in field.calibrators)
        or (field.time is not None and field.time.offset_from >= 0)
    )
