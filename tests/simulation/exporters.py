"""Many switches in one process: each sends sFlow from an address of its own in 127.0.0.0/8, counted exactly.

    python -m tests.simulation.exporters --to 127.0.0.1:6343 --exporters 10000 --rate 10 --seconds 30

Each has its own sequence; every tenth datagram holds counters, the others a flow sample. One unbound socket sends for all of
them: the source address goes along with each datagram (IP_PKTINFO), a thousand datagrams a system call (sendmmsg). Prints one
JSON object at the end: how many were sent, in what time. A process that cannot keep up sends fewer, and says so.

Linux on 64 bits: the structs of sendmmsg are laid out here.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import ipaddress
import json
import os
import socket
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.racks import counter_sample, flow_sample, raw_header, record, sflow, words

COUNTERS_EVERY = 10
# Places in an sFlow version 5 datagram of an IPv4 agent.
AGENT, SEQUENCE, UPTIME = 8, 16, 20
LOOPBACK = int(ipaddress.ip_address("127.1.0.0"))
PAUSE_S = 0.002
A_CALL = 1024                   # UIO_MAXIOV: the kernel takes no more at once

# struct mmsghdr, iovec, and cmsghdr with in_pktinfo (sendmmsg(2), cmsg(3), ip(7)).
MESSAGE = np.dtype({
    "names": ["name", "name_bytes", "pieces", "piece_count", "control", "control_bytes", "flags", "sent_bytes"],
    "formats": ["u8", "u4", "u8", "u8", "u8", "u8", "i4", "u4"], "offsets": [0, 8, 16, 24, 32, 40, 48, 56], "itemsize": 64,
})
PIECE = np.dtype([("base", "u8"), ("bytes", "u8")])
CONTROL = np.dtype({
    "names": ["bytes", "level", "type", "source"], "formats": ["u8", "i4", "i4", ">u4"],
    "offsets": [0, 8, 12, 20], "itemsize": 32,
})
CONTROL_BYTES = 28
IP_PKTINFO = 8
TRY_AGAIN = (errno.ECONNREFUSED, errno.EAGAIN, errno.EINTR, errno.ENOBUFS)


def address_of(exporter: int) -> str:
    return str(ipaddress.ip_address(LOOPBACK + exporter))


def octets_of(numbers: Any) -> npt.NDArray[np.uint8]:
    """32-bit numbers as four octets each, in network order."""
    return np.asarray(numbers, ">u4").reshape(-1, 1).view(np.uint8)


class Exporters:
    """`send(number, count)` sends the datagrams number, number + 1, ...: of every exporter one, again and again."""

    def __init__(self, to: tuple[str, int], exporters: int) -> None:
        self.exporters = exporters
        flow = sflow(flow_sample(record(1, raw_header(bytes(range(64))))))
        counters = sflow(counter_sample(record(1, words(1, 6, 0, 10**9, 1, 3, *[0] * 16)[:88])))
        self.kinds = [np.tile(np.frombuffer(datagram, np.uint8), (exporters, 1)) for datagram in (flow, counters)]
        for datagrams in self.kinds:
            datagrams[:, AGENT : AGENT + 4] = octets_of(LOOPBACK + np.arange(exporters))
        self.bases = [addresses(datagrams) for datagrams in self.kinds]
        self.name = np.frombuffer(
            socket.AF_INET.to_bytes(2, "little") + to[1].to_bytes(2, "big") + socket.inet_aton(to[0]) + bytes(8), np.uint8
        )
        self.control = np.zeros(exporters, CONTROL)
        self.control["bytes"], self.control["level"], self.control["type"] = CONTROL_BYTES, socket.IPPROTO_IP, IP_PKTINFO
        self.control["source"] = LOOPBACK + np.arange(exporters)
        self.pieces = np.zeros(exporters, PIECE)
        self.messages = np.zeros(exporters, MESSAGE)
        self.messages["name"], self.messages["name_bytes"] = self.name.ctypes.data, len(self.name)
        self.messages["pieces"], self.messages["piece_count"] = addresses(self.pieces), 1
        self.messages["control"], self.messages["control_bytes"] = addresses(self.control), CONTROL.itemsize
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
        self.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)

    def send(self, number: int, count: int, uptime_ms: int) -> None:
        while count:
            turn, first = divmod(number, self.exporters)
            several = min(count, self.exporters - first)
            self.prepare(turn, first, first + several, uptime_ms)
            self.send_prepared(first, first + several)
            number, count = number + several, count - several

    def prepare(self, turn: int, first: int, last: int, uptime_ms: int) -> None:
        """The datagrams of these exporters in this turn."""
        has_counters = (turn + np.arange(first, last)) % COUNTERS_EVERY == 0
        for datagrams in self.kinds:
            datagrams[first:last, SEQUENCE : UPTIME + 4] = octets_of([turn + 1, uptime_ms]).reshape(-1)
        (flows, counters), (flow_base, counters_base) = self.kinds, self.bases
        self.pieces["base"][first:last] = np.where(has_counters, counters_base[first:last], flow_base[first:last])
        self.pieces["bytes"][first:last] = np.where(has_counters, counters.shape[1], flows.shape[1])

    def send_prepared(self, first: int, last: int) -> None:
        while first < last:
            sent = self.sendmmsg(
                self.socket.fileno(), self.messages.ctypes.data + first * MESSAGE.itemsize, min(last - first, A_CALL), 0
            )
            if sent < 0 and ctypes.get_errno() not in TRY_AGAIN:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            first += max(0, sent)


def addresses(rows: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Where each row is in memory."""
    return np.uint64(rows.ctypes.data) + np.arange(len(rows), dtype=np.uint64) * np.uint64(rows.strides[0])


def send(to: tuple[str, int], exporters: int, rate: float, seconds: float, first_turn: int = 0) -> tuple[int, float]:
    """(datagrams, seconds) of `exporters` that send `rate` datagrams a second each, sequences from `first_turn` on."""
    group, sent, wanted = Exporters(to, exporters), 0, round(exporters * rate * seconds)
    started = time.monotonic()
    while sent < wanted and (elapsed := time.monotonic() - started) < seconds + 1:
        due = min(wanted, round(elapsed * exporters * rate))
        if due == sent:
            time.sleep(PAUSE_S)                         # the pace is what is simulated
        group.send(first_turn * exporters + sent, due - sent, round(1000 * elapsed))
        sent = due
    return sent, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", default="127.0.0.1:6343")
    parser.add_argument("--exporters", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--first-turn", type=int, default=0, help="datagrams that each has sent before")
    options = parser.parse_args()
    host, _, port = options.to.rpartition(":")
    sent, seconds = send((host, int(port)), options.exporters, options.rate, options.seconds, options.first_turn)
    print(json.dumps({"sent": sent, "seconds": seconds, "cpu_seconds": time.process_time()}))


if __name__ == "__main__":
    main()
