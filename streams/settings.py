"""Where settings come from: a TOML file and the environment, each value with its place.

    raw = read_settings(Path("orbitrack.toml"), os.environ)
    raw.values                          # {"kafka": {"bootstrap": ...}, "link": [...]}
    raw.place(("link", 0, "codec"))     # ("orbitrack.toml", 12)

The environment wins over the file. What the keys mean is streams/config.py's business.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from streams.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["FromEnvironment", "KeyPath", "RawSettings", "read_settings"]

KeyPath = tuple[str | int, ...]

ENV_PREFIX = "ORBITRACK__"
# A configuration is written by hand; more than this is a wrong file.
FILE_BYTES_MAX = 1 << 20
# `a."b c".d` before `=` or inside a header.
KEY = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*(\.|=|\])""")
STRING_OR_MARK = re.compile(r'"""|\'\'\'|"(?:[^"\\]|\\.)*"|\'[^\']*\'|[\[\]{}#]')


class FromEnvironment(str):
    """A value from the environment: relative paths in it start at the working directory, not at the file."""


@dataclass
class RawSettings:
    values: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    variables: dict[KeyPath, str] = field(default_factory=dict)

    def place(self, path: KeyPath) -> tuple[str | None, int | None]:
        """(file, line) or (environment variable, None) of a key, or of the nearest table around it."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.variables:
                return f"${self.variables[path[:end]]}", None
            if path[:end] in self.lines:
                return str(self.file), self.lines[path[:end]]
        return (str(self.file) if self.file else None), None


def read_settings(file: Path | None, environ: Mapping[str, str]) -> RawSettings:
    """Raises ConfigError for a file that cannot be read or is not TOML, and for variables that fit nowhere."""
    raw = RawSettings(file=file)
    if file is not None:
        text = read_text(file)
        try:
            raw.values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise syntax_error(error, file, text) from None
        raw.lines = dict(key_lines(text))
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX):
            put_variable(raw, name, environ[name])
    return raw


def read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=file) from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError("is larger than 1 MiB; is this the configuration?", file=file)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8 text", file=file, line=line) from None


def syntax_error(error: tomllib.TOMLDecodeError, file: Path, text: str) -> ConfigError:
    what = str(error)
    place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", what)
    line = int(place[1]) if place and place[1] else text.count("\n") + 1
    what = what[: place.start()] if place else what
    hint = None if "overwrite" in what or "declare" in what else syntax_hint(text, line)
    return ConfigError(f"is not TOML: {what[:1].lower()}{what[1:]}", file=file, line=line, hint=hint)


def syntax_hint(text: str, line: int) -> str | None:
    lines = text.splitlines()
    wrong = lines[line - 1] if line <= len(lines) else ""
    if re.match(r"\s*[\w-]+\s*:", wrong):
        return "TOML writes `key = value`, not `key: value`"
    if re.match(r"\s*[\w.-]+\s*=\s*[^\s\"'\[{#]", wrong):
        return 'text stands in quotes: key = "text"'
    return None


def key_lines(text: str) -> Iterator[tuple[KeyPath, int]]:
    """The line of each table and key. The text has already been parsed, so only the shape matters here."""
    table: KeyPath = ()
    arrays: dict[KeyPath, int] = {}
    closing = ""              # of the multi-line string that we are in
    depth = 0                 # of the brackets that are open
    for number, line in enumerate(text.splitlines(), 1):
        value_start = 0
        if not closing and not depth:
            if line.lstrip().startswith("["):
                is_array = line.lstrip().startswith("[[")
                names, _ = keys_before(line.lstrip().lstrip("["), "]")
                if is_array:
                    key = (*resolve(names[:-1], arrays), names[-1])
                    if key not in arrays:
                        yield key, number
                    arrays[key] = arrays.get(key, -1) + 1
                    table = (*key, arrays[key])
                else:
                    table = resolve(names, arrays)
                yield table, number
                continue
            names, value_start = keys_before(line, "=")
            if not names:
                continue
            for end in range(1, len(names) + 1):
                yield (*table, *names[:end]), number
        closing, depth = scan(line, value_start, closing, depth)


def resolve(names: list[str], arrays: dict[KeyPath, int]) -> KeyPath:
    """A header's path with the index of the newest element wherever it goes through an array of tables."""
    path: KeyPath = ()
    for name in names:
        path = (*path, name)
        if path in arrays:
            path = (*path, arrays[path])
    return path


def keys_before(text: str, end: str) -> tuple[list[str], int]:
    """The parts of a dotted key up to the character `end`, and where the text goes on after it."""
    names: list[str] = []
    position = 0
    while match := KEY.match(text, position):
        names.append(match[1].strip("\"'"))
        position = match.end()
        if match[2] == end:
            return names, position
    return [], 0


def scan(text: str, position: int, closing: str, depth: int) -> tuple[str, int]:
    """Follows strings and brackets through one line of a value: (what closes the open string, brackets open)."""
    while True:
        if closing:
            found = text.find(closing, position)
            if found < 0:
                return closing, depth
            position, closing = found + 3, ""
        match = STRING_OR_MARK.search(text, position)
        if not match or match[0] == "#":
            return closing, depth
        position = match.end()
        if match[0] in ('"""', "'''"):
            closing = match[0]
        elif match[0] in "[{":
            depth += 1
        elif match[0] in "]}":
            depth -= 1


def put_variable(raw: RawSettings, name: str, text: str) -> None:
    """`ORBITRACK__LINK__0__NAME=x` -> values["link"][0]["name"] = "x"; a value in brackets is TOML."""
    path: KeyPath = tuple(int(part) if part.isdigit() else part.lower() for part in name[len(ENV_PREFIX) :].split("__"))
    place: Any = raw.values
    for part, following in zip(path, (*path[1:], None), strict=True):
        if isinstance(place, list):
            if not isinstance(part, int) or part > len(place):
                raise ConfigError(
                    f"there is no element {part}; the next free one is {len(place)}", file=f"${name}",
                    hint="elements of a list are counted 0, 1, 2, ... and each is written from its first key on",
                )
            if part == len(place):
                place.append([] if isinstance(following, int) else {})
        elif not isinstance(place, dict) or isinstance(part, int):
            raise ConfigError(f"'{part}' fits nowhere", file=f"${name}", hint="write ORBITRACK__SECTION__KEY")
        if following is None:
            place[part] = variable_value(name, text)
        elif isinstance(place, dict):
            place = place.setdefault(part, [] if isinstance(following, int) else {})
        else:
            place = place[part]
    raw.variables[path] = name


def variable_value(name: str, text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return FromEnvironment(text)
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        hint = "a text that begins with a bracket goes into the file, a secret into a variable of its own: env:NAME"
        raise ConfigError(f"is neither text nor a TOML list: {error}", file=f"${name}", hint=hint) from None
    return [FromEnvironment(item) if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
