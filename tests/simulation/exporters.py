"""Many switches in one process: each sends sFlow from an address of its own in 127.0.0.0/8, counted exactly.

    python -m tests.simulation.exporters --to 127.0.0.1:6343 --exporters 10000 --rate 10 --seconds 30

Each has its own socket and sequence; every tenth datagram holds counters, the others a flow sample. Prints one JSON object
at the end: how many were sent, how long it took. A process that cannot keep up sends fewer, and says so.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import socket
import struct
import time
from contextlib import suppress

from tests.racks import counter_sample, flow_sample, raw_header, record, sflow, words

COUNTERS_EVERY = 10
# Places in an sFlow version 5 datagram of an IPv4 agent.
AGENT, SEQUENCE, UPTIME = 8, 16, 20
LOOPBACK = int(ipaddress.ip_address("127.1.0.0"))
PAUSE_S = 0.002


def address_of(exporter: int) -> str:
    return str(ipaddress.ip_address(LOOPBACK + exporter))


def open_sockets(exporters: int, to: tuple[str, int]) -> list[socket.socket]:
    opened = []
    for exporter in range(exporters):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((address_of(exporter), 0))
        sock.connect(to)
        opened.append(sock)
    return opened


def send(to: tuple[str, int], exporters: int, rate: float, seconds: float) -> tuple[int, float]:
    """(datagrams, seconds) of `exporters` that send `rate` datagrams a second each."""
    flow = bytearray(sflow(flow_sample(record(1, raw_header(bytes(range(64)))))))
    counters = bytearray(sflow(counter_sample(record(1, words(1, 6, 0, 10**9, 1, 3, *[0] * 16)[:88]))))
    senders = [sock.send for sock in open_sockets(exporters, to)]
    pack, sent, wanted = struct.Struct(">I").pack_into, 0, round(exporters * rate * seconds)
    started = time.monotonic()
    while sent < wanted and (elapsed := time.monotonic() - started) < seconds + 1:
        due = min(wanted, round(elapsed * exporters * rate))
        if due == sent:
            time.sleep(PAUSE_S)                         # the pace is what is simulated
        for number in range(sent, due):
            turn, exporter = divmod(number, exporters)
            datagram = counters if turn % COUNTERS_EVERY == 0 else flow
            pack(datagram, AGENT, LOOPBACK + exporter)
            pack(datagram, SEQUENCE, turn + 1)
            pack(datagram, UPTIME, round(1000 * elapsed))
            while True:
                with suppress(ConnectionRefusedError, BlockingIOError):
                    senders[exporter](datagram)
                    break
        sent = due
    return sent, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default="127.0.0.1:6343")
    parser.add_argument("--exporters", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    sent, seconds = send((host, int(port)), options.exporters, options.rate, options.seconds)
    print(json.dumps({"sent": sent, "seconds": seconds}))


if __name__ == "__main__":
    main()
