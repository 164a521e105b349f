"""Alert rules that ask the database, asked: one question for each objective or metric, however many rules want its answer.

    answers, problems = ask_polls(client, rules, at_s)      # rules with a `poll`; as of at_s, a whole minute

Blocking: call it from a thread. What the database refuses is a problem of that question alone; DependencyError while it is
away, and then nothing was heard of any rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from streams.clickhouse.ask import ask_rows
from streams.errors import InputError, UsageError
from streams.rules.anomaly import compile_anomaly, judge_anomaly
from streams.rules.polls import Answer, judge_levels, span_of
from streams.rules.rule import Levels
from streams.slo import compile_objective

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from streams.rules import Rule
    from streams.slo import Span, Tally

__all__ = ["ask_polls"]


def ask_polls(client: Client, rules: Iterable[Rule], at_s: int) -> tuple[list[Answer], dict[str, str]]:
    """(answers, what the database said no to by rule)."""
    answers: list[Answer] = []
    problems: dict[str, str] = {}
    heard: dict[tuple[str, str, Span], list[Tally]] = {}
    for rule in rules:
        try:
            if isinstance(rule.poll, Levels):
                slo, objective = rule.poll.subject
                span = span_of(rule.poll, at_s)
                key = (slo.name, objective.name, span)
                if key not in heard:
                    question = compile_objective(slo, objective, span, is_clipped=True)
                    heard[key] = question.tallies(ask_rows(client, question.sql, question.parameters)[1])
                answers.append(judge_levels(rule, span, heard[key]))
            else:
                asked = compile_anomaly(rule, at_s)
                answers.append(judge_anomaly(rule, ask_rows(client, asked.sql, asked.parameters)[1]))
        except (UsageError, InputError) as error:
            problems[rule.name] = str(error)
    return answers, problems
