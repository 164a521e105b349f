"""From an XTCE document to a Definition: the inheritance tree below one root container, each container with its layout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streams.definitions.document import Document, Element, Space
from streams.definitions.entries import Chain, Tables
from streams.definitions.layout import LayoutBuilder
from streams.definitions.model import (
    Comparison,
    Condition,
    Container,
    Definition,
    Field,
    Instruction,
    Layout,
    Node,
)
from streams.definitions.parameters import Parameters
from streams.errors import nearest

__all__ = ["Compiler", "compile_document"]

NODES_MAX = 20_000
DEPTH_MAX = 64
APID_BIT, APID_BITS = 5, 11  # CCSDS 133.0-B-2 4.1.3.3.4


def compile_document(document: Document, container: str | None) -> Definition:
    return Compiler(document).compile(container)


class Compiler:
    """`attempt` calls what may fail on its own: whoever wants all mistakes (survey.py) notes them and goes on."""

    def __init__(self, document: Document, attempt: Callable[[Callable[[], object]], object] = lambda step: step()) -> None:
        self.document = document
        self.parameters, self.tables = Parameters(document), Tables()
        self.builder = LayoutBuilder(self.parameters, self.tables)
        self.declared = [(space, element) for space in document.root.every() for element in space.containers.values()]
        self.heirs: dict[Element, list[tuple[Space, Element]]] = {}
        for space, element in self.declared:
            attempt(partial(self.inherit, space, element))
        self.nodes: list[Node | None] = []
        self.layouts: list[Layout] = []
        self.containers: list[Container] = []
        self.apids: set[int] = set()

    def compile(self, container: str | None) -> Definition:
        space, root = self.root(container)
        self.node([(root, space)], ())
        fields = tuple(self.tables.fields)
        slots = self.parameters.slots
        layouts = tuple(pruned(layout, fields, slots) for layout in self.layouts)
        return Definition(
            file=self.document.file,
            name=self.document.root.name,
            root=f"{space.path}/{root.get('name')}",
            containers=tuple(self.containers),
            fields=fields,
            conditions=tuple(self.tables.conditions),
            expressions=tuple(self.tables.expressions),
            layouts=layouts,
            nodes=tuple(node for node in self.nodes if node is not None),
            slots=dict(slots),
            apids=frozenset(self.apids),
        )

    def inherit(self, space: Space, element: Element) -> None:
        base = self.base(element)
        if base is not None:
            _, inherited = self.document.find("containers", self.document.attribute(base, "containerRef"), space, base)
            self.heirs.setdefault(inherited, []).append((space, element))

    def base(self, element: Element) -> Element | None:
        """The BaseContainer of a container. One that is misspelt would leave the container without heirs and unseen."""
        if element.tag != "SequenceContainer":
            self.document.fail(element, f"{element.tag} in ContainerSet is not supported", "SequenceContainer")
        for child in element:
            if child.tag != "BaseContainer" and nearest(child.tag, ["BaseContainer"]):
                self.document.fail(child, f"{child.tag} in SequenceContainer is not supported", "did you mean BaseContainer?")
        return element.find("BaseContainer")

    def root(self, container: str | None) -> tuple[Space, Element]:
        """The container named, else the one without a base that has the most heirs."""
        if container is not None:
            named = [(s, e) for s, e in self.declared if container in (f"{s.path}/{e.get('name')}", e.get("name"))]
            if not named:
                guess = nearest(
                    container, [name for s, e in self.declared for name in (f"{s.path}/{e.get('name')}", e.get("name", ""))]
                )
                self.document.fail(
                    self.document.root.element,
                    f"there is no container '{container}'",
                    f"did you mean {guess}?" if guess else None,
                )
            return named[0]
        candidates = [(self.count_heirs(e, 0), s, e) for s, e in self.declared if e.find("BaseContainer") is None]
        if not candidates:
            self.document.fail(
                self.document.root.element,
                "there is no SequenceContainer without a BaseContainer",
                "one of them must be where decoding starts",
            )
        _, space, element = max(candidates, key=lambda candidate: candidate[0])
        return space, element

    def count_heirs(self, element: Element, depth: int) -> int:
        if depth > DEPTH_MAX:
            return 0
        return sum(1 + self.count_heirs(heir, depth + 1) for _, heir in self.heirs.get(element, ()))

    def node(self, chain: Chain, condition: Condition) -> int:
        """Compile a container and everything below it; returns its number."""
        element, space = chain[-1]
        if len(chain) > DEPTH_MAX or len(self.nodes) >= NODES_MAX:
            self.document.fail(element, "containers inherit in a circle, or there are too many")
        number, layout = len(self.nodes), len(self.layouts)
        self.nodes.append(None)
        below = [(heir, owner, self.criteria(heir, owner)) for owner, heir in self.heirs.get(element, ())]
        self.layouts.append(self.builder.build(chain))
        sites = dict(self.builder.sites)
        container = -1
        if element.get("abstract", "false").strip() not in ("true", "1"):
            container = len(self.containers)
            name = element.get("name", "")
            self.containers.append(Container(container, name, f"{space.path}/{name}", layout))
        loads = self.loads([test for _, _, test in below], sites)
        self.note_apids([test for _, _, test in below], sites)
        numbers = tuple(self.node([*chain, (heir, owner)], test) for heir, owner, test in below)
        self.nodes[number] = Node(container, layout, condition, numbers, loads)
        return number

    def criteria(self, element: Element, space: Space) -> Condition:
        base = element.find("BaseContainer")
        assert base is not None
        self.document.expect(base, "RestrictionCriteria")
        restriction = base.find("RestrictionCriteria")
        return self.parameters.conditions.match(restriction, space) if restriction is not None else ()

    def loads(self, conditions: list[Condition], sites: dict[str, tuple[int, int]]) -> tuple[tuple[int, int, int], ...]:
        paths = self.parameters.slot_paths
        wanted = {
            slot
            for condition in conditions
            for test in condition
            if isinstance(test, Comparison)
            for slot in (test.slot, test.other)
            if slot >= 0
        }
        return tuple((slot, *sites[paths[slot]]) for slot in sorted(wanted) if paths[slot] in sites)

    def note_apids(self, conditions: list[Condition], sites: dict[str, tuple[int, int]]) -> None:
        fields = self.tables.fields
        places = {self.parameters.slots[path]: place for path, place in sites.items() if path in self.parameters.slots}
        for condition in conditions:
            for test in condition:
                if not isinstance(test, Comparison) or test.operator != "==" or not isinstance(test.value, int):
                    continue
                field, bit = places.get(test.slot, (-1, -1))
                if bit == APID_BIT and fields[field].encoding.size.constant == APID_BITS:
                    self.apids.add(test.value)


def pruned(layout: Layout, fields: tuple[Field, ...], slots: dict[str, int]) -> Layout:
    """Its tail without what is read column by column, but for slots that something asks for; empty if nothing else is in it."""
    fixed = {scalar for scalar, _ in layout.fixed}
    kept: list[Instruction] = []
    place: list[int] = []
    for instruction in layout.tail:
        place.append(len(kept))
        if instruction[0] == "read" and instruction[2] in fixed:
            _, number, _, bit = instruction
            if fields[int(number)].path in slots:
                kept.append(("load", number, bit))
        else:
            kept.append(instruction)
    place.append(len(kept))
    if all(instruction[0] in ("load", "seek", "save", "restore", "enter", "leave") for instruction in kept):
        kept = []
    moved = tuple(
        (*instruction[:2], place[int(instruction[2])]) if instruction[0] in ("if", "loop", "next") else instruction
        for instruction in kept
    )
    return Layout(
        layout.columns,
        layout.scalars,
        layout.domains,
        layout.fixed,
        layout.fixed_bits,
        moved,
        layout.full,
        layout.time_scalar,
        layout.time_code,
    )
