# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Text in packets to UTF-8, as Arrow and ClickHouse want it: always valid, whatever the packet holds.

What is no character of the charset becomes U+FFFD, one for each byte (or 16-bit unit) that does not fit.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

CHARSETS = ("utf-8", "ascii", "latin-1", "cp1252", "utf-16-be", "utf-16-le")

cdef enum:
    UTF_8
    ASCII
    LATIN_1
    CP1252
    UTF_16_BE
    UTF_16_LE
    REPLACEMENT = 0xFFFD

# 0x80 to 0x9F of Windows-1252; the rest is ISO-8859-1.
cdef uint16_t[32] CP1252_HIGH = [
    0x20AC, REPLACEMENT, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
    0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, REPLACEMENT, 0x017D, REPLACEMENT,
    REPLACEMENT, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
    0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, REPLACEMENT, 0x017E, 0x0178,
]


cdef inline int put(uint32_t point, uint8_t* out) noexcept nogil:
    if point < 0x80:
        out[0] = <uint8_t> point
        return 1
    if point < 0x800:
        out[0] = <uint8_t> (0xC0 | point >> 6)
        out[1] = <uint8_t> (0x80 | (point & 0x3F))
        return 2
    if point < 0x10000:
        out[0] = <uint8_t> (0xE0 | point >> 12)
        out[1] = <uint8_t> (0x80 | (point >> 6 & 0x3F))
        out[2] = <uint8_t> (0x80 | (point & 0x3F))
        return 3
    out[0] = <uint8_t> (0xF0 | point >> 18)
    out[1] = <uint8_t> (0x80 | (point >> 12 & 0x3F))
    out[2] = <uint8_t> (0x80 | (point >> 6 & 0x3F))
    out[3] = <uint8_t> (0x80 | (point & 0x3F))
    return 4


# Length of the UTF-8 sequence at `data` (Unicode 15, table 3-7), 0 if it is none.
cdef inline int sequence(const uint8_t* data, int64_t left) noexcept nogil:
    cdef uint8_t lead = data[0]
    cdef uint8_t low = 0x80, high = 0xBF
    cdef int count, index
    if lead < 0x80:
        return 1
    if 0xC2 <= lead <= 0xDF:
        count = 2
    elif 0xE0 <= lead <= 0xEF:
        count = 3
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    elif 0xF0 <= lead <= 0xF4:
        count = 4
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    else:
        return 0
    if left < count or not low <= data[1] <= high:
        return 0
    for index in range(2, count):
        if (data[index] & 0xC0) != 0x80:
            return 0
    return count


cdef int64_t to_utf8(int charset, const uint8_t* data, int64_t size, uint8_t* out) noexcept nogil:
    cdef int64_t at = 0, written = 0
    cdef uint32_t point, next_unit
    cdef int count, low = 1 if charset == UTF_16_BE else 0
    if charset == UTF_16_BE or charset == UTF_16_LE:
        while at + 2 <= size:
            point = (<uint32_t> data[at + 1 - low] << 8) | data[at + low]
            at += 2
            if 0xD800 <= point < 0xDC00 and at + 2 <= size:
                next_unit = (<uint32_t> data[at + 1 - low] << 8) | data[at + low]
                if 0xDC00 <= next_unit < 0xE000:
                    at += 2
                    point = 0x10000 + ((point - 0xD800) << 10) + (next_unit - 0xDC00)
            if 0xD800 <= point < 0xE000:
                point = REPLACEMENT
            written += put(point, out + written)
        return written + (put(REPLACEMENT, out + written) if at < size else 0)
    while at < size:
        point = data[at]
        if point < 0x80:
            out[written] = <uint8_t> point
            written += 1
            at += 1
            continue
        if charset == UTF_8:
            count = sequence(data + at, size - at)
            if count:
                while count:
                    out[written] = data[at]
                    written += 1
                    at += 1
                    count -= 1
                continue
            point = REPLACEMENT
        elif charset == ASCII:
            point = REPLACEMENT
        elif charset == CP1252 and point < 0xA0:
            point = CP1252_HIGH[point - 0x80]
        written += put(point, out + written)
        at += 1
    return written


def decode_text(data: bytes, charset: str) -> str:
    """`data` as text; `charset` is one of CHARSETS."""
    cdef bytearray out = bytearray(3 * len(data) + 3)
    cdef int number = CHARSETS.index(charset)
    cdef int64_t size = to_utf8(number, <const uint8_t*> <char*> data, len(data), <uint8_t*> <char*> out)
    return out[:size].decode()
