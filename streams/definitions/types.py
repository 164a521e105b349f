"""XTCE parameter types: scalars, aggregates, arrays.

    kind = types.compile("Voltage_Type", space, at=parameter)

Types are compiled when something in use asks for them, and kept. A scalar type is a Field that has no path yet; types that
look alike are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from streams.definitions.calibrators import calibrators
from streams.definitions.conditions import Conditions
from streams.definitions.document import Document, Element, Space
from streams.definitions.encodings import encoding
from streams.definitions.model import Calibrator, Condition, Encoding, Expression, Field, TimeScale
from streams.definitions.times import calibrated, time_scale

__all__ = ["Aggregate", "Array", "Type", "Types"]

NESTING_MAX = 32
SCALARS_MAX = 65_536  # a space packet has no more octets (133.0-B-2 4.1.4.1); aggregates of aggregates double quickly
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
ENCODINGS = ("IntegerDataEncoding", "FloatDataEncoding", "StringDataEncoding", "BinaryDataEncoding")
# What a type may hold that changes no value: alarms and ranges belong to whoever judges values, not to decoding.
HARMLESS = (
    "UnitSet", "ValidRange", "ValidRangeSet", "DefaultAlarm", "ContextAlarmList", "ToString", "SizeRangeInCharacters",
    "BinaryContextAlarmList", "DefaultTimeAlarm", "ContextTimeAlarmList",
)
# Scalar types: what they may hold, and the kind of their samples.
TIME = ("Encoding", "ReferenceTime", *HARMLESS)
SCALARS = {
    "IntegerParameterType": ((*ENCODINGS, *HARMLESS), "gauge"),
    "FloatParameterType": ((*ENCODINGS, *HARMLESS), "gauge"),
    "StringParameterType": ((*ENCODINGS, *HARMLESS), "text"),
    "BinaryParameterType": ((*ENCODINGS, *HARMLESS), "binary"),
    "BooleanParameterType": ((*ENCODINGS, *HARMLESS), "state"),
    "EnumeratedParameterType": (("EnumerationList", *ENCODINGS, *HARMLESS), "state"),
    "AbsoluteTimeParameterType": (TIME, "time"),
    "RelativeTimeParameterType": (TIME, "gauge"),
}


@dataclass(frozen=True, slots=True)
class Aggregate:
    members: tuple[tuple[str, Type], ...]
    scalars: int  # in it and in what it holds


@dataclass(frozen=True, slots=True)
class Array:
    item: Type
    sizes: tuple[Expression, ...]  # one a dimension; empty where the entry says it
    dimensions: int
    scalars: int  # of an item


Type = Field | Aggregate | Array
Chain = list[tuple[Element, Space]]  # a type, the type it is based on, and so on


class Types:
    def __init__(self, document: Document, conditions: Conditions) -> None:
        self.document, self.conditions = document, conditions
        self.known: dict[Element, Type] = {}
        self.open: list[Element] = []  # types being compiled, to see circles
        self.alike: dict[tuple[object, ...], Type] = {}  # by what they look like: thousands are written, few differ

    def compile(self, reference: str, space: Space, at: Element) -> Type:
        owner, element = self.document.find("types", reference, space, at)
        known = self.known.get(element)
        if known is None:
            known = self.known[element] = self.compile_new(element, owner)
        return known

    def compile_new(self, element: Element, space: Space) -> Type:
        looks = (space, *appearance(element))
        known = self.alike.get(looks)
        if known is None:
            if element in self.open or len(self.open) > NESTING_MAX:
                self.document.fail(element, f"type '{element.get('name')}' depends on itself")
            self.open.append(element)
            try:
                known = self.alike[looks] = self.build(element, space)
            finally:
                self.open.pop()
        return known

    def build(self, element: Element, space: Space) -> Type:
        kind, chain = element.tag, self.inherited(element, space)
        if kind == "AggregateParameterType":
            return self.aggregate(chain)
        if kind == "ArrayParameterType":
            return self.array(chain)
        if kind not in SCALARS:
            self.document.fail(element, f"{kind} is not supported", f"one of {', '.join(SCALARS)}")
        for link, _ in chain:
            self.document.expect(link, *SCALARS[kind][0])
        holder, owner = inherited_child(chain, "Encoding") if "Time" in kind else inherited_child(chain, *ENCODINGS)
        if holder is None:  # a constant or a parameter of the ground: it may be asked for, but is in no packet
            nowhere = Encoding("none", Expression(0))
            return Field("", "gauge", nowhere, labels=self.labels(kind, chain))
        if "Time" in kind:
            return self.time(kind, chain, holder, owner)
        return self.scalar(kind, chain, holder, owner)

    def inherited(self, element: Element, space: Space) -> Chain:
        chain = [(element, space)]
        while base := chain[-1][0].get("baseType"):
            owner, next_element = self.document.find("types", base, chain[-1][1], chain[-1][0])
            if any(next_element is link for link, _ in chain):
                self.document.fail(chain[-1][0], f"baseType '{base}' leads back here")
            if next_element.tag != element.tag:
                self.document.fail(chain[-1][0], f"a {element.tag} cannot be based on the {next_element.tag} '{base}'")
            chain.append((next_element, owner))
        return chain

    # -- scalars -------------------------------------------------------------------------------------------------------
    def scalar(self, kind: str, chain: Chain, holder: Element, space: Space) -> Field:
        coded, calibration = encoding(holder, self.document, self.conditions, space), self.calibration(holder, space)
        labels = self.labels(kind, chain)
        is_number = coded.kind not in ("string", "binary")
        if labels and calibration:
            self.document.fail(holder, f"a {kind} with a calibrator is not supported", "labels belong to raw values")
        if labels and not is_number and (coded.kind == "string" or not 0 < (coded.size.constant or 0) <= 64):
            self.refuse(kind, holder, "an integer or float encoding, or 64 bits of binary at most")
        if kind in ("IntegerParameterType", "FloatParameterType") and not is_number:
            self.refuse(kind, holder, "an integer or float encoding")
        if kind == "BinaryParameterType" and coded.kind != "binary":
            self.refuse(kind, holder, "BinaryDataEncoding")
        return Field(
            "",
            SCALARS[kind][1],
            coded,
            self.unit(chain),
            calibration,
            labels,
            None,
            is_number and kind == "StringParameterType",
        )

    def time(self, kind: str, chain: Chain, clock: Element, space: Space) -> Field:
        self.document.expect(clock, *ENCODINGS)
        holder, _ = inherited_child([(clock, space)], *ENCODINGS)
        if holder is None:
            self.document.fail(clock, "Encoding is empty", "IntegerDataEncoding or FloatDataEncoding")
        reference, owner = inherited_child(chain, "ReferenceTime")
        scale = time_scale(kind, clock, reference, self.document, self.time_slot, owner)
        coded = encoding(holder, self.document, self.conditions, space)
        if coded.kind in ("string", "binary"):
            self.refuse(kind, holder, "an integer or float encoding")
        scale = self.with_calibration(scale, holder, space, kind)
        return Field("", SCALARS[kind][1], coded, "s", time=scale)

    def with_calibration(self, scale: TimeScale, holder: Element, space: Space, kind: str) -> TimeScale:
        calibration = self.calibration(holder, space)
        if not calibration:
            return scale
        folded = calibrated(scale, calibration[0][1]) if len(calibration) == 1 and not calibration[0][0] else None
        if folded is None:
            self.document.fail(holder, f"a {kind} with such a calibrator is not supported", "a polynomial of degree 1")
        return folded

    def time_slot(self, reference: Element, space: Space) -> int:
        """The slot of the time that an OffsetFrom names."""
        slot, field = self.conditions.reference(reference, space)
        if field.time is None:
            self.document.fail(reference, f"'{field.path}' is no time")
        return slot

    def calibration(self, holder: Element, space: Space) -> tuple[tuple[Condition, Calibrator], ...]:
        return calibrators(holder, self.document, self.conditions, space) if len(holder) else ()

    def refuse(self, kind: str, holder: Element, hint: str) -> NoReturn:
        self.document.fail(holder, f"a {kind} encoded as {holder.tag} is not supported", hint)

    def labels(self, kind: str, chain: Chain) -> tuple[tuple[int, int, str], ...]:
        if kind == "BooleanParameterType":
            zero = next((str(link.get("zeroStringValue")) for link, _ in chain if link.get("zeroStringValue")), "False")
            one = next((str(link.get("oneStringValue")) for link, _ in chain if link.get("oneStringValue")), "True")
            return ((0, 0, zero), (INT64_MIN, INT64_MAX, one))
        if kind != "EnumeratedParameterType":
            return ()
        listed, _ = inherited_child(chain, "EnumerationList")
        if listed is None:
            self.document.fail(chain[0][0], f"type '{chain[0][0].get('name')}' has no EnumerationList")
        self.document.expect(listed, "Enumeration")
        found = []
        for item in listed.iterfind("Enumeration"):
            self.document.expect(item)
            low = self.document.integer(item, item.get("value"), INT64_MIN, INT64_MAX)
            high = self.document.integer(item, item.get("maxValue", str(low)), low, INT64_MAX)
            found.append((low, high, self.document.attribute(item, "label")))
        if not found:
            self.document.fail(listed, "EnumerationList is empty")
        return tuple(found)

    def unit(self, chain: Chain) -> str | None:
        """The units of UnitSet joined: `m/s` is usually written as one, factors and powers as XTCE gives them."""
        units, _ = inherited_child(chain, "UnitSet")
        if units is None or not len(units):
            return None
        self.document.expect(units, "Unit")
        words = []
        for unit in units.iterfind("Unit"):
            self.document.expect(unit)
            power, factor = self.document.real(unit, unit.get("power", "1")), unit.get("factor", "1").strip()
            text = (unit.text or "").strip()
            if text:
                words += [factor] if factor not in ("", "1") else []
                words.append(text if power == 1 else f"{text}^{power:g}")
        return " ".join(words) or None

    # -- what holds others ---------------------------------------------------------------------------------------------
    def aggregate(self, chain: Chain) -> Aggregate:
        for link, _ in chain:
            self.document.expect(link, "MemberList", *HARMLESS)
        listed, space = inherited_child(chain, "MemberList")
        if listed is None:
            self.document.fail(chain[0][0], f"type '{chain[0][0].get('name')}' has no MemberList")
        self.document.expect(listed, "Member")
        members: dict[str, Type] = {}
        for member in listed.iterfind("Member"):
            self.document.expect(member, "ParameterProperties")
            name = self.document.attribute(member, "name")
            if name in members:
                self.document.fail(member, f"there are two members '{name}'")
            members[name] = self.compile(self.document.attribute(member, "typeRef"), space, member)
        if not members:
            self.document.fail(listed, "MemberList is empty")
        scalars = sum(map(scalars_of, members.values()))
        if scalars > SCALARS_MAX:
            self.document.fail(listed, f"there are {scalars} values in one aggregate", f"{SCALARS_MAX} are possible")
        return Aggregate(tuple(members.items()), scalars)

    def array(self, chain: Chain) -> Array:
        element, space = chain[0]
        for link, _ in chain:
            self.document.expect(link, "DimensionList", *HARMLESS)
        reference = element.get("arrayTypeRef") or self.document.attribute(element, "typeRef")
        listed, listed_space = inherited_child(chain, "DimensionList")
        sizes = self.dimensions(listed, listed_space) if listed is not None else ()
        count = len(sizes) or self.document.integer(element, element.get("numberOfDimensions", "1"), 1, 8)
        item = self.compile(reference, space, element)
        return Array(item, sizes, count, scalars_of(item))

    def dimensions(self, listed: Element, space: Space) -> tuple[Expression, ...]:
        """DimensionList: `Size` (1.1) or `Dimension` with StartingIndex and EndingIndex (1.2)."""
        self.document.expect(listed, "Size", "Dimension")
        found = []
        for child in listed:
            if child.tag == "Size":
                found.append(self.conditions.integer(child, space))
            elif child.tag == "Dimension":
                self.document.expect(child, "StartingIndex", "EndingIndex")
                low, high = child.find("StartingIndex"), child.find("EndingIndex")
                if low is None or high is None:
                    self.document.fail(child, "Dimension needs a StartingIndex and an EndingIndex")
                start, end = self.conditions.integer(low, space), self.conditions.integer(high, space)
                if start.constant is None:
                    self.document.fail(child, "a StartingIndex that changes is not supported", "a FixedValue, usually 0")
                found.append(end.plus(1 - start.constant))
        if not found:
            self.document.fail(listed, "DimensionList is empty")
        return tuple(found)


def inherited_child(chain: Chain, *names: str) -> tuple[Element | None, Space]:
    """The first such child in the type or what it is based on, and the space system in which it stands."""
    for link, space in chain:
        for name in names:
            child = link.find(name)
            if child is not None:
                return child, space
    return None, chain[0][1]


def scalars_of(kind: Type) -> int:
    return 1 if isinstance(kind, Field) else kind.scalars


def appearance(element: Element) -> tuple[object, ...]:
    """Everything in a type but its own name: its elements in order, each with how many it holds."""
    own, *others = element.iter()
    parts: list[object] = [own.tag, *(item for item in own.items() if item[0] != "name")]
    for each in others:
        parts.append((each.tag, each.text, len(each), *each.items()))
    return tuple(parts)
