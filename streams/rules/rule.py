"""A rule as it is used: what is asked, of whom, for how long, and who is told. Made by definitions.py and polls.py."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.clock import NS
from streams.slo import Objective, Slo

__all__ = ["PLACEHOLDER", "Anomaly", "Levels", "Pair", "Place", "Rule"]

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")                  # in annotations


@dataclass(frozen=True)
class Pair:
    """Both windows must burn faster than `rate`; labels as in streams.slo.BURN_WINDOWS."""

    long: str
    short: str
    rate: float

    def __str__(self) -> str:
        return f"{self.rate:g} over {self.long}" + (f" and {self.short}" if self.short != self.long else "")


@dataclass(frozen=True)
class Levels:
    """Asks how an SLO stands. `what` is burn_rate, credit or no_data; unbound, `slos` is a glob over their names."""

    what: str
    slos: str = "*"
    pairs: tuple[Pair, ...] = ()                            # burn_rate: any of them; no_data: the window of the first
    op: str = ">"
    slo: Slo | None = None
    objective: Objective | None = None

    @property
    def subject(self) -> tuple[Slo, Objective]:
        assert self.slo is not None and self.objective is not None, "a rule on SLOs that was not bound"
        return self.slo, self.objective


@dataclass(frozen=True)
class Anomaly:
    """Asks how far the mean of the last `window_s` is from the usual; see anomaly.py."""

    deviations: float
    resolve: float
    op: str = "!="                                          # > above the usual, < below, != both
    window_s: int = 300
    baseline_s: int = 604_800
    season_s: int = 0                                       # 86,400: the same time of day; 604,800: of the week; 0: any
    least: float = 0.0                                      # smaller differences are none, in the metric's unit


class Place(NamedTuple):
    """Where something of a rule is written, for messages: `path` is the key path inside the file."""

    file: str
    line: int
    path: str | None = None


@dataclass(frozen=True)
class Rule:
    """One rule. `op value` says what is wrong; durations are nanoseconds; `entity` is a glob in which `*` is anything."""

    name: str
    kind: str
    metric: str
    entity: str = "*"
    column: str = "mean"
    op: str = ">"
    value: float = math.nan
    resolve: float = math.nan                               # a firing alert ends where `op resolve` is no longer true
    over_ns: int = 0                                        # rate: over so much time; 0: over one window
    for_ns: int = 0
    keep_firing_for_ns: int = 0
    stale_ns: int = 300 * NS                                # as Prometheus' lookback: how long a verdict holds without data
    expire_ns: int = 7 * 86_400 * NS                        # firing without any data this long ends it; 0: never
    after_ns: int = 0                                       # absence only
    severity: str = "warning"
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    webhooks: tuple[str, ...] | None = None                 # None: all
    tells: tuple[str, ...] = ("firing", "resolved")         # the states that receivers hear of
    alertname: str = ""                                     # the label, if it is not the name
    poll: Levels | Anomaly | None = None                    # None: looks at windows
    places: Mapping[str, Place] = field(default_factory=dict, compare=False, repr=False)     # of name, slo, webhooks[0], ...

    def base_labels(self) -> dict[str, str]:
        """The labels of every alert of this rule; `entity` comes on top."""
        return {**self.labels, "alertname": self.alertname or self.name, "metric": self.metric, "severity": self.severity}

    def threshold(self) -> str:
        """What had to be exceeded, for people."""
        if self.kind == "absence":
            return f"{self.after_ns / NS:g} s"
        if isinstance(self.poll, Anomaly):
            return f"{self.poll.deviations:g} deviations"
        if self.poll is None or self.poll.what == "credit":
            return f"{self.value:g}"
        return self.poll.pairs[0].long if self.poll.what == "no_data" else ", or ".join(map(str, self.poll.pairs))
