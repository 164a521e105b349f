"""`orbitrack sql` on a terminal: a prompt with history and completion.

A statement ends with `;` and may take several lines. Lines that begin with a backslash are for the prompt itself; `\\help`
lists them. It knows the terminal and the client, nothing of what is asked.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from streams.cli.waiting import waiting
from streams.clickhouse.ask import ask_rows
from streams.clickhouse.queries import catalogue
from streams.errors import OrbitrackError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["interact"]

Answer = Callable[[str, dict[str, Any], str], Iterable[bytes]]
HELP = """\
\\named NAME K=V ...   ask a query of the SLA catalogue
\\list                 the catalogue
\\tables               tables and views
\\format FORMAT        table, json, jsonl or csv
\\quit                 or Ctrl-D; Ctrl-C forgets the line
A statement ends with ; and may take several lines."""
COMMANDS = ("\\named", "\\list", "\\tables", "\\format", "\\help", "\\quit")
FORMATS = ("table", "json", "jsonl", "csv")
TABLES = "SELECT name, engine, comment FROM system.tables WHERE database = currentDatabase() ORDER BY name"
WORDS = """
SELECT name FROM system.tables WHERE database = currentDatabase()
UNION DISTINCT SELECT name FROM system.columns WHERE database = currentDatabase()
UNION DISTINCT SELECT name FROM system.functions WHERE NOT startsWith(name, '_')"""
KEYWORDS = (
    "SELECT", "FROM", "WHERE", "GROUP", "BY", "ORDER", "HAVING", "LIMIT", "INTERVAL", "FINAL", "WITH", "JOIN", "ON", "USING",
    "DESC", "AS", "AND", "OR", "NOT", "IN", "BETWEEN", "UNION", "ALL", "DISTINCT", "INSERT", "INTO", "VALUES", "SHOW", "TABLES",
    "DESCRIBE", "EXPLAIN",
)


class Words(Completer):
    """Completes commands, formats, catalogue names and their parameters, and the words of the database."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = sorted({*words, *KEYWORDS}, key=str.lower)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        word = line.split(" ")[-1] if line.startswith("\\") else document.get_word_before_cursor()
        for candidate in self.candidates(line, word):
            if candidate.lower().startswith(word.lower()):
                yield Completion(candidate, start_position=-len(word))

    def candidates(self, line: str, word: str) -> Iterable[str]:
        if not line.startswith("\\"):
            return self.words if word else ()
        before = line.split(" ")[:-1]
        if not before:
            return COMMANDS
        if before[0] == "\\format":
            return FORMATS
        if before[0] == "\\named" and len(before) == 1:
            return catalogue()
        query = catalogue().get(before[1]) if before[0] == "\\named" else None
        return [f"{name}=" for name in query.parameters] if query else ()


def interact(client: Client, answer: Answer, named: Callable[[str, dict[str, str]], tuple[str, dict[str, Any]]]) -> None:
    """Until Ctrl-D. `answer(sql, parameters, format)` gives the text, `named(name, arguments)` the SQL of a query."""
    session: PromptSession[str] = PromptSession(
        "orbitrack> ", history=history(), completer=Words(row[0] for row in ask_rows(client, WORDS)[1]), multiline=True,
        key_bindings=keys(), prompt_continuation="      ...> ", complete_while_typing=False,
    )
    click.echo("\\help shows what the prompt knows; Ctrl-D ends.")
    form = "table"
    while True:
        try:
            line = session.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        try:
            command, *rest = shlex.split(line[1:]) if line.startswith("\\") else [""]
            if command in ("quit", "q"):
                return
            if command == "format" and rest and rest[0] in FORMATS:
                form = rest[0]
            elif command == "named" and rest:
                show(answer, *named(rest[0], dict(argument.split("=", 1) for argument in rest[1:])), form)
            elif command == "list":
                click.echo("\n".join(f"{query.name:22} {query.title}" for query in catalogue().values()))
            elif command == "tables":
                show(answer, TABLES, {}, "table")
            elif command or line.startswith("\\"):
                click.echo(HELP)
            elif line.strip("; "):
                show(answer, line, {}, form)
        except (OrbitrackError, ValueError) as error:
            click.echo(str(error), err=True)
        except KeyboardInterrupt:
            click.echo("given up", err=True)


def show(answer: Answer, sql: str, parameters: dict[str, Any], form: str) -> None:
    started = time.monotonic()
    pieces = iter(answer(sql, parameters, form))
    with waiting("asking the database"):
        first = next(pieces, b"")
    for piece in chain([first], pieces):
        click.echo(piece, nl=False)
    click.echo(f"{time.monotonic() - started:.3f} s", err=True)


def keys() -> KeyBindings:
    """Enter ends what is whole: a command of the prompt, an empty line, a statement with its `;`."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        text = event.current_buffer.text.strip()
        if not text or text.startswith("\\") or text.endswith(";"):
            event.current_buffer.validate_and_handle()
        else:
            event.current_buffer.insert_text("\n")

    return bindings


def history() -> History:
    """$XDG_STATE_HOME/orbitrack/sql_history, readable by its owner; in memory where that cannot be written."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "orbitrack"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sql_history").touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(folder / "sql_history")
