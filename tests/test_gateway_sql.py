"""The gateway's reading of statements: where data starts, which format, which words matter."""

from __future__ import annotations

import pytest

from streams.gateway.sql import find_call, read_statement, replaced, tokens


@pytest.mark.parametrize(
    ("source", "head", "format", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"INSERT INTO t ", "CSV", b"1,2\n"),
        (b"insert into t (a, `format`) format TabSeparated 1", b"insert into t (a, `format`) ", "TabSeparated", b"1"),
        (b"INSERT INTO t FORMAT Native\n\n\x00\xff", b"INSERT INTO t ", "Native", b"\n\x00\xff"),
        (b"INSERT INTO t VALUES (1), ('FORMAT x')", b"INSERT INTO t ", "Values", b" (1), ('FORMAT x')"),
        (b"INSERT INTO archive.values VALUES (1)", b"INSERT INTO archive.values ", "Values", b" (1)"),
        (b"INSERT INTO TABLE FUNCTION null('a Int8') FORMAT CSV;1", None, "CSV", b"1"),
        (b"WITH 1 AS y INSERT INTO t (s) FORMAT TSV\nv;\n", b"WITH 1 AS y INSERT INTO t (s) ", "TSV", b"v;\n"),
        (b"/* INSERT */ INSERT -- x\nINTO t SETTINGS a = 1 FORMAT CSV\r\n7", None, "CSV", b"7"),
        (b"INSERT INTO {t:Identifier} (a)", b"INSERT INTO {t:Identifier} (a)", None, b""),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT CSV\n1", None, "CSV", b"1"),
    ],
)
def test_data_of_an_insert_starts_after_its_format(source: bytes, head: bytes | None, format: str, data: bytes) -> None:
    insert = read_statement(source).insert

    assert insert is not None
    assert head is None or insert.head == head
    assert (insert.format, source[insert.data_start :]) == (format, data)


@pytest.mark.parametrize(
    "source",
    [
        b"INSERT INTO t SELECT 1",
        b"WITH insert AS (SELECT 13 AS n) SELECT * FROM insert",
        b"WITH 13 AS insert SELECT insert",
        b"SELECT ' INSERT INTO t FORMAT CSV 1'",
        b"WITH {INSERT:Int32} AS value SELECT value; -- INSERT INTO t",
        b"CREATE TABLE t (a Int8) AS SELECT 1",
    ],
)
def test_other_statements_have_no_data(source: bytes) -> None:
    assert read_statement(source).insert is None


@pytest.mark.parametrize(
    ("source", "format"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 FORMAT JSON SETTINGS a = 1;", "JSON"),
        (b"SELECT format FROM t", None),
        (b"SELECT * FROM format(CSV, 'FORMAT XML')", None),
        (b"(SELECT 1) UNION ALL (SELECT 2) // FORMAT XML\n FORMAT TSV", "TSV"),
        (b"SELECT 1 /* FORMAT XML */", None),
        (b"SELECT $tag$ FORMAT XML $tag$", None),
    ],
)
def test_output_format_is_the_one_of_the_format_clause(source: bytes, format: str | None) -> None:
    assert read_statement(source).output_format == format


@pytest.mark.parametrize(
    ("source", "bare"),
    [
        (b"SELECT 1", b"SELECT 1"),
        (b"SELECT 1 ; -- end", b"SELECT 1"),
        (b"SELECT a FROM t -- x\n FORMAT Native", b"SELECT a FROM t"),
        (b"SELECT format FROM t FORMAT TSV SETTINGS a = 1;", b"SELECT format FROM t"),
        (b"(SELECT f(1, 2)) FORMAT TSV", b"(SELECT f(1, 2))"),
        (b"SELECT 1 SETTINGS a = 1 FORMAT TSV", b"SELECT 1 SETTINGS a = 1"),
        (b"", b""),
    ],
)
def test_statement_ends_before_its_format(source: bytes, bare: bytes) -> None:
    assert source[: read_statement(source).end] == bare


def test_statement_without_words_is_empty() -> None:
    assert read_statement(b" -- nothing\n /* here */ \xc2\xa0").first_word == b""


def test_only_selects_are_streamed() -> None:
    selects = (b"SELECT 1", b"(SELECT 1)", b"WITH 1 AS x SELECT x", b"FROM t SELECT a")
    others = (b"SHOW TABLES", b"DESCRIBE t", b"EXPLAIN SELECT 1", b"WITH 1 AS x INSERT INTO t VALUES (1)")

    assert [read_statement(source).is_select for source in (*selects, *others)] == [True] * 4 + [False] * 4


def test_totals_do_not_stream_but_in_native() -> None:
    statement = read_statement(b"SELECT a, count() FROM t GROUP BY a WITH TOTALS")

    assert [statement.is_streamable(format) for format in ("CSV", "Native", "native")] == [False, True, True]


def test_files_of_the_server_are_noticed() -> None:
    assert read_statement(b"SELECT 1 INTO OUTFILE 'x'").has_outfile
    assert read_statement(b"INSERT INTO t FROM INFILE 'x' FORMAT CSV").has_infile
    assert not read_statement(b"SELECT 'INTO OUTFILE'").has_outfile


def test_identifiers_are_replaced_but_not_strings() -> None:
    found = replaced(b"KILL QUERY WHERE query_id = 'query_id' AND `query_id` != 'x'", "query_id", b"Q")

    assert found == b"KILL QUERY WHERE Q = 'query_id' AND Q != 'x'"


def test_call_is_found_with_its_arguments() -> None:
    source = b"INSERT INTO t SELECT input FROM input('a String, b Array(Int8)') WHERE f(1)"

    start, arguments, end = find_call(source, "input") or (0, b"", 0)

    assert arguments == b"'a String, b Array(Int8)'"
    assert source[start:end] == b"input('a String, b Array(Int8)')"
    assert find_call(b"SELECT 1", "input") is None


@pytest.mark.parametrize("source", [b"'open", b"`open", b"/* open", b"$t$ open", b")))", b"\xff\xfe'\\'", b"'" * 999])
def test_lexer_takes_anything(source: bytes) -> None:
    assert sum(token.end - token.start for token in tokens(source)) <= len(source)
    read_statement(b"INSERT INTO " + source)
    read_statement(source)


@pytest.mark.parametrize("piece", [b"\\'", b"\\`", b"$%d$", b"$a$", b"/*", b"'`\"", b"$", b"--", b"("])
def test_lexer_reads_nothing_twice(piece: bytes) -> None:
    pieces = b"".join(piece % number if b"%" in piece else piece for number in range(100_000))

    for opening in (b"'", b"`", b""):
        found = [token.text for token in tokens(opening + pieces)]
        assert sum(map(len, found)) <= len(opening + pieces)


def test_unclosed_heredoc_is_a_mark_and_a_closed_one_a_token() -> None:
    assert [(token.kind, token.text) for token in tokens(b"$a$ x $b$ ' $b$")] == [
        ("mark", b"$"), ("word", b"a$"), ("word", b"x"), ("heredoc", b"$b$ ' $b$"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        (b"/* a /* b */ c */ SELECT 1", [b"SELECT", b"1"]),
        (b"/*/ */ SELECT 2 /**/", [b"SELECT", b"2"]),
        (b"/*/**/*/ SELECT 3", [b"SELECT", b"3"]),
        (b"/* ' /* ' */ */ SELECT '/* */'", [b"SELECT", b"'/* */'"]),
        (b"/* // */ SELECT 4 -- /*\n, 5", [b"SELECT", b"4", b",", b"5"]),
        (b"/* a /* b */ INSERT INTO t VALUES (1)", []),
    ],
)
def test_comments_nest(source: bytes, texts: list[bytes]) -> None:
    assert [token.text for token in tokens(source)] == texts
