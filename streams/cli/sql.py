"""`orbitrack sql`: one question to the database, from the command line, a file or a name of the catalogue."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.cli import current_session
from streams.cli.tables import render
from streams.cli.waiting import waiting
from streams.errors import UsageError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["command"]

FORMATS = ("table", "json", "jsonl", "csv", "arrow", "parquet")
SERVER_FORMATS = {"jsonl": "JSONEachRow", "csv": "CSVWithNames", "arrow": "ArrowStream", "parquet": "Parquet"}
# A terminal shows no more without being asked.
TABLE_ROWS = 1000


@click.command()
@click.argument("query", required=False)
@click.option("--named", metavar="NAME", help="A query of the SLA catalogue instead of SQL.")
@click.option("--param", "params", multiple=True, metavar="K=V", help="Parameter of a named query, or of {K:Type} in SQL.")
@click.option("--list", "listing", is_flag=True, help="Show the named queries.")
@click.option("--show", is_flag=True, help="Print the SQL of a named query instead of asking it.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most so many rows.")
@click.option("--dsn", metavar="URL", help="Database; default: [database] dsn.")
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write there.")
def command(
    query: str | None, named: str | None, params: Sequence[str], listing: bool, show: bool, form: str | None, limit: int | None,
    dsn: str | None, output: Path | None,
) -> None:
    """Ask the database.

    QUERY is SQL; `-`, or none when stdin is not a terminal, reads it from there. None on a terminal is interactive.
    Times are printed as RFC 3339 UTC.
    """
    form = form or "table"
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
    if not sql.strip(" \t\n;"):
        raise UsageError("the query is empty")
    if show:
        write([sql.encode() + b"\n"], output)
        return
    write(answer(connection(dsn), sql, parameters, form, limit), output)


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
    from streams.clickhouse.client import connect

    for name in ("clickhouse_connect", "urllib3"):      # they log what we are about to say
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if dsn:
        return connect(dsn)
    database = current_session().config.database
    return connect(database.dsn, **database.login)


def converse(client: Client, limit: int | None) -> None:
    from streams.cli.interactive import interact

    interact(client, lambda sql, parameters, form: answer(client, sql, parameters, form, limit), bind)


def answer(client: Client, sql: str, parameters: dict[str, Any], form: str, limit: int | None) -> Iterator[bytes]:
    """The answer as bytes of the format, in pieces."""
    from streams.clickhouse.ask import ask_rows, ask_stream

    sql = sql.strip().rstrip(";")
    if form in SERVER_FORMATS:
        yield from ask_stream(client, sql, parameters, SERVER_FORMATS[form], limit)
    elif form == "json":
        yield from json_array(ask_stream(client, sql, parameters, "JSONEachRow", limit))
    else:
        names, rows = ask_rows(client, sql, parameters, limit or TABLE_ROWS + 1)
        cut = limit is None and len(rows) > TABLE_ROWS
        if names:
            yield ("\n".join(render(names, rows[:TABLE_ROWS] if cut else rows, "table")) + "\n").encode()
        if cut:
            click.echo(f"{TABLE_ROWS} rows shown, there are more: --limit N, or another --format", err=True)


def json_array(lines: Iterable[bytes]) -> Iterator[bytes]:
    """One JSON object a line, in pieces cut anywhere -> one JSON array, in pieces."""
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


def write(pieces: Iterable[bytes], output: Path | None) -> None:
    """A file is there when all of it is: an answer that breaks off leaves an older one as it is."""
    iterator = iter(pieces)
    with waiting("asking the database"):
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
