"""A flood of datagrams at one listener: what was sent = what is in batches + what the kernel dropped, exactly.

    python benchmarks/flood_collect.py [--rate 300000] [--seconds 30] [--size 200] [--sockets 1]
    python benchmarks/flood_collect.py --peer
    python benchmarks/flood_collect.py --exporters 10000 --rate 100000

The sender is a process of its own; it hands the kernel fifty datagrams a call (UDP_SEGMENT), which arrive one by one, so
that it is not the bottleneck. With --exporters they come from as many addresses (tests/simulation/exporters.py), in sizes of
their own. The receiver is a listener as `orbitrack collect` has it, with a buffer that is emptied at once. Prints how much
came, how much the kernel dropped, the receiver's memory and its CPU time a datagram; status 1 where one datagram is
unaccounted for. With --peer a loop over `socket.recvmsg` with timestamps, which makes tuples and no more, stands in the same
flood afterwards, and its CPU time a datagram is set against ours.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

from bench_collect import PEER_BATCH, drain_peer
from framecodec.priorities import Priorities
from streams.addresses import parse_address
from streams.collectors.batches import Intake, Lane, Parcel
from streams.collectors.losses import Losses
from streams.collectors.udp import UdpListener, open_socket, set_receive_buffer
from streams.config import Config
from streams.telemetry import Telemetry
from tests.simulation.exporters import send

UDP_SEGMENT = 103               # linux/udp.h; Python's socket module does not name it
A_CALL = 50
PAUSE_S = 0.0005
WAIT_S = 10.0
IDLE_S = 0.1


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


class Flood:
    """Senders to `port`, in a process of their own: not forked, or they would also have our sockets."""

    def __init__(self, port: int, options: argparse.Namespace) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.sent: multiprocessing.Queue[tuple[int, float]] = spawn.Queue()
        self.wait_s = options.seconds + WAIT_S
        target, last = (export, options.exporters) if options.exporters else (flood, options.size)
        common = (port, options.rate, options.seconds)
        self.process = spawn.Process(target=target, args=(*common, last, self.sent), daemon=True)
        self.process.start()

    def wait(self) -> tuple[int, float]:
        """Datagrams sent, and the seconds it took."""
        sent = self.sent.get(timeout=self.wait_s)
        self.process.join()
        return sent


def cpu_ns(who: int) -> float:
    used = resource.getrusage(who)
    return (used.ru_utime + used.ru_stime) * 1e9


def receive(options: argparse.Namespace) -> tuple[float, bool]:
    """CPU time a datagram of a listener, in ns, and whether every datagram is accounted for."""
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
    before_ns = cpu_ns(resource.RUSAGE_SELF)
    listener.start()
    sent, seconds = Flood(listener.address.port, options).wait()
    listener.stop()
    ns = (cpu_ns(resource.RUSAGE_SELF) - before_ns) / max(1, rows[0])
    dropped, shed = losses.total("kernel"), losses.total("buffer_full")
    print(
        f"sent {sent:,} in {seconds:.1f} s ({sent / seconds:,.0f}/s) = {rows[0]:,} in {rows[1]:,} batches"
        f" of {rows[0] / max(1, rows[1]):.0f}"
        f" + {dropped:,} dropped by the kernel + {shed:,} shed;"
        f" {ns:.0f} ns CPU a datagram; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB", flush=True,
    )
    return ns, not failures and rows[0] + dropped + shed == sent


def receive_as_peer(options: argparse.Namespace) -> float:
    """CPU time a datagram, in ns, of what Python's own sockets can do on one thread."""
    with open_socket(parse_address("udp://127.0.0.1:0"), share=False) as sock:
        set_receive_buffer(sock, 64_000_000)
        sock.setblocking(False)
        stop, received, used_ns = threading.Event(), 0, 0.0

        def drain() -> None:
            nonlocal received, used_ns
            before_ns = cpu_ns(resource.RUSAGE_THREAD)
            is_over = False
            while not is_over:
                taken: list[tuple[int, str, bytes]] = []
                with suppress(BlockingIOError):
                    drain_peer(sock, PEER_BATCH, taken)
                received += len(taken)
                if len(taken) < PEER_BATCH:             # it was empty
                    is_over = not select.select([sock], [], [], IDLE_S)[0] and stop.is_set()
            used_ns = cpu_ns(resource.RUSAGE_THREAD) - before_ns

        thread = threading.Thread(target=drain)
        thread.start()
        sent, seconds = Flood(sock.getsockname()[1], options).wait()
        stop.set()
        thread.join()
    ns = used_ns / max(1, received)
    print(f"recvmsg: sent {sent:,} in {seconds:.1f} s, {received:,} received; {ns:.0f} ns CPU a datagram", flush=True)
    return ns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=300_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--sockets", type=int, default=1)
    parser.add_argument("--exporters", type=int, default=0)
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    ns, is_accounted_for = receive(options)
    if options.peer:
        print(f"{receive_as_peer(options) / ns:.1f}x less CPU a datagram than recvmsg")
    sys.exit(not is_accounted_for)


if __name__ == "__main__":
    main()
