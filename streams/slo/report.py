"""From what the database counted to what a report says: SLI, budget, burn rates, state, credit.

    lines = judge(slo, objective, span, tallies)            # one Line for each entity

No data is None and the state `no_data`, never 0 or 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.clock import NS, format_time
from streams.slo.objects import BURN_ALERTS, Objective, Slo
from streams.slo.spans import Span

__all__ = ["Line", "Tally", "burn_rates", "judge", "unknown_slices"]

# Below this share of the budget an objective that still holds is called at risk.
AT_RISK_BUDGET = 0.25


@dataclass(frozen=True)
class Tally:
    """What the database counted for one entity; index 0 is the span, then one for each burn window."""

    entity: str
    good: Sequence[float]
    total: Sequence[float]
    known: Sequence[int]                        # slices with data
    maintenance: Sequence[int]                  # slices under maintenance from end to end
    slices: Sequence[int]                       # slices there are


@dataclass(frozen=True)
class Line:
    """One line of the report; the names are a contract. `unknown` and `maintenance` are slices: minutes for Occurrences."""

    slo: str
    entity: str | None
    objective: str
    start_s: int
    end_s: int
    target: float
    sli: float | None
    good: float
    total: float
    unknown: int
    maintenance: int
    budget_remaining: float | None
    burn_rate: Mapping[str, float | None]
    state: str
    credit: float | None

    def as_dict(self) -> dict[str, object]:
        """As JSON prints it."""
        times = {"from": format_time(self.start_s * NS, 0), "to": format_time(self.end_s * NS, 0)}
        return {
            "slo": self.slo, "entity": self.entity, "objective": self.objective, **times, "target": self.target,
            "sli": self.sli, "good": whole(self.good), "total": whole(self.total), "unknown": self.unknown,
            "maintenance": self.maintenance, "budget_remaining": self.budget_remaining, "burn_rate": dict(self.burn_rate),
            "state": self.state, "credit": self.credit,
        }


def whole(number: float) -> float:
    return int(number) if float(number).is_integer() else number


def judge(slo: Slo, objective: Objective, span: Span, tallies: Iterable[Tally]) -> list[Line]:
    """One Line for each entity. An SLO that no entity ever reported to has one Line without entity, `no_data`."""
    lines = [line(slo, objective, span, tally) for tally in tallies]
    none = [0] * (1 + len(slo.burn_windows))
    return lines or [line(slo, objective, span, Tally("", none, none, none, none, none))]


def line(slo: Slo, objective: Objective, span: Span, tally: Tally) -> Line:
    unknown, total = unknown_slices(tally), totals(slo, tally)
    # A straggler that fills a gap counts as -1 lost, maybe in a later span than the gap: never more good than total.
    good = min(tally.good[0], total[0])
    sli = good / total[0] if total[0] > 0 else None
    allowed = 1 - objective.target
    rates = burn_rates(slo, objective, tally)
    budget = 1 - (total[0] - good) / (allowed * total[0]) if sli is not None and allowed > 0 else None
    return Line(
        slo=slo.name, entity=tally.entity or None, objective=objective.name, start_s=span.start_s, end_s=span.end_s,
        target=objective.target, sli=sli, good=good, total=total[0], unknown=unknown[0], maintenance=tally.maintenance[0],
        budget_remaining=budget, burn_rate=rates, state=state(sli, objective.target, budget, rates),
        credit=credit(slo.credit_tiers, sli, objective.target),
    )


def unknown_slices(tally: Tally) -> list[int]:
    """Without data and not maintenance: for the span and each burn window."""
    return [max(0, n - known - kept) for n, known, kept in zip(tally.slices, tally.known, tally.maintenance, strict=True)]


def totals(slo: Slo, tally: Tally) -> list[float]:
    return [n + (u if slo.unknown_is_bad else 0) for n, u in zip(tally.total, unknown_slices(tally), strict=True)]


def burn_rates(slo: Slo, objective: Objective, tally: Tally) -> dict[str, float | None]:
    """By burn window: the share of bad / (1 - target); None without data."""
    allowed = 1 - objective.target
    return {
        name: max(0, count - well) / count / allowed if count > 0 and allowed > 0 else None
        for name, well, count in zip(slo.burn_windows, tally.good[1:], totals(slo, tally)[1:], strict=True)
    }


def state(sli: float | None, target: float, budget: float | None, rates: Mapping[str, float | None]) -> str:
    """`no_data`; `breached` below the target; `at_risk` with little budget left or burning fast; else `ok`."""
    if sli is None:
        return "no_data"
    if sli < target:
        return "breached"
    burning = any((rates[long] or 0) > rate and (rates[short] or 0) > rate for long, short, rate in BURN_ALERTS)
    return "at_risk" if burning or (budget is not None and budget < AT_RISK_BUDGET) else "ok"


def credit(tiers: Sequence[tuple[float, float]], sli: float | None, target: float) -> float | None:
    """Percent to pay back: 0 if the target is met, else that of the first tier reached; None without tiers or data."""
    if not tiers or sli is None:
        return None
    if sli >= target:
        return 0.0
    return next((pays for reached, pays in tiers if 100 * sli >= reached), None)
