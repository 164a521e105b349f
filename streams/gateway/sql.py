"""Just enough of ClickHouse's lexer to know where a statement ends and its data begins.

An HTTP body may hold an INSERT and, after it, a gigabyte of CSV or of binary blocks; the engine wants the two apart. So
this module finds words, strings and comments, never meaning: what a statement *does* is asked of the engine (access.py).

    insert = find_insert(b"INSERT INTO t (a) FORMAT CSV\\n1\\n2\\n")
    insert.head, insert.format, insert.data_start     # b"INSERT INTO t (a) ", "CSV", 29
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Insert", "Token", "find_insert", "is_insert", "is_select", "names", "output_format", "tokens", "unquoted"]

# Src/Parsers/Lexer.cpp of ClickHouse: `--`, `//` and `#!`/`# ` start comments, a heredoc is $tag$...$tag$ (from memory).
TOKEN = re.compile(
    rb"""
      (?P<space>   (?: [ \t\r\n\f\v] | \xc2\xa0 | \xef\xbb\xbf )+ )
    | (?P<comment> --[^\n]* | //[^\n]* | \#[ !][^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<heredoc> \$(?P<tag>\w*)\$ .*? \$(?P=tag)\$ )
    | (?P<string>  '(?: [^'\\] | \\. | '' )*' )
    | (?P<quoted>  `(?: [^`\\] | \\. | `` )*` | "(?: [^"\\] | \\. | "" )*" )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_$]* )
    | (?P<number>  [0-9][0-9A-Za-z_.]* )
    | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # heredoc, string, quoted, word, number or mark
    start: int
    end: int
    depth: int  # of brackets around it
    text: bytes

    def is_word(self, *words: bytes) -> bool:
        return self.kind == "word" and self.text.upper() in words


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT that brings its data along. `head` has neither FORMAT clause nor data."""

    head: bytes
    format: str | None  # None: the statement leaves it to the request
    data_start: int
    selects_from_input: bool = False  # INSERT ... SELECT ... FROM input('...') FORMAT ...


def names(text: str) -> frozenset[str]:
    """A set of names, written as a line of text."""
    return frozenset(text.split())


def tokens(source: bytes) -> Iterator[Token]:
    """The tokens of `source` without space and comments. Never fails: what it does not know is a `mark`."""
    depth = 0
    for match in TOKEN.finditer(source):
        kind = match.lastgroup or "mark"
        if kind in ("space", "comment"):
            continue
        text = match.group()
        if kind == "mark" and text in b")]}":
            depth = max(depth - 1, 0)
        yield Token("heredoc" if kind == "tag" else kind, match.start(), match.end(), depth, text)
        if kind == "mark" and text in b"([{":
            depth += 1


def unquoted(token: Token) -> str:
    """The name that a word or a quoted identifier stands for."""
    text = token.text.decode(errors="replace")
    if token.kind != "quoted":
        return text
    return re.sub(r"\\(.)|``|\"\"", lambda match: match.group(1) or match.group()[0], text[1:-1])


def is_insert(source: bytes) -> bool:
    """Whether the statement is an INSERT, perhaps after a WITH clause."""
    before: Token | None = None
    for token in tokens(source):
        if token.depth:
            continue
        if before is None and not token.is_word(b"INSERT", b"WITH"):
            return False
        if before is not None and before.is_word(b"INSERT") and token.is_word(b"INTO"):
            return True
        if token.is_word(b"SELECT"):
            return False
        before = token
    return before is not None and before.is_word(b"INSERT")


def is_select(source: bytes) -> bool:
    """Whether the statement is a SELECT; the engine streams nothing else that returns rows."""
    first = next((token for token in tokens(source) if token.text != b"("), None)
    return first is not None and first.is_word(b"SELECT", b"WITH", b"FROM")


def find_insert(source: bytes) -> Insert | None:
    """Where the data of an INSERT starts; None if it has none (or `source` was cut off before the place).

    `INSERT INTO t SELECT ...` has none, unless it selects from input() and names a format.
    """
    words = (token for token in tokens(source) if not token.depth)
    next((token for token in words if token.is_word(b"INTO")), None)
    target = next(words, None)
    if target is not None and target.is_word(b"TABLE", b"FUNCTION"):
        target = next(words, None)
    # The name may be a keyword, and its parts as well: INSERT INTO archive.values ...
    token = next(words, None)
    while token is not None and token.text == b".":
        next(words, None)
        token = next(words, None)
    selects = False
    while token is not None:
        if token.is_word(b"SELECT"):
            selects = True
        elif token.is_word(b"VALUES") and not selects:
            return Insert(source[: token.start], "Values", token.end)
        elif token.is_word(b"FORMAT"):
            name = next(words, None)
            if name is not None and name.kind == "word":
                return Insert(source[: token.start], name.text.decode(), data_start(source, name.end), selects)
        token = next(words, None)
    return None if target is None or selects else Insert(source.rstrip().rstrip(b";"), None, len(source))


def data_start(source: bytes, end: int) -> int:
    """First byte of data after `FORMAT name`: past spaces, an optional semicolon and one end of line."""
    match = re.compile(rb"[ \t\f]*;?[ \t\f]*(?:\r?\n)?").match(source, end)
    return match.end() if match else end


def output_format(source: bytes) -> str | None:
    """The format named in the last FORMAT clause of a statement that returns rows."""
    found = None
    before: Token | None = None
    for token in tokens(source):
        if before is not None and before.is_word(b"FORMAT") and token.kind == "word" and not token.depth:
            found = token.text.decode()
        before = token
    return found
