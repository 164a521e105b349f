"""Container entries as such: what they refer to, how large they are, which of them occur.

`Entries` answers what can be said without knowing where an entry is; layout.py goes on from there. Tables number what a
definition's layouts share.
"""

from __future__ import annotations

from lxml import etree

from streams.definitions.document import Space, children, first, tag
from streams.definitions.model import Condition, Expression, Field
from streams.definitions.parameters import Aggregate, Array, Parameters, Type

__all__ = ["NESTING_MAX", "Chain", "Entries", "Tables", "field_size", "type_size", "varies"]

NESTING_MAX = 32  # of containers in containers, loops in loops; framecodec.plan reserves as many
ENTRIES = ("ParameterRefEntry", "ContainerRefEntry", "ArrayParameterRefEntry")
Chain = list[tuple[etree._Element, Space]]


class Tables:
    """Fields, conditions and expressions of a whole definition, each once."""

    def __init__(self) -> None:
        self.fields: dict[Field, int] = {}
        self.listed: list[Field] = []  # the same by number
        self.conditions: dict[Condition, int] = {}
        self.expressions: dict[Expression, int] = {}

    def field(self, field: Field) -> int:
        number = self.fields.get(field)
        if number is None:
            number = self.fields[field] = len(self.listed)
            self.listed.append(field)
        return number

    def condition(self, condition: Condition) -> int:
        return self.conditions.setdefault(condition, len(self.conditions))

    def expression(self, expression: Expression) -> int:
        return self.expressions.setdefault(expression, len(self.expressions))


class Entries:
    """Look-ups, each done once, because heirs repeat what their bases hold."""

    def __init__(self, parameters: Parameters, tables: Tables) -> None:
        self.parameters, self.document, self.tables = parameters, parameters.document, tables
        self.entered: dict[etree._Element, tuple[str, Type]] = {}
        self.located: dict[tuple[str, int], Field] = {}
        self.numbers: dict[int, int] = {}  # by identity; `located` keeps them
        self.present: set[str] = set()  # paths of all parameters in the chain at hand

    def entry_list(self, container: etree._Element) -> list[etree._Element]:
        self.document.expect(
            container, "EntryList", "BaseContainer", "BinaryEncoding", "DefaultRateInStream", "RateInStreamSet"
        )
        listed = first(container, "EntryList")
        if listed is None:
            return []
        self.document.expect(listed, *ENTRIES)
        return [entry for entry in children(listed) if tag(entry) in ENTRIES]

    def needed_size(self, entry: etree._Element, space: Space, at: etree._Element) -> int:
        size = self.size_of(entry, space)
        if size is None:
            self.document.fail(at, "an entry placed from behind needs a size that does not change")
        return size

    def parameter_of(self, entry: etree._Element, space: Space) -> tuple[str, Type]:
        known = self.entered.get(entry)
        if known is None:
            known = self.entered[entry] = self.look_up(entry, space)
        return known

    def field_at(self, kind: Field, path: str) -> Field:
        """The field of a parameter, which shares everything but the path with others of its type."""
        known = self.located.get((path, id(kind)))
        if known is None:
            known = Field(
                path, kind.kind, kind.encoding, kind.unit, kind.calibrators, kind.labels, kind.time, kind.is_number_as_text
            )
            self.located[path, id(kind)] = known
        return known

    def number_of(self, field: Field) -> int:
        number = self.numbers.get(id(field))
        if number is None:
            number = self.numbers[id(field)] = self.tables.field(field)
        return number

    def look_up(self, entry: etree._Element, space: Space) -> tuple[str, Type]:
        path, kind, members = self.parameters.find(self.document.attribute(entry, "parameterRef"), space, entry)
        if members:
            self.document.fail(entry, f"'{path}' can only be put into a container as a whole")
        if (bare := without_encoding(kind)) is not None:
            self.document.fail(entry, f"'{path}' has no data encoding and cannot be in a packet", f"see type {bare}")
        return path, kind

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
