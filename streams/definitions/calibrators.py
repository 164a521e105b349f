"""XTCE calibrators: polynomial, spline, math operation, and contexts that choose among them."""

from __future__ import annotations

import math
from itertools import pairwise

from streams.definitions.conditions import Conditions
from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Calibrator, Condition, Operand

__all__ = ["MATH_OPERATORS", "calibrators"]

# XTCE 1.2 MathOperatorsType, with the number of operands each takes from the stack and how many it puts back.
MATH_OPERATORS = {
    "+": (2, 1),
    "-": (2, 1),
    "*": (2, 1),
    "/": (2, 1),
    "%": (2, 1),
    "^": (2, 1),
    "y^x": (2, 1),
    "ln": (1, 1),
    "log": (1, 1),
    "e^x": (1, 1),
    "1/x": (1, 1),
    "x!": (1, 1),
    "tan": (1, 1),
    "cos": (1, 1),
    "sin": (1, 1),
    "atan": (1, 1),
    "atan2": (2, 1),
    "acos": (1, 1),
    "asin": (1, 1),
    "tanh": (1, 1),
    "cosh": (1, 1),
    "sinh": (1, 1),
    "atanh": (1, 1),
    "acosh": (1, 1),
    "asinh": (1, 1),
    "abs": (1, 1),
    "div": (2, 1),
    "int": (1, 1),
    "swap": (2, 2),
    "drop": (1, 0),
    "dup": (1, 2),
    "over": (2, 3),
    "min": (2, 1),
    "max": (2, 1),
    "==": (2, 1),
    "!=": (2, 1),
    "<": (2, 1),
    ">": (2, 1),
    "<=": (2, 1),
    ">=": (2, 1),
    "&&": (2, 1),
    "||": (2, 1),
    "!": (1, 1),
    "&": (2, 1),
    "|": (2, 1),
    "xor": (2, 1),
    "<<": (2, 1),
    ">>": (2, 1),
    "~": (1, 1),
}
# XTCE 1.2: y^x is (x1 x2 -- x2**x1), and angles are radians; in XTCE 1.1 they are degrees.
REWRITTEN: dict[str, tuple[float | str, ...]] = {"y^x": ("swap", "^")}
IN_DEGREES: dict[str, tuple[float | str, ...]] = {
    **{name: (math.pi / 180, "*", name) for name in ("sin", "cos", "tan")},
    **{name: (name, 180 / math.pi, "*") for name in ("asin", "acos", "atan", "atan2")},
}
STACK_MAX = 32  # of a math operation; framecodec.plan reserves as many
POWER_MAX = 64


def calibrators(
    encoding: Element, document: Document, conditions: Conditions, space: Space
) -> tuple[tuple[Condition, Calibrator], ...]:
    """The calibrators of a data encoding, contexts first, in the order in which they are tried."""
    found: list[tuple[Condition, Calibrator]] = []
    contexts, default = encoding.find("ContextCalibratorList"), encoding.find("DefaultCalibrator")
    if contexts is not None:
        document.expect(contexts, "ContextCalibrator")
        for context in contexts:
            document.expect(context, "ContextMatch", "Calibrator")
            match, chosen = context.find("ContextMatch"), context.find("Calibrator")
            if match is None or chosen is None:
                document.fail(context, "ContextCalibrator needs a ContextMatch and a Calibrator")
            found.append((conditions.match(match, space), calibrator(chosen, document, conditions, space)))
    if default is not None:
        found.append(((), calibrator(default, document, conditions, space)))
    return tuple(found)


def calibrator(element: Element, document: Document, conditions: Conditions, space: Space) -> Calibrator:
    document.expect(element, "PolynomialCalibrator", "SplineCalibrator", "MathOperationCalibrator")
    for child in element:
        if child.tag == "PolynomialCalibrator":
            return polynomial(child, document)
        if child.tag == "SplineCalibrator":
            return spline(child, document)
        if child.tag == "MathOperationCalibrator":
            return math_operation(child, document, conditions, space)
    document.fail(element, f"{element.tag} is empty", "PolynomialCalibrator, SplineCalibrator or MathOperationCalibrator")


def polynomial(element: Element, document: Document) -> Calibrator:
    document.expect(element, "Term")
    terms: dict[int, float] = {}
    for term in element.iterfind("Term"):
        document.expect(term)
        power = document.integer(term, document.attribute(term, "exponent"), 0, POWER_MAX)
        terms[power] = terms.get(power, 0.0) + document.real(term, document.attribute(term, "coefficient"))
    if not terms:
        document.fail(element, "PolynomialCalibrator has no Term")
    return Calibrator("polynomial", coefficients=tuple(terms.get(power, 0.0) for power in range(max(terms) + 1)))


def spline(element: Element, document: Document) -> Calibrator:
    document.expect(element, "SplinePoint")
    order = document.integer(element, element.get("order", "1"))
    if order not in (0, 1):
        document.fail(element, f"splines of order {order} are not supported", "order 0 (steps) or 1 (lines)")
    points = []
    for point in element.iterfind("SplinePoint"):
        document.expect(point)
        if document.integer(point, point.get("order", str(order))) != order:
            document.fail(point, "points of different orders in one spline are not supported", f'order="{order}", or none')
        raw, value = document.attribute(point, "raw"), document.attribute(point, "calibrated")
        points.append((document.real(point, raw), document.real(point, value)))
    if len(points) < 2 - (order == 0):
        document.fail(element, f"a spline of order {order} needs at least {2 - (order == 0)} points")
    points.sort()
    if any(left[0] == right[0] for left, right in pairwise(points)):
        document.fail(element, "two spline points have the same raw value")
    extrapolated = element.get("extrapolate", "false").strip() in ("true", "1")
    return Calibrator("spline", points=tuple(points), order=order, is_extrapolated=extrapolated)


def math_operation(element: Element, document: Document, conditions: Conditions, space: Space) -> Calibrator:
    """Postfix: operands first. `this` stands for the raw value."""
    degrees = document.is_xtce_1_1
    document.expect(element, "ValueOperand", "ThisParameterOperand", "ParameterInstanceRefOperand", "Operator")
    program: list[float | str | Operand] = []
    depth = 0
    for child in element:
        if child.tag == "ValueOperand":
            program.append(document.real(child, child.text))
            depth += 1
        elif child.tag == "ThisParameterOperand":
            program.append("this")
            depth += 1
        elif child.tag == "ParameterInstanceRefOperand":
            program.append(conditions.operand(child, space))
            depth += 1
        elif child.tag == "Operator":
            name = (child.text or "").strip()
            if name not in MATH_OPERATORS:
                document.fail(child, f"'{name}' is no operator", f"one of {' '.join(MATH_OPERATORS)}")
            taken, put = MATH_OPERATORS[name]
            if depth < taken:
                document.fail(
                    child, f"'{name}' takes {taken} operands, {depth} are there", "operands come before their operator"
                )
            program += (IN_DEGREES.get(name) if degrees else None) or REWRITTEN.get(name) or (name,)
            depth += put - taken
        if depth >= STACK_MAX:
            document.fail(child, f"more than {STACK_MAX} operands wait for an operator")
    if depth < 1:
        document.fail(element, "MathOperationCalibrator leaves no result")
    return Calibrator("math", program=tuple(program))
