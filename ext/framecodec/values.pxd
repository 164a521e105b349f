# Numbers that are decoded, compared and calibrated. See values.pyx.
from libc.math cimport trunc
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from framecodec.bits cimport IEEE754
from framecodec.layouts cimport VALUE_REAL, VALUE_SIGNED, VALUE_UNSIGNED, FieldC, Machine, MathC, Value
from framecodec.trees cimport Cells

# The operators of COMPARISONS by number, on a three-way order.
cdef bint ordered(int operator, int order) noexcept nogil
cdef int compare_bytes(const uint8_t* left, int64_t left_size, const uint8_t* right, int64_t right_size) noexcept nogil
# Whole numbers are compared as such, exact to 64 bits; anything calibrated or real as doubles.
cdef bint compare_numbers(
    const Value* left, bint left_is_calibrated, const Value* right, bint right_is_calibrated, int operator,
) noexcept nogil
# A number as text: whole, or the shortest that reads back the same. Returns its length; `text` has room for 40.
cdef int64_t write_number(char* text, const Value* value, int width) noexcept nogil
# A math operation calibrator, postfix. False where the result is no number, or another parameter has none in this packet.
cdef bint compute(const Machine* machine, const MathC* program, int count, double raw, double* result) noexcept nogil


# The whole number that a raw value is, as labels count by: False where it is none.
cdef inline bint is_whole(const Value* value, int64_t* whole) noexcept nogil:
    if value.kind != VALUE_REAL:
        whole[0] = value.bits
        return True
    if not -9e18 < value.real < 9e18 or value.real != trunc(value.real):
        return False
    whole[0] = <int64_t> value.real
    return True


cdef inline double number_of(const Value* value) noexcept nogil:
    if value.kind == VALUE_REAL:
        return value.real
    return <double> <uint64_t> value.bits if value.kind == VALUE_UNSIGNED else <double> value.bits


# The raw value that a cell holds.
cdef inline void load_cell(const Cells* cells, const FieldC* field, int64_t row, Value* value) noexcept nogil:
    cdef float single
    value.has_value = False
    if field.coding >= IEEE754:
        value.kind = VALUE_REAL
        if cells.raw_bytes == 4:
            memcpy(&single, cells.raw + 4 * row, 4)
            value.real = single
        else:
            memcpy(&value.real, cells.raw + 8 * row, 8)
        return
    if field.is_unsigned:
        value.kind = VALUE_UNSIGNED
        if cells.raw_bytes == 1:
            value.bits = cells.raw[row]
        elif cells.raw_bytes == 2:
            value.bits = (<uint16_t*> cells.raw)[row]
        elif cells.raw_bytes == 4:
            value.bits = (<uint32_t*> cells.raw)[row]
        else:
            value.bits = (<int64_t*> cells.raw)[row]
        return
    value.kind = VALUE_SIGNED
    if cells.raw_bytes == 1:
        value.bits = (<int8_t*> cells.raw)[row]
    elif cells.raw_bytes == 2:
        value.bits = (<int16_t*> cells.raw)[row]
    elif cells.raw_bytes == 4:
        value.bits = (<int32_t*> cells.raw)[row]
    else:
        value.bits = (<int64_t*> cells.raw)[row]
