"""XTCE data encodings: integer, float, string, binary."""

from __future__ import annotations

from streams.definitions.conditions import Conditions
from streams.definitions.document import Document, Element, Space
from streams.definitions.model import Encoding, Expression
from streams.errors import nearest

__all__ = ["encoding"]

INTEGERS = {
    "unsigned": "unsigned",
    "signed": "twos_complement",
    "twosComplement": "twos_complement",
    "twosCompliment": "twos_complement",
    "onesComplement": "ones_complement",
    "onesCompliment": "ones_complement",
    "signMagnitude": "sign_magnitude",
    "BCD": "bcd",
    "packedBCD": "packed_bcd",
}
FLOATS = {"IEEE754": "ieee754", "IEEE754_1985": "ieee754", "MILSTD_1750A": "milstd_1750a", "MIL-1750A": "milstd_1750a"}
FLOAT_BITS = {"ieee754": (16, 32, 64), "milstd_1750a": (32, 48)}
CHARSETS = {
    "UTF-8": "utf-8",
    "UTF-16": "utf-16-be",
    "UTF-16BE": "utf-16-be",
    "UTF-16LE": "utf-16-le",
    "US-ASCII": "ascii",
    "ISO-8859-1": "latin-1",
    "Windows-1252": "cp1252",
}
MOST_FIRST = "mostSignificantByteFirst"
BITS_MAX = 64
STRING_BITS_MAX = 8 * 65_536  # a space packet holds no more (133.0-B-2 4.1.4.1)


def encoding(element: Element, document: Document, conditions: Conditions, space: Space) -> Encoding:
    """The Encoding of a *DataEncoding element; its calibrators are read elsewhere."""
    if element.tag == "IntegerDataEncoding":
        return integer(element, document)
    if element.tag == "FloatDataEncoding":
        return floating(element, document)
    if element.tag == "StringDataEncoding":
        return string(element, document, conditions, space)
    return binary(element, document, conditions, space)


def integer(element: Element, document: Document) -> Encoding:
    document.expect(element, "DefaultCalibrator", "ContextCalibratorList", "ByteOrderList")
    kind = choice(element, document, "encoding", "unsigned", INTEGERS)
    bits = document.integer(element, element.get("sizeInBits", "8"), 1, BITS_MAX)
    digit = {"bcd": 8, "packed_bcd": 4}.get(kind, 1)
    if bits % digit:
        document.fail(element, f"{bits} bits are no whole number of {element.get('encoding')} digits", f"a multiple of {digit}")
    return ordered(element, document, kind, bits)


def floating(element: Element, document: Document) -> Encoding:
    document.expect(element, "DefaultCalibrator", "ContextCalibratorList", "ByteOrderList")
    kind = choice(element, document, "encoding", "IEEE754_1985", FLOATS)
    bits = document.integer(element, element.get("sizeInBits", "32"))
    if bits not in FLOAT_BITS[kind]:
        document.fail(element, f"a float of {bits} bits is not supported", f"{kind}: {' or '.join(map(str, FLOAT_BITS[kind]))}")
    return ordered(element, document, kind, bits)


def string(element: Element, document: Document, conditions: Conditions, space: Space) -> Encoding:
    """A box of fixed or dynamic size (or none), and in it the text: all of it, after a size tag, or up to a terminator."""
    document.expect(element, "SizeInBits", "Variable")
    charset = choice(element, document, "encoding", "UTF-8", CHARSETS)
    if charset == "utf-16-be" and element.get("byteOrder") == "leastSignificantByteFirst":
        charset = "utf-16-le"
    most_significant_bit_first(element, document)
    fixed, variable = element.find("SizeInBits"), element.find("Variable")
    box = Expression(-1)
    if fixed is not None:
        document.expect(fixed, "Fixed", "TerminationChar", "LeadingSize")
        whole = fixed.find("Fixed")
        if whole is not None:
            box = conditions.integer(whole, space)  # in XTCE 1.1 also a DynamicValue or a DiscreteLookupList
            if box.constant is not None and not 0 <= box.constant <= STRING_BITS_MAX:
                document.fail(whole, f"a string of {box.constant} bits cannot be", f"0 to {STRING_BITS_MAX}")
    elif variable is not None:
        document.expect(variable, "DynamicValue", "DiscreteLookupList", "TerminationChar", "LeadingSize")
        for child in variable:
            if child.tag == "DynamicValue":
                box = conditions.dynamic(child, space)
            elif child.tag == "DiscreteLookupList":
                box = conditions.lookup(child, space)
    else:
        document.fail(element, "StringDataEncoding says nothing about its size", "SizeInBits or Variable")
    size = fixed if fixed is not None else variable
    assert size is not None
    leading, end = size.find("LeadingSize"), size.find("TerminationChar")
    leading_bits, termination = 0, b""
    if leading is not None:
        document.expect(leading)
        leading_bits = document.integer(leading, leading.get("sizeInBitsOfSizeTag", "16"), 1, BITS_MAX)
    if end is not None:
        try:
            termination = bytes.fromhex((end.text or "00").strip())
        except ValueError:
            document.fail(end, f"'{end.text}' is no byte", "write the terminator in hexadecimal, for example 00")
        if charset.startswith("utf-16") and len(termination) == 1:
            termination = bytes(1) + termination if charset == "utf-16-be" else termination + bytes(1)
    if leading_bits and termination:
        document.fail(element, "a string has a LeadingSize or a TerminationChar, not both")
    if box.constant == -1 and not leading_bits and not termination:
        document.fail(size, "this string has no end", "Fixed, DynamicValue, LeadingSize or TerminationChar")
    return Encoding("string", box, charset=charset, leading_size_bits=leading_bits, termination=termination)


def binary(element: Element, document: Document, conditions: Conditions, space: Space) -> Encoding:
    document.expect(element, "SizeInBits", "ToBinaryTransformAlgorithm")  # which is for sending
    most_significant_bit_first(element, document)
    if element.get("byteOrder", MOST_FIRST) != MOST_FIRST:
        document.fail(element, f"BinaryDataEncoding with byteOrder {element.get('byteOrder')} is not supported")
    size = element.find("SizeInBits")
    if size is None:
        document.fail(element, "BinaryDataEncoding has no SizeInBits")
    bits = conditions.integer(size, space)
    if bits.constant is not None and bits.constant < 0:
        document.fail(size, f"{bits.constant} bits cannot be")
    return Encoding("binary", bits)


def choice(element: Element, document: Document, name: str, default: str, known: dict[str, str]) -> str:
    value = element.get(name, default)
    if value not in known:
        guess = nearest(value, known)
        document.fail(
            element, f"{name} '{value}' is not supported", f"did you mean {guess}?" if guess else f"one of {' '.join(known)}"
        )
    return known[value]


def most_significant_bit_first(element: Element, document: Document) -> None:
    if element.get("bitOrder", "mostSignificantBitFirst") != "mostSignificantBitFirst":
        document.fail(element, f"{element.tag} with bitOrder {element.get('bitOrder')} is not supported")


def ordered(element: Element, document: Document, kind: str, bits: int) -> Encoding:
    """With byteOrder (1.2: also a list of significances, 0 the least), ByteOrderList (1.1) and bitOrder."""
    order: tuple[int, ...] = ()
    little = False
    words = element.get("byteOrder", MOST_FIRST).strip()
    listed = element.find("ByteOrderList")
    if listed is not None:
        document.expect(listed, "Byte")
        order = tuple(document.integer(byte, byte.get("byteSignificance")) for byte in listed if byte.tag == "Byte")
    elif words == "leastSignificantByteFirst":
        little = True
    elif words != MOST_FIRST:
        order = tuple(document.integer(element, part) for part in words.split(","))
    if order and (bits % 8 or sorted(order) != list(range(bits // 8))):
        document.fail(
            listed if listed is not None else element,
            f"byte order {','.join(map(str, order))} does not fit {bits} bits",
            "every significance from 0 (least) to the number of bytes - 1, once",
        )
    if order == tuple(range(bits // 8 - 1, -1, -1)):
        order = ()
    bit_order = element.get("bitOrder", "mostSignificantBitFirst")
    if bit_order not in ("mostSignificantBitFirst", "leastSignificantBitFirst"):
        document.fail(element, f"bitOrder '{bit_order}' is not known", "mostSignificantBitFirst or leastSignificantBitFirst")
    return Encoding(kind, Expression(bits), order, little and bits > 8, bit_order == "leastSignificantBitFirst")
