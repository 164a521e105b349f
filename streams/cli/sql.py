"""`orbitrack sql`: one statement for the database, from the command line, a file or a name of the catalogue."""

from __future__ import annotations

import json
import logging
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli import current_session
from streams.cli.sqljson import json_array, named, with_named_floats
from streams.cli.tables import render
from streams.cli.waiting import waiting
from streams.errors import OrbitrackError, UsageError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.clickhouse.progress import QueryProgress

__all__ = ["command"]

FORMATS = ("table", "json", "jsonl", "csv", "arrow", "parquet")
SERVER_FORMATS = {
    "table": "JSONCompactEachRowWithNamesAndTypes", "json": "JSONEachRow", "jsonl": "JSONEachRow", "csv": "CSVWithNames",
    "arrow": "ArrowStream", "parquet": "Parquet",
}
# A terminal shows no more without being asked.
TABLE_ROWS = 1000
# What only reads; a limit for anything else would cut what INSERT ... SELECT writes.
READS = re.compile(
    r"""(?> \s | --[^\n]*\n | /\*.*?\*/ | \( )*+
    (?: SELECT | WITH | FROM | SHOW | DESC | DESCRIBE | EXPLAIN | EXISTS )\b (?! .*\bINSERT\s+INTO\b )""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
# An INSERT that ends where its data should begin.
WANTS_DATA = re.compile(r"\s*(?:WITH\b.*)?INSERT\s+INTO\b.*\bFORMAT\s+\w+\s*;?\s*\Z", re.IGNORECASE | re.DOTALL)
PIECE_BYTES = 1 << 20


@click.command()
@click.argument("query", required=False)
@click.option("--named", metavar="NAME", help="A query of the SLA catalogue instead of SQL.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Parameter of a named query, or of {K:Type} in SQL.")
@click.option("--list", "listing", is_flag=True, help="Show the named queries.")
@click.option("--show", is_flag=True, help="Print the SQL of a named query instead of asking it.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the name of -o FILE, else table.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
@click.option("--dsn", metavar="URL", help="Database; default: [database] dsn.")
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write there.")
def command(
    query: str | None, named: str | None, params: Sequence[str], listing: bool, show: bool, form: str | None, limit: int | None,
    dsn: str | None, output: Path | None,
) -> None:
    """Ask the database.

    QUERY is SQL; `-`, or none when stdin is not a terminal, reads it from there. None on a terminal is interactive.
    `INSERT INTO t FORMAT CSV` takes its data from stdin. Times are printed as RFC 3339 UTC; a FORMAT clause in QUERY wins.
    """
    form = form or form_of(output)
    if listing:
        if query or named or params:
            raise UsageError("--list stands alone")
        write(list_queries(form), output)
        return
    if query and named:
        raise UsageError("give SQL or --named, not both")
    arguments = dict(split_param(param) for param in params)
    sql, parameters = (query or "", arguments) if not named else bind(named, arguments)
    if not named and query in (None, "-"):
        if query is None and sys.stdin.isatty():
            converse(connection(dsn), limit)
            return
        sql = sys.stdin.read()
        query = None
    if not sql.strip(" \t\n;"):
        raise UsageError("the query is empty")
    if show:
        write([sql.encode() + b"\n"], output)
        return
    data = stdin_pieces() if query and WANTS_DATA.match(query) else None
    query_id = str(uuid.uuid4())
    pieces = answer(connection(dsn), sql, parameters, form, limit, query_id=query_id, data=data)
    with closing(progress_of(dsn, query_id)) as progress:
        write(pieces, output, progress.look)


def form_of(output: Path | None) -> str:
    suffix = output.suffix.lstrip(".").lower() if output else ""
    return suffix if suffix in FORMATS else "table"


def stdin_pieces() -> Iterator[bytes]:
    """What follows an INSERT that has no data of its own."""
    if sys.stdin.isatty():
        raise UsageError('the INSERT has no data\n  hint: orbitrack sql "INSERT INTO t FORMAT CSV" < t.csv')
    stdin = click.get_binary_stream("stdin")
    return iter(lambda: stdin.read(PIECE_BYTES), b"")


def split_param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--param {text}: is not K=V\n  hint: --param from=2026-10-01")
    return name.strip(), value


def bind(name: str, arguments: dict[str, str]) -> tuple[str, dict[str, Any]]:
    from streams.clickhouse.queries import named

    bound = named(name).bind(arguments)
    return bound.sql, dict(bound.parameters)


def connection(dsn: str | None) -> Client:
    return connector(dsn)()


def connector(dsn: str | None) -> Callable[[], Client]:
    """Connects when called, in any thread; what configuration says is read now, in this one."""
    from streams.clickhouse.client import connect

    for name in ("clickhouse_connect", "urllib3"):      # they log what we are about to say
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if dsn:
        return partial(connect, dsn)
    database = current_session().config.database
    return partial(connect, database.dsn, **database.login)


def progress_of(dsn: str | None, query_id: str) -> QueryProgress:
    from streams.clickhouse.progress import QueryProgress

    return QueryProgress(connector(dsn), query_id)


def converse(client: Client, limit: int | None) -> None:
    from streams.cli.interactive import interact

    interact(client, lambda sql, parameters, form: answer(client, sql, parameters, form, limit), bind)


def answer(
    client: Client, sql: str, parameters: dict[str, Any], form: str, limit: int | None, *, query_id: str | None = None,
    data: Iterable[bytes] | None = None,
) -> Iterator[bytes]:
    """The answer as bytes of the format, in pieces."""
    from streams.clickhouse.ask import open_stream

    is_table, reads = form == "table", READS.match(sql) is not None
    settings = {"query_id": query_id} if query_id else {}
    stream = open_stream(
        client, sql, parameters, SERVER_FORMATS[form], (limit or (TABLE_ROWS + 1 if is_table else None)) if reads else None,
        is_whole=is_table and reads, settings=settings | {"output_format_json_quote_denormals": 1}, data=data,
    )
    if stream.written_rows and not reads:
        click.echo(f"rows written: {stream.written_rows}", err=True)
    if stream.format.lower() != SERVER_FORMATS[form].lower():       # nothing to show, or a FORMAT clause of its own
        yield from stream.pieces
    elif is_table:
        yield from table(stream.pieces, limit)
    elif form in ("json", "jsonl"):
        lines = with_named_floats(stream.pieces, lambda: types(client, sql, parameters))
        yield from json_array(lines) if form == "json" else lines
    else:
        yield from stream.pieces


def table(pieces: Iterator[bytes], limit: int | None) -> Iterator[bytes]:
    names, kinds, *rows = [json.loads(line) for line in b"".join(pieces).splitlines()] or [[], []]
    for index, kind in enumerate(kinds):
        if "Float" in kind:
            for row in rows:
                row[index] = float(row[index]) if isinstance(row[index], str) else named(row[index])
    cut = limit is None and len(rows) > TABLE_ROWS
    if names:
        yield ("\n".join(render(names, rows[:TABLE_ROWS] if cut else rows, "table")) + "\n").encode()
    if cut:
        click.echo(f"{TABLE_ROWS} rows shown, there are more: --limit N, or another --format", err=True)


def types(client: Client, sql: str, parameters: dict[str, Any]) -> dict[str, str]:
    """The types of the columns of a query, as far as they can be told."""
    from streams.clickhouse.ask import ask_rows

    try:
        return {row[0]: row[1] for row in ask_rows(client, f"DESCRIBE TABLE ({sql.strip().rstrip(';')}\n)", parameters)[1]}
    except OrbitrackError:
        return {}


def list_queries(form: str) -> Iterator[bytes]:
    from streams.clickhouse.queries import OPTIONAL, catalogue

    queries = catalogue().values()
    rows: list[list[Any]]
    if form in ("table", "csv"):
        names = ["query", "parameters", "question"]
        rows = [[q.name, " ".join(name for name in q.parameters if name not in OPTIONAL), q.title] for q in queries]
    elif form == "json":
        names = ["name", "title", "keys", "columns", "parameters"]
        rows = [[q.name, q.title, list(q.keys), list(q.columns), list(map(asdict, q.parameters.values()))] for q in queries]
    else:
        raise UsageError(f"--list cannot be printed as {form}\n  hint: table, json or csv")
    yield ("\n".join(render(names, rows, form)) + "\n").encode()


def write(pieces: Iterable[bytes], output: Path | None, look: Callable[[], str] | None = None) -> None:
    """A file is there when all of it is: an answer that breaks off leaves an older one as it is."""
    iterator = iter(pieces)
    with waiting("asking the database", look):
        first = next(iterator, b"")
    if output is None:
        stdout = click.get_binary_stream("stdout")
        for piece in chain([first], iterator):
            stdout.write(piece)
        stdout.flush()
        return
    is_special = output.exists() and not output.is_file()           # /dev/null, a named pipe
    part = output if is_special else output.with_name(output.name + ".part")
    try:
        with part.open("wb") as stream:
            for piece in chain([first], iterator):
                stream.write(piece)
        if not is_special:
            part.replace(output)
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror}") from error
    finally:
        if not is_special:
            part.unlink(missing_ok=True)
