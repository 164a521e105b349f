"""A flood of datagrams at one listener: what was sent = what is in batches + what the kernel dropped, exactly.

    python benchmarks/flood_collect.py [--rate 300000] [--seconds 30] [--size 200] [--sockets 1]
    python benchmarks/flood_collect.py --exporters 10000 --rate 100000

The sender is a process of its own; it hands the kernel fifty datagrams a call (UDP_SEGMENT), which arrive one by one, so
that it is not the bottleneck. With --exporters they come from as many addresses (tests/simulation/exporters.py), in sizes of
their own. The receiver is a listener as `orbitrack collect` has it, with a buffer that is emptied at once. Prints how much
came, how much the kernel dropped, the receiver's memory and its CPU time a datagram; status 1 where one datagram is
unaccounted for.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import struct
import sys
import threading
import time

from framecodec.priorities import Priorities
from streams.collectors.batches import Intake, Lane, Parcel
from streams.collectors.losses import Losses
from streams.collectors.udp import UdpListener
from streams.config import Config
from streams.telemetry import Telemetry
from tests.simulation.exporters import send

UDP_SEGMENT = 103               # linux/udp.h; Python's socket module does not name it
A_CALL = 50
PAUSE_S = 0.0005
WAIT_S = 10.0


def flood(port: int, rate: float, seconds: float, size: int, sent: multiprocessing.Queue[tuple[int, float]]) -> None:
    datagrams = b"".join(struct.pack(">IIIII", 5, 1, 0x0A000000 + n, 0, n).ljust(size, b"x") for n in range(A_CALL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
        sender.connect(("127.0.0.1", port))
        calls, started = 0, time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            due = round(elapsed * rate / A_CALL)
            if due == calls:
                time.sleep(PAUSE_S)
            for _ in range(calls, due):
                sender.send(datagrams)
            calls = due
    sent.put((calls * A_CALL, elapsed))


def export(port: int, rate: float, seconds: float, exporters: int, sent: multiprocessing.Queue[tuple[int, float]]) -> None:
    sent.put(send(("127.0.0.1", port), exporters, rate / exporters, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=300_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--sockets", type=int, default=1)
    parser.add_argument("--exporters", type=int, default=0)
    options = parser.parse_args()
    config = Config.model_validate({
        "collector": {"sockets": options.sockets, "socket_buffer_bytes": "64MB"},
        "link": [{"name": "racks", "codec": "sflow", "listen": "udp://127.0.0.1:0", "allow": ["127.0.0.0/8"]}],
    })
    losses, rows, lock = Losses(Telemetry("collect")), [0, 0], threading.Lock()
    losses.add_link("racks")

    def take(parcel: Parcel) -> None:
        with lock:                                      # one thread a socket
            rows[0] += parcel.batch.num_rows
            rows[1] += 1
        intake.release(parcel)

    intake = Intake(config.collector.buffer_bytes, take, losses)
    failures: list[BaseException] = []
    lane = Lane("racks", "frames.rack", Priorities("sflow"))
    listener = UdpListener(config.links[0], config.collector, 8, lane, intake, losses, failures.append)
    listener.open()
    listener.start()
    queue: multiprocessing.Queue[tuple[int, float]] = multiprocessing.get_context("spawn").Queue()
    common = listener.address.port, options.rate, options.seconds
    target, last = (export, options.exporters) if options.exporters else (flood, options.size)
    # Not forked: a child of ours would also have our sockets.
    sender = multiprocessing.get_context("spawn").Process(target=target, args=(*common, last, queue), daemon=True)
    sender.start()
    sent, seconds = queue.get(timeout=options.seconds + WAIT_S)
    sender.join()
    listener.stop()
    used = resource.getrusage(resource.RUSAGE_SELF)
    dropped, shed = losses.total("kernel"), losses.total("buffer_full")
    cpu_ns = (used.ru_utime + used.ru_stime) * 1e9 / max(1, rows[0])
    print(
        f"sent {sent:,} in {seconds:.1f} s ({sent / seconds:,.0f}/s) = {rows[0]:,} in {rows[1]:,} batches"
        f" of {rows[0] / max(1, rows[1]):.0f}"
        f" + {dropped:,} dropped by the kernel + {shed:,} shed;"
        f" {cpu_ns:.0f} ns CPU a datagram, with the start of Python; {used.ru_maxrss / 1000:.0f} MB", flush=True,
    )
    sys.exit(bool(failures) or rows[0] + dropped + shed != sent)


if __name__ == "__main__":
    main()
