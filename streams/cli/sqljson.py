"""JSON as `orbitrack sql` writes it, made of the database's JSON lines: NaN and infinities as text, lines as an array.

The database says `"nan"`, which in a column of texts is a text; which columns have floats is asked for only when one may
hold such a value. All functions take and give pieces of bytes, cut anywhere.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

__all__ = ["json_array", "named", "with_named_floats"]

# As `decode` writes them (streams/rows.py).
NAMES = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
NAMED = re.compile(rb'"-?(?:nan|inf)"')
# Numbers pass through as they are written: a decimal of 38 digits is no float. The mark is one that no text can know.
VERBATIM = f"{secrets.token_hex(16)}:"
MARKED = re.compile(rf'"{VERBATIM}([^"]*)"')


def with_named_floats(lines: Iterable[bytes], types: Callable[[], Mapping[str, str]]) -> Iterator[bytes]:
    """`"nan"` as `"NaN"` in columns of floats, by the `types()` of the columns; whole lines."""
    floats: set[str] | None = None
    for text in whole_lines(lines):
        if NAMED.search(text):
            if floats is None:
                floats = {name for name, kind in types().items() if "Float" in kind}
            text = b"".join(renamed(line, floats) if NAMED.search(line) else line for line in text.splitlines(keepends=True))
        yield text


def whole_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    last = b""
    for chunk in chunks:
        text = last + chunk
        end = text.rfind(b"\n") + 1
        last = text[end:]
        if end:
            yield text[:end]
    if last:
        yield last


def renamed(line: bytes, floats: set[str]) -> bytes:
    row = json.loads(line, parse_float=lambda text: VERBATIM + text)
    changed = {name: named(value) if name in floats else value for name, value in row.items()}
    text = json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
    return MARKED.sub(r"\1", text).encode() + b"\n"


def named(value: Any) -> Any:
    """A value of a column of floats, or of lists or maps of them, with NaN and infinities by name."""
    match value:
        case str():
            return NAMES.get(value, value)
        case list():
            return [named(each) for each in value]
        case dict():
            return {key: named(each) for key, each in value.items()}
    return value


def json_array(lines: Iterable[bytes]) -> Iterator[bytes]:
    """One JSON object a line -> one JSON array."""
    last, opening = b"", b"["
    for chunk in lines:
        yield opening
        opening = b""
        *whole, rest = (last + chunk).split(b"\n")
        # The newest line is held back: only the next one tells whether a comma follows.
        if whole and not rest:
            rest = whole.pop() + b"\n"
        yield b"".join(line + b",\n " for line in whole)
        last = rest
    yield opening + last.rstrip(b"\n") + b"]\n"
