"""Container entries as such: what they refer to, how large they are, which of them occur.

`Entries` answers what can be said without knowing where an entry is; layout.py goes on from there. Tables number what a
definition's layouts share.
"""

from __future__ import annotations

from streams.definitions.document import Element, Space
from streams.definitions.model import Condition, Expression, Field
from streams.definitions.parameters import Parameters
from streams.definitions.types import Aggregate, Array, Type

__all__ = ["ENTRIES", "NESTING_MAX", "Chain", "Entries", "Tables", "field_size", "type_size", "varies"]

ENTRIES_MAX = 100_000  # of one container with all that it includes: containers in containers double quickly
BITS_MAX = 1 << 32  # where an entry can be: far more than a packet has, and sums of some stay inside int64
NESTING_MAX = 32  # of containers in containers, loops in loops; framecodec.plan reserves as many
EACH = ("LocationInContainerInBits", "RepeatEntry", "IncludeCondition")  # what any entry may hold
ENTRIES = ("ParameterRefEntry", "ContainerRefEntry", "ArrayParameterRefEntry")
Chain = list[tuple[Element, Space]]


class Tables:
    """Fields, conditions and expressions of a whole definition, by number."""

    def __init__(self) -> None:
        self.fields: list[Field] = []
        self.conditions: dict[Condition, int] = {}
        self.expressions: dict[Expression, int] = {}

    def field(self, field: Field) -> int:
        """The number of one that is not there yet."""
        self.fields.append(field)
        return len(self.fields) - 1

    def condition(self, condition: Condition) -> int:
        return self.conditions.setdefault(condition, len(self.conditions))

    def expression(self, expression: Expression) -> int:
        return self.expressions.setdefault(expression, len(self.expressions))


class Entries:
    """Look-ups, each done once, because heirs repeat what their bases hold."""

    def __init__(self, parameters: Parameters, tables: Tables) -> None:
        self.parameters, self.document, self.tables = parameters, parameters.document, tables
        self.listed: dict[Element, list[Element]] = {}
        self.sizes: dict[Element, int | None] = {}  # of containers; occurring_repeatedly() has seen that there are no circles
        self.entered: dict[Element, tuple[str, Type]] = {}
        self.numbers: dict[tuple[str, int], int] = {}  # by path and the type's identity
        self.present: set[str] = set()  # paths of all parameters in the chain at hand

    def entry_list(self, container: Element) -> list[Element]:
        known = self.listed.get(container)
        if known is None:
            known = self.listed[container] = self.list_entries(container)
        return known

    def list_entries(self, container: Element) -> list[Element]:
        self.document.expect(
            container, "EntryList", "BaseContainer", "BinaryEncoding", "DefaultRateInStream", "RateInStreamSet"
        )
        listed = container.find("EntryList")
        if listed is None:
            return []
        self.document.expect(listed, *ENTRIES)
        entries = [entry for entry in listed if entry.tag in ENTRIES]
        for entry in entries:
            self.check(entry)
        return entries

    def check(self, entry: Element) -> None:
        self.document.expect(entry, *(EACH if entry.tag != "ArrayParameterRefEntry" else (*EACH, "DimensionList")))

    def needed_size(self, entry: Element, space: Space, at: Element) -> int:
        size = self.size_of(entry, space)
        if size is None:
            self.document.fail(at, "an entry placed from behind needs a size that does not change")
        if size > BITS_MAX:
            self.document.fail(at, f"{size} bits are more than any packet has")
        return size

    def parameter_of(self, entry: Element, space: Space) -> tuple[str, Type]:
        known = self.entered.get(entry)
        if known is None:
            known = self.entered[entry] = self.look_up(entry, space)
        return known

    def number_of(self, path: str, kind: Field) -> int:
        """The number of a parameter's field, which shares everything but the path with others of its type."""
        number = self.numbers.get((path, id(kind)))
        if number is None:
            number = self.numbers[path, id(kind)] = self.tables.field(Field(path, *kind[1:]))
        return number

    def look_up(self, entry: Element, space: Space) -> tuple[str, Type]:
        path, kind, members = self.parameters.find(self.document.attribute(entry, "parameterRef"), space, entry)
        if members:
            self.document.fail(entry, f"'{path}' can only be put into a container as a whole")
        if (bare := without_encoding(path, kind)) is not None:
            self.document.fail(entry, f"'{bare}' has no data encoding and cannot be in a packet", "see type and baseType")
        return path, kind

    def chain_of(self, entry: Element, space: Space) -> Chain:
        """The container that an entry includes, after what it is based on."""
        owner, element = self.document.find("containers", self.document.attribute(entry, "containerRef"), space, entry)
        chain = [(element, owner)]
        while (base := chain[0][0].find("BaseContainer")) is not None:
            owner, element = self.document.find("containers", self.document.attribute(base, "containerRef"), chain[0][1], base)
            if len(chain) > NESTING_MAX:
                self.document.fail(base, "BaseContainer leads in a circle")
            chain.insert(0, (element, owner))
        return chain

    def size_of(self, entry: Element, space: Space) -> int | None:
        """The bits of an entry where they never change; None where they do. Not counting its repeats."""
        if entry.tag == "ContainerRefEntry":
            return self.container_size(entry, space)
        _, kind = self.parameter_of(entry, space)
        sizes: tuple[Expression, ...] = ()
        if isinstance(kind, Array):
            listed = entry.find("DimensionList")
            sizes = self.parameters.types.dimensions(listed, space) if listed is not None else kind.sizes
        return type_size(kind, sizes)

    def container_size(self, entry: Element, space: Space) -> int | None:
        chain = self.chain_of(entry, space)
        element = chain[-1][0]
        if element not in self.sizes:
            self.sizes[element] = self.add_sizes(chain)
        return self.sizes[element]

    def add_sizes(self, chain: Chain) -> int | None:
        bits = chain[-1][0].find("BinaryEncoding/SizeInBits")
        if bits is not None:
            return self.parameters.conditions.integer(bits, chain[-1][1]).constant
        total = 0
        for element, owner in chain:
            for inner in self.entry_list(element):
                size = None if any(inner.find(name) is not None for name in EACH) else self.size_of(inner, owner)
                if size is None:
                    return None
                total += size
        return total

    def occurring_repeatedly(self, chain: Chain) -> set[str]:
        """Parameters that occur more than once, or inside a repeat: they become lists."""
        seen: set[str] = set()
        repeated: set[str] = set()
        left = ENTRIES_MAX

        def visit(parts: Chain, inside: bool, depth: int) -> None:
            nonlocal left
            for element, space in parts:
                left -= len(self.entry_list(element))
                if left < 0:
                    self.document.fail(element, f"with what it includes it has more than {ENTRIES_MAX} entries")
                for entry in self.entry_list(element):
                    again = inside or entry.find("RepeatEntry") is not None
                    if entry.tag == "ContainerRefEntry":
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
        paths = self.parameters.slot_paths
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


def without_encoding(path: str, kind: Type) -> str | None:
    """The path of what has no encoding in `kind`, which only parameters of the ground have."""
    if isinstance(kind, Field):
        return path if kind.encoding.kind == "none" else None
    if isinstance(kind, Array):
        return without_encoding(path, kind.item)
    found = (without_encoding(f"{path}/{name}", member) for name, member in kind.members)
    return next((place for place in found if place is not None), None)


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
    return field.encoding.kind in ("string", "binary") or field.is_number_as_text or field.needs_others
