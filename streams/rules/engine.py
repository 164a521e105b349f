"""All rules and all their alerts: windows and time in, changes of state out.

    engine = RuleEngine(rules)
    engine.restore(rows)
    events = engine.feed(windows, now_ns)         # model.WINDOWS in any order -> model.ALERTS
    events = engine.observe(answers, at_ns, now_ns)         # what the database said of the rules that ask it
    events = engine.advance(now_ns)               # once a second
    rows = engine.changes()                       # what differs from the rows that are kept ...
    engine.written()                              # ... and now no longer does

The same windows and times give the same events. Which windows stood in one batch makes no difference.

Silence is measured in watched time: the sum of the steps between calls, each at most PAUSE_NS. So neither this
process's downtime nor the replay of an old capture looks like silence of a device.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from streams.clock import NS
from streams.model import ALERTS
from streams.rules.absence import SEEN_MAX, AbsenceState
from streams.rules.alert import Alert, Event, Maintenance, Suppressions, fill, fingerprint
from streams.rules.columns import name_mask
from streams.rules.kept import Kept, Room, dumps
from streams.rules.polls import Answer
from streams.rules.rate import RECENT_TOTAL_MAX, RateState
from streams.rules.rule import Rule
from streams.rules.threshold import TRACKS_TOTAL_MAX, ThresholdState

__all__ = ["RuleEngine"]

# The alerter calls every second. A longer pause was its own: a restart, a frozen machine.
PAUSE_NS = 30 * NS
# How far behind its usual time the next window of a source may come before timers run: one window and some checkpoints.
GRACE_NS = 15 * NS
SNAPSHOT_VERSION = 2
NO_EVENTS = pa.RecordBatch.from_pylist([], schema=ALERTS)
# Without the sketch: it is large and no rule reads it.
COLUMNS = (
    "bucket", "entity", "metric", "cnt", "good", "expected", "vsum", "vsumsq", "vmin", "vmax", "vfirst", "vlast", "increase",
    "resets",
)


@dataclass(frozen=True)
class Orphan:
    """An alert whose rule is gone or has other labels since the snapshot: it ends at the next `advance`."""

    rule: Rule
    alert: Alert


class RuleEngine:
    """`seqs`: for each rule's name and each fingerprint (hex) the last `seq`, kept for ever: it is part of an identity."""

    def __init__(
        self, rules: Sequence[Rule], window_ns: int = 10 * NS, grace_ns: int = GRACE_NS, poll_ns: int = 60 * NS
    ) -> None:
        self.rules = list(rules)
        self.watch_ns = 0
        self.now_ns: int | None = None
        self.suppressions = Suppressions()
        self.seqs: dict[str, dict[str, int]] = {}
        self.kept_seqs: dict[str, Kept] = {}
        self.rooms = {"tracks": Room(TRACKS_TOTAL_MAX), "recent": Room(RECENT_TOTAL_MAX), "watched": Room(SEEN_MAX)}
        self.unwritten = {"maintenance", *(f"rule:{rule.name}" for rule in rules)}
        self.gone: set[str] = set()                         # rows that belong to nothing any more
        self.orphans: list[Orphan] = []
        self.window_ns, self.grace_ns, self.poll_ns = window_ns, grace_ns, poll_ns
        self.states = [self.state_of(rule) for rule in rules]
        self.by_metric: dict[str, list[ThresholdState | AbsenceState]] = {}
        for state in self.states:
            if state.rule.poll is None:
                self.by_metric.setdefault(state.rule.metric, []).append(state)
        self.polled = {
            state.rule.name: state for state in self.states if state.rule.poll is not None and isinstance(state, ThresholdState)
        }

    def state_of(self, rule: Rule) -> ThresholdState | AbsenceState:
        if rule.kind == "absence":
            return AbsenceState(rule, self.rooms)
        if rule.poll is not None:
            # What the database said holds until it could have been asked again, twice.
            rule = replace(rule, stale_ns=max(rule.stale_ns, 3 * self.poll_ns))
            return ThresholdState(rule, self.poll_ns, 2 * self.poll_ns, self.rooms)
        state = RateState if rule.over_ns > self.window_ns else ThresholdState
        return state(rule, self.window_ns, self.grace_ns, self.rooms)

    @property
    def overflow(self) -> int:
        """Entities that were not watched because a rule, or all together, had too many (TRACKS_MAX, RECENT_MAX, SEEN_MAX)."""
        return sum(state.overflow for state in self.states)

    def suppress(self, maintenance: Iterable[Maintenance]) -> None:
        """From now on this, and only this, is the maintenance that is known."""
        self.suppressions = Suppressions(maintenance)
        self.unwritten.add("maintenance")

    def feed(self, windows: pa.RecordBatch, now_ns: int) -> pa.RecordBatch:
        """Closed windows, new or revised (model.WINDOWS) -> what changed (model.ALERTS)."""
        self.watch(now_ns)
        rows = windows.select(COLUMNS)
        rows = rows.filter(name_mask(rows.column("metric"), self.by_metric))
        changes: list[tuple[Rule, Event]] = []
        for metric, states in self.by_metric.items() if rows.num_rows else ():
            of_metric = rows.filter(name_mask(rows.column("metric"), [metric])) if len(self.by_metric) > 1 else rows
            for state in states if of_metric.num_rows else ():
                events: list[Event] = []
                state.feed(of_metric, self.watch_ns, self.window_ns, self, events)
                self.note(state.rule, events, changes)
        return self.batch(changes, now_ns)

    def observe(self, answers: Iterable[Answer], at_ns: int, now_ns: int) -> pa.RecordBatch:
        """What the database said of polled rules, as of `at_ns` (event time) -> what changed (model.ALERTS)."""
        self.watch(now_ns)
        changes: list[tuple[Rule, Event]] = []
        for answer in answers:
            state, events = self.polled[answer.rule], list[Event]()
            moments = [at_ns - self.poll_ns] * len(answer.entities)
            rows = zip(answer.entities, moments, answer.verdicts, answer.values, strict=True)
            state.observe(rows, self.watch_ns, self, events)
            self.note(state.rule, events, changes)
        return self.batch(changes, now_ns)

    def advance(self, now_ns: int) -> pa.RecordBatch:
        """Nothing came until now: absence, pending of silent entities, `keep_firing_for`, `stale`, `expire`."""
        self.watch(now_ns)
        changes: list[tuple[Rule, Event]] = []
        for orphan in self.orphans:
            events: list[Event] = []
            orphan.alert.end(events, max(now_ns, orphan.alert.starts_ns), "rule removed or changed")
            self.note(orphan.rule, events, changes)
        self.orphans = []
        for state in self.states:
            events = []
            state.advance(self.watch_ns, self, events)
            self.note(state.rule, events, changes)
        return self.batch(changes, now_ns)

    def watch(self, now_ns: int) -> None:
        if self.now_ns is not None and now_ns > self.now_ns:
            self.watch_ns += min(now_ns - self.now_ns, PAUSE_NS)
        self.now_ns = now_ns

    def new_alert(self, rule: Rule, entity: str) -> Alert:
        """An inactive alert that goes on counting where the last one of this fingerprint ended."""
        return Alert(entity, self.seqs.get(rule.name, {}).get(hexadecimal(labels_of(rule, entity)), 0))

    def note(self, rule: Rule, events: Iterable[Event], changes: list[tuple[Rule, Event]]) -> None:
        for event in events:
            number = hexadecimal(labels_of(rule, event.entity))
            self.seqs.setdefault(rule.name, {})[number] = event.seq
            self.seqs_of(rule.name).touch(number)
            changes.append((rule, event))

    def batch(self, changes: Sequence[tuple[Rule, Event]], now_ns: int) -> pa.RecordBatch:
        if not changes:
            return NO_EVENTS
        labels = [labels_of(rule, event.entity) for rule, event in changes]
        columns: dict[str, list[Any]] = {
            "at": [now_ns] * len(changes),
            "rule": [rule.name for rule, _ in changes],
            "fingerprint": [fingerprint(each) for each in labels],
            "seq": [event.seq for _, event in changes],
            "state": [event.state for _, event in changes],
            "labels": [sorted(each.items()) for each in labels],
            "annotations": [sorted(annotations_of(rule, event).items()) for rule, event in changes],
            "value": [event.value for _, event in changes],
            "starts_at": [event.starts_ns for _, event in changes],
            "ends_at": [event.ends_ns for _, event in changes],
            "reason": [event.reason for _, event in changes],
        }
        return pa.record_batch([pa.array(columns[each.name], each.type) for each in ALERTS], schema=ALERTS)

    def seqs_of(self, rule: str) -> Kept:
        if rule not in self.kept_seqs:
            def row(numbers: list[str]) -> bytes:
                return dumps({number: self.seqs[rule][number] for number in numbers})

            self.kept_seqs[rule] = Kept(f"seqs:{rule}", row, sys.maxsize, Room(sys.maxsize))
        return self.kept_seqs[rule]

    def every_kept(self) -> Iterator[Kept]:
        yield from self.kept_seqs.values()
        for state in self.states:
            yield from state.kept.values()

    def changes(self) -> dict[str, bytes | None]:
        """The rows that are not as they were when `written` was called last, by name; None: to be deleted."""
        rows: dict[str, bytes | None] = dict.fromkeys(self.gone)
        for kept in self.every_kept():
            rows.update(kept.rows(kept.changed))
        return {**rows, **self.small_rows(self.unwritten)}

    def written(self) -> None:
        """What `changes` said is kept now."""
        for kept in self.every_kept():
            kept.changed.clear()
        self.unwritten.clear()
        self.gone.clear()

    def snapshot(self) -> dict[str, bytes]:
        """All rows: everything that the next windows depend on."""
        chunks = [row for kept in self.every_kept() for row in kept.rows(kept.chunks)]
        names = ("maintenance", *(f"rule:{state.rule.name}" for state in self.states))
        return {**{name: row for name, row in chunks if row is not None}, **self.small_rows(names)}

    def small_rows(self, names: Iterable[str]) -> dict[str, bytes]:
        """The row of the time, which always changes, and those with these names."""
        rules = {f"rule:{state.rule.name}": state.rule for state in self.states}
        orphans = [
            [orphan.rule.name, orphan.rule.metric, orphan.rule.severity, orphan.rule.base_labels(), orphan.alert.entity,
             orphan.alert.state_row()]
            for orphan in self.orphans
        ]
        head = {"version": SNAPSHOT_VERSION, "watch_ns": self.watch_ns, "now_ns": self.now_ns, "orphans": orphans}
        rows = {"engine": dumps(head)}
        for name in sorted(names):
            if name == "maintenance":
                rows[name] = dumps([list(vars(each).values()) for each in self.suppressions.around(self.now_ns or 0)])
            else:
                rule = rules[name]
                rows[name] = dumps({
                    "kind": rule.kind, "metric": rule.metric, "severity": rule.severity, "labels": dict(rule.labels),
                    "annotations": dict(rule.annotations), "alertname": rule.alertname,
                })
        return rows

    def restore(self, rows: Mapping[str, bytes]) -> None:
        """Continue from kept rows, also with other rules: alerts of rules that are gone end at the next `advance`."""
        content = json.loads(rows["engine"])
        assert content["version"] == SNAPSHOT_VERSION, content["version"]
        self.watch_ns, self.now_ns = content["watch_ns"], content["now_ns"]
        self.orphans = [
            Orphan(
                Rule(name, "threshold", metric, severity=severity, labels=labels, alertname=labels.get("alertname", "")),
                Alert.from_state(entity, row),
            )
            for name, metric, severity, labels, entity, row in content["orphans"]
        ]
        # Until somebody says what is announced now: an alert that was suppressed must not fire because we began anew.
        maintenance = json.loads(rows["maintenance"])
        self.suppress(Maintenance(*row[:5], *map(tuple, row[5:])) for row in maintenance)
        chunks: dict[str, list[tuple[int, str, bytes]]] = {}
        for name, row in rows.items():
            part, _, rest = name.partition(":")
            rule, _, number = rest.rpartition(":")
            if part == "seqs":
                self.seqs.setdefault(rule, {}).update(json.loads(row))
                self.seqs_of(rule).adopt(int(number), json.loads(row))
            elif part in self.rooms:
                chunks.setdefault(rule, []).append((int(number), part, row))
        by_name = {state.rule.name: state for state in self.states}
        for name in (each.removeprefix("rule:") for each in rows if each.startswith("rule:")):
            former = Rule(name=name, **json.loads(rows[f"rule:{name}"]))
            self.restore_rule(by_name.get(name), former, sorted(chunks.get(name, ())))
            if name not in by_name:
                self.gone.add(f"rule:{name}")

    def restore_rule(
        self, state: ThresholdState | AbsenceState | None, former: Rule, chunks: Sequence[tuple[int, str, bytes]]
    ) -> None:
        """One rule's rows. Where it is another rule now, or none, the alerts of the former one end."""
        is_the_same = state is not None and (state.rule.kind, state.rule.base_labels()) == (former.kind, former.base_labels())
        unmatched: list[Alert] = []
        if state is None or not is_the_same:
            rooms = {part: Room(sys.maxsize) for part in self.rooms}
            state = AbsenceState(former, rooms) if former.kind == "absence" else RateState(former, self.window_ns, 0, rooms)
            self.gone |= {f"{part}:{former.name}:{number}" for number, part, _ in chunks}
            for number, part, row in chunks:
                state.restore(part, number, row)
            unmatched = state.alerts()
        else:
            for number, part, row in chunks:
                if part in state.kept:
                    unmatched += state.restore(part, number, row)
                else:                                       # a rate that was one over several windows
                    self.gone.add(f"{part}:{former.name}:{number}")
            state.restored()
        self.orphans += [Orphan(former, alert) for alert in unmatched if alert.state != "inactive"]


def labels_of(rule: Rule, entity: str) -> dict[str, str]:
    return {**rule.base_labels(), "entity": entity}


def hexadecimal(labels: Mapping[str, str]) -> str:
    return f"{fingerprint(labels):016x}"


def annotations_of(rule: Rule, event: Event) -> dict[str, str]:
    values = {
        **rule.labels, "rule": rule.alertname or rule.name, "entity": event.entity, "metric": rule.metric,
        "severity": rule.severity, "value": "-" if event.value is None else f"{event.value:g}", "threshold": rule.threshold(),
    }
    return {name: fill(text, values) for name, text in rule.annotations.items()}
