"""The named queries: questions that a contract asks, with fixed meanings, parameters and columns.

    query = named("availability")                             # UsageError with the nearest name if there is none
    bound = query.bind({"from": "2026-10-01", "to": "2026-11-01", "zone": "Europe/Stockholm"})
    bound.sql, bound.parameters                               # {name:Type} placeholders, bound by the server

Each is a file schemas/clickhouse/queries/NAME.sql: a header of `-- key: value` lines, from which `markdown()` makes
docs/sla.md, then SQL. In the SQL stand `{name:Type}`, filled by the server, and `[[...]]`, filled here from checked words
only: `[[use NAME]]` a common table expression of common.sql, `[[selected COLUMN]]` the condition of entity, kind, site and
customer, `[[span COLUMN]]` or `[[span COLUMN START | END]]` that of the time, `[[fields]]` the columns of `by`, `[[texts]]`
the same as text, `[[keys]]` the same as one tuple for IN. This module runs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from textwrap import indent

from streams.clickhouse.parameters import PARAMETERS, TYPES, WRITTEN, Parameter, Values, field_keys, field_texts, selection
from streams.errors import UsageError, nearest
from streams.resources import schemas

__all__ = ["OPTIONAL", "Bound", "NamedQuery", "catalogue", "markdown", "named"]

HEADER = re.compile(r"-- ([a-z]+): ?(.*)")
MACRO = re.compile(r"\[\[(\w+)\s*([^\]]*)\]\]")
ASKED_SPAN = "{from:DateTime('UTC')} | {to:DateTime('UTC')}"
OPTIONAL = ("zone", "entity", "kind", "site", "customer")
SPANS = {"span": ("from", "to"), "month": ("from", "to", "month"), "at": ("at",)}


@dataclass(frozen=True)
class Bound:
    """A query ready to be sent."""

    sql: str
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class NamedQuery:
    name: str
    title: str
    meaning: tuple[str, ...]
    span: str                                    # span: from and to; month: or a month instead; at: a moment
    parameters: Mapping[str, Parameter]
    keys: tuple[str, ...]
    columns: Mapping[str, str]                   # name -> meaning, without the keys
    fixed: Mapping[str, str]                     # values that the SQL needs and nobody chooses
    body: str

    def bind(self, arguments: Mapping[str, str]) -> Bound:
        """Check the arguments, fill in defaults. UsageError says what is wrong and what would be right."""
        for name in arguments:
            if name not in self.parameters:
                near = nearest(name, self.parameters)
                hint = f"did you mean '{near}'?" if near else f"it takes {' '.join(self.parameters)}"
                raise UsageError(f"{self.name} has no parameter '{name}'\n  hint: {hint}")
        self.check_span(arguments)
        given = {**{n: p.default for n, p in self.parameters.items() if p.default is not None}, **arguments}
        values: Values = dict(self.fixed)
        for name, parameter in self.parameters.items():
            if name in given:
                values |= TYPES[parameter.type](parameter, given[name], given)
        if "from" in values and str(values["from"]) >= str(values["to"]):
            raise UsageError(f"{self.name}: the span is empty: it starts at {values['from']} and ends at {values['to']} UTC")
        fields = tuple(str(given.get("by", "")).replace(" ", "").split(","))
        sql = self.expand(self.body, given, fields)
        return Bound(sql, {name: value for name, value in values.items() if f"{{{name}:" in sql})

    def check_span(self, arguments: Mapping[str, str]) -> None:
        if self.span == "month" and "month" in arguments:
            both = [name for name in ("from", "to") if name in arguments]
            if both:
                raise UsageError(f"{self.name}: '{both[0]}' and 'month' exclude each other")
            return
        for name, parameter in self.parameters.items():
            if parameter.required and name not in arguments:
                hint = " (or month=2026-10)" if self.span == "month" else ""
                raise UsageError(f"{self.name} needs the parameter '{name}'{hint}\n  hint: --param {name}={parameter.example}")

    def expand(self, text: str, given: Mapping[str, str], fields: tuple[str, ...]) -> str:
        """`text` with every `[[...]]` filled in."""

        def fill(match: re.Match[str]) -> str:
            macro, words = match[1], match[2].split()
            if macro == "use":
                return f"{words[0]} AS (\n{indent(self.expand(common()[words[0]], given, fields), '    ')}\n)"
            if macro == "selected":
                return selection(given, *words)
            if macro == "span":
                return span_condition(words[0], match[2].removeprefix(words[0]).strip() or ASKED_SPAN)
            makers = {"fields": ", ".join, "texts": field_texts, "keys": field_keys}
            assert macro in makers, f"unknown macro {match[0]} in {self.name}.sql"
            return makers[macro](fields)

        return MACRO.sub(fill, text)


def span_condition(column: str, span: str) -> str:
    """SQL: does the window that starts at `column` belong to `START | END`?

    The engine does not see by itself that a bound on `bucket` is one on toStartOfHour(bucket), which leads the key of the
    tables: without the last two conditions a day of a month reads all of it (654 of 654 granules, with them 22).
    """
    start, end = (text.strip() for text in span.split("|"))
    hour = f"toStartOfHour({column})"
    return f"({column} >= {start} AND {column} < {end} AND {hour} >= toStartOfHour({start}, 'UTC') AND {hour} < {end})"


@cache
def common() -> dict[str, str]:
    """The common table expressions of common.sql by name."""
    parts = re.split(r"^--- (\w+)\n", (schemas("clickhouse") / "queries" / "common.sql").read_text(), flags=re.M)
    return {name: re.sub(r"^--.*\n", "", text, flags=re.M).strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def catalogue() -> Mapping[str, NamedQuery]:
    """All named queries, by name in the order of the alphabet."""
    files = {file.name.removesuffix(".sql"): file for file in (schemas("clickhouse") / "queries").iterdir()}
    return {name: read(name, files[name].read_text()) for name in sorted(files.keys() - {"common"})}


def named(name: str) -> NamedQuery:
    queries = catalogue()
    if name not in queries:
        near = nearest(name, queries)
        hint = f"did you mean '{near}'?" if near else "orbitrack sql --list shows them"
        raise UsageError(f"there is no query '{name}'\n  hint: {hint}")
    return queries[name]


def read(name: str, text: str) -> NamedQuery:
    """One file. The header is ours, so a mistake in it is an assertion."""
    header: dict[str, list[str]] = {}
    lines = text.splitlines()
    while lines and (match := HEADER.fullmatch(lines[0])):
        header.setdefault(match[1], []).append(match[2])
        lines.pop(0)
    unknown = header.keys() - {"title", "meaning", "span", "param", "fixed", "key", "column"}
    assert not unknown and header.get("title"), f"{name}.sql: bad header: {unknown or 'no title'}"
    span = header.get("span", ["span"])[0]
    own = [Parameter.parse(line) for line in header.get("param", [])]
    parameters = {word: PARAMETERS[word] for word in SPANS[span]}
    parameters |= {parameter.name: parameter for parameter in own} | {word: PARAMETERS[word] for word in OPTIONAL}
    columns = dict(line.split(" | ", 1) for line in header["column"])
    return NamedQuery(
        name=name, title=header["title"][0], meaning=tuple(header.get("meaning", [])), span=span, parameters=parameters,
        keys=tuple(header["key"][0].split()), columns={column.strip(): meaning for column, meaning in columns.items()},
        fixed=dict(line.split(" = ") for line in header.get("fixed", [])), body="\n".join(lines).strip(),
    )


def markdown() -> str:
    """docs/sla.md."""
    parts = [INTRODUCTION, "| type | what may be written |\n|---|---|"]
    parts += [f"| {name} | {text} |" for name, text in WRITTEN.items()]
    parts.append("")
    for query in catalogue().values():
        parts.append(f"## {query.name}\n\n{query.title}\n")
        if query.meaning:
            parts.append("\n".join(query.meaning) + "\n")
        parts.append("| parameter | type | default | meaning |\n|---|---|---|---|")
        for p in query.parameters.values():
            if p.name not in OPTIONAL:
                default = "required" if p.required else f"`{p.default}`" if p.default else ""
                parts.append(f"| `{p.name}` | {p.type} | {default} | {p.meaning} |")
        parts.append("\n| column | meaning |\n|---|---|")
        parts += [f"| `{key}` | key |" for key in query.keys]
        parts += [f"| `{name}` | {meaning} |" for name, meaning in query.columns.items()]
        parts.append("")
    return "\n".join(parts)


INTRODUCTION = """\
# The SLA catalogue

<!-- Generated from schemas/clickhouse/queries/*.sql by `python -m streams.clickhouse.queries`; do not edit. -->

    orbitrack sql --list
    orbitrack sql --named availability --param from=2026-10-01 --param to=2026-11-01 --param zone=Europe/Stockholm

Every query counts minutes of `windows_1m`, or 10 s windows where it says so, with late revisions resolved. A minute
belongs to the span if it starts in [from, to). Times are RFC 3339 or `YYYY-MM-DD`; `zone` reads those without an offset
and cuts days, weeks and months; without it that is UTC. All take `entity`, `kind`, `site` and `customer`: exact or a
glob with `*`, joined by AND. Ratios are fractions 0..1 except columns ending in `_pct`. No data is null.
"""


if __name__ == "__main__":
    print(markdown(), end="")
