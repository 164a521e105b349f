"""Bits, packets, drops, discards and flows a second of each interface: windows against a plain sum over what was made up.

A rate is not stored: bits a second are 8 x `vsum` of flow_in_bytes / 10, flows a second `cnt` / 10, and so on.
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from dataclasses import dataclass, field

import pyarrow as pa

from streams.clock import NS
from streams.config import Config
from streams.decode import open_decoder
from streams.model import FRAMES, QUALITY
from streams.pipeline import Pipeline
from tests.netflow_messages import a_set, fields, ipfix, template, v5, v9
from tests.racks import flow_sample, record, sample, sflow, words

START_S = 1_790_000_000
WINDOW_S = 10
SPECS = ((10, 4), (14, 4), (1, 4), (2, 4), (133, 4))       # in, out, bytes, packets, dropped
METRICS = {
    "flow_in_bytes", "flow_in_packets", "flow_out_bytes", "flow_out_packets", "flow_dropped_packets", "discarded_packets",
    "datagrams_received",
}
Sum = tuple[int, float]


@dataclass
class Truth:
    """Events counted by hand: (entity, metric, bucket) -> how many, and their sum."""

    chance: random.Random
    sums: dict[tuple[str, str, int], Sum] = field(default_factory=lambda: defaultdict(lambda: (0, 0.0)))
    unknown: int = 0                                       # of which the sampling was not known

    def add(self, entity: str, metric: str, second: int, value: float) -> None:
        key = (entity, metric, second // WINDOW_S * WINDOW_S)
        count, total = self.sums[key]
        self.sums[key] = count + 1, total + value

    def flow(
        self, exporter: str, second: int, rate: int, ports: tuple[int, int], size: int, packets: int, dropped: int | None
    ) -> None:
        scale = rate or 1
        for port, way in zip(ports, ("in", "out"), strict=True):
            if port:
                self.add(f"{exporter}/if/{port}", f"flow_{way}_bytes", second, size * scale)
                self.add(f"{exporter}/if/{port}", f"flow_{way}_packets", second, packets * scale)
                self.unknown += 2 * (rate == 0)
        if ports[0] and dropped is not None:
            self.add(f"{exporter}/if/{ports[0]}", "flow_dropped_packets", second, dropped * scale)
            self.unknown += rate == 0

    def ports(self) -> tuple[int, int]:
        return self.chance.randrange(4), self.chance.randrange(4)                  # 0 is no interface

    def netflow5(self, exporter: str, second: int, sequence: int) -> bytes:
        records = []
        rate = self.chance.choice((0, 100, 16383))
        for _ in range(self.chance.randrange(1, 31)):
            ports, size, packets = self.ports(), self.chance.randrange(2**24), self.chance.randrange(2**20)
            self.flow(exporter, second, rate, ports, size, packets, None)
            records.append(struct.pack(">12xHHII24x", *ports, packets, size))
        message = v5(*records, sequence=sequence, sampling=rate, engine=0)
        self.add(f"{exporter}/domain/0", "datagrams_received", second, 1)
        return message[:8] + struct.pack(">I", second) + message[12:]

    def netflow9(self, exporter: str, second: int, sequence: int, version: int, rate: int) -> bytes:
        """`rate` was told by an options record at the begin; 0 was not."""
        body = b""
        for _ in range(self.chance.randrange(1, 25)):
            ports, size, packets, dropped = self.ports(), *(self.chance.randrange(2**31) for _ in range(3))
            self.flow(exporter, second, rate, ports, size, packets, dropped)
            body += struct.pack(">IIIII", *ports, size, packets, dropped)
        self.add(f"{exporter}/domain/7", "datagrams_received", second, 1)
        return (v9 if version == 9 else ipfix)(a_set(256, body), sequence=sequence, seconds=second)

    def sflow5(self, agent: str, second: int, sequence: int) -> bytes:
        samples = []
        for number in range(self.chance.randrange(1, 8)):
            ports, rate, size = self.ports(), self.chance.choice((0, 1, 400, 2**20)), self.chance.randrange(20, 65_536)
            packet = record(3, words(size, 6, 0x0A000001, 0x0A000002, 443, 5555, 0, 0))
            if self.chance.random() < 0.3:
                samples.append(sample(5, words(number, 0, 3, 0, ports[0], ports[1], 258, 1) + packet))
                # A drop on the way out may not know where the packet came in.
                if any(ports):
                    self.add(f"{agent}/if/{ports[0] or ports[1]}", "discarded_packets", second, 1)
                continue
            samples.append(flow_sample(packet, sequence=number, rate=rate, in_if=ports[0], out_if=ports[1]))
            self.flow(agent, second, rate, ports, size, 1, None)
        self.add(f"{agent}/domain/0", "datagrams_received", second, 1)
        return sflow(*samples, agent=agent, sequence=sequence)


def options(version: int, rate: int) -> bytes:
    """A template, and for a `rate` other than 0 an options record of the sampling of the whole domain."""
    told = template(256, *SPECS)
    if version == 9:
        body = a_set(0, told)
        if rate:
            body += a_set(1, struct.pack(">HHH", 257, 4, 4) + fields((1, 4), (34, 4))) + a_set(257, struct.pack(">II", 0, rate))
    else:
        body = a_set(2, told)
        if rate:
            scope = a_set(3, struct.pack(">HHH", 257, 2, 1) + fields((149, 4), (34, 4)))
            body += scope + a_set(257, struct.pack(">II", 7, rate))
    return (v9 if version == 9 else ipfix)(body, sequence=0, seconds=START_S)


def test_windows_hold_what_interfaces_carried_scaled_where_sampling_is_known() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    truth = Truth(random.Random(seed))
    rows: list[dict[str, object]] = []

    def send(second: int, sender: str, link: str, frame: bytes) -> None:
        codec = "sflow" if link == "racks" else "netflow"
        rows.append({"received_ns": second * NS, "source": sender, "link": link, "codec": codec, "frame": frame})

    rates = {("192.0.2.9", 9): 0, ("192.0.2.19", 9): 1000, ("192.0.2.10", 10): 0, ("192.0.2.20", 10): 64}
    for (exporter, version), rate in rates.items():
        send(START_S, exporter, "edge", options(version, rate))
        truth.add(f"{exporter}/domain/7", "datagrams_received", START_S, 1)
    for number in range(300):
        second = START_S + number // 5
        for exporter, version in rates:
            send(second, exporter, "edge", truth.netflow9(exporter, second, number + 1, version, rates[exporter, version]))
        send(second, "192.0.2.5", "edge", truth.netflow5("192.0.2.5", second, 0))
        send(second, "192.0.2.7", "racks", truth.sflow5("10.0.0.1", second, number + 1))

    config = Config.model_validate({"link": [{"name": "racks", "codec": "sflow"}, {"name": "edge", "codec": "netflow"}]})
    pipeline = Pipeline(config)
    decoders = {link.name: open_decoder(link) for link in config.links}
    unknown = 0
    while rows:
        piece, rows = rows[:97], rows[97:]
        pipeline.feed(pa.RecordBatch.from_pylist(piece, schema=FRAMES), (START_S + 60) * NS)
        for link, decoder in decoders.items():
            own = [row for row in piece if row["link"] == link]
            for batch in decoder.decode(pa.RecordBatch.from_pylist(own, schema=FRAMES)).derived:
                unknown += sum(bool(bits & QUALITY["sampling_unknown"]) for bits in batch["quality"].to_pylist())
    windows = [row for batch in pipeline.close(1 << 62, 1).windows for row in batch.to_pylist() if row["metric"] in METRICS]
    found = {
        (row["entity"], row["metric"], int(row["bucket"].timestamp())): (row["cnt"], row["vsum"]) for row in windows
    }

    assert len(found) == len(windows)
    assert found == truth.sums
    assert unknown == truth.unknown > 0
