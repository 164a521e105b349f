"""The attributes of XTCE's elements that decoding looks at (1.1 to 1.3), to see misspellings.

    misspelt("IntegerDataEncoding", "sizeInBit")         -> "sizeInBits"

A definition with an attribute of its own is read (there are many, and no reader asks for it); one that was probably meant to be
another is an error, because the default would silently take its place.
"""

from __future__ import annotations

from difflib import get_close_matches

__all__ = ["ATTRIBUTES", "misspelt"]

NAMED = ("name", "shortDescription")
ENCODED = ("bitOrder", "byteOrder")
NUMBER = (*ENCODED, "encoding", "sizeInBits", "changeThreshold")
TYPE = (*NAMED, "baseType", "initialValue")
INSTANCE = ("parameterRef", "instance", "useCalibratedValue")
CALIBRATOR = NAMED
ATTRIBUTES: dict[str, frozenset[str]] = {
    element: frozenset(names)
    for element, names in {
        "SpaceSystem": (*NAMED, "operationalStatus"),
        "IntegerParameterType": (*TYPE, "sizeInBits", "signed"),
        "FloatParameterType": (*TYPE, "sizeInBits"),
        "StringParameterType": (*TYPE, "restrictionPattern", "characterWidth"),
        "BinaryParameterType": TYPE,
        "BooleanParameterType": (*TYPE, "oneStringValue", "zeroStringValue"),
        "EnumeratedParameterType": TYPE,
        "AbsoluteTimeParameterType": TYPE,
        "RelativeTimeParameterType": TYPE,
        "AggregateParameterType": TYPE,
        "ArrayParameterType": (*TYPE, "arrayTypeRef", "typeRef", "numberOfDimensions"),
        "Parameter": (*NAMED, "parameterTypeRef", "initialValue"),
        "ParameterRef": ("parameterRef",),
        "Member": (*NAMED, "typeRef", "initialValue"),
        "Unit": ("power", "factor", "description", "form"),
        "IntegerDataEncoding": NUMBER,
        "FloatDataEncoding": NUMBER,
        "StringDataEncoding": (*ENCODED, "encoding"),
        "BinaryDataEncoding": ENCODED,
        "Byte": ("byteSignificance",),
        "LeadingSize": ("sizeInBitsOfSizeTag",),
        "Variable": ("maxSizeInBits",),
        "Encoding": ("units", "scale", "offset"),
        "DefaultCalibrator": CALIBRATOR,
        "Calibrator": CALIBRATOR,
        "PolynomialCalibrator": CALIBRATOR,
        "SplineCalibrator": (*CALIBRATOR, "order", "extrapolate"),
        "MathOperationCalibrator": CALIBRATOR,
        "Term": ("coefficient", "exponent"),
        "SplinePoint": ("order", "raw", "calibrated"),
        "Enumeration": ("value", "maxValue", "label", "shortDescription"),
        "SequenceContainer": (*NAMED, "abstract", "idlePattern"),
        "BaseContainer": ("containerRef",),
        "ParameterRefEntry": ("parameterRef", "shortDescription"),
        "ArrayParameterRefEntry": ("parameterRef", "shortDescription", "lastEntryForThisArrayInstance"),
        "ContainerRefEntry": ("containerRef", "shortDescription"),
        "LocationInContainerInBits": ("referenceLocation",),
        "Offset": ("offsetSizeInBits",),
        "Comparison": (*INSTANCE, "comparisonOperator", "value"),
        "ParameterInstanceRef": INSTANCE,
        "ParameterInstanceRefOperand": INSTANCE,
        "OffsetFrom": INSTANCE,
        "LinearAdjustment": ("slope", "intercept"),
        "DiscreteLookup": ("value",),
    }.items()
}


def misspelt(element: str, name: str) -> str | None:
    """The attribute of `element` that `name` was probably meant to be; None where it is one, or is like none."""
    known = ATTRIBUTES.get(element, frozenset())
    if name in known or name.startswith("{"):
        return None
    folded = {word.lower(): word for word in known}
    near = get_close_matches(name.replace("_", "").lower(), folded, n=1, cutoff=0.8)
    return folded[near[0]] if near else None
