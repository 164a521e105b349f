"""Rules that ask the database: what they are made of, what they make of answers, and their alerts told as stories."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from streams.clock import NS
from streams.rules import Answer, Maintenance, Rule, RuleEngine, bind, load_rules, policy_maintenance, policy_rules
from streams.rules.anomaly import hours_needed, judge_anomaly
from streams.rules.columns import BREACH, CLEAR, HOLD
from streams.rules.polls import judge_levels, span_of
from streams.rules.rule import Anomaly, Levels, Pair
from streams.slo import BURN_PAIRS, Slo, Span, Tally, load, parse
from streams.slo.objects import BURN_WINDOWS
from tests.alert_scenario import Scenario, seconds

DEFINITIONS = Path(__file__).parent / "definitions"
MINUTE = 60
SLO = """
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}, annotations: {{orbitrack/credit-tiers: "99:10,95:25,0:100"}}}}
spec:
  indicator: {{spec: {{thresholdMetric: {{metricSource: {{type: orbitrack, spec: {{metric: up, column: vmin}}}}}}}}}}
  budgetingMethod: Occurrences
  timeWindow: [{{duration: 28d, isRolling: true}}]
  objectives: [{{displayName: up, op: gte, value: 1, target: 0.99}}]
  alertPolicies: {policies}
"""
POLICY = """[{kind: AlertPolicy, metadata: {name: fast}, spec: {
    alertWhenBreaching: true, alertWhenResolved: %s, alertWhenNoData: %s, notificationTargets: [{targetRef: %s}],
    conditions: [{kind: AlertCondition, metadata: {name: c}, spec: {severity: page,
        condition: {kind: burnrate, op: gte, threshold: 10, lookbackWindow: 90m, alertAfter: 2m}}}]}}]"""


def slo(name: str = "links", policies: str = "[]", more: str = "") -> Slo:
    return parse([("slo.yaml", SLO.format(name=name, policies=policies) + more)])[0]


def tally(tried: Slo, *, sli: float = 1.0, **bad: float | None) -> Tally:
    """1,000 in the span and each window; `bad` is the share of bad by window, None: no data."""
    names = list(tried.burn_windows)
    shares = [1 - sli, *(bad.get(f"b{name}", 0.0) for name in names)]
    total = [0 if share is None else 1000 for share in shares]
    good = [0 if share is None else 1000 * (1 - share) for share in shares]
    slices = [10_000] * len(shares)
    return Tally("link-1", good, total, [int(n > 0) * 10_000 for n in total], [0] * len(shares), slices)


def burn_rule(**settings: Any) -> Rule:
    pairs = (Pair("1h", "5m", 14.4), Pair("6h", "30m", 6))
    return replace(Rule("Burn", "burn_rate", "burn_rate", poll=Levels("burn_rate", pairs=pairs)), **settings)


# --- what a rule is made of ---

def test_rule_on_slos_is_one_rule_for_each_that_it_names() -> None:
    slos = [slo("up-a"), slo("up-b"), slo("down")]

    bound = bind([burn_rule(poll=Levels("burn_rate", "up-*", burn_rule().poll.pairs)), Rule("Hot", "threshold", "t")], slos)

    assert [rule.name for rule in bound] == ["Burn:up-a", "Burn:up-b", "Hot"]
    assert bound[0].base_labels() == {
        "alertname": "Burn", "metric": "burn_rate", "severity": "warning", "slo": "up-a", "objective": "up",
    }


def test_objectives_of_one_slo_are_rules_of_their_own() -> None:
    latency = load([DEFINITIONS / "good" / "slo_everything.yaml"])[0]

    names = [rule.name for rule in bind([burn_rule()], [latency])]

    assert names == ["Burn:uplink-latency:contract", "Burn:uplink-latency:internal"]


def test_alert_policies_are_rules() -> None:
    breach, silent = policy_rules([slo(policies=POLICY % ("false", "true", "pager"))], ["ops", "pager"])

    assert (breach.name, breach.kind, breach.alertname, breach.severity) == ("fast:links", "burn_rate", "fast", "critical")
    assert (breach.for_ns, breach.webhooks, breach.tells) == (120 * NS, ("pager",), ("firing",))
    assert (breach.poll.pairs, breach.poll.op, breach.threshold()) == ((Pair("90m", "90m", 10.0),), ">=", "10 over 90m")
    assert (silent.name, silent.kind, silent.alertname, silent.tells) == (
        "fast-no-data:links", "no_data", "fast-no-data", ("firing", "resolved"),
    )


def test_policy_whose_targets_are_no_webhooks_tells_all() -> None:
    (breach,) = policy_rules([slo(policies=POLICY % ("true", "false", "somebody"))], ["ops"])

    assert (breach.webhooks, breach.tells) == (None, ("firing", "resolved"))


def test_burn_rates_are_asked_over_their_longest_window_on_the_slices_of_the_report() -> None:
    quarter = load([DEFINITIONS / "good" / "slo_everything.yaml"])[1]
    (rule,) = bind([burn_rule()], [quarter])
    at_s = 1_790_000_000 // 60 * 60
    start_s = quarter.window.span(at_s).start_s

    span = span_of(rule.poll, at_s)

    assert (span.start_s - start_s) % 300 == 0
    assert 0 <= at_s - 6 * 3600 - span.start_s < 300
    assert span.end_s == at_s
    credit = replace(rule, poll=replace(rule.poll, what="credit"))
    assert span_of(credit.poll, at_s) == quarter.window.span(at_s)


# --- what an answer means ---

@pytest.mark.parametrize(("bad", "value", "verdict"), [
    ({}, 0, CLEAR),
    ({"b1h": 0.2, "b5m": 0.2}, 20, BREACH),
    ({"b1h": 0.2, "b5m": 0.1}, 20, CLEAR),               # the short window is over: a fast end
    ({"b1h": 0.144, "b5m": 0.5}, 14.4, CLEAR),           # not faster than the rate
    ({"b6h": 0.07, "b30m": 0.07}, 7, BREACH),            # the second pair alone
    ({"b1h": 0.2, "b5m": None}, 20, HOLD),               # out of contact: neither burns nor recovers
    ({"b1h": 0.01, "b5m": None}, 1, CLEAR),
    ({"b1h": None, "b5m": None, "b6h": 0.07, "b30m": None}, None, HOLD),
])
def test_burn_rate_is_judged_over_pairs_of_windows(bad: dict[str, float | None], value: float | None, verdict: int) -> None:
    (rule,) = bind([burn_rule()], [slo()])

    answer = judge_levels(rule, Span(0, 21_600), [tally(slo(), **bad)])

    assert (answer.entities, answer.verdicts) == (["link-1"], [verdict])
    assert answer.values[0] == (None if value is None else pytest.approx(value))


def test_entity_without_any_data_is_not_heard_of() -> None:
    (rule,) = bind([burn_rule()], [slo()])

    assert judge_levels(rule, Span(0, 21_600), [tally(slo(), b1h=None, b5m=None, b6h=None, b30m=None)]).entities == []


def test_entities_that_the_rule_does_not_match_are_left_out() -> None:
    (rule,) = bind([burn_rule(entity="rack-*")], [slo()])

    assert judge_levels(rule, Span(0, 21_600), [tally(slo())]).entities == []


@pytest.mark.parametrize(("sli", "value", "verdict"), [(0.995, 0, CLEAR), (0.985, 25, BREACH), (0.5, 100, BREACH)])
def test_credit_is_what_would_be_paid_back_now(sli: float, value: float, verdict: int) -> None:
    (rule,) = bind([Rule("Credit", "credit", "credit", value=10.0, poll=Levels("credit"))], [slo()])

    answer = judge_levels(rule, Span(0, 600_000), [tally(slo(), sli=sli)])

    assert (answer.values, answer.verdicts) == ([value], [verdict])


def test_missing_data_is_no_maintenance() -> None:
    tried = slo(policies=POLICY % ("true", "true", "ops"))
    _, rule = policy_rules([tried], ["ops"])
    silent = tally(tried, b90m=None)
    kept = replace(silent, maintenance=silent.slices)

    verdicts = [judge_levels(rule, Span(0, 5400), [each]).verdicts for each in (tally(tried), silent, kept)]

    assert verdicts == [[CLEAR], [BREACH], [CLEAR]]


@pytest.mark.parametrize(("op", "mean", "verdict"), [
    ("!=", 131, BREACH), ("!=", 69, BREACH), ("!=", 125, HOLD), ("!=", 119, CLEAR),
    (">", 69, CLEAR), (">", 131, BREACH), ("<", 69, BREACH), ("<", 131, CLEAR),
    ("!=", 130, HOLD), ("!=", 120, CLEAR), (">", 130, HOLD), (">", 120, CLEAR), ("<", 70, HOLD), ("<", 80, CLEAR),
])
def test_anomaly_is_judged_in_deviations(op: str, mean: float, verdict: int) -> None:
    rule = Rule("Odd", "anomaly", "t", poll=Anomaly(3.0, 2.0, op))

    assert judge_anomaly(rule, [("e", mean, 100.0, 10.0, 100)]).verdicts == [verdict]


def test_anomaly_needs_a_baseline_and_a_difference_that_matters() -> None:
    rule = Rule("Odd", "anomaly", "t", poll=Anomaly(3.0, 3.0, least=50.0))
    rows = [("new", 200.0, 100.0, 10.0, 41), ("old", 200.0, 100.0, 10.0, 42), ("small", 149.0, 100.0, 10.0, 168),
            ("constant", 151.0, 100.0, 0.0, 168), ("no number", None, 100.0, 1.0, 168)]

    answer = judge_anomaly(rule, rows)

    assert dict(zip(answer.entities, answer.verdicts, strict=True)) == {
        "new": HOLD, "old": BREACH, "small": CLEAR, "constant": BREACH,
    }
    assert hours_needed(Anomaly(3, 3, season_s=86_400)) == 5 and hours_needed(Anomaly(3, 3, baseline_s=3 * 3600)) == 3


# --- stories: the database is asked once a minute ---

class Story(Scenario):
    """`burning` are the entities that breach at every poll from now on; `held` those that decide nothing."""

    def __init__(self, *rules: Rule, start: str = "10:00:00") -> None:
        self.burning: dict[str, float] = {}
        self.known: set[str] = set()
        self.held: set[str] = set()
        self.is_away = False
        super().__init__(rules, start)

    def tick(self) -> None:
        super().tick()
        if self.time_s % MINUTE == 0 and not self.is_away:
            self.ask()

    def ask(self) -> None:
        answer = Answer(next(iter(self.engine.polled)))
        for entity in sorted(self.known):
            verdict = HOLD if entity in self.held else BREACH if entity in self.burning else CLEAR
            answer.add(entity, self.burning.get(entity, 0.0), verdict)
        self.note(self.engine.observe([answer], self.time_s * NS, self.time_s * NS))

    def burns(self, **entities: float) -> Story:
        self.burning = entities
        self.known |= entities.keys()
        return self


def bound_rule(**settings: Any) -> Rule:
    (rule,) = bind([burn_rule(**settings)], [slo()])
    return rule


def test_burn_alert_fires_after_its_period_and_resolves() -> None:
    story = Story(bound_rule(for_ns=120 * NS)).burns(a=20.0)
    story.at("10:01:59").expect_no_notifications()
    story.at("10:02:00").expect_firing("Burn:links", source="a", starts_at="10:00:00", value=20.0)
    story.burns(a=20.0).at("10:10:00").expect_no_notifications().burns()
    story.at("10:11:00").expect_resolved("Burn:links", source="a", ends_at="10:10:00")
    assert dict(story.events[-1]["labels"])["alertname"] == "Burn"
    assert story.states == ["pending", "firing", "resolved"]


def test_answer_that_decides_nothing_keeps_the_state() -> None:
    story = Story(bound_rule()).burns(a=20.0)
    story.at("10:01:00").expect_firing("Burn:links", source="a")
    story.held = {"a"}
    story.at("11:00:00").expect_no_notifications()
    story.burns().held = set()
    story.at("11:01:00").expect_resolved("Burn:links", source="a")


def test_flapping_burn_alert_is_held() -> None:
    story = Story(bound_rule(keep_firing_for_ns=300 * NS)).burns(a=20.0)
    story.at("10:01:00").expect_firing("Burn:links", source="a")
    for minute in range(2, 12, 2):
        story.burns().at(f"10:{minute:02d}:00").burns(a=20.0).at(f"10:{minute + 1:02d}:00")
    story.expect_no_notifications()
    story.burns().at("10:15:59").expect_no_notifications().at("10:16:00").expect_resolved("Burn:links", source="a")


def test_database_that_is_away_ends_no_firing_alert_and_fires_no_stale_one() -> None:
    story = Story(bound_rule(for_ns=600 * NS)).burns(a=20.0)
    story.at("10:02:00").is_away = True
    story.at("10:30:00").expect_no_notifications()
    assert story.states == ["pending", "inactive"]
    story.is_away = False
    story.at("10:41:00").expect_firing("Burn:links", source="a")
    story.is_away = True
    story.at("12:00:00").expect_no_notifications()


def test_late_data_may_correct_a_minute_but_never_unnotifies() -> None:
    story = Story(bound_rule(for_ns=120 * NS)).burns(a=20.0).at("10:01:00")
    assert story.states == ["pending"]
    story.burns().ask()                                     # the same minute, asked again: late data took the burn away
    story.at("10:10:00").expect_no_notifications()
    assert story.states == ["pending", "inactive"]
    story.burns(a=20.0).at("10:12:00").expect_firing("Burn:links", source="a")
    story.burns().ask()
    story.expect_resolved("Burn:links", source="a")
    assert story.events[-1]["ends_at"].value >= story.events[-1]["starts_at"].value


def test_restart_in_any_second_changes_nothing() -> None:
    def tell(seed: int | None) -> list[dict[str, Any]]:
        dice, plan = random.Random(seed), random.Random(7)
        story = Story(bound_rule(for_ns=120 * NS, keep_firing_for_ns=60 * NS))
        for _ in range(40):
            story.burns(**{name: float(plan.randrange(15, 40)) for name in "abc" if plan.random() < 0.6})
            for _ in range(60):
                story.tick()
                if seed is not None and dice.random() < 0.05:
                    story.restart()
        return story.events

    straight = tell(None)
    assert {"pending", "firing", "resolved", "inactive"} <= {event["state"] for event in straight}
    for seed in range(3):
        assert tell(seed) == straight, f"seed {seed}"


# --- maintenance ---

NIGHTS = """---
apiVersion: orbitrack/v1
kind: MaintenancePolicy
metadata: {name: nights}
spec:
  appliesTo: %s
  windows:
    - {entity: "a*", start: 2026-01-04 02:00:00, duration: 2h, timeZone: Europe/Stockholm, repeat: FREQ=WEEKLY;BYDAY=SU,
       reason: upgrades}
"""


def test_policies_are_announced_in_their_zone_with_their_reason() -> None:
    zone = ZoneInfo("Europe/Stockholm")
    sunday = int(datetime(2026, 10, 25, 2, tzinfo=zone).timestamp())
    slos = [slo("links", more=NIGHTS % "[links]"), slo("other")]

    (found,) = policy_maintenance(slos, sunday - 3600, sunday + 86_400)

    assert found == Maintenance("nights", "a*", sunday * NS, (sunday + 7200) * NS, "upgrades", ("links",), ("up",))


def test_windows_of_a_policy_that_begin_together_all_count() -> None:
    slos = [slo("links", more=NIGHTS % "[links]")]
    windows = slos[0].maintenance[0].windows
    short = replace(windows[0], duration_s=600)
    policy = replace(slos[0].maintenance[0], windows=(*windows, short, short))
    sunday = int(datetime(2026, 10, 25, 2, tzinfo=ZoneInfo("Europe/Stockholm")).timestamp())

    found = policy_maintenance([replace(slos[0], maintenance=(policy,))], sunday - 3600, sunday + 86_400)

    assert [(each.end_ns - each.start_ns) // NS for each in found] == [7200, 600]


@pytest.mark.parametrize(("rule", "concerned"), [
    (bind([burn_rule()], [slo("links")])[0], True), (bind([burn_rule()], [slo("other")])[0], False),
    (Rule("Down", "threshold", "up"), True), (Rule("Hot", "threshold", "temp_c", labels={"slo": "links"}), False),
])
def test_policy_of_some_slos_concerns_their_rules_and_metrics(rule: Rule, concerned: bool) -> None:
    assert Maintenance("m", "*", 0, 1, slos=("links",), metrics=("up",)).concerns(rule) is concerned
    assert Maintenance("m", "*", 0, 1).concerns(rule)


def test_burn_alert_is_suppressed_with_its_reason_and_fires_afterwards() -> None:
    story = Story(bound_rule()).burns(a1=20.0, b=20.0)
    story.engine.suppress([Maintenance("nights", "a*", seconds("10:00:00") * NS, seconds("10:30:00") * NS, "upgrades")])
    story.at("10:29:59").expect_firing("Burn:links", source="b")
    assert [(e["state"], e["reason"]) for e in story.events if dict(e["labels"])["entity"] == "a1"] == [
        ("suppressed", "maintenance nights: upgrades"),
    ]
    story.at("10:31:00").expect_firing("Burn:links", source="a1", starts_at="10:00:00")


def test_restart_during_maintenance_does_not_tell_what_it_suppressed() -> None:
    hot = Rule("TooHot", "threshold", "temp_c", op=">", value=80.0, resolve=80.0)
    story = Scenario([hot])
    story.engine.suppress([Maintenance("7", "pdu-*", seconds("09:00:00") * NS, seconds("10:30:00") * NS)])
    story.samples("pdu-1", temp_c=90).at("10:01:00").restart()
    story.at("10:30:00").expect_no_notifications()
    assert story.states == ["suppressed"]
    story.at("10:30:20").expect_firing("TooHot", source="pdu-1")


def test_alert_of_a_removed_policy_resolves_under_its_own_name() -> None:
    story = Story(bound_rule()).burns(a=20.0).at("10:01:00").expect_firing("Burn:links", source="a")
    first = dict(story.events[0]["labels"])
    story.restart([Rule("Hot", "threshold", "t", value=1.0, resolve=1.0)]).restart()
    story.note(story.engine.advance(story.time_s * NS))
    story.expect_resolved("Burn:links", source="a", reason="rule removed or changed")
    assert dict(story.events[-1]["labels"]) == first
    assert story.events[-1]["fingerprint"] == story.events[0]["fingerprint"]


def test_engine_without_polls_knows_none() -> None:
    assert RuleEngine([Rule("Hot", "threshold", "t")]).polled == {}


def test_file_with_all_kinds_is_read() -> None:
    burn, own, credit, odd, errors = load_rules([DEFINITIONS / "good" / "rules_polls.yaml"])
    page = (Pair("1h", "5m", 14.4), Pair("6h", "30m", 6.0))
    assert (burn.severity, burn.poll) == ("critical", Levels("burn_rate", "*", page))
    assert (own.severity, own.poll) == ("warning", Levels("burn_rate", "uplink-*", (Pair("6h", "1h", 4.0),)))
    assert own.threshold() == "4 over 6h and 1h"
    assert (credit.value, credit.poll) == (10.0, Levels("credit", "rack-*"))
    assert odd.poll == Anomaly(4.0, 3.0, ">", 600, 1_209_600, 86_400, 5.0)
    assert (odd.metric, odd.threshold()) == ("latency_ms", "4 deviations")
    assert errors.over_ns == 60 * NS


def test_burn_windows_are_as_long_as_their_names_and_burn_the_workbooks_shares() -> None:
    assert {name: pd.Timedelta(name.replace("d", "D")).total_seconds() for name in BURN_WINDOWS} == BURN_WINDOWS
    # The Site Reliability Workbook, ch. 5 (from memory): so much of a 30 day budget is gone when the alert fires, and the short
    # window is a twelfth of the long one.
    shares = {long: rate * BURN_WINDOWS[long] / (30 * 86_400) for pairs in BURN_PAIRS.values() for long, _, rate in pairs}
    assert shares == pytest.approx({"1h": 0.02, "6h": 0.05, "1d": 0.1, "3d": 0.1})
    assert all(BURN_WINDOWS[long] == 12 * BURN_WINDOWS[short] for pairs in BURN_PAIRS.values() for long, short, _ in pairs)


def test_docs_name_every_key_and_pair() -> None:
    from streams.rules.definitions import KEYS

    text = (Path(__file__).parents[1] / "docs" / "alerts.md").read_text()
    for kind, keys in KEYS.items():
        assert f"| `{kind}` |" in text
        for key in keys:
            rows = [line for line in text.splitlines() if line.startswith("|") and f"`{key}`" in line.split("|")[1]]
            applies = [row.split("|")[2] for row in rows]
            all_of = " all but absence " if kind != "absence" else ""
            assert any(kind in cell or cell in (" all ", all_of) for cell in applies), (kind, key)
    for name, pairs in BURN_PAIRS.items():
        for long, short, rate in pairs:
            assert f"| `{name}` | {long} | {short} | {rate:g} |" in text
