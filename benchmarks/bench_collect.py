"""UDP receive to sealed batch, against `socket.recvmsg` with timestamps.

    python benchmarks/bench_collect.py [--rounds 100]

Both drain a socket whose buffer was filled before, alternating, on one thread; what is measured is the CPU time of the
draining alone, best of the rounds. The peer does less: it makes tuples (received_ns, sender, bytes), without batches,
partitions, an allow-list or counters by sender. Both let go of what they made as they go, as a collector does. Results are
compared for equality first. Floor 3x, ambition 6x.

`kernel` is recvmmsg and the look at the allow-list alone (every sender refused): what no batching could be faster than, so
peer / kernel bounds the ratio. The depth of the queue matters: 100 is what waits when we keep up with 100,000 a second; with
20,000 their memory is no longer in any cache, and fetching it costs both sides the same.

Biases: loopback has no driver and no interrupt.
"""

from __future__ import annotations

import argparse
import socket
import struct
import time

import pyarrow as pa

from framecodec.batches import Batches
from framecodec.datagrams import Receiver
from streams.addresses import parse_address
from streams.collectors.udp import open_socket, set_receive_buffer
from streams.model import FRAMES

SO_TIMESTAMPNS = 35
FLOOR = 3.0
PEER_BATCH = 1000


def datagram(number: int, size: int) -> bytes:
    """Begins like sFlow of one of 50 agents, so that partitions are found the way they are in life."""
    return struct.pack(">IIIII", 5, 1, 0x0A000000 + number % 50, 0, number).ljust(size, b"x")


def fill(sock: socket.socket, datagrams: list[bytes]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(sock.getsockname())
        for each in datagrams:
            sender.send(each)


def drain_peer(sock: socket.socket, wanted: int, keep: list[tuple[int, str, bytes]] | None) -> None:
    taken: list[tuple[int, str, bytes]] = [] if keep is None else keep
    for _ in range(wanted):
        data, controls, _, sender = sock.recvmsg(65535, 128)
        received_ns = 0
        for level, kind, value in controls:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = struct.unpack("qq", value[:16])
                received_ns = seconds * 1_000_000_000 + nanoseconds
        taken.append((received_ns, sender[0], data))
        if keep is None and len(taken) == PEER_BATCH:
            taken.clear()


def drain_ours(receiver: Receiver, batches: Batches, wanted: int, keep: list[pa.RecordBatch] | None) -> None:
    end = receiver.datagrams + wanted
    while receiver.datagrams < end:
        receiver.receive(0)
        for _, _, sealed in batches.seal(0):
            batch = sealed.take(FRAMES)
            if keep is not None:
                keep.append(batch)
    if keep is not None:
        keep += [batch.take(FRAMES) for _, _, batch in batches.seal(0, everything=True)]


def check(sock: socket.socket, receiver: Receiver, batches: Batches, datagrams: list[bytes]) -> None:
    theirs: list[tuple[int, str, bytes]] = []
    ours: list[pa.RecordBatch] = []
    fill(sock, datagrams)
    drain_peer(sock, len(datagrams), theirs)
    fill(sock, datagrams)
    drain_ours(receiver, batches, len(datagrams), ours)
    assert [data for _, _, data in theirs] == datagrams
    assert sorted(frame for batch in ours for frame in batch["frame"].to_pylist()) == sorted(datagrams)
    assert all(received_ns for batch in ours for received_ns in batch["received_ns"].to_pylist())


def measure(size: int, depth: int, rounds: int) -> float:
    with open_socket(parse_address("udp://127.0.0.1:0"), share=False) as sock:
        # The kernel charges a datagram with its buffer and book-keeping, 2304 bytes for a full one.
        set_receive_buffer(sock, depth * 2304)
        sock.setblocking(False)
        datagrams = [datagram(number, size) for number in range(depth)]
        batches, nothing = Batches("racks", "sflow", 8), Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches, allow=["127.0.0.0/8"])
        refusing = Receiver(sock.fileno(), nothing, allow=["10.0.0.0/8"])
        check(sock, receiver, batches, datagrams)
        drains = {
            "peer": lambda: drain_peer(sock, depth, None),
            "kernel": lambda: drain_ours(refusing, nothing, depth, None),
            "ours": lambda: drain_ours(receiver, batches, depth, None),
        }
        best = dict.fromkeys(drains, float("inf"))
        for _ in range(rounds):
            for name, drain in drains.items():
                fill(sock, datagrams)
                started = time.thread_time_ns()
                drain()
                best[name] = min(best[name], (time.thread_time_ns() - started) / depth)
        assert receiver.read_kernel_drops() == 0
    ratio, bound = best["peer"] / best["ours"], best["peer"] / best["kernel"]
    verdict = "" if ratio >= FLOOR else "BELOW THE FLOOR" if bound >= FLOOR else "below the floor, as the kernel alone is"
    print(
        f"queue {depth:6,d} x {size:4d} B: recvmsg {best['peer']:5.0f} ns a datagram, kernel alone {best['kernel']:4.0f}, "
        f"ours {best['ours']:4.0f} ({1e6 / best['ours']:,.0f} k/s): {ratio:.1f}x of at most {bound:.1f}x {verdict}", flush=True,
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    cases = [(size, depth) for depth in (100, 1_000, 20_000) for size in (100, 300, 700, 1400)]
    ratios = [measure(size, depth, max(3, options.rounds * 1000 // depth)) for size, depth in cases]
    print(f"lowest {min(ratios):.1f}x, highest {max(ratios):.1f}x; floor {FLOOR:.0f}x, ambition 6x")


if __name__ == "__main__":
    main()
