# Reading numbers at any bit offset. All functions are inline; see bits.pyx for what they promise.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    static inline uint64_t framecodec_be64(const unsigned char* at) {
        uint64_t word; __builtin_memcpy(&word, at, 8);
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap64(word);
    #endif
        return word;
    }
    static inline uint16_t framecodec_be16(const unsigned char* at) { return (uint16_t)(at[0] << 8 | at[1]); }
    static inline uint32_t framecodec_be32(const unsigned char* at) {
        uint32_t word; __builtin_memcpy(&word, at, 4);
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        word = __builtin_bswap32(word);
    #endif
        return word;
    }
    static inline uint64_t framecodec_swap64(uint64_t word) { return __builtin_bswap64(word); }
    """
    uint64_t load_be64 "framecodec_be64"(const uint8_t* at) noexcept nogil
    uint16_t load_be16 "framecodec_be16"(const uint8_t* at) noexcept nogil
    uint32_t load_be32 "framecodec_be32"(const uint8_t* at) noexcept nogil
    uint64_t swap64 "framecodec_swap64"(uint64_t word) noexcept nogil


# How an encoding turns bits into a number: streams.definitions.model.Encoding.kind, in this order.
cdef enum Coding:
    UNSIGNED
    TWOS_COMPLEMENT
    ONES_COMPLEMENT
    SIGN_MAGNITUDE
    BCD
    PACKED_BCD
    IEEE754
    MILSTD_1750A
    BINARY
    STRING


# `width` (1..64) bits from `bit` on, most significant first. The caller has checked that size_bytes holds them.
cdef inline uint64_t read_bits(const uint8_t* data, int64_t size_bytes, int64_t bit, int width) noexcept nogil:
    cdef int64_t byte = bit >> 3
    cdef int shift = <int> (bit & 7)
    cdef int64_t last = (bit + width - 1) >> 3
    cdef uint64_t word = 0
    cdef int64_t index
    if byte + 8 <= size_bytes:
        word = load_be64(data + byte) << shift
        if shift + width > 64:
            word |= <uint64_t> data[byte + 8] >> (8 - shift)
        return word >> (64 - width)
    for index in range(byte, last + 1):
        word = (word << 8) | data[index]
    # At most 8 bytes here: nine would have taken the branch above.
    return (word >> ((last + 1) * 8 - bit - width)) & (<uint64_t> 0xFFFFFFFFFFFFFFFFULL >> (64 - width))


# The lowest `width` bits of `word`, in reverse.
cdef inline uint64_t reverse_bits(uint64_t word, int width) noexcept nogil:
    cdef uint64_t turned = 0
    cdef int index
    for index in range(width):
        turned = (turned << 1) | ((word >> index) & 1)
    return turned


# Least significant byte first: the first 8 bits of the field are the lowest; a last group of fewer bits is the highest.
cdef inline uint64_t from_little_endian(uint64_t word, int width) noexcept nogil:
    cdef int rest = width & 7
    cdef int left = width
    cdef int place = 0
    cdef uint64_t value = 0
    if rest == 0:
        return swap64(word) >> (64 - width)
    while left > 8:
        left -= 8
        value |= ((word >> left) & 0xFF) << place
        place += 8
    return value | (word & (<uint64_t> 0xFF >> (8 - left))) << place


# The n-th byte of the stream has significance order[n], 0 the least.
cdef inline uint64_t from_order(uint64_t word, int width, const uint8_t* order) noexcept nogil:
    cdef int count = width >> 3
    cdef int index
    cdef uint64_t value = 0
    for index in range(count):
        value |= ((word >> (width - 8 - 8 * index)) & 0xFF) << (8 * order[index])
    return value


# Integer codings; the result is meant as uint64 for UNSIGNED, BCD and PACKED_BCD. `ok` is 0 for a digit above 9.
cdef inline int64_t read_integer(uint64_t word, int width, int coding, bint* ok) noexcept nogil:
    cdef uint64_t mask = <uint64_t> 0xFFFFFFFFFFFFFFFFULL >> (64 - width)
    cdef uint64_t value = 0
    cdef int step, left
    ok[0] = True
    if coding == UNSIGNED:
        return <int64_t> word
    if coding == TWOS_COMPLEMENT:
        return <int64_t> (word << (64 - width)) >> (64 - width)
    if coding == ONES_COMPLEMENT:
        return -<int64_t> (~word & mask) if (word >> (width - 1)) else <int64_t> word
    if coding == SIGN_MAGNITUDE:
        return -<int64_t> (word & (mask >> 1)) if (word >> (width - 1)) else <int64_t> word
    step = 8 if coding == BCD else 4
    left = width
    while left >= step:
        left -= step
        if ((word >> left) & (<uint64_t> 0xFF >> (8 - step))) > 9:
            ok[0] = False
            return 0
        value = value * 10 + ((word >> left) & 0xF)
    return <int64_t> value


# IEEE 754 binary16, 32 and 64; MIL-STD-1750A 4.1.3.4, 4.1.3.5 (from memory): fraction in two's complement, then an exponent
# of 8 bits in two's complement, then, in the extended form, 16 more bits of fraction.
cdef inline double read_real(uint64_t word, int width, int coding) noexcept nogil:
    cdef double real
    cdef float single
    cdef uint32_t half
    cdef int64_t fraction
    cdef int exponent
    if coding == MILSTD_1750A:
        if width == 32:
            fraction = <int64_t> (word << 32) >> 40
            exponent = <int> (<int64_t> (word << 56) >> 56)
            return ldexp(<double> fraction, exponent - 23)
        fraction = ((<int64_t> (word << 16) >> 40) << 16) | <int64_t> (word & 0xFFFF)
        exponent = <int> (<int64_t> ((word >> 16) << 56) >> 56)
        return ldexp(<double> fraction, exponent - 39)
    if width == 64:
        memcpy(&real, &word, 8)
        return real
    if width == 32:
        half = <uint32_t> word
        memcpy(&single, &half, 4)
        return single
    exponent = <int> ((word >> 10) & 0x1F)
    fraction = <int64_t> (word & 0x3FF)
    if exponent == 31:
        real = INFINITY if fraction == 0 else NAN
    elif exponent == 0:
        real = ldexp(<double> fraction, -24)
    else:
        real = ldexp(<double> (fraction + 1024), exponent - 25)
    return -real if word >> 15 else real


cdef extern from "<math.h>" nogil:
    double ldexp(double x, int exponent) noexcept
    double INFINITY
    double NAN
