"""`orbitrack inspect` of frames: every bit has one field, fields are what the decoder reads, and what fails is marked."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from framecodec.coding import ReedSolomon
from framecodec.frames import FrameDecoder
from streams.cli import main
from streams.inspect import Report, text_lines
from streams.inspect_frames import FrameLayout, inspect_cadu, inspect_frame
from tests.conftest import testdata
from tests.oracle import frames as oracle
from tests.test_frames import RECORDINGS, shifted

CADU_BYTES = 1024


def run(*arguments: object, status: int = 0) -> list[str]:
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return (result.stdout if status == 0 else result.stderr).splitlines()


def value(report: Report, name: str) -> int:
    return int(next(span.raw for span in report.spans if span.name == name))


def problems(report: Report) -> dict[str, str]:
    return {span.name: span.problem for span in report.spans if span.problem}


def assert_tiled(report: Report) -> None:
    """Every bit of the frame is in exactly one field."""
    spans = sorted((span.bit, span.bit + span.width) for span in report.spans)
    assert spans[0][0] == 0
    assert all(end == start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] == 8 * len(report.data)


@pytest.mark.parametrize("file", RECORDINGS)
def test_fields_of_recorded_frames_are_what_the_decoder_reads(file: str) -> None:
    kind, length, options = RECORDINGS[file]
    decoder = FrameDecoder(kind, length, boundaries="stream", emit=("frames", "payload"), **options)
    out = decoder.decode_bytes(testdata("frames", file).read_bytes()[: 60 * length])
    rows = out.frames[0].to_pylist()
    assert len(rows) >= 55
    for row in rows:
        layout = FrameLayout(0 if row["fecf"] == "absent" else 2, bool(options.get("ocf")) if kind == "aos" else None)
        report = inspect_frame(row["frame"], kind, layout)
        assert_tiled(report)
        names = ("spacecraft id", "virtual channel id", "virtual channel frame count")
        assert [value(report, name) for name in names] == [row["scid"], row["vcid"], row["frame_count"]]
        if row["fecf"] != "bad" and "not_packets" not in file:
            assert problems(report) == {}


def test_packets_of_a_frame_are_shown_one_by_one() -> None:
    packets = [oracle.packet(apid, 7, bytes(size)) for apid, size in ((5, 30), (9, 11), (5, 90))]
    frames = oracle.tm_frames(packets, 90, fecf=2)
    first, second = (inspect_frame(frame, "tm", FrameLayout(fecf_bytes=2)) for frame in frames[:2])
    shown = [(span.name, span.value) for span in first.spans if "packet" in span.name and "flag" not in span.name]
    assert shown[-3:] == [
        ("packet", "APID 5, count 7, 36 bytes"), ("packet", "APID 9, count 7, 17 bytes"),
        ("beginning of a packet", "APID 5, count 7, 96 bytes"),
    ]
    assert ("end of a packet", 67 * 8) in [(span.name, span.width) for span in second.spans]
    assert_tiled(first)
    assert_tiled(second)


@pytest.mark.parametrize("kind", ["tm", "aos", "uslp"])
def test_every_field_of_made_frames_is_placed(kind: str) -> None:
    rng = random.Random(61)
    packets = [oracle.packet(5, count, rng.randbytes(50)) for count in range(12)]
    if kind == "tm":
        frames = oracle.tm_frames(packets, 90, fecf=2, ocf=b"\1\2\3\4", secondary=b"abc", count=77)
    elif kind == "aos":
        frames = oracle.aos_frames(packets, 90, fecf=2, ocf=b"\1\2\3\4", insert=b"in", has_header_check=True, count=77)
    else:
        frames = oracle.uslp_frames(packets, 70, fecf=4, ocf=b"\1\2\3\4", insert=b"in", map_id=3, count=77)
    layout = FrameLayout(4 if kind == "uslp" else 2, True, insert_zone=2 if kind != "tm" else 0, header_check=kind == "aos")
    for number, frame in enumerate(frames):
        report = inspect_frame(frame, kind, layout)
        assert problems(report) == {}
        assert_tiled(report)
        assert value(report, "virtual channel frame count") == 77 + number
        assert value(report, "CLCW: report value") == 4
        assert report.data == frame
    assert inspect_frame(frames[0], "cadu", layout).spans == inspect_frame(frames[0], kind, layout).spans


def test_the_field_that_fails_is_marked() -> None:
    packets = [oracle.packet(5, count, bytes(50)) for count in range(4)]
    tm = oracle.tm_frames(packets, 90, fecf=2)[0]
    aos = oracle.aos_frames(packets, 90, has_header_check=True)[0]
    uslp = oracle.uslp_frames(packets, 70)[0]
    broken = bytes([tm[0] | 0x80, *tm[1:]])
    found = problems(inspect_frame(broken, "tm", FrameLayout(2)))
    assert found.keys() == {"version number", "frame error control"}
    assert found["version number"] == "that of TM is 0"
    assert found["frame error control"].startswith("the frame's is ")
    far = tm[:4] + b"\x1f\x00" + tm[6:]
    assert problems(inspect_frame(far, "tm", FrameLayout()))["first header pointer"] == "the packet zone has 84 bytes"
    wrong = bytes([aos[0] ^ 0x10, *aos[1:]])
    assert problems(inspect_frame(wrong, "aos", FrameLayout(header_check=True))) == {
        "frame header error control": f"symbols of octets 0 are wrong; corrected, the header is {aos[:8].hex()}",
    }
    hopeless = bytes([aos[0] ^ 0x11, aos[1] ^ 0x11, *aos[2:]])
    assert problems(inspect_frame(hopeless, "aos", FrameLayout(header_check=True))).keys() == {"frame header error control"}
    assert problems(inspect_frame(uslp[:-3], "uslp", FrameLayout()))["frame length"] == f"there are {len(uslp) - 3}"


@pytest.mark.parametrize("kind", ["tm", "aos", "uslp", "cadu"])
def test_no_octets_are_too_few_or_too_strange(kind: str) -> None:
    rng = random.Random(62)
    for size in range(40):
        for layout in (FrameLayout(), FrameLayout(4, True, 3, True)):
            data = rng.randbytes(size)
            report = inspect_frame(data, kind, layout)
            assert list(text_lines(report))
            assert all(span.bit + span.width <= 8 * size or span.problem for span in report.spans)


def test_cadu_is_read_at_any_bit_with_its_codewords() -> None:
    rng = random.Random(63)
    code = ReedSolomon(32, 4, "dual")
    (frame, *_) = oracle.aos_frames([oracle.packet(5, 0, bytes(2000))], 892)
    cadu = bytearray(oracle.cadu(code.encode(frame)))
    wanted: list[int | None] = [0, 3, 16, 1]
    for word, errors in enumerate(wanted):
        assert errors is not None
        for place in rng.sample(range(255), errors):
            cadu[4 + 4 * place + word] ^= rng.randrange(1, 256)
    cadu[2] ^= 0x11
    for bit in range(8):
        for flip in (0, 255):
            data = shifted(bytes(octet ^ flip for octet in cadu), bit) if bit else bytes(octet ^ flip for octet in cadu)
            found = inspect_cadu(data, CADU_BYTES, code=code, is_randomized=True)
            assert (found.phase, found.is_inverted, found.wrong_bits) == (bit, bool(flip), 2)
            assert (found.corrected, found.frame) == (wanted, frame)
    for place in range(17):
        cadu[4 + 4 * place] ^= 0x55
    found = inspect_cadu(bytes(cadu), CADU_BYTES, code=code, is_randomized=True)
    assert (found.corrected, found.frame) == ([None, 3, 16, 1], None)


# -- the command -----------------------------------------------------------------------------------------------------------
def test_the_last_frame_of_mars_2020_has_its_error_control_marked() -> None:
    file = testdata("frames", "mars2020_aos_crc_1115.u8")
    lines = run("--codec", "aos", "--frame-length", 1115, "--offset", 1_058_200, file)
    assert lines[0] == f"frame at byte 1058135 of {file}, 1115 bytes"
    assert lines[1] == "AOS transfer frame, 1115 bytes"
    marked = [line for line in lines if line.startswith(">>")]
    assert len(marked) == 1
    assert marked[0].split()[1:5] == ["1113.0", "16", "1101010110001101", "frame"]
    assert marked[0].endswith("d58d   << the frame's is 2bd0")


def test_a_cadu_is_shown_by_number_and_by_byte(tmp_path: Path) -> None:
    data = bytearray(testdata("cadu", "snpp_viirs_cadu.dat").read_bytes()[: 6 * CADU_BYTES])
    data[2 * CADU_BYTES + 100] ^= 0xFF
    for place in range(17):
        data[4 * CADU_BYTES + 8 + 4 * place] ^= 0xFF
    file = tmp_path / "cadus"
    file.write_bytes(b"xyz" + data)
    options = ["--codec", "cadu", "--interleave", 4]
    lines = run(*options, "--index", 2, file)
    assert lines[:4] == [
        f"CADU at byte {2 * CADU_BYTES + 3} of {file}, 1024 bytes", "   attached sync marker: 0 bits wrong, from bit 0",
        "   symbols corrected in codewords: 1 0 0 0", "AOS transfer frame, 892 bytes",
    ]
    lines = run(*options, "--offset", 4 * CADU_BYTES + 500, file)
    assert lines[0].startswith(f"input at byte {4 * CADU_BYTES + 3} of {file}, 1024 bytes, rejected: rs_uncorrectable (")
    assert lines[2] == ">> symbols corrected in codewords: - 0 0 0   << - has more wrong symbols than can be corrected"
    assert lines[3].split()[1:5] == ["1a", "cf", "fc", "1d"]
    lines = run(*options, "--offset", 1, file)
    assert lines[0] == f"input at byte 0 of {file}, 3 bytes, rejected: garbage (no frame begins here)"
    assert lines[1].split() == ["0", "78", "79", "7a", "xyz"]
    assert run(*options, "--index", 5, file, status=1) == [
        f"{file}: no frame number 5: there are 5, counted from 0",
        f"  hint: rejected input has no number; the last of it (rs_uncorrectable): --offset {4 * CADU_BYTES + 3}",
    ]
    assert run(*options, "--offset", 99_999, file, status=1) == [f"{file}: no frame holds byte 99999"]


def test_a_frame_of_another_version_is_shown_as_what_it_should_be(tmp_path: Path) -> None:
    frames = oracle.aos_frames([oracle.packet(5, 0, bytes(300))], 100)
    file = tmp_path / "frames"
    file.write_bytes(frames[0] + bytes([frames[1][0] & 0x3F]) + frames[1][1:] + frames[2])
    lines = run("--codec", "aos", "--frame-length", 100, "--no-fecf", "--offset", 150, file)
    reason = "frame_version (the version number is not that of AOS (1))"
    assert lines[0] == f"input at byte 100 of {file}, 100 bytes, rejected: {reason}"
    assert lines[3].startswith(">> 0.0") and lines[3].endswith("<< that of AOS is 1")


def test_uslp_frames_of_variable_length_are_found_by_a_byte_in_them(tmp_path: Path) -> None:
    packets = [oracle.packet(5, count, bytes(20 + count)) for count in range(5)]
    frames = [oracle.uslp_frame(packet, None, rule=7, count=count, fecf=4) for count, packet in enumerate(packets)]
    file = tmp_path / "frames"
    file.write_bytes(b"".join(frames))
    at = sum(map(len, frames[:3]))
    lines = run("--codec", "uslp", "--offset", at + 5, file)
    assert lines[0] == f"frame at byte {at} of {file}, {len(frames[3])} bytes"
    assert any("frame error control" in line and not line.startswith(">>") for line in lines)
    assert any("APID 5, count 3, 29 bytes" in line for line in lines)
