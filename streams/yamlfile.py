"""YAML with the place of everything, so that a mistake can be named by file, line and key path.

    for document in documents(text, "slo/link.yaml"):
        spec = document.get("spec", required=True)
        target = spec.get("target").number(minimum=0, below=1)
        spec.allow("target", "op")                 # a misspelt key is named with the nearest right one

A `Node` never returns a value of the wrong type: it raises DefinitionError. It does not know what the keys mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, NoReturn

import yaml

from streams.errors import DefinitionError, nearest

__all__ = ["Node", "documents", "suggestion"]

# The files are written by hand; deeper or larger means an alias to itself or one multiplied many times.
DEPTH_MAX = 24
NODES_MAX = 200_000


class Node:
    """One value of the file: a mapping and a list hold Nodes, anything else is a plain YAML scalar."""

    def __init__(self, value: Any, file: object, line: int, path: str) -> None:
        self.value, self.file, self.line, self.path = value, file, line, path

    def fail(self, what: str, hint: str | None = None) -> NoReturn:
        raise DefinitionError(what, file=self.file, line=self.line, path=self.path or None, hint=hint)

    def describe(self) -> str:
        """The value as an error message names it."""
        if self.value is None or self.value == "":
            return "nothing"
        if isinstance(self.value, dict):
            return "a mapping"
        return "a list" if isinstance(self.value, list) else f"'{self.value}'"

    @property
    def key(self) -> str:
        return self.path.rpartition(".")[2] or "the document"

    # Mappings

    def mapping(self) -> Mapping[str, Node]:
        if not isinstance(self.value, dict):
            self.fail(f"'{self.key}' must be a mapping, not {self.describe()}")
        return self.value

    def allow(self, *keys: str) -> None:
        """Fail on the first key that is not among these."""
        for key, node in self.mapping().items():
            if key not in keys:
                node.fail(f"unknown key '{key}'", suggestion(key, keys))

    def has(self, key: str) -> bool:
        return key in self.mapping()

    def get(self, key: str) -> Node | None:
        return self.mapping().get(key)

    def need(self, key: str, hint: str | None = None) -> Node:
        node = self.get(key)
        if node is None:
            self.fail(f"'{key}' is missing", hint)
        return node

    def one_of(self, *keys: str) -> str:
        """Which one of these keys is there; fails unless exactly one is."""
        there = [key for key in keys if self.has(key)]
        if len(there) == 1:
            return there[0]
        choice = " or ".join(f"'{key}'" for key in keys)
        if there:
            self.mapping()[there[1]].fail(f"'{there[0]}' and '{there[1]}' exclude each other", f"keep {choice}")
        self.fail(f"{choice} is missing")

    # Lists and scalars

    def items(self) -> list[Node]:
        if not isinstance(self.value, list):
            self.fail(f"'{self.key}' must be a list, not {self.describe()}", f"write '- ' before each entry of {self.key}")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or not self.value:
            self.fail(f"'{self.key}' must be a text, not {self.describe()}", "put it in quotes")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A text or a list of texts."""
        return tuple(item.text() for item in self.items()) if isinstance(self.value, list) else (self.text(),)

    def boolean(self) -> bool:
        if not isinstance(self.value, bool):
            self.fail(f"'{self.key}' must be true or false, not {self.describe()}")
        return self.value

    def number(self, *, minimum: float | None = None, maximum: float | None = None, below: float | None = None) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail(f"'{self.key}' must be a number, not {self.describe()}")
        number = float(self.value)
        limits = (("at least", minimum), ("at most", maximum), ("less than", below))
        bounds = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
        inside = (minimum is None or number >= minimum) and (maximum is None or number <= maximum)
        if not inside or not abs(number) < float("inf") or (below is not None and number >= below):
            self.fail(f"'{self.key}' is {self.value}", f"it must be {' and '.join(bounds) or 'finite'}")
        return number

    def choice(self, known: Iterable[str]) -> str:
        words = list(known)
        if self.value not in words:
            self.fail(f"'{self.key}' cannot be {self.describe()}", suggestion(str(self.value), words))
        return str(self.value)

    def time(self) -> datetime:
        """`2026-10-01`, `2026-10-01 12:30:00` or `2026-10-01T12:30:00`, without an offset: the zone stands beside it."""
        value = self.value
        try:
            if isinstance(value, date) and not isinstance(value, datetime):
                value = datetime(value.year, value.month, value.day)
            time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"'{self.key}' must be a date with time, not {self.describe()}", "for example 2026-10-01 22:00:00")
        if time.tzinfo is not None:
            self.fail(f"'{self.key}' has an offset from UTC", "write local time, and the zone beside it")
        return time


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is none of the known ones."""
    words = list(known)
    near = nearest(word, words)
    return f"did you mean '{near}'?" if near else f"possible: {' '.join(words)}"


def documents(text: str, file: object) -> Iterator[Node]:
    """The documents of a YAML stream; empty ones are left out."""
    try:
        for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
            node = Builder(file).build(root, "", root.start_mark.line + 1, 0)
            if node.value is not None:
                yield node
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DefinitionError(f"is not YAML: {error.problem}", file=file, line=line) from error
    except RecursionError as error:
        raise DefinitionError(f"is nested deeper than {DEPTH_MAX} levels", file=file) from error
    except yaml.YAMLError as error:
        raise DefinitionError(f"is not YAML: {str(error).splitlines()[0]}", file=file) from error


class Builder:
    """Turns PyYAML's nodes into ours; counts them, because an alias can stand for many."""

    def __init__(self, file: object) -> None:
        self.file, self.nodes = file, 0
        self.scalars = yaml.SafeLoader("")

    def build(self, node: yaml.Node, path: str, line: int, depth: int) -> Node:
        self.nodes += 1
        built = Node(None, self.file, line, path)
        if depth > DEPTH_MAX or self.nodes > NODES_MAX:
            built.fail(f"is nested deeper than {DEPTH_MAX} levels or larger than {NODES_MAX} values")
        if isinstance(node, yaml.SequenceNode):
            built.value = []
            for index, child in enumerate(node.value):
                built.value.append(self.build(child, f"{path}[{index}]", child.start_mark.line + 1, depth + 1))
        elif isinstance(node, yaml.MappingNode):
            built.value = {}
            for key_node, child in node.value:
                key, line = str(key_node.value), key_node.start_mark.line + 1
                inner = f"{path}.{key}" if path else key
                if key in built.value:
                    Node(None, self.file, line, inner).fail(f"the key '{key}' stands here twice")
                built.value[key] = self.build(child, inner, line, depth + 1)
        else:
            try:
                built.value = self.scalars.construct_object(node)
            except (ValueError, yaml.YAMLError) as error:                    # an impossible date, an unknown tag
                Node(node.value, self.file, line, path).fail(f"'{node.value}' cannot be read: {str(error).splitlines()[0]}")
        return built
