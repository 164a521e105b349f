"""What the gateway costs: statements over HTTP against the same on the same engine in its own process.

    PYTHONPATH=ext:. python benchmarks/bench_gateway.py [--rounds 100] [--rows 2000000]

Each statement is asked in turn through the gateway and of chDB directly, over data that is alike; a figure is the median
of the rounds. Floor: 8 ms more a query for small answers, whoever asks. Streams are compared by their rate, inserts too.

Biases: client, gateway and engine share the cores, and the direct engine shares its process with the client, which has
nothing to do while it waits. HTTP is plain http.client on one kept connection, without compression or TLS. The median
hides what a busy machine adds now and then.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import chdb

from tests.databases import ANALYST_PASSWORD, WRITER_PASSWORD, database_process

QUERY_S_MAX = 0.008
TABLE = "CREATE TABLE {name} (id UInt64, at DateTime('Asia/Tokyo'), value Float64, text String) ENGINE = MergeTree ORDER BY id"
ROWS = (
    "SELECT number, toDateTime(number % 1000000), number / 7, concat('entity-', toString(number % 1000)) FROM numbers({rows})"
)
SMALL = {
    "SELECT 1": "SELECT 1",
    "100 rows of a table": "SELECT id, value, text FROM t WHERE id < 100",
    "100 rows with a time zone": "SELECT * FROM t WHERE id < 100",
    "an aggregate of 50,000": "SELECT text, avg(value) FROM t WHERE id < 50000 GROUP BY text ORDER BY text LIMIT 10",
}
# Who asks, and how: what each adds is in docs/gateway.md.
WAYS: dict[str, tuple[str, dict[str, str]]] = {
    "writer": ("writer", {}),
    "session": ("writer", {"session_id": "bench"}),
    "driver": ("writer", {"client_protocol_version": "54405"}),
    "analyst": ("analyst", {}),
}


def median_s(rounds: int, works: Sequence[Callable[[], object]]) -> list[float]:
    """Median seconds of each piece of work, done in turn so that a busy moment hits all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for work, taken in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def asker(port: int, user: str, parameters: dict[str, str]) -> Callable[..., bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    password = {"writer": WRITER_PASSWORD, "analyst": ANALYST_PASSWORD}[user]
    headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}

    def ask(query: str, data: bytes | None = None, **more: str) -> bytes:
        given = parameters | more | {"default_format": "Native"} | ({"query": query} if data is not None else {})
        body = query.encode() if data is None else data
        connection.request("POST", "/?" + urllib.parse.urlencode(given), body, headers)
        response = connection.getresponse()
        answer = response.read()
        assert response.status == 200, answer[:500]
        return answer

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--rows", type=int, default=2_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, database_process(Path(folder) / "gateway") as database:
        engine = chdb.connect(str(Path(folder) / "direct"))
        asks = {way: asker(database.port, user, parameters) for way, (user, parameters) in WAYS.items()}
        for name in ("t", "copy"):
            asks["writer"](TABLE.format(name=name))
            engine.query(TABLE.format(name=name))
        insert = f"INSERT INTO t {ROWS.format(rows=arguments.rows)}"
        asks["writer"](insert)
        engine.query(insert)

        print(f"{'median ms over the engine':28}" + "".join(f"{way:>9}" for way in WAYS) + "   engine")
        for what, query in SMALL.items():
            direct = partial(engine.query, query, "Native")
            direct_s, *ways_s = median_s(arguments.rounds, [direct, *(partial(ask, query) for ask in asks.values())])
            more_s = [way_s - direct_s for way_s in ways_s]
            verdict = "kept" if max(more_s) <= QUERY_S_MAX else "MISSED"
            print(f"{what:28}" + "".join(f"{more * 1e3:9.1f}" for more in more_s) + f"{direct_s * 1e3:9.1f}  {verdict}")

        select, ask = "SELECT * FROM t", asks["writer"]
        block = engine.query(select, "Native").bytes()
        whole = f"{arguments.rows / 1e6:g} M rows, {len(block) / 1e6:.0f} MB"
        direct_s, ours_s = median_s(3, [lambda: engine.query(select, "Native").bytes(), lambda: ask(select)])
        print(f"answer of {whole:18} {direct_s / ours_s:5.2f}x of the engine's rate, {len(block) / ours_s / 1e6:.0f} MB/s")
        direct_s, ours_s = median_s(
            3,
            [
                lambda: engine.query("INSERT INTO copy SELECT * FROM t SETTINGS max_threads = 1"),
                lambda: ask("INSERT INTO copy FORMAT Native", block),
            ],
        )
        print(f"insert of {whole:18} {direct_s / ours_s:5.2f}x of INSERT SELECT, {len(block) / ours_s / 1e6:.0f} MB/s")


if __name__ == "__main__":
    main()
