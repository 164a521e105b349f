"""Every datagram that was sent is in a batch, refused or dropped by the kernel: framecodec.datagrams."""

import ipaddress
import socket
import time

import pyarrow as pa
import pytest

from framecodec.batches import Batches, partition_of, source_key
from framecodec.datagrams import Receiver

SO_TIMESTAMPNS, SO_RXQ_OVFL = 35, 40
MS = 1_000_000


def bound_socket(host: str = "127.0.0.1", receive_buffer: int = 1 << 20) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RXQ_OVFL, 1)
    sock.bind((host, 0))
    return sock


def send(sock: socket.socket, datagrams: list[bytes], host: str = "127.0.0.1", source: str | None = None) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        if source:
            sender.bind((source, 0))
        for datagram in datagrams:
            sender.sendto(datagram, (host, sock.getsockname()[1]))


def drain(receiver: Receiver, batches: Batches) -> list[pa.RecordBatch]:
    """Receives until nothing is left."""
    sealed = []
    while True:
        before = receiver.datagrams
        receiver.receive(0)
        sealed += batches.seal(time.monotonic_ns())
        if receiver.datagrams == before:
            return [pa.record_batch(batch) for _, _, batch in sealed + batches.seal(0, everything=True)]


def test_datagrams_arrive_with_sender_and_kernel_time():
    with bound_socket() as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches)
        before_ns = time.time_ns()
        send(sock, [b"one", b"", b"three"], source="127.0.0.5")
        [frames] = drain(receiver, batches)
        # Not right after sending: the first socket that asks for times gets them a little later, when it is read.
        after_ns = time.time_ns()

    assert frames["frame"].to_pylist() == [b"one", b"", b"three"]
    assert frames["source"].to_pylist() == ["127.0.0.5"] * 3
    received = frames["received_ns"].to_pylist()
    assert before_ns <= received[0] <= received[1] <= received[2] <= after_ns
    assert receiver.take_sources() == [("127.0.0.5", True, 3, 8, 0, None)]
    assert receiver.take_sources() == []


def test_ipv6_and_ipv4_share_a_dual_stack_socket():
    with bound_socket("::") as sock:
        batches = Batches("racks", "netflow", 8)
        receiver = Receiver(sock.fileno(), batches)
        send(sock, [b"four"])
        send(sock, [b"six"], host="::1")
        frames = drain(receiver, batches)
    found = {(row["source"], row["frame"]) for batch in frames for row in batch.to_pylist()}
    assert found == {("127.0.0.1", b"four"), ("::1", b"six")}


@pytest.mark.parametrize("size", [1, 1472, 9000, 65507])
def test_datagrams_of_every_size_are_whole(size):
    datagram = bytes(index % 251 for index in range(size))
    with bound_socket() as sock:
        batches = Batches("link", "cadu", 8)
        receiver = Receiver(sock.fileno(), batches)
        send(sock, [datagram] * 3)
        frames = drain(receiver, batches)
    assert [frame for batch in frames for frame in batch["frame"].to_pylist()] == [datagram] * 3


@pytest.mark.parametrize(
    ("allow", "taken"),
    [
        ([], {"127.0.0.1", "127.0.1.2", "127.64.0.1", "::1"}),
        (["127.0.0.0/8"], {"127.0.0.1", "127.0.1.2", "127.64.0.1"}),
        (["127.0.0.0/23"], {"127.0.0.1", "127.0.1.2"}),
        (["127.0.0.0/24", "::1"], {"127.0.0.1", "::1"}),
        (["127.64.0.0/10", "2001:db8::/32"], {"127.64.0.1"}),
        (["0.0.0.0/0"], {"127.0.0.1", "127.0.1.2", "127.64.0.1"}),
        (["::/0"], {"127.0.0.1", "127.0.1.2", "127.64.0.1", "::1"}),
    ],
)
def test_only_allowed_networks_are_taken_and_the_others_counted(allow, taken):
    everybody = ["127.0.0.1", "127.0.1.2", "127.64.0.1", "::1"]
    with bound_socket("::") as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches, allow=allow)
        for source in everybody:
            send(sock, [b"x", b"yy"], host="::1" if ":" in source else "127.0.0.1", source=source)
        frames = drain(receiver, batches)
    assert {source for batch in frames for source in batch["source"].to_pylist()} == taken
    assert receiver.refused == 2 * (4 - len(taken))
    assert receiver.refused_bytes == 3 * (4 - len(taken))
    assert sorted(receiver.take_sources()) == sorted((source, source in taken, 2, 3, 0, None) for source in everybody)


def test_overflow_of_the_socket_buffer_is_counted_exactly():
    with bound_socket(receive_buffer=4096) as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches)
        send(sock, [b"x" * 500] * 400)
        rows = sum(batch.num_rows for batch in drain(receiver, batches))
        assert 0 < rows < 400
        assert rows + receiver.read_kernel_drops() == 400
        # The counter that comes with a datagram says the same and counts nothing twice.
        send(sock, [b"x" * 500] * 300)
        rows += sum(batch.num_rows for batch in drain(receiver, batches))
        assert rows + receiver.read_kernel_drops() == 700
        send(sock, [b"x"])
        assert sum(batch.num_rows for batch in drain(receiver, batches)) == 1
        assert rows + receiver.kernel_drops == 700


def test_full_batch_interrupts_and_nothing_is_lost_between():
    datagrams = [index.to_bytes(4, "big") * 25 for index in range(500)]
    with bound_socket(receive_buffer=4 << 20) as sock:
        batches = Batches("link", "cadu", 1, bytes_max=1000)
        receiver = Receiver(sock.fileno(), batches)
        taken: list[bytes] = []
        for start in range(0, 500, 100):
            send(sock, datagrams[start : start + 100])
            while len(taken) < start + 92:
                assert receiver.receive(1000 * MS) is True
                [(_, _, batch)] = batches.seal(0)
                assert len(batch) == 9
                taken += pa.record_batch(batch)["frame"].to_pylist()
        receiver.receive(0)
        taken += [f for _, _, b in batches.seal(0, everything=True) for f in pa.record_batch(b)["frame"].to_pylist()]
    assert receiver.read_kernel_drops() == 0
    assert taken == datagrams


def test_memory_for_senders_is_bounded_and_no_count_is_lost():
    with bound_socket() as sock:
        batches = Batches("racks", "sflow", 4)
        receiver = Receiver(sock.fileno(), batches, sources_max=10)
        for last in range(1, 36):
            send(sock, [b"x"], source=f"127.0.0.{last}")
        rows, counts, forgotten = [], [], 0
        while len(counts) < 35:
            receiver.receive(1000 * MS if receiver.datagrams < 35 else 0)
            rows += [pa.record_batch(batch) for _, _, batch in batches.seal(0, everything=True)]
            if receiver.datagrams < 35:
                assert receiver.has_too_many_sources
                with pytest.raises(ValueError, match="take_sources"):
                    receiver.forget_sources()
            counts += receiver.take_sources()
            receiver.forget_sources()
            forgotten += 1
    everybody = [f"127.0.0.{last}" for last in range(1, 36)]
    assert forgotten == 4
    assert sorted(source for batch in rows for source in batch["source"].to_pylist()) == sorted(everybody)
    assert sorted(counts) == sorted((source, True, 1, 1, 0, None) for source in everybody)


def test_receive_ends_when_its_time_is_up_and_nothing_came():
    with bound_socket() as sock:
        receiver = Receiver(sock.fileno(), Batches("racks", "sflow", 8))
        assert receiver.receive(5 * MS) is False
        assert receiver.datagrams == 0


def test_closed_socket_is_an_error_and_not_a_loop():
    sock = bound_socket()
    receiver = Receiver(sock.fileno(), Batches("racks", "sflow", 8))
    sock.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.receive(5 * MS)


def test_datagrams_beyond_the_rate_of_a_sender_are_counted_and_left_out():
    with bound_socket() as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches, rate=10)
        send(sock, [b"x"] * 50, source="127.0.0.5")
        send(sock, [b"y"] * 5, source="127.0.0.6")
        rows = drain(receiver, batches)
        senders = {name: (datagrams, limited) for name, _, datagrams, _, limited, _ in receiver.take_sources()}

    # Ten that are due within the second, and the one that is due at once; more if sending took a tenth of a second.
    assert senders["127.0.0.6"] == (5, 0)
    taken, limited = senders["127.0.0.5"]
    assert taken + limited == 50
    assert 11 <= taken < 50
    assert sum(batch.num_rows for batch in rows) == taken + 5
    assert (receiver.datagrams, receiver.limited, receiver.refused) == (55, limited, 0)


def test_a_sender_within_its_rate_is_never_limited():
    with bound_socket() as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches, rate=100_000)
        for _ in range(20):
            send(sock, [b"x"] * 100, source="127.0.0.5")
            drain(receiver, batches)
        assert receiver.limited == 0


def header(version: int, seconds: int) -> bytes:
    """Of NetFlow 5 or 9, or IPFIX, exported at `seconds`."""
    words = [0, seconds] if version == 9 else [0, seconds, 0] if version == 5 else [seconds]
    return (version.to_bytes(2, "big") + bytes(2) + b"".join(word.to_bytes(4, "big") for word in words)).ljust(24, b"\0")


@pytest.mark.parametrize("version", [5, 9, 10])
@pytest.mark.parametrize("codec", ["netflow", "rack"])
def test_clock_skew_is_that_of_the_least_delayed_datagram(version, codec):
    with bound_socket() as sock:
        batches = Batches("racks", codec, 8)
        receiver = Receiver(sock.fileno(), batches)
        now = time.time_ns() // 1_000_000_000
        send(sock, [header(version, now + ahead) for ahead in (-500, 3600, 20)], source="127.0.0.5")
        send(sock, [header(7, now), b"\0\5", b"", b"\0\0\0\5" * 9], source="127.0.0.6")
        drain(receiver, batches)
        skews = {name: skew_ns for name, *_, skew_ns in receiver.take_sources()}
        again = receiver.take_sources()

    assert 3590 < skews["127.0.0.5"] / 1e9 <= 3600
    assert skews["127.0.0.6"] is None
    assert again == []


def test_partitions_are_those_of_each_datagram_although_a_sender_speaks_for_many():
    with bound_socket() as sock:
        batches = Batches("racks", "rack", 8)
        receiver = Receiver(sock.fileno(), batches)
        frames = [bytes([0, 0, 0, 5, 0, 0, 0, 1, 10, 0, 0, agent % 7]) + bytes(8) + bytes([agent]) for agent in range(60)]
        frames += [bytes([0, 9]) + bytes(14) + bytes([0, 0, 0, domain % 5, domain]) for domain in range(60)]
        frames += [b"", b"\0\5"]
        send(sock, frames, source="127.0.0.5")
        receiver.receive(0)
        receiver.receive(0)
        sealed = batches.seal(0, everything=True)

    found = {frame: partition for partition, _, batch in sealed for frame in pa.record_batch(batch)["frame"].to_pylist()}
    for frame in frames:
        assert found[frame] == partition_of(source_key("rack", "racks", "127.0.0.5", frame), 8)
    assert len(set(found.values())) > 3


@pytest.mark.parametrize("step", [1, 256, 65536])
def test_thousands_of_senders_are_found_as_fast_as_one(step):
    # Side by side in 127.0.0.0/8, in every second and every third octet: with a hash that left these octets out, all met.
    with bound_socket(receive_buffer=8 << 20) as sock:
        batches = Batches("racks", "sflow", 8)
        receiver = Receiver(sock.fileno(), batches)
        for start in range(0, 200 if step == 65536 else 4000, 100):
            for number in range(start, start + 100):
                send(sock, [b"x"], source=str(ipaddress.ip_address(0x7F010001 + number * step % 0xF00000)))
            receiver.receive(0)
            receiver.receive(0)
        assert receiver.senders.count >= 200
        assert receiver.senders.longest_search() < 100     # by chance 15 to 60; the old hash: all of them
