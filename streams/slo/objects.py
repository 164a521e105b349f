"""What an OpenSLO file says, as frozen objects. Made by openslo.py; counted by sql.py; judged by report.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.slo.maintenance import MaintenancePolicy
from streams.slo.spans import MINUTE_S, TimeWindow

__all__ = [
    "BURN_ALERTS", "BURN_PAIRS", "BURN_WINDOWS", "AlertCondition", "AlertPolicy", "Indicator", "Objective", "Selector", "Slo",
    "Source", "burn_label",
]

BURN_WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200}
# (long, short, rate) by what it is worth: both windows must burn faster. Google, The Site Reliability Workbook, ch. 5
# "Alerting on SLOs", "Multiwindow, Multi-Burn-Rate Alerts": 2 % of a 30 day budget in 1 h, 5 % in 6 h, 10 % in 1 d, 10 % in
# 3 d (the chapter from memory, its numbers also as others quote them).
BURN_PAIRS = {
    "page": (("1h", "5m", 14.4), ("6h", "30m", 6.0)),
    "ticket": (("1d", "2h", 3.0), ("3d", "6h", 1.0)),
}
BURN_ALERTS = (*BURN_PAIRS["page"], *BURN_PAIRS["ticket"])


@dataclass(frozen=True)
class Selector:
    """Which entities: exact, or a glob with `*`; None selects all."""

    entity: str | None = None
    kind: str | None = None
    site: str | None = None
    customer: str | None = None


@dataclass(frozen=True)
class Source:
    """What of the minute windows is read: the sum of `column` over `metrics`."""

    metrics: tuple[str, ...]
    column: str


@dataclass(frozen=True)
class Indicator:
    """An SLI. A ratio has `total` and `good` or `bad`; a raw ratio or a threshold metric has `value` alone."""

    name: str
    selector: Selector
    good: Source | None = None
    bad: Source | None = None
    total: Source | None = None
    value: Source | None = None
    raw_type: str | None = None                 # success or failure: `value` is a precomputed ratio

    @property
    def metrics(self) -> tuple[str, ...]:
        sources = (self.good, self.bad, self.total, self.value)
        return tuple(dict.fromkeys(metric for source in sources if source for metric in source.metrics))


@dataclass(frozen=True)
class Objective:
    name: str
    target: float                               # fraction
    op: str | None = None                       # lt lte gt gte: how a threshold metric is compared with `value`
    value: float | None = None
    slice_target: float | None = None           # Timeslices: the share of a slice that must be good
    slice_s: int = MINUTE_S


@dataclass(frozen=True)
class AlertCondition:
    name: str
    severity: str
    threshold: float                            # burn rate
    lookback_s: int
    alert_after_s: int = 0
    op: str = "gt"


@dataclass(frozen=True)
class AlertPolicy:
    name: str
    condition: AlertCondition
    when_breaching: bool = True
    when_resolved: bool = False
    when_no_data: bool = False
    targets: tuple[str, ...] = ()
    description: str = ""
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Slo:
    name: str
    indicator: Indicator
    method: str                                 # Occurrences, Timeslices or RatioTimeslices
    objectives: tuple[Objective, ...]
    window: TimeWindow
    service: str = ""
    display_name: str = ""
    description: str = ""
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alerts: tuple[AlertPolicy, ...] = ()
    maintenance: tuple[MaintenancePolicy, ...] = ()
    credit_tiers: tuple[tuple[float, float], ...] = ()       # (reached percent, credit percent), first reached counts
    unknown_is_bad: bool = False                # Timeslices: a slice without data counts as bad
    file: str = ""
    line: int = 0

    @property
    def exclude(self) -> tuple[str, ...]:
        """Reasons in the table `maintenance` that do not count against this objective; `planned` without any policy."""
        if not self.maintenance:
            return ("planned",)
        return tuple(dict.fromkeys(reason for policy in self.maintenance for reason in policy.exclude))

    @property
    def burn_windows(self) -> dict[str, int]:
        """The windows of BURN_WINDOWS and those of this SLO's own alert conditions, in seconds."""
        own = {burn_label(policy.condition.lookback_s): policy.condition.lookback_s for policy in self.alerts}
        return dict(sorted({**BURN_WINDOWS, **own}.items(), key=lambda item: item[1]))


def burn_label(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
