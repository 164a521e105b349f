"""`orbitrack slo report` and `orbitrack slo explain`: what was promised, what was kept, and the SQL behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click

from streams.cli import current_session
from streams.cli.tables import FORMATS, render
from streams.clock import NS, format_time, parse_duration_ns, wall_clock_ns
from streams.errors import UsageError, nearest
from streams.resources import schemas

if TYPE_CHECKING:
    from streams.slo import Line, Slo, Span

__all__ = ["command"]


@click.group()
def command() -> None:
    """Report service levels against OpenSLO objectives."""


def common_options(function: Any) -> Any:
    for option in reversed((
        click.option("--file", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
                     help="OpenSLO files; default: [slo] files, else the two that come along."),
        click.option("--window", metavar="DURATION", help="The time before now (or before --to): 1h, 7d."),
        click.option("--month", metavar="YYYY-MM", help="A calendar month in the SLO's zone."),
        click.option("--from", "start", metavar="TIME", help="Start; needs --to. Without an offset: in the SLO's zone."),
        click.option("--to", "end", metavar="TIME", help="End, not part of the span."),
    )):
        function = option(function)
    return function


@command.command()
@click.option("--slo", "names", multiple=True, metavar="NAME", help="Only this SLO; may be repeated.")
@common_options
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--dsn", metavar="URL", help="Database; default: [database] dsn.")
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write there instead of to stdout.")
def report(
    names: Sequence[str], files: Sequence[Path], window: str | None, month: str | None, start: str | None, end: str | None,
    form: str, dsn: str | None, output: Path | None,
) -> None:
    """SLI, budget, burn rates and state of every SLO and entity.

    Without --window, --month or --from: each SLO's own time window up to now.
    """
    from streams.cli.sql import connection, write
    from streams.clickhouse.levels import service_levels

    slos = chosen(names, files)
    spans = [span_of(slo, window, month, start, end) for slo in slos]
    lines = service_levels(connection(dsn), zip(slos, spans, strict=True))
    columns, rows = whole_rows(lines) if form == "json" else flat_rows(lines) if form == "csv" else short_rows(lines, form)
    write([("\n".join(render(columns, rows, form)) + "\n").encode()], output)


@command.command()
@common_options
@click.argument("name")
def explain(
    name: str, files: Sequence[Path], window: str | None, month: str | None, start: str | None, end: str | None
) -> None:
    """Show how an SLO is counted: its span, its parameters and the SQL."""
    from streams.slo import compile_objective

    for slo in chosen([name], files):
        span = span_of(slo, window, month, start, end)
        for objective in slo.objectives:
            question = compile_objective(slo, objective, span)
            click.echo(f"-- {slo.name}, objective '{objective.name}'")
            click.echo(f"-- {slo.method}, target {objective.target:g}, window {slo.window}")
            click.echo(f"-- defined in {slo.file}:{slo.line}")
            for key, value in question.parameters.items():
                time = f" ({format_time(value * NS, 0)})" if key in ("from", "to", "first") and isinstance(value, int) else ""
                click.echo(f"-- {key} = {value}{time}")
            click.echo(question.sql + ";\n")


def chosen(names: Sequence[str], files: Sequence[Path]) -> list[Slo]:
    """The SLOs of the files, or those that were named."""
    from streams.slo import load, parse

    files = files or list(current_session().config.slo.files)
    slos = load(files) if files else parse([("schemas/slo/demo.yaml", (schemas("slo") / "demo.yaml").read_text())])
    known = {slo.name: slo for slo in slos}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"did you mean '{near}'?" if near else f"there are {' '.join(known)}"
            raise UsageError(f"there is no SLO '{name}'\n  hint: {hint}")
    return [known[name] for name in names] if names else slos


def span_of(slo: Slo, window: str | None, month: str | None, start: str | None, end: str | None) -> Span:
    """The span that the options ask for. UsageError when they do not fit together."""
    from streams.slo import Span, month_span, so_far

    asked = [option for option, value in (("--window", window), ("--month", month), ("--from", start)) if value]
    if len(asked) > 1 or (month and end):
        raise UsageError(f"{asked[0]} and {[*asked[1:], '--to'][0]} exclude each other")
    if start and not end:
        raise UsageError("--from needs --to\n  hint: for example --from 2026-10-01 --to 2026-11-01")
    if end and not asked:
        raise UsageError("--to needs --from or --window")
    now_s = wall_clock_ns() // NS
    if month:
        try:
            return so_far(month_span(month, slo.window.zone), now_s)
        except ValueError:
            raise UsageError(f"--month {month}: is not a month\n  hint: write for example 2026-10") from None
    end_s = local_time("--to", end, slo.window.zone) if end else now_s - now_s % 60
    if window:
        try:
            length_s = parse_duration_ns(window) // NS // 60 * 60
        except ValueError as error:
            raise UsageError(f"--window {window}: {error}") from error
        if length_s <= 0 or length_s > end_s:
            raise UsageError(f"--window {window}: must be at least a minute, and start after 1970")
        return Span(end_s - length_s, end_s)
    if not start:
        return slo.window.span(now_s)
    span = Span(local_time("--from", start, slo.window.zone), end_s)
    if span.minutes <= 0:
        raise UsageError(f"the span is empty: --from {start} --to {end}")
    return so_far(span, now_s)


def local_time(option: str, text: str, zone: str) -> int:
    from streams.clickhouse.parameters import Parameter, instant

    return instant(Parameter(option, "time", None, ""), text, ZoneInfo(zone))


# What the formats show


def whole_rows(lines: Sequence[Line]) -> tuple[list[str], list[list[Any]]]:
    objects = [line.as_dict() for line in lines]
    return list(objects[0]) if objects else [], [list(each.values()) for each in objects]


def flat_rows(lines: Sequence[Line]) -> tuple[list[str], list[list[Any]]]:
    """burn_rate in columns of its own."""
    windows = list(dict.fromkeys(window for line in lines for window in line.burn_rate))
    objects = [line.as_dict() for line in lines]
    names = [name for name in (objects[0] if objects else {}) if name != "burn_rate"]
    rates = [[line.burn_rate.get(window) for window in windows] for line in lines]
    rows = [[each[name] for name in names] + own for each, own in zip(objects, rates, strict=True)]
    return names + [f"burn_rate_{window}" for window in windows], rows


def short_rows(lines: Sequence[Line], form: str) -> tuple[list[str], list[list[Any]]]:
    """For people. md and html are documents that are sent on: they say which time they are of."""
    names, rows = told_rows(lines)
    if form == "table":
        return names, rows
    spans = [[str(line.as_dict()[end]) for end in ("from", "to")] for line in lines]
    return [*names, "maintenance", "from", "to"], [
        [*row, line.maintenance, *span] for row, line, span in zip(rows, lines, spans, strict=True)
    ]


def told_rows(lines: Sequence[Line]) -> tuple[list[str], list[list[Any]]]:
    names = [
        "slo", "entity", "objective", "target", "sli", "good", "total", "unknown", "budget left", "burn 1h", "burn 1d", "state",
        "credit",
    ]
    return names, [
        [
            line.slo, line.entity, line.objective, per_cent(line.target), per_cent(line.sli), line.good, line.total,
            line.unknown, per_cent(line.budget_remaining, 1), rounded(line.burn_rate.get("1h")),
            rounded(line.burn_rate.get("1d")), line.state, None if line.credit is None else f"{line.credit:g} %",
        ]
        for line in lines
    ]


def per_cent(fraction: float | None, digits: int = 3) -> str | None:
    return None if fraction is None else f"{100 * fraction:.{digits}f} %"


def rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 2)
