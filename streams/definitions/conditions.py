"""Conditions and dynamic values: everything in a definition that refers to the value of another parameter.

A parameter that something refers to gets a slot; at run time its latest value in the packet is kept there. A comparison
with a parameter that has no value in the packet is false, whatever the operator (as the stored packets of BogusSAT show:
its PUS_Time depends on a constant that is never telemetered).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from weakref import proxy

from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Comparison, Condition, Expression, Field, Operand
from streams.errors import nearest

if TYPE_CHECKING:
    from streams.definitions.parameters import Parameters

__all__ = ["Conditions"]

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
# A packet has 524,336 bits; framecodec.plan multiplies with numbers below 10**15 and must stay inside int64.
SLOPE_MAX, INTERCEPT_MAX = 8192, 1 << 32


class Conditions:
    """Compiles conditions and expressions; `parameters` finds out what they refer to."""

    def __init__(self, document: Document, parameters: Parameters) -> None:
        self.document = document
        self.parameters = proxy(parameters)  # which own this: no circle that only the garbage collector could undo

    def match(self, element: Element, space: Space) -> Condition:
        """RestrictionCriteria, IncludeCondition, ContextMatch: one of Comparison, ComparisonList, BooleanExpression."""
        self.document.expect(element, "Comparison", "ComparisonList", "BooleanExpression")
        for child in element:
            if child.tag == "Comparison":
                return (self.comparison(child, space),)
            if child.tag == "ComparisonList":
                self.document.expect(child, "Comparison")
                tests = [self.comparison(test, space) for test in child if test.tag == "Comparison"]
                return (*tests, ("and", len(tests)))
            if child.tag == "BooleanExpression":
                return self.boolean(child, space)
        self.document.fail(element, f"{element.tag} has no condition", "Comparison, ComparisonList or BooleanExpression")

    def boolean(self, element: Element, space: Space) -> Condition:
        self.document.expect(element, "Condition", "ANDedConditions", "ORedConditions")
        parts: list[Condition] = []
        for child in element:
            if child.tag == "Condition":
                parts.append((self.condition(child, space),))
            elif child.tag in ("ANDedConditions", "ORedConditions"):
                parts.append(self.boolean(child, space))
        if not parts:
            self.document.fail(element, f"{element.tag} is empty")
        if len(parts) == 1:
            return parts[0]
        joined = tuple(item for part in parts for item in part)
        return (*joined, ("or" if element.tag == "ORedConditions" else "and", len(parts)))

    def condition(self, element: Element, space: Space) -> Comparison:
        """Condition: ParameterInstanceRef, ComparisonOperator, then a Value or another ParameterInstanceRef."""
        self.document.expect(element, "ParameterInstanceRef", "ComparisonOperator", "Value")
        references = [child for child in element if child.tag == "ParameterInstanceRef"]
        operator, value = element.find("ComparisonOperator"), element.find("Value")
        if not references or operator is None:
            self.document.fail(element, "Condition needs a ParameterInstanceRef and a ComparisonOperator")
        sign = self.operator(operator, (operator.text or "").strip())
        if value is not None:
            return self.compare(references[0], sign, value.text or "", space)
        if len(references) < 2:
            self.document.fail(element, "Condition has nothing to compare with", "a Value or a second ParameterInstanceRef")
        slot, _ = self.reference(references[0], space)
        other, _ = self.reference(references[1], space)
        return Comparison(
            slot, is_calibrated(references[0]), sign, other=other, other_is_calibrated=is_calibrated(references[1])
        )

    def comparison(self, element: Element, space: Space) -> Comparison:
        self.document.expect(element)
        sign = self.operator(element, element.get("comparisonOperator", "=="))
        return self.compare(element, sign, self.document.attribute(element, "value"), space)

    def operator(self, element: Element, sign: str) -> str:
        if sign not in OPERATORS:
            self.document.fail(element, f"'{sign}' is no comparison operator", f"one of {' '.join(OPERATORS)}")
        return sign

    def compare(self, element: Element, sign: str, value: str, space: Space) -> Comparison:
        slot, field = self.reference(element, space)
        calibrated = is_calibrated(element)
        if field.labels and calibrated:
            ranges = tuple((low, high) for low, high, label in field.labels if label == value)
            if ranges:
                if sign not in ("==", "!="):
                    self.document.fail(
                        element, f"labels cannot be compared with '{sign}'", 'use the raw value and useCalibratedValue="false"'
                    )
                return Comparison(slot, True, sign, ranges=without_earlier(field, ranges, value))
            if number(value) is None:
                labels = [label for _, _, label in field.labels]
                guess = nearest(value, labels)
                self.document.fail(
                    element,
                    f"'{field.path}' has no label '{value}'",
                    f"did you mean {guess}?" if guess else f"it has {', '.join(labels[:8])}",
                )
            calibrated = False  # a number where a label belongs: people mean the raw value
        if field.encoding.kind == "string":
            try:
                return Comparison(slot, calibrated, sign, value.encode(field.encoding.charset))
            except UnicodeEncodeError as error:
                what = f"'{value[error.start]}' cannot be in '{field.path}', whose text is {field.encoding.charset}"
                self.document.fail(element, what, "with another encoding of its type it could")
        if field.encoding.kind == "binary":
            try:
                return Comparison(slot, calibrated, sign, bytes.fromhex(value.removeprefix("0x")))
            except ValueError:
                self.document.fail(element, f"'{value}' is no binary value", "write it in hexadecimal")
        wanted = number(value)
        if wanted is None:
            self.document.fail(element, f"'{value}' is no number, and '{field.path}' is one")
        return Comparison(slot, calibrated, sign, wanted)

    def reference(self, element: Element, space: Space) -> tuple[int, Field]:
        """The slot and the field of a parameterRef."""
        self.document.expect(element)
        if element.get("instance", "0") != "0":
            self.document.fail(
                element, "earlier instances of a parameter are not supported", "leave out the attribute instance"
            )
        field = self.parameters.scalar(self.document.attribute(element, "parameterRef"), space, element)
        return self.parameters.slot(field.path), field

    def operand(self, element: Element, space: Space) -> Operand:
        """ParameterInstanceRefOperand: a number, so a label or a text made of one means the raw value."""
        slot, field = self.reference(element, space)
        if field.encoding.kind in ("string", "binary"):
            self.document.fail(element, f"'{field.path}' is no number")
        calibrated = is_calibrated(element) and bool(field.calibrators or field.time)
        if calibrated and field.time is not None and field.time.is_absolute:
            self.document.fail(element, f"'{field.path}' is a time, and no number", 'useCalibratedValue="false": its raw value')
        return Operand(slot, calibrated)

    def integer(self, element: Element, space: Space) -> Expression:
        """An IntegerValue: FixedValue, DynamicValue or DiscreteLookupList; also a bare number as text."""
        self.document.expect(element, "FixedValue", "DynamicValue", "DiscreteLookupList")
        for child in element:
            if child.tag == "FixedValue":
                return Expression(self.document.integer(child, child.text, -INTERCEPT_MAX, INTERCEPT_MAX))
            if child.tag == "DynamicValue":
                return self.dynamic(child, space)
            if child.tag == "DiscreteLookupList":
                return self.lookup(child, space)
        self.document.fail(element, f"{element.tag} has no value", "FixedValue, DynamicValue or DiscreteLookupList")

    def dynamic(self, element: Element, space: Space) -> Expression:
        self.document.expect(element, "ParameterInstanceRef", "LinearAdjustment")
        source, adjustment = element.find("ParameterInstanceRef"), element.find("LinearAdjustment")
        if source is None:
            self.document.fail(element, "DynamicValue needs a ParameterInstanceRef")
        slot, field = self.reference(source, space)
        if field.encoding.kind in ("string", "binary"):
            self.document.fail(source, f"'{field.path}' is no number")
        intercept, slope = 0, 1
        if adjustment is not None:
            self.document.expect(adjustment)
            intercept = self.whole(adjustment, "intercept", "0")
            slope = self.whole(adjustment, "slope", "1")
            if abs(slope) > SLOPE_MAX or abs(intercept) > INTERCEPT_MAX:
                self.document.fail(
                    adjustment,
                    f"a linear adjustment by {slope} and {intercept} is out of bounds",
                    f"slopes to {SLOPE_MAX}; a packet has 524,336 bits",
                )
        return Expression(intercept, slope, slot, is_calibrated(source) and not field.labels)

    def whole(self, element: Element, name: str, default: str) -> int:
        value = self.document.real(element, element.get(name, default))
        if value != int(value):
            self.document.fail(element, f"{name} {value} is no whole number", "sizes and counts are whole bits and items")
        return int(value)

    def lookup(self, element: Element, space: Space) -> Expression:
        self.document.expect(element, "DiscreteLookup")
        found = []
        for child in element:
            if child.tag == "DiscreteLookup":
                matched, value = self.match(child, space), self.document.attribute(child, "value")
                found.append((matched, self.document.integer(child, value, -INTERCEPT_MAX, INTERCEPT_MAX)))
        if not found:
            self.document.fail(element, "DiscreteLookupList is empty")
        return Expression(intercept=-1, lookup=tuple(found))


def is_calibrated(element: Element) -> bool:
    return element.get("useCalibratedValue", "true").strip() in ("true", "1")


def number(text: str) -> int | float | None:
    """A whole number (also 0x…) of at most 64 bits, a real one, or None."""
    for read in (int, lambda value: int(value, 0)):
        try:
            whole = read(text.strip())
        except ValueError:
            continue
        if -(1 << 63) <= whole < 1 << 64:
            return whole
    try:
        real = float(text.strip())
    except ValueError:
        return {"true": 1, "false": 0}.get(text.strip().lower())
    return real if math.isfinite(real) else None


def without_earlier(field: Field, ranges: tuple[tuple[int, int], ...], label: str) -> tuple[tuple[int, int], ...]:
    """`ranges` without what an earlier label takes away from them: the first label that fits a raw value is its label."""
    for low, high, earlier in field.labels:
        if earlier == label:
            break
        cut: list[tuple[int, int]] = []
        for start, end in ranges:
            if start < low:
                cut.append((start, min(end, low - 1)))
            if end > high:
                cut.append((max(start, high + 1), end))
        ranges = tuple(cut)
    return ranges
