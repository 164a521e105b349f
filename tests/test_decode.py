"""`orbitrack decode`: lines, fields and formats of the contract, held against what other tools stored for the same files."""

from __future__ import annotations

import csv
import io
import json
import math
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from streams.cli import main
from streams.model import FLOWS, SAMPLES
from streams.offline import SCHEMAS, Lines
from streams.outputs import open_output
from tests import racks
from tests.capture_files import ethernet, fragments_v4, ip, pcap, udp
from tests.conftest import REPOSITORY, testdata

TIME_NS = 1_790_000_000_000_000_000
FIELDS = {
    "flow": FLOWS.names,
    "sample": SAMPLES.names,
    "packet": ["offset", "scid", "vcid", "apid", "packet_type", "sequence_flags", "sequence_count", "size_bytes", "time"],
    "reject": ["reason", "offset", "source", "size_bytes", "detail"],
    "frame": ["offset", "scid", "vcid", "frame_count", "lost_before", "fecf", "corrected_symbols"],
}


def run(*arguments: object, status: int = 0, **options: Any) -> Result:
    result = CliRunner().invoke(main, ["decode", *map(str, arguments)], **options)
    assert result.exit_code == status, (result.output, result.exception)
    return result


def lines(*arguments: object, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run("--format", "jsonl", *arguments, **options).stdout.splitlines()]


def packet(apid: int, sequence_count: int, data: bytes, flags: int = 3) -> bytes:
    return struct.pack(">HHH", apid, flags << 14 | sequence_count, len(data) - 1) + data


@pytest.fixture
def sflow() -> Path:
    return testdata("rack", "sflow", "gopacket__SFlowTestPacket2.pcap")


@pytest.fixture
def swapi() -> tuple[str, str, str]:
    folder = testdata("packets", "imap_swapi")
    return "--definition", str(folder / "swapi.xtce.xml"), str(folder / "swapi.ccsds")


def number(text: str) -> float:
    return float(int(text, 0)) if text.lower().startswith(("0x", "-0x")) else float(text)


def test_jpss_values_equal_those_of_an_independent_xtce_library() -> None:
    """expected_first300.tsv: packet, container, path, start bit, raw hex, raw, calibrated."""
    folder = testdata("packets", "jpss1")
    found = lines("--codec", "ccsds-packets", "--definition", folder / "geolocation.xtce.xml", folder / "geolocation.ccsds")
    assert len(found) == 7200
    checked = 0
    for row in csv.reader((folder / "expected_first300.tsv").open(), delimiter="\t"):
        index, path, raw, calibrated = int(row[0]), row[2], row[-2], row[-1]
        name = path.rsplit("/", 1)[1]
        for form, text in (("raw", raw), ("values", calibrated)):
            value = found[index][form][name]
            assert math.isclose(value, number(text), rel_tol=1e-6, abs_tol=1e-9), (index, name, form, value, text)
        checked += 1
    assert checked >= 300 * 20


def test_packets_tile_the_file_and_the_summary_adds_up() -> None:
    folder = testdata("packets", "jpss1")
    *packets, summary = lines("--codec", "ccsds-packets", "--summary", folder / "geolocation.ccsds")
    size = (folder / "geolocation.ccsds").stat().st_size
    ends = [row["offset"] + row["size_bytes"] for row in packets]
    assert [row["offset"] for row in packets] == [0, *ends[:-1]]
    assert ends[-1] == size
    assert summary == {
        "type": "summary", "input_bytes": size, "frames": 0, "rejects": {},
        "links": [
            {
                "scid": None, "vcid": None, "frames": 0, "lost_frames": 0, "packets": 7200, "packet_bytes": size,
                "sequence_gaps": 0, "apids": {"11": 7200},
            }
        ],
    }
    assert list(packets[0]) == ["type", *FIELDS["packet"]], "no raw and values without a definition"


def test_garbage_is_a_reject_and_everything_is_accounted_for(tmp_path: Path) -> None:
    whole = b"".join(packet(100, count, bytes(20)) for count in range(10))
    file = tmp_path / "dirty.bin"
    file.write_bytes(whole[:130] + b"\xff\xfe\xfd" + whole[130:] + b"\x00\x64")
    found = lines("--codec", "ccsds-packets", file)
    packets = [row for row in found if row["type"] == "packet"]
    rejects = [row for row in found if row["type"] == "reject"]
    covered = sorted((row["offset"], row["size_bytes"]) for row in packets + rejects if row["size_bytes"])
    assert [offset for offset, _ in covered] == [0, *(offset + size for offset, size in covered)][:-1]
    assert covered[-1][0] + covered[-1][1] == len(whole) + 5
    assert len(packets) >= 9
    assert list(rejects[0]) == ["type", *FIELDS["reject"]]
    assert rejects[-1]["reason"] == "truncated"


def test_flows_of_sflow_equal_those_of_sflowtool(sflow: Path) -> None:
    """The fields that both print; tests/test_sflow.py compares all of them on every capture."""
    [datagram, *_] = [json.loads(line) for line in sflow.with_suffix(".sflowtool.jsonl").read_text().splitlines()]
    samples = [each for each in datagram["samples"] if each["sampleType"] in ("FLOWSAMPLE", "EXPANDEDFLOWSAMPLE")]
    flows = lines("--codec", "sflow", "--emit", "flow", sflow)
    assert len(flows) == len(samples)
    for flow, sample in zip(flows, samples, strict=True):
        assert list(flow) == ["type", *FIELDS["flow"]]
        assert flow["exporter"] == datagram["agent"]
        assert flow["sampling_rate"] == int(sample["meanSkipCount"])
        [element] = [each for each in sample["elements"] if "srcMAC" in each]
        assert flow["src_mac"].replace(":", "") == element["srcMAC"]
        assert flow["src_addr"] == element.get("srcIP", element.get("IPSrc"))
        assert flow["received"].endswith("Z") and len(flow["received"]) == len("2026-10-01T00:00:00.000000000Z")


def test_counters_of_sflow_equal_those_of_sflowtool() -> None:
    capture = testdata("rack", "sflow", "tcpdump__sflow_multiple_counter_30_pdus.pcap")
    expected = {
        (datagram["agent"], element["ifIndex"], int(element["ifInOctets"]))
        for datagram in map(json.loads, capture.with_suffix(".sflowtool.jsonl").read_text().splitlines())
        for sample in datagram.get("samples", ()) for element in sample.get("elements", ()) if "ifInOctets" in element
    }
    found = [row for row in lines("--codec", "sflow", "--emit", "sample", capture) if row["metric"] == "if_in_octets"]
    assert {(*row["entity"].split("/if/"), row["value"]) for row in found} == expected
    assert {row["kind"] for row in found} == {"counter"}
    assert all(list(row) == ["type", *FIELDS["sample"]] for row in found)


def test_rejects_of_datagrams_say_where_they_lie(tmp_path: Path) -> None:
    packets = [ethernet(ip(udp(payload))) for payload in (b"not sFlow at all", b"\0\0\0\x05\0\0\0\x01")]
    file = tmp_path / "bad.pcap"
    file.write_bytes(pcap([(TIME_NS, each) for each in packets], snap_bytes=1000))
    found = lines("--codec", "sflow", file)
    starts = [24 + 16 + 42, 24 + 16 + len(packets[0]) + 16 + 42]
    assert [row["reason"] for row in found] == ["unknown_version", "truncated"]
    for row, start, size in zip(found, starts, (16, 8), strict=True):
        assert start <= row["offset"] <= start + size
        assert row["source"] == "192.0.2.1"


def test_what_a_file_cannot_tell_is_null(tmp_path: Path) -> None:
    """A raw file has neither a sender nor a time of receipt; the counters of sFlow have an agent, but no time of their own."""
    generic = racks.words(3, 6, 0, 1_000_000_000, 1, 3, 0, 4711, *[0] * 14)[:88]
    (tmp_path / "raw").write_bytes(racks.sflow(racks.counter_sample(racks.record(1, generic))))
    samples = lines("--codec", "sflow", "--emit", "sample", tmp_path / "raw")
    assert len(samples) > 5
    assert {(row["time"], row["received"], row["source"]) for row in samples} == {(None, None, "10.0.0.1")}
    (tmp_path / "garbage").write_bytes(b"garbage")
    assert [row["source"] for row in lines("--codec", "sflow", tmp_path / "garbage")] == [None]


def test_fragmented_datagrams_are_put_together(tmp_path: Path) -> None:
    data = testdata("rack", "sflow", "gopacket__SFlowTestPacket2.pcap").read_bytes()
    datagram = data[24 + 16 + 14 + 20 :]
    file = tmp_path / "fragments.pcap"
    file.write_bytes(pcap([(TIME_NS, part) for part in reversed(fragments_v4(datagram, 400))], 101))
    *rows, summary = lines("--codec", "sflow", "--summary", file)
    assert summary["frames"] == 1
    whole = lines("--codec", "sflow", testdata("rack", "sflow", "gopacket__SFlowTestPacket2.pcap"))
    assert [row["type"] for row in rows] == [row["type"] for row in whole]


def test_port_keeps_one_destination(sflow: Path) -> None:
    assert lines("--codec", "sflow", "--port", "6343", "--summary", sflow)[-1]["frames"] == 1
    assert lines("--codec", "sflow", "--port", "2055", "--summary", sflow) == [
        {"type": "summary", "input_bytes": sflow.stat().st_size, "frames": 0, "rejects": {}, "links": []}
    ]


def test_raw_datagram_has_no_receive_time_and_no_sender(sflow: Path, tmp_path: Path) -> None:
    file = tmp_path / "datagram.bin"
    file.write_bytes(sflow.read_bytes()[24 + 16 + 42 :])
    flows = lines("--codec", "sflow", "--emit", "flow", file)
    assert flows
    assert {flow["received"] for flow in flows} == {None}


def test_standard_input_is_read(sflow: Path) -> None:
    assert lines("--codec", "sflow", "-", input=sflow.read_bytes()) == lines("--codec", "sflow", sflow)


def test_several_files_have_one_summary_and_no_state_between_them(tmp_path: Path) -> None:
    for name, count in (("a", 5), ("b", 9)):
        (tmp_path / name).write_bytes(packet(7, count, b"xy") + packet(7, count + 1, b"xy"))
    *rows, summary = lines("--codec", "ccsds-packets", "--summary", tmp_path / "a", tmp_path / "b")
    assert [row["offset"] for row in rows] == [0, 8, 0, 8]
    [link] = summary["links"]
    assert (link["packets"], link["packet_bytes"], link["sequence_gaps"], link["apids"]) == (4, 32, 0, {"7": 4})
    assert summary["input_bytes"] == 32


def test_packets_in_datagrams_have_their_place_in_the_capture(tmp_path: Path) -> None:
    datagrams = [packet(7, 0, b"xy") + packet(7, 1, b"xy"), packet(7, 2, b"cut")[:-1], packet(7, 4, b"xy")]
    data = pcap([(TIME_NS, ethernet(ip(udp(each)))) for each in datagrams])
    file, raw = tmp_path / "packets.pcap", tmp_path / "raw"
    file.write_bytes(data)
    *rows, summary = lines("--codec", "ccsds-packets", "--summary", file)
    for row in rows:
        count = row.get("sequence_count", 2)
        assert data[row["offset"] : row["offset"] + 4] == packet(7, count, b"xy")[:4]
    assert sorted(row["reason"] for row in rows if row["type"] == "reject") == ["truncated"]
    assert (summary["links"][0]["packets"], summary["links"][0]["sequence_gaps"]) == (3, 1)
    run("--codec", "ccsds-packets", "--format", "raw", "-o", raw, file)
    assert raw.read_bytes() == datagrams[0] + datagrams[2]


def test_samples_of_a_file_have_the_definitions_name() -> None:
    folder = testdata("packets", "jpss1")
    arguments = ("--definition", folder / "geolocation.xtce.xml", "--emit", "sample", folder / "geolocation.ccsds")
    samples = lines("--codec", "ccsds-packets", *arguments)
    assert {row["entity"] for row in samples} >= {"JPSS_Geolocation_Packets"}
    first = next(row for row in samples if row["metric"] == "/JPSS_Geolocation_Packets/ADGPSPOSX")
    assert list(first) == ["type", *FIELDS["sample"]]
    assert (first["value"], first["unit"], first["received"]) == (6389695.5, "m", None)


def test_idle_packets_are_left_out_on_request_but_counted(tmp_path: Path) -> None:
    file = tmp_path / "packets.bin"
    file.write_bytes(packet(7, 0, b"xy") + packet(2047, 0, b"idle") + packet(7, 1, b"xy"))
    assert [row["apid"] for row in lines("--codec", "ccsds-packets", file)] == [7, 2047, 7]
    assert [row["apid"] for row in lines("--codec", "ccsds-packets", "--no-idle", file)] == [7, 7]


def test_emit_is_a_filter(sflow: Path) -> None:
    everything = lines("--codec", "sflow", sflow)
    for kind in ("flow", "sample"):
        assert lines("--codec", "sflow", "--emit", kind, sflow) == [row for row in everything if row["type"] == kind]
    both = lines("--codec", "sflow", "--emit", "sample, flow", sflow)
    assert {row["type"] for row in both} <= {"flow", "sample"}


def test_rejects_go_to_their_own_file(tmp_path: Path) -> None:
    file = tmp_path / "garbage.bin"
    file.write_bytes(b"not sFlow at all")
    assert lines("--codec", "sflow", "--rejects", tmp_path / "rejects.jsonl", file) == []
    [row] = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert (row["type"], row["reason"], row["offset"]) == ("reject", "unknown_version", 0)


def test_rejects_that_no_line_shows_are_told_on_stderr(tmp_path: Path) -> None:
    file = tmp_path / "garbage.bin"
    file.write_bytes(b"not sFlow at all")
    told = run("--codec", "sflow", "--format", "csv", file).stderr
    assert told == "1 reject (unknown_version 1); --rejects FILE tells more\n"


def test_csv_has_the_same_rows_with_a_header(swapi: tuple[str, str, str]) -> None:
    text = run("--codec", "ccsds-packets", "--format", "csv", *swapi).stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    expected = lines("--codec", "ccsds-packets", *swapi)
    assert list(rows[0]) == [*FIELDS["packet"], "raw", "values"]
    assert len(rows) == len(expected)
    for row, line in zip(rows, expected, strict=True):
        assert json.loads(row["raw"]) == line["raw"]
        assert json.loads(row["values"]) == line["values"]
        assert (int(row["apid"]), row["scid"]) == (line["apid"], "")


def test_table_off_a_terminal_is_one_whole_line_a_row(sflow: Path) -> None:
    header, *rows = run("--codec", "sflow", "--emit", "flow", sflow).stdout.splitlines()
    expected = lines("--codec", "sflow", "--emit", "flow", sflow)
    assert header.split() == FIELDS["flow"]
    assert len(rows) == len(expected)
    for row, line in zip(rows, expected, strict=True):
        assert row.split()[:5] == [str(line[name]) for name in FIELDS["flow"][:5]]
        assert len(row.split()) == len(header.split()), "an absent value is a -"


@pytest.mark.parametrize("file_format", ["arrow", "parquet"])
def test_files_of_several_containers_are_a_folder(swapi: tuple[str, str, str], tmp_path: Path, file_format: str) -> None:
    out = tmp_path / "swapi"
    run("--codec", "ccsds-packets", "--format", file_format, "-o", out, *swapi)
    expected = lines("--codec", "ccsds-packets", *swapi)
    found: list[dict[str, Any]] = []
    for file in out.iterdir():
        assert file.suffix == f".{file_format}"
        table = pq.read_table(file) if file_format == "parquet" else pa.ipc.open_file(str(file)).read_all()
        assert table.schema.names == [*FIELDS["packet"], "raw", "values"]
        assert not any(pa.types.is_dictionary(field.type) for field in table.schema)
        found += table.to_pylist()
    found.sort(key=lambda row: row["offset"])
    assert [row["offset"] for row in found] == [row["offset"] for row in expected]
    assert [row["raw"]["SHCOARSE"] for row in found if "SHCOARSE" in row["raw"]] == [
        row["raw"]["SHCOARSE"] for row in expected if "SHCOARSE" in row["raw"]
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["swapi"], "nothing unfinished is left"


@pytest.mark.parametrize("file_format", ["arrow", "parquet"])
def test_files_of_one_type_are_a_file(sflow: Path, tmp_path: Path, file_format: str) -> None:
    out = tmp_path / "flows"
    run("--codec", "sflow", "--format", file_format, "-o", out, sflow)
    table = pq.read_table(out) if file_format == "parquet" else pa.ipc.open_file(str(out)).read_all()
    assert table.schema.names == FIELDS["flow"]
    assert table["dst_port"].to_pylist() == [row["dst_port"] for row in lines("--codec", "sflow", "--emit", "flow", sflow)]


def test_files_that_could_not_be_ended_are_taken_away(sflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("streams.outputs.FileOutput.close", full)
    before = sorted(tmp_path.iterdir())
    run("--codec", "sflow", "--format", "parquet", "-o", tmp_path / "flows", sflow, status=1)
    assert sorted(tmp_path.iterdir()) == before


def test_arrow_on_standard_output_is_a_stream(sflow: Path) -> None:
    result = run("--codec", "sflow", "--format", "arrow", sflow)
    assert pa.ipc.open_stream(result.stdout_bytes).read_all().schema.names == FIELDS["flow"]


def test_raw_writes_the_packets_back_to_back(tmp_path: Path) -> None:
    packets = [packet(100, count, bytes([count]) * 20) for count in range(6)]
    dirty, clean = tmp_path / "dirty.bin", tmp_path / "clean.bin"
    dirty.write_bytes(b"".join(packets) + b"\x00\x64\xc0")
    run("--codec", "ccsds-packets", "--format", "raw", "-o", clean, dirty)
    assert clean.read_bytes() == b"".join(packets)


def test_raw_of_a_pipe_is_that_of_the_file(tmp_path: Path) -> None:
    whole, out = packet(7, 0, b"xy") + packet(7, 1, b"z" * 60_000), tmp_path / "out"
    options = ["--codec", "ccsds-packets", "--format", "raw", "-o", str(out), "-"]
    command = [sys.executable, "-m", "streams.cli", "decode", *options]
    subprocess.run(command, input=whole + b"\x00", timeout=120, cwd=REPOSITORY, check=True, capture_output=True)
    assert out.read_bytes() == whole


def test_table_does_not_speak_to_the_terminal() -> None:
    batch = pa.RecordBatch.from_pylist(
        [{"reason": "x", "offset": 0, "source": "\x1b]0;title\x07\x9b", "size_bytes": 0, "detail": "a\nb"}],
        schema=SCHEMAS["reject"],
    )
    stream = io.BytesIO()
    output = open_output("table", out=None, kinds=("reject",), stream=stream, width=None, with_values=False)
    output.write(Lines("reject", batch))
    _, line, end = stream.getvalue().decode().split("\n")
    assert line.isprintable() and not end


KINDS_OF_A_FILE = [
    ("sflow", "flow"), ("netflow", "sample"), ("ccsds-packets", "packet"), ("ccsds-packets", "reject"), ("cadu", "frame"),
]


@pytest.mark.parametrize(("codec", "kind"), KINDS_OF_A_FILE)
def test_nothing_still_has_a_header_and_a_schema(codec: str, kind: str, tmp_path: Path) -> None:
    """A program that reads what we write needs no case for a quiet hour."""
    empty, out = tmp_path / "empty.bin", tmp_path / "out"
    empty.write_bytes(b"")
    fields = FIELDS[kind]
    arguments = ("--codec", codec, "--emit", kind, empty)
    assert run(*arguments, "--format", "csv").stdout.rstrip() == ",".join(fields)
    stream = pa.ipc.open_stream(run(*arguments, "--format", "arrow").stdout_bytes).read_all()
    assert (stream.num_rows, stream.schema.names) == (0, fields)
    run(*arguments, "--format", "parquet", "-o", out)
    assert pq.read_table(out).schema.names == fields
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.bin", "out"]


def test_lines_have_the_types_that_an_empty_output_has() -> None:
    cadu = testdata("cadu", "snpp_viirs_cadu.dat")
    for kind in ("packet", "frame"):
        options = ("--codec", "cadu", "--rs", "255,223", "--interleave", "4", "--emit", kind, "--format", "arrow")
        found = pa.ipc.open_stream(run(*options, cadu).stdout_bytes).read_all().schema
        assert found == SCHEMAS[kind]


def test_nothing_of_a_definition_has_the_columns_of_its_container(tmp_path: Path) -> None:
    empty, full, table = tmp_path / "empty.bin", tmp_path / "full.bin", tmp_path / "table.csv"
    empty.write_bytes(b"")
    full.write_bytes(packet(7, 0, b"xyz"))
    table.write_text("name,data_type,bit_length\ncount,uint,8\ntext,str,16\n")
    options = ("--codec", "ccsds-packets", "--definition", table, "--emit", "packet")
    schemas = []
    for file in (empty, full):
        schemas.append(pa.ipc.open_stream(run(*options, "--format", "arrow", file).stdout_bytes).read_all().schema)
        for file_format in ("arrow", "parquet"):
            run(*options, "--format", file_format, "-o", out := tmp_path / f"{file.stem}.{file_format}", file)
            read = pq.read_table(out) if file_format == "parquet" else pa.ipc.open_file(str(out)).read_all()
            schemas.append(read.schema)
    assert schemas[0].names == [*FIELDS["packet"], "raw", "values"]
    assert schemas[:3] == schemas[3:] and len(set(map(str, schemas))) == 1
    assert run(*options, "--format", "csv", empty).stdout.rstrip() == ",".join([*FIELDS["packet"], "raw", "values"])


def test_nothing_of_a_definition_of_several_containers_is_a_folder_of_them(swapi: tuple[str, str, str], tmp_path: Path) -> None:
    (tmp_path / "empty.bin").write_bytes(b"")
    run("--codec", "ccsds-packets", "--format", "parquet", "-o", tmp_path / "full", *swapi)
    run("--codec", "ccsds-packets", "--format", "parquet", "-o", tmp_path / "none", *swapi[:-1], tmp_path / "empty.bin")
    for file in (tmp_path / "full").iterdir():
        assert pq.read_schema(tmp_path / "none" / file.name) == pq.read_schema(file)
        assert pq.read_metadata(tmp_path / "none" / file.name).num_rows == 0
    stream = run("--codec", "ccsds-packets", "--format", "arrow", *swapi[:-1], tmp_path / "empty.bin").stdout_bytes
    assert pa.ipc.open_stream(stream).read_all().schema.names == FIELDS["packet"], "no schema is that of all of them"


def test_wrong_options_leave_an_older_output_as_it_is(tmp_path: Path) -> None:
    file, out = tmp_path / "good.bin", tmp_path / "out"
    file.write_bytes(packet(7, 0, b"xy"))
    out.write_text("older")
    run("--codec", "sflow", "--format", "raw", "-o", out, file, status=2)
    run("--codec", "ccsds-packets", "--emit", "packet,reject", "--format", "csv", "-o", out, file, status=2)
    assert out.read_text() == "older"


def invoke(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli", "decode", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)


def wrong_uses(folder: Path) -> Iterator[tuple[list[object], int, str]]:
    good, bad = folder / "good.bin", folder / "bad.xml"
    good.write_bytes(packet(7, 0, b"xy"))
    bad.write_text("<SpaceSystem>\n")
    satellite: list[object] = ["--codec", "ccsds-packets"]
    yield [*satellite, folder / "absent"], 1, f"{folder / 'absent'}: cannot be read: No such file or directory"
    yield [*satellite, folder], 1, f"{folder}: cannot be read: Is a directory"
    yield [*satellite, "-o", folder / "no" / "out", good], 1, f"{folder / 'no' / 'out'}: cannot be written: No such file"
    yield [*satellite, "--definition", bad, good], 2, f"{bad}:"
    yield [*satellite, "--definition", folder / "absent.xml", good], 2, f"--definition: there is no file {folder}"
    yield [*satellite, "--container", "/X", good], 2, "--container: 'container' names a container, but there is no definition"
    yield [*satellite, "--emit", "flow", good], 2, "--emit: no line type 'flow'"
    yield [*satellite, "--emit", "packt", good], 2, "--emit: no line type 'packt'\n  hint: did you mean 'packet'?"
    yield [*satellite, "--emit", "packet,reject", "--format", "csv", good], 2, "--format csv holds rows of one type"
    yield [*satellite, "--format", "parquet", good], 2, "--format parquet needs a file: -o OUT"
    yield [*satellite, "--format", "raw", good], 2, "--format raw writes packets to a file"
    yield [*satellite, "--format", "arrow", "-o", folder, good], 2, f"{folder} is a folder that is there already"
    yield [*satellite, "--vc-mode", "1=frames", good], 2, "--vc-mode: '1=frames' is not VCID=packets or VCID=bytes"
    yield [*satellite, "--interleave", "9", good], 2, "--interleave:"
    yield ["--codec", "sflow", "--definition", bad, good], 2, "--definition: 'definition' means nothing for codec sflow"
    yield ["--codec", "tm", good], 2, "--frame-length: tm frames are told apart by their length only"
    yield ["--codec", "tm", "--frame-length", "0", good], 2, "--frame-length: 'frame_length' cannot be 0"
    absent = folder / "no" / "out"
    yield [*satellite, "--format", "parquet", "-o", absent, good], 1, f"{absent}: cannot be written: No such file"
    yield [good], 2, "Usage:"
    yield ["--codec", "sflw", good], 2, "Usage:"
    yield [*satellite], 2, "Usage:"


def test_exit_status_and_message_of_every_wrong_use(tmp_path: Path) -> None:
    for arguments, status, message in wrong_uses(tmp_path):
        result = invoke(*arguments)
        assert result.returncode == status, (arguments, result)
        assert result.stderr.startswith(message), (arguments, result.stderr)
        assert len(result.stderr.splitlines()) <= 8
        assert "Traceback" not in result.stderr
        assert not result.stdout


def test_rejects_alone_do_not_change_the_status(tmp_path: Path) -> None:
    file = tmp_path / "garbage.bin"
    file.write_bytes(b"\xff" * 1000)
    for codec in ("sflow", "ccsds-packets"):
        assert invoke("--codec", codec, "--format", "jsonl", file).returncode == 0


def test_an_unreadable_file_among_others_gives_status_1_after_the_others(tmp_path: Path) -> None:
    good = tmp_path / "good.bin"
    good.write_bytes(packet(7, 0, b"xy"))
    result = invoke("--codec", "ccsds-packets", "--format", "jsonl", "--summary", tmp_path / "absent", good)
    assert result.returncode == 1
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == ["packet", "summary"]


def test_damaged_capture_gives_its_good_part_and_status_1(sflow: Path, tmp_path: Path) -> None:
    file = tmp_path / "damaged.pcap"
    file.write_bytes(sflow.read_bytes() + b"\xff" * 40)
    result = invoke("--codec", "sflow", "--format", "jsonl", "--summary", file)
    assert result.returncode == 1
    assert json.loads(result.stdout.splitlines()[-1])["frames"] == 1
    assert result.stderr == f"{file}: byte {sflow.stat().st_size}: a record that cannot be\n"


def test_a_reader_that_goes_away_ends_it_without_a_traceback() -> None:
    file = testdata("packets", "jpss1", "geolocation.ccsds")
    command = f"{sys.executable} -m streams.cli decode --codec ccsds-packets --format jsonl {file} | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)
    assert json.loads(result.stdout)["offset"] == 0
    assert "Traceback" not in result.stderr
