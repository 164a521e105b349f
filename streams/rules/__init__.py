"""Alert rules: what is asked of closed windows, and what state every alert is in.

    rules = load_rules([Path("rules.yaml")])
    engine = RuleEngine(rules)
    events = engine.feed(windows, now_ns)         # a batch of model.WINDOWS in, one of model.ALERTS out
    events = engine.advance(now_ns)               # once a second: silence and timers

    definitions.py   the YAML file: Rule, load_rules
    columns.py       one value and one verdict for every row of a batch of windows
    alert.py         the states of one alert, labels and fingerprint
    track.py         the recent windows of one entity under one rule
    engine.py        all of it together; snapshot and restore

Knows no Kafka, no webhooks, no clock: time is handed in.
"""

from streams.rules.alert import Maintenance, fingerprint
from streams.rules.definitions import Rule, load_rules
from streams.rules.engine import RuleEngine

__all__ = ["Maintenance", "Rule", "RuleEngine", "fingerprint", "load_rules"]
