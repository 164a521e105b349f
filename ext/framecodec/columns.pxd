# Growing rows, shared by every decoder. See columns.pyx for how they are used.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from framecodec.arrow_out cimport Layout
from framecodec.column cimport SHAPE_BYTES, SHAPE_FIXED, SHAPE_LIST, SHAPE_MAP, SHAPE_NAME, Column, Shape
from framecodec.names cimport Names, hash_bytes


cdef class Rows:
    cdef Column* columns
    cdef int column_count
    cdef readonly int64_t length
    cdef int64_t capacity
    cdef Layout layout            # what the columns are
    cdef list names               # a Names or None for each column
    cdef bint clears_late         # cells are garbage until written; null ones are cleared by flush()
    cdef bint has_masks
    cdef uint64_t* masks          # where has_masks: of each row, bit n is set where column n is present

    # Frees all buffers.
    cdef void release(self) noexcept nogil
    # Room for `count` more rows; 0, or -1 when out of memory. Call it before writing at index `length`.
    cdef int reserve(self, int64_t count) noexcept nogil
    # Append the value of row `length` to a column of SHAPE_BYTES; 0 or -1. Rows must be written in order.
    # Masks stay as they are.
    cdef int put_bytes(self, int column, const uint8_t* data, size_t size) noexcept nogil
    # The same for SHAPE_LIST (count items) and SHAPE_MAP.
    cdef int put_list(self, int column, const void* items, size_t count) noexcept nogil
    cdef int put_map(self, int column, const void* keys, const void* values, size_t count) noexcept nogil
    # Close row `length`: columns of bytes, lists and maps that got nothing are null or empty.
    cdef void next_row(self) noexcept nogil
