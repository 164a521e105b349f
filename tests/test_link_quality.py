"""What a link says about itself: every measure of a channel beside a count made another way, on real packets and frames."""

from __future__ import annotations

import csv
import random
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from framecodec.coding import ReedSolomon
from framecodec.frame_rows import METRICS as FRAME_METRICS
from framecodec.packet_rows import METRICS as PACKET_METRICS
from streams.config import Link
from streams.decode import Decoded, open_decoder
from tests import satellite
from tests.conftest import testdata
from tests.oracle import frames as oracle
from tests.oracle.coding import crc16

ZONE_BYTES = 884
DAY_NS = 86_400 * 10**9
# CCSDS 301.0-B: the epoch of CDS, 1958-01-01, in Unix time.
CDS_EPOCH_NS = -4383 * DAY_NS


def link(**keys: Any) -> Link:
    return Link.model_validate({"name": "link", **keys}, context={"base": Path.cwd(), "environ": {}})


def jpss_link(**keys: Any) -> Link:
    return link(definition=str(testdata("packets", "jpss1", "geolocation.xtce.xml")), spacecraft="JPSS-1", **keys)


def jpss_packets(count: int) -> list[bytes]:
    data = testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()
    return [data[at : at + 71] for at in range(0, count * 71, 71)]


def onboard_ns(packet: bytes) -> int:
    """The CDS time of a JPSS packet, by hand: days, milliseconds, microseconds."""
    days, milliseconds, microseconds = (int.from_bytes(packet[at:end], "big") for at, end in ((6, 8), (8, 12), (12, 14)))
    return CDS_EPOCH_NS + days * DAY_NS + milliseconds * 10**6 + microseconds * 1000


def rows(decoded: Decoded, name: str) -> list[dict[str, Any]]:
    batches = getattr(decoded, name)
    return pa.Table.from_batches(batches).to_pylist() if batches else []


def measures(decoded: Decoded, metric: str) -> list[tuple[str, float]]:
    return [(row["entity"], row["value"]) for row in rows(decoded, "derived") if row["metric"] == metric]


def decoded(link: Link, received: Iterable[tuple[int, bytes]]) -> Decoded:
    return open_decoder(link).decode(satellite.frames([(received_ns, "10.0.0.1", data) for received_ns, data in received]))


def test_delay_is_from_the_packets_own_time_to_the_receipt_of_its_last_frame() -> None:
    packets = jpss_packets(300)
    frames = oracle.aos_frames(packets, ZONE_BYTES + 8, scid=159, vcid=6)
    base_ns = onboard_ns(packets[0])
    received = [base_ns + 700_000_000 + 13_000_000 * index for index in range(len(frames))]
    found = decoded(jpss_link(codec="aos", frame_length=ZONE_BYTES + 8), zip(received, frames, strict=True))
    wanted = []
    for number, packet in enumerate(packets):
        last_frame = ((number + 1) * 71 - 1) // ZONE_BYTES
        wanted.append(("JPSS-1/vc/6", (received[last_frame] - onboard_ns(packet)) / 1e6))
    assert measures(found, "one_way_delay_ms") == wanted
    assert {row["unit"] for row in rows(found, "derived") if row["metric"] == "one_way_delay_ms"} == {"ms"}
    # Onboard, the packets are a second apart; in this recording they all come within 0.3 s.
    assert wanted[0][1] == 700.0
    assert min(value for _, value in wanted) < 0


def test_delay_of_bare_packets_is_the_spacecrafts() -> None:
    packets = jpss_packets(20)
    found = decoded(jpss_link(codec="ccsds-packets"), [(onboard_ns(packet) + 250_000_000, packet) for packet in packets])
    assert measures(found, "one_way_delay_ms") == [("JPSS-1", 250.0)] * 20


@pytest.mark.parametrize("shift_ns", [2 * DAY_NS, -2 * DAY_NS])
def test_a_clock_that_is_not_believed_gives_no_delay(shift_ns: int) -> None:
    packets = jpss_packets(20)
    found = decoded(jpss_link(codec="ccsds-packets"), [(onboard_ns(packet) + shift_ns, packet) for packet in packets])
    assert measures(found, "one_way_delay_ms") == []
    assert len(measures(found, "packets_rx")) == 20


def test_without_a_receive_time_or_an_onboard_time_there_is_no_delay() -> None:
    packets = jpss_packets(5)
    batch = satellite.frames([(None, "file", packet) for packet in packets])
    assert measures(open_decoder(jpss_link(codec="ccsds-packets")).decode(batch), "one_way_delay_ms") == []
    found = decoded(link(codec="ccsds-packets"), [(onboard_ns(packet), packet) for packet in packets])
    assert measures(found, "one_way_delay_ms") == []


def gaps_of(packets: Iterable[bytes]) -> list[int]:
    """The gaps of each APID's sequence counts, one packet after another; the same count again is none."""
    last: dict[int, int] = {}
    gaps = []
    for packet in packets:
        apid, count = int.from_bytes(packet[:2], "big") & 2047, int.from_bytes(packet[2:4], "big") & 16383
        missing = (count - last.get(apid, count - 1) - 1) % 16384
        if missing not in (0, 16383):
            gaps.append(missing)
        last[apid] = count
    return gaps


def test_packet_gaps_are_those_of_their_virtual_channel() -> None:
    rng = random.Random(41)
    packets = jpss_packets(400)
    streams = {6: packets[:250], 9: packets[250:]}
    kept = {vcid: [packet for packet in stream if rng.random() > 0.1] for vcid, stream in streams.items()}
    frames = [frame for vcid, stream in kept.items() for frame in oracle.aos_frames(stream, 200, scid=159, vcid=vcid)]
    found = decoded(jpss_link(codec="aos", frame_length=200), [(onboard_ns(packets[0]), frame) for frame in frames])
    wanted = [(f"JPSS-1/vc/{vcid}", float(gap)) for vcid, stream in kept.items() for gap in gaps_of(stream)]
    assert measures(found, "packet_gaps") == wanted
    assert len(wanted) > 20
    assert [value for _, value in measures(found, "packets_lost")] == [value for _, value in wanted]
    assert {entity for entity, _ in measures(found, "packets_lost")} == {"JPSS-1"}


def test_mars_2020_by_its_frames_and_packets_counted_by_hand() -> None:
    """Frames, bytes, frames lost, broken frames and packet gaps; APID 2047 is counted like any other."""
    data = testdata("frames", "mars2020_aos_crc_1115.u8").read_bytes()
    frames = [data[at : at + 1115] for at in range(0, len(data), 1115)]
    good = [frame for frame in frames if crc16(frame) == 0]
    counts = [int.from_bytes(frame[2:5], "big") for frame in good]
    losses = [after - before - 1 for before, after in pairwise(counts) if after != before + 1]
    found = decoded(
        link(codec="aos", frame_length=1115, fecf=True, spacecraft="M20"),
        [(1_600_000_000_000_000_000 + index, frame) for index, frame in enumerate(frames)],
    )
    assert measures(found, "frames_rx") == [("M20/vc/0", 1.0)] * len(good)
    assert measures(found, "frame_bytes") == [("M20/vc/0", 1115.0)] * len(good)
    assert measures(found, "frames_lost") == [("M20/vc/0", float(lost)) for lost in losses]
    # Whether bytes are missing before a broken frame, the next ones show: the last one of the recording stays undecided.
    broken = [crc16(frame) != 0 for frame in frames]
    assert (sum(broken), broken[-1]) == (4, True)
    assert measures(found, "fecf_errors") == [("M20/vc/0", 1.0)] * 3
    # The packets that did not go through a gap, by hand: a new beginning at the first header pointer.
    packets, held, expected = [], b"", None
    for frame, count in zip(good, counts, strict=True):
        zone, pointer = frame[8:-2], int.from_bytes(frame[6:8], "big") & 0x7FF
        if count != expected:
            held, zone = b"", zone[pointer:] if pointer != 0x7FF else b""
        held, expected = held + zone, count + 1
        while len(held) >= 6 and len(held) >= (size := int.from_bytes(held[4:6], "big") + 7):
            packets.append(held[:size])
            held = held[size:]
    assert measures(found, "packet_gaps") == [("M20/vc/0", float(gap)) for gap in gaps_of(packets)]
    assert len(gaps_of(packets)) == 7


def test_corrected_symbols_and_uncorrectable_frames_of_cadus() -> None:
    rng = random.Random(42)
    code = ReedSolomon(32, 4, "dual")
    cadus, corrected = [], []
    for index, frame in enumerate(oracle.aos_frames(jpss_packets(200), 892, scid=159, vcid=6)):
        errors = 0 if index % 3 == 0 else 17 if index == 4 else rng.randrange(1, 17)
        cadu = bytearray(oracle.cadu(code.encode(frame)))
        for place in rng.sample(range(255), errors):
            cadu[4 + 4 * place + 1] ^= rng.randrange(1, 256)
        cadus.append(bytes(cadu))
        if 0 < errors < 17:
            corrected.append(float(errors))
    found = decoded(jpss_link(codec="cadu", interleave=4), [(onboard_ns(jpss_packets(1)[0]), cadu) for cadu in cadus])
    assert measures(found, "corrected_symbols") == [("JPSS-1/vc/6", value) for value in corrected]
    assert measures(found, "rs_uncorrectable") == [("JPSS-1", 1.0)]
    assert measures(found, "frames_lost") == [("JPSS-1/vc/6", 1.0)]


def test_gaps_of_the_master_channel_are_the_spacecrafts() -> None:
    """Frames of two channels by turns: what is missing in one is missing in the master channel, 132.0-B 4.1.2.5."""
    one, two = (oracle.tm_frames(jpss_packets(60), 200, scid=159, vcid=vcid) for vcid in (1, 2))
    frames = [frame for pair in zip(one, two, strict=True) for frame in pair]
    counted = [frame[:2] + bytes([index & 255]) + frame[3:] for index, frame in enumerate(frames)]
    del counted[9], counted[20:23]
    tm = jpss_link(codec="tm", frame_length=200, fecf=False)
    found = decoded(tm, [(onboard_ns(jpss_packets(1)[0]), frame) for frame in counted])
    assert measures(found, "master_frames_lost") == [("JPSS-1", 1.0), ("JPSS-1", 3.0)]
    lost = Counter(entity for entity, value in measures(found, "frames_lost") for _ in range(int(value)))
    assert sum(lost.values()) == 4
    assert set(lost) == {"JPSS-1/vc/1", "JPSS-1/vc/2"}


def test_raw_samples_are_what_the_instruments_own_ground_equipment_read() -> None:
    """Those of parameters with a calibrator; all other samples are as without them."""
    keys = {"codec": "ccsds-packets", "definition": str(testdata("packets", "imap_hit", "hit.xtce.xml")), "spacecraft": "HIT"}
    data = testdata("packets", "imap_hit", "hk.ccsds").read_bytes()
    plain = rows(decoded(link(**keys), [(1_700_000_000_000_000_000, data)]), "samples")
    found = rows(decoded(link(**keys, raw=True), [(1_700_000_000_000_000_000, data)]), "samples")
    raw = [row for row in found if row["metric"].endswith("/raw")]
    assert [row for row in found if not row["metric"].endswith("/raw")] == plain
    assert {row["unit"] for row in raw} == {None}
    by_metric: dict[str, list[float]] = {}
    for row in raw:
        by_metric.setdefault(row["metric"].removesuffix("/raw"), []).append(row["value"])
    with testdata("packets", "imap_hit", "hk_expected_raw.csv").open() as lines:
        expected = list(csv.DictReader(lines))
    checked = 0
    for metric, values in by_metric.items():
        column = [float(line[metric.rpartition(".")[2]]) for line in expected]
        assert Counter(column) - Counter(values) == Counter(), metric
        assert len(values) - len(column) <= 1, metric             # the export lacks one packet
        checked += 1
    assert checked >= 10
    calibrated = {row["metric"] for row in plain} & set(by_metric)
    assert calibrated == set(by_metric)


def test_docs_name_every_measure() -> None:
    page = (Path(__file__).parents[1] / "docs" / "frames.md").read_text()
    names = [name for name, _ in FRAME_METRICS] + list(PACKET_METRICS)
    assert [name for name in names if f"`{name}`" not in page] == []
