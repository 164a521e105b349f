# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Fields of NetFlow and IPFIX records into columns of FLOWS: numbers of any length, addresses, times.

Functions on one Column and `count` records that begin at `p`, `stride` octets apart. Whoever calls has checked that the
octets and the rows are there; nothing here knows templates.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from framecodec.columns cimport Column
from framecodec.rack cimport be32, be64, write_ipv4

__all__: list[str] = []

cdef extern from *:
    """
    /* One loop for each pair of lengths that exporters send: octets on the wire, octets of the cell. */
    #define FC_READ(NAME, READ, CELL)                                                                          \\
        static void NAME(uint8_t* out, const uint8_t* p, int64_t stride, int64_t count) {                      \\
            CELL* cells = (CELL*)out;                                                                          \\
            for (int64_t i = 0; i < count; i++, p += stride) cells[i] = READ;                                  \\
        }
    FC_READ(fc_read_8_8, *p, uint8_t)
    FC_READ(fc_read_8_16, *p, uint16_t)
    FC_READ(fc_read_16_16, fc_be16(p), uint16_t)
    FC_READ(fc_read_16_32, fc_be16(p), uint32_t)
    FC_READ(fc_read_32_32, fc_be32(p), uint32_t)
    FC_READ(fc_read_32_64, fc_be32(p), uint64_t)
    FC_READ(fc_read_64_64, fc_be64(p), uint64_t)
    """
    void read_8_8 "fc_read_8_8"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_8_16 "fc_read_8_16"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_16_16 "fc_read_16_16"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_16_32 "fc_read_16_32"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_32_32 "fc_read_32_32"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_32_64 "fc_read_32_64"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil
    void read_64_64 "fc_read_64_64"(uint8_t* cells, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil


cdef uint64_t read_numbers(
    Column* column, uint64_t* masks, uint64_t bit, int64_t row, uint8_t width,
    const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil:
    cdef uint8_t* cells = column.values + row * width
    if length == width:
        if width == 4:
            read_32_32(cells, p, stride, count)
        elif width == 2:
            read_16_16(cells, p, stride, count)
        elif width == 1:
            read_8_8(cells, p, stride, count)
        else:
            read_64_64(cells, p, stride, count)
    elif length == 4 and width == 8:
        read_32_64(cells, p, stride, count)
    elif length == 2 and width == 4:
        read_16_32(cells, p, stride, count)
    elif length == 1 and width == 2:
        read_8_16(cells, p, stride, count)
    else:
        read_other_numbers(column, masks, bit, row, width, p, stride, length, count)
        return 0
    return bit


cdef void read_other_numbers(
    Column* column, uint64_t* masks, uint64_t bit, int64_t row, uint8_t width,
    const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil:
    cdef uint64_t limit = <uint64_t> 0xFFFFFFFFFFFFFFFFULL >> (64 - 8 * width)
    cdef int64_t index
    cdef uint64_t value
    if length > 8:
        return
    for index in range(row, row + count):
        value = number_of(p, length)
        p += stride
        if value > limit:
            continue
        if width == 1:
            column.values[index] = <uint8_t> value
        elif width == 2:
            (<uint16_t*> column.values)[index] = <uint16_t> value
        elif width == 4:
            (<uint32_t*> column.values)[index] = <uint32_t> value
        else:
            (<uint64_t*> column.values)[index] = value
        masks[index] |= bit


cdef void read_ipv4_addresses(Column* column, int64_t row, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil:
    cdef uint8_t* cells = column.values + 16 * row
    cdef int64_t index
    for index in range(count):
        write_ipv4(cells + 16 * index, p + stride * index)


cdef void read_addresses(
    Column* column, uint64_t* masks, uint64_t bit, int64_t row,
    const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil:
    cdef uint8_t* cell = column.values + 16 * row
    cdef int64_t index
    for index in range(row, row + count):
        if length == 4 and not (masks[index] & bit and (be32(p) == 0 or not is_zero_address(cell))):
            write_ipv4(cell, p)
            masks[index] |= bit
        elif length == 16 and (not masks[index] & bit or (is_zero_address(cell) and not is_zero(p, 16))):
            memcpy(cell, p, 16)
            masks[index] |= bit
        p += stride
        cell += 16


# 0.0.0.0 as ::ffff:0.0.0.0 counts as zero, like ::.
cdef inline bint is_zero_address(const uint8_t* p) noexcept nogil:
    return be64(p) == 0 and be32(p + 12) == 0 and (be32(p + 8) == 0 or be32(p + 8) == 0xFFFF)


cdef void read_uptimes(
    Column* column, int64_t row, const uint8_t* p, int64_t stride, int64_t count, int64_t export_ns, uint32_t uptime_ms,
) noexcept nogil:
    cdef int64_t* cells = <int64_t*> column.values + row
    cdef int64_t index
    for index in range(count):
        cells[index] = uptime_time(export_ns, uptime_ms, be32(p + stride * index))
