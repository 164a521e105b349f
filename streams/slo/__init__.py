"""Service level objectives: what was promised, over which time, and how much of the budget is left.

    slos = load([Path("schemas/slo")])                        # OpenSLO v1 files and our MaintenancePolicy
    span = slos[0].window.span(now_s)                         # rolling, or the customer's calendar month
    question = compile_objective(slos[0], slos[0].objectives[0], span)
    tallies = question.tallies(rows)                          # rows: what the database answers to question.sql
    lines = judge(slos[0], slos[0].objectives[0], span, tallies)

    openslo.py      the files: load, examine, parse; with library.py (references), indicators.py, policies.py
    objects.py      Slo, Indicator, Objective, AlertPolicy ...
    spans.py        rolling windows, calendar periods with their zones
    maintenance.py  recurring and one-off maintenance
    sql.py          an objective as SQL on the minute windows
    report.py       SLI, budget, burn rates, state, credit

Knows no database and no clock: `now` is handed in.
"""

from streams.slo.maintenance import MaintenancePolicy
from streams.slo.objects import BURN_PAIRS, BURN_WINDOWS, AlertCondition, AlertPolicy, Objective, Slo, burn_label
from streams.slo.openslo import examine, load, parse
from streams.slo.report import Line, Tally, burn_rates, judge, unknown_slices
from streams.slo.spans import Span, TimeWindow, month_span, so_far
from streams.slo.sql import Question, compile_objective

__all__ = [
    "BURN_PAIRS", "BURN_WINDOWS", "AlertCondition", "AlertPolicy", "Line", "MaintenancePolicy", "Objective", "Question", "Slo",
    "Span", "Tally", "TimeWindow", "burn_label", "burn_rates", "compile_objective", "examine", "judge", "load", "month_span",
    "parse", "so_far", "unknown_slices",
]
