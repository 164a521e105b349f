"""An XTCE file as read: space systems, names, and errors that say where.

    document = Document(path)
    space, element = document.find("containers", "../CCSDSPacket", space, at=element)

Names are resolved as XTCE does: `/` begins at the root, `.` and `..` walk, a plain name is looked for in its own space
system and then in each one above. Nothing is checked before somebody asks for it, because a definition may hold broken
elements that nothing in use refers to.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from lxml import etree

from streams.errors import DefinitionError, nearest

__all__ = ["Document", "Space", "children", "first", "tag"]

LOCAL_NAMES: dict[str, str] = {}  # a file has few of them and asks often
# What may stand in any element and never changes a value.
DOCUMENTATION = frozenset({"LongDescription", "ShortDescription", "AliasSet", "AncillaryDataSet"})


def tag(element: etree._Element) -> str:
    """The element's name without its namespace: 1.1, 1.2 and 1.3 differ in nothing else here."""
    name = element.tag
    if not isinstance(name, str):
        return ""
    local = LOCAL_NAMES.get(name)
    if local is None:
        local = LOCAL_NAMES[name] = name.rpartition("}")[2]
    return local


def children(element: etree._Element) -> Iterator[etree._Element]:
    """Child elements without comments."""
    return (child for child in element if isinstance(child.tag, str))


def first(element: etree._Element, *names: str) -> etree._Element | None:
    """The first child with one of these names."""
    if len(element) == 0:
        return None
    return next((child for child in children(element) if tag(child) in names), None)


class Space:
    """One SpaceSystem and what it declares, by name."""

    def __init__(self, element: etree._Element, parent: Space | None) -> None:
        self.element, self.parent = element, parent
        self.name = element.get("name", "")
        self.path: str = f"{parent.path if parent else ''}/{self.name}"
        self.spaces: dict[str, Space] = {}
        self.parameters: dict[str, etree._Element] = {}
        self.types: dict[str, etree._Element] = {}
        self.containers: dict[str, etree._Element] = {}
        for child in children(element):
            if tag(child) == "SpaceSystem":
                self.spaces.setdefault(child.get("name", ""), Space(child, self))
            elif tag(child) in ("TelemetryMetaData", "CommandMetaData"):
                self.declare(child)

    def declare(self, metadata: etree._Element) -> None:
        sets = {"ParameterTypeSet": self.types, "ParameterSet": self.parameters, "ContainerSet": self.containers}
        for group in children(metadata):
            declared = sets.get(tag(group))
            if declared is not None:
                for element in children(group):
                    declared.setdefault(element.get("name", ""), element)

    def walk(self, steps: list[str]) -> Space | None:
        space: Space | None = self
        for step in steps:
            if space is None:
                break
            if step == "..":
                space = space.parent
            elif step not in (".", ""):
                space = space.spaces.get(step)
        return space

    def every(self) -> Iterator[Space]:
        yield self
        for space in self.spaces.values():
            yield from space.every()


class Document:
    """The file at `path`; DefinitionError when it is no XML or no SpaceSystem."""

    def __init__(self, path: Path) -> None:
        self.file = str(path)
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        try:
            tree = etree.fromstring(path.read_bytes(), parser)
        except OSError as error:
            raise DefinitionError(f"cannot be read: {error.strerror}", file=self.file) from error
        except etree.XMLSyntaxError as error:
            raise DefinitionError(f"no well-formed XML: {error.msg}", file=self.file, line=error.lineno or 1) from error
        if tag(tree) != "SpaceSystem":
            raise DefinitionError(
                f"the root element is '{tag(tree)}'",
                file=self.file,
                line=line_of(tree),
                path=f"/{tag(tree)}",
                hint="XTCE files begin with SpaceSystem",
            )
        self.root = Space(tree, None)

    def fail(self, element: etree._Element, what: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.file, line=line_of(element), path=xpath(element), hint=hint)

    def expect(self, element: etree._Element, *known: str) -> None:
        """DefinitionError for a child element that is not among `known`: nothing is skipped in silence."""
        if len(element) == 0:
            return
        for child in children(element):
            if tag(child) not in known and tag(child) not in DOCUMENTATION:
                guess = nearest(tag(child), known)
                self.fail(
                    child,
                    f"{tag(child)} in {tag(element)} is not supported",
                    f"did you mean {guess}?" if guess else f"known here: {', '.join(known) or 'nothing'}",
                )

    def attribute(self, element: etree._Element, name: str) -> str:
        value = element.get(name)
        if value is None:
            self.fail(element, f"{tag(element)} has no {name}")
        return value

    def integer(self, element: etree._Element, text: str | None, low: int | None = None, high: int | None = None) -> int:
        """A whole number, also 0x…, inside [low, high]."""
        try:
            number = int((text or "").strip(), 0)
        except ValueError:
            try:
                number = int((text or "").strip())
            except ValueError:
                self.fail(element, f"'{(text or '').strip()}' is no whole number")
        if (low is not None and number < low) or (high is not None and number > high):
            self.fail(element, f"{number} is out of bounds", f"allowed: {low} to {high if high is not None else 'any'}")
        return number

    def real(self, element: etree._Element, text: str | None) -> float:
        try:
            return float((text or "").strip())
        except ValueError:
            self.fail(element, f"'{(text or '').strip()}' is no number")

    def resolve(self, group: str, reference: str, space: Space) -> tuple[Space, etree._Element] | None:
        """The declaration that `reference` names when it stands in `space`, or None. `group` is an attribute of Space."""
        *steps, name = reference.strip().split("/")
        starts: list[Space] = []
        if steps and steps[0] == "":
            if len(steps) > 1 and steps[1] == self.root.name:
                starts, steps = [self.root], steps[2:]
        else:
            start: Space | None = space
            while start is not None:
                starts.append(start)
                start = start.parent
        for start in starts:
            found = start.walk(steps)
            if found is not None and name in getattr(found, group):
                return found, getattr(found, group)[name]
        return None

    def find(self, group: str, reference: str, space: Space, at: etree._Element) -> tuple[Space, etree._Element]:
        """The same; DefinitionError at element `at` where there is none."""
        found = self.resolve(group, reference, space)
        if found is None:
            names = [name for any_space in self.root.every() for name in getattr(any_space, group)]
            guess = nearest(reference.rpartition("/")[2], names)
            self.fail(at, f"there is no {group[:-1]} '{reference}' here", f"did you mean {guess}?" if guess else None)
        return found


def line_of(element: etree._Element) -> int | None:
    line = element.sourceline
    return line if isinstance(line, int) else None


def xpath(element: etree._Element) -> str:
    """Where an element is, by names where there are names and by number where not."""
    steps = []
    node: etree._Element | None = element
    while node is not None:
        step, name, parent = tag(node), node.get("name"), node.getparent()
        if name is not None:
            step += f"[@name='{name}']"
        elif parent is not None:
            same = [child for child in children(parent) if tag(child) == step]
            if len(same) > 1:
                step += f"[{same.index(node) + 1}]"
        steps.append(step)
        node = parent
    return "/" + "/".join(reversed(steps))
