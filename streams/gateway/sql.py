"""Just enough of ClickHouse's lexer to know where a statement ends and its data begins.

An HTTP body may hold an INSERT and, after it, a gigabyte of CSV or of binary blocks; the engine wants the two apart. So
this module finds words, strings and comments, never meaning: what a statement may do is asked of the engine (access.py).

    insert = read_statement(b"INSERT INTO t (a) FORMAT CSV\\n1\\n2\\n").insert
    insert.head, insert.format, insert.data_start     # b"INSERT INTO t (a) ", "CSV", 29
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "Insert",
    "Statement",
    "Token",
    "find_call",
    "is_number",
    "names",
    "read_statement",
    "replaced",
    "settings_start",
    "tokens",
    "unquoted",
]

# Src/Parsers/Lexer.cpp of ClickHouse: `--`, `//` and `#!`/`# ` start comments, a heredoc is $tag$...$tag$ (from memory);
# comments nest (tried against chDB 4.4).
# What is not closed reaches to the end, and nothing is tried twice: a megabyte of `\'` must not hold up the process for hours.
TOKEN = re.compile(
    rb"""
      (?P<space>   (?: [ \t\r\n\f\v] | \xc2\xa0 | \xef\xbb\xbf )+ )
    | (?P<comment> --[^\n]* | //[^\n]* | \#[ !][^\n]* )
    | (?P<nested>  /\* )
    | (?P<heredoc> \$\w*\$ )
    | (?P<string>  '(?: [^'\\]++ | \\.? | '' )*+(?:'|\Z) )
    | (?P<quoted>  `(?: [^`\\]++ | \\.? | `` )*+(?:`|\Z) | "(?: [^"\\]++ | \\.? | "" )*+(?:"|\Z) )
    | (?P<word>    [A-Za-z_][A-Za-z0-9_$]* )
    | (?P<number>  [0-9][0-9A-Za-z_.]* )
    | (?P<mark>    . )
    """,
    re.VERBOSE | re.DOTALL,
)

COMMENT_EDGE = re.compile(rb"/\*|\*/")  # of comments, which may hold others
# Overlapping: the `$` that ends one may start the next.
HEREDOC_TAG = re.compile(rb"(?=(\$\w*\$))")


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


@dataclass(slots=True)
class Statement:
    """What the words outside brackets tell."""

    first_word: bytes = b""  # upper case; of the first query if it starts with brackets; empty: no statement at all
    output_format: str | None = None  # of the FORMAT clause, for statements that return rows
    insert: Insert | None = None
    is_kill: bool = False
    has_outfile: bool = False
    has_infile: bool = False
    has_extra_rows: bool = False  # WITH TOTALS, or the setting `extremes`
    has_settings: bool = False  # from there on no clause can follow but FORMAT
    end: int = 0  # of the statement without its FORMAT clause and semicolon

    @property
    def is_select(self) -> bool:
        return self.first_word in (b"SELECT", b"WITH", b"FROM") and self.insert is None

    def is_streamable(self, format: str) -> bool:
        """Whether the engine can give it block by block: only SELECT; totals and extremes get lost, but Native has none."""
        return self.is_select and (format.lower() == "native" or not self.has_extra_rows)


def names(text: str) -> frozenset[str]:
    """A set of names, written as a line of text."""
    return frozenset(text.split())


def is_number(text: str) -> bool:
    """Whether `text` is a number without sign that fits an Int64: int() takes more, and fails on some that isdigit() takes."""
    return re.fullmatch(r"[0-9]{1,18}", text) is not None


def tokens(source: bytes) -> Iterator[Token]:
    """The tokens of `source` without space and comments. Never fails: what it does not know is a `mark`."""
    depth = position = 0
    last: dict[bytes, int] | None = None  # where each heredoc tag stands for the last time
    while match := TOKEN.match(source, position):
        kind, start, position = match.lastgroup or "mark", match.start(), match.end()
        if kind == "nested":
            position = comment_end(source, start)
        if kind in ("space", "comment", "nested"):
            continue
        text = match.group()
        if kind == "heredoc":
            last = last if last is not None else {tag[1]: tag.start() for tag in HEREDOC_TAG.finditer(source)}
            if last[text] < position:
                kind, text, position = "mark", b"$", start + 1
            else:
                position = source.index(text, position) + len(text)
                text = source[start:position]
        if kind == "mark" and text in b")]}":
            depth = max(depth - 1, 0)
        yield Token(kind, start, position, depth, text)
        if kind == "mark" and text in b"([{":
            depth += 1


def comment_end(source: bytes, start: int) -> int:
    """Where the comment that starts here ends, with those in it."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(source, start):
        depth += 1 if edge.group() == b"/*" else -1
        if not depth:
            return edge.end()
    return len(source)


def unquoted(token: Token) -> str:
    """The name that a word or a quoted identifier stands for."""
    text = token.text.decode(errors="replace")
    if token.kind != "quoted":
        return text
    return re.sub(r"\\(.)|``|\"\"", lambda match: match.group(1) or match.group()[0], text[1:-1])


def read_statement(source: bytes) -> Statement:
    """Reads up to the end, or up to the data of an INSERT. An INSERT whose FORMAT or VALUES was cut off has no `insert`."""
    found = Statement()
    words = outer_words(source, found)
    before = next(words, None)
    may_insert = before is not None and before.is_word(b"INSERT", b"WITH")
    found.end = before.end if before is not None else 0
    for token in words:
        if before is not None:
            if may_insert and before.is_word(b"INSERT") and token.is_word(b"INTO"):
                found.insert = find_insert(source, words, found)
                return found
            if before.is_word(b"FORMAT") and token.kind == "word":
                found.output_format = token.text.decode()
            elif token.text != b";" and not token.is_word(b"SETTINGS") and not found.has_settings:
                found.output_format = None  # it was a column of that name
            found.has_settings |= token.is_word(b"SETTINGS")
            found.is_kill |= before.is_word(b"KILL") and token.is_word(b"QUERY")
            found.has_outfile |= before.is_word(b"INTO") and token.is_word(b"OUTFILE")
        if found.output_format is None and token.text != b";" and not token.is_word(b"FORMAT"):
            found.end = token.end
        may_insert = may_insert and not token.is_word(b"SELECT")
        before = token
    return found


def outer_words(source: bytes, found: Statement) -> Iterator[Token]:
    """The tokens outside brackets; notes the first word, wherever it is."""
    for token in tokens(source):
        if not found.first_word and token.text != b"(":
            found.first_word = token.text.upper()
        found.has_extra_rows |= token.is_word(b"TOTALS", b"EXTREMES")
        if not token.depth:
            yield token


def find_insert(source: bytes, words: Iterator[Token], found: Statement) -> Insert | None:
    """Where the data of an INSERT starts, `words` being past INTO; None if it brings none: INSERT ... SELECT.

    INSERT ... SELECT ... FROM input(...) FORMAT ... brings some, too.
    """
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
        elif token.is_word(b"INFILE"):
            found.has_infile = True
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


def settings_start(head: bytes) -> int:
    """Where the SETTINGS clause of an INSERT's head starts, or its end."""
    before: Token | None = None
    for token in tokens(head):
        is_name = before is None or before.is_word(b"INTO", b"TABLE", b"FUNCTION") or before.text == b"."
        if token.is_word(b"SETTINGS") and not token.depth and not is_name:
            return token.start
        before = token
    return len(head)


def replaced(source: bytes, name: str, by: bytes) -> bytes:
    """`source` with every mention of an identifier replaced."""
    pieces, end = [], 0
    for token in tokens(source):
        if token.kind in ("word", "quoted") and unquoted(token) == name:
            pieces += [source[end : token.start], by]
            end = token.end
    return b"".join([*pieces, source[end:]])


def find_call(source: bytes, name: str) -> tuple[int, bytes, int] | None:
    """Where `name(...)` is called: its start, what stands in the brackets, its end."""
    opened: Token | None = None
    start, before = 0, None
    for token in tokens(source):
        if opened is None:
            if token.text == b"(" and before is not None and before.kind == "word" and unquoted(before).lower() == name:
                opened, start = token, before.start
            before = token
        elif token.text == b")" and token.depth == opened.depth:
            return start, source[opened.end : token.start], token.end
    return None
