"""What is given up first, and what last: framecodec.priorities, and the collectors' use of it."""

from __future__ import annotations

import random
import struct

import pyarrow as pa
import pytest

from framecodec.batches import Batches
from framecodec.priorities import Priorities
from streams.collectors.batches import Intake, Lane, Parcel, vital_rows
from streams.collectors.losses import Losses
from streams.model import FRAMES
from streams.telemetry import Telemetry
from tests.racks import counter_sample, flow_sample, raw_header, record, sflow, words

FLOW = flow_sample(record(1, raw_header(b"x" * 64)))
COUNTERS = counter_sample(record(1, words(*[1] * 22)))


def v9(*sets: tuple[int, bytes], domain: int = 1) -> bytes:
    body = b"".join(struct.pack(">HH", number, 4 + len(data)) + data for number, data in sets)
    return struct.pack(">HHIIII", 9, len(sets), 1, 1, 1, domain) + body


def ipfix(*sets: tuple[int, bytes], domain: int = 1) -> bytes:
    body = b"".join(struct.pack(">HH", number, 4 + len(data)) + data for number, data in sets)
    return struct.pack(">HHIII", 10, 16 + len(body), 1, 1, domain) + body


def is_vital(codec: str, *datagrams: bytes, sender: str = "10.0.0.1", priorities: Priorities | None = None) -> list[bool]:
    priorities = priorities or Priorities(codec)
    batches = Batches("racks", codec, 1)
    for datagram in datagrams:
        priorities.note_frame(sender, datagram)
        batches.add([datagram], sender, 1, 0)
    [(_, _, batch)] = batches.seal(0, everything=True)
    found: list[bool] = vital_rows(pa.record_batch(batch), priorities).to_pylist()
    return found


def test_sflow_flow_samples_are_not_vital_and_everything_else_is() -> None:
    datagrams = [sflow(FLOW), sflow(FLOW, FLOW), sflow(COUNTERS), sflow(FLOW, COUNTERS), sflow(FLOW, FLOW, FLOW, COUNTERS)]
    assert is_vital("sflow", *datagrams) == [False, False, True, True, True]


def test_netflow_templates_and_options_are_vital_and_flows_are_not() -> None:
    template = struct.pack(">HHHH", 300, 1, 1, 4)
    v9_options = struct.pack(">HHHHHHH", 301, 4, 4, 1, 4, 34, 4)
    ipfix_options = struct.pack(">HHHHHIHH", 302, 2, 1, 0x8000 | 5, 4, 9, 34, 4) + struct.pack(">HHHHH", 303, 1, 1, 149, 4)
    flows = (300, bytes(40))
    assert is_vital("netflow", v9(flows), v9((0, template)), v9((1, v9_options)), v9(flows, (301, bytes(8))), v9(flows)) == [
        False, True, True, True, False,
    ]
    assert is_vital(
        "netflow", ipfix(flows), ipfix((2, template)), ipfix((3, ipfix_options)), ipfix((302, bytes(8))), ipfix((303, bytes(8)))
    ) == [False, True, True, True, True]
    assert is_vital("netflow", struct.pack(">HH", 5, 1) + bytes(20 + 48)) == [False]


def test_options_are_known_by_sender_and_domain() -> None:
    options = struct.pack(">HHHHHHH", 301, 4, 4, 1, 4, 34, 4)
    priorities = Priorities("netflow")
    priorities.note_frame("10.0.0.1", v9((1, options), domain=7))
    data = (301, bytes(8))
    assert is_vital("netflow", v9(data, domain=7), v9(data, domain=8), priorities=priorities) == [True, False]
    assert is_vital("netflow", v9(data, domain=7), sender="10.0.0.2", priorities=priorities) == [False]


def test_the_codec_rack_tells_both_by_content() -> None:
    template = struct.pack(">HHHH", 300, 1, 1, 4)
    datagrams = [sflow(FLOW), sflow(COUNTERS), v9((300, bytes(40))), v9((0, template))]
    assert is_vital("rack", *datagrams) == [False, True, False, True]


def test_frames_of_other_codecs_are_all_vital() -> None:
    assert is_vital("ccsds-packets", b"", b"x", sflow(FLOW)) == [True] * 3


@pytest.mark.parametrize("codec", ["sflow", "netflow", "rack"])
def test_what_cannot_be_read_is_not_vital_and_harms_nobody(codec: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    generator = random.Random(seed)
    lying_v9, lying_ipfix = struct.pack(">HHH", 301, 65535, 65535), struct.pack(">HHH", 301, 65535, 65535)
    whole = [sflow(COUNTERS, FLOW), v9((1, lying_v9), (0, b"")), ipfix((3, lying_ipfix))]
    cut = [each[:size] for each in whole for size in range(28)]
    assert not any(is_vital("sflow", *cut))
    noise = []
    for _ in range(2000):
        broken = bytearray(generator.choice(whole))
        for _ in range(generator.randrange(1, 6)):
            broken[generator.randrange(4, len(broken))] = generator.randrange(256)
        noise.append(bytes(broken[: generator.randrange(len(broken) + 1)]))
    assert len(is_vital(codec, *noise)) == 2000


def test_flows_are_shed_before_counters_and_counters_before_memory() -> None:
    losses, taken = Losses(Telemetry("collect")), []
    losses.add_link("racks")
    lane = Lane("racks", "t", Priorities("sflow"))
    parcels: list[Parcel] = []
    intake = Intake(400_000, parcels.append, losses)
    for number in range(200):
        batches = Batches("racks", "sflow", 1)
        batches.add([sflow(FLOW)] * 30 + [sflow(COUNTERS)] * 2, f"10.0.0.{number % 3}", 1, 0)
        intake.offer(lane, batches.seal(0, everything=True))
        assert intake.held_bytes <= 400_000
        taken.append((intake.held_bytes, losses.total("buffer_full")))

    first_shed = next(number for number, (_, shed) in enumerate(taken) if shed)
    assert taken[first_shed - 1][0] > 250_000
    assert taken[first_shed][1] == 30                       # the flows of that batch, and not its counters
    assert losses.total("buffer_full") + sum(parcel.batch.num_rows for parcel in parcels) == 200 * 32
    assert {parcel.batch.num_rows for parcel in parcels} == {32, 2}


def test_what_is_kept_of_a_batch_does_not_keep_the_rest_of_it_in_memory() -> None:
    losses, parcels = Losses(Telemetry("collect")), list[Parcel]()
    losses.add_link("racks")
    batches = Batches("racks", "sflow", 1)
    batches.add([sflow(FLOW)] * 300, "10.0.0.1", 1, 0)
    batches.add([sflow(COUNTERS)], "10.0.0.2", 1, 0)
    Intake(40_000, parcels.append, losses).offer(Lane("racks", "t", Priorities("sflow")), batches.seal(0, everything=True))
    [kept] = parcels
    assert kept.batch.schema == FRAMES
    assert kept.batch["frame"].to_pylist() == [sflow(COUNTERS)]
    # A dictionary of the whole batch would hold all of its memory, as Arrow frees what it was handed at once.
    assert kept.batch["source"].dictionary.to_pylist() == ["10.0.0.2"]
