"""What an SLO report must say of the seeded month, minute by minute in numpy: knows no SQL and nothing of streams.slo.

    expected = report(month, "link-a", Question(...), start_s, end_s)

Written from docs/slo.md: minutes under maintenance are left out; the rest are gathered in slices counted from the span's
start; a slice has data if its total is above 0.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from tests.sla_month import Month

BURN = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200}


@dataclass
class Question:
    """`good` and `total` are columns of the minute windows; `limit` makes it a threshold: `good` >= limit, 1 or 0 of 1."""

    metric: str
    good: str
    total: str = ""
    limit: float | None = None
    method: str = "Occurrences"
    target: float = 0.9
    slice_s: int = 60
    slice_target: float = 1.0
    unknown_is_bad: bool = False
    reasons: tuple[str, ...] = ("planned",)
    extra: list[tuple[str, int, int]] = field(default_factory=list)         # (glob, start, end) of policies


def minutes(month: Month, entity: str, asked: Question, first_s: int, end_s: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """good, total and maintenance of every minute of [first, end)."""
    count = (end_s - first_s) // 60
    good, total, idle = np.zeros(count), np.zeros(count), np.zeros(count, bool)
    table = month.windows["1m"]
    own = table[(table["entity"] == entity) & (table["metric"] == asked.metric)]
    own = own[(own["bucket"] >= first_s) & (own["bucket"] < end_s)]
    place = ((own["bucket"] - first_s) // 60).to_numpy()
    if asked.limit is None:
        good[place], total[place] = own[asked.good], own[asked.total]
    else:
        good[place], total[place] = own[asked.good] >= asked.limit, 1
    listed = month.maintenance[(month.maintenance["entity"] == entity) & (month.maintenance["cancelled"] == 0)]
    agreed = [(row.start, row.end) for row in listed.itertuples() if row.reason in asked.reasons]
    agreed += [(start, end) for glob, start, end in asked.extra if fnmatch.fnmatchcase(entity, glob)]
    for start, end in agreed:
        if start < end:
            idle[max(0, start // 60 - first_s // 60):max(0, -(-end // 60) - first_s // 60)] = True
    good[idle], total[idle] = 0, 0
    return good, total, idle


def report(month: Month, entity: str, asked: Question, start_s: int, end_s: int) -> dict[str, Any]:
    size = asked.slice_s
    back = -(-max(0, start_s - (end_s - max(BURN.values()))) // size) * size
    first_s = start_s - back
    good, total, idle = minutes(month, entity, asked, first_s, end_s)
    frame = pd.DataFrame({"good": good, "total": total, "idle": idle, "minutes": 1})
    slices = frame.groupby(np.arange(len(frame)) * 60 // size).sum()
    slices["start"] = first_s + slices.index * size
    slices["known"] = slices["total"] > 0
    slices["kept"] = slices["idle"] == slices["minutes"]
    ratio = (slices["good"] / slices["total"].where(slices["known"])).fillna(0.0)
    if asked.method == "Timeslices":
        slices["good"] = (slices["known"] & (ratio >= asked.slice_target)).astype(float)
    elif asked.method == "RatioTimeslices":
        slices["good"] = ratio
    if asked.method != "Occurrences":
        slices["total"] = slices["known"].astype(float)
        if asked.unknown_is_bad:
            slices.loc[~slices["known"] & ~slices["kept"], "total"] = 1.0

    def over(part: pd.DataFrame) -> tuple[float, float]:
        return float(part["good"].sum()), float(part["total"].sum())

    span = slices[slices["start"] >= start_s]
    well, all_ = over(span)
    allowed, rates = 1 - asked.target, {}
    for name, seconds in BURN.items():
        good_, total_ = over(slices[slices["start"] >= end_s - seconds])
        rates[name] = (total_ - good_) / total_ / allowed if total_ else None
    return {
        "good": well, "total": all_, "sli": well / all_ if all_ else None,
        "unknown": int((~span["known"] & ~span["kept"]).sum()), "maintenance": int(span["kept"].sum()),
        "budget_remaining": 1 - (all_ - well) / (allowed * all_) if all_ else None, "burn_rate": rates,
    }
