"""The switches: sFlow version 5 datagrams with flow samples of real headers and with interface counters.

Everything but noise is a function of the time and of running numbers, so a datagram can be made without those before it.
Layouts are those of sFlow Version 5 (sflow.org/sflow_version_5.txt), section 5, written as numpy structures.
"""

from __future__ import annotations

import ipaddress

import numpy as np
import numpy.typing as npt

from streams.clock import NS
from streams.simulate.frames import Frames, Ints, as_frames, concatenate
from streams.simulate.incidents import PORT_DOWN, PORT_ERRORS

__all__ = ["FLOW_SAMPLES", "Racks", "agent_address"]

FLOW_SAMPLES = 5                    # in a datagram; six would not fit an Ethernet frame
COUNTER_SAMPLES = 4
HEADER_BYTES = 128
HEADERS = 4096                      # different frames that are seen
SAMPLING_RATE = 1000
PORT_ERRORS_A_SECOND = 50
SPEED_BITS = 10_000_000_000

HEADER = [("version", ">u4"), ("address_type", ">u4"), ("agent", ">u4"), ("sub_agent", ">u4"), ("sequence", ">u4"),
          ("uptime_ms", ">u4"), ("samples", ">u4")]
FLOW_SAMPLE = np.dtype([
    ("format", ">u4"), ("length", ">u4"), ("sequence", ">u4"), ("source_id", ">u4"), ("sampling_rate", ">u4"),
    ("pool", ">u4"), ("drops", ">u4"), ("input", ">u4"), ("output", ">u4"), ("records", ">u4"),
    ("record_format", ">u4"), ("record_length", ">u4"), ("protocol", ">u4"), ("frame_length", ">u4"), ("stripped", ">u4"),
    ("header_length", ">u4"), ("header", "u1", HEADER_BYTES),
])
GENERIC = [
    ("index", ">u4"), ("type", ">u4"), ("speed", ">u8"), ("direction", ">u4"), ("status", ">u4"), ("in_octets", ">u8"),
    ("in_ucast", ">u4"), ("in_multicast", ">u4"), ("in_broadcast", ">u4"), ("in_discards", ">u4"), ("in_errors", ">u4"),
    ("in_unknown", ">u4"), ("out_octets", ">u8"), ("out_ucast", ">u4"), ("out_multicast", ">u4"),
    ("out_broadcast", ">u4"), ("out_discards", ">u4"), ("out_errors", ">u4"), ("promiscuous", ">u4"),
]
COUNTER_SAMPLE = np.dtype([
    ("format", ">u4"), ("length", ">u4"), ("sequence", ">u4"), ("source_id", ">u4"), ("records", ">u4"),
    ("generic_format", ">u4"), ("generic_length", ">u4"), *GENERIC,
    ("ethernet_format", ">u4"), ("ethernet_length", ">u4"), ("ethernet", ">u4", 13),
])
FLOW_DATAGRAM = np.dtype([*HEADER, ("sample", FLOW_SAMPLE, FLOW_SAMPLES)])
COUNTER_DATAGRAM = np.dtype([*HEADER, ("sample", COUNTER_SAMPLE, COUNTER_SAMPLES)])


def agent_address(rack: int) -> str:
    """Rack 1, 2, ...: 192.0.2.1 to .250 (documentation, RFC 5737), then 198.18.0.0/15 (benchmarks, RFC 2544)."""
    base = ipaddress.ip_address("192.0.2.0") if rack <= 250 else ipaddress.ip_address("198.18.0.0") - 250
    return str(base + rack)


class Racks:
    """`count` switches with `interfaces` ports. `flows_per_s` flow samples a second and rack, all counters every
    `counters_every_ns`."""

    def __init__(
        self, count: int, start_ns: int, begin_ns: int, *, interfaces: int, flows_per_s: float, counters_every_ns: int
    ) -> None:
        """Switches that started at `start_ns`, of which `frames` will be asked from `begin_ns` on."""
        self.count, self.start_ns = count, start_ns
        self.interfaces = -(-interfaces // COUNTER_SAMPLES) * COUNTER_SAMPLES
        self.polls = self.interfaces // COUNTER_SAMPLES                  # counter datagrams that hold all ports once
        self.flow_every_ns = round(FLOW_SAMPLES * NS / flows_per_s) if flows_per_s else 0
        self.counter_every_ns = counters_every_ns // self.polls
        self.names = [agent_address(rack + 1) for rack in range(count)]
        self.agents = np.array([int(ipaddress.ip_address(name)) for name in self.names], np.int64)
        self.sequences = self.sent(self.flow_every_ns, begin_ns) + self.sent(self.counter_every_ns, begin_ns)
        # Ports differ: bytes a second, and where in its day each is.
        ports = np.arange(count * self.interfaces).reshape(count, self.interfaces)
        self.bytes_per_s = 2e5 * (1 + ports % 7) * (1 + ports % 3)
        self.phase = ports * 0.7
        # Made once: choosing among them costs a tenth of making one.
        generator = np.random.default_rng(HEADERS)
        self.frame_lengths = generator.integers(HEADER_BYTES, 1515, HEADERS)
        self.headers = ethernet_headers(self.frame_lengths, generator)

    def frames(self, begin_ns: int, end_ns: int, generator: np.random.Generator) -> Frames:
        """All datagrams of [begin, end), in the order of their time. Call with spans that follow one another."""
        flow_rack, flow_number = self.due(self.flow_every_ns, begin_ns, end_ns)
        counter_rack, counter_number = self.due(self.counter_every_ns, begin_ns, end_ns)
        flows = self.flow_datagrams(flow_rack, flow_number, generator)
        counters = self.counter_datagrams(counter_rack, counter_number)
        flow_time = self.time_of(self.flow_every_ns, flow_rack, flow_number)
        counter_time = self.time_of(self.counter_every_ns, counter_rack, counter_number)
        frames = concatenate([
            as_frames(flows, flow_time, flow_rack, (FLOW_SAMPLES, 0, 0)),
            as_frames(counters, counter_time, counter_rack, (0, COUNTER_SAMPLES, 0)),
        ])
        order = np.lexsort((frames.source, frames.time_ns))
        self.number(frames, order)
        return frames.take(order)

    def sent(self, every_ns: int, end_ns: int) -> Ints:
        """How many datagrams each rack has sent before `end_ns`, one every `every_ns` from its own moment on."""
        if every_ns == 0:
            return np.zeros(self.count, np.int64)
        begin_ns = self.start_ns + np.arange(self.count, dtype=np.int64) * every_ns // max(self.count, 1)
        counts: Ints = np.maximum(-((begin_ns - end_ns) // every_ns), 0)
        return counts

    def due(self, every_ns: int, begin_ns: int, end_ns: int) -> tuple[Ints, Ints]:
        """(rack, running number) of what each rack sends in the span."""
        first = self.sent(every_ns, begin_ns)
        counts = self.sent(every_ns, end_ns) - first
        rack = np.repeat(np.arange(self.count, dtype=np.int64), counts)
        number = np.arange(len(rack)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        return rack, number

    def time_of(self, every_ns: int, rack: Ints, number: Ints) -> Ints:
        return self.start_ns + rack * every_ns // max(self.count, 1) + number * every_ns

    def number(self, frames: Frames, order: Ints) -> None:
        """Datagram sequence numbers, per agent and in the order of time, written into the bytes."""
        source = frames.source[order]
        by_source = np.argsort(source, kind="stable")
        counts = np.bincount(source, minlength=self.count)
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        sequence = np.empty(len(order), ">u4")
        sequence[order[by_source]] = (self.sequences[source[by_source]] + place + 1) & 0xFFFFFFFF
        self.sequences += counts
        at = frames.starts[:, None] + 16 + np.arange(4)
        frames.data[at] = sequence.view(np.uint8).reshape(-1, 4)

    def header(self, datagrams: npt.NDArray[np.void], rack: Ints, time_ns: Ints, samples: int) -> None:
        datagrams["version"] = 5
        datagrams["address_type"] = 1
        datagrams["agent"] = self.agents[rack]
        datagrams["uptime_ms"] = (86_400_000 + (time_ns - self.start_ns) // 1_000_000) & 0xFFFFFFFF
        datagrams["samples"] = samples

    def flow_datagrams(self, rack: Ints, number: Ints, generator: np.random.Generator) -> npt.NDArray[np.void]:
        datagrams = np.zeros(len(rack), FLOW_DATAGRAM)
        self.header(datagrams, rack, self.time_of(self.flow_every_ns, rack, number), FLOW_SAMPLES)
        sample = datagrams["sample"]
        # Each datagram is about one port; its samples are numbered per port.
        port = number % self.interfaces
        sequence = (number // self.interfaces * FLOW_SAMPLES)[:, None] + np.arange(1, FLOW_SAMPLES + 1)
        sample["format"], sample["length"] = 1, FLOW_SAMPLE.itemsize - 8
        sample["sequence"], sample["source_id"] = sequence, (port + 1)[:, None]
        sample["sampling_rate"], sample["pool"] = SAMPLING_RATE, sequence * SAMPLING_RATE
        sample["input"], sample["output"] = (port + 1)[:, None], ((port + 1) % self.interfaces + 1)[:, None]
        sample["records"], sample["record_format"] = 1, 1
        sample["record_length"], sample["protocol"], sample["stripped"] = 16 + HEADER_BYTES, 1, 4
        sample["header_length"] = HEADER_BYTES
        chosen = generator.integers(0, HEADERS, (len(rack), FLOW_SAMPLES))
        sample["frame_length"] = self.frame_lengths[chosen] + 4         # with the FCS that was stripped
        sample["header"] = self.headers[chosen]
        return datagrams

    def counter_datagrams(self, rack: Ints, number: Ints) -> npt.NDArray[np.void]:
        datagrams = np.zeros(len(rack), COUNTER_DATAGRAM)
        time_ns = self.time_of(self.counter_every_ns, rack, number)
        self.header(datagrams, rack, time_ns, COUNTER_SAMPLES)
        port = (number % self.polls * COUNTER_SAMPLES)[:, None] + np.arange(COUNTER_SAMPLES)
        since_ns = np.repeat((time_ns - self.start_ns)[:, None], COUNTER_SAMPLES, axis=1)
        rate, phase = self.bytes_per_s[rack[:, None], port], self.phase[rack[:, None], port]
        is_unit = rack[:, None] + 1 == PORT_DOWN.unit
        is_down = is_unit & (port == 0) & PORT_DOWN.is_on(since_ns)
        active_s = (since_ns - np.where(is_unit & (port == 0), PORT_DOWN.elapsed_ns(since_ns), 0)) / NS
        # A day of a minute: the integral of rate * (1 + sin(2 pi t / 60 s + phase) / 2).
        day = 2 * np.pi / 60
        octets = (rate * (active_s + (np.cos(phase) - np.cos(day * active_s + phase)) / (2 * day))).astype(np.int64)
        packets = octets // 700
        has_errors = (rack[:, None] + 1 == PORT_ERRORS.unit) & (port == 1)
        errors = np.where(has_errors, PORT_ERRORS.elapsed_ns(since_ns) * PORT_ERRORS_A_SECOND // NS, 0)
        sample = datagrams["sample"]
        sample["format"], sample["length"] = 2, COUNTER_SAMPLE.itemsize - 8
        sample["sequence"], sample["source_id"], sample["records"] = (number // self.polls + 1)[:, None], port + 1, 2
        sample["generic_format"], sample["generic_length"] = 1, 88
        sample["index"], sample["type"], sample["speed"], sample["direction"] = port + 1, 6, SPEED_BITS, 1
        sample["status"] = np.where(is_down, 1, 3)                      # bit 0 admin up, bit 1 oper up
        sample["in_octets"], sample["in_ucast"], sample["in_errors"] = octets, packets & 0xFFFFFFFF, errors & 0xFFFFFFFF
        sample["in_broadcast"] = packets // 1000 & 0xFFFFFFFF
        sample["out_octets"], sample["out_ucast"] = octets // 2, packets // 2 & 0xFFFFFFFF
        sample["ethernet_format"], sample["ethernet_length"] = 2, 52
        sample["ethernet"][..., 1] = errors & 0xFFFFFFFF                # FCS errors are what the input errors were
        return datagrams


def ethernet_headers(frame_length: Ints, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The first HEADER_BYTES of frames: TCP or UDP in IPv4 (one in four with a VLAN tag) or IPv6 (one in four)."""
    count = len(frame_length)
    kind = generator.integers(0, 4, count)                              # 0, 1 IPv4; 2 IPv4 with a tag; 3 IPv6
    is_tcp = generator.random(count) < 0.7
    headers = np.zeros((count, HEADER_BYTES), np.uint8)
    headers[:, 0:12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]             # locally administered addresses
    headers[:, 5] = generator.integers(1, 250, count)
    headers[:, 11] = generator.integers(1, 250, count)
    ports = np.stack([generator.integers(1024, 65536, count), generator.choice([80, 443, 53, 5432, 9092], count)], axis=1)
    hosts = generator.integers(1, 255, (count, 2))
    for tagged, chosen in ((False, kind < 2), (True, kind == 2)):
        at = 18 if tagged else 14
        rows = np.flatnonzero(chosen)
        if tagged:
            headers[rows, 12:16] = [0x81, 0, 0, 0]
            headers[rows, 15] = generator.integers(1, 200, len(rows))
        headers[rows, at - 2 : at] = [0x08, 0x00]
        ip = np.zeros((len(rows), 20), np.uint8)
        ip[:, 0], ip[:, 8] = 0x45, 64
        ip[:, 2:4] = be16(frame_length[rows] - at)
        ip[:, 4:6] = generator.integers(0, 256, (len(rows), 2))
        ip[:, 9] = np.where(is_tcp[rows], 6, 17)
        ip[:, 12:16], ip[:, 16:20] = [10, 1, 0, 0], [10, 2, 0, 0]
        ip[:, 15], ip[:, 19] = hosts[rows, 0], hosts[rows, 1]
        ip[:, 10:12] = be16(checksum(ip))
        headers[rows, at : at + 20] = ip
        transport(headers, rows, at + 20, ports, is_tcp, frame_length[rows] - at - 20)
    rows = np.flatnonzero(kind == 3)
    headers[rows, 12:15] = [0x86, 0xDD, 0x60]
    headers[rows, 18:20] = be16(frame_length[rows] - 54)
    headers[rows, 20], headers[rows, 21] = np.where(is_tcp[rows], 6, 17), 64
    for at, column in ((22, 0), (38, 1)):
        headers[rows, at : at + 4] = [0x20, 0x01, 0x0D, 0xB8]       # RFC 3849, documentation
        headers[rows, at + 7], headers[rows, at + 15] = column + 1, hosts[rows, column]
    transport(headers, rows, 54, ports, is_tcp, frame_length[rows] - 54)
    return headers


def transport(
    headers: npt.NDArray[np.uint8], rows: Ints, at: int, ports: Ints, is_tcp: npt.NDArray[np.bool_], length: Ints
) -> None:
    headers[rows, at : at + 2] = be16(ports[rows, 0])
    headers[rows, at + 2 : at + 4] = be16(ports[rows, 1])
    tcp = is_tcp[rows]
    headers[rows[tcp], at + 12], headers[rows[tcp], at + 13] = 0x50, 0x18           # 20 bytes; PSH, ACK
    headers[rows[~tcp], at + 4 : at + 6] = be16(length[~tcp])


def be16(values: npt.NDArray[np.integer]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(-1, 2)


def checksum(header: npt.NDArray[np.uint8]) -> Ints:
    """RFC 791: the one's complement of the one's complement sum of the 16-bit words, whose own place is 0."""
    total: Ints = header.view(">u2").astype(np.int64).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    return ((total & 0xFFFF) + (total >> 16)) ^ 0xFFFF
