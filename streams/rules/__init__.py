"""Alert rules: what is asked of closed windows, and what state every alert is in.

    rules = load_rules([Path("rules.yaml")])
    engine = RuleEngine(rules)
    events = engine.feed(windows, now_ns)         # a batch of model.WINDOWS in, one of model.ALERTS out
    events = engine.observe(answers, at_ns, now_ns)         # once a minute: what the database said
    events = engine.advance(now_ns)               # once a second: silence and timers

    rule.py          Rule
    definitions.py   the YAML file: load_rules, examine_rules
    columns.py       one value and one verdict for every row of a batch of windows
    alert.py         the states of one alert, labels and fingerprint; maintenance
    track.py         the recent windows of one entity under one rule
    threshold.py     a rule over all its entities; with rate.py (over several windows) and absence.py
    polls.py         rules that ask the database: burn rates, credits; what OpenSLO policies mean; anomaly.py
    engine.py        all of it together; snapshot and restore

Knows no Kafka, no webhooks, no clock: time is handed in.
"""

from streams.rules.alert import Maintenance, fingerprint
from streams.rules.definitions import examine_rules, load_rules
from streams.rules.engine import RuleEngine
from streams.rules.polls import Answer, bind, policy_maintenance, policy_rules
from streams.rules.rule import Rule

__all__ = [
    "Answer", "Maintenance", "Rule", "RuleEngine", "bind", "examine_rules", "fingerprint", "load_rules", "policy_maintenance",
    "policy_rules",
]
