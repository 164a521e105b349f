# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Numbers at any bit offset, in the codings of XTCE. The functions for decoders are inline in bits.pxd; this module shows
them to Python, one value at a time, for tests and for `orbitrack inspect`.

    read_number(b"\\x0a\\x2e", 2, 14, "unsigned")      # 2606

Bit 0 is the most significant bit of the first byte (CCSDS 133.0-B-2 1.6.3). A little-endian field is cut into groups of
eight bits in the order of the stream, the first of which is the least significant; a last group of fewer bits is the
most significant. A field that is least significant bit first is turned around as a whole before anything else.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

KINDS = (
    "unsigned", "twos_complement", "ones_complement", "sign_magnitude", "bcd", "packed_bcd", "ieee754", "milstd_1750a",
    "binary", "string",
)


def read_number(
    const uint8_t[::1] data not None, int64_t bit, int width, kind: str, *, bint little_endian=False, order: bytes = b"",
    bint bit_reversed=False,
) -> int | float | None:
    """The number of `width` bits (1 to 64) from `bit` on.

    `kind` is one of KINDS but the last two, `order` the significance of each byte as in streams.definitions.model. None for
    a decimal digit above 9. ValueError when the bits are not all inside `data`, or the width does not suit the kind.
    """
    cdef int coding = KINDS.index(kind)
    cdef bint ok = True
    cdef uint64_t word
    cdef int64_t value
    if coding >= BINARY or not 1 <= width <= 64 or bit < 0 or bit + width > 8 * data.shape[0]:
        raise ValueError(f"{width} bits of {kind} at bit {bit} of {data.shape[0]} bytes")
    if (coding == IEEE754 and width not in (16, 32, 64)) or (coding == MILSTD_1750A and width not in (32, 48)):
        raise ValueError(f"{kind} has no {width} bits")
    if order and (width % 8 or sorted(order) != list(range(width // 8))):
        raise ValueError(f"byte order {list(order)} does not fit {width} bits")
    word = read_bits(&data[0], data.shape[0], bit, width)
    if bit_reversed:
        word = reverse_bits(word, width)
    if order:
        word = from_order(word, width, <const uint8_t*> <char*> order)
    elif little_endian:
        word = from_little_endian(word, width)
    if coding >= IEEE754:
        return read_real(word, width, coding)
    value = read_integer(word, width, coding, &ok)
    if not ok:
        return None
    return <uint64_t> value if coding in (UNSIGNED, BCD, PACKED_BCD) else value
