"""One packet or datagram, bit by bit; streams.inspect_frames does transfer frames.

    report = inspect_packet(packet_bytes, definition)      # Report: title, spans, problems
    for line in text_lines(report): print(line)

Where a field lies at a constant place, the definition says so. Where it does not, the decoder itself is asked: every bit
that no constant field owns is flipped, and the first value that changes owns it. So what is shown is what the decoder does,
and there is no second interpreter of definitions to differ from it. Knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from streams.rows import json_array

if TYPE_CHECKING:
    from streams.definitions import Definition
    from streams.definitions.model import Column, Condition

__all__ = ["Report", "Span", "hex_lines", "inspect_packet", "text_lines"]

# CCSDS 133.0-B-2 4.1.3: the primary header.
PRIMARY_HEADER = (
    ("version number", 0, 3), ("packet type", 3, 1), ("secondary header flag", 4, 1), ("APID", 5, 11),
    ("sequence flags", 16, 2), ("sequence count", 18, 14), ("data length", 32, 16),
)

# What the flipped copies of a packet may hold together. Beyond, places that vary are not looked for.
FLIPPED_BYTES_MAX = 64 << 20
BATCH_BYTES = 4 << 20

# Wider values are shown in hexadecimal.
BINARY_BITS_MAX = 16
HEX_BYTES_SHOWN = 8
CONDITIONS_SHOWN = 12


@dataclass(frozen=True)
class Span:
    """Some bits and what they mean. `problem` marks the field that is to blame."""

    name: str
    bit: int
    width: int
    raw: str = ""
    value: str = ""
    unit: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Report:
    data: bytes
    container: str | None = None
    spans: list[Span] = field(default_factory=list)
    unplaced: list[Span] = field(default_factory=list)         # values whose place was not looked for
    problems: list[str] = field(default_factory=list)          # of no field in particular
    title: str = ""                                            # instead of the container, for what has none


def inspect_packet(data: bytes, definition: Definition | None) -> Report:
    """A space packet; with a definition, its parameters by what the decoder makes of them."""
    if definition is None:
        return Report(data, spans=[header_span(data, *place) for place in PRIMARY_HEADER], problems=header_problems(data))
    decoded = decode([data], definition)
    if 0 not in decoded:
        return without_container(data, definition)
    number, raw, values = decoded[0]
    container = definition.containers[number]
    units = {parameter.name: parameter.unit or "" for parameter in definition.parameters}
    constant = constant_places(definition, number)
    spans, unplaced = [], []
    for path, bits in ownership(data, definition, number, raw, constant).items():
        texts = text_at(raw, path), text_at(values, path), units.get(path.split("[")[0], "")
        spans += [Span(path, start, width, *texts) for start, width in runs(bits)]
    for name, (bit, width) in constant.items():
        span = Span(name, bit, width, text_at(raw, name), text_at(values, name), units.get(name, ""))
        missing = bit + width - 8 * len(data)
        spans.append(replace(span, problem=f"ends {missing} bits behind the packet's end") if missing > 0 else span)
    placed = {span.name.split("[")[0].split("/")[0] for span in spans}
    unplaced = [Span(name, -1, 0, shown(raw[name]), shown(values.get(name))) for name in raw if name not in placed]
    return Report(data, container.path, sorted(spans, key=lambda span: span.bit), unplaced, header_problems(data))


def header_span(data: bytes, name: str, bit: int, width: int) -> Span:
    if bit + width > 8 * len(data):
        return Span(name, bit, width, problem="is not in the packet")
    return Span(name, bit, width, str(bits_at(data, bit, width)))


def header_problems(data: bytes) -> list[str]:
    if len(data) < 6:
        return [f"{len(data)} bytes are no packet: the primary header alone has 6"]
    announced = bits_at(data, 32, 16) + 7
    problems = [f"the length field says {announced} bytes, there are {len(data)}"] if announced != len(data) else []
    return problems + ([f"version number {data[0] >> 5} is not 0"] if data[0] >> 5 else [])


def without_container(data: bytes, definition: Definition) -> Report:
    """No container of the definition takes the packet: the header, and what the containers ask for."""
    asked: dict[str, list[tuple[str, object]]] = {}
    paths = {slot: path for path, slot in definition.slots.items()}
    places: dict[str, tuple[int, int]] = {}
    for node in definition.nodes:
        for slot, number, bit in node.loads:
            width = definition.fields[number].encoding.size.constant
            if bit >= 0 and width:
                places[paths[slot]] = (bit, width)
        for path, operator, value in conditions_of(node.condition, paths):
            asked.setdefault(path, []).append((operator, value))
    spans = [header_span(data, *place) for place in PRIMARY_HEADER]
    for path, (bit, width) in sorted(places.items(), key=lambda item: item[1]):
        span = header_span(data, path.rpartition("/")[2], bit, width)
        tests = dict.fromkeys(asked.get(path, ()))
        if not span.problem and ("==", bits_at(data, bit, width)) not in tests:
            wanted = ", ".join(f"{operator} {value}" for operator, value in [*tests][:CONDITIONS_SHOWN])
            span = replace(span, problem=f"containers ask for {wanted}")
        spans.append(span)
    named = {(span.bit, span.width): span for span in spans}             # a parameter's name wins over the standard's
    problems = ["no container of the definition takes this packet", *header_problems(data)]
    return Report(data, None, sorted(named.values(), key=lambda span: span.bit), [], problems)


def conditions_of(condition: Condition, paths: dict[int, str]) -> Iterator[tuple[str, str, object]]:
    """(parameter, operator, value or ranges of values) of every test against a constant."""
    for test in condition:
        if not isinstance(test, tuple) and test.other < 0:
            value = test.value.hex() if isinstance(test.value, bytes) else test.value
            yield paths[test.slot], test.operator, value if value is not None else test.ranges


def decode(records: list[bytes], definition: Definition) -> dict[int, tuple[int, dict[str, Any], dict[str, Any]]]:
    """(container, raw, values) of each record that a container takes."""
    from framecodec.plan import Plan

    found = {}
    for number, tree in Plan(definition).decode(records):
        batch = pa.record_batch(tree)
        raw, values = batch["raw"], batch["values"]
        texts = zip(json_array(raw, raw).to_pylist(), json_array(values, raw).to_pylist(), strict=True)
        for row, (raw_text, values_text) in zip(batch["packet"].to_pylist(), texts, strict=True):
            found[row] = (number, json.loads(raw_text), json.loads(values_text))
    return found


def constant_places(definition: Definition, number: int) -> dict[str, tuple[int, int]]:
    """(bit, width) of the parameters that stand at one place in every packet of a container, by their names in the output.

    Members of aggregates are `name/member`.
    """
    layout = definition.layouts[definition.containers[number].layout]
    bits = dict(layout.fixed)
    found: dict[str, tuple[int, int]] = {}

    def visit(columns: tuple[Column, ...], path: str) -> None:
        for column in columns:
            if column.scalar in bits:
                width = definition.fields[layout.scalars[column.scalar][0]].encoding.size.constant
                if width:
                    found[path + column.name] = (bits[column.scalar], width)
            elif column.list_domain < 0:
                visit(column.members, f"{path}{column.name}/")

    visit(layout.columns, "")
    return found


def ownership(
    data: bytes, definition: Definition, number: int, raw: dict[str, Any], constant: dict[str, tuple[int, int]]
) -> dict[str, list[int]]:
    """The bits of every parameter that has no constant place, in rising order."""
    if all(name in constant for name in leaves(raw)):
        return {}
    owned_already = {bit for start, width in constant.values() for bit in range(start, start + width)}
    free = [bit for bit in range(8 * len(data)) if bit not in owned_already]
    if len(free) * len(data) > FLIPPED_BYTES_MAX:
        return {}
    owned: dict[str, list[int]] = {}
    step = max(1, BATCH_BYTES // max(1, len(data)))
    for start in range(0, len(free), step):
        part = free[start : start + step]
        changed = decode([flipped(data, bit) for bit in part], definition)
        for row, (found, other, _) in changed.items():
            path = first_difference(raw, other) if found == number else None
            if path is not None and path not in constant:
                owned.setdefault(path, []).append(part[row])
    return owned


def leaves(values: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{name}/")
        else:
            yield path + name


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit >> 3] + bytes([data[bit >> 3] ^ (0x80 >> (bit & 7))]) + data[(bit >> 3) + 1 :]


def first_difference(one: Any, other: Any, path: str = "") -> str | None:
    """The path of the first leaf that differs: `name`, `list[2]`, `aggregate/member`."""
    if isinstance(one, dict) and isinstance(other, dict):
        for name, value in one.items():
            inner = f"{path}/{name}" if path else name
            if (found := first_difference(value, other.get(name), inner)) is not None:
                return found
        return None
    if isinstance(one, list) and isinstance(other, list):
        for index, (left, right) in enumerate(zip(one, other, strict=False)):
            if (found := first_difference(left, right, f"{path}[{index}]")) is not None:
                return found
        return path if len(one) != len(other) else None
    # As text: -0.0 is not 0.0 here.
    return path if repr(one) != repr(other) else None


def runs(bits: Iterable[int]) -> Iterator[tuple[int, int]]:
    """(start, width) of neighbouring bits."""
    start = end = -1
    for bit in bits:
        if bit == end:
            end += 1
            continue
        if end > start:
            yield start, end - start
        start, end = bit, bit + 1
    if end > start:
        yield start, end - start


def text_at(values: Any, path: str) -> str:
    for part in path.replace("]", "").replace("[", "/").split("/") if path not in values else [path]:
        values = values[int(part)] if isinstance(values, list) else values.get(part) if isinstance(values, dict) else None
    return shown(values)


def shown(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else json.dumps(value)


def bits_at(data: bytes, bit: int, width: int) -> int:
    end = bit + width
    return int.from_bytes(data[bit // 8 : (end + 7) // 8], "big") >> (-end % 8) & ((1 << width) - 1)


def bits_text(data: bytes, bit: int, width: int) -> str:
    if bit + width > 8 * len(data):
        return "(outside)"
    if width <= BINARY_BITS_MAX:
        return f"{bits_at(data, bit, width):0{width}b}"
    digits = f"{bits_at(data, bit, width):0{(width + 3) // 4}x}"
    return digits if len(digits) <= 2 * HEX_BYTES_SHOWN else digits[: 2 * HEX_BYTES_SHOWN] + "..."


def text_lines(report: Report) -> Iterator[str]:
    """The report as a table: place (octet.bit), width, bits, name, raw value, value; `>>` marks what fails."""
    rows: list[tuple[str, ...]] = [("octet", "bits", "content", "field", "raw", "value")]
    covered = 0
    for span in report.spans:
        if span.bit > covered:
            rows.append(nothing(report.data, covered, span.bit))
        covered = max(covered, span.bit + span.width)
        value = f"{span.value} {span.unit}".strip() if span.value != span.raw or span.unit else ""
        content = bits_text(report.data, span.bit, span.width)
        rows.append((place(span.bit), str(span.width), content, span.name, span.raw, value))
    if covered < 8 * len(report.data):
        rows.append(nothing(report.data, covered, 8 * len(report.data)))
    rows += [("?", "", "", span.name, span.raw, span.value if span.value != span.raw else "") for span in report.unplaced]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    blamed = {(place(span.bit), span.name): span.problem for span in report.spans if span.problem}
    yield report.title or f"container: {report.container or 'none'}"
    for row in rows:
        problem = blamed.get((row[0], row[3]), "")
        line = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        yield (f">> {line}   << {problem}" if problem else f"   {line}")
    for text in report.problems:
        yield f">> {text}"


def nothing(data: bytes, start: int, end: int) -> tuple[str, ...]:
    return place(start), str(end - start), bits_text(data, start, end - start), "(nothing)", "", ""


def place(bit: int) -> str:
    return f"{bit // 8}.{bit % 8}"


def hex_lines(data: bytes, marks: list[tuple[int, int]]) -> Iterator[str]:
    """A hex dump with `^^` under the marked (start, size) octets."""
    for start in range(0, len(data), 16):
        part = data[start : start + 16]
        text = "".join(chr(octet) if 32 <= octet < 127 else "." for octet in part)
        yield f"{start:6x}  {part.hex(' '):47}  {text}"
        marked = [any(first <= start + index < first + max(size, 1) for first, size in marks) for index in range(len(part))]
        if any(marked):
            yield (" " * 8 + " ".join("^^" if each else "  " for each in marked)).rstrip()
