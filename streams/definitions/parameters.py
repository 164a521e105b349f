"""XTCE parameters and their types: from a name to scalars, aggregates and arrays.

Types are compiled when something in use asks for them and kept; a Field has the path of its parameter, so parameters of
one type share everything else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from lxml import etree

from streams.definitions.calibrators import calibrators
from streams.definitions.conditions import Conditions
from streams.definitions.document import Document, Space, children, first, tag
from streams.definitions.encodings import encoding
from streams.definitions.model import Calibrator, Condition, Encoding, Expression, Field, Parameter
from streams.definitions.times import time_scale

__all__ = ["Aggregate", "Array", "Parameters", "Type", "described"]

FORMATS = {
    "c": "int8",
    "C": "uint8",
    "s": "int16",
    "S": "uint16",
    "i": "int32",
    "I": "uint32",
    "l": "int64",
    "L": "uint64",
    "f": "float32",
    "g": "float64",
    "u": "utf8",
    "z": "binary",
    "label": "label",
    "tsn:UTC": "timestamp[ns, UTC]",
}
NESTING_MAX = 32
INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
ENCODINGS = ("IntegerDataEncoding", "FloatDataEncoding", "StringDataEncoding", "BinaryDataEncoding")
# What a type may hold that changes no value: alarms and ranges belong to whoever judges values, not to decoding.
HARMLESS = (
    "UnitSet",
    "ValidRange",
    "ValidRangeSet",
    "DefaultAlarm",
    "ContextAlarmList",
    "ToString",
    "SizeRangeInCharacters",
    "BinaryContextAlarmList",
    "DefaultTimeAlarm",
    "ContextTimeAlarmList",
)


@dataclass(frozen=True, slots=True)
class Aggregate:
    members: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class Array:
    item: Type
    sizes: tuple[Expression, ...]  # one a dimension; empty where the entry says it
    dimensions: int


Type = Field | Aggregate | Array


class Parameters:
    """All parameters of a document, compiled on demand."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.conditions = Conditions(document, self)
        self.slots: dict[str, int] = {}
        self.types: dict[etree._Element, Type] = {}
        self.open: list[etree._Element] = []  # types being compiled, to see circles

    def slot(self, path: str) -> int:
        """The number under which conditions know the parameter with this path."""
        return self.slots.setdefault(path, len(self.slots))

    def find(self, reference: str, space: Space, at: etree._Element) -> tuple[str, Type, list[str]]:
        """Path and type of the parameter that `reference` names, and the members after it."""
        steps = reference.strip().split("/")
        for end in range(len(steps), 0, -1):
            found = self.document.resolve("parameters", "/".join(steps[:end]), space) if steps[end - 1] else None
            if found is not None:
                owner, element = found
                return f"{owner.path}/{element.get('name')}", self.type_of(element, owner), steps[end:]
        # XTCE 1.2 also writes members after a dot.
        if "." in steps[-1]:
            name, *members = steps[-1].split(".")
            found = self.document.resolve("parameters", "/".join([*steps[:-1], name]), space)
            if found is not None:
                owner, element = found
                return f"{owner.path}/{name}", self.type_of(element, owner), members
        self.document.find("parameters", reference, space, at)
        raise AssertionError(reference)

    def scalar(self, reference: str, space: Space, at: etree._Element) -> Field:
        """The scalar that `reference` names, through members of aggregates; DefinitionError for anything else."""
        path, kind, members = self.find(reference, space, at)
        for member in members:
            inner = dict(kind.members).get(member) if isinstance(kind, Aggregate) else None
            if inner is None:
                self.document.fail(
                    at,
                    f"'{path}' has no member '{member}'",
                    f"it has {', '.join(dict(kind.members))}" if isinstance(kind, Aggregate) else "it is no aggregate",
                )
            path, kind = f"{path}/{member}", inner
        if not isinstance(kind, Field):
            self.document.fail(at, f"'{path}' is no single value", "name a member; elements of arrays cannot be referred to")
        return replace(kind, path=path)

    def type_of(self, parameter: etree._Element, space: Space) -> Type:
        return self.compile(self.document.attribute(parameter, "parameterTypeRef"), space, parameter)

    def compile(self, reference: str, space: Space, at: etree._Element) -> Type:
        owner, element = self.document.find("types", reference, space, at)
        known = self.types.get(element)
        if known is None:
            if element in self.open or len(self.open) > NESTING_MAX:
                self.document.fail(element, f"type '{element.get('name')}' depends on itself")
            self.open.append(element)
            try:
                known = self.types[element] = self.build(element, owner)
            finally:
                self.open.pop()
        return known

    def build(self, element: etree._Element, space: Space) -> Type:
        chain = self.inherited(element, space)
        kind = tag(element)
        if kind == "AggregateParameterType":
            return self.aggregate(chain)
        if kind == "ArrayParameterType":
            return self.array(chain)
        known = {
            "IntegerParameterType": (),
            "FloatParameterType": (),
            "StringParameterType": (),
            "BinaryParameterType": (),
            "BooleanParameterType": (),
            "EnumeratedParameterType": ("EnumerationList",),
            "AbsoluteTimeParameterType": ("Encoding", "ReferenceTime"),
            "RelativeTimeParameterType": ("Encoding", "ReferenceTime"),
        }
        if kind not in known:
            self.document.fail(element, f"{kind} is not supported", f"one of {', '.join(known)}")
        for link, _ in chain:
            self.document.expect(link, *known[kind], *(ENCODINGS if "Time" not in kind else ()), *HARMLESS)
        return self.scalar_type(kind, chain)

    def inherited(self, element: etree._Element, space: Space) -> list[tuple[etree._Element, Space]]:
        """The type, the type it is based on, and so on."""
        chain = [(element, space)]
        while base := chain[-1][0].get("baseType"):
            owner, next_element = self.document.find("types", base, chain[-1][1], chain[-1][0])
            if any(next_element is link for link, _ in chain):
                self.document.fail(chain[-1][0], f"baseType '{base}' leads back here")
            if tag(next_element) != tag(element):
                self.document.fail(chain[-1][0], f"a {tag(element)} cannot be based on the {tag(next_element)} '{base}'")
            chain.append((next_element, owner))
        return chain

    def scalar_type(self, kind: str, chain: list[tuple[etree._Element, Space]]) -> Field:
        element = chain[0][0]
        time = None
        holder, space = inherited_child(chain, *ENCODINGS) if "Time" not in kind else inherited_child(chain, "Encoding")
        if holder is not None and "Time" in kind:
            reference, reference_space = inherited_child(chain, "ReferenceTime")
            time = time_scale(kind, holder, reference, self.document, self.parameters_of_time, reference_space or space)
            self.document.expect(holder, *ENCODINGS)
            holder = first(holder, *ENCODINGS)
        if holder is None:  # a constant or a parameter of the ground: it may be asked for, but is in no packet
            return Field(element.get("name", ""), "gauge", Encoding("none", Expression(0)), labels=self.labels(kind, chain))
        coded = encoding(holder, self.document, self.conditions, space)
        labels = self.labels(kind, chain)
        calibration: tuple[tuple[Condition, Calibrator], ...] = ()
        if coded.kind not in ("string", "binary"):
            calibration = calibrators(holder, self.document, self.conditions, space)
        if labels or time:
            if calibration:
                self.document.fail(holder, f"a {kind} with a calibrator is not supported", "put the factor into the type")
            if coded.kind == "string" or (coded.kind == "binary" and not 0 < (coded.size.constant or 0) <= 64):
                self.document.fail(
                    holder,
                    f"a {kind} encoded as {tag(holder)} is not supported",
                    "an integer or float encoding, or 64 bits of binary at most",
                )
            if time and coded.kind == "binary":
                self.document.fail(
                    holder, f"a {kind} encoded as {tag(holder)} is not supported", "an integer or float encoding"
                )
        if kind in ("IntegerParameterType", "FloatParameterType") and coded.kind in ("string", "binary"):
            self.document.fail(holder, f"a {kind} encoded as {tag(holder)} is not supported", "an integer or float encoding")
        if kind == "BinaryParameterType" and coded.kind != "binary":
            self.document.fail(holder, f"a {kind} encoded as {tag(holder)} is not supported", "BinaryDataEncoding")
        words = {"EnumeratedParameterType": "state", "BooleanParameterType": "state", "StringParameterType": "text"}
        sort = "time" if time and time.is_absolute else words.get(kind, "binary" if coded.kind == "binary" else "gauge")
        return Field(
            path=element.get("name", ""),
            kind=sort,
            encoding=coded,
            unit="s" if time else unit_of(chain),
            calibrators=calibration,
            labels=labels,
            time=time,
            is_number_as_text=kind == "StringParameterType" and coded.kind not in ("string", "binary"),
        )

    def parameters_of_time(self, reference: etree._Element, space: Space) -> int:
        """The slot of the time that an OffsetFrom names."""
        slot, field = self.conditions.reference(reference, space)
        if field.time is None:
            self.document.fail(reference, f"'{field.path}' is no time")
        return slot

    def labels(self, kind: str, chain: list[tuple[etree._Element, Space]]) -> tuple[tuple[int, int, str], ...]:
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
        for item in children(listed):
            if tag(item) == "Enumeration":
                low = self.document.integer(item, item.get("value"), INT64_MIN, INT64_MAX)
                high = self.document.integer(item, item.get("maxValue", str(low)), low, INT64_MAX)
                found.append((low, high, self.document.attribute(item, "label")))
        if not found:
            self.document.fail(listed, "EnumerationList is empty")
        return tuple(found)

    def aggregate(self, chain: list[tuple[etree._Element, Space]]) -> Aggregate:
        for link, _ in chain:
            self.document.expect(link, "MemberList", *HARMLESS)
        listed, space = inherited_child(chain, "MemberList")
        if listed is None:
            self.document.fail(chain[0][0], f"type '{chain[0][0].get('name')}' has no MemberList")
        self.document.expect(listed, "Member")
        members: dict[str, Type] = {}
        for member in children(listed):
            if tag(member) == "Member":
                name = self.document.attribute(member, "name")
                if name in members:
                    self.document.fail(member, f"there are two members '{name}'")
                members[name] = self.compile(self.document.attribute(member, "typeRef"), space, member)
        if not members:
            self.document.fail(listed, "MemberList is empty")
        return Aggregate(tuple(members.items()))

    def array(self, chain: list[tuple[etree._Element, Space]]) -> Array:
        element, space = chain[0]
        for link, _ in chain:
            self.document.expect(link, "DimensionList", *HARMLESS)
        reference = element.get("arrayTypeRef") or self.document.attribute(element, "typeRef")
        listed, listed_space = inherited_child(chain, "DimensionList")
        sizes = self.dimensions(listed, listed_space) if listed is not None else ()
        count = len(sizes) or self.document.integer(element, element.get("numberOfDimensions", "1"), 1, 8)
        return Array(self.compile(reference, space, element), sizes, count)

    def dimensions(self, listed: etree._Element, space: Space) -> tuple[Expression, ...]:
        """DimensionList: `Size` (1.1) or `Dimension` with StartingIndex and EndingIndex (1.2)."""
        self.document.expect(listed, "Size", "Dimension")
        found = []
        for child in children(listed):
            if tag(child) == "Size":
                found.append(self.conditions.integer(child, space))
            elif tag(child) == "Dimension":
                self.document.expect(child, "StartingIndex", "EndingIndex")
                low, high = first(child, "StartingIndex"), first(child, "EndingIndex")
                if low is None or high is None:
                    self.document.fail(child, "Dimension needs a StartingIndex and an EndingIndex")
                start, end = self.conditions.integer(low, space), self.conditions.integer(high, space)
                if start.constant is None or end.lookup:
                    self.document.fail(child, "a StartingIndex that changes is not supported", "a FixedValue, usually 0")
                found.append(replace(end, intercept=end.intercept - start.constant + 1))
        if not found:
            self.document.fail(listed, "DimensionList is empty")
        return tuple(found)


def inherited_child(chain: list[tuple[etree._Element, Space]], *names: str) -> tuple[etree._Element | None, Space]:
    """The first such child in the type or what it is based on, and the space system in which it stands."""
    for link, space in chain:
        child = first(link, *names)
        if child is not None:
            return child, space
    return None, chain[0][1]


def unit_of(chain: list[tuple[etree._Element, Space]]) -> str | None:
    """The units of UnitSet joined: `m/s` is usually written as one, powers as XTCE gives them."""
    units, _ = inherited_child(chain, "UnitSet")
    if units is None:
        return None
    words = []
    for unit in children(units):
        text = (unit.text or "").strip()
        if tag(unit) == "Unit" and text:
            power = float(unit.get("power", "1"))
            words.append(text if power == 1 else f"{text}^{power:g}")
    return " ".join(words) or None


def described(fields: tuple[Field, ...], used: Iterable[int]) -> tuple[Parameter, ...]:
    """What users can ask for, each once."""
    return tuple(
        Parameter(
            fields[number].path.rpartition("/")[2],
            fields[number].path,
            fields[number].kind,
            fields[number].unit,
            FORMATS[fields[number].raw_format],
            FORMATS[fields[number].value_format or fields[number].raw_format],
        )
        for number in dict.fromkeys(used)
    )
