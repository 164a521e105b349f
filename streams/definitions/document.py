"""An XTCE file as read: space systems, names, and errors that say where.

    document = Document(path)
    space, element = document.find("containers", "../CCSDSPacket", space, at=element)

Names are resolved as XTCE does: `/` begins at the root, `.` and `..` walk, a plain name is looked for in its own space
system and then in each one above. Nothing is checked before somebody asks for it, because a definition may hold broken
elements that nothing in use refers to. Elements are those of the standard library, their tags without namespaces: 1.1, 1.2
and 1.3 differ in nothing else here. Lines and XPaths are worked out when an error needs them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.parsers import expat

from streams.definitions.attributes import ATTRIBUTES, misspelt
from streams.errors import DefinitionError, nearest

__all__ = ["Document", "Element", "Space"]

# What may stand in any element and never changes a value.
DOCUMENTATION = frozenset({"LongDescription", "ShortDescription", "AliasSet", "AncillaryDataSet"})
NO_ATTRIBUTES: frozenset[str] = frozenset()


class Space:
    """One SpaceSystem and what it declares, by name."""

    def __init__(self, element: Element, parent: Space | None) -> None:
        self.element, self.parent = element, parent
        self.name = element.get("name", "")
        self.path: str = f"{parent.path if parent else ''}/{self.name}"
        self.spaces: dict[str, Space] = {}
        self.parameters: dict[str, Element] = {}
        self.types: dict[str, Element] = {}
        self.containers: dict[str, Element] = {}
        for child in element:
            if child.tag == "SpaceSystem":
                self.spaces.setdefault(child.get("name", ""), Space(child, self))
            elif child.tag in ("TelemetryMetaData", "CommandMetaData"):
                self.declare(child)

    def declare(self, metadata: Element) -> None:
        sets = {"ParameterTypeSet": self.types, "ParameterSet": self.parameters, "ContainerSet": self.containers}
        for group in metadata:
            declared = sets.get(group.tag)
            if declared is not None:
                for element in group:
                    # A ParameterRef makes a parameter of another space system one of this one, under its own name.
                    name = element.get("name") or element.get("parameterRef", "").rpartition("/")[2]
                    declared.setdefault(name, element)

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
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise DefinitionError(f"cannot be read: {error.strerror}", file=self.file) from error
        try:
            self.tree = ElementTree.fromstring(self.data)
        except ElementTree.ParseError as error:
            what = f"no well-formed XML: {expat.ErrorString(error.code)}"
            raise DefinitionError(what, file=self.file, line=max(error.position[0], 1)) from error
        except (LookupError, ValueError) as error:  # an encoding that Python does not know, or one that is not 8 bits wide
            raise DefinitionError(f"no well-formed XML: {error}", file=self.file, line=1) from error
        self.is_xtce_1_1 = self.tree.tag.startswith("{http://www.omg.org/space/xtce}")
        local: dict[str, str] = {}
        for element in self.tree.iter():
            name = element.tag
            element.tag = local.get(name) or local.setdefault(name, name.rpartition("}")[2])
        if self.tree.tag != "SpaceSystem":
            self.fail(self.tree, f"the root element is '{self.tree.tag}'", "XTCE files begin with SpaceSystem")
        if "include" in local.values():
            self.fail(next(self.tree.iter("include")), "XInclude is not supported", "xmllint --xinclude makes it one file")
        self.attribute(self.tree, "name")
        self.root = Space(self.tree, None)

    def fail(self, element: Element, what: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.file, line=self.line(element), path=self.xpath(element), hint=hint)

    def line(self, element: Element) -> int | None:
        """Where its start tag begins."""
        return self.lines.get(element)

    @cached_property
    def lines(self) -> dict[Element, int]:
        """Of every element: the file is read again, which costs the one who made a mistake."""
        parser, found = expat.ParserCreate(), list[int]()
        parser.StartElementHandler = lambda _name, _attributes: found.append(parser.CurrentLineNumber)
        parser.Parse(self.data, True)
        return dict(zip(self.tree.iter(), found, strict=True))

    @cached_property
    def parents(self) -> dict[Element, Element]:
        return {child: parent for parent in self.tree.iter() for child in parent}

    def xpath(self, element: Element) -> str:
        """Where an element is, by names where there are names and by number where not."""
        steps = []
        node: Element | None = element
        while node is not None:
            step, name, parent = node.tag, node.get("name"), self.parents.get(node)
            if name is not None:
                step += f"[@name='{name}']"
            elif parent is not None:
                same = parent.findall(node.tag)
                if len(same) > 1:
                    step += f"[{same.index(node) + 1}]"
            steps.append(step)
            node = parent
        return "/" + "/".join(reversed(steps))

    def expect(self, element: Element, *known: str) -> None:
        """DefinitionError for a child element that is not among `known`, and for a misspelt attribute: nothing is skipped."""
        names = ATTRIBUTES.get(element.tag, NO_ATTRIBUTES)
        for name in element.keys():  # noqa: SIM118  an Element iterates over its children
            if name not in names and (meant := misspelt(element.tag, name)):
                self.fail(element, f"{element.tag} has no attribute {name}", f"did you mean {meant}?")
        for child in element:
            if child.tag not in known and child.tag not in DOCUMENTATION:
                guess = nearest(child.tag, known)
                self.fail(
                    child,
                    f"{child.tag} in {element.tag} is not supported",
                    f"did you mean {guess}?" if guess else f"known here: {', '.join(known) or 'nothing'}",
                )

    def attribute(self, element: Element, name: str) -> str:
        value = element.get(name)
        if value is None:
            self.fail(element, f"{element.tag} has no {name}")
        return value

    def integer(self, element: Element, text: str | None, low: int | None = None, high: int | None = None) -> int:
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

    def real(self, element: Element, text: str | None) -> float:
        try:
            number = float((text or "").strip())
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            self.fail(element, f"'{(text or '').strip()}' is no number")
        return number

    def resolve(self, group: str, reference: str, space: Space) -> tuple[Space, Element] | None:
        """The declaration that `reference` names when it stands in `space`, or None. `group` is an attribute of Space."""
        start: Space | None = space
        if "/" not in reference:
            name = reference.strip()
            while start is not None:
                element = getattr(start, group).get(name)
                if element is not None:
                    return start, element
                start = start.parent
            return None
        *steps, name = reference.strip().split("/")
        if steps[0] == "":
            if len(steps) < 2 or steps[1] != self.root.name:
                return None
            start, steps = self.root, steps[2:]
        while start is not None:
            found = start.walk(steps)
            if found is not None and name in getattr(found, group):
                return found, getattr(found, group)[name]
            start = start.parent
        return None

    def find(self, group: str, reference: str, space: Space, at: Element) -> tuple[Space, Element]:
        """The same; DefinitionError at element `at` where there is none."""
        found = self.resolve(group, reference, space)
        if found is None:
            names = [name for any_space in self.root.every() for name in getattr(any_space, group)]
            guess = nearest(reference.rpartition("/")[2], names)
            self.fail(at, f"there is no {group[:-1]} '{reference}' here", f"did you mean {guess}?" if guess else None)
        return found
