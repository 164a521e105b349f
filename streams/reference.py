"""What operators tell us of entities, maintenance and contacts, in files of theirs.

    tables = read_reference([Path("sites.yaml"), Path("contacts.csv")])     # DefinitionError: file, line, what, hint
    tables["entities"]["link-1"]              # {"entity": "link-1", "kind": "link", ...}, every column

A YAML file is a mapping of tables to lists of rows; a CSV file is one table, named as the file (`contacts.csv`,
`contacts-2026-10.csv`), with a header. Columns are those of the database tables; in CSV, `attrs.NAME` is an entry of attrs.
Times are RFC 3339, UTC where they have no offset. A maintenance or contact without `id` gets one from what it is about and
when it starts.

A file that lists a table owns what it lists: streams/clickhouse/reference.py makes the database say the same.
"""

from __future__ import annotations

import csv
import hashlib
import io
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streams.errors import DefinitionError
from streams.yamlfile import Mistakes, Node, documents, read_text, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["KEYS", "Row", "read_reference"]

Row = dict[str, Any]

# A pass schedule of a year for a fleet has 100,000 rows; more than this is a wrong file.
FILE_BYTES_MAX = 64 << 20
SECONDS_MAX = (1 << 32) - 1                 # of DateTime
ID_DIGITS_MAX = 20                          # of 64 bits


def name(node: Node) -> str:
    """A text that is not empty; a number stands for its digits."""
    return str(node.value) if is_number(node.value) else node.text().strip()


def label(node: Node) -> str:
    return "" if node.value in (None, "") else name(node)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def zones() -> set[str]:
    """All that this machine knows: a walk through its files, of 10 ms, and there may be a zone in every row."""
    return zoneinfo.available_timezones()


def zone(node: Node) -> str:
    word, known = name(node), zones()
    if word not in known:
        node.fail(f"'{node.key}' cannot be {node.describe()}", suggestion(word, known) if len(word) > 2 else "an IANA zone")
    return word


def attributes(node: Node) -> dict[str, str]:
    """Texts and numbers by name."""
    return {key: label(value) for key, value in node.mapping().items() if value.value is not None}


def identifier(node: Node) -> int:
    text = str(node.value)
    if not text.isascii() or not text.isdigit() or len(text) > ID_DIGITS_MAX or int(text) >= 1 << 64:
        node.fail(f"'{node.key}' must be a whole number from 0, not {node.describe()}", "leave it out to get one")
    return int(text)


def decimal(node: Node) -> float:
    if isinstance(node.value, str):
        try:
            node.value = float(node.value)
        except ValueError:
            node.fail(f"'{node.key}' must be a number, not {node.describe()}")
    return node.number()


def flag(node: Node) -> int:
    words = {1: 1, 0: 0, "1": 1, "0": 0, "true": 1, "false": 0}         # True and False are 1 and 0
    value = node.value.lower() if isinstance(node.value, str) else node.value
    if not isinstance(value, str | int) or value not in words:
        node.fail(f"'{node.key}' must be true or false, not {node.describe()}")
    return words[value]


def instant(node: Node) -> datetime:
    """UTC, whole seconds."""
    value = node.value
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day, tzinfo=UTC)
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        time = time.replace(microsecond=0, tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):                     # a year before 1, after 9999
        node.fail(f"'{node.key}' must be a time, not {node.describe()}", "for example 2026-10-01T22:00:00Z")
    if not 0 <= time.timestamp() <= SECONDS_MAX:
        node.fail(f"'{node.key}' is {time:%Y-%m-%d}", "the database holds times from 1970 to 2106")
    return time


@dataclass(frozen=True)
class Column:
    """How a value is read; None as `default` means that it must be there."""

    read: Callable[[Node], Any]
    default: Any = None


COLUMNS: dict[str, dict[str, Column]] = {
    "entities": {
        "entity": Column(name), "kind": Column(label, ""), "site": Column(label, ""), "customer": Column(label, ""),
        "zone": Column(zone, "UTC"), "attrs": Column(attributes, {}),
    },
    "maintenance": {
        "id": Column(identifier, 0), "entity": Column(name), "start": Column(instant), "end": Column(instant),
        "reason": Column(name, "planned"), "cancelled": Column(flag, 0),
    },
    "contacts": {
        "id": Column(identifier, 0), "spacecraft": Column(name), "station": Column(name), "aos": Column(instant),
        "los": Column(instant), "required_snr_db": Column(decimal, 0.0),
    },
}
KEYS = {"entities": "entity", "maintenance": "id", "contacts": "id"}
SPANS = {"maintenance": ("start", "end"), "contacts": ("aos", "los")}
# What an id is made of where a row has none; another start is then another row.
OWN_ID = {"maintenance": ("entity", "start"), "contacts": ("spacecraft", "station", "aos")}


def read_reference(files: Iterable[Path], mistakes: Mistakes | None = None) -> dict[str, dict[Any, Row]]:
    """The rows of every table that some file lists, by key.

    With `mistakes` they are noted there and what is right is returned; without, the first is raised.
    """
    found = Mistakes() if mistakes is None else mistakes
    tables: dict[str, dict[Any, Row]] = {}
    places: dict[tuple[str, Any], Node] = {}
    for file in files:
        for table, rows in listed(file, found):
            held = tables.setdefault(table, {})
            for node in rows:
                row = node.attempt(lambda table=table, node=node: read_row(table, node), None)  # type: ignore[misc]
                if row is None:
                    continue
                key = row[KEYS[table]]
                if (first := places.setdefault((table, key), node)) is not node:
                    node.note(f"'{key}' is listed twice", f"it stands in {first.file}:{first.line} too")
                held[key] = row
    if mistakes is None:
        found.raise_first()
    return tables


def listed(file: Path, mistakes: Mistakes) -> Iterator[tuple[str, list[Node]]]:
    """The tables of a file and their rows, each a mapping of columns."""
    mistakes.files.setdefault(str(file))
    try:
        text = read_text(file, FILE_BYTES_MAX)
    except DefinitionError as error:
        mistakes.note(error)
    else:
        if file.suffix.lower() == ".csv":
            yield from csv_tables(file, text, mistakes)
            return
        for document in documents(text, file, mistakes):
            document.attempt(lambda document=document: document.allow(*COLUMNS), None)  # type: ignore[misc]
            for table in COLUMNS:
                rows = document.get(table) if isinstance(document.value, dict) else None
                if rows is not None:
                    yield table, rows.attempt(rows.items, []) if rows.value is not None else []


def csv_tables(file: Path, text: str, mistakes: Mistakes) -> Iterator[tuple[str, list[Node]]]:
    table = next((each for each in COLUMNS if file.stem.lower().startswith(each)), None)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        if table is None:
            raise DefinitionError("is no table by its name", file=file, hint=f"a CSV file is named {', '.join(COLUMNS)}")
        header = [column.strip() for column in next(reader, [])]
        check_header(file, reader.line_num, header)
        rows = []
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                what = f"has {len(cells)} cells under a header of {len(header)}"
                mistakes.note(DefinitionError(what, file=file, line=reader.line_num, hint="quote cells with commas"))
                continue
            rows.append(csv_row(file, reader.line_num, header, cells, mistakes))
        yield table, rows
    except csv.Error as error:
        mistakes.note(DefinitionError(f"is not CSV: {error}", file=file, line=reader.line_num))
    except DefinitionError as error:
        mistakes.note(error)


def check_header(file: Path, line: int, header: list[str]) -> None:
    """Of two columns for the same thing the second would silently win."""
    for number, column in enumerate(header):
        if column and column in header[:number]:
            what = f"column '{column}' stands twice in the header"
            raise DefinitionError(what, file=file, line=line, hint="leave one of them out")
    parts = [column for column in header if column.startswith("attrs.")]
    if parts and "attrs" in header:
        raise DefinitionError(f"column 'attrs' stands beside '{parts[0]}'", file=file, line=line, hint="keep those with a name")


def csv_row(file: Path, line: int, header: list[str], cells: list[str], mistakes: Mistakes) -> Node:
    """Empty cells are left out: the column then has its default."""
    columns: dict[str, Node] = {}
    attrs: dict[str, Node] = {}
    for column, cell in zip(header, cells, strict=True):
        if not cell.strip():
            continue
        made = Node(cell.strip(), file, line, column, mistakes)
        if column.startswith("attrs."):
            attrs[column.removeprefix("attrs.")] = made
        else:
            columns[column] = made
    if attrs:
        columns["attrs"] = Node(attrs, file, line, "attrs", mistakes)
    return Node(columns, file, line, "", mistakes)


def read_row(table: str, node: Node) -> Row:
    columns = COLUMNS[table]
    node.allow(*columns)
    row: Row = {}
    for column, kind in columns.items():
        given = node.need(column) if kind.default is None else node.get(column)
        row[column] = kind.default if given is None else kind.read(given)
    if table in SPANS:
        start, end = SPANS[table]
        if row[end] < row[start]:
            node.need(end).fail(f"'{end}' is before '{start}'", "times without an offset are UTC")
        if node.get("id") is None:
            row["id"] = own_id(table, row)
    return row


def own_id(table: str, row: Row) -> int:
    text = "\n".join([table, *(str(row[column]) for column in OWN_ID[table])])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")
