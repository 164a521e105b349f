"""XTCE files written by tests: types, parameters and containers in one space system, and their values beside the oracle's."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from framecodec.plan import Plan
from streams import definitions
from tests.oracle.xtce import Oracle
from tests.satellite import expected_flat, flat, mismatches

XTCE_1_1 = "http://www.omg.org/space/xtce"
XTCE_1_2 = "http://www.omg.org/spec/XTCE/20180204"


def integer(name: str, bits: int = 8, inside: str = "", **attributes: str) -> str:
    """An IntegerParameterType."""
    written = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return (
        f'<IntegerParameterType name="{name}"><IntegerDataEncoding sizeInBits="{bits}"{written}>{inside}</IntegerDataEncoding>'
        "</IntegerParameterType>"
    )


def entry(name: str, inside: str = "", kind: str = "ParameterRefEntry") -> str:
    reference = "containerRef" if kind == "ContainerRefEntry" else "parameterRef"
    return f'<{kind} {reference}="{name}">{inside}</{kind}>'


def container(name: str, entries: str, base: str = "", criteria: str = "", attributes: str = "") -> str:
    if base:
        restriction = f"<RestrictionCriteria>{criteria}</RestrictionCriteria>" if criteria else ""
        base = f'<BaseContainer containerRef="{base}">{restriction}</BaseContainer>'
    return f'<SequenceContainer name="{name}" {attributes}><EntryList>{entries}</EntryList>{base}</SequenceContainer>'


def system(
    name: str, types: str, parameters: dict[str, str] | str, containers: str, inside: str = "", attributes: str = ""
) -> str:
    """A SpaceSystem; `parameters` maps names to types, or is text."""
    if not isinstance(parameters, str):
        parameters = "".join(f'<Parameter name="{name}" parameterTypeRef="{kind}"/>' for name, kind in parameters.items())
    return (
        f'<SpaceSystem name="{name}" {attributes}><TelemetryMetaData><ParameterTypeSet>{types}</ParameterTypeSet>'
        f"<ParameterSet>{parameters}</ParameterSet><ContainerSet>{containers}</ContainerSet></TelemetryMetaData>"
        f"{inside}</SpaceSystem>"
    )


def document(types: str, parameters: dict[str, str], containers: str = "", namespace: str = XTCE_1_2) -> str:
    """A file with one space system S; without containers one, C, that holds all the parameters in order."""
    containers = containers or container("C", "".join(entry(name) for name in parameters))
    return system("S", types, parameters, containers, attributes=f'xmlns="{namespace}"')


Rows = list[tuple[str, dict[str, list[tuple[object, object]]]] | None]


def decoded(path: Path, records: list[bytes], root: str | None = None) -> Rows:
    """(container path, {parameter: [(raw, value), ...]}) of every record, None where no container takes it."""
    definition = definitions.load(path, root)
    rows: Rows = [None] * len(records)
    for number, batch in Plan(definition).decode(records):
        table = pa.record_batch(batch)
        table.validate(full=True)
        for row in table.to_pylist():
            rows[row["packet"]] = definition.containers[number].path, flat(row["raw"], row["values"])
    return rows


def equal_to_oracle(folder: Path, text: str, records: list[bytes]) -> Rows:
    """What `decoded` gives, after comparing all of it with the oracle."""
    path = folder / "definition.xml"
    path.write_text(text, encoding="utf-8")
    rows = decoded(path, records)
    root = definitions.load(path).root
    for record, row in zip(records, rows, strict=True):
        wanted, entries = Oracle(path).decode(root, record)
        assert (row[0] if row else None) == wanted, record.hex()
        if row is not None:
            assert (record.hex(), mismatches(row[1], expected_flat(entries))) == (record.hex(), [])
    return rows
