"""The types of settings: durations, sizes, paths, networks, addresses, secrets.

Each takes what a person writes in TOML or the environment and says in one sentence what would be right. Paths and secrets
need `context={"base": folder, "environ": mapping}` when they are validated; streams/config.py gives it.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo, WithJsonSchema

from streams.addresses import parse_address
from streams.clock import UNITS_NS, parse_duration_ns
from streams.settings import FromEnvironment
from streams.timecodes import time_code

__all__ = [
    "DurationNs", "FilePath", "FilePaths", "FolderPath", "KeyProblem", "ListenFrames", "ListenHttp", "Name", "Network",
    "Networks", "Secret", "SecretText", "Section", "SizeBytes", "TimeCodeText", "format_duration", "format_size",
    "parse_size_bytes",
]

Network = IPv4Network | IPv6Network

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)")
SIZE_BYTES = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}


class Section(BaseModel):
    """A table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Secret:
    """A value that no log, dump or traceback shows. `reveal()` is the only way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "<redacted>"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class KeyProblem(ValueError):
    """Found by a check of a whole section: `key` (or a path of keys) is what is wrong in it."""

    def __init__(self, key: str | tuple[str | int, ...], what: str, *others: str) -> None:
        """`others`: the keys of the section that `key` does not fit to. Where one of them is wrong itself, that is told."""
        self.key, self.others = ((key,) if isinstance(key, str) else key), others
        super().__init__(what)


def parse_size_bytes(text: str) -> int:
    """`"8MB"` -> 8000000, `"256KiB"` -> 262144. A number without a unit is refused."""
    match = SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"'{text}' is not a size; write for example 256KiB, 8MB, 1GiB")
    return round(float(match[1]) * SIZE_BYTES[match[2]])


def format_size(size_bytes: int) -> str:
    units = [(unit, SIZE_BYTES[unit]) for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "kB")]
    unit, factor = next(((u, f) for u, f in units if size_bytes and size_bytes % f == 0), ("B", 1))
    return f"{size_bytes // factor}{unit}"


def format_duration(duration_ns: int) -> str:
    """A duration in the largest unit, days at most, that gives a whole number: `"90s"`."""
    if duration_ns == 0:
        return "0"
    unit, factor = next((u, f) for u, f in reversed([*UNITS_NS.items()][:-1]) if duration_ns % f == 0)
    return f"{duration_ns // factor}{unit}"


def duration(value: object) -> int:
    if isinstance(value, str) or value == 0:
        return parse_duration_ns(str(value))
    raise ValueError(f"'{value}' has no unit; write for example \"{value}s\"")


def size(value: object) -> int:
    return parse_size_bytes(value if isinstance(value, str) else repr(value))


def some_of(value: object) -> object:
    """One text stands for a list of one; in the environment commas separate."""
    if isinstance(value, FromEnvironment):
        return [FromEnvironment(part.strip()) for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, str) else value


def time_code_text(value: object) -> str:
    time_code(str(value))
    return str(value)


def absolute(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError("a path is a text in quotes")
    base = info.context["base"] if info.context and not isinstance(value, FromEnvironment) else Path()
    return Path(os.path.normpath(base / Path(str(value)).expanduser())).absolute()


def existing(value: object, info: ValidationInfo) -> Path:
    path = absolute(value, info)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


def globbed(value: object, info: ValidationInfo) -> list[Path]:
    """Files, folders (their *.yaml) and patterns, in order; one that matches nothing is an error."""
    found: list[Path] = []
    entries = some_of(value)
    if not isinstance(entries, list):
        raise ValueError("a list of files, folders or patterns such as [\"slo/*.yaml\"]")
    for entry in entries:
        path = absolute(entry, info)
        if path.is_dir():
            matches = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        else:
            matches = [path] if path.is_file() else sorted(path.parent.glob(path.name))
        if not matches:
            raise ValueError(f"'{entry}' matches no file")
        found.extend(match for match in matches if match not in found)
    return found


def secret(value: object, info: ValidationInfo) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a secret is a text: the secret itself, env:NAME or file:PATH")
    source, _, name = value.partition(":")
    if source == "env":
        environ = info.context["environ"] if info.context else {}
        if name not in environ:
            raise ValueError(f"the environment variable {name} is not set")
        return Secret(environ[name])
    if source == "file":
        path = absolute(FromEnvironment(name) if isinstance(value, FromEnvironment) else name, info)
        try:
            return Secret(path.read_text().strip())
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the secret's file {path} cannot be read: {getattr(error, 'strerror', 'no text')}") from None
    return Secret(value)


def network(value: object) -> object:
    if isinstance(value, Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"'{value}' is not a network such as 10.0.0.0/8: {error}") from None


def address_of(*schemes: str) -> BeforeValidator:
    def check(value: object) -> str:
        return str(parse_address(str(value), schemes=schemes))

    return BeforeValidator(check)


def json_text(description: str, pattern: str | None = None) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "description": description} | ({"pattern": pattern} if pattern else {}))


DURATION_SCHEMA = json_text('a duration such as "10s" or "1h30m", or "0"', r"^\s*(0|(\d+(\.\d+)?\s*(ns|us|ms|s|m|h|d|w)\s*)+)$")
SIZE_SCHEMA = json_text('a size such as "8MB" or "256KiB"', r"^\s*\d+(\.\d+)?\s*(B|[kK]B|[MGT]B|[KMGT]iB)\s*$")

DurationNs = Annotated[int, BeforeValidator(duration), PlainSerializer(format_duration), DURATION_SCHEMA]
SizeBytes = Annotated[int, BeforeValidator(size), PlainSerializer(format_size), SIZE_SCHEMA]
TimeCodeText = Annotated[
    str, BeforeValidator(time_code_text), json_text("cds, cuc:4.2, ccs_day:2, ccs_month or explicit; ,epoch= ,scale= ,at="),
]
FolderPath = Annotated[Path, BeforeValidator(absolute), json_text("a folder, relative to this file")]
FilePath = Annotated[Path, BeforeValidator(existing), json_text("a file, relative to this file")]
FilePaths = Annotated[
    list[Path], BeforeValidator(globbed),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, "description": "files, folders or patterns"}),
]
SecretText = Annotated[
    Secret, BeforeValidator(secret), PlainSerializer(repr, return_type=str),
    json_text("the secret itself, env:NAME or file:PATH"),
]
Networks = Annotated[
    list[Annotated[Network, BeforeValidator(network), PlainSerializer(str), json_text("a network such as 10.0.0.0/8")]],
    BeforeValidator(some_of),
]
ListenFrames = Annotated[str, address_of("udp", "tcp"), json_text("udp://HOST:PORT or tcp://HOST:PORT")]
ListenHttp = Annotated[str, address_of(""), json_text("HOST:PORT")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
