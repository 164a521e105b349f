# Fields of NetFlow and IPFIX records into columns of FLOWS. See netflow_fields.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Column
from framecodec.rack cimport be16, be32, be64
from framecodec.elements cimport OP_DELTA, OP_MICROS, OP_MILLISECONDS, OP_SECONDS

cdef enum:
    NTP_EPOCH_S = 2_208_988_800ULL         # 1900-01-01 to 1970-01-01

# Functions that may leave cells as they are add the `bit` of their column to the masks of the rows where they did not, and say
# for which columns all rows are still to be marked: `bit`, or 0.

# Unsigned numbers of `length` octets into a column of `width`; one too large for it leaves its cell null.
cdef uint64_t read_numbers(
    Column* column, uint64_t* masks, uint64_t bit, int64_t row, uint8_t width,
    const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil

# IPv4 addresses into cells that nothing was written to.
cdef void read_ipv4_addresses(Column* column, int64_t row, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil

# Addresses of 4 or 16 octets; one of all zeros gives way to what the cell has, and the other way round.
cdef void read_addresses(
    Column* column, uint64_t* masks, uint64_t bit, int64_t row,
    const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil

# Milliseconds since the exporter's start, which was `uptime_ms` before `export_ns`; both wrap at 2^32 ms, 49.7 days.
cdef void read_uptimes(
    Column* column, int64_t row, const uint8_t* p, int64_t stride, int64_t count, int64_t export_ns, uint32_t uptime_ms,
) noexcept nogil


# The columns of `present` are there in `count` rows.
cdef inline void add_mask(uint64_t* masks, uint64_t present, int64_t count) noexcept nogil:
    cdef int64_t index
    for index in range(count):
        masks[index] |= present


cdef inline void fill32(uint32_t* cells, uint32_t value, int64_t count) noexcept nogil:
    cdef int64_t index
    for index in range(count):
        cells[index] = value


cdef inline void fill16(uint16_t* cells, uint16_t value, int64_t count) noexcept nogil:
    cdef int64_t index
    for index in range(count):
        cells[index] = value


cdef inline bint is_zero(const uint8_t* p, int64_t size) noexcept nogil:
    cdef int64_t index
    for index in range(size):
        if p[index]:
            return False
    return True


# Big-endian of any length; of more than 8 octets the last 8.
cdef inline uint64_t number_of(const uint8_t* p, uint32_t length) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t index
    if length == 4:
        return be32(p)
    if length == 8:
        return be64(p)
    if length == 2:
        return be16(p)
    for index in range(length):
        value = (value << 8) | p[index]
    return value


# A time given as milliseconds since the exporter's start, modulo 2^32: as far ahead as back, because there are exporters
# (FortiOS 5.2) whose flows are days ahead of their uptime.
cdef inline int64_t uptime_time(int64_t export_ns, uint32_t uptime_ms, uint32_t since_start_ms) noexcept nogil:
    return export_ns - 1_000_000LL * <int64_t> <int32_t> (uptime_ms - since_start_ms)


# N of "1 in N", rounded, at least 1.
cdef inline uint32_t ratio(uint64_t whole, uint64_t part) noexcept nogil:
    cdef uint64_t rate = (whole + part // 2) // part if part else 0
    return <uint32_t> rate if rate <= 0xFFFFFFFFU else 0xFFFFFFFFU


# 1 and the time, or 0 when the value is no time that 64 bits of nanoseconds hold; zero means that it was not set.
cdef inline bint time_of(uint8_t operation, uint64_t value, int64_t export_ns, int64_t* time_ns) noexcept nogil:
    cdef int64_t seconds
    if operation == OP_DELTA:
        # Microseconds back from the export time, which is in whole seconds [RFC 5102 5.9].
        time_ns[0] = export_ns - 1000 * <int64_t> (value & 0xFFFFFFFFU)
        return 1
    if value == 0:
        return 0
    if operation == OP_SECONDS:
        if value > 9_200_000_000LL:
            return 0
        time_ns[0] = 1_000_000_000LL * <int64_t> value
    elif operation == OP_MILLISECONDS:
        if value > 9_200_000_000_000LL:
            return 0
        time_ns[0] = 1_000_000LL * <int64_t> value
    else:
        # NTP: seconds since 1900 and a fraction; of microseconds the last 11 bits mean nothing [RFC 7011 6.1.9].
        # Seconds without the first bit are those after 2036-02-07, when the count begins anew [RFC 4330 3].
        if operation == OP_MICROS:
            value &= ~<uint64_t> 0x7FF
        seconds = <int64_t> (value >> 32) - <int64_t> NTP_EPOCH_S
        if value >> 63 == 0:
            seconds += 1LL << 32
        time_ns[0] = 1_000_000_000LL * seconds + <int64_t> (((value & 0xFFFFFFFFU) * 1_000_000_000ULL) >> 32)
    return 1
