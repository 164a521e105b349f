"""The named queries once more, in pandas and plain Python, written from the definitions of docs/sla.md and not from the SQL.

Slow and obvious on purpose: sets of minutes, one entity at a time. Every function returns rows as dictionaries in the
order that the contract asks for. Times are seconds since 1970 UTC; `zone` cuts days.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from tests.sla_month import Month

Row = dict[str, Any]
DAY = 86_400


@dataclass
class Oracle:
    month: Month
    start: int
    end: int
    zone: str = "UTC"
    only: dict[str, str] = field(default_factory=dict)              # entity, kind, site, customer
    exclude: tuple[str, ...] = ("planned",)

    # What the rules for all say

    def sites(self, entities: pd.Series) -> pd.Series:
        return entities.map({entity: self.listed(entity)["site"] for entity in entities.unique()})

    def listed(self, entity: str) -> dict[str, Any]:
        rows = self.month.entities[self.month.entities["entity"] == entity]
        found = rows.iloc[0].to_dict() if len(rows) else {"kind": None, "site": None, "customer": None, "attrs": {}}
        return {key: value or None for key, value in found.items()} | {"attrs": found["attrs"]}

    def selected(self, entity: str, site: str | None = None) -> bool:
        about = self.listed(entity) | {"entity": entity} | ({"site": site} if site else {})
        return all(about[key] is not None and fnmatch.fnmatchcase(about[key], glob) for key, glob in self.only.items())

    def rows(self, *metrics: str, size: str = "1m", start: int | None = None, end: int | None = None) -> pd.DataFrame:
        table = self.month.windows[size]
        first, last = self.start if start is None else start, self.end if end is None else end
        inside = table["metric"].isin(metrics) & (table["bucket"] >= first) & (table["bucket"] < last)
        found = table[inside]
        return found[found["entity"].isin([entity for entity in found["entity"].unique() if self.selected(entity)])]

    def by_entity(self, frame: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
        return sorted(frame.groupby("entity"), key=lambda pair: pair[0])

    def known(self, metric: str) -> list[str]:
        ever = set(self.month.windows["1m"].query("metric == @metric")["entity"])
        links = set(self.month.entities.query("kind == 'link'")["entity"])
        return sorted(entity for entity in ever | links if self.selected(entity))

    def local_days(self, seconds: pd.Series | np.ndarray) -> list[date]:
        return list(
            pd.to_datetime(pd.Series(np.asarray(seconds)), unit="s", utc=True).dt.tz_convert(ZoneInfo(self.zone)).dt.date,
        )

    def maintained(self, entity: str) -> set[int]:
        minutes: set[int] = set()
        for row in self.month.maintenance.itertuples():
            if row.entity == entity and not row.cancelled and row.reason in self.exclude and row.start < row.end:
                minutes |= set(range(row.start // 60 * 60, row.end, 60))
        return {minute for minute in minutes if self.start <= minute < self.end}

    def number(self, entity: str, key: str) -> float | None:
        try:
            number = float(self.listed(entity)["attrs"][key])
        except (KeyError, ValueError):
            return None
        return number if np.isfinite(number) else None

    # The queries

    def availability(self) -> list[Row]:
        found = []
        up = self.rows("up")
        for entity in self.known("up"):
            skip = self.maintained(entity)
            own = up[(up["entity"] == entity) & ~up["bucket"].isin(skip)]
            n_up, n_down = int((own["vmin"] >= 1).sum()), int((own["vmin"] < 1).sum())
            service = (self.end - self.start) // 60 - len(skip)
            has = n_up + n_down > 0
            found.append({
                "entity": entity, "service_minutes": service, "up_minutes": n_up, "down_minutes": n_down,
                "unknown_minutes": service - n_up - n_down, "maintenance_minutes": len(skip),
                "availability_strict_pct": 100 * n_up / service if has else None,
                "availability_observed_pct": 100 * n_up / (n_up + n_down) if has else None,
            })
        return found

    def calendar_month(self) -> list[Row]:
        hours = (self.end - self.start) / 3600
        return [{**row, "hours": hours} for row in self.availability()]

    def site_availability(self, need: int = 1) -> list[Row]:
        up = self.rows("up")
        up = up.assign(site=self.sites(up["entity"])).dropna(subset="site")
        found = []
        for site, own in sorted(up.groupby("site")):
            count = own.assign(ok=own["vmin"] >= 1).groupby("bucket")["ok"].sum()
            good = int((count >= need).sum())
            found.append({"site": site, "minutes": len(count), "up_minutes": good, "availability_pct": 100 * good / len(count)})
        return found

    def latency_percentiles(self, metric: str = "latency_ms") -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows(metric)):
            values = np.concatenate(list(own["values"]))
            p50, p95, p99 = np.quantile(values, [0.5, 0.95, 0.99], method="inverted_cdf")
            target = self.number(entity, "latency_target_ms")
            found.append({
                "entity": entity, "n": len(values), "p50": p50, "p95": p95, "p99": p99, "worst": values.max(), "target": target,
                "meets": None if target is None else bool(p95 <= target), "good_ratio": float((values <= 45).mean()),
            })
        return found

    def loss(self, received: str = "frames_rx", lost: str = "frames_lost") -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows(received, lost)):
            own = own.assign(day=self.local_days(own["bucket"]))
            sums = own.pivot_table(
                index="day", columns="metric", values="vsum", aggfunc="sum",
            ).reindex(columns=[received, lost]).fillna(0)
            total = sums[received] + sums[lost]
            days = (sums[lost] / total)[total > 0]
            worst = days.max() if len(days) else None
            n_lost, n_received = sums[lost].sum(), sums[received].sum()
            found.append({
                "entity": entity, "lost": n_lost, "received": n_received,
                "loss_ratio": n_lost / (n_lost + n_received) if n_lost + n_received else None,
                "worst_day": str(min(days.index[days == worst])) if len(days) else None, "worst_day_ratio": worst,
            })
        return found

    def error_budget(self, metric: str, objective: float) -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows(metric)):
            total, bad = int(own["cnt"].sum()), int(own["cnt"].sum() - own["good"].sum())
            budget = (1 - objective) * total
            used = bad / budget if budget else None
            found.append({
                "entity": entity, "total": total, "bad": bad, "objective": objective, "budget_events": budget,
                "budget_consumed": used, "budget_remaining": None if used is None else 1 - used,
            })
        return found

    def burn_rate(self, metric: str, objective: float) -> list[Row]:
        """`end` is the moment."""
        spans = {"b5m": 300, "b30m": 1800, "b1h": 3600, "b2h": 7200, "b6h": 21_600, "b1d": DAY, "b3d": 3 * DAY}
        found = []
        for entity, own in self.by_entity(self.rows(metric, start=self.end - 3 * DAY)):
            row: Row = {"entity": entity}
            for name, length in spans.items():
                part = own[own["bucket"] >= self.end - length]
                total = part["cnt"].sum()
                row[name] = (total - part["good"].sum()) / total / (1 - objective) if total and objective < 1 else None
            over = {(name, limit): (row[name] or 0) > limit for name in spans for limit in (14.4, 6, 3, 1)}
            row["page"] = (over["b1h", 14.4] and over["b5m", 14.4]) or (over["b6h", 6] and over["b30m", 6])
            row["ticket"] = (over["b1d", 3] and over["b2h", 3]) or (over["b3d", 1] and over["b6h", 1])
            found.append(row)
        return found

    def outages(self, merge_minutes: int = 1, min_seconds: int = 60) -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows("up")):
            down = sorted(set(own[own["vmin"] < 1]["bucket"]) - self.maintained(entity))
            groups: list[list[int]] = []
            for minute in down:
                if groups and minute - groups[-1][-1] <= 60 * merge_minutes:
                    groups[-1].append(minute)
                else:
                    groups.append([minute])
            for group in groups:
                first, end = group[0], group[-1] + 60
                if end - first >= min_seconds:
                    row = {"entity": entity, "start": first, "end": end, "seconds": end - first, "down_minutes": len(group)}
                    found.append(row)
        return found

    def mttr_mtbf(self, merge_minutes: int = 1, min_seconds: int = 60) -> list[Row]:
        outages = self.outages(merge_minutes, min_seconds)
        found = []
        for entity in sorted(set(self.rows("up")["entity"])):
            lengths = [row["seconds"] for row in outages if row["entity"] == entity]
            n = len(lengths)
            found.append({
                "entity": entity, "failures": n, "mttr_minutes": sum(lengths) / n / 60 if n else None,
                "longest_minutes": max(lengths) / 60 if n else None,
                "mtbf_hours": (self.end - self.start - sum(lengths)) / n / 3600 if n else None,
            })
        return found

    def credits(self, tiers: str = "99.9:0,99:10,95:25,0:100") -> list[Row]:
        with_data = set(self.rows("up")["entity"])
        found = []
        for row in self.availability():
            entity, reached = row["entity"], row["availability_observed_pct"]
            if entity not in with_data:
                continue
            objective, pays = self.number(entity, "availability_slo_pct"), None
            if objective is not None and reached is not None:
                steps = [tuple(map(float, tier.split(":"))) for tier in tiers.split(",")]
                pays = 0.0 if reached >= objective else next((credit for at, credit in steps if reached >= at), None)
            found.append({
                "entity": entity, "customer": self.listed(entity)["customer"], "availability_pct": reached,
                "objective_pct": objective, "credit_pct": pays,
            })
        return found

    def worst(self, metric: str, n: int = 3, period: str = "week") -> list[Row]:
        own = self.rows(metric)
        days = self.local_days(own["bucket"])
        starts = {
            "day": days,
            "week": [day - timedelta(days=day.weekday()) for day in days],
            "month": [day.replace(day=1) for day in days],
        }
        own = own.assign(period=starts[period])
        found = []
        for start, group in sorted(own.groupby("period")):
            sums = group.groupby("entity")[["good", "cnt"]].sum()
            ranked = sorted((-(1 - row.good / row.cnt), entity) for entity, row in sums.iterrows())
            for rank, (minus, entity) in enumerate(ranked[:n], 1):
                found.append({"period": str(start), "entity": entity, "bad_ratio": -minus, "rank": rank})
        return found

    def completeness(self, metric: str = "up", per_minute: float = 6) -> list[Row]:
        minutes = pd.Series(self.local_days(np.arange(self.start, self.end, 60))).value_counts().sort_index()
        own = self.rows(metric)
        received = own.assign(day=self.local_days(own["bucket"])).groupby(["entity", "day"])["cnt"].sum()
        found = []
        for entity in self.known(metric):
            for day, count in minutes.items():
                got = int(received.get((entity, day), 0))
                expected = count * per_minute
                row = {"entity": entity, "day": str(day), "received": got, "expected": expected}
                found.append({**row, "completeness_pct": 100 * got / expected})
        return found

    def pue(self) -> list[Row]:
        own = self.rows("facility_power_w", "power_w")
        own = own.assign(day=self.local_days(own["bucket"]), site=self.sites(own["entity"]))
        own = own.assign(kwh=own["vsum"] / own["cnt"] / 60_000)
        found = []
        for (site, day), group in sorted(own.groupby(["site", "day"])):
            sides = {metric: part["kwh"].sum() for metric, part in group.groupby("metric")}
            facility, it = sides.get("facility_power_w"), sides.get("power_w")
            pue = None if facility is None or it is None else facility / it
            found.append({"site": site, "day": str(day), "facility_kwh": facility, "it_kwh": it, "pue": pue})
        return found

    def thermal_excursions(self, metric: str = "temp_c", limit: float = 27, min_minutes: int = 1) -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows(metric)):
            groups: list[list[Any]] = []
            for row in own.assign(mean=own["vsum"] / own["cnt"]).sort_values("bucket").itertuples():
                if row.mean <= limit:
                    continue
                if groups and row.bucket - groups[-1][-1].bucket == 60:
                    groups[-1].append(row)
                else:
                    groups.append([row])
            groups = [group for group in groups if len(group) >= min_minutes]
            hot = [row for group in groups for row in group]
            found.append({
                "entity": entity, "excursions": len(groups), "minutes_over": len(hot),
                "longest_minutes": max(map(len, groups)) if groups else None,
                "peak": max(row.vmax for row in hot) if hot else None,
                "degree_minutes": sum(row.mean - limit for row in hot),
            })
        return found

    def contact_means(self, metric: str) -> list[tuple[Any, np.ndarray]]:
        """Each contact that begins in the span, with the means of its 10 s windows."""
        windows = self.month.windows["10s"].query("metric == @metric")
        found = []
        for contact in self.month.contacts.itertuples():
            if self.start <= contact.aos < self.end and self.selected(contact.spacecraft, contact.station):
                own = windows[windows["entity"] == contact.spacecraft]
                own = own[(own["bucket"] >= contact.aos) & (own["bucket"] < contact.los)]
                found.append((contact, (own["vsum"] / own["cnt"]).to_numpy()))
        return found

    def link_margin(self, metric: str = "snr_db") -> list[Row]:
        return [
            {
                "id": contact.id, "spacecraft": contact.spacecraft, "station": contact.station, "samples": len(means),
                "min": means.min() if len(means) else None, "avg": means.mean() if len(means) else None,
                "worst_margin_db": means.min() - contact.required_snr_db if len(means) else None,
                "seconds_below": 10 * int((means < contact.required_snr_db).sum()) if len(means) else None,
            }
            for contact, means in sorted(self.contact_means(metric), key=lambda pair: pair[0].id)
        ]

    def contact_availability(self, metric: str = "snr_db") -> list[Row]:
        stations: dict[str, list[tuple[Any, np.ndarray]]] = {}
        for contact, means in self.contact_means(metric):
            stations.setdefault(contact.station, []).append((contact, means))
        found = []
        for station, contacts in sorted(stations.items()):
            planned = sum(contact.los - contact.aos for contact, _ in contacts)
            missed = sum(len(means) == 0 for _, means in contacts)
            usable = 10 * sum(int((means >= contact.required_snr_db).sum()) for contact, means in contacts)
            found.append({
                "station": station, "contacts": len(contacts), "missed": missed, "planned_seconds": planned,
                "tracked_seconds": 10 * sum(len(means) for _, means in contacts), "usable_seconds": usable,
                "usable_pct": 100 * usable / planned, "success_pct": 100 * (len(contacts) - missed) / len(contacts),
            })
        return found

    def rolling_compliance(self, metric: str, days: int = 7) -> list[Row]:
        own = self.rows(metric, start=0)
        own = own.assign(day=self.local_days(own["bucket"]))
        found = []
        for entity, part in self.by_entity(own):
            for day in sorted(set(part[part["bucket"] >= self.start]["day"])):
                back = part[(part["day"] > day - timedelta(days=days)) & (part["day"] <= day)]
                found.append({"entity": entity, "day": str(day), "ratio": back["good"].sum() / back["cnt"].sum()})
        return found

    def silent_entities(self, minutes: int = 3, metric: str = "up") -> list[Row]:
        """`end` is the moment."""
        own = self.rows(metric, start=self.end - DAY)
        found = []
        for entity in self.known(metric):
            last = own[own["entity"] == entity]["bucket"].max()
            if np.isnan(last):
                found.append({"entity": entity, "last_seen": None, "silent_seconds": None})
            elif self.end - last > 60 * minutes:
                found.append({"entity": entity, "last_seen": int(last), "silent_seconds": int(self.end - last)})
        return found

    def interface_utilisation(self) -> list[Row]:
        found = []
        speeds = self.rows("if_speed", start=0)
        for entity, own in self.by_entity(self.rows("if_in_octets", "if_out_octets")):
            known = speeds[speeds["entity"] == entity].sort_values("bucket")
            row: Row = {"entity": entity}
            for metric, name in (("if_in_octets", "in"), ("if_out_octets", "out")):
                busy = []
                for minute in own[own["metric"] == metric].itertuples():
                    before = known[known["bucket"] <= minute.bucket]
                    if len(before):
                        busy.append(100 * minute.increase * 8 / 60 / before["vlast"].iloc[-1])
                row[f"{name}_mean_pct"] = np.mean(busy) if busy else None
                row[f"{name}_p95_pct"] = np.quantile(busy, 0.95, method="inverted_cdf") if busy else None
                row[f"{name}_max_pct"] = max(busy) if busy else None
            found.append(row)
        return found

    def billing_95th(self) -> list[Row]:
        found = []
        for entity, own in self.by_entity(self.rows("if_in_octets", "if_out_octets")):
            own = own.assign(slot=own["bucket"] // 300)
            rates = {}
            for metric, part in own.groupby("metric"):
                ascending = sorted(part.groupby("slot")["increase"].sum() * 8 / 300)
                rates[metric] = ascending[len(ascending) - len(ascending) // 20 - 1]
            found.append({
                "entity": entity, "samples": own["slot"].nunique(), "p95_in_bps": rates.get("if_in_octets"),
                "p95_out_bps": rates.get("if_out_octets"), "billable_bps": max(rates.values()),
            })
        return found

    def span_flows(self) -> pd.DataFrame:
        table = self.month.flows
        own = table[(table["time_start"] >= self.start) & (table["time_start"] < self.end)]
        own = own[own["exporter"].isin(list(filter(self.selected, own["exporter"].unique())))]
        rate = own["sampling_rate"].fillna(1).astype("int64")
        unknown = own["bytes"].where(own["sampling_rate"].isna(), 0)
        return own.assign(bytes=own["bytes"] * rate, packets=own["packets"] * rate, unknown_sampling_bytes=unknown, flows=1)

    def traffic(self, by: str = "src_as", n: int = 10, step: int = 3600) -> list[Row]:
        fields = by.split(",")
        own = self.span_flows()
        if step == DAY:
            own = own.assign(step=[str(day) for day in self.local_days(own["time_start"])])
        else:
            own = own.assign(step=own["time_start"] // step * step)
        sums = ["bytes", "packets", "flows", "unknown_sampling_bytes"]
        largest = own.groupby(fields, dropna=False)["bytes"].sum().sort_values(ascending=False).head(n)
        keep = {tuple(map(present, key if isinstance(key, tuple) else (key,))) for key in largest.index}
        found = []
        for key, row in own.groupby(["step", *fields], dropna=False)[sums].sum().iterrows():
            names = tuple(map(present, key[1:]))
            if names in keep:
                found.append({"step": key[0], **dict(zip(fields, map(plain, names), strict=True)), **row.to_dict()})
        return sorted(found, key=lambda row: (row["step"], *((row[f] is None, row[f] or 0) for f in fields)))

    def top_talkers(self, n: int = 10, by: str = "src_addr,dst_addr") -> list[Row]:
        own = self.span_flows()
        fields = by.split(",")
        sums = own.groupby(fields)[["bytes", "packets", "flows", "unknown_sampling_bytes"]].sum()
        total, found = own["bytes"].sum(), []
        for key, row in sums.sort_values("bytes", ascending=False).head(n).iterrows():
            names = key if isinstance(key, tuple) else (key,)
            share = 100 * row["bytes"] / total
            found.append({**dict(zip(fields, map(plain, names), strict=True)), **row.to_dict(), "share_pct": share})
        return found

    def data_loss(self) -> list[Row]:
        def inside(frame: pd.DataFrame) -> pd.DataFrame:
            own = frame[(frame["time"] >= self.start) & (frame["time"] < self.end)]
            return own[own["source"].isin(list(filter(self.selected, own["source"].unique())))]

        rejects = inside(self.month.rejects).assign(unit="bytes", lost=lambda frame: frame["size_bytes"])
        own = inside(self.month.samples).sort_values("time", kind="stable")
        usual = {"sequence_gaps": "packets", "kernel_drops": "datagrams"}
        known = ("datagrams", "frames", "packets", "bytes")
        pairs = zip(own["unit"], own["metric"], strict=True)
        units = [unit if unit in known else usual.get(metric, "frames") for unit, metric in pairs]
        amounts, last = [], None
        for row in own.itertuples():
            if row.kind == "gauge":
                amounts.append(row.value)
                continue
            amounts.append(0 if last is None else row.value - last if row.value >= last else row.value)
            last = row.value
        own = own.assign(unit=units, lost=amounts, reason=own["metric"])
        own = own[own["lost"] != 0]
        both = pd.concat([rejects, own])
        found = []
        for (source, reason, unit), part in sorted(both.groupby(["source", "reason", "unit"])):
            found.append({
                "source": source, "reason": reason, "lost": part["lost"].sum(), "unit": unit, "first": int(part["time"].min()),
                "last": int(part["time"].max()),
            })
        return found


def present(value: Any) -> Any:
    return None if pd.isna(value) else value


def plain(value: Any) -> Any:
    return value.removeprefix("::ffff:") if isinstance(value, str) else value
