"""The made-up fleet: the same from the same seed, what it says it sent is what arrives, and it decodes as what it is."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import json
import math
import random
import socket
import struct
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from framecodec.plan import Plan
from framecodec.sflow import SflowDecoder
from streams import definitions
from streams.addresses import Address
from streams.cli.simulate import simulate
from streams.clock import NS, wall_clock_ns
from streams.model import FRAMES
from streams.simulate import STEP_NS, Faults, Fleet, Size, agent_address
from tests.processes import REPOSITORY, environment

START_NS = 1_790_000_000_000_000_000
NONE = Faults()
MANY = Faults(loss=0.05, duplication=0.04, reordering=0.06, corruption=0.05)
MANY_IN_A_STREAM = Faults(loss=0.05, corruption=0.05)


def fleet(
    seed: int = 1, faults: Faults = NONE, stream_faults: Faults = NONE, step_ns: int = STEP_NS, **size: float
) -> Fleet:
    sizes = Size(**{"racks": 7, "satellites": 3} | size)
    return Fleet(sizes, seed, START_NS, rack_faults=faults, satellite_faults=stream_faults, step_ns=step_ns)


def everything(fleet: Fleet, seconds: float) -> tuple[list[bytes], list[list[bytes]]]:
    racks, satellites = fleet.advance(START_NS + round(seconds * NS))
    last = fleet.finish()
    datagrams = [racks.frame(row) for row in range(len(racks))] + [last.frame(row) for row in range(len(last))]
    return datagrams, [[each.frame(row) for row in range(len(each))] for each in satellites]


def decode_sflow(batches: Iterable[pa.RecordBatch]) -> dict[str, pa.Table]:
    """All `flows`, `samples` and `rejects`."""
    decoder, found = SflowDecoder(derive=False), defaultdict(list)
    for batch in batches:
        decoded = decoder.decode(batch)
        for kind in ("flows", "samples", "rejects"):
            found[kind] += [pa.record_batch(each) for each in getattr(decoded, kind)]
    return {kind: pa.Table.from_batches(each).combine_chunks() for kind, each in found.items() if each}


def count(table: pa.Table, column: str) -> Counter:
    return Counter({each["values"]: each["counts"] for each in pc.value_counts(table[column].cast(pa.utf8())).to_pylist()})


def test_same_seed_makes_the_same_bytes_however_it_is_called():
    at_once = everything(fleet(seed=5, faults=MANY, stream_faults=MANY_IN_A_STREAM), 20)

    pieces = fleet(seed=5, faults=MANY, stream_faults=MANY_IN_A_STREAM)
    generator = random.Random(5)
    racks, satellites, now_s = [], [[], [], []], 0.0
    while now_s < 20:
        now_s = min(20, now_s + generator.random())
        datagrams, packets = pieces.advance(START_NS + round(now_s * NS))
        racks += [datagrams.frame(row) for row in range(len(datagrams))]
        for stream, each in zip(satellites, packets, strict=True):
            stream += [each.frame(row) for row in range(len(each))]
    last = pieces.finish()
    racks += [last.frame(row) for row in range(len(last))]

    assert (racks, satellites) == at_once
    assert everything(fleet(seed=6, faults=MANY), 20)[0] != at_once[0]


def test_after_a_pause_it_goes_on_as_if_no_time_had_passed():
    whole = everything(fleet(seed=5), 20)

    first = fleet(seed=5)
    racks, satellites = everything(first, 7)
    pause_ns = 3600 * NS
    later = Fleet(first.size, 5, START_NS + pause_ns, rack_faults=NONE, satellite_faults=NONE, steps=first.steps)
    assert later.begin_ns == START_NS + pause_ns + 7 * NS
    datagrams, packets = later.advance(START_NS + pause_ns + 20 * NS)
    racks += [datagrams.frame(row) for row in range(len(datagrams))]
    assert racks == whole[0]                                       # sFlow has the uptime, which stood still too
    for stream, part, expected in zip(satellites, packets, whole[1], strict=True):
        stream += [part.frame(row) for row in range(len(part))]
        assert [frame[:6] for frame in stream] == [frame[:6] for frame in expected]         # their times differ
        assert len(stream) > 150


def orbitrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", *arguments]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=60, check=False)


def test_runs_with_the_same_resume_file_leave_no_gap(tmp_path):
    """Three short runs of the command, one after another; the receiver sees one run of sequence numbers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        target = f"127.0.0.1:{receiver.getsockname()[1]}"
        command = ["simulate", "--racks", "2", "--satellites", "0", "--faults", "0", "--rate", "5", "--to-udp", target]
        command += ["--duration", "500ms", "--resume", str(tmp_path / "fleet.json")]
        seen = defaultdict(list)
        for _ in range(3):
            assert orbitrack(*command).returncode == 0
            with contextlib.suppress(BlockingIOError):
                while datagram := receiver.recv(65536):
                    agent, _, sequence = struct.unpack_from(">III", datagram, 8)
                    seen[agent].append(sequence)
    assert len(seen) == 2
    assert all(numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 10 for numbers in seen.values()), seen

    other = orbitrack(*command, "--seed", "2")
    assert other.returncode == 2
    assert "kept by another fleet, of --seed 1\n  hint: leave --seed out, and it goes on; or remove the file" in other.stderr
    position = command.index("--racks")
    kept = json.loads((tmp_path / "fleet.json").read_text())
    usual = [*command[:position], *command[position + 2:]]  # without --racks: not the usual 20, but those that are kept
    usual = [word for word in usual if word not in ("--rate", "5")]
    assert orbitrack(*usual).returncode == 0
    again = json.loads((tmp_path / "fleet.json").read_text())
    assert (again["size"], again["steps"] > kept["steps"]) == (kept["size"], True)


def test_an_address_that_cannot_be_reached_and_an_account_that_cannot_be_written_are_said(tmp_path):
    fleet = ("simulate", "--racks", "1", "--satellites", "0", "--duration", "200ms")
    nowhere = orbitrack(*fleet, "--to-udp", "[fe80::1]:9")                  # of which link is not said
    assert (nowhere.returncode, nowhere.stderr) == (3, "[fe80::1]:9: Invalid argument\n")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        file = tmp_path / "nowhere" / "account.json"
        unwritten = orbitrack(*fleet, "--to-udp", f"127.0.0.1:{receiver.getsockname()[1]}", "--account", str(file))
    assert (unwritten.returncode, unwritten.stderr) == (2, f"--account {file}: cannot be written: No such file or directory\n")


def test_account_adds_up():
    made = fleet(seed=2, faults=MANY, stream_faults=MANY_IN_A_STREAM, racks=30)
    datagrams, satellites = everything(made, 60)
    for name, account, frames in zip(made.account, made.account.values(), [datagrams, *satellites], strict=True):
        assert account.made + account.duplicated == account.lost + account.sent, name
        assert account.sent == len(frames) == sum(account.by_source.values())
        assert account.sent_bytes == sum(map(len, frames))
    racks = made.account["racks"]
    assert min(racks.lost, racks.duplicated, racks.reordered, racks.corrupted["cut"], racks.corrupted["wrong_version"]) > 50
    assert json.loads(json.dumps(racks.as_dict()))["sent"] == racks.sent


def test_racks_send_what_the_specification_says():
    """Read back by hand, with the offsets of the specification."""
    made = fleet(racks=3, satellites=0)
    datagrams, _ = everything(made, 10)
    sequences = defaultdict(list)
    for datagram in datagrams:
        version, kind, agent, sub_agent, sequence, _, samples = struct.unpack_from(">IIIIIII", datagram)
        assert (version, kind, sub_agent) == (5, 1, 0)
        sequences[agent].append(sequence)
        at = 28
        for _ in range(samples):
            sample_format, length = struct.unpack_from(">II", datagram, at)
            if sample_format == 1:
                frame_bytes, _, header_bytes = struct.unpack_from(">III", datagram, at + 52)
                header = datagram[at + 64 : at + 64 + header_bytes]
                check_ethernet(header, frame_bytes - 4)
            at += 8 + length
        assert at == len(datagram)
    assert sorted(sequences) == [int(ipaddress.ip_address(agent_address(rack))) for rack in (1, 2, 3)]
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in sequences.values())


def check_ethernet(header: bytes, frame_bytes: int) -> None:
    ethertype, at = struct.unpack_from(">H", header, 12)[0], 14
    if ethertype == 0x8100:
        ethertype, at = struct.unpack_from(">H", header, 16)[0], 18
    if ethertype == 0x0800:
        words = struct.unpack_from(">10H", header, at)
        total = sum(words)
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF              # RFC 1071: a valid checksum sums to all ones
        assert words[1] == frame_bytes - at
        protocol, at = header[at + 9], at + 20
    else:
        assert ethertype == 0x86DD
        assert struct.unpack_from(">H", header, at + 4)[0] == frame_bytes - at - 40
        protocol, at = header[at + 6], at + 40
    assert protocol in (6, 17)
    if protocol == 17:
        assert struct.unpack_from(">H", header, at + 4)[0] == frame_bytes - at


@pytest.mark.parametrize("faults", [NONE, MANY])
def test_decoded_rows_are_those_of_the_account(faults):
    made = fleet(seed=3, faults=faults, satellites=0)
    rows = decode_sflow([*made.batches(60), made.finish().to_arrow("racks", "sflow", made.racks.names)])
    account = made.account["racks"]
    assert rows["flows"].num_rows == account.records["flow_samples"]
    metrics = count(rows["samples"], "metric")
    assert metrics["if_in_octets"] == metrics["dot3_stats_fcs_errors"] == account.records["counter_samples"]
    rejects = count(rows["rejects"], "reason") if "rejects" in rows else Counter()
    assert rejects == +Counter(truncated=account.corrupted["cut"], unknown_version=account.corrupted["wrong_version"])


def test_flows_are_of_the_kinds_that_were_made():
    flows = decode_sflow(fleet(satellites=0).batches(30))["flows"]
    flows = flows.select(["ethertype", "vlan_id", "protocol", "sampling_rate"]).to_pylist()
    shares = Counter((row["ethertype"], row["vlan_id"] is not None) for row in flows)
    assert set(shares) == {(0x0800, False), (0x0800, True), (0x86DD, False)}
    assert all(share > len(flows) / 6 for share in shares.values())
    assert {row["protocol"] for row in flows} == {6, 17}
    assert {row["sampling_rate"] for row in flows} == {1000}


def counter_series(seconds: float, entity: str, metric: str) -> list[tuple[float, float]]:
    made = fleet(satellites=0, flows_per_s=0, step_ns=10 * NS)
    samples = decode_sflow(made.batches(seconds))["samples"]
    chosen = samples.filter(pc.and_(pc.equal(samples["entity"], entity), pc.equal(samples["metric"], metric)))
    times = chosen["time"].cast(pa.int64()).to_pylist()
    return [((time_ns - START_NS) / NS, value) for time_ns, value in zip(times, chosen["value"].to_pylist(), strict=True)]


def test_counters_never_fall_and_errors_rise_only_during_their_incident():
    octets = [value for _, value in counter_series(120, "192.0.2.1/if/3", "if_in_octets")]
    assert len(octets) == 60
    assert all(later > earlier for earlier, later in itertools.pairwise(octets))

    errors = counter_series(320, "192.0.2.4/if/2", "if_in_errors")
    assert all(value == 0 for time_s, value in errors if time_s < 10)
    assert all(value == math.floor(50 * (time_s - 10)) for time_s, value in errors if 10 <= time_s <= 50)
    assert all(value == 2000 for time_s, value in errors if 50 <= time_s <= 310)
    assert errors[-1][1] > 2000


def test_port_goes_down_and_comes_back():
    series = counter_series(100, "192.0.2.6/if/1", "up")
    assert {value for time_s, value in series if 60 <= time_s < 80} == {0}
    assert {value for time_s, value in series if not 60 <= time_s < 80} == {1}


def test_packets_follow_the_shipped_definition():
    definition = definitions.load(REPOSITORY / "schemas" / "xtce" / "demo.xml")
    _, satellites = everything(fleet(racks=0), 60)
    names = {container.name: index for index, container in enumerate(definition.containers)}
    values = defaultdict(list)
    for index, batch in Plan(definition).decode(satellites[2]):
        values[index] += pa.record_batch(batch)["values"].to_pylist()
    power, attitude, radio = (values[names[name]] for name in ("Power", "Attitude", "Radio"))

    assert (len(power), len(attitude), len(radio)) == (120, 360, 120)
    for packets, size in ((power, 29), (attitude, 44), (radio, 23)):
        assert [packet["sequence_count"] for packet in packets] == list(range(len(packets)))
        assert {packet["data_length"] for packet in packets} == {size - 7}
        times = [
            (packet["day"] - 4383) * 86_400 * 10**6 + packet["millisecond"] * 1000 + packet["microsecond"] for packet in packets
        ]
        assert times == sorted(times)
        assert START_NS // 1000 <= times[0] <= times[-1] < START_NS // 1000 + 60 * 10**6
    assert {packet["mode"] for packet in power} <= {"NOMINAL", "ECLIPSE"}
    assert {packet["lock"] for packet in radio} == {"LOCKED"}
    assert all(abs(sum(packet[q] ** 2 for q in ("q1", "q2", "q3", "q4")) - 1) < 1e-6 for packet in attitude)
    assert all(540 < packet["altitude"] < 560 for packet in attitude)
    assert all(26 < packet["battery_voltage"] < 30 for packet in power)
    # The third of three spacecraft begins two thirds of 100 ms late; power packets are its 3rd, 8th, ...
    assert [packet["battery_temperature"] > 45 for packet in power] == [
        25 <= 0.2667 + number / 2 < 55 for number in range(120)
    ]


def test_burst_loss_leaves_gaps_in_the_sequence_counts():
    made = fleet(racks=0)
    _, satellites = everything(made, 60)
    counts = [struct.unpack_from(">H", packet, 2)[0] & 0x3FFF for packet in satellites[1] if packet[1] == 101]
    gaps = sum((later - earlier - 1) % 16384 for earlier, later in itertools.pairwise(counts))
    assert 0 < gaps <= made.account["SAT-2"].lost
    assert made.account["SAT-2"].lost == 600 - len(satellites[1])
    assert made.account["SAT-1"].lost == 0


def test_garbage_in_a_stream_never_looks_like_a_header():
    made = fleet(racks=0, stream_faults=Faults(corruption=0.3))
    _, satellites = everything(made, 60)
    garbage = [frame for frame in satellites[0] if frame[0] >> 5]
    assert len(garbage) == made.account["SAT-1"].corrupted["garbage"]
    assert sum(map(len, garbage)) == made.account["SAT-1"].corrupted["garbage_bytes"]
    assert all(byte >= 0xE0 for frame in garbage for byte in frame)


def test_batches_are_frames_of_one_link_each():
    for batch in fleet(faults=MANY).batches(5):
        assert batch.schema == FRAMES
        batch.validate(full=True)
        assert len(batch["link"].dictionary) == 1


def test_sockets_carry_what_the_account_says():
    """Over loopback, to plain receivers."""
    seen: dict[str, bytearray] = defaultdict(bytearray)
    datagrams: list[bytes] = []

    class Udp(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            datagrams.append(data)
            assert addr[0].startswith("127.0.1.")

    async def play() -> Fleet:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Udp, ("127.0.0.1", 0))
        done = []

        async def receive(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                seen[name] += data
            writer.close()
            done.append(name)

        servers = []
        for number in range(2):
            name = f"SAT-{number + 1}"
            servers.append(await asyncio.start_server(lambda r, w, name=name: receive(name, r, w), "127.0.0.1", 0))
        made = Fleet(Size(racks=5, satellites=2, packets_per_s=100), 4, wall_clock_ns(), rack_faults=MANY)
        udp = Address("127.0.0.1", transport.get_extra_info("sockname")[1])
        await simulate(made, udp, [Address("127.0.0.1", s.sockets[0].getsockname()[1]) for s in servers], NS, is_terminal=False)
        for _ in range(2000):
            if len(done) == 2 and len(datagrams) == made.account["racks"].sent:
                break
            await asyncio.sleep(0.005)
        transport.close()
        for server in servers:
            server.close()
        return made

    made = asyncio.run(play())
    assert len(datagrams) == made.account["racks"].sent > 0
    for name in ("SAT-1", "SAT-2"):
        assert len(seen[name]) == made.account[name].sent_bytes > 0
        assert made.account[name].unsent == 0
