# Growing rows and repeating names, shared by every decoder. See columns.pyx for how they are used.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.arrow_out cimport Layout

cdef enum Shape:
    SHAPE_FIXED          # item_bytes per row in `values`
    SHAPE_NAME           # int32 ids of a Names in `values`
    SHAPE_BYTES          # `ends` and `data`: binary or utf8
    SHAPE_LIST           # `ends` and `data` (items of item_bytes)
    SHAPE_MAP            # `ends`, `data` (keys of item_bytes) and `data2` (values of item2_bytes)


# All pointers are owned by the Rows until flush() hands them to Arrow.
cdef struct Column:
    Shape shape
    int item_bytes
    int item2_bytes
    bint nullable
    uint8_t* values
    uint8_t* valid       # one byte a row, 1 = present; a bitmap only when it leaves
    int32_t* ends        # capacity + 1 offsets, ends[0] = 0
    uint8_t* data
    int64_t data_used
    int64_t data_capacity    # octets of `data`, or of `values` where the shape has no `data`
    uint8_t* data2
    int64_t data2_used
    int64_t data2_capacity   # octets of `data2`, or of `valid` where the shape has no `data2`


cdef uint64_t hash_bytes(const uint8_t* text, size_t size) noexcept nogil


cdef class Names:
    cdef uint8_t* text            # all names, one after another
    cdef int64_t* starts          # count + 1 offsets into text
    cdef uint64_t* hashes
    cdef uint32_t* table          # open addressing, id + 1, 0 = free
    cdef uint64_t mask
    cdef int64_t text_capacity
    cdef uint32_t capacity
    cdef readonly uint32_t count
    cdef uint32_t* stamp          # export marks: the epoch in which an id was last seen ...
    cdef int32_t* local_id        # ... and its index in that export's dictionary
    cdef uint32_t epoch

    # The id of a name, -1 when out of memory.
    cdef int32_t intern(self, const uint8_t* text, size_t size) noexcept nogil
    cdef int grow(self, size_t text_bytes) noexcept nogil
    cdef void clear(self) noexcept nogil


cdef class Rows:
    cdef Column* columns
    cdef int column_count
    cdef readonly int64_t length
    cdef int64_t capacity
    cdef Layout layout            # what the columns are
    cdef list names               # a Names or None for each column
    cdef bint clears_late         # cells are garbage until written; null ones are cleared by flush()

    # Frees all buffers.
    cdef void release(self) noexcept nogil
    # Room for `count` more rows; 0, or -1 when out of memory. Call it before writing at index `length`.
    cdef int reserve(self, int64_t count) noexcept nogil
    # Append the value of row `length` to a column of SHAPE_BYTES; 0 or -1. Rows must be written in order.
    cdef int put_bytes(self, int column, const uint8_t* data, size_t size) noexcept nogil
    # The same for SHAPE_LIST (count items) and SHAPE_MAP.
    cdef int put_list(self, int column, const void* items, size_t count) noexcept nogil
    cdef int put_map(self, int column, const void* keys, const void* values, size_t count) noexcept nogil
    # Close row `length`: columns of bytes, lists and maps that got nothing are null or empty.
    cdef void next_row(self) noexcept nogil
