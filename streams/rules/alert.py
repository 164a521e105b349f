"""One alert: its labels, its fingerprint and its states.

        inactive -> pending -> firing -> resolved -> inactive ...
                          \\        ^|
                           v       |v
                          suppressed          (maintenance: stands for firing, tells nobody)

An `Alert` is told what happened (`pend`, `fire`, `end`) and appends an `Event` for every change. Only `firing` and
`resolved` concern receivers, and `resolved` comes only to those who were told `firing`: an alert that was suppressed
from its beginning to its end ends in `inactive`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from streams.clock import NS
from streams.rules.columns import glob_pattern
from streams.rules.rule import PLACEHOLDER, Rule

__all__ = ["Alert", "Event", "Maintenance", "Suppressions", "fill", "fingerprint"]

FNV_OFFSET, FNV_PRIME, UINT64 = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1
SEPARATOR = 0xFF                                            # cannot occur in UTF-8
KEEP_NS = 86_400 * NS


def fingerprint(labels: Mapping[str, str]) -> int:
    """FNV-1a 64 over name 0xFF value 0xFF of the labels in order of their names: Alertmanager's `Fingerprint`
    (prometheus/common model/signature.go, from memory; checked against a test vector of that repository)."""
    digest = FNV_OFFSET
    for name in sorted(labels):
        for text in (name, labels[name]):
            for octet in (*text.encode(), SEPARATOR):
                digest = (digest ^ octet) * FNV_PRIME & UINT64
    return digest


def fill(text: str, values: Mapping[str, str]) -> str:
    """`{name}` replaced by values; an unknown name stays as it is (rule files with one are refused)."""
    return PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


@dataclass(frozen=True)
class Maintenance:
    """Announced work: alerts of matching entities are suppressed in [start, end), event time.

    One that was agreed for some SLOs only (`slos`) suppresses rules on these and on the metrics that they are made of.
    """

    id: str
    entity: str                                             # glob
    start_ns: int
    end_ns: int
    reason: str = "planned"
    slos: tuple[str, ...] = ()                              # empty: all rules
    metrics: tuple[str, ...] = ()                           # those of `slos`

    def concerns(self, rule: Rule) -> bool:
        if rule.poll is not None and "slo" in rule.labels:
            return not self.slos or rule.labels["slo"] in self.slos
        return not self.slos or rule.metric in self.metrics


@lru_cache(maxsize=4096)
def matcher(glob: str) -> re.Pattern[str]:
    return re.compile(glob_pattern(glob))


class Suppressions:
    """The maintenance that is known now."""

    def __init__(self, maintenance: Iterable[Maintenance] = ()) -> None:
        self.maintenance = sorted(maintenance, key=lambda each: (each.start_ns, each.id))

    def reason(self, rule: Rule, entity: str, time_ns: int) -> str | None:
        """Why an alert of this entity tells nobody at that time, or None."""
        for each in self.maintenance:
            if each.start_ns > time_ns:
                break
            if time_ns < each.end_ns and each.concerns(rule) and matcher(each.entity).match(entity):
                return f"maintenance {each.id}: {each.reason}"
        return None

    def around(self, now_ns: int) -> list[Maintenance]:
        """What a restart must know before the database is asked again."""
        return [each for each in self.maintenance if now_ns - KEEP_NS < each.end_ns and each.start_ns < now_ns + KEEP_NS]


@dataclass(frozen=True)
class Event:
    """One change of state; a row of model.ALERTS without what its rule adds."""

    entity: str
    seq: int
    state: str
    value: float | None
    starts_ns: int
    ends_ns: int | None
    reason: str | None


class Alert:
    """The state of one rule for one entity. `seq` numbers its events for ever."""

    __slots__ = ("entity", "is_told", "seq", "starts_ns", "state", "value")

    def __init__(self, entity: str, seq: int = 0) -> None:
        self.entity, self.seq = entity, seq
        self.state = "inactive"
        self.starts_ns = 0
        self.value: float | None = None
        self.is_told = False                                # receivers know of this episode

    @property
    def is_active(self) -> bool:
        """Firing, told or not."""
        return self.state in ("firing", "suppressed")

    def move(self, events: list[Event], state: str, ends_ns: int | None = None, reason: str | None = None) -> None:
        self.seq += 1
        self.state = state
        events.append(Event(self.entity, self.seq, state, self.value, self.starts_ns, ends_ns, reason))

    def pend(self, events: list[Event], starts_ns: int) -> None:
        self.starts_ns = starts_ns
        self.move(events, "pending")

    def fire(self, events: list[Event], starts_ns: int, suppressed: str | None) -> None:
        """The condition has held long enough: fire, unless `suppressed` says why not. Called again while it holds."""
        state = "firing" if suppressed is None else "suppressed"
        if state == self.state:
            return
        if not self.is_active:
            self.starts_ns = starts_ns
        self.is_told |= suppressed is None
        self.move(events, state, reason=suppressed)

    def end(self, events: list[Event], ends_ns: int, reason: str | None = None) -> None:
        """The condition is over, whatever the state was; without an episode nothing happens."""
        if self.state == "pending":
            self.move(events, "inactive", ends_ns, reason)
        elif self.is_active:
            self.move(events, "resolved" if self.is_told else "inactive", max(ends_ns, self.starts_ns), reason)
        self.state = "inactive"
        self.is_told = False

    def state_row(self, has_value: bool = True) -> list[object]:
        """`has_value`: it has one of its own; that of an absence is the time that passed."""
        return [self.seq, self.state, self.starts_ns, self.value if has_value else None, self.is_told]

    @classmethod
    def from_state(cls, entity: str, row: list[object]) -> Alert:
        alert = cls(entity)
        alert.seq, alert.state, alert.starts_ns, alert.value, alert.is_told = row      # type: ignore[assignment]
        return alert
