"""What a rule asks the database every minute, and what it makes of the answer: burn rates, credits, missing data, anomalies.

    rules = bind(rules, slos)                    # one rule for each objective that a burn_rate or credit rule is about
    rules += policy_rules(slos, webhooks)        # AlertPolicy documents of the OpenSLO files
    answer = judge_levels(rule, span, tallies)   # tallies: what the database says of rule.poll.slo over `span`
    events = engine.observe([answer], at_ns, now_ns)

Knows no database: streams/clickhouse/polls.py asks. Anomalies have a module of their own, anomaly.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from streams.clock import NS
from streams.rules.alert import Maintenance
from streams.rules.columns import BREACH, CLEAR, HOLD, glob_pattern
from streams.rules.rule import Levels, Pair, Place, Rule
from streams.slo import BURN_WINDOWS, Objective, Slo, Span, Tally, burn_label, burn_rates, judge, unknown_slices

__all__ = ["Answer", "bind", "concerned", "judge_levels", "policy_maintenance", "policy_rules", "span_of"]


@dataclass
class Answer:
    """What one rule heard of its entities at one moment."""

    rule: str
    entities: list[str] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)
    verdicts: list[int] = field(default_factory=list)

    def add(self, entity: str, value: float | None, verdict: int) -> None:
        self.entities.append(entity)
        self.values.append(value)
        self.verdicts.append(verdict)


def bind(rules: Iterable[Rule], slos: Sequence[Slo]) -> list[Rule]:
    """Rules on SLOs become one for each objective that they concern: `Burn` of the SLO `uplink` is `Burn:uplink`.

    A rule that concerns none becomes none; `concerned` says which do.
    """
    bound: list[Rule] = []
    for rule in rules:
        if not isinstance(rule.poll, Levels) or rule.poll.slo is not None:
            bound.append(rule)
            continue
        for slo in concerned(rule.poll, slos):
            bound += [bound_rule(rule, slo, objective) for objective in slo.objectives]
    return bound


def concerned(poll: Levels, slos: Sequence[Slo]) -> list[Slo]:
    matches = re.compile(glob_pattern(poll.slos)).match
    return [slo for slo in slos if matches(slo.name) and (slo.credit_tiers or poll.what != "credit")]


def bound_rule(rule: Rule, slo: Slo, objective: Objective) -> Rule:
    assert isinstance(rule.poll, Levels)
    name = f"{rule.name}:{slo.name}" + (f":{objective.name}" if len(slo.objectives) > 1 else "")
    return replace(
        rule, name=name, alertname=rule.alertname or rule.name,
        labels={**rule.labels, "slo": slo.name, "objective": objective.name},
        poll=replace(rule.poll, slo=slo, objective=objective),
    )


def span_of(poll: Levels, at_s: int) -> Span:
    """The span to ask for at a moment: a credit's is the SLO's own, burn rates need only the longest of their windows.

    Slices lie where they lie in the report: counted from the start of the SLO's own span.
    """
    slo, objective = poll.subject
    whole = slo.window.span(at_s)
    if poll.what == "credit":
        return whole
    longest_s = max(window_s(label) for pair in poll.pairs for label in (pair.long, pair.short))
    start_s = whole.end_s - longest_s
    return Span(start_s - (start_s - whole.start_s) % objective.slice_s, whole.end_s)


def window_s(label: str) -> int:
    """Seconds of `12h`: of BURN_WINDOWS, or of a policy's own lookback."""
    known = BURN_WINDOWS.get(label)
    return known if known is not None else int(label[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[label[-1]]


def judge_levels(rule: Rule, span: Span, tallies: Iterable[Tally]) -> Answer:
    """`tallies` of the rule's SLO over `span`. Entities without any data are left out, but not by no_data."""
    assert isinstance(rule.poll, Levels)
    answer, matches = Answer(rule.name), re.compile(glob_pattern(rule.entity)).match
    for tally in tallies:
        heard = {"burn_rate": judge_burn, "credit": judge_credit, "no_data": judge_absence}[rule.poll.what](rule, span, tally)
        if heard is not None and matches(tally.entity):
            answer.add(tally.entity, *heard)
    return answer


Heard = tuple[float | None, int] | None


def judge_burn(rule: Rule, span: Span, tally: Tally) -> Heard:
    """Burn rate and verdict. A window without data decides nothing: a spacecraft out of contact neither burns nor recovers."""
    poll = rule.poll
    assert isinstance(poll, Levels)
    rates = burn_rates(*poll.subject, tally)
    if all(rates[label] is None for pair in poll.pairs for label in (pair.long, pair.short)):
        return None
    verdicts = [judge_pair(pair, poll.op, rates[pair.long], rates[pair.short]) for pair in poll.pairs]
    verdict = BREACH if BREACH in verdicts else HOLD if HOLD in verdicts else CLEAR
    told = poll.pairs[verdicts.index(verdict)]
    return rates[told.long], verdict


def judge_pair(pair: Pair, op: str, long: float | None, short: float | None) -> int:
    exceeded = [None if rate is None else COMPARE[op](rate, pair.rate) for rate in (long, short)]
    if False in exceeded:
        return CLEAR
    return HOLD if None in exceeded else BREACH


def judge_credit(rule: Rule, span: Span, tally: Tally) -> Heard:
    """Percent to pay back as things stand."""
    assert isinstance(rule.poll, Levels)
    (line,) = judge(*rule.poll.subject, span, [tally])
    return None if line.credit is None else (line.credit, BREACH if line.credit > rule.value else CLEAR)


def judge_absence(rule: Rule, span: Span, tally: Tally) -> Heard:
    """No burn rate for want of data, in time that is not maintenance; the value is that time in seconds."""
    assert isinstance(rule.poll, Levels)
    slo, objective = rule.poll.subject
    lookback = rule.poll.pairs[0].long
    place = 1 + list(slo.burn_windows).index(lookback)
    is_silent = tally.total[place] == 0 and unknown_slices(tally)[place] > 0
    return float(unknown_slices(tally)[place] * objective.slice_s), BREACH if is_silent else CLEAR


COMPARE = {
    ">": lambda rate, limit: rate > limit, ">=": lambda rate, limit: rate >= limit,
    "<": lambda rate, limit: rate < limit, "<=": lambda rate, limit: rate <= limit,
}
OPERATORS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
# OpenSLO leaves `severity` to the user; ours are info, warning and critical.
SEVERITY = {"page": "critical", "ticket": "warning", "info": "info", "warning": "warning", "critical": "critical"}


def policy_maintenance(slos: Iterable[Slo], from_s: int, to_s: int) -> list[Maintenance]:
    """What the MaintenancePolicy documents announce for [from_s, to_s), each of their windows once."""
    found: list[Maintenance] = []
    named = list(slos)
    for policy in {policy.name: policy for slo in named for policy in slo.maintenance}.values():
        metrics = tuple(metric for slo in named if slo.name in policy.applies_to for metric in slo.indicator.metrics)
        for window in policy.windows:
            for entity, start_s, end_s in window.intervals(from_s, to_s):
                found.append(Maintenance(
                    policy.name, entity, start_s * NS, end_s * NS, window.reason, policy.applies_to, metrics
                ))
    return list(dict.fromkeys(found))


def policy_rules(slos: Iterable[Slo], webhooks: Sequence[str]) -> list[Rule]:
    """The rules that the AlertPolicy documents of SLOs stand for.

    A policy reaches the webhooks that its notification targets name, or all where it names none of them: better one
    message too many than one that nobody gets.
    """
    rules: list[Rule] = []
    for slo in slos:
        for policy in slo.alerts:
            condition = policy.condition
            label = burn_label(condition.lookback_s)
            reached = tuple(name for name in webhooks if name in policy.targets) or None
            tells = tuple(
                state for state, wanted in (("firing", policy.when_breaching), ("resolved", policy.when_resolved)) if wanted
            )
            common = Rule(
                name=policy.name, kind="burn_rate", metric="burn_rate", severity=SEVERITY.get(condition.severity, "warning"),
                for_ns=condition.alert_after_s * NS, webhooks=reached, value=condition.threshold,
                annotations={"condition": condition.name, "severity": condition.severity, "summary": BURNS},
                places={"name": Place(policy.file, policy.line)} if policy.file else {},
            )
            pairs = (Pair(label, label, condition.threshold),)
            burns = replace(common, tells=tells, poll=Levels("burn_rate", slo.name, pairs, OPERATORS[condition.op]))
            silent = replace(
                common, name=f"{policy.name}-no-data", kind="no_data", metric="no_data",
                annotations={**common.annotations, "summary": SILENT}, poll=Levels("no_data", slo.name, pairs),
            )
            wanted = [burns] * bool(tells) + [silent] * policy.when_no_data
            rules += [bound_rule(rule, slo, objective) for rule in wanted for objective in slo.objectives]
    return rules


BURNS = "{entity}: {slo} burns its error budget {value} times as fast as allowed, more than {threshold}"
SILENT = "{entity}: {slo} has had no data for {threshold}"
