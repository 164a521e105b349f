"""Transfer frames through `orbitrack decode` and through the worker's decoders: packets in frames are packets."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from framecodec.coding import ReedSolomon
from streams.cli import main
from streams.config import Link
from streams.decode import Decoded, open_decoder
from streams.errors import ConfigError
from tests import satellite
from tests.capture_files import ethernet, ip, pcap, udp
from tests.conftest import testdata
from tests.oracle import frames as oracle

FRAME_LINE = ["type", "offset", "scid", "vcid", "frame_count", "lost_before", "fecf", "corrected_symbols"]
START_NS = 1_790_000_000_000_000_000


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["decode", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def lines(*arguments: object) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("--format", "jsonl", *arguments).stdout.splitlines()]


def jpss_packets(count: int) -> list[bytes]:
    data = testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()
    return [data[at : at + 71] for at in range(0, count * 71, 71)]


def cadus(packets: list[bytes]) -> bytes:
    code = ReedSolomon(32, 4, "dual")
    return b"".join(oracle.cadu(code.encode(frame)) for frame in oracle.aos_frames(packets, 892, scid=159, vcid=6))


def test_a_cadu_file_gives_frames_packets_and_a_summary() -> None:
    found = lines("--codec", "cadu", "--interleave", 4, "--summary", testdata("cadu", "snpp_viirs_cadu.dat"))
    frames = [line for line in found if line["type"] == "frame"]
    packets = [line for line in found if line["type"] == "packet"]
    assert list(frames[0]) == FRAME_LINE
    assert len(frames) == 65
    assert [(line["apid"], line["size_bytes"]) for line in packets[:2]] == [(802, 3006), (803, 180)]
    assert all(line["offset"] % 1024 == 0 for line in packets)
    assert found[-1] == {
        "type": "summary", "input_bytes": 66_560, "frames": 65, "rejects": {"partial_packet": 3},
        "links": [{
            "scid": 157, "vcid": 16, "frames": 65, "lost_frames": 1, "packets": 12, "packet_bytes": 53_098, "sequence_gaps": 1,
            "apids": {"802": 1, "803": 11},
        }],
    }


def test_mars_2020_sends_text_in_the_idle_apid_and_four_broken_frames() -> None:
    file = testdata("frames", "mars2020_aos_crc_1115.u8")
    found = lines("--codec", "aos", "--frame-length", 1115, "--fecf", "--summary", file)
    assert sum(line["type"] == "frame" and line["fecf"] == "bad" for line in found) == 4
    assert found[-1]["links"][0]["apids"] == {"2047": 741, "9": 58, "247": 14}
    assert found[-1]["links"][0]["sequence_gaps"] == 7       # 4 of them in APID 2047, counted like any other
    found = lines("--codec", "aos", "--frame-length", 1115, "--no-idle", "--emit", "packet", "--summary", file)
    assert len(found) - 1 == 58 + 14
    assert found[-1]["links"][0]["apids"]["2047"] == 741


def test_packets_in_cadus_have_the_values_of_packets_in_a_file(tmp_path: Path) -> None:
    definition = testdata("packets", "jpss1", "geolocation.xtce.xml")
    packets = jpss_packets(200)
    (tmp_path / "packets").write_bytes(b"".join(packets))
    (tmp_path / "cadus").write_bytes(cadus(packets))
    wanted = lines("--codec", "ccsds-packets", "--definition", definition, tmp_path / "packets")
    found = lines("--codec", "cadu", "--interleave", 4, "--definition", definition, "--emit", "packet", tmp_path / "cadus")
    assert [line["values"] for line in found[:200]] == [line["values"] for line in wanted]
    assert {(line["scid"], line["vcid"]) for line in found} == {(159, 6)}


def test_raw_writes_packets_or_frames_back_to_back(tmp_path: Path) -> None:
    packets = jpss_packets(50)
    (tmp_path / "cadus").write_bytes(cadus(packets))
    link = ["--codec", "cadu", "--interleave", 4, "--no-idle", "--format", "raw", tmp_path / "cadus"]
    run(*link, "--emit", "packet", "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"".join(packets)
    run(*link, "--emit", "frame", "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"".join(oracle.aos_frames(packets, 892, scid=159, vcid=6))


def test_frames_in_datagrams_have_their_place_in_the_capture(tmp_path: Path) -> None:
    frames = oracle.tm_frames(jpss_packets(30), 200)
    capture = tmp_path / "tm.pcap"
    capture.write_bytes(pcap([(START_NS + index, ethernet(ip(udp(frame)))) for index, frame in enumerate(frames)]))
    found = lines("--codec", "tm", "--frame-length", 200, "--summary", capture)
    data = capture.read_bytes()
    placed = [line for line in found if line["type"] == "frame"]
    assert [data[line["offset"] : line["offset"] + 200] for line in placed] == frames
    assert found[-1]["links"][0]["apids"]["11"] == 30


def test_cadus_may_be_cut_over_datagrams(tmp_path: Path) -> None:
    data = cadus(jpss_packets(100))
    pieces = [data[at : at + 700] for at in range(0, len(data), 700)]
    capture = tmp_path / "cadu.pcap"
    capture.write_bytes(pcap([(START_NS + index, ethernet(ip(udp(piece)))) for index, piece in enumerate(pieces)]))
    found = lines("--codec", "cadu", "--interleave", 4, "--summary", capture)
    assert found[-1]["links"][0]["apids"]["11"] == 100
    assert found[-1]["rejects"] == {}


def test_header_check_and_uncounted_channels_are_options(tmp_path: Path) -> None:
    packets = jpss_packets(30)
    frames = oracle.aos_frames(packets, 200, vcid=6, has_header_check=True)
    damaged = [bytes([frame[0] ^ 0x40]) + frame[1:2] + b"\0\0\x07" + frame[5:] for frame in frames]
    (tmp_path / "frames").write_bytes(b"".join(damaged))
    options = ["--codec", "aos", "--frame-length", 200, "--no-fecf", "--header-check", "--summary", tmp_path / "frames"]
    found = lines(*options, "--uncounted", 6)[-1]
    assert found["rejects"] == {}
    assert (found["links"][0]["vcid"], found["links"][0]["lost_frames"], found["links"][0]["apids"]["11"]) == (6, 0, 30)
    assert "--uncounted" in run(*options, "--uncounted", 64, status=2).output
    wrong = ["--codec", "tm", "--frame-length", 200, "--header-check", tmp_path / "frames"]
    assert "tm frames of 200 bytes have no header error control; AOS frames can have it" in run(*wrong, status=2).output


def test_options_that_do_not_fit_end_with_status_2_and_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0" * 2000)
    result = run("--codec", "cadu", "--frame-length", 892, tmp_path / "file", status=2)
    assert "892 bytes are not 1 equal parts of 1 to 223 bytes; interleave 4 would do" in result.output
    assert "frame_length must be given" in run("--codec", "cadu", "--rs", "none", tmp_path / "file", status=2).output
    assert "--frame-length" in run("--codec", "aos", tmp_path / "file", status=2).output


# -- as the worker does it -------------------------------------------------------------------------------------------------
def worker_link(**keys: Any) -> Link:
    definition = testdata("packets", "jpss1", "geolocation.xtce.xml")
    given = {"name": "jpss1", "definition": str(definition), "spacecraft": "JPSS-1", **keys}
    return Link.model_validate(given, context={"base": Path.cwd(), "environ": {}})


def rows(decoded: Decoded) -> dict[str, list[dict[str, Any]]]:
    return {name: pa.Table.from_batches(getattr(decoded, name)).to_pylist() if getattr(decoded, name) else []
            for name in ("samples", "derived", "rejects")}


def batches(data: bytes, rng: random.Random, size_max: int) -> list[pa.RecordBatch]:
    """The bytes as a TCP collector hands them on: pieces of any size, some to a batch, one receive time for all."""
    pieces = []
    while data:
        size = rng.randint(1, size_max)
        pieces.append((START_NS, "10.0.0.1", data[:size]))
        data = data[size:]
    return [satellite.frames(pieces[at : at + 5]) for at in range(0, len(pieces), 5)]


@pytest.mark.parametrize("codec", ["cadu", "aos", "tm", "uslp"])
def test_samples_of_packets_in_frames_equal_those_of_packets(codec: str) -> None:
    rng = random.Random(31)
    packets = jpss_packets(300)
    keys: dict[str, Any] = {}
    if codec == "cadu":
        keys, data = {"interleave": 4}, cadus(packets)
    elif codec == "uslp":
        # A frame is believed when the next one begins.
        data = b"".join(oracle.uslp_frames(packets, 300, fecf=2)) + b"\xc0"
    else:
        make = oracle.aos_frames if codec == "aos" else oracle.tm_frames
        keys, data = {"frame_length": 300}, b"".join(make(packets, 300))
    wanted = rows(open_decoder(worker_link(codec="ccsds-packets")).decode(
        satellite.frames([(START_NS, "10.0.0.1", packet) for packet in packets])
    ))
    link = worker_link(codec=codec, **keys)
    total = Decoded()
    decoder = open_decoder(link)
    for batch in batches(data, rng, 5000):
        total.extend(decoder.decode(batch))
        state = decoder.snapshot()                   # a kill and a take-over after every batch
        decoder = open_decoder(link)
        decoder.restore(state)
        assert decoder.snapshot() == state
    found = rows(total)
    assert found["samples"] == wanted["samples"]
    assert len(found["samples"]) > 300
    quality = {row["metric"] for row in found["derived"] if row["entity"].startswith("JPSS-1/vc/")}
    assert quality == {"frames_rx", "frame_bytes"}
    assert found["rejects"] == []


def test_foreign_bytes_before_each_packet_are_passed_over() -> None:
    packets = jpss_packets(40)
    wanted = rows(open_decoder(worker_link(codec="ccsds-packets")).decode(
        satellite.frames([(START_NS, "10.0.0.1", packet) for packet in packets])
    ))
    decoder = open_decoder(worker_link(codec="ccsds-packets", record_header=4))
    found = rows(decoder.decode(satellite.frames([(START_NS, "10.0.0.1", b"HEAD" + packet) for packet in packets])))
    assert found["samples"] == wanted["samples"]
    assert found["rejects"] == []


def test_a_link_that_cannot_be_decoded_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="link 'jpss1': 895 bytes are not 4 equal parts"):
        open_decoder(worker_link(codec="cadu", interleave=4, frame_length=895))
