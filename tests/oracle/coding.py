"""Reed-Solomon, randomizer and CRC of CCSDS 131.0-B, AOS header error control: slow and straight from their definitions.

Field elements are polynomials over GF(2), multiplied bit by bit. The dual basis comes from the trace, not from the standard's
matrix; a codeword is what vanishes at the roots, not what a division leaves.
"""

from __future__ import annotations

from functools import cache

FIELD = 0x187  # x^8 + x^7 + x^2 + x + 1


def multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a & 0x100:
            a ^= FIELD
        b >>= 1
    return product


@cache
def power(base: int, exponent: int) -> int:
    result = 1
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def trace(element: int) -> int:
    total = 0
    for _ in range(8):
        total ^= element
        element = multiply(element, element)
    return total


@cache
def to_dual(element: int) -> int:
    """Bits z0 (first) to z7: the traces of the element times the powers of beta = alpha^117."""
    beta = power(2, 117)
    return sum(trace(multiply(element, power(beta, index))) << (7 - index) for index in range(8))


@cache
def from_dual(symbol: int) -> int:
    return next(element for element in range(256) if to_dual(element) == symbol)


def roots(parity_bytes: int) -> list[int]:
    gamma = power(2, 11)
    return [power(gamma, exponent) for exponent in range(128 - parity_bytes // 2, 128 + parity_bytes // 2)]


def is_codeword(symbols: bytes, parity_bytes: int, basis: str) -> bool:
    """Whether the symbols, highest power first, vanish at all roots of the generator."""
    elements = [from_dual(symbol) for symbol in symbols] if basis == "dual" else list(symbols)
    for root in roots(parity_bytes):
        value = 0
        for element in elements:
            value = multiply(value, root) ^ element
        if value:
            return False
    return True


def codewords(block: bytes, interleave: int) -> list[bytes]:
    return [block[first::interleave] for first in range(interleave)]


@cache
def pseudo_random(size: int) -> bytes:
    bits = [1] * 8
    while len(bits) < 8 * size:
        bits.append(bits[-8] ^ bits[-5] ^ bits[-3] ^ bits[-1])
    return bytes(int("".join(map(str, bits[8 * index : 8 * index + 8])), 2) for index in range(size))


def crc(data: bytes, width: int, polynomial: int, register: int) -> int:
    for byte in data:
        for bit in range(7, -1, -1):
            carry = (register >> (width - 1)) ^ (byte >> bit & 1)
            register = (register << 1) & ((1 << width) - 1)
            if carry & 1:
                register ^= polynomial
    return register


def crc16(data: bytes) -> int:
    return crc(data, 16, 0x1021, 0xFFFF)


def crc32(data: bytes) -> int:
    return crc(data, 32, 0x00A00805, 0)


def multiply16(a: int, b: int) -> int:
    product = 0
    for bit in range(4):
        product ^= a << bit if b >> bit & 1 else 0
    for bit in (6, 5, 4):
        product ^= 0b10011 << (bit - 4) if product >> bit & 1 else 0
    return product


@cache
def header_check(protected: bytes) -> bytes:
    """The two octets of 732.0-B 4.1.2.6 for version and ids (two octets) and signaling field: the rest of a division."""
    generator = [1]
    for exponent in range(6, 10):
        root = 1
        for _ in range(exponent):
            root = multiply16(root, 2)
        generator = [a ^ multiply16(b, root) for a, b in zip([*generator, 0], [0, *generator], strict=True)]
    rest = [symbol for octet in protected for symbol in (octet >> 4, octet & 15)] + [0] * 4
    for at in range(6):
        factor = rest[at]
        for index, coefficient in enumerate(generator):
            rest[at + index] ^= multiply16(factor, coefficient)
    return bytes([rest[6] << 4 | rest[7], rest[8] << 4 | rest[9]])
