# A record batch of model.FRAMES as decoders read it. See frame_input.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrow cimport ArrowArray, ArrowSchema

# TypeError unless the columns with these numbers have these Arrow formats; b"name" is a dictionary of strings.
cdef check_columns(const ArrowSchema* schema, dict formats)
# The value of a row of an int64 or int32 column; -1 where there is none.
cdef int64_t long_at(const ArrowArray* column, int64_t row) noexcept nogil
cdef int32_t int_at(const ArrowArray* column, int64_t row) noexcept nogil
# The text that a dictionary column has under this id.
cdef str dictionary_name(const ArrowArray* column, int32_t number)


cdef class FrameInput:
    cdef object capsules                 # they own what the pointers below point into
    cdef const ArrowArray* array
    cdef const int32_t* ids              # source of each row
    cdef const int32_t* ends             # row n: data[ends[n]] to data[ends[n + 1]]
    cdef const uint8_t* data
    cdef const int64_t* offsets          # place of each row in its file; NULL: nobody said
    cdef readonly int64_t length

    # The first row from `first` on that another sender sent.
    cdef int64_t next_sender(self, int64_t first) noexcept nogil
    cdef str source(self, int64_t row)
    # -1: unknown.
    cdef int64_t received_ns(self, int64_t row) noexcept nogil
