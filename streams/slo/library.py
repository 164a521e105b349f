"""All objects of all OpenSLO files by kind and name, so that one can refer to another; and what many kinds share."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from streams.errors import DefinitionError
from streams.slo.spans import UNIT_S
from streams.yamlfile import Node, suggestion

__all__ = [
    "DURATION", "LONGEST_S", "LONGEST_UNIT_S", "Library", "duration_s", "inline_or_found", "name_of", "optional_text",
    "refuse_longer", "zone",
]

T = TypeVar("T")
OPENSLO_KINDS = ("SLO", "SLI", "AlertPolicy", "AlertCondition", "AlertNotificationTarget", "Service", "DataSource")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._|/\\-]{0,253}[A-Za-z0-9])?")
# OpenSLO's duration shorthand: M Q Y are months, quarters and years, of no fixed length.
DURATION = re.compile(r"([1-9]\d{0,5})([mhdwMQY])")
LONGEST_UNIT_S = {**UNIT_S, "M": 31 * 86_400, "Q": 92 * 86_400, "Y": 366 * 86_400}
# Ten years: the database keeps minutes for one, and knows no time before 1970.
LONGEST_S = 10 * LONGEST_UNIT_S["Y"]


class Library:
    """All objects of all files by kind and name, so that one can refer to another."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[str, Node]] = {kind: {} for kind in (*OPENSLO_KINDS, "MaintenancePolicy")}

    def add(self, document: Node) -> None:
        """Notes the mistakes of a document that it cannot place."""
        document.attempt(lambda: self.place(document), None)

    def place(self, document: Node) -> None:
        document.allow("apiVersion", "kind", "metadata", "spec")
        version = document.need("apiVersion", "openslo/v1 or orbitrack/v1").choice(("openslo/v1", "orbitrack/v1"))
        known = OPENSLO_KINDS if version == "openslo/v1" else ("MaintenancePolicy",)
        kind = document.need("kind", f"one of {' '.join(known)}").choice(known)
        name = name_of(document)
        earlier = self.kinds[kind].get(name)
        if earlier:
            where = f"{earlier.file}:{earlier.line}"
            document.need("metadata").need("name").fail(f"the {kind} '{name}' is already defined in {where}")
        document.need("spec").mapping()
        self.kinds[kind][name] = document

    def read(self, kind: str, reader: Callable[[Node, Library], T]) -> list[T]:
        """What `reader` makes of every object of a kind, without those that it can make nothing of."""
        made: list[T] = []
        for document in self.kinds[kind].values():
            try:
                made.append(reader(document, self))
            except DefinitionError as error:
                document.mistakes.note(error)
        return made

    def find(self, kind: str, reference: Node) -> Node:
        name, known = reference.text(), self.kinds[kind]
        if name not in known:
            hint = suggestion(name, known) if known else f"give it inline, or add a document of kind {kind}"
            reference.fail(f"there is no {kind} '{name}'", hint)
        return known[name]


def name_of(document: Node) -> str:
    metadata = document.need("metadata")
    metadata.allow("name", "displayName", "labels", "annotations")
    name = metadata.need("name")
    if not NAME.fullmatch(name.text()):
        name.fail(f"'{name.value}' is not a name", "letters, digits and - . _ / between them, 255 at most")
    return name.text()


def optional_text(node: Node, key: str) -> str:
    found = node.get(key)
    return found.text() if found else ""


def inline_or_found(node: Node, inline: str, reference: str, kind: str, library: Library) -> Node:
    """The object itself, whether it stands here or is referred to."""
    if node.one_of(inline, reference) == inline:
        return node.need(inline)
    return library.find(kind, node.need(reference))


def zone(node: Node) -> str:
    try:
        ZoneInfo(node.text())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        node.fail(f"'{node.value}' is not a time zone", "a name of the IANA database, for example Europe/Stockholm")
    return node.text()


def duration_s(node: Node, *, bare_minutes: bool = False, zero: bool = False) -> int:
    """Seconds of a duration of fixed length; OpenSLO reads a bare number of a time slice as minutes."""
    text = str(node.value)
    if zero and re.fullmatch("0[mhdw]?", text):
        return 0
    match = DURATION.fullmatch(f"{text}m" if bare_minutes and text.isdecimal() else text)
    if not match or match[2] not in UNIT_S:
        node.fail(f"'{node.key}' cannot be {node.describe()}", "a number and one of m h d w, for example 5m")
    length_s = int(match[1]) * UNIT_S[match[2]]
    refuse_longer(node, length_s)
    return length_s


def refuse_longer(node: Node, length_s: int) -> None:
    if length_s > LONGEST_S:
        node.fail(f"'{node.key}' is longer than ten years")
