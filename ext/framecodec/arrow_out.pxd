# Handing rows over to Arrow. See arrow_out.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrow cimport ArrowArray, ArrowSchema

cdef enum:
    ARROW_FLAG_NULLABLE = 2

# The array structs of one batch and the pointers in them: one allocation, gone when the last of its arrays is released.
cdef struct Block:
    void (*drop)(void*) noexcept nogil       # for each buffer
    int32_t refs
    int32_t used_arrays
    int32_t used_pointers
    ArrowArray* arrays
    void** pointers

# Shared zeros for columns without a single value: release leaves them alone.
cdef const uint8_t* ZEROS
cdef enum:
    ZEROS_BYTES = 1 << 20

# Room for so many arrays, and pointers to buffers and children. Buffers will be freed, unless their owner sets another `drop`.
cdef Block* new_block(int arrays, int pointers) except NULL
# The block's next array. It owns the buffers that its caller sets; its children are set by append_child.
cdef ArrowArray* new_array(Block* block, int64_t length, int buffers, int children) noexcept nogil
cdef void append_child(ArrowArray* array, ArrowArray* child) noexcept nogil


# Marks, 0 or 1 a byte, to bits, the first one lowest; how many are 1.
cdef int64_t pack_bits(const uint8_t* marks, int64_t length, uint8_t* bits) noexcept nogil
# A schema, or part of one; its release frees it with all of its children.
cdef new_schema(ArrowSchema* schema, bytes form, bytes name, int64_t flags, int64_t children)
# The dictionary of an array of indices: strings.
cdef new_dictionary(ArrowSchema* schema)


# The fields of a record batch, (name, format, nullable) each, and the pyarrow schema known to be the same.
cdef class Layout:
    cdef readonly list fields
    cdef object schema

    cdef export(self, ArrowSchema* schema)


cdef class Batch:
    cdef Layout layout
    cdef ArrowArray array
    cdef readonly int64_t length
