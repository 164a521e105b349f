# Raw values out of a packet. See raw_values.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.layouts cimport FieldC, Machine, Value

# Reads what stands at `bit` and moves `bit` behind it: OK, SHORT or BAD. A value that is there but no number is a VALUE_NONE.
cdef int read_value(
    Machine* machine, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value,
) noexcept nogil
# `count` plain numbers (FieldC.is_plain) of 1, 2, 4 or 8 bytes, one after another.
cdef void read_items(uint8_t* out, int item_bytes, const uint8_t* start, int64_t count) noexcept nogil
