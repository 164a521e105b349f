"""Rows into ClickHouse: our Native blocks, against tuples, `insert_arrow` and the engine's own INSERT SELECT FROM Memory.

    PYTHONPATH=ext:. python benchmarks/bench_store.py [--rows 100000 1000000] [--rounds 5]

The database is the embedded one, as a process of its own, over HTTP on loopback. Every way fills an empty copy of the same
table with the same rows, in turns; the first turn compares what the tables then hold. Two figures for each: rows a CPU
second of client and database together (what a busy machine can be judged by), and wall time; best of the rounds. All ways
run with the settings of our sink: no merge of the block with itself, and a deduplication token; without either each of them
would cost more. INSERT SELECT FROM Memory neither encodes, nor sends, nor parses. Its rows lie in the order in which they
came, as do those of the other ways; ours are put in the order of the table's key on the way, which the engine else does
itself and at greater cost. The last line is the engine without that work: what sending rows costs at all.

Floors: 0.8 of INSERT SELECT at a million samples (0.7 at 100 k rows), ambition 1.0; 2x insert_arrow; 15x tuples, 3.5x for
windows. Where a floor is about a way of the driver, `engine` says how much faster the engine alone is than that way: INSERT
SELECT, and the same of rows in order. Nothing that sends rows can pass the second. Below 100 k rows no floor is judged.
One run on two cores shared with seven other jobs: a million samples at 0.97 of INSERT SELECT, 2.3x insert_arrow (engine 2.3x,
4.9x) and 10.5x tuples (10.8x, 23x); 100 k at 0.85, 1.9x (2.2x, 2.7x) and 7.7x (9.1x, 11x); 200 k windows at 0.78 and 4.2x
tuples. More in docs/storage.md.

Two kinds of rows: samples of 200 agents with 8 interfaces each (5 metrics), and windows with sketches of 10 to 40 buckets.

Biases: client and database share two cores, so wall time counts the client twice. Tuples are made before the clock starts;
they hold datetimes, as a Python program has them. Merges in the background are stopped while it runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from framecodec.native import BlockEncoder
from streams import model
from streams.clickhouse.client import connect
from streams.clickhouse.migrate import migrate
from streams.clickhouse.native import TABLES, Table
from streams.clickhouse.sink import SETTINGS, Place, Sink
from streams.clock import NS
from tests.processes import end, free_port, start_database

FLOORS = {
    "samples": {"insert_arrow": 2.0, "tuples": 15.0, "ceiling": 0.8},
    "windows_10s": {"tuples": 3.5, "ceiling": 0.7},
}
FLOOR_ROWS = 100_000
TUPLE_ROWS_MAX = 100_000
# In a part as large as merges make them.
RAW_ROW_BYTES_MAX, RAW_ROWS_OF_LIMIT = 3.6, 1_000_000
START_NS = 1_790_000_000 * NS
SETTLE_S = 0.2


def names(words: list[str], indices: np.ndarray) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), pa.array(words))


def sample_rows(rows: int) -> pa.RecordBatch:
    """Interface counters and gauges as a rack sends them: an agent's interfaces one after another, then the next agent."""
    generator = np.random.default_rng(1)
    number = np.arange(rows)
    agents = [f"10.0.{agent // 64}.{agent % 64}" for agent in range(200)]
    entities = [f"{agent}/if/{port}" for agent in agents for port in range(8)]
    metrics = ["if_in_octets", "if_out_octets", "if_in_errors", "up", "latency_ms"]
    times = START_NS + number // (len(entities) * 5) * 10 * NS + number // 40 % 200 * 1_000_000
    values = np.where(number % 5 < 2, number * 1000 + generator.integers(0, 1000, rows), generator.normal(20, 5, rows).round(2))
    return pa.record_batch(
        [
            pa.array(times, model.TIME), pa.array(times + 5000, model.TIME), names(entities, number // 5 % len(entities)),
            names(metrics, number % 5), pa.array(values), pa.nulls(rows, model.NAME),
            names(["counter", "gauge"], number % 5 // 2 % 2), names(["octets", "ms"], number % 2),
            names(agents, number // 40 % 200), pa.array(np.zeros(rows), pa.uint16()),
        ],
        schema=model.SAMPLES,
    )


def window_rows(rows: int) -> pa.RecordBatch:
    generator = np.random.default_rng(2)
    number = np.arange(rows)
    buckets = generator.integers(10, 40, rows)
    ends = np.concatenate([[0], np.cumsum(buckets)]).astype(np.int32)
    keys = (np.arange(ends[-1]) - np.repeat(ends[:-1], buckets) + 4300).astype(np.int16)
    counts = generator.integers(1, 50, ends[-1]).astype(np.uint32)
    entities = [f"10.0.0.{agent}/if/{port}" for agent in range(200) for port in range(8)]
    columns = {
        "bucket": pa.array(START_NS // NS + number // 1600 * 10, pa.int64()).cast(pa.timestamp("s", tz="UTC")),
        "entity": names(entities, number % 1600), "metric": names(["latency_ms"], np.zeros(rows)),
        "rev": pa.array(number, pa.uint64()), "cnt": pa.array(buckets * 20, pa.uint64()),
        "good": pa.array(buckets * 19, pa.uint64()), "expected": pa.array(np.full(rows, 800), pa.uint64()),
        "last_time": pa.array(START_NS + number * 1000, model.TIME), "resets": pa.array(np.zeros(rows), pa.uint32()),
        "sk": pa.MapArray.from_arrays(pa.array(ends), pa.array(keys), pa.array(counts)).cast(model.WINDOWS.field("sk").type),
    }
    for name in ("vsum", "vsumsq", "vmin", "vmax", "vfirst", "vlast", "increase"):
        columns[name] = pa.array(generator.normal(100, 10, rows).round(3))
    return pa.record_batch([columns[field.name] for field in model.WINDOWS], schema=model.WINDOWS)


class Bench:
    """One table, one set of rows, and the ways to get the rows in."""

    def __init__(self, dsn: str, server: int, table: Table, rows: pa.RecordBatch) -> None:
        self.table, self.rows = table, rows
        self.client = connect(dsn)
        self.server, self.inserts = server, 0
        self.sink = Sink(lambda: self.client)
        self.columns = ", ".join(table.column_names)
        # As they come, not in the order of the key.
        blocks = {"memory": BlockEncoder(table.columns, table.identity).encode(rows), "memory_in_order": table.encode(rows)}
        for name, block in blocks.items():
            self.client.command(f"CREATE OR REPLACE TABLE {name} AS {table.name} ENGINE = Memory")
            self.client.raw_insert(name, column_names=table.column_names, insert_block=block, fmt="Native")
        position = [pa.array(np.zeros(rows.num_rows), pa.uint32()), pa.array(np.zeros(rows.num_rows), pa.uint64())]
        position.append(pa.array(np.arange(rows.num_rows), pa.uint32()))
        identity = dict(zip(table.identity or (), position, strict=False))
        # As strings: what insert_arrow is usually given; dictionaries are not accepted by every version of the driver.
        plain = {
            name: column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for name, column in zip(rows.schema.names, rows.columns, strict=True)
        }
        self.arrow = pa.table(plain | identity)
        few = self.arrow.slice(0, TUPLE_ROWS_MAX)
        columns = [
            [dict(value) for value in column.to_pylist()] if pa.types.is_map(column.type)
            else column.cast(pa.timestamp("us", tz="UTC")).to_pylist() if pa.types.is_timestamp(column.type)
            else column.to_pylist() for column in few.columns
        ]
        self.tuples = list(zip(*columns, strict=True))

    def settings(self) -> dict[str, Any]:
        """Of the sink, with a token: without one the engine takes a hash of every value."""
        self.inserts += 1
        return {**SETTINGS, "insert_deduplication_token": f"bench-{self.inserts}"}

    def native(self) -> int:
        self.inserts += 1
        self.sink.put(self.table.name, self.rows, Place(f"bench-{self.inserts}", 0, 0), 0)
        held = self.sink.drain(self.table.name)
        self.sink.insert(self.table.name, held)
        return self.rows.num_rows

    def insert_arrow(self) -> int:
        self.client.insert_arrow(self.table.name, self.arrow, settings=self.settings())
        return self.rows.num_rows

    def insert_tuples(self) -> int:
        self.client.insert(self.table.name, self.tuples, column_names=self.table.column_names, settings=self.settings())
        return len(self.tuples)

    def ceiling(self, source: str = "memory") -> int:
        self.client.command(
            f"INSERT INTO {self.table.name} ({self.columns}) SELECT {self.columns} FROM {source}", settings=self.settings()
        )
        return self.rows.num_rows

    def ceiling_in_order(self) -> int:
        return self.ceiling("memory_in_order")

    def cpu_s(self) -> float:
        """Of database and client, to the nanosecond: the CPU clock of a process, see clock_getcpuclockid(3) and
        linux/posix-timers.h."""
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in (self.server, os.getpid()))

    def measure(self, way: Callable[[], int]) -> tuple[float, float]:
        """(rows a CPU second, rows a second) of one round into an empty table."""
        self.client.command(f"TRUNCATE TABLE {self.table.name}")
        time.sleep(SETTLE_S)                           # what the truncation left to the background
        cpu_s, wall_s = self.cpu_s(), time.perf_counter()
        rows = way()
        return rows / (self.cpu_s() - cpu_s), rows / (time.perf_counter() - wall_s)

    def contents(self, rows: int) -> object:
        """A digest of the first `rows` rows that knows nothing of their order."""
        key = "position" if self.table.identity else "rev"
        return self.client.command(
            f"SELECT count(), sum(cityHash64(tuple({self.columns}))) FROM {self.table.name} WHERE {key} < {rows}"
        )

    def run(self, rounds: int) -> None:
        ways = {
            "tuples": self.insert_tuples, "insert_arrow": self.insert_arrow, "native": self.native, "ceiling": self.ceiling,
            "ceiling_in_order": self.ceiling_in_order,
        }
        few, held = len(self.tuples), {}
        for name, way in ways.items():
            self.client.command(f"TRUNCATE TABLE {self.table.name}")
            way()
            held[name] = self.contents(few), None if name == "tuples" else self.contents(self.rows.num_rows)
        assert len({str(few_rows) for few_rows, _ in held.values()}) == 1, held
        assert len({str(all_rows) for _, all_rows in held.values() if all_rows}) == 1, held
        best = dict.fromkeys(ways, (0.0, 0.0))
        for _ in range(rounds):
            for name, way in ways.items():
                per_cpu, per_wall = self.measure(way)
                best[name] = max(best[name][0], per_cpu), max(best[name][1], per_wall)
        encode_s = min(self.time_encoding() for _ in range(rounds))
        floors = FLOORS[self.table.name]
        print(f"\n{self.table.name}, {self.rows.num_rows:,} rows, {rounds} rounds, contents equal")
        print(f"  {'':<24}{'k rows/CPU-s':>14}{'k rows/s':>12}{'native is':>12}{'(wall)':>10}{'floor':>8}{'engine':>16}")
        labels = {
            "ceiling": "INSERT SELECT, Memory", "ceiling_in_order": "  the same, sorted", "native": "Native blocks",
            "tuples": f"tuples ({few:,})",
        }
        for name, (per_cpu, per_wall) in best.items():
            cpu_ratio, wall_ratio = best["native"][0] / per_cpu, best["native"][1] / per_wall
            floor = f"{floors[name]:.1f}x" if name in floors and self.rows.num_rows >= FLOOR_ROWS else ""
            bounds = [best[way][0] / per_cpu for way in ("ceiling", "ceiling_in_order")]
            engine = " ".join(f"{bound:.1f}x" for bound in bounds) if floor and name not in ("native", "ceiling") else ""
            print(
                f"  {labels.get(name, name):<24}{per_cpu / 1e3:>14,.0f}{per_wall / 1e3:>12,.0f}"
                f"{cpu_ratio:>11.2f}x{wall_ratio:>9.2f}x{floor:>8}{engine:>16}"
            )
        rate = self.rows.num_rows / encode_s / 1e6
        size_bytes, verdict = self.disk_bytes(), ""
        if self.table.name == "samples" and self.rows.num_rows >= RAW_ROWS_OF_LIMIT:
            verdict = f" (at most {RAW_ROW_BYTES_MAX}: {'kept' if size_bytes <= RAW_ROW_BYTES_MAX else 'MISSED'})"
        print(f"  encoding alone: {rate:.1f} M rows/s; on disk {size_bytes:.2f} bytes a row{verdict}")

    def disk_bytes(self) -> float:
        """Of a row, after the last insert, before any merge."""
        return float(self.client.command(
            "SELECT sum(bytes_on_disk) / sum(rows) FROM system.parts"
            f" WHERE active AND database = currentDatabase() AND table = '{self.table.name}'"
        ))

    def time_encoding(self) -> float:
        started = time.perf_counter()
        self.table.encode(self.rows)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        database = start_database(Path(folder) / "data", port)
        try:
            dsn = f"http://127.0.0.1:{port}/bench"
            migrate(dsn)
            with connect(dsn) as client:
                client.command("SYSTEM STOP MERGES")
            for rows in arguments.rows:
                Bench(dsn, database.pid, TABLES["samples"], sample_rows(rows)).run(arguments.rounds)
                Bench(dsn, database.pid, TABLES["windows_10s"], window_rows(rows // 5)).run(arguments.rounds)
        finally:
            end(database)


if __name__ == "__main__":
    main()
