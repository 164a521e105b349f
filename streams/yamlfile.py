"""YAML with the place of everything, so that a mistake can be named by file, line and key path, and all of them at once.

    mistakes = Mistakes()
    text = read_text(Path("slo/link.yaml"))
    for document in documents(text, "slo/link.yaml", mistakes):
        document.allow("target", "op")             # notes a misspelt key with the nearest right one
        target = document.attempt(lambda: document.need("target").number(minimum=0, below=1), otherwise=0.0)
    mistakes.raise_first()

A `Node` never returns a value of the wrong type: it raises DefinitionError. `attempt` notes that and goes on with something
else, so whoever reads with `attempt` must not use the result unless `mistakes` is empty. It does not know what the keys mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from streams.errors import DefinitionError, nearest

__all__ = ["QUOTES", "Mistakes", "Node", "documents", "read_text", "suggestion"]

T = TypeVar("T")

# The files are written by hand; deeper or larger means an alias to itself or one multiplied many times.
DEPTH_MAX = 24
NODES_MAX = 200_000
FILE_BYTES_MAX = 4 << 20
QUOTES = """texts that begin with one of * & ! = > | % @ { [ go in quotes: op: ">", entity: "*" """.strip()


class Mistakes:
    """What was wrong with some files; the same mistake met twice is one."""

    def __init__(self) -> None:
        self.errors: dict[tuple[str, str], DefinitionError] = {}
        self.files: dict[str, None] = {}

    def note(self, error: DefinitionError) -> None:
        self.files.setdefault(str(error.file))
        self.errors.setdefault((str(error), str(error.path)), error)

    def found(self) -> list[DefinitionError]:
        """File by file as they were read, each from top to bottom."""
        order = {file: number for number, file in enumerate(self.files)}
        return sorted(self.errors.values(), key=lambda error: (order[str(error.file)], error.line or 0))

    def raise_first(self) -> None:
        for error in self.found():
            raise error


class Node:
    """One value of the file: a mapping and a list hold Nodes, anything else is a plain YAML scalar."""

    def __init__(self, value: Any, file: object, line: int, path: str, mistakes: Mistakes) -> None:
        self.value, self.file, self.line, self.path, self.mistakes = value, file, line, path, mistakes
        self.misspelt: dict[str, DefinitionError] = {}      # the key that was probably meant -> the mistake that says so
        self.broken: DefinitionError | None = None          # why there is no value

    def error(self, what: str, hint: str | None = None) -> DefinitionError:
        return self.broken or DefinitionError(what, file=self.file, line=self.line, path=self.path or None, hint=hint)

    def fail(self, what: str, hint: str | None = None) -> NoReturn:
        raise self.error(what, hint)

    def note(self, what: str, hint: str | None = None) -> None:
        """A mistake that leaves the rest readable."""
        self.mistakes.note(self.error(what, hint))

    def attempt(self, read: Callable[[], T], otherwise: T) -> T:
        """What `read` returns; if that fails, the mistake is noted and `otherwise` stands in."""
        try:
            return read()
        except DefinitionError as error:
            self.mistakes.note(error)
            return otherwise

    def each(self, read: Callable[[Node], T]) -> list[T]:
        """What `read` makes of the entries of a list, without those that fail."""
        made: list[T] = []
        for item in self.items():
            try:
                made.append(read(item))
            except DefinitionError as error:
                self.mistakes.note(error)
        return made

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
        """Notes every key that is not among these."""
        for key, node in self.mapping().items():
            if key not in keys:
                self.refuse(node.error(f"unknown key '{key}'", suggestion(key, keys)), nearest(key, keys))

    def refuse(self, error: DefinitionError, meant: str | None) -> None:
        """Notes a key that there is not. That the one that was `meant` is missing is then the same mistake."""
        self.mistakes.note(error)
        if meant is not None and meant not in self.mapping():
            self.misspelt[meant] = error

    def has(self, key: str) -> bool:
        return key in self.mapping()

    def get(self, key: str) -> Node | None:
        return self.mapping().get(key)

    def need(self, key: str, hint: str | None = None) -> Node:
        node = self.get(key)
        if node is None:
            raise self.misspelt.get(key) or self.error(f"'{key}' is missing", hint)
        return node

    def one_of(self, *keys: str) -> str:
        """Which one of these keys is there; fails unless exactly one is."""
        there = [key for key in keys if self.has(key)]
        if len(there) == 1:
            return there[0]
        choice = " or ".join(f"'{key}'" for key in keys)
        if there:
            self.mapping()[there[1]].fail(f"'{there[0]}' and '{there[1]}' exclude each other", f"keep {choice}")
        raise next((self.misspelt[key] for key in keys if key in self.misspelt), self.error(f"{choice} is missing"))

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

    def number(
        self, *, minimum: float | None = None, maximum: float | None = None, below: float | None = None,
        above: float | None = None,
    ) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.fail(f"'{self.key}' must be a number, not {self.describe()}")
        try:
            number = float(self.value)
        except OverflowError:                               # a whole number of hundreds of digits
            number = float("inf")
        limits = (("at least", minimum), ("at most", maximum), ("less than", below), ("more than", above))
        bounds = [f"{words} {limit:g}" for words, limit in limits if limit is not None]
        inside = (minimum is None or number >= minimum) and (maximum is None or number <= maximum)
        inside = inside and (below is None or number < below) and (above is None or number > above)
        if not inside or not abs(number) < float("inf"):
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


def read_text(file: Path, bytes_max: int = FILE_BYTES_MAX) -> str:
    """A file of definitions, without a byte order mark. DefinitionError where it cannot be read, is too large, is no UTF-8."""
    try:
        with file.open("rb") as stream:
            data = stream.read(bytes_max + 1)
        if len(data) > bytes_max:
            raise DefinitionError(f"is larger than {bytes_max >> 20} MiB", file=file)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DefinitionError(f"cannot be read: {error.strerror}", file=file) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DefinitionError(f"is not UTF-8 text: {error.reason}", file=file, line=line) from error


def suggestion(word: str, known: Iterable[str]) -> str:
    """The hint for a word that is none of the known ones."""
    words = list(known)
    near = nearest(word, words)
    return f"did you mean '{near}'?" if near else f"possible: {' '.join(words)}"


def documents(text: str, file: object, mistakes: Mistakes) -> Iterator[Node]:
    """The documents of a YAML stream; empty ones are left out. Nothing comes after what is not YAML."""
    mistakes.files.setdefault(str(file))
    try:
        for root in yaml.compose_all(text, Loader=yaml.SafeLoader):
            node = Builder(file, mistakes).build(root, "", root.start_mark.line + 1, 0)
            if node.value is not None:
                yield node
    except DefinitionError as error:
        mistakes.note(error)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        mistakes.note(DefinitionError(f"is not YAML: {error.problem}", file=file, line=line, hint=QUOTES))
    except RecursionError:
        mistakes.note(DefinitionError(f"is nested deeper than {DEPTH_MAX} levels", file=file))
    except yaml.YAMLError as error:
        mistakes.note(DefinitionError(f"is not YAML: {str(error).splitlines()[0]}", file=file, hint=QUOTES))


class Builder:
    """Turns PyYAML's nodes into ours; counts them, because an alias can stand for many."""

    def __init__(self, file: object, mistakes: Mistakes) -> None:
        self.file, self.mistakes, self.nodes = file, mistakes, 0
        self.scalars = yaml.SafeLoader("")

    def made(self, value: Any, line: int, path: str) -> Node:
        return Node(value, self.file, line, path, self.mistakes)

    def build(self, node: yaml.Node, path: str, line: int, depth: int) -> Node:
        self.nodes += 1
        built = self.made(None, line, path)
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
                    self.made(None, line, inner).note(f"the key '{key}' stands here twice")
                    continue
                built.value[key] = self.build(child, inner, line, depth + 1)
        else:
            try:
                built.value = self.scalars.construct_object(node)
            except (ValueError, yaml.YAMLError) as error:                    # an impossible date, an unknown tag
                hint = QUOTES if isinstance(error, yaml.YAMLError) else None
                built.broken = built.error(f"'{node.value}' cannot be read: {str(error).splitlines()[0]}", hint)
                self.mistakes.note(built.broken)
        return built
