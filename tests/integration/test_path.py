"""Real captures through replay, Kafka, worker and store into ClickHouse: exactly what the files hold."""

from __future__ import annotations

import asyncio
import csv
import ipaddress
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streams.clickhouse.client import connect
from streams.config import Config
from streams.kafka import Topics, committed_offsets, create_topics
from tests.conftest import testdata
from tests.processes import end, environment, role, wait_for
from tests.test_sflow import CASES, expected_counters, expected_flow, printed_datagrams, rounded

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


@dataclass
class Route:
    """A worker and a store over the session's broker and database."""

    config: Config
    env: dict[str, str]
    log: Path
    database: str

    def replay(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "streams.cli", "replay", "--rate", "max", *arguments], env=self.env, capture_output=True,
            text=True, timeout=120, check=False,
        )
        assert done.returncode == 0, done.stderr

    def drain(self) -> None:
        """Returns when everything in Kafka has reached ClickHouse."""
        topics = Topics(self.config.kafka.prefix)
        for group, names in (("worker", (topics.frames_rack, topics.frames_satellite)),
                             ("store", (topics.samples, topics.flows, topics.windows, topics.rejects))):
            for name in names:
                # The last offset of a log written in transactions is its marker, which nobody reads.
                settled = partial(self.is_settled, group, name, group == "store")
                wait_for(f"{group} at the end of {name}", settled, 90, self.log)

    def is_settled(self, group: str, topic: str, marker: bool) -> bool:
        offsets = asyncio.run(committed_offsets(self.config.kafka, f"{self.config.kafka.prefix}{group}", topic))
        return all(committed >= last - marker or last == 0 for committed, last in offsets)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with connect(self.database) as client:
            return [tuple(row) for row in client.query(sql).result_rows]


@pytest.fixture
def path(kafka_bootstrap: str, topic_prefix: str, database: str, tmp_path: Path) -> Iterator[Route]:
    definition = testdata("packets", "jpss1", "geolocation.xtce.xml")
    settings = {
        "kafka": {"bootstrap": kafka_bootstrap, "prefix": topic_prefix, "partitions": 2},
        "database": {"dsn": database},
        "metrics": {"listen": {"worker": "127.0.0.1:0", "store": "127.0.0.1:0"}},
        "link": [
            {"name": "racks", "codec": "sflow"},
            {"name": "jpss1", "codec": "ccsds-packets", "definition": str(definition), "spacecraft": "JPSS-1"},
        ],
        "data_dir": str(tmp_path),
    }
    config = Config.model_validate(settings)
    file = tmp_path / "orbitrack.toml"
    file.write_text(
        f'data_dir = "{tmp_path}"\n[kafka]\nbootstrap = "{kafka_bootstrap}"\nprefix = "{topic_prefix}"\npartitions = 2\n'
        f'[database]\ndsn = "{database}"\n[metrics.listen]\nworker = "127.0.0.1:0"\nstore = "127.0.0.1:0"\n'
        '[[link]]\nname = "racks"\ncodec = "sflow"\n'
        f'[[link]]\nname = "jpss1"\ncodec = "ccsds-packets"\ndefinition = "{definition}"\nspacecraft = "JPSS-1"\n'
    )
    env = environment() | {"ORBITRACK_CONFIG": str(file)}
    log = tmp_path / "roles.log"
    asyncio.run(create_topics(config.kafka))
    processes = [role("worker", env, log), role("store", env, log)]
    try:
        yield Route(config, env, log, database)
    finally:
        for process in processes:
            end(process)


def text(address: Any) -> str | None:
    if address is None:
        return None
    found = ipaddress.IPv6Address(str(address))
    return str(found.ipv4_mapped or found)


def test_sflow_captures_arrive_as_sflowtool_printed_them(path: Route) -> None:
    flows: list[dict[str, Any]] = []
    counters: Counter[Any] = Counter()
    for case in CASES:
        for datagram in printed_datagrams(case):
            for one in datagram.get("samples", ()):
                if one["sampleType"] == "COUNTERSSAMPLE":
                    counters.update(expected_counters(datagram, one))
                else:
                    flows.append(expected_flow(datagram, one))
    path.replay("--codec", "sflow", "--link", "racks", *(str(testdata("rack", "sflow", f"{case}.pcap")) for case in CASES))
    path.drain()

    stored: Counter[Any] = Counter()
    # Derived: sflowtool prints none of them.
    ours = "'drops', 'discard_drops', 'sequence_gaps', 'sequence_resets', 'sample_gaps'"
    rows = path.query(f"SELECT entity, metric, value, text FROM v_samples WHERE metric NOT IN ({ours})")
    for entity, metric, value, label in rows:
        stored[entity, metric, label if value is None else rounded(metric, value)] += 1
    assert stored == counters

    names = sorted({name for flow in flows for name in flow})
    found = []
    for row in path.query(f"SELECT {', '.join(names)} FROM v_flows"):
        values = dict(zip(names, row, strict=True))
        for name in ("src_addr", "dst_addr", "next_hop", "bgp_next_hop"):
            if name in values:
                values[name] = text(values[name])
        found.append(values)
    # sflowtool says nothing of a column that a sample does not determine; compare the ones that it does.
    assert len(found) == len(flows)
    for wanted in flows:
        fitting = [row for row in found if all(same(row[name], value) for name, value in wanted.items())]
        assert fitting, wanted
        found.remove(fitting[0])


def same(stored: Any, printed: Any) -> bool:
    if isinstance(printed, bytes):                     # a MAC, which the view gives as text
        return bool(stored == printed.hex(":"))
    return bool(stored == printed)


def test_jpss_packets_arrive_with_the_values_of_the_table(path: Route) -> None:
    path.replay("--codec", "ccsds-packets", "--link", "jpss1", str(testdata("packets", "jpss1", "geolocation.ccsds")))
    path.drain()

    expected: dict[str, list[str]] = {}
    with testdata("packets", "jpss1", "expected_first300.tsv").open() as table:
        for _, _, name, _, _, _, calibrated in csv.reader(table, delimiter="\t"):
            expected.setdefault(name, []).append(calibrated)
    of_jpss = "FROM v_samples WHERE entity = 'JPSS-1' AND metric LIKE '/%'"
    counts = dict(path.query(f"SELECT metric, count() {of_jpss} GROUP BY metric"))
    header = {name for name in expected if name not in counts}
    assert len(counts) >= 20
    assert set(counts.values()) == {7200}, counts
    for name in counts:
        rows = path.query(
            f"SELECT ifNull(toString(value), text) {of_jpss} AND metric = '{name}' "
            "ORDER BY partition, offset, position LIMIT 300"
        )
        for (stored,), printed in zip(rows, expected[name], strict=True):
            # The table shows 32-bit floats with as few digits as tell them apart.
            assert stored == printed or np.float32(stored) == np.float32(printed), name
    print(f"{len(counts)} parameters stored, not stored: {sorted(header)}")
    ((received,),) = path.query("SELECT sum(vsum) FROM v_10s WHERE entity = 'JPSS-1' AND metric = 'packets_rx'")
    # One packet a second for two hours; the windows of the last 40 s wait for the lateness, or for a minute of silence.
    assert received in (7160, 7200)
