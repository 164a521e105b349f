"""XTCE parameters: from a name, as something refers to it, to a path and a type; and numbers for those that others depend on.

    path, kind, members = parameters.find("../Bus/MODE", space, at=entry)
    field = parameters.scalar("ATTITUDE/q1", space, at=comparison)
"""

from __future__ import annotations

from streams.definitions.conditions import Conditions
from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Field
from streams.definitions.types import Aggregate, Type, Types

__all__ = ["Parameters"]

CHAIN_MAX = 32  # of ParameterRefs that lead to each other


class Parameters:
    """All parameters of a document, compiled on demand."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.conditions = Conditions(document, self)
        self.types = Types(document, self.conditions)
        self.slots: dict[str, int] = {}
        self.slot_paths: list[str] = []  # the same by number

    def slot(self, path: str) -> int:
        """The number under which conditions know the parameter with this path."""
        number = self.slots.get(path)
        if number is None:
            number = self.slots[path] = len(self.slot_paths)
            self.slot_paths.append(path)
        return number

    def find(self, reference: str, space: Space, at: Element) -> tuple[str, Type, list[str]]:
        """Path and type of the parameter that `reference` names, and the members after it."""
        found, members = self.document.resolve("parameters", reference, space), list[str]()
        if found is None:
            found, members = self.with_members(reference.strip(), space)
        owner, element = found or self.document.find("parameters", reference, space, at)
        links = 0
        while element.tag == "ParameterRef":
            links += 1
            if links > CHAIN_MAX:
                self.document.fail(element, "ParameterRef leads in a circle")
            self.document.expect(element)
            owner, element = self.document.find("parameters", element.get("parameterRef", ""), owner, element)
        if element.tag != "Parameter":
            self.document.fail(element, f"{element.tag} in ParameterSet is not supported", "Parameter or ParameterRef")
        self.document.expect(element, "ParameterProperties")
        kind = self.types.compile(self.document.attribute(element, "parameterTypeRef"), owner, element)
        return f"{owner.path}/{element.get('name')}", kind, members

    def with_members(self, reference: str, space: Space) -> tuple[tuple[Space, Element] | None, list[str]]:
        """The same where the last steps name members of an aggregate: `a/b`, in XTCE 1.2 also `a.b`."""
        steps = reference.split("/")
        for end in range(len(steps) - 1, 0, -1):
            found = self.document.resolve("parameters", "/".join(steps[:end]), space) if steps[end - 1] else None
            if found is not None:
                return found, steps[end:]
        name, *members = steps[-1].split(".")
        return self.document.resolve("parameters", "/".join([*steps[:-1], name]), space), members

    def scalar(self, reference: str, space: Space, at: Element) -> Field:
        """The scalar that `reference` names, through members of aggregates; DefinitionError for anything else."""
        path, kind, members = self.find(reference, space, at)
        for member in members:
            inner = dict(kind.members).get(member) if isinstance(kind, Aggregate) else None
            if inner is None:
                self.document.fail(
                    at,
                    f"'{path}' has no member '{member}'",
                    f"it has {', '.join(dict(kind.members))}" if isinstance(kind, Aggregate) else "it is no aggregate",
                )
            path, kind = f"{path}/{member}", inner
        if not isinstance(kind, Field):
            self.document.fail(at, f"'{path}' is no single value", "name a member; elements of arrays cannot be referred to")
        return kind._replace(path=path)
