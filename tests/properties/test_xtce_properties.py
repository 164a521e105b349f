"""Every width from 1 to 64 at every bit offset in every encoding and byte order, decoded column by column, packet by packet and
as arrays of as many items as the packet says, raw and calibrated, equals the oracle. Run one again with SEED below and `-k`.
"""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.bits import read_number
from framecodec.plan import Plan
from streams import definitions
from tests.oracle.xtce import Oracle
from tests.satellite import expected_flat, flat, mismatches

SEED = 20261123
SLOT_BITS = 80  # each field has its own, at any of 8 offsets
ENCODINGS = {
    "unsigned": "unsigned",
    "twosComplement": "twos_complement",
    "onesComplement": "ones_complement",
    "signMagnitude": "sign_magnitude",
    "packedBCD": "packed_bcd",
    "BCD": "bcd",
}
ORDERS = ("mostSignificantByteFirst", "leastSignificantByteFirst", "list", "leastSignificantBitFirst", "least of both")


def order_of(order: str, width: int, randoms: random.Random) -> str | None:
    """Attributes for a width, or None where it has no such order."""
    if order == "leastSignificantBitFirst":
        return f'bitOrder="{order}"'
    if order == "least of both":
        return 'bitOrder="leastSignificantBitFirst" byteOrder="leastSignificantByteFirst"'
    if order != "list":
        return f'byteOrder="{order}"'
    if width % 8 or width < 16:
        return None
    significances = list(range(width // 8))
    randoms.shuffle(significances)
    return f'byteOrder="{",".join(map(str, significances))}"'


def definition_text(fields: list[tuple[str, str, int]], condition: str = "") -> str:
    """An XTCE file with one container of (name, encoding element, bit) fields; `condition` for every entry."""
    types = "".join(
        f'<{kind}ParameterType name="{name}">{coded}</{kind}ParameterType>'
        for name, coded, _ in fields
        for kind in [kind_of(coded)]
    )
    parameters = "".join(f'<Parameter name="{name}" parameterTypeRef="{name}"/>' for name, _, _ in fields)
    entries = "".join(
        f'<ParameterRefEntry parameterRef="{name}"><LocationInContainerInBits referenceLocation="containerStart">'
        f"<FixedValue>{bit}</FixedValue></LocationInContainerInBits>{condition if name != 'first' else ''}</ParameterRefEntry>"
        for name, _, bit in fields
    )
    return (
        f'<SpaceSystem name="S"><TelemetryMetaData><ParameterTypeSet>{types}</ParameterTypeSet>'
        f"<ParameterSet>{parameters}</ParameterSet>"
        f'<ContainerSet><SequenceContainer name="C"><EntryList>{entries}</EntryList></SequenceContainer></ContainerSet>'
        "</TelemetryMetaData></SpaceSystem>"
    )


def kind_of(coded: str) -> str:
    return "Float" if "Float" in coded else "Integer"


ALWAYS = '<IncludeCondition><Comparison parameterRef="first" value="0" comparisonOperator="&gt;="/></IncludeCondition>'
FIRST = ("first", '<IntegerDataEncoding sizeInBits="8"/>', 0)


def check(tmp_path: Path, fields: list[tuple[str, str, int]], records: list[bytes]) -> None:
    """Both ways of running it, against the oracle."""
    wanted = None
    for condition in ("", ALWAYS):
        path = tmp_path / "definition.xml"
        path.write_text(definition_text([FIRST, *fields], condition))
        definition = definitions.load(path)
        layout = definition.layouts[0]
        assert len(layout.fixed) == (1 if condition else len(fields) + 1)
        if wanted is None:
            wanted = [expected_flat(Oracle(path).decode("/S/C", record)[1]) for record in records]
        [(_, batch)] = Plan(definition).decode(records)
        table = pa.record_batch(batch)
        table.validate(full=True)
        for row in table.to_pylist():
            assert mismatches(flat(row["raw"], row["values"]), wanted[row["packet"]]) == [], f"seed {SEED}"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_width_at_every_offset(tmp_path: Path, encoding: str, order: str) -> None:
    randoms = random.Random(f"{SEED}{encoding}{order}")
    fields, step = [], {"packedBCD": 4, "BCD": 8}.get(encoding, 1)
    for width in range(step, 65, step):
        for offset in range(8):
            attributes = order_of(order, width, randoms)
            if attributes is not None:
                coded = f'<IntegerDataEncoding sizeInBits="{width}" encoding="{encoding}" {attributes}/>'
                fields.append((f"w{width}o{offset}", coded, 8 + SLOT_BITS * len(fields) + offset))
    size = 1 + len(fields) * SLOT_BITS // 8
    records = [bytes(size), b"\xff" * size, randoms.randbytes(size)]
    # Decimal digits, so that BCD has values too; and the last byte of the packet is needed.
    records.append(bytes(randoms.randrange(10) | randoms.randrange(10) << 4 for _ in range(size)))

    check(tmp_path, fields, records)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("encoding", "widths"), [("IEEE754_1985", (16, 32, 64)), ("MILSTD_1750A", (32, 48))])
def test_every_float_at_every_offset(tmp_path: Path, encoding: str, widths: tuple[int, ...], order: str) -> None:
    randoms = random.Random(f"{SEED}{encoding}{order}")
    fields = []
    for width in widths:
        for offset in range(8):
            coded = f'<FloatDataEncoding sizeInBits="{width}" encoding="{encoding}" {order_of(order, width, randoms)}/>'
            fields.append((f"w{width}o{offset}", coded, 8 + SLOT_BITS * len(fields) + offset))
    size = 1 + len(fields) * SLOT_BITS // 8
    check(tmp_path, fields, [bytes(size), b"\xff" * size, *(randoms.randbytes(size) for _ in range(6))])


# An array of `first` items.
AS_MANY_AS_FIRST = (
    "<DimensionList><Dimension><StartingIndex><FixedValue>0</FixedValue></StartingIndex><EndingIndex><DynamicValue>"
    '<ParameterInstanceRef parameterRef="first"/><LinearAdjustment slope="1" intercept="-1"/></DynamicValue></EndingIndex>'
    "</Dimension></DimensionList>"
)
ITEMS = 5


def array_definition(width: int, encoding: str, attributes: str) -> str:
    """`first` and eight arrays, one at each bit offset, each as long as `first` says."""
    types = f'<IntegerParameterType name="first">{FIRST[1]}</IntegerParameterType>'
    types += (
        f'<IntegerParameterType name="item"><IntegerDataEncoding sizeInBits="{width}" encoding="{encoding}" {attributes}/>'
        "</IntegerParameterType>"
    )
    types += f'<ArrayParameterType name="list" arrayTypeRef="item">{AS_MANY_AS_FIRST}</ArrayParameterType>'
    parameters = '<Parameter name="first" parameterTypeRef="first"/>'
    entries = '<ParameterRefEntry parameterRef="first"/>'
    slot = 8 * ((width * ITEMS + 8 + 7) // 8)
    for offset in range(8):
        parameters += f'<Parameter name="o{offset}" parameterTypeRef="list"/>'
        entries += (
            f'<ParameterRefEntry parameterRef="o{offset}"><LocationInContainerInBits referenceLocation="containerStart">'
            f"<FixedValue>{8 + offset * slot + offset}</FixedValue></LocationInContainerInBits></ParameterRefEntry>"
        )
    return (
        f'<SpaceSystem name="S"><TelemetryMetaData><ParameterTypeSet>{types}</ParameterTypeSet>'
        f'<ParameterSet>{parameters}</ParameterSet><ContainerSet><SequenceContainer name="C"><EntryList>{entries}</EntryList>'
        "</SequenceContainer></ContainerSet></TelemetryMetaData></SpaceSystem>"
    )


@pytest.mark.parametrize("order", ("mostSignificantByteFirst", "leastSignificantByteFirst"))
@pytest.mark.parametrize("encoding", ("unsigned", "twosComplement", "signMagnitude"))
def test_arrays_of_every_width_at_every_offset(tmp_path: Path, encoding: str, order: str) -> None:
    randoms = random.Random(f"{SEED}{encoding}{order}")
    for width in range(1, 65):
        path = tmp_path / "definition.xml"
        path.write_text(array_definition(width, encoding, f'byteOrder="{order}"'))
        size = 1 + (8 * ((width * ITEMS + 8 + 7) // 8) * 8) // 8
        records = [bytes([count]) + randoms.randbytes(size - 1) for count in (0, ITEMS, 1, 3, ITEMS)]
        oracle = Oracle(path)
        [(_, batch)] = Plan(definitions.load(path)).decode(records)
        for row in pa.record_batch(batch).to_pylist():
            wanted = expected_flat(oracle.decode("/S/C", records[row["packet"]])[1])
            assert mismatches(flat(row["raw"], row["values"]), wanted) == [], f"width {width}, seed {SEED}"


@pytest.mark.parametrize("encoding", ("unsigned", "twosComplement", "onesComplement"))
def test_a_polynomial_over_every_width(tmp_path: Path, encoding: str) -> None:
    randoms = random.Random(f"{SEED}{encoding}")
    fields = []
    for width in range(1, 65):
        terms = "".join(
            f'<Term coefficient="{randoms.choice((0.5, -3, 1e-4, 7))}" exponent="{power}"/>'
            for power in range(randoms.randrange(1, 4))
        )
        coded = (
            f'<IntegerDataEncoding sizeInBits="{width}" encoding="{encoding}"><DefaultCalibrator><PolynomialCalibrator>{terms}'
            "</PolynomialCalibrator></DefaultCalibrator></IntegerDataEncoding>"
        )
        fields.append((f"w{width}", coded, 8 + SLOT_BITS * len(fields) + randoms.randrange(8)))
    size = 1 + len(fields) * SLOT_BITS // 8
    check(tmp_path, fields, [bytes(size), b"\xff" * size, *(randoms.randbytes(size) for _ in range(5))])


def test_a_field_that_ends_with_the_packet_is_read_and_one_bit_more_is_not(tmp_path: Path) -> None:
    for width in range(1, 65):
        for offset in range(8):
            path = tmp_path / "definition.xml"
            path.write_text(definition_text([("f", f'<IntegerDataEncoding sizeInBits="{width}"/>', offset)]))
            definition = definitions.load(path)
            size = (offset + width + 7) // 8
            record = random.Random(f"{SEED}{width}{offset}").randbytes(size)
            [(_, batch)] = Plan(definition).decode([record, record[:-1]])
            rows = pa.record_batch(batch).to_pylist()
            bits = "".join(f"{octet:08b}" for octet in record)
            assert [row["raw"]["f"] for row in rows] == [int(bits[offset : offset + width], 2), None]


def test_read_number_equals_struct_where_struct_can() -> None:
    randoms = random.Random(SEED)
    for _ in range(200):
        data = randoms.randbytes(9)
        for width, letter, kind in (
            (8, "b", "twos_complement"),
            (16, "H", "unsigned"),
            (32, "i", "twos_complement"),
            (64, "Q", "unsigned"),
            (64, "d", "ieee754"),
        ):
            for little in (False, True):
                [wanted] = struct.unpack_from(("<" if little else ">") + letter, data)
                got = read_number(data, 0, width, kind, little_endian=little)
                assert got == wanted or got != got


@pytest.mark.parametrize(
    ("hexadecimal", "value"),
    # MIL-STD-1750A, table "floating point data" (from memory).
    [
        ("7fffff7f", 2.0**127 * (1 - 2.0**-23)),
        ("4000007f", 2.0**126),
        ("50000004", 10.0),
        ("40000001", 1.0),
        ("40000000", 0.5),
        ("400000ff", 0.25),
        ("40000080", 2.0**-129),
        ("00000000", 0.0),
        ("80000000", -1.0),
        ("bfffff80", -(2.0**-129) * (1 + 2.0**-22)),
        ("9ffffa04", -12.0000114441),
    ],
)
def test_1750a_floats_of_the_standard(hexadecimal: str, value: float) -> None:
    assert read_number(bytes.fromhex(hexadecimal), 0, 32, "milstd_1750a") == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("width", "bit"), [(0, 0), (65, 0), (8, -1), (8, 65), (64, 1)])
def test_read_number_refuses_what_is_not_inside(width: int, bit: int) -> None:
    with pytest.raises(ValueError, match="bits of unsigned"):
        read_number(bytes(8), bit, width, "unsigned")
