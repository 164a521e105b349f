"""Sent = delivered + shed + dropped by the kernel + refused: streams.collectors, over loopback sockets."""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections import Counter

import pyarrow as pa
import pytest

from framecodec.batches import Batches, partition_of, source_key
from streams.collectors.batches import Intake, Lane, Parcel, split
from streams.collectors.collector import Collector
from streams.collectors.delivery import Delivery
from streams.collectors.losses import CODEC, Losses
from streams.collectors.udp import UdpListener
from streams.config import Config
from streams.errors import ConfigError, DependencyError
from streams.ipc import decode, encode
from streams.model import FRAMES, SAMPLES
from streams.repeats import Repeats, Stamp
from streams.telemetry import Telemetry

WAIT_S = 60.0


class Log:
    """A sink that keeps what it is given, like one Kafka partition log each; it can be slow, or refuse."""

    def __init__(self):
        self.records: dict[tuple[str, int], list[pa.RecordBatch]] = {}
        self.stamps: dict[tuple[str, int], list[Stamp | None]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.refusals = 0
        self.stops = 0

    async def connect(self):
        return self

    async def send(self, topic, partition, batch, *, stamp=None):
        async def acknowledge():
            await self.gate.wait()
            if self.refusals:
                self.refusals -= 1
                raise ConnectionError("refused")
            self.records.setdefault((topic, partition), []).append(batch)
            self.stamps.setdefault((topic, partition), []).append(stamp)

        return acknowledge()

    async def stop(self):
        self.stops += 1

    def rows(self, link: str | None = None) -> list[dict]:
        batches = [batch for place in sorted(self.records) for batch in self.records[place]]
        rows = [row for batch in batches for row in batch.to_pylist()]
        return [row for row in rows if row["codec"] != CODEC and link in (None, row["link"])]

    def loss_rows(self) -> Counter:
        """The sums of what the collector says about itself."""
        sums: Counter = Counter()
        for batches in self.records.values():
            for batch in batches:
                for row in batch.to_pylist():
                    if row["codec"] == CODEC:
                        samples = decode(row["frame"])
                        assert samples.schema == SAMPLES
                        for sample in samples.to_pylist():
                            sums[row["link"], sample["entity"], sample["metric"]] += sample["value"]
        return sums


async def until(fact, what: str) -> None:
    """Waits for what another thread or process will make true."""
    for _ in range(round(WAIT_S / 0.005)):
        if fact():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {WAIT_S} s: {what}")


def configuration(**collector) -> Config:
    return Config.model_validate({
        "collector": {"batch_interval": "5ms", **collector},
        "link": [
            {"name": "racks", "codec": "sflow", "listen": "udp://127.0.0.1:0", "allow": ["127.0.0.0/24"]},
            {"name": "sat", "codec": "ccsds-packets", "listen": "tcp://127.0.0.1:0"},
        ],
    })


def sflow(agent: int, number: int) -> bytes:
    return struct.pack(">IIII", 5, 1, 0x0A000000 + agent, 0) + struct.pack(">I", number) * 20


def packet(number: int, size: int = 40) -> bytes:
    return struct.pack(">HHHI", 0x080B, 0xC000 | number % 16384, size - 1, number) + bytes(size - 4)


def send_datagrams(port: int, datagrams: list[bytes], source: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((source, 0))
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port))


def run(scenario, config: Config):
    async def play():
        log = Log()
        collector = Collector(config, Telemetry("collect"), log.connect, clock=lambda: 1_790_000_000_000_000_000)
        await collector.start()
        await collector.delivery.connected()
        try:
            return await scenario(collector, log, {name: address.port for name, address in collector.listening().items()})
        finally:
            await collector.finish(flush_s=1)

    return asyncio.run(play())


def test_every_datagram_arrives_in_the_partition_of_its_source_and_in_order():
    async def scenario(collector, log, ports):
        sent = [sflow(agent, number) for number in range(40) for agent in range(25)]
        for start in range(0, 1000, 50):
            await asyncio.to_thread(send_datagrams, ports["racks"], sent[start : start + 50])
            await until(lambda wanted=start + 50: len(log.rows()) >= wanted, "50 more datagrams")
        return sent, log

    sent, log = run(scenario, configuration())

    assert Counter(row["frame"] for row in log.rows()) == Counter(sent)
    assert {topic for (topic, _), batches in log.records.items() for b in batches if b["codec"][0].as_py() == "sflow"} == {
        "frames.rack"
    }
    for (_, partition), batches in log.records.items():
        frames = [row["frame"] for batch in batches for row in batch.to_pylist() if row["codec"] == "sflow"]
        assert {partition_of(source_key("sflow", "racks", "127.0.0.1", frame), 8) for frame in frames} <= {partition}
        for agent in {frame[8:12] for frame in frames}:
            numbers = [frame[-4:] for frame in frames if frame[8:12] == agent]
            assert numbers == sorted(numbers)


def test_refused_senders_are_counted_and_reported():
    async def scenario(collector, log, ports):
        send_datagrams(ports["racks"], [sflow(1, 1)] * 3)
        send_datagrams(ports["racks"], [sflow(1, 1)] * 5, source="127.0.1.1")
        await until(lambda: collector.losses.total("refused") == 5, "the refused ones are counted")
        await until(lambda: collector.losses.total("received") == 3, "the others too")
        collector.report()
        await until(lambda: log.loss_rows(), "a report")
        return log

    log = run(scenario, configuration())

    assert len(log.rows()) == 3
    sums = log.loss_rows()
    assert sums["racks", "127.0.0.1", "received"] == 3
    assert sums["racks", "collector/racks", "refused"] == 5
    assert ("racks", "127.0.1.1", "received") not in sums
    assert sums["racks", "collector/racks", "kernel_drops"] == 0


def test_while_kafka_hangs_memory_is_bounded_and_every_datagram_is_delivered_or_counted_as_shed():
    total, limit = 6000, 400_000

    async def scenario(collector, log, ports):
        log.gate.clear()
        highest = 0
        for start in range(0, total, 100):
            await asyncio.to_thread(send_datagrams, ports["racks"], [sflow(n % 7, n) for n in range(start, start + 100)])
            highest = max(highest, collector.intake.held_bytes)
            await asyncio.sleep(0)
        await until(lambda: collector.losses.total("received") + collector.losses.total("kernel") >= total, "all arrived")
        log.gate.set()
        await until(lambda: collector.intake.held_bytes == 0, "Kafka took the rest")
        await collector.finish()
        return highest, collector.losses, log

    highest, losses, log = run(scenario, configuration(buffer_bytes=f"{limit}B", batch_bytes="4000B", batch_interval="1ms"))

    assert highest <= limit
    assert losses.total("buffer_full") > 0
    assert len(log.rows()) + losses.total("buffer_full") + losses.total("kernel") == total
    assert log.loss_rows()["racks", "127.0.0.1", "shed"] == losses.total("buffer_full")


def test_tcp_packets_arrive_one_a_row_from_several_connections():
    async def scenario(collector, log, ports):
        writers = [(await asyncio.open_connection("127.0.0.1", ports["sat"]))[1] for _ in range(3)]
        generator = random.Random(1)
        for connection, writer in enumerate(writers):
            stream = b"".join(packet(1000 * connection + n, generator.randrange(4, 300)) for n in range(200))
            while stream:
                size = generator.randrange(1, 500)
                writer.write(stream[:size])
                await writer.drain()
                stream = stream[size:]
        await until(lambda: len(log.rows()) == 600, "600 packets")
        for writer in writers:
            writer.close()
        return log

    rows = run(scenario, configuration()).rows()

    assert sorted(struct.unpack(">I", row["frame"][6:10])[0] for row in rows) == sorted(
        1000 * connection + n for connection in range(3) for n in range(200)
    )
    assert {(row["source"], row["link"], row["codec"]) for row in rows} == {("sat", "sat", "ccsds-packets")}
    assert {row["received_ns"] for row in rows} == {1_790_000_000_000_000_000}


@pytest.mark.parametrize("cut", [1, 5, 6, 7, 45])
def test_connection_closed_inside_a_packet_loses_no_byte(cut):
    async def scenario(collector, log, ports):
        _, writer = await asyncio.open_connection("127.0.0.1", ports["sat"])
        writer.write(packet(1) + packet(2)[:cut])
        writer.close()
        await until(lambda: len(log.rows()) == 2, "the packet and the remainder")
        await until(lambda: collector.losses.total("received") == 2, "both are counted")
        return log

    assert [row["frame"] for row in run(scenario, configuration()).rows()] == [packet(1), packet(2)[:cut]]


def test_tcp_sender_is_held_back_while_kafka_hangs_and_nothing_is_lost():
    total = 40_000

    async def scenario(collector, log, ports):
        log.gate.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", ports["sat"])

        async def send():
            for start in range(0, total, 100):
                writer.write(b"".join(packet(n, 1000) for n in range(start, start + 100)))
                await writer.drain()

        sending = asyncio.create_task(send())
        await until(lambda: collector.intake.is_full, "the buffer is full")
        highest = 0
        for _ in range(50):
            await asyncio.sleep(0.002)
            highest = max(highest, collector.intake.held_bytes)
        assert not sending.done()
        log.gate.set()
        await asyncio.wait_for(sending, WAIT_S)
        await until(lambda: collector.losses.total("received") == total, "all packets read")
        await until(lambda: collector.intake.held_bytes == 0, "all packets sent")
        writer.close()
        await collector.finish()
        return highest, collector.losses, log

    highest, losses, log = run(scenario, configuration(buffer_bytes="1MB"))

    # Over the limit by no more than what one read fills.
    assert highest < 1_000_000 + 600_000
    assert losses.total("buffer_full") == 0
    assert [struct.unpack(">I", row["frame"][6:10])[0] for row in log.rows()] == list(range(total))


def test_end_takes_what_the_kernel_has_acknowledged():
    async def scenario(collector, log, ports):
        with socket.create_connection(("127.0.0.1", ports["sat"])) as sender:
            await until(lambda: collector.connections() == 1, "connected")
            sender.sendall(b"".join(packet(n) for n in range(1000)))        # nobody reads meanwhile: we hold the loop
            send_datagrams(ports["racks"], [sflow(1, n) for n in range(50)])
            await collector.finish()
        return log

    log = run(scenario, configuration())
    assert len(log.rows("sat")) == 1000
    assert len(log.rows("racks")) == 50


def test_connections_beyond_the_limit_and_from_elsewhere_are_refused():
    config = Config.model_validate({
        "collector": {"connections": 1},
        "link": [{"name": "sat", "codec": "ccsds-packets", "listen": "tcp://127.0.0.1:0", "allow": ["127.0.0.1"]}],
    })

    async def scenario(collector, log, ports):
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["sat"], local_addr=("127.0.0.2", 0))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
        _, first = await asyncio.open_connection("127.0.0.1", ports["sat"])
        await until(lambda: collector.connections() == 1, "the first is in")
        reader, second = await asyncio.open_connection("127.0.0.1", ports["sat"])
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), WAIT_S)
        for each in (writer, first, second):
            each.close()
        return collector.losses.total("refused")

    assert run(scenario, config) == 2


def test_port_in_use_is_a_message_and_starts_nothing():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for sockets in (1, 3):
            config = Config.model_validate({
                "collector": {"sockets": sockets},
                "link": [{"name": "racks", "codec": "sflow", "listen": f"udp://127.0.0.1:{port}"}],
            })

            async def start(config=config):
                await Collector(config, Telemetry("collect"), Log().connect).start()

            with pytest.raises(DependencyError, match=rf"link 'racks': listen = 'udp://127.0.0.1:{port}': the port is used"):
                asyncio.run(start())


def test_nothing_to_listen_to_is_an_error_of_the_configuration():
    async def start():
        await Collector(Config(), Telemetry("collect"), Log().connect).start()

    with pytest.raises(ConfigError, match="nothing to collect"):
        asyncio.run(start())


def test_several_sockets_share_a_port_and_keep_the_order_of_each_sender():
    config = configuration(sockets=3, batch_interval="1ms")

    async def scenario(collector, log, ports):
        for number in range(30):
            for source in range(1, 9):
                send_datagrams(ports["racks"], [sflow(source, number)], source=f"127.0.0.{source}")
        await until(lambda: collector.losses.total("received") == 240, "all arrived")
        await collector.finish()
        return log

    assert Counter(row["source"] for row in run(scenario, config).rows()) == {f"127.0.0.{n}": 30 for n in range(1, 9)}


@pytest.mark.parametrize("stops_first", [False, True])
def test_more_senders_than_fit_are_all_counted(stops_first):
    config = configuration(batch_bytes="300B")
    losses, parcels, failures = Losses(Telemetry("collect")), [], []
    losses.add_link("racks")
    listener = UdpListener(
        config.links[0], config.collector, 8, Lane("racks", "t"), Intake(1 << 30, parcels.append, losses), losses,
        failures.append, sources_max=3,
    )
    listener.open()
    if stops_first:
        listener.is_stopping.set()                      # everything then comes in the last look at the socket
    else:
        listener.start()
    for source in range(1, 41):
        send_datagrams(listener.address.port, [sflow(source, 1)] * 2, source=f"127.0.0.{source}")
    if stops_first:
        listener.start()
    listener.stop()

    assert failures == []
    rows = [row["source"] for parcel in parcels for row in parcel.batch.to_pylist()]
    assert Counter(rows) == {f"127.0.0.{source}": 2 for source in range(1, 41)}
    assert losses.total("received") == 80


def test_a_port_of_another_collector_is_not_shared_in_silence():
    """Sockets that share a port let the kernel share out the senders."""
    first, second = (
        UdpListener(
            config.links[0], config.collector, 8, Lane("racks", "t"), Intake(1 << 30, pytest.fail, losses), losses, pytest.fail
        )
        for config, losses in ((configuration(sockets=2), Losses(Telemetry("collect"))) for _ in range(2))
    )
    first.open()
    try:
        second.address = first.address
        with pytest.raises(DependencyError, match="the port is used by another process"):
            second.open()
    finally:
        first.close()
        second.close()


def test_a_listener_that_cannot_go_on_ends_the_collector_with_the_first_error():
    async def play():
        collector = Collector(configuration(), Telemetry("collect"), Log().connect, clock=lambda: 1_790_000_000_000_000_000)
        await collector.start()
        try:
            for text in ("the first", "the second"):
                await asyncio.to_thread(collector.fail, OSError(text))
            await asyncio.wait_for(collector.run(asyncio.Event()), WAIT_S)
        finally:
            await collector.finish(flush_s=1)

    with pytest.raises(OSError, match="the first"):
        asyncio.run(play())


def test_refused_sends_are_repeated_in_order_and_once():
    async def play():
        log, done = Log(), []
        delivery = Delivery(log.connect, done.append, pytest.fail, Telemetry("collect"))
        batches = Batches("racks", "cadu", 2)
        log.refusals = 3
        for number in range(20):
            [(_, memory, batch)] = batches.add([bytes([number])], "s", 1, 0) or batches.seal(0, everything=True)
            delivery.put(Parcel(Lane("racks", "frames.rack"), number % 2, pa.record_batch(batch), memory))
        unsent = await delivery.finish(WAIT_S)
        return log, done, unsent

    log, done, unsent = asyncio.run(play())

    assert unsent == []
    assert len(done) == 20
    assert log.stops >= 2                           # a new producer after a failure, and the end
    for partition in (0, 1):
        frames = [row["frame"] for batch in log.records["frames.rack", partition] for row in batch.to_pylist()]
        assert frames == [bytes([number]) for number in range(partition, 20, 2)]


def test_a_partition_that_failed_goes_on_while_others_hang():
    class Cluster(Log):
        """Partition 1 hangs; partition 0 refuses once."""

        async def send(self, topic, partition, batch, *, stamp=None):
            if partition == 1:
                return asyncio.get_running_loop().create_future()
            return await super().send(topic, partition, batch, stamp=stamp)

    async def play():
        log = Cluster()
        log.refusals = 1
        delivery = Delivery(log.connect, lambda parcel: None, pytest.fail, Telemetry("collect"))
        for partition in (1, 0, 0):
            batches = Batches("racks", "cadu", 1)
            batches.add([b"x"], "s", 1, 0)
            [(_, memory, batch)] = batches.seal(0, everything=True)
            delivery.put(Parcel(Lane("racks", "t"), partition, pa.record_batch(batch), memory))
        await until(lambda: len(log.rows()) == 2, "both of partition 0")
        unsent = await delivery.finish(0.01)
        return unsent, log

    unsent, log = asyncio.run(play())
    assert [parcel.partition for parcel in unsent] == [1]
    assert log.stops == 2                           # the broken one when it had ended, and the last


def test_a_hanging_broker_is_shown_as_away_and_nothing_is_sent_again():
    async def play():
        telemetry, log = Telemetry("collect"), Log()
        delivery = Delivery(log.connect, lambda parcel: None, pytest.fail, telemetry, quiet_s=0.01)
        log.gate.clear()
        batches = Batches("racks", "cadu", 1)
        batches.add([b"x"], "s", 1, 0)
        [(partition, memory, batch)] = batches.seal(0, everything=True)
        delivery.put(Parcel(Lane("racks", "t"), partition, pa.record_batch(batch), memory))
        await until(lambda: "no acknowledgement" in telemetry.readiness().get("kafka", ""), "it is shown")
        log.gate.set()
        assert await delivery.finish(WAIT_S) == []
        return telemetry.readiness(), log

    readiness, log = asyncio.run(play())
    assert readiness == {}
    assert len(log.rows()) == 1


def test_a_partition_that_hangs_is_shown_although_others_are_acknowledged():
    gate = asyncio.Event()

    class Cluster(Log):
        async def send(self, topic, partition, batch, *, stamp=None):
            sent = await super().send(topic, partition, batch, stamp=stamp)

            async def acknowledge():
                if partition == 1:
                    await gate.wait()
                await sent

            return acknowledge()

    async def play():
        telemetry, seen = Telemetry("collect"), {}

        def done(parcel):
            seen[parcel.partition] = telemetry.readiness()

        delivery = Delivery(Cluster().connect, done, pytest.fail, telemetry, quiet_s=0.01)
        batches = Batches("racks", "cadu", 1)
        for partition in (1, 0):
            [(_, memory, batch)] = batches.add([b"x"], "s", 1, 0) or batches.seal(0, everything=True)
            delivery.put(Parcel(Lane("racks", "t"), partition, pa.record_batch(batch), memory))
            await until(lambda: "t[1]" in telemetry.readiness().get("kafka", "") and len(delivery.lanes) == 1, "it is shown")
        gate.set()
        assert await delivery.finish(WAIT_S) == []
        return seen

    seen = asyncio.run(play())
    assert list(seen) == [0, 1]
    assert seen[0]["kafka"].startswith("no acknowledgement for")
    assert seen[1] == {}


def test_every_batch_of_a_link_has_a_higher_stamp_than_those_before_it():
    async def scenario(collector, log, ports):
        for number in range(20):
            send_datagrams(ports["racks"], [sflow(agent, number) for agent in range(20)])
            await until(lambda wanted=20 * number + 20: len(log.rows()) == wanted, "20 more datagrams")
        return log

    log = run(scenario, configuration())
    stamps = [stamp for place in log.stamps.values() for stamp in place if stamp]
    assert len(set(stamps)) == len(stamps)
    assert {stamp.stream.partition("/")[2] for stamp in stamps} == {"racks", "sat"}
    assert len(log.stamps) > 2
    for place, each in log.stamps.items():
        repeats = Repeats()
        assert all(repeats.take(stamp) for stamp in each), place


def spilling(tmp_path, **collector) -> Config:
    settings = {"buffer_bytes": "2MB", "batch_bytes": "4000B", "spill": "8MB", **collector}
    return configuration(**settings).model_copy(update={"data_dir": tmp_path})


def is_read_out(sock: socket.socket) -> bool:
    """Whether the kernel holds no datagram for it."""
    return not int.from_bytes(fcntl.ioctl(sock, termios.FIONREAD, bytes(4)), sys.byteorder)


async def fill_up(collector, log, ports, total: int, size: int) -> int:
    """Sends while Kafka hangs; the most memory that was held."""
    log.gate.clear()
    highest = 0
    for start in range(0, total, 50):
        sent = [sflow(n % 7, n).ljust(size, b"x") for n in range(start, start + 50)]
        await asyncio.to_thread(send_datagrams, ports["racks"], sent)
        # No more than a kernel holds that does not give the buffer it is asked for.
        await until(lambda: is_read_out(collector.udp[0].sockets[0]), "the collector took them")
        highest = max(highest, collector.intake.held_bytes)
    await until(lambda: collector.losses.total("received") + collector.losses.total("kernel") >= total, "all arrived")
    assert collector.losses.total("kernel") == 0
    return highest


def numbers_by_agent(rows: list[dict]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for row in rows:
        agent, number = row["frame"][11], int.from_bytes(row["frame"][16:20], "big")
        found.setdefault(agent, []).append(number)
    return found


def test_while_kafka_hangs_datagrams_go_to_disk_and_come_back_in_order(tmp_path):
    total = 5000

    async def scenario(collector, log, ports):
        highest = await fill_up(collector, log, ports, total, 500)
        assert collector.spill.size_bytes > 0
        log.gate.set()
        await until(lambda: not collector.spill.size_bytes and not collector.intake.held_bytes, "Kafka took everything")
        return highest, collector.losses.total("buffer_full"), log

    highest, shed, log = run(scenario, spilling(tmp_path))

    assert highest <= 2_000_000
    assert shed == 0
    assert numbers_by_agent(log.rows()) == {agent: list(range(agent, total, 7)) for agent in range(7)}
    assert list((tmp_path / "spill").glob("*.spill")) == []


def test_what_was_on_its_way_at_the_end_is_on_disk_for_the_next_run_and_counts_once(tmp_path):
    total = 5000

    async def first(collector, log, ports):
        await fill_up(collector, log, ports, total, 500)
        assert await collector.finish(flush_s=0.05) == 0
        return log

    async def second(collector, log, ports):
        await until(lambda: not collector.spill.size_bytes, "the earlier run is sent")
        await asyncio.to_thread(send_datagrams, ports["racks"], [sflow(n % 7, n) for n in range(total, total + 70)])
        await until(lambda: len(log.rows()) >= total + 70, "and what is new")
        return log

    assert run(first, spilling(tmp_path)).rows() == []
    log = run(second, spilling(tmp_path))

    for place, stamps in log.stamps.items():
        repeats = Repeats()
        assert all(repeats.take(stamp) for stamp in stamps), place
    assert numbers_by_agent(log.rows()) == {agent: list(range(agent, total + 70, 7)) for agent in range(7)}
    assert log.loss_rows()["racks", "127.0.0.1", "received"] == total + 70


def test_what_is_on_disk_of_a_link_that_is_not_configured_any_more_is_sent(tmp_path):
    async def first(collector, log, ports):
        await fill_up(collector, log, ports, 3000, 500)
        await collector.finish(flush_s=0.05)

    async def second(collector, log, ports):
        collector.report()
        await until(lambda: not collector.spill.size_bytes, "the earlier run is sent")
        collector.report()
        return log

    config = spilling(tmp_path)
    run(first, config)
    others = [link.model_copy(update={"name": f"new-{link.name}"}) for link in config.links]
    log = run(second, config.model_copy(update={"links": others}))

    assert len(log.rows("racks")) == 3000
    assert {"new-racks", "new-sat"} <= {link for link, _, _ in log.loss_rows()}


def test_a_stream_goes_on_behind_what_is_on_disk_of_it(tmp_path):
    async def send(collector, ports, numbers: range):
        _, writer = await asyncio.open_connection("127.0.0.1", ports["sat"])
        writer.write(b"".join(packet(number, 1000) for number in numbers))
        await writer.drain()
        await until(lambda: collector.losses.total("received") == len(numbers), "all packets read")
        writer.close()

    async def first(collector, log, ports):
        log.gate.clear()
        await send(collector, ports, range(300))
        await collector.finish(flush_s=0.05)
        return log

    async def second(collector, log, ports):
        await send(collector, ports, range(300, 340))
        await until(lambda: len(log.rows("sat")) >= 340, "what was on disk, and what is new")
        return log

    config = spilling(tmp_path)
    assert run(first, config).rows() == []
    rows = run(second, config).rows("sat")

    assert [struct.unpack(">I", row["frame"][6:10])[0] for row in rows] == list(range(340))


def test_reports_that_overtake_a_failing_disk_make_no_frame_a_repeat(tmp_path):
    async def scenario(collector, log, ports):
        await fill_up(collector, log, ports, 3000, 500)
        assert collector.spill.unread
        append = collector.spill.append
        collector.spill.append = lambda *_, **__: False
        collector.report()
        collector.spill.append = append
        log.gate.set()
        await until(lambda: not collector.spill.size_bytes and not collector.intake.held_bytes, "Kafka took everything")
        return log

    log = run(scenario, spilling(tmp_path))

    for place, stamps in log.stamps.items():
        repeats = Repeats()
        assert all(repeats.take(stamp) for stamp in stamps), place
    assert len(log.rows()) == 3000
    assert log.loss_rows()["racks", "127.0.0.1", "received"] == 3000


def test_a_full_disk_queue_sheds_and_counts_and_the_rest_arrives(tmp_path):
    total = 5000

    async def scenario(collector, log, ports):
        highest = await fill_up(collector, log, ports, total, 500)
        assert collector.spill.size_bytes <= 300_000
        log.gate.set()
        await until(lambda: not collector.spill.size_bytes and not collector.intake.held_bytes, "Kafka took the rest")
        return highest, collector.losses.total("buffer_full"), log

    # Random octets, which no compression makes smaller, are not needed: the limit is low enough.
    highest, shed, log = run(scenario, spilling(tmp_path, spill="60KB"))

    assert highest <= 2_000_000
    assert shed > 0
    assert len(log.rows()) + shed == total
    for numbers in numbers_by_agent(log.rows()).values():
        assert numbers == sorted(numbers)


def test_kafka_may_come_later_and_readiness_says_so():
    async def play():
        telemetry, tries, log = Telemetry("collect"), [], Log()

        async def connect():
            tries.append(telemetry.readiness())
            if len(tries) < 4:
                raise ConnectionRefusedError("nobody there")
            return log

        async def no_pause(_seconds):
            await asyncio.sleep(0)

        delivery = Delivery(connect, lambda parcel: None, pytest.fail, telemetry, sleep=no_pause)
        batches = Batches("racks", "cadu", 1)
        batches.add([b"x"], "s", 1, 0)
        [(partition, memory, batch)] = batches.seal(0, everything=True)
        delivery.put(Parcel(Lane("racks", "t"), partition, pa.record_batch(batch), memory))
        assert await delivery.finish(WAIT_S) == []
        return tries, telemetry.readiness(), log

    tries, readiness, log = asyncio.run(play())
    assert tries[3] == {"kafka": "attempt 3: nobody there"}
    assert readiness == {}
    assert len(log.rows()) == 1


def test_what_waiting_for_kafka_cannot_mend_ends_the_role_at_once_and_what_it_held_is_counted():
    async def connect():
        raise ConfigError("[kafka] partitions = 8, but the topic 'frames.rack' has 4")

    async def play():
        collector = Collector(configuration(), Telemetry("collect"), connect)
        await collector.start()
        ports = {name: address.port for name, address in collector.listening().items()}
        send_datagrams(ports["racks"], [sflow(1, n) for n in range(9)])
        await until(lambda: collector.losses.total("received") == 9, "arrived")
        with pytest.raises(ConfigError, match="has 4"):
            await asyncio.wait_for(collector.run(asyncio.Event()), WAIT_S)
        await collector.finish()
        return collector.losses.total("shutdown")

    assert asyncio.run(play()) >= 9


def test_a_partition_that_can_send_nothing_any_more_is_told():
    def done(parcel):
        raise RuntimeError("a fault of ours")

    async def play():
        failures = []
        delivery = Delivery(Log().connect, done, failures.append, Telemetry("collect"))
        batches = Batches("racks", "cadu", 1)
        [(partition, memory, batch)] = batches.add([b"x"], "s", 1, 0) or batches.seal(0, everything=True)
        delivery.put(Parcel(Lane("racks", "t"), partition, pa.record_batch(batch), memory))
        await until(lambda: failures, "told")
        await delivery.finish(WAIT_S)
        return failures

    assert [str(failure) for failure in asyncio.run(play())] == ["a fault of ours"]


def test_what_cannot_be_sent_at_the_end_is_counted():
    async def scenario(collector, log, ports):
        log.gate.clear()
        send_datagrams(ports["racks"], [sflow(1, n) for n in range(9)])
        await until(lambda: collector.losses.total("received") == 9, "arrived")
        lost = await collector.finish(flush_s=0.05)
        return lost - 1, collector.losses.total("shutdown") - 1     # but for the report itself

    lost, counted = run(scenario, configuration())
    assert lost == counted
    assert lost >= 9


def test_shed_batches_are_counted_by_sender():
    losses = Losses(Telemetry("collect"))
    losses.add_link("racks")
    intake = Intake(1, lambda parcel: None, losses)
    batches = Batches("racks", "cadu", 1)
    batches.add([b"x"] * 3, "10.0.0.1", 1, 0)
    batches.add([b"x"] * 4, "10.0.0.2", 1, 0)
    intake.offer(Lane("racks", "t"), batches.seal(0, everything=True))

    rows = {
        (sample["entity"], sample["metric"]): sample["value"]
        for _, _, frames in losses.report(5, 8)
        for sample in decode(frames["frame"][0].as_py()).to_pylist()
    }
    assert rows == {("10.0.0.1", "shed"): 3, ("10.0.0.2", "shed"): 4, ("collector/racks", "kernel_drops"): 0}
    assert [frames.schema for _, _, frames in losses.report(6, 8)] == [FRAMES]


def test_a_report_of_a_spoofed_flood_fits_into_messages_of_any_topic():
    generator = random.Random(7)
    losses = Losses(Telemetry("collect"))
    losses.add_link("racks")
    addresses = [str(ipaddress.IPv6Address(generator.getrandbits(128))) for _ in range(30_000)]
    losses.received("racks", [(address, True, 1, 100, 0, generator.getrandbits(40)) for address in addresses])
    report = [frames for _, _, frames in losses.report(5, 1)]
    assert max(len(encode(frames)) for frames in report) < 1_000_000
    samples = [sample for frames in report for sample in decode(frames["frame"][0].as_py()).to_pylist()]
    assert Counter(sample["metric"] for sample in samples) == {"received": 30_000, "clock_skew": 30_000, "kernel_drops": 1}


def test_split_gives_the_partitions_of_a_collector():
    generator = random.Random(9)
    frames = [sflow(generator.randrange(50), n) for n in range(500)]
    columns = [list(range(500)), ["127.0.0.1"] * 500, ["racks"] * 500, ["sflow"] * 500, frames]
    batch = pa.record_batch([pa.array(c, field.type) for c, field in zip(columns, FRAMES, strict=True)], FRAMES)
    for part in (batch, batch.slice(37, 300), batch.slice(0, 0)):
        found = split(part, 8)
        assert [partition for partition, _ in found] == sorted({partition for partition, _ in found})
        assert sum(each.num_rows for _, each in found) == part.num_rows
        for partition, each in found:
            assert each["received_ns"].to_pylist() == sorted(each["received_ns"].to_pylist())
            for frame in each["frame"].to_pylist():
                assert partition_of(source_key("sflow", "racks", "127.0.0.1", frame), 8) == partition


def collect_process(tmp_path, text: str) -> subprocess.Popen:
    file = tmp_path / "orbitrack.toml"
    file.write_text(text)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "streams.cli", "collect", "--config", str(file)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_command_says_in_one_breath_that_a_port_is_used(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"udp://127.0.0.1:{taken.getsockname()[1]}"
        process = collect_process(tmp_path, (
            '[metrics.listen]\ncollect = "127.0.0.1:0"\n'
            f'[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "{address}"\n'
        ))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "Traceback" not in errors
    assert errors.count("\n") <= 3
    assert f"link 'racks': listen = '{address}': the port is used by another process" in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_command_without_kafka_waits_and_ends_cleanly_on_a_signal(tmp_path, number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{free.getsockname()[1]}"
        process = collect_process(tmp_path, (
            f'[kafka]\nbootstrap = "{bootstrap}"\n[metrics.listen]\ncollect = "127.0.0.1:0"\n'
            '[[link]]\nname = "racks"\ncodec = "sflow"\nlisten = "udp://127.0.0.1:0"\n'
        ))
        assert process.stderr is not None
        lines = []
        deadline = time.monotonic() + 60
        for line in process.stderr:
            lines.append(line)
            if "waiting for Kafka (attempt 1" in line or time.monotonic() > deadline:
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert any("listening on udp://127.0.0.1:" in line for line in lines), lines
    assert process.returncode == 0, errors
    assert "ended: 0 received" in errors
