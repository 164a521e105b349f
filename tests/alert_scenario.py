"""Alert tests as stories: time moves when the test says so.

    scenario = Scenario(rules)
    scenario.at("10:00:00").samples("rack-7", fan_rpm=0)      # from now on, in every window, until told otherwise
    scenario.at("10:00:59").expect_no_notifications()
    scenario.at("10:01:00").expect_firing("FanStopped", source="rack-7")

`at` feeds every 10 s window that has ended by then, when it ends, and calls `advance` every second in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from streams.clock import NS, parse_time_ns
from streams.model import ALERTS, WINDOWS
from streams.rules import Rule, RuleEngine

WINDOW_S = 10
DAY = "2026-03-01T"


def seconds(clock: str) -> int:
    return parse_time_ns(f"{DAY}{clock}Z") // NS


def windows_batch(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """model.WINDOWS from rows with bucket (epoch seconds), entity, metric and either value or the columns themselves."""
    full = []
    for row in rows:
        value = float(row.get("value", 0.0))
        full.append({
            "rev": 1, "cnt": 1, "good": 1, "expected": 0, "vsum": value, "vsumsq": value * value, "vmin": value, "vmax": value,
            "vfirst": value, "vlast": value, "last_time": row["bucket"] * NS, "increase": value, "resets": 0, "sk": [], **row,
        })
    arrays = [pa.array([row[field.name] for row in full], field.type) for field in WINDOWS]
    return pa.record_batch(arrays, schema=WINDOWS)


class Scenario:
    def __init__(self, rules: Sequence[Rule], start: str = "10:00:00") -> None:
        self.engine = RuleEngine(rules, window_ns=WINDOW_S * NS, grace_ns=WINDOW_S * NS)
        self.time_s = seconds(start)
        self.levels: dict[tuple[str, str], float] = {}
        self.events: list[dict[str, Any]] = []
        self.rows: dict[str, bytes] = {}
        self.expected = 0                                   # notifications that were already asked for
        self.note(self.engine.advance(self.time_s * NS))

    def at(self, clock: str) -> Scenario:
        target_s = seconds(clock)
        assert target_s >= self.time_s, f"time runs forward: {clock}"
        while self.time_s < target_s:
            self.tick()
        return self

    def tick(self) -> None:
        """One second passes."""
        self.time_s += 1
        if self.time_s % WINDOW_S == 0 and self.levels:
            bucket = self.time_s - WINDOW_S
            self.feed([
                {"bucket": bucket, "entity": entity, "metric": metric, "value": value}
                for (entity, metric), value in self.levels.items()
            ])
        self.note(self.engine.advance(self.time_s * NS))

    def samples(self, source: str, **metrics: float) -> Scenario:
        self.levels.update({(source, metric): value for metric, value in metrics.items()})
        return self

    def silent(self, source: str) -> Scenario:
        self.levels = {key: value for key, value in self.levels.items() if key[0] != source}
        return self

    def revised(self, clock: str, source: str, **metrics: float) -> Scenario:
        """Late data: the window that began at `clock` is closed again with other values."""
        return self.feed([
            {"bucket": seconds(clock), "entity": source, "metric": metric, "value": value, "rev": 2}
            for metric, value in metrics.items()
        ])

    def feed(self, rows: Sequence[dict[str, Any]]) -> Scenario:
        self.note(self.engine.feed(windows_batch(rows), self.time_s * NS))
        return self

    def restart(self, rules: Sequence[Rule] | None = None) -> Scenario:
        """The process dies here and another one goes on from the snapshot."""
        self.keep()
        self.engine = RuleEngine(rules or self.engine.rules, window_ns=WINDOW_S * NS, grace_ns=WINDOW_S * NS)
        self.engine.restore(self.rows)
        return self

    def keep(self) -> None:
        """Writes what changed, and only that, as the alerter does; it must be everything."""
        for name, row in self.engine.changes().items():
            if row is None:
                del self.rows[name]
            else:
                self.rows[name] = row
        self.engine.written()
        whole = self.engine.snapshot()
        assert {name for name in {*self.rows, *whole} if self.rows.get(name) != whole.get(name)} <= {"maintenance"}

    def note(self, events: pa.RecordBatch) -> None:
        if events.num_rows or self.time_s % 5 == 0:
            self.keep()
        if events.num_rows == 0:
            return
        assert events.schema.equals(ALERTS, check_metadata=True)
        events.validate(full=True)
        self.events += events.to_pylist()

    @property
    def notifications(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["state"] in ("firing", "resolved")]

    @property
    def states(self) -> list[str]:
        return [event["state"] for event in self.events]

    def expect_no_notifications(self) -> Scenario:
        news = self.notifications[self.expected:]
        assert not news, f"unexpected: {news}"
        return self

    def expect(self, state: str, rule: str, source: str, **columns: Any) -> Scenario:
        news = self.notifications[self.expected:]
        assert len(news) == 1, f"expected one notification, got {news}"
        self.expected += 1
        found = news[0]
        assert (found["state"], found["rule"], dict(found["labels"])["entity"]) == (state, rule, source), found
        for name, value in columns.items():
            if name in ("starts_at", "ends_at"):
                assert found[name].value == seconds(value) * NS, (name, found[name])
            else:
                assert found[name] == value, (name, found[name])
        return self

    def expect_firing(self, rule: str, source: str, **columns: Any) -> Scenario:
        return self.expect("firing", rule, source, **columns)

    def expect_resolved(self, rule: str, source: str, **columns: Any) -> Scenario:
        return self.expect("resolved", rule, source, **columns)
