"""Service levels: SLOs asked of the database, judged line by line. Used by `orbitrack slo report` and the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streams.clickhouse.ask import ask_rows
from streams.slo import compile_objective, judge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clickhouse_connect.driver.client import Client

    from streams.slo import Line, Slo, Span

__all__ = ["service_levels"]


def service_levels(client: Client, questions: Iterable[tuple[Slo, Span]]) -> list[Line]:
    """One line for each SLO, objective and entity over its span."""
    lines: list[Line] = []
    for slo, span in questions:
        for objective in slo.objectives:
            question = compile_objective(slo, objective, span)
            lines += judge(slo, objective, span, question.tallies(ask_rows(client, question.sql, question.parameters)[1]))
    return lines
