# From raw values to what they mean. See meanings.pyx.
from framecodec.layouts cimport FieldC, Machine, Value

# Sets value.has_value, and what it is; has_value stays false where the raw value means nothing.
cdef void finish(Machine* machine, const FieldC* field, Value* value) noexcept nogil
