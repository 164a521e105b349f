# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Frame header error control of AOS (CCSDS 732.0-B 4.1.2.6, cited from memory): a Reed-Solomon code over half octets.

Links without a code of their own protect what a frame cannot be used without: the ten symbols of four bits are the version and
the ids of spacecraft and channel (octets 0, 1), the signaling field (octet 5) and four check symbols (octets 6, 7). The frame
count (octets 2-4) is not protected. The code is (10,6), shortened from (15,11), over GF(16) by x^4 + x + 1, with the roots
alpha^6 .. alpha^9, so any two wrong symbols can be corrected. There are 10,275 ways to have one or two wrong symbols and 65,536
syndromes: the decoder is a table of them.
"""
from libc.stdint cimport uint8_t, uint16_t
from libc.stdlib cimport calloc, free

__all__ = ["HeaderCheck"]

cdef enum:
    SYMBOLS = 10
    CHECK_SYMBOLS = 4
    FIRST_ROOT = 6
    ORDER = 15                           # of the field's multiplicative group
    SYNDROMES = 65536
    # A pattern: place and error of the first symbol, place and error of the second, four bits each; the error 0 is none.
    UNCORRECTABLE_PATTERN = 0xF0F0

cdef int OCTETS[5]
OCTETS[:] = [0, 1, 5, 6, 7]              # of the frame; each has two symbols, the upper half first
cdef uint8_t POWER[2 * ORDER]
cdef uint8_t LOG[16]


cdef void fill_tables() noexcept:
    cdef int value = 1, index
    for index in range(ORDER):
        POWER[index] = POWER[index + ORDER] = <uint8_t> value
        LOG[value] = <uint8_t> index
        value <<= 1
        if value & 16:
            value ^= 0b10011


fill_tables()


cdef inline int multiply(int a, int b) noexcept nogil:
    return POWER[LOG[a] + LOG[b]] if a and b else 0


# What the symbol `error` at `place` adds to the syndrome: its value at each root, four bits each.
cdef int contribution(int place, int error) noexcept nogil:
    cdef int check, found = 0
    for check in range(CHECK_SYMBOLS):
        found = (found << 4) | multiply(error, POWER[(FIRST_ROOT + check) * (SYMBOLS - 1 - place) % ORDER])
    return found


cdef class HeaderCheck:
    """The code, with its table."""

    def __cinit__(self):
        self.patterns = <uint16_t*> calloc(SYNDROMES, sizeof(uint16_t))
        if self.patterns == NULL:
            raise MemoryError
        self.fill_patterns()

    def __dealloc__(self):
        free(self.patterns)

    def fill_patterns(self):
        cdef int first, second, error, other, syndrome
        for syndrome in range(1, SYNDROMES):
            self.patterns[syndrome] = UNCORRECTABLE_PATTERN
        for first in range(SYMBOLS):
            for error in range(1, 16):
                syndrome = contribution(first, error)
                self.patterns[syndrome] = <uint16_t> (first << 12 | error << 8)
                for second in range(first + 1, SYMBOLS):
                    for other in range(1, 16):
                        self.patterns[syndrome ^ contribution(second, other)] = <uint16_t> (
                            first << 12 | error << 8 | second << 4 | other
                        )

    cdef int correct(self, const uint8_t* frame, uint8_t* header) noexcept nogil:
        cdef int place, syndrome = 0, pattern, symbol, half, wrong = 0
        for place in range(SYMBOLS):
            symbol = frame[OCTETS[place >> 1]]
            syndrome ^= contribution(place, symbol & 0xF if place & 1 else symbol >> 4)
        if syndrome == 0:
            return 0
        pattern = self.patterns[syndrome]
        if pattern == UNCORRECTABLE_PATTERN:
            return HEADER_UNCORRECTABLE
        for place in range(HEADER_CHECK_BYTES):
            header[place] = frame[place]
        for half in range(2):
            symbol = pattern >> (8 - 8 * half)
            if symbol & 0xF:
                place = (symbol >> 4) & 0xF
                header[OCTETS[place >> 1]] ^= <uint8_t> (symbol & 0xF if place & 1 else (symbol & 0xF) << 4)
                wrong += 1
        return wrong

    def corrected(self, const uint8_t[::1] frame not None) -> tuple:
        """The first 8 octets, corrected, and how many symbols were wrong, None if too many. ValueError for a shorter frame."""
        cdef uint8_t header[HEADER_CHECK_BYTES]
        cdef int wrong
        if frame.shape[0] < HEADER_CHECK_BYTES:
            raise ValueError(f"{frame.shape[0]} bytes: a header with its error control has {HEADER_CHECK_BYTES}")
        wrong = self.correct(&frame[0], header)
        if wrong <= 0:
            return bytes(frame[:HEADER_CHECK_BYTES]), None if wrong < 0 else 0
        return (<bytes> (<char*> header)[:HEADER_CHECK_BYTES]), wrong
