"""Rows as people and other programs want them: a table, JSON, CSV, Markdown, HTML.

    for text in render(["entity", "sli"], [["JPSS-1", 0.9983]], "table"):
        click.echo(text)

A table is one line a row under a header, nothing cut, numbers to the right.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["FORMATS", "cell", "printable", "render"]

FORMATS = ("table", "json", "csv", "md", "html")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
Rows = Sequence[Sequence[Any]]


def render(names: Sequence[str], rows: Rows, form: str) -> Iterator[str]:
    """Text in pieces without trailing newline, to be printed one after another."""
    renderers = {"table": as_table, "json": as_json, "csv": as_csv, "md": as_markdown, "html": as_html}
    return renderers[form](names, rows)


def cell(value: Any) -> str:
    """One value as a table shows it: floats to six digits, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, dict | list) else printable(str(value))


def printable(text: str) -> str:
    """Control characters as escapes: a device's text shall neither break a line nor speak to the terminal."""
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def as_table(names: Sequence[str], rows: Rows) -> Iterator[str]:
    cells = [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [all(isinstance(row[index], int | float | None) for row in rows) for index in range(len(names))]

    def line(texts: Sequence[str]) -> str:
        padded = (text.rjust(w) if right else text.ljust(w) for text, w, right in zip(texts, widths, numeric, strict=True))
        return "  ".join(padded).rstrip()

    yield line(names)
    yield from map(line, cells)


def as_json(names: Sequence[str], rows: Rows) -> Iterator[str]:
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, allow_nan=False) for row in rows]
    yield "[" + ",\n ".join(lines) + "]"


def as_csv(names: Sequence[str], rows: Rows) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([json.dumps(value) if isinstance(value, dict | list) else value for value in row] for row in rows)
    yield buffer.getvalue().rstrip("\n")


def as_markdown(names: Sequence[str], rows: Rows) -> Iterator[str]:
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in rows:
        yield "| " + " | ".join(cell(value).replace("|", "\\|") for value in row) + " |"


def as_html(names: Sequence[str], rows: Rows) -> Iterator[str]:
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>orbitrack</title>'
    yield "<style>body{font-family:sans-serif}td,th{padding:.2em .8em;text-align:left}</style>"
    yield "</head><body><table>\n<tr>" + "".join(f"<th>{html.escape(name)}</th>" for name in names) + "</tr>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>"
    yield "</table></body></html>"
