"""An XTCE decoder that is slow and obvious: one packet at a time, bits as a string of '0' and '1', XML looked up as it goes.

    values = decode(xml_path, "/BogusSAT/CCSDSPacket", packet)       # container path, [(path, start bit, raw, value), ...]

Written from the standard (XTCE 1.2) independently of streams.definitions and framecodec, which are compared with it. It
knows valid definitions only, and no space packets.
"""

from __future__ import annotations

import math
import operator
import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

OPERATORS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Entry = tuple[str, int, Any, Any]


class TooShort(Exception):
    """The packet ends before the container does; carries what was decoded."""


class Space:
    def __init__(self, element: ElementTree.Element, parent: Space | None) -> None:
        self.element, self.parent, self.name = element, parent, element.get("name", "")
        self.path = (parent.path if parent else "") + "/" + self.name
        self.children = {child.get("name"): Space(child, self) for child in element.findall("SpaceSystem")}

    def declared(self, kind: str, name: str) -> ElementTree.Element | None:
        where = {
            "type": "ParameterTypeSet/*",
            "parameter": "ParameterSet/Parameter",
            "container": "ContainerSet/SequenceContainer",
        }[kind]
        for meta in ("TelemetryMetaData", "CommandMetaData"):
            for element in self.element.findall(f"{meta}/{where}"):
                if element.get("name") == name:
                    return element
        return None


class Oracle:
    def __init__(self, path: Path | str) -> None:
        tree = ElementTree.parse(path)
        for element in tree.iter():
            element.tag = element.tag.rpartition("}")[2]
        self.root = Space(tree.getroot(), None)

    # -- names ---------------------------------------------------------------------------------------------------------
    def find(self, kind: str, reference: str, space: Space) -> tuple[Space, ElementTree.Element] | None:
        steps = reference.split("/")
        if steps[0] == "":
            assert steps[1] == self.root.name
            return self.walk(kind, steps[2:], self.root)
        start: Space | None = space
        while start is not None:
            if found := self.walk(kind, steps, start):
                return found
            start = start.parent
        return None

    def walk(self, kind: str, steps: list[str], space: Space | None) -> tuple[Space, ElementTree.Element] | None:
        for step in steps[:-1]:
            if space is None:
                return None
            space = space.parent if step == ".." else space if step == "." else space.children.get(step)
        found = space.declared(kind, steps[-1]) if space else None
        return (space, found) if space is not None and found is not None else None

    def spaces(self, space: Space | None = None) -> Iterator[Space]:
        space = space or self.root
        yield space
        for child in space.children.values():
            yield from self.spaces(child)

    # -- containers ----------------------------------------------------------------------------------------------------
    def decode(self, root: str, packet: bytes) -> tuple[str | None, list[Entry]]:
        """The path of the container that the packet is (None: none) and its values."""
        found = self.find("container", root, self.root)
        assert found, root
        best = self.descend([found], packet)
        return best if best else (None, [])

    def descend(self, chain: list[tuple[Space, ElementTree.Element]], packet: bytes) -> tuple[str, list[Entry]] | None:
        space, element = chain[-1]
        run = Run(self, packet)
        short = False
        try:
            run.chain(chain, 0)
        except TooShort:
            short = True
        for heir_space in self.spaces():
            for heir in heir_space.element.findall("TelemetryMetaData/ContainerSet/SequenceContainer"):
                base = heir.find("BaseContainer")
                if base is None or self.find("container", base.get("containerRef", ""), heir_space) != (space, element):
                    continue
                criteria = base.find("RestrictionCriteria")
                if criteria is None or run.matches(criteria, heir_space):
                    deeper = self.descend([*chain, (heir_space, heir)], packet)
                    if deeper:
                        return deeper
        if element.get("abstract") == "true":
            return None
        del short
        return f"{space.path}/{element.get('name')}", run.out


class Run:
    """One packet."""

    def __init__(self, oracle: Oracle, packet: bytes) -> None:
        self.oracle = oracle
        self.bits = "".join(f"{octet:08b}" for octet in packet)
        self.at = 0
        self.out: list[Entry] = []
        self.latest: dict[str, tuple[Any, Any]] = {}
        self.labelled: set[str] = set()

    def take(self, count: int) -> str:
        if count < 0 or self.at < 0 or self.at + count > len(self.bits):
            raise TooShort
        self.at += count
        return self.bits[self.at - count : self.at]

    def chain(self, chain: list[tuple[Space, ElementTree.Element]], start: int) -> None:
        for space, element in chain:
            resume = None
            entries = list(element.find("EntryList") if element.find("EntryList") is not None else [])
            for number, entry in enumerate(entries):
                location = entry.find("LocationInContainerInBits")
                if location is not None and location.get("referenceLocation") == "containerEnd" and resume is None:
                    resume = self.at
                self.entry(entry, entries[number + 1] if number + 1 < len(entries) else None, space, start)
            if resume is not None:
                self.at = resume

    def entry(self, entry: ElementTree.Element, following: ElementTree.Element | None, space: Space, start: int) -> None:
        condition = entry.find("IncludeCondition")
        if condition is not None and not self.matches(condition, space):
            return
        location = entry.find("LocationInContainerInBits")
        if location is not None:
            offset = self.integer(location, space)
            where = location.get("referenceLocation", "previousEntry")
            if where == "previousEntry":
                self.at += offset
            elif where == "containerStart":
                self.at = start + offset
            elif where == "containerEnd":
                self.at = len(self.bits) - offset - self.size(entry, space)
            else:
                next_location = following.find("LocationInContainerInBits")  # type: ignore[union-attr]
                distance = self.integer(next_location, space)  # type: ignore[arg-type]
                if next_location.get("referenceLocation") == "containerStart":  # type: ignore[union-attr]
                    self.at = start + distance - offset - self.size(entry, space)
                else:
                    self.at = (
                        len(self.bits) - distance - self.size(following, space)  # type: ignore[arg-type]
                        - offset - self.size(entry, space)
                    )
        repeat = entry.find("RepeatEntry")
        count = self.integer(repeat.find("Count"), space) if repeat is not None else 1  # type: ignore[arg-type]
        gap = (
            self.integer(repeat.find("Offset"), space)  # type: ignore[arg-type]
            if repeat is not None and repeat.find("Offset") is not None else 0
        )
        for number in range(count):
            if number:
                self.at += gap
            self.body(entry, space)

    def body(self, entry: ElementTree.Element, space: Space) -> None:
        if entry.tag == "ContainerRefEntry":
            inner_space, element = self.must("container", entry.get("containerRef", ""), space)
            chain = [(inner_space, element)]
            while (base := chain[0][1].find("BaseContainer")) is not None:
                chain.insert(0, self.must("container", base.get("containerRef", ""), chain[0][0]))
            start = self.at
            self.chain(chain, start)
            size = element.find("BinaryEncoding/SizeInBits")
            if size is not None:
                self.at = start + self.integer(size, inner_space)
            return
        owner, parameter = self.must("parameter", entry.get("parameterRef", ""), space)
        path = f"{owner.path}/{parameter.get('name')}"
        sizes = [self.dimension(size, space) for size in entry.findall("DimensionList/*")]
        self.value(path, *self.must("type", parameter.get("parameterTypeRef", ""), owner), sizes)

    def must(self, kind: str, reference: str, space: Space) -> tuple[Space, ElementTree.Element]:
        found = self.oracle.find(kind, reference, space)
        assert found, f"{kind} {reference}"
        return found

    def size(self, entry: ElementTree.Element, space: Space) -> int:
        """By decoding it where zeros are."""
        probe = Run(self.oracle, bytes(4096))
        probe.body(entry, space)
        return probe.at

    # -- values --------------------------------------------------------------------------------------------------------
    def value(self, path: str, space: Space, kind: ElementTree.Element, sizes: list[int]) -> None:
        if kind.tag == "AggregateParameterType":
            for member in kind.findall("MemberList/Member"):
                self.value(f"{path}/{member.get('name')}", *self.must("type", member.get("typeRef", ""), space), [])
        elif kind.tag == "ArrayParameterType":
            if not sizes:
                sizes = [self.dimension(size, space) for size in kind.findall("DimensionList/*")]
            item = self.must("type", kind.get("arrayTypeRef", ""), space)
            for _ in range(math.prod(sizes)):
                self.value(path, *item, [])
        else:
            start = self.at
            raw, value = self.scalar(space, kind)
            self.latest[path] = raw, value
            if kind.tag in ("EnumeratedParameterType", "BooleanParameterType"):
                self.labelled.add(path)
            self.out.append((path, start, raw, value))

    def dimension(self, element: ElementTree.Element, space: Space) -> int:
        if element.tag == "Size":
            return self.integer(element, space)
        low, high = element.find("StartingIndex"), element.find("EndingIndex")
        return self.integer(high, space) - self.integer(low, space) + 1  # type: ignore[arg-type]

    def scalar(self, space: Space, kind: ElementTree.Element) -> tuple[Any, Any]:
        chain = [(space, kind)]
        while base := chain[-1][1].get("baseType"):
            chain.append(self.must("type", base, chain[-1][0]))

        def inherited(*names: str) -> tuple[Space, ElementTree.Element] | tuple[None, None]:
            for owner, link in chain:
                for child in link:
                    if child.tag in names:
                        return owner, child
            return None, None

        owner, coded = inherited(
            "IntegerDataEncoding", "FloatDataEncoding", "StringDataEncoding", "BinaryDataEncoding", "Encoding"
        )
        assert owner is not None and coded is not None
        if coded.tag == "Encoding":
            coded = coded[0]
        raw = self.raw(owner, coded)
        value = raw
        if coded.tag in ("IntegerDataEncoding", "FloatDataEncoding") and raw is not None:
            value = self.calibrated(owner, coded, raw)
        if kind.tag == "BooleanParameterType":
            number = int.from_bytes(raw, "big") if isinstance(raw, bytes) else raw
            value = (
                next((link.get("oneStringValue", "True") for _, link in chain if link.get("oneStringValue")), "True")
                if number
                else next((link.get("zeroStringValue", "False") for _, link in chain if link.get("zeroStringValue")), "False")
            )
        elif kind.tag == "EnumeratedParameterType":
            number = int.from_bytes(raw, "big") if isinstance(raw, bytes) else raw
            _, listed = inherited("EnumerationList")
            value = next(
                (
                    item.get("label")
                    for item in (() if listed is None else listed)
                    if int(item.get("value", "")) <= number <= int(item.get("maxValue", item.get("value", "")))
                ),
                None,
            )
        elif kind.tag == "StringParameterType" and not isinstance(raw, str):
            value = str(raw)
        return raw, value

    def raw(self, space: Space, coded: ElementTree.Element) -> Any:
        if coded.tag == "BinaryDataEncoding":
            count = self.integer(coded.find("SizeInBits"), space)  # type: ignore[arg-type]
            bits = self.take(count)
            return int(bits or "0", 2).to_bytes((count + 7) // 8, "big")
        if coded.tag == "StringDataEncoding":
            return self.text(space, coded)
        width = int(coded.get("sizeInBits", "8" if coded.tag == "IntegerDataEncoding" else "32"))
        bits = self.take(width)
        if coded.get("bitOrder") == "leastSignificantBitFirst":
            bits = bits[::-1]
        order = coded.get("byteOrder", "mostSignificantByteFirst")
        if coded.find("ByteOrderList") is not None:
            order = ",".join(byte.get("byteSignificance", "") for byte in coded.findall("ByteOrderList/Byte"))
        groups = [bits[place : place + 8] for place in range(0, width, 8)]
        if order == "leastSignificantByteFirst":
            bits = "".join(reversed(groups))
        elif order != "mostSignificantByteFirst":
            significances = [int(part) for part in order.split(",")]
            bits = "".join(group for _, group in sorted(zip(significances, groups, strict=True), reverse=True))
        number = int(bits, 2)
        if coded.tag == "FloatDataEncoding":
            if "1750" in coded.get("encoding", ""):
                fraction = bits[:24] + bits[32:]
                whole = int(fraction, 2) - (int(fraction[0]) << len(fraction))
                exponent = int(bits[24:32], 2) - (int(bits[24]) << 8)
                return whole * 2.0 ** (exponent - len(fraction) + 1)
            return struct.unpack({16: ">e", 32: ">f", 64: ">d"}[width], number.to_bytes(width // 8, "big"))[0]
        sign, rest = int(bits[0]), int(bits[1:] or "0", 2)
        encoding = coded.get("encoding", "unsigned")
        if encoding in ("twosComplement", "signed"):
            return rest - (sign << (width - 1))
        if encoding == "onesComplement":
            return rest - sign * ((1 << (width - 1)) - 1)
        if encoding == "signMagnitude":
            return -rest if sign else rest
        if encoding in ("BCD", "packedBCD"):
            digits = f"{number:0{width // 4}x}"[1 if encoding == "BCD" else 0 :: 2 if encoding == "BCD" else 1]
            high = f"{number:0{width // 4}x}"[::2] if encoding == "BCD" else "0"
            return int(digits) if digits.isdecimal() and set(high) == {"0"} else None
        return number

    def text(self, space: Space, coded: ElementTree.Element) -> str:
        codec = {
            "UTF-16": "utf-16-be",
            "UTF-16LE": "utf-16-le",
            "UTF-16BE": "utf-16-be",
            "ISO-8859-1": "latin-1",
            "Windows-1252": "cp1252",
        }.get(coded.get("encoding", "UTF-8"), "utf-8")
        box_element = coded.find("SizeInBits/Fixed")
        if box_element is None:
            box_element = coded.find("Variable")
        leading, end = coded.find(".//LeadingSize"), coded.find(".//TerminationChar")
        if box_element is not None and any(
            box_element.find(form) is not None for form in ("FixedValue", "DynamicValue", "DiscreteLookupList")
        ):
            box = self.integer(box_element, space)
        else:
            box = -1
        stop = self.at + box if box >= 0 else len(self.bits)
        if stop > len(self.bits):
            raise TooShort
        size = stop - self.at
        if leading is not None:
            size = int(self.take(int(leading.get("sizeInBitsOfSizeTag", "16"))), 2)
            if self.at + size > stop:
                raise TooShort
        whole = size // 8 * 8
        data = int(self.bits[self.at : self.at + whole] or "0", 2).to_bytes(whole // 8, "big")
        self.at += size
        if end is not None:
            mark = bytes.fromhex(end.text or "00")
            place = next(
                (place for place in range(0, len(data) - len(mark) + 1, len(mark)) if data[place : place + len(mark)] == mark),
                None,
            )
            if place is None and box < 0:
                raise TooShort
            if place is not None:
                if box < 0:
                    self.at += 8 * (place + len(mark)) - size
                data = data[:place]
        if box >= 0:
            self.at = stop
        return data.decode(codec)

    def calibrated(self, space: Space, coded: ElementTree.Element, raw: float) -> Any:
        chosen = coded.find("DefaultCalibrator")
        for context in coded.findall("ContextCalibratorList/ContextCalibrator"):
            if self.matches(context.find("ContextMatch"), space):  # type: ignore[arg-type]
                chosen = context.find("Calibrator")
                break
        if chosen is None:
            return float(raw) if coded.find("ContextCalibratorList") is not None else raw
        how = chosen[0]
        if how.tag == "PolynomialCalibrator":
            return math.fsum(float(term.get("coefficient", "")) * float(raw) ** int(term.get("exponent", "")) for term in how)
        if how.tag == "SplineCalibrator":
            points = sorted((float(point.get("raw", "")), float(point.get("calibrated", ""))) for point in how)
            extrapolates = how.get("extrapolate") == "true"
            if not extrapolates and not points[0][0] <= raw <= points[-1][0]:
                return None
            if how.get("order") == "0":
                return next((value for place, value in reversed(points) if place <= raw), points[0][1])
            left, right = next(((a, b) for a, b in pairwise(points) if raw <= b[0]), (points[-2], points[-1]))
            return left[1] + (raw - left[0]) / (right[0] - left[0]) * (right[1] - left[1])
        stack: list[float] = []
        binary: dict[str, Any] = {
            "+": operator.add,
            "-": operator.sub,
            "*": operator.mul,
            "/": operator.truediv,
            "^": operator.pow,
            "y^x": lambda first, second: second**first,
            "%": math.fmod,
            "atan2": math.atan2,
            "div": lambda first, second: math.trunc(first / second),
            "min": min,
            "max": max,
            "&": lambda first, second: int(first) & int(second),
            "|": lambda first, second: int(first) | int(second),
            "xor": lambda first, second: int(first) ^ int(second),
            "<<": lambda first, second: int(first) << int(second),
            ">>": lambda first, second: int(first) >> int(second),
            "&&": lambda first, second: bool(first) and bool(second),
            "||": lambda first, second: bool(first) or bool(second),
            **OPERATORS,
        }
        unary: dict[str, Any] = {
            "ln": math.log,
            "log": math.log10,
            "e^x": math.exp,
            "1/x": lambda value: 1 / value,
            "x!": lambda value: math.factorial(int(value)),
            "abs": abs,
            "int": math.trunc,
            "!": operator.not_,
            "~": lambda value: ~int(value),
            **{
                name: getattr(math, name)
                for name in "sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh".split()  # noqa: SIM905
            },
        }
        for part in how:
            if part.tag == "ValueOperand":
                stack.append(float(part.text or ""))
            elif part.tag == "ThisParameterOperand":
                stack.append(float(raw))
            elif part.tag == "ParameterInstanceRefOperand":
                other = self.operand(part, space)
                if other is None:
                    return None
                stack.append(float(other))
            elif (part.text or "") in binary:
                right_operand = stack.pop()
                stack.append(binary[part.text or ""](stack.pop(), right_operand))
            elif part.text == "swap":
                stack[-2:] = stack[:-3:-1]
            elif part.text == "drop":
                stack.pop()
            elif part.text == "dup":
                stack.append(stack[-1])
            elif part.text == "over":
                stack.append(stack[-2])
            else:
                stack.append(unary[part.text or ""](stack.pop()))
        return float(stack[-1]) if not math.isnan(stack[-1]) else None

    def operand(self, element: ElementTree.Element, space: Space) -> float | None:
        path = self.reference(element.get("parameterRef", ""), space)
        raw, value = self.latest.get(path, (None, None))
        return raw if element.get("useCalibratedValue") == "false" or path in self.labelled else value

    # -- references ----------------------------------------------------------------------------------------------------
    def reference(self, text: str, space: Space) -> str:
        steps = text.split("/")
        for end in range(len(steps), 0, -1):
            found = self.oracle.find("parameter", "/".join(steps[:end]), space) if steps[end - 1] else None
            if found:
                return "/".join([f"{found[0].path}/{found[1].get('name')}", *steps[end:]])
        raise AssertionError(text)

    def integer(self, element: ElementTree.Element, space: Space) -> int:
        fixed = element.find("FixedValue")
        if fixed is not None:
            return int(fixed.text or "")
        lookups = element.findall("DiscreteLookupList/DiscreteLookup")
        if lookups:
            return next(int(lookup.get("value", "")) for lookup in lookups if self.matches(lookup, space))
        source = element.find("DynamicValue/ParameterInstanceRef")
        assert source is not None
        raw, value = self.latest[self.reference(source.get("parameterRef", ""), space)]
        number = value if source.get("useCalibratedValue", "true") == "true" and not isinstance(value, str) else raw
        line = element.find("DynamicValue/LinearAdjustment")
        if line is not None:
            number = number * float(line.get("slope", "1")) + float(line.get("intercept", "0"))
        return int(number)

    def matches(self, element: ElementTree.Element, space: Space) -> bool:
        if element.find("BooleanExpression") is not None:
            return self.boolean(element.find("BooleanExpression")[0], space)  # type: ignore[index]
        tests = element.findall("Comparison") + element.findall("ComparisonList/Comparison")
        return all(
            self.compare(
                test.get("parameterRef", ""),
                test.get("useCalibratedValue", "true"),
                test.get("comparisonOperator", "=="),
                test.get("value", ""),
                space,
            )
            for test in tests
        )

    def boolean(self, element: ElementTree.Element, space: Space) -> bool:
        if element.tag == "ANDedConditions":
            return all(self.boolean(part, space) for part in element)
        if element.tag == "ORedConditions":
            return any(self.boolean(part, space) for part in element)
        references, sign = element.findall("ParameterInstanceRef"), (element.findtext("ComparisonOperator") or "").strip()
        if element.find("Value") is not None:
            return self.compare(
                references[0].get("parameterRef", ""),
                references[0].get("useCalibratedValue", "true"),
                sign,
                element.findtext("Value") or "",
                space,
            )
        sides = [self.latest.get(self.reference(reference.get("parameterRef", ""), space)) for reference in references]
        if None in sides:
            return False
        left, right = (
            side[reference.get("useCalibratedValue", "true") == "true"]
            for side, reference in zip(sides, references, strict=True)
        )  # type: ignore[index]
        return bool(OPERATORS[sign](left, right))

    def compare(self, reference: str, calibrated: str, sign: str, wanted: str, space: Space) -> bool:
        latest = self.latest.get(self.reference(reference, space))
        if latest is None:
            return False
        raw, value = latest
        have = value if calibrated == "true" else raw
        if have is None and not wanted.lstrip("-").isdecimal():
            return sign == "!="
        if have is None:
            have = raw
        if isinstance(have, str):
            if have == wanted or not isinstance(raw, (int, float)) or not wanted.lstrip("-").isdecimal():
                return bool(OPERATORS[sign](have, wanted))
            have = raw
        return bool(OPERATORS[sign](have, float(wanted) if isinstance(have, float) else int(wanted, 0)))
