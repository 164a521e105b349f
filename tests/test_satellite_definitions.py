"""Real definitions against what others make of them, and against the oracle."""

from __future__ import annotations

import csv
import io
import logging
import pickle
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from framecodec.plan import Plan
from streams import definitions
from tests.conftest import testdata
from tests.oracle import space_packets
from tests.oracle.xtce import Oracle
from tests.satellite import as_single, decode, expected_flat, flat, mismatches
from tests.xtce import document, integer


def run(definition: definitions.Definition, records: list[bytes]) -> Iterator[tuple[int, str, dict[str, Any], dict[str, Any]]]:
    """(record, container path, raw, values) of what a Plan makes of records."""
    for container, batch in Plan(definition).decode(records):
        table = pa.record_batch(batch)
        table.validate(full=True)
        for row in table.to_pylist():
            yield row["packet"], definition.containers[container].path, row["raw"], row["values"]


# -- BogusSAT ----------------------------------------------------------------------------------------------------------
def test_bogussat_equals_the_expected_table() -> None:
    definition = definitions.load(testdata("packets", "bogussat", "BogusSAT-2.xml"))
    packets = [
        packet for _, packet in space_packets.split(testdata("packets", "bogussat", "Container-UniquePackets.bin").read_bytes())
    ]
    wanted: dict[int, tuple[str, dict[str, list[tuple[str, str]]]]] = {}
    with testdata("packets", "bogussat", "expected.tsv").open() as lines:
        for number, container, path, _, _, raw, value in csv.reader(lines, delimiter="\t"):
            fields = wanted.setdefault(int(number), (container, {}))[1]
            fields.setdefault(path.replace(".", "/"), []).append((raw, value))

    assert len(wanted) == 6
    seen = 0
    for number, container, raw, values in run(definition, packets):
        name, expected = wanted[number]
        got = flat(raw, values)
        assert container.rpartition("/")[2] == name
        for path, pairs in expected.items():
            short = next(key for key in got if path.endswith(f"/{key}"))
            assert [tuple(map(printed, pair)) for pair in got.pop(short)] == pairs, (number, path)
            seen += len(pairs)
        assert got == {}, "nothing that the table does not have"
    assert seen == 116


def printed(value: object) -> str:
    """As the expected table prints: singles with their shortest digits."""
    if isinstance(value, float):
        for digits in range(1, 18):
            if as_single(f"{value:.{digits}g}") == value:
                return str(float(f"{value:.{digits}g}"))
    return str(value)


@pytest.mark.parametrize(
    ("root", "file"),
    [
        ("/BogusSAT/SC001/Onboard_Processor_Config/Processor_Config_Table", "Container-Proc_1_Cfg_Table.bin"),
        ("/BogusSAT/SC001/Onboard_Processor_Config/Processor_Config_Table", "Container-Proc_2_Cfg_Table.bin"),
        ("/BogusSAT/SC001/Onboard_Processor_Config/Processor_Config_Table", "Container-Proc_3_Cfg_Table.bin"),
        ("/BogusSAT/SC001/Onboard_Tables/Calibration_Offsets", "Container-Calibration_Offsets.bin"),
        ("/BogusSAT/SC001/BusElectronics/SensorHistoryBuffer", "Container-SensorHistoryBuffer.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-CCSDS_SpacePacket1.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-CCSDS_SpacePacket3.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-ECSS_3_25_HK-ECSS_SpacePacket2-Inc.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-ECSS_3_25_HK-ECSS_SpacePacket2-NoInc.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-ECSS_Service_1_Subservice_1.bin"),
        ("/BogusSAT/CCSDSPacket", "Container-ECSS_Service_1_Subservice_2.bin"),
    ],
)
def test_every_stored_container_of_bogussat_equals_the_oracle(root: str, file: str) -> None:
    path = testdata("packets", "bogussat", "BogusSAT-2.xml")
    record = testdata("packets", "bogussat", file).read_bytes()
    container, entries = Oracle(path).decode(root, record)

    [(_, got_container, raw, values)] = run(definitions.load(path, root), [record])
    assert got_container == container
    # Times that int64 ns cannot hold have no value; the oracle knows no times.
    expected = {name: pairs for name, pairs in expected_flat(entries).items() if not name.endswith("SensorTime")}
    got = {name: pairs for name, pairs in flat(raw, values).items() if name != "SensorTime"}
    assert mismatches(got, expected) == []


@pytest.mark.parametrize("apid", [1, 2, 3, 4, 5, 6, 100])
def test_every_telemetry_container_of_bogussat_equals_the_oracle_on_made_packets(apid: int) -> None:
    """Packets of patterns that switch the conditions on and off, long enough for every container."""
    path = testdata("packets", "bogussat", "BogusSAT-2.xml")
    oracle, definition = Oracle(path), definitions.load(path)
    records = []
    for pattern in (0x00, 0x11, 0x10, 0x01, 0x55, 0x1F):
        for body in (bytes([pattern]) * 200, bytes([0x10, pattern, 0x01, 0x01, 0x02, 0x03]) * 40):
            if apid == 100:
                for service in ((1, 1), (1, 2), (3, 25), (6, 6)):
                    head = bytes([0x10, *service, 7, 8])
                    tail = (
                        bytes([2 if pattern & 1 else 1])
                        if service == (3, 25)
                        else bytes([pattern, 0, 0, 0, 0, 0, 9])
                        if service == (6, 6)
                        else b""
                    )
                    records.append(space_packets.packet(apid, 5, head + tail + body, secondary=1))
            else:
                records.append(space_packets.packet(apid, 5, body))
    got = {number: (container, flat(raw, values)) for number, container, raw, values in run(definition, records)}
    for number, record in enumerate(records):
        container, entries = oracle.decode("/BogusSAT/CCSDSPacket", record)
        expected = expected_flat(entries)
        assert container is not None and got[number][0] == container
        assert mismatches(got[number][1], expected) == [], (container, record.hex())


def test_a_packet_that_no_container_fits_has_none() -> None:
    definition = definitions.load(testdata("packets", "bogussat", "BogusSAT-2.xml"))
    assert list(run(definition, [testdata("packets", "bogussat", "Container-CCSDS_SpacePacket1-Bad.bin").read_bytes()])) == []


# -- others ------------------------------------------------------------------------------------------------------------
def test_idex_equals_space_packet_parser() -> None:
    spp = pytest.importorskip("space_packet_parser")
    path = testdata("packets", "idex", "idex.xtce.xml")
    data = testdata("packets", "idex", "sci.ccsds").read_bytes()
    out = decode([data], definitions.load(path), emit=("packets", "values"))
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser = spp.load_xtce(path)
            others = [parser.parse_bytes(bytes(raw)) for raw in spp.ccsds_generator(io.BytesIO(data))]
    finally:
        logging.disable(logging.NOTSET)

    assert len(others) == len(out.packets) == 78
    for number, other in enumerate(others):
        _, raw, values = out.values[number]
        assert set(raw) == set(other)
        for name, item in other.items():
            assert raw[name] == item.raw_value, (number, name)
            assert values[name] == (bytes(item) if isinstance(item, bytes) else item), (number, name)


@pytest.mark.parametrize("file", ["imap_swapi/swapi", "imap_hit/hit", "jpss1/geolocation", "idex/idex"])
def test_real_packets_equal_the_oracle(file: str) -> None:
    folder, name = file.split("/")
    path = testdata("packets", folder, f"{name}.xtce.xml")
    stream = {"hit": "hk", "idex": "sci"}.get(name, name)
    packets = [packet for _, packet in space_packets.split(testdata("packets", folder, f"{stream}.ccsds").read_bytes())][:8]
    definition, oracle = definitions.load(path), Oracle(path)
    for number, container, raw, values in run(definition, packets):
        expected_container, entries = oracle.decode(definition.root, packets[number])
        assert container == expected_container
        assert mismatches(flat(raw, values), expected_flat(entries)) == []


def test_hit_science_segments_are_joined_and_holes_reported() -> None:
    data = testdata("packets", "imap_hit", "sci_segmented.ccsds").read_bytes()
    definition = definitions.load(testdata("packets", "imap_hit", "hit.xtce.xml"))
    single = decode([data], definition, emit=("packets",))
    joined = decode([data], definition, emit=("packets", "values"), join_segments=True)
    in_pieces = decode(
        [data[place : place + 999] for place in range(0, len(data), 999)],
        definition,
        emit=("packets", "values"),
        join_segments=True,
    )

    assert len(single.packets) == 1740
    assert len(joined.packets) == 86 and {packet["sequence_flags"] for packet in joined.packets} == {3}
    assert {row["reason"] for row in joined.rejects} == {"partial_packet"}
    assert sum(row["size_bytes"] for row in joined.packets + joined.rejects) == len(data)
    assert in_pieces.packets == joined.packets and in_pieces.values == joined.values
    # Twenty segments of 266 bytes, less the science tick in front.
    for number, packet in enumerate(joined.packets):
        segments = [
            data[offset : offset + 272] for offset in range(packet["offset"], packet["offset"] + packet["size_bytes"], 272)
        ]
        assert joined.values[number][1]["HIT_SCIENCE.SCIENCE_DATA"] == b"".join(segment[6:] for segment in segments)[4:]


def test_jpss_as_a_ccsdspy_table_has_the_same_values() -> None:
    data = testdata("packets", "jpss1", "geolocation.ccsds").read_bytes()[: 71 * 300]
    table = decode(
        [data], definitions.load(testdata("packets", "jpss1", "geolocation.ccsdspy.csv")), emit=("packets", "values")
    )
    xtce = decode([data], definitions.load(testdata("packets", "jpss1", "geolocation.xtce.xml")), emit=("packets", "values"))

    for number in range(300):
        assert table.values[number][1].items() <= xtce.values[number][1].items()
        assert len(table.values[number][1]) == 20
    assert [row["time"] for row in table.packets] == [row["time"] for row in xtce.packets]


def test_arrays_to_the_end_and_by_a_length_field(tmp_path: Path) -> None:
    single, double = tmp_path / "single.csv", tmp_path / "double.csv"
    single.write_text("name,data_type,bit_length\ndata,uint(expand),16\nchecksum,uint,16\n")
    double.write_text(
        "name,data_type,bit_length\nn1,uint,8\ndata1,uint(n1),16\nn2,uint,8\ndata2,uint(n2),16\nchecksum,uint,16\n"
    )
    lengths, seconds = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29], [5, 7, 2, 8, 3, 41, 42, 1, 3, 4]

    out = decode(
        [testdata("packets", "var_length", "var_length_packets_with_footer.bin").read_bytes()], definitions.load(single)
    )
    assert [out.values[number][2] for number in range(10)] == [
        {"data": [size + step for step in range(size)], "checksum": 1} for size in lengths
    ]
    out = decode(
        [testdata("packets", "var_length", "var_length_packets_double_varfield_with_footer.bin").read_bytes()],
        definitions.load(double),
    )
    assert [out.values[number][2] for number in range(10)] == [
        {"n1": size, "data1": [size + step for step in range(size)], "n2": second, "data2": list(range(second)), "checksum": 1}
        for size, second in zip(lengths, seconds, strict=True)
    ]


def test_a_table_with_offsets_fill_and_matrices(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        'name,data_type,bit_length,bit_offset\nlate,uint,8,88\nearly,int,4,48\ngap,fill,4,52\n'
        'm,"uint(2, 3)",8,56\nword,str,24,96\n'
    )
    [(_, _, raw, _)] = run(
        definitions.load(table), [bytes(6) + b"\xf0" + bytes([1, 2, 3, 4, 5, 6])[:4] + b"\x07" + b"abc" + bytes(4)]
    )

    assert raw == {"late": 7, "early": -1, "m": [[1, 2, 3], [4, 7, 97]], "word": "abc"}


def test_a_dimension_of_a_matrix_may_be_a_field(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('name,data_type,bit_length\nrows,uint,8\nm,"uint(rows, 2)",8\nlast,uint,8\n')
    [(_, _, raw, _)] = run(definitions.load(table), [bytes(6) + bytes([3, 1, 2, 3, 4, 5, 6, 9])])
    assert raw == {"rows": 3, "m": [[1, 2], [3, 4], [5, 6]], "last": 9}


def test_a_definition_survives_pickling() -> None:
    definition = definitions.load(testdata("packets", "bogussat", "BogusSAT-2.xml"))
    assert pickle.loads(pickle.dumps(definition)) == definition


def test_types_that_differ_in_one_word_are_two(tmp_path: Path) -> None:
    """Types that look alike are compiled once; a member's name, a unit, an enumeration's label are looks."""
    path = tmp_path / "d.xml"

    def record(name: str, member: str, unit: str) -> str:
        return (
            f'<IntegerParameterType name="N{name}"><UnitSet><Unit>{unit}</Unit></UnitSet><IntegerDataEncoding/>'
            "</IntegerParameterType>"
            f'<AggregateParameterType name="R{name}"><MemberList><Member name="{member}" typeRef="N{name}"/></MemberList>'
            "</AggregateParameterType>"
        )

    types = record("1", "a", "V") + record("2", "b", "V") + record("3", "a", "A") + record("4", "a", "V")
    names = ("R1", "R2", "R3", "R4")
    path.write_text(
        f'<SpaceSystem name="S"><TelemetryMetaData><ParameterTypeSet>{types}</ParameterTypeSet><ParameterSet>'
        + "".join(f'<Parameter name="{name}" parameterTypeRef="{name}"/>' for name in names)
        + '</ParameterSet><ContainerSet><SequenceContainer name="C"><EntryList>'
        + "".join(f'<ParameterRefEntry parameterRef="{name}"/>' for name in names)
        + "</EntryList></SequenceContainer></ContainerSet></TelemetryMetaData></SpaceSystem>"
    )
    assert [(parameter.path, parameter.unit) for parameter in definitions.load(path).parameters] == [
        ("/S/R1/a", "V"), ("/S/R2/b", "V"), ("/S/R3/a", "A"), ("/S/R4/a", "V")
    ]


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("encoding", ["unsigned", "twosComplement"])
def test_raw_samples_of_every_width_keep_their_sign(tmp_path: Path, bits: int, encoding: str) -> None:
    half = '<PolynomialCalibrator><Term coefficient="0.5" exponent="1"/></PolynomialCalibrator>'
    types = integer("H", 48) + (
        f'<FloatParameterType name="T" sizeInBits="64"><IntegerDataEncoding sizeInBits="{bits}" encoding="{encoding}">'
        f"<DefaultCalibrator>{half}</DefaultCalibrator></IntegerDataEncoding></FloatParameterType>"
    )
    file = tmp_path / "d.xml"
    file.write_text(document(types, {"head": "H", "t": "T"}))
    data = (1 << (bits - 1)).to_bytes(bits // 8, "big")                 # the lowest of the signed, the middle of the unsigned
    packet = struct.pack(">HHH", 0x0801, 0xC000, len(data) - 1) + data
    samples = decode([packet], definitions.load(file), raw=True).samples
    number = int.from_bytes(data, "big", signed=encoding == "twosComplement")
    found = {row["metric"]: row["value"] for row in samples if row["metric"].startswith("/S/t")}
    assert found == {"/S/t": number / 2, "/S/t/raw": float(number)}
