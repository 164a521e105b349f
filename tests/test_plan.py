"""Everything of XTCE that is supported, against the oracle; and what a plan promises whatever it is given."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pytest

from framecodec.plan import Plan
from framecodec.text import decode_text
from streams import definitions
from tests.oracle.xtce import Oracle
from tests.satellite import expected_flat, flat, mismatches

SEED = 20261123
EVERYTHING = Path(__file__).parent / "definitions" / "good" / "xtce" / "everything.xml"


@pytest.fixture(scope="module")
def everything() -> definitions.Definition:
    return definitions.load(EVERYTHING)


def rows(
    definition: definitions.Definition, records: list[bytes], **options: object
) -> dict[int, tuple[str, dict[str, object], dict[str, object]]]:
    found = {}
    for container, batch in Plan(definition, **options).decode(records):
        table = pa.record_batch(batch)
        table.validate(full=True)
        for row in table.to_pylist():
            found[row["packet"]] = definition.containers[container].path, row["raw"], row["values"]
    return found


def made(randoms: random.Random, kind: int, size: int) -> bytes:
    """A record of `kind` whose modes, counts and texts are likely to mean something."""
    body = bytearray(randoms.randbytes(size))
    for place in range(len(body)):
        if randoms.random() < 0.5:
            body[place] = randoms.choice((0, 1, 16, 32, 65, 66, 0x7A, 100, 110, 200))
    return bytes([kind, randoms.randrange(256), randoms.choice((0, 1, 60, 99, 110, 200, 201))]) + bytes(body)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 77])
def test_everything_equals_the_oracle(everything: definitions.Definition, kind: int) -> None:
    randoms = random.Random(SEED + kind)
    records = [made(randoms, kind, 250) for _ in range(30)]
    if kind == 2:  # mostly text
        records = [record[:3] + bytes(randoms.choice((0, 16, 32, 48, 65, 0x7A)) for _ in record[3:]) for record in records]
    got, oracle, compared = rows(everything, records), Oracle(EVERYTHING), 0
    for number, record in enumerate(records):
        try:
            container, entries = oracle.decode("/All/Head", record)
        except UnicodeDecodeError:
            continue  # the oracle is strict about text; see the tests of to_utf8
        assert container == got[number][0]
        assert mismatches(flat(*got[number][1:]), expected_flat(entries)) == [], f"seed {SEED}, record {record.hex()}"
        compared += 1
    assert compared >= 10


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_every_shorter_record_keeps_what_the_oracle_keeps(everything: definitions.Definition, kind: int) -> None:
    """Cut at every byte: the same values up to the first that does not fit."""
    record = (
        bytes([kind, 0x4F, 0]) + b"ABCD" + b"efg\0\0\0" + b"xyz" + bytes([32]) + "ok".encode("utf-16-be") + bytes(range(1, 60))
    )
    records = [record[:size] for size in range(3, len(record))]
    got, oracle = rows(everything, records), Oracle(EVERYTHING)
    for number, cut in enumerate(records):
        container, entries = oracle.decode("/All/Head", cut)
        # `last` is the last byte of whatever there is; the oracle's container may end earlier than its bytes.
        assert container == got[number][0]
        assert mismatches(flat(*got[number][1:]), expected_flat(entries)) == [], (len(cut), cut.hex())


def test_records_of_many_containers_keep_their_order(everything: definitions.Definition) -> None:
    randoms = random.Random(SEED)
    kinds = [randoms.choice((1, 2, 3, 4, 9)) for _ in range(1000)]
    got = rows(everything, [made(randoms, kind, 250) for kind in kinds])
    names = {1: "Calibrated", 2: "Texts", 3: "Lists", 4: "Places"}
    assert {number: path.rpartition("/")[2] for number, (path, _, _) in got.items()} == {
        number: names[kind] for number, kind in enumerate(kinds) if kind in names
    }


def test_a_plan_can_be_used_again(everything: definitions.Definition) -> None:
    randoms = random.Random(SEED)
    records = [made(randoms, 3, 250) for _ in range(300)]
    plan = Plan(everything)
    [(_, first)] = plan.decode(records)
    first_table = pa.record_batch(first)
    [(_, second)] = plan.decode(records)
    second_table = pa.record_batch(second)
    del plan, first, second
    assert first_table.to_pylist() == second_table.to_pylist()


def test_a_batch_is_taken_once(everything: definitions.Definition) -> None:
    [(_, batch)] = Plan(everything).decode([made(random.Random(SEED), 1, 250)])
    pa.record_batch(batch)
    with pytest.raises(ValueError, match="taken before"):
        pa.record_batch(batch)


def test_only_what_is_asked_for_is_computed(everything: definitions.Definition) -> None:
    record = made(random.Random(SEED), 3, 250)
    whole, some = (
        rows(everything, [record])[0],
        rows(everything, [record], parameters=["mode", "nested/pair/left", "/All/matrix"]),
    )
    assert "left" in str(everything.parameters)
    assert some[0][1] == {
        "mode": whole[1]["mode"],
        "nested": {"pair": {"left": whole[1]["nested"]["pair"]["left"]}, "mode": whole[1]["nested"]["mode"]},
        "matrix": whole[1]["matrix"],
    }


def test_noise_never_raises_and_always_ends(everything: definitions.Definition) -> None:
    randoms = random.Random(SEED)
    records = [bytes([randoms.choice((1, 2, 3, 4))]) + randoms.randbytes(randoms.randrange(0, 120)) for _ in range(3000)] + [
        b"",
        b"\x03",
    ]
    assert len(rows(everything, records)) >= 2900


def test_counts_that_no_packet_can_hold_end(tmp_path: Path) -> None:
    path = tmp_path / "d.xml"
    path.write_text("""
        <SpaceSystem name="S"><TelemetryMetaData>
          <ParameterTypeSet>
            <IntegerParameterType name="N"><IntegerDataEncoding sizeInBits="64"/></IntegerParameterType>
            <BinaryParameterType name="Z">
              <BinaryDataEncoding><SizeInBits><FixedValue>0</FixedValue></SizeInBits></BinaryDataEncoding>
            </BinaryParameterType>
          </ParameterTypeSet>
          <ParameterSet><Parameter name="n" parameterTypeRef="N"/><Parameter name="z" parameterTypeRef="Z"/></ParameterSet>
          <ContainerSet><SequenceContainer name="C"><EntryList>
            <ParameterRefEntry parameterRef="n"/>
            <ParameterRefEntry parameterRef="z"><RepeatEntry><Count>
              <DynamicValue><ParameterInstanceRef parameterRef="n"/></DynamicValue>
            </Count></RepeatEntry></ParameterRefEntry>
          </EntryList></SequenceContainer></ContainerSet>
        </TelemetryMetaData></SpaceSystem>
    """.strip())
    definition = definitions.load(path)
    assert rows(definition, [bytes(7) + b"\x05"])[0][1] == {"n": 5, "z": [b""] * 5}
    for count in (b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(4) + b"\xff" * 4):
        assert rows(definition, [count])[0][1]["z"] == []


def test_times_with_every_epoch_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "d.xml"

    def time(name: str, units: str, reference: str, kind: str = "Absolute") -> str:
        return (
            f'<{kind}TimeParameterType name="{name}"><Encoding {units}><IntegerDataEncoding sizeInBits="32"/></Encoding>'
            f"<ReferenceTime>{reference}</ReferenceTime></{kind}TimeParameterType>"
        )

    types = {
        "unix": time("unix", "", "<Epoch>1970-01-01</Epoch>"),
        "gps": time("gps", "", "<Epoch>GPS</Epoch>"),
        "tai": time("tai", "", "<Epoch>TAI</Epoch>"),
        "j2000": time("j2000", 'units="seconds"', "<Epoch>J2000</Epoch>"),
        "day": time("day", 'units="days"', "<Epoch>1958-01-01T00:00:00Z</Epoch>"),
        "ms": time("ms", 'scale="0.001"', '<OffsetFrom parameterRef="day"/>'),
        "us": time("us", 'scale="1E-6"', '<OffsetFrom parameterRef="ms"/>'),
        "span": time("span", 'scale="0.5" offset="10"', '<OffsetFrom parameterRef="us"/>', "Relative"),
    }
    path.write_text(
        '<SpaceSystem name="S"><TelemetryMetaData><ParameterTypeSet>'
        + "".join(types.values())
        + "</ParameterTypeSet><ParameterSet>"
        + "".join(f'<Parameter name="{name}" parameterTypeRef="{name}"/>' for name in types)
        + '</ParameterSet><ContainerSet><SequenceContainer name="C"><EntryList>'
        + "".join(f'<ParameterRefEntry parameterRef="{name}"/>' for name in types)
        + "</EntryList></SequenceContainer></ContainerSet></TelemetryMetaData></SpaceSystem>"
    )
    counts = [1_617_926_400, 1_301_961_618, 1_996_617_637, 671_198_469, 23_109, 7, 137, 6]
    [(_, batch)] = Plan(definitions.load(path)).decode([b"".join(count.to_bytes(4, "big") for count in counts)])
    [values] = pa.record_batch(batch).column("values").to_pylist()

    # 2021-04-09T00:00:00Z on every clock: GPS 18 s and TAI 37 s ahead of UTC, TT 69.184 s.
    second = 10**9
    assert {name: value.value for name, value in values.items() if name != "span"} == {
        "unix": counts[0] * second,
        "gps": counts[0] * second,
        "tai": counts[0] * second,
        "j2000": counts[0] * second - 184_000_000,
        "day": counts[0] * second,
        "ms": counts[0] * second + 7_000_000,
        "us": counts[0] * second + 7_137_000,
    }
    assert values["span"] == 13.0


@pytest.mark.parametrize("charset", ["utf-8", "ascii", "latin-1", "cp1252", "utf-16-be", "utf-16-le"])
def test_text_is_what_python_makes_of_it(charset: str) -> None:
    randoms = random.Random(SEED)
    for _ in range(400):
        data = (
            randoms.randbytes(randoms.randrange(0, 12))
            if randoms.random() < 0.6
            else "aé€😀\0z".encode("utf-16-le" if charset == "utf-16-le" else "utf-16-be" if "16" in charset else "utf-8")[
                : randoms.randrange(16)
            ]
        )
        wanted = data.decode(charset, "replace")
        got = decode_text(data, charset)
        # Python joins the bytes of one broken sequence into one replacement, and has no character for five of cp1252's bytes.
        assert got.replace("�", "") == wanted.replace("�", ""), data
        assert ("�" in got) == ("�" in wanted)
