"""A seeded month in which everything happens that an SLA has to decide: what the named queries are compared on.

October 2026 with a week before it. Outages that cross midnight and the span's ends, overlapping, cancelled, moved and
half-minute maintenance, gaps, late revisions (older ones with wrong values are inserted too), the end of DST in
Europe/Stockholm on the 25th, and these entities:

    link-a link-b   kiruna and kiruna, everything listed     link-e   windows only, not listed
    link-c          svalbard, attrs that are no numbers      link-f   listed, data only before October
    link-d          listed as link, never any data           rack-*   power, temperature, interfaces

`Month` keeps the truth as DataFrames without the superseded revisions; `load` writes all of it. The fixtures `month` and
`month_dsn` of conftest.py make and load one for the whole session.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa

from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate

SEED = int(os.environ.get("ORBITRACK_SEED", "20261002"))
FIRST = int(pd.Timestamp("2026-09-24", tz="UTC").timestamp())
START = int(pd.Timestamp("2026-10-01", tz="UTC").timestamp())
END = int(pd.Timestamp("2026-11-02", tz="UTC").timestamp())
DAY = 86_400
GAMMA = math.log(1.01 / 0.99)


def at(text: str) -> int:
    return int(pd.Timestamp(text, tz="UTC").timestamp())


@dataclass
class Month:
    seed: int
    windows: dict[str, pd.DataFrame] = field(default_factory=dict)        # "1m" and "10s"; column `values` holds the samples
    stale: dict[str, pd.DataFrame] = field(default_factory=dict)          # superseded revisions
    entities: pd.DataFrame = field(default_factory=pd.DataFrame)
    maintenance: pd.DataFrame = field(default_factory=pd.DataFrame)
    contacts: pd.DataFrame = field(default_factory=pd.DataFrame)
    flows: pd.DataFrame = field(default_factory=pd.DataFrame)
    rejects: pd.DataFrame = field(default_factory=pd.DataFrame)
    samples: pd.DataFrame = field(default_factory=pd.DataFrame)


def make(seed: int) -> Month:
    random = np.random.default_rng(seed)
    month = Month(seed)
    minutes = [*link_windows(random), *rack_windows(random), *interface_windows(random)]
    month.contacts, tens = contact_windows(random)
    for size, frames in (("1m", minutes), ("10s", tens)):
        table = pd.concat(frames, ignore_index=True)
        table["rev"] = random.integers(10, 1000, len(table))
        month.windows[size] = table
        late = table.sample(frac=0.02, random_state=seed).copy()
        late["rev"] -= random.integers(1, 10, len(late))
        late[["vsum", "vmin", "vmax", "increase", "vlast"]] = late[["vsum", "vmin", "vmax", "increase", "vlast"]] * 0.5 - 1
        late["cnt"] = late["cnt"] // 2
        late["good"] = 0
        month.stale[size] = late
    month.entities = entities()
    month.maintenance = maintenance()
    month.flows = flows(random)
    month.rejects, month.samples = losses(random)
    return month


def table(entity: str, metric: str, buckets: np.ndarray, **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame({"bucket": buckets.astype("int64")})
    frame["entity"], frame["metric"] = entity, metric
    for name in ("cnt", "good", "vsum", "vmin", "vmax", "vlast", "increase"):
        frame[name] = columns.get(name, 1 if name == "cnt" else 0)
    if "good" not in columns:
        frame["good"] = frame["cnt"]
    frame["values"] = columns.get("values", [None] * len(frame))
    return frame


def runs(random: np.random.Generator, first: int, last: int, count: int, longest: int) -> np.ndarray:
    """Minutes (as seconds) of `count` random runs in [first, last)."""
    starts = random.integers(first // 60, last // 60, count)
    lengths = random.geometric(1 / (longest / 4), count).clip(1, longest)
    return np.unique(np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])) * 60


def link_windows(random: np.random.Generator) -> list[pd.DataFrame]:
    frames = []
    spans = dict.fromkeys(("link-a", "link-b", "link-e"), (FIRST, END))
    spans |= {"link-c": (START + 7200, END - 3 * DAY), "link-f": (FIRST, START)}
    for entity, (first, last) in spans.items():
        buckets = np.arange(first, last, 60)
        down = runs(random, first, last, 25, 300)
        if entity == "link-a":      # over the span's start, over midnight, and every other minute
            down = np.union1d(down, np.arange(START - 600, START + 420, 60))
            down = np.union1d(down, np.arange(at("2026-10-07 23:50"), at("2026-10-08 00:25"), 60))
            down = np.union1d(down, np.arange(at("2026-10-09 12:00"), at("2026-10-09 12:40"), 120))
        gaps = runs(random, first, last, 12, 240)
        buckets = np.setdiff1d(buckets, gaps)
        lowest = np.where(np.isin(buckets, down), random.choice([0.0, 0.5], len(buckets)), 1.0)
        received = random.choice([6, 6, 6, 5, 4], len(buckets))
        frames.append(table(entity, "up", buckets, vmin=lowest, cnt=received, vsum=received * lowest))
        if entity == "link-b":
            continue                # no latency
        seldom = np.concatenate([buckets[::20], buckets[buckets >= END - 2 * DAY]])
        seldom = np.unique(seldom)
        values = [random.lognormal(3.5, 0.3 + 0.4 * (entity == "link-c"), random.integers(3, 25)) for _ in seldom]
        values = [np.where(random.random(len(v)) < 0.01, 0.0, v) for v in values]
        frames.append(table(
            entity, "latency_ms", seldom, values=values, cnt=[len(v) for v in values], good=[(v <= 45).sum() for v in values],
            vsum=[v.sum() for v in values], vmin=[v.min() for v in values], vmax=[v.max() for v in values],
        ))
        hourly = buckets[::97]
        lost = random.poisson(0.4, len(hourly)) * (entity != "link-e")
        frames.append(table(entity, "frames_lost", hourly, vsum=lost.astype(float)))
        if entity != "link-e":      # link-e: neither lost nor received ever
            frames.append(table(entity, "frames_rx", hourly[::2], vsum=random.integers(0, 900, len(hourly[::2])).astype(float)))
    return frames


def rack_windows(random: np.random.Generator) -> list[pd.DataFrame]:
    frames = []
    for entity, metric, level, every in (
        ("rack-1", "power_w", 4000, 420), ("rack-2", "power_w", 6000, 660), ("meter-1", "facility_power_w", 15000, 900),
        ("rack-3", "power_w", 5000, 3600),
    ):
        last = END - 5 * DAY if entity == "rack-3" else END
        buckets = np.arange(FIRST, last, every) // 60 * 60
        received = random.integers(1, 7, len(buckets))
        frames.append(table(entity, metric, buckets, cnt=received, vsum=received * random.normal(level, 200, len(buckets))))
    for entity in ("rack-1", "rack-2", "rack-3"):
        buckets = np.setdiff1d(np.arange(START, START + 3 * DAY, 60), runs(random, START, START + 3 * DAY, 15, 30))
        heat = 26 + np.convolve(random.normal(0, 1, len(buckets)), np.ones(30) / 8, "same") - 20 * (entity == "rack-3")
        received = random.integers(1, 7, len(buckets))
        frames.append(
            table(entity, "temp_c", buckets, cnt=received, vsum=received * heat, vmax=heat + random.random(len(buckets))),
        )
    return frames


def interface_windows(random: np.random.Generator) -> list[pd.DataFrame]:
    frames = []
    spans = {"rack-1/if/1": (FIRST, END), "rack-1/if/2": (START, START + 4 * DAY), "rack-1/if/3": (START, START + DAY)}
    for entity, (first, last) in spans.items():
        for metric in ("if_in_octets", "if_out_octets"):
            if (entity, metric) == ("rack-1/if/3", "if_out_octets"):
                continue            # one direction only
            buckets = np.setdiff1d(np.arange(first, last, 60), runs(random, first, last, 30, 120))
            frames.append(table(entity, metric, buckets, increase=np.floor(random.pareto(2, len(buckets)) * 5e7)))
        if entity != "rack-1/if/2":     # its speed is known only from the middle on
            changes = np.unique(random.integers(first // 60 - 3000, last // 60, 40)) * 60
        else:
            changes = np.array([first + 2 * DAY, first + 3 * DAY])
        frames.append(table(entity, "if_speed", changes, vlast=random.choice([1e9, 1e10, 2.5e9], len(changes))))
    return frames


def contact_windows(random: np.random.Generator) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    rows, frames = [], []
    for craft in ("sat-1", "sat-2"):
        for number in range(40):
            aos = START - DAY + number * 70_000 + int(random.integers(0, 20_000))
            station = str(random.choice(["kiruna", "svalbard", "maspalomas"]))
            los = aos + int(random.integers(300, 900))
            rows.append((len(rows) + 1, craft, station, aos, los, float(random.choice([6.0, 9.5]))))
            if random.random() < 0.15:
                continue            # missed
            buckets = np.arange((aos - 40) // 10 * 10, los + 40, 10)
            buckets = buckets[random.random(len(buckets)) < 0.9]
            received = random.integers(1, 11, len(buckets))
            frames.append(table(craft, "snr_db", buckets, cnt=received, vsum=received * random.normal(9, 2.5, len(buckets))))
    rows += [(900, "sat-1", "tiny", START + 3, START + 8, 6.0), (901, "sat-9", "kiruna", START + 100, START + 200, 6.0)]
    return pd.DataFrame(rows, columns=["id", "spacecraft", "station", "aos", "los", "required_snr_db"]), frames


def entities() -> pd.DataFrame:
    rows = [
        ("link-a", "link", "kiruna", "acme", {"latency_target_ms": "52.5", "availability_slo_pct": "99.5"}),
        ("link-b", "link", "kiruna", "acme", {"availability_slo_pct": "80"}),
        ("link-c", "link", "svalbard", "globex", {"latency_target_ms": "soon", "availability_slo_pct": "99.9"}),
        ("link-d", "link", "svalbard", "globex", {}),
        ("link-f", "backup-link", "kiruna", "", {"availability_slo_pct": "nan"}),
        ("rack-1", "rack", "kiruna", "acme", {}), ("rack-2", "rack", "kiruna", "acme", {}),
        ("rack-3", "rack", "svalbard", "", {}),
        ("meter-1", "meter", "kiruna", "", {}), ("rack-1/if/1", "interface", "kiruna", "acme", {}),
        ("sat-1", "spacecraft", "", "acme", {}), ("10.0.0.1", "router", "kiruna", "acme", {}),
    ]
    return pd.DataFrame(rows, columns=["entity", "kind", "site", "customer", "attrs"])


def maintenance() -> pd.DataFrame:
    rows = [
        (1, "link-a", at("2026-10-07 23:55"), at("2026-10-08 00:10"), "planned", 0),
        (2, "link-a", at("2026-10-08 00:05:30"), at("2026-10-08 00:20:01"), "planned", 0),      # overlaps, half minutes
        (3, "link-a", at("2026-10-10 10:00"), at("2026-10-10 10:00"), "planned", 0),            # covers nothing
        (4, "link-a", at("2026-10-12 00:00"), at("2026-10-13 00:00"), "planned", 1),            # cancelled
        (5, "link-b", at("2026-09-30 20:00"), at("2026-10-01 04:00"), "planned", 0),            # over the span's start
        (6, "link-b", at("2026-10-15 00:00"), at("2026-10-15 06:00"), "emergency", 0),
        (7, "link-c", at("2026-10-20 00:00"), at("2026-10-21 12:00"), "planned", 0),
        (8, "link-e", at("2026-10-25 00:30"), at("2026-10-25 02:30"), "planned", 0),
        (9, "link-d", at("2026-10-05 00:00"), at("2026-10-06 00:00"), "planned", 0),
        (10, "link-a", at("2026-10-31 22:00"), at("2026-11-01 03:00"), "planned", 0),           # over the span's end
        (11, "nobody", at("2026-10-05 00:00"), at("2026-10-06 00:00"), "planned", 0),
    ]
    return pd.DataFrame(rows, columns=["id", "entity", "start", "end", "reason", "cancelled"])


def flows(random: np.random.Generator) -> pd.DataFrame:
    count = 6000
    begun = random.integers(START - 7200, START + 2 * DAY, count)
    return pd.DataFrame({
        "exporter": random.choice(["10.0.0.1", "10.0.0.2"], count),
        "time_start": begun, "position": np.arange(count) + 1,
        "sampling_rate": pd.array([None if r < 0.2 else int(r > 0.6) * 999 + 1 for r in random.random(count)], "Int64"),
        "src_as": pd.array([None if r < 0.1 else int(64500 + r * 20) for r in random.random(count)], "Int64"),
        "src_addr": [f"::ffff:10.1.0.{n}" if n < 40 else f"2001:db8::{n:x}" for n in random.integers(1, 60, count)],
        "dst_addr": [f"::ffff:10.2.0.{n}" for n in random.integers(1, 6, count)],
        "protocol": random.choice([6, 17], count),
        "bytes": random.integers(60, 1_000_000, count), "packets": random.integers(1, 900, count),
    })


def losses(random: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    count = 400
    rejects = pd.DataFrame({
        "time": random.integers(START - 3600, START + DAY, count), "source": random.choice(["10.0.0.1", "jpss1"], count),
        "reason": random.choice(["truncated", "garbage"], count), "offset": np.arange(count),
        "size_bytes": random.integers(0, 1500, count),
    })
    rows = []
    for number in range(200):
        metric, unit = [
            ("sequence_gaps", "datagrams"), ("sequence_gaps", "flows"), ("frames_lost", ""), ("shed", ""), ("late", ""),
        ][number % 5]
        source = "10.0.0.2" if unit == "flows" else "10.0.0.1"
        rows.append((int(
            random.integers(START - 3600, START + DAY),
        ), f"{source}/x", metric, float(random.integers(0, 9)), "gauge", unit, source))
    dropped = np.cumsum(random.integers(0, 50, 100))
    dropped[60:] -= dropped[60] - 7         # the counter started anew at 7
    rows += [(START + 60 * n, "collector", "kernel_drops", float(v), "counter", "", "udp:6343") for n, v in enumerate(dropped)]
    return rejects, pd.DataFrame(rows, columns=["time", "entity", "metric", "value", "kind", "unit", "source"])


# Loading


def sketch(values: np.ndarray | None) -> list[tuple[int, int]]:
    """DDSketch: sign(v) * (ceil(log_gamma |v|) + 4096), 0 below 1e-9."""
    if values is None:
        return []
    size = np.abs(values)
    keys = np.where(size < 1e-9, 0, np.sign(values) * (np.ceil(np.log(size.clip(1e-9)) / GAMMA) + 4096)).astype(int)
    return [(int(key), int(count)) for key, count in zip(*np.unique(keys, return_counts=True), strict=True)]


def load(month: Month, dsn: str) -> None:
    migrate(dsn)
    with connect(dsn) as client:
        for size, table in month.windows.items():
            # The truth lies between superseded revisions, in parts of its own: only FINAL finds it.
            stale = month.stale[size]
            for part in (stale.iloc[::2], table, stale.iloc[1::2]):
                client.insert_arrow(f"windows_{size}", window_rows(part))
        client.insert("entities", month.entities.to_numpy().tolist(), column_names=list(month.entities.columns))
        planned = month.maintenance.copy()
        # Rows that were valid once: number 4 before it was cancelled, number 7 before it was moved.
        before = planned[planned["id"].isin([4, 7])].assign(cancelled=0, entity="link-a")
        for part in (before, planned):
            text = part.assign(start=pd.to_datetime(part["start"], unit="s"), end=pd.to_datetime(part["end"], unit="s"))
            client.insert_df("maintenance", text)
        contacts = month.contacts.assign(**{name: pd.to_datetime(month.contacts[name], unit="s") for name in ("aos", "los")})
        client.insert_df("contacts", contacts)
        insert_json(client, "flows", month.flows.assign(time_start=stamps(month.flows["time_start"])))
        insert_json(client, "rejects", month.rejects.assign(time=stamps(month.rejects["time"])))
        insert_json(client, "samples", month.samples.assign(time=stamps(month.samples["time"])))


def stamps(seconds: pd.Series) -> pd.Series:
    return pd.to_datetime(seconds, unit="s").dt.strftime("%Y-%m-%d %H:%M:%S")


def insert_json(client, table: str, frame: pd.DataFrame) -> None:
    text = frame.to_json(orient="records", lines=True)
    client.raw_insert(table, insert_block=text, fmt="JSONEachRow")


def window_rows(frame: pd.DataFrame) -> pa.Table:
    counts = {name: pa.array(frame[name].to_numpy(dtype="uint64")) for name in ("rev", "cnt", "good")}
    numbers = {name: pa.array(frame[name].to_numpy(dtype="float64")) for name in ("vsum", "vmin", "vmax", "vlast", "increase")}
    return pa.table({
        "bucket": pa.array(frame["bucket"].to_numpy(dtype="uint32")), "entity": pa.array(frame["entity"]),
        "metric": pa.array(frame["metric"]), **counts, **numbers,
        "sk": pa.array([sketch(values) for values in frame["values"]], pa.map_(pa.int16(), pa.uint32())),
    })
