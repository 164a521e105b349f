"""`orbitrack inspect`: every field at the bit where an independent tool puts it, and what fails marked."""

from __future__ import annotations

import csv
import struct
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams import definitions
from streams.cli import main
from streams.inspect import Report, bits_at, hex_lines, inspect_packet, runs, text_lines
from tests.capture_files import ethernet, ip, pcap, udp
from tests.conftest import testdata
from tests.oracle import space_packets


def run(*arguments: object, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    assert result.exit_code == status, (result.output, result.exception)
    return result


def expected_places(table: Path) -> dict[int, dict[str, list[tuple[int, int]]]]:
    """By packet and last part of the path: (start bit, raw bits as a number)."""
    found: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    with table.open() as lines:
        for number, _, path, bit, raw_hex, _, _ in csv.reader(lines, delimiter="\t"):
            found[int(number)][path.replace(".", "/").rpartition("/")[2]].append((int(bit), int(raw_hex, 16)))
    return found


def places(report: Report) -> dict[str, list[tuple[int, int]]]:
    found = defaultdict(list)
    for span in report.spans:
        name = span.name.partition("[")[0].rpartition("/")[2]
        found[name].append((span.bit, bits_at(report.data, span.bit, span.width)))
    return found


@pytest.mark.parametrize(
    ("definition", "packets", "table"),
    [
        ("jpss1/geolocation.xtce.xml", "jpss1/geolocation.ccsds", "jpss1/expected_first300.tsv"),
        ("bogussat/BogusSAT-2.xml", "bogussat/Container-UniquePackets.bin", "bogussat/expected.tsv"),
    ],
)
def test_fields_lie_where_an_independent_library_puts_them(definition: str, packets: str, table: str) -> None:
    loaded = definitions.load(testdata("packets", definition))
    expected = expected_places(testdata("packets", table))
    for number, (_, packet) in enumerate(space_packets.split(testdata("packets", packets).read_bytes())):
        if number >= 20 or number not in expected:
            break
        report = inspect_packet(packet, loaded)
        assert places(report) == expected[number]
        assert not report.unplaced
        assert not report.problems


def test_field_whose_size_a_parameter_gives_is_found_by_flipping_bits() -> None:
    loaded = definitions.load(testdata("packets", "idex", "idex.xtce.xml"))
    for _, packet in space_packets.split(testdata("packets", "idex", "sci.ccsds").read_bytes()):
        report = inspect_packet(packet, loaded)
        covered = sorted((span.bit, span.width) for span in report.spans)
        assert all(start + width <= following for (start, width), (following, _) in pairwise(covered))
        if len(packet) < 1000:
            assert covered[-1][0] + covered[-1][1] == 8 * len(packet), "the binary field reaches to the end"
            return
    raise AssertionError("no packet short enough")


def test_packet_that_is_too_short_has_the_first_missing_field_marked() -> None:
    loaded = definitions.load(testdata("packets", "jpss1", "geolocation.xtce.xml"))
    whole = testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()[:71]
    short = whole[:4] + struct.pack(">H", 60 - 7) + whole[6:60]
    report = inspect_packet(short, loaded)
    marked = {span.name: span.problem for span in report.spans if span.problem}
    assert marked == {
        "ADCFAQ2": "ends 24 bits behind the packet's end", "ADCFAQ3": "ends 56 bits behind the packet's end",
        "ADCFAQ4": "ends 88 bits behind the packet's end",
    }
    assert next(line for line in text_lines(report) if line.startswith(">>")).split()[1] == "59.0"


def test_packet_without_a_container_says_what_containers_ask_for() -> None:
    loaded = definitions.load(testdata("packets", "jpss1", "geolocation.xtce.xml"))
    packet = struct.pack(">HHH", 0x0800 | 12, 0xC000, 9) + bytes(10)
    report = inspect_packet(packet, loaded)
    assert report.container is None
    assert {span.name: span.problem for span in report.spans if span.problem} == {"PKT_APID": "containers ask for == 11"}
    assert report.problems == ["no container of the definition takes this packet"]


def test_without_a_definition_the_primary_header_is_shown() -> None:
    report = inspect_packet(struct.pack(">HHH", 0x1864, 0x4003, 1) + b"xy", None)
    assert [(span.name, span.raw) for span in report.spans] == [
        ("version number", "0"), ("packet type", "1"), ("secondary header flag", "1"), ("APID", "100"),
        ("sequence flags", "1"), ("sequence count", "3"), ("data length", "1"),
    ]
    *_, last = text_lines(report)
    assert last.split() == ["6.0", "16", "0111100001111001", "(nothing)"]


def test_wrong_header_is_a_problem() -> None:
    assert inspect_packet(struct.pack(">HHH", 0xE000, 0, 5) + b"xy", None).problems == [
        "the length field says 12 bytes, there are 8", "version number 7 is not 0",
    ]
    assert inspect_packet(b"\x08\x0b", None).problems == ["2 bytes are no packet: the primary header alone has 6"]


def test_packet_is_found_by_number_and_by_a_byte_in_it(tmp_path: Path) -> None:
    file = tmp_path / "packets.bin"
    file.write_bytes(b"".join(struct.pack(">HHH", 7, 0xC000 | count, 1) + b"xy" for count in range(5)) + b"\x00\x07")
    assert run("--codec", "ccsds-packets", "--index", "3", file).stdout.startswith(f"packet at byte 24 of {file}, 8 bytes\n")
    assert run("--codec", "ccsds-packets", "--offset", "39", file).stdout.startswith(f"packet at byte 32 of {file}, 8 bytes\n")
    rejected = run("--codec", "ccsds-packets", "--offset", "41", file).stdout
    assert rejected.startswith(f"input at byte 40 of {file}, 2 bytes, rejected: truncated")
    assert run("--codec", "ccsds-packets", "--index", "5", file, status=1).stderr == (
        f"{file}: no packet number 5: there are 5, counted from 0\n"
        "  hint: rejected input has no number; the last of it (truncated): --offset 40\n"
    )
    assert run("--codec", "ccsds-packets", "--offset", "99", file, status=1).stderr == f"{file}: no packet holds byte 99\n"


def test_datagram_has_its_rejected_octets_marked(tmp_path: Path) -> None:
    file = tmp_path / "some.pcap"
    file.write_bytes(pcap([(0, ethernet(ip(udp(b"\0\0\0\x05" + bytes(6)))))] * 2))
    first, dump, marks, line = run("--codec", "sflow", "--index", "1", file).stdout.splitlines()
    assert first == f"datagram at byte {24 + 2 * 58 + 10} of {file}, 10 bytes from 192.0.2.1"
    assert dump.split("  ")[3] == "00 00 00 05 00 00 00 00 00 00"
    assert set(marks.split()) == {"^^"}
    assert line.startswith('{"type":"reject","reason":"truncated"')
    assert run("--codec", "sflow", "--offset", "90", file).stdout.startswith("datagram at byte 82 ")
    assert run("--codec", "sflow", "--index", "2", file, status=1).stderr == (
        f"{file}: no datagram number 2: there are 2, counted from 0\n"
    )
    assert run("--codec", "sflow", "--offset", "1", file, status=1).stderr == f"{file}: no datagram holds byte 1\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "ccsds-packets", "--index", "1", "--offset", "2"], "--index and --offset: one of them names what to show"),
        (["--codec", "tm"], "--frame-length: tm frames are told apart by their length only"),
    ],
)
def test_wrong_use_gives_status_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert run(*arguments, tmp_path / "x", status=2).stderr.startswith(message)


def test_runs_of_bits() -> None:
    assert list(runs([])) == []
    assert list(runs([3, 4, 5, 9, 11, 12])) == [(3, 3), (9, 1), (11, 2)]


def test_hex_dump_marks_octets_under_them() -> None:
    lines = list(hex_lines(bytes(range(20)), [(1, 2), (17, 0)]))
    assert lines[1] == " " * 11 + "^^ ^^"
    assert lines[3] == " " * 11 + "^^"
