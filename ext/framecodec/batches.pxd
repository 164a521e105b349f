# Frames on their way into sealed batches, one growing batch a partition. See batches.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.columns cimport Names, Rows
from framecodec.partitions cimport KeyKind


# The batch of a partition.
cdef struct OpenBatch:
    void* rows                  # Rows, borrowed, for use without the GIL
    int64_t opened_ns           # when the first row came
    int64_t expected_bytes      # how large the previous batch of this partition was
    int64_t expected_rows


@cython.final
cdef class Batches:
    cdef list rows                  # Rows of each partition; owns what `open` borrows
    cdef OpenBatch* open
    cdef readonly Names sources
    cdef readonly int32_t partitions
    cdef readonly int32_t link_partition
    cdef readonly KeyKind key_kind
    cdef int64_t bytes_max
    cdef int64_t rows_max
    cdef int64_t age_max_ns
    cdef readonly int64_t pending_rows
    cdef bint is_full               # some partition reached bytes_max or rows_max: seal before the next put

    # Appends one frame; 0, or -1 when out of memory. received_ns < 0 is null.
    cdef int put(
        self, int32_t partition, int64_t received_ns, int32_t source, const uint8_t* frame, size_t size, int64_t now_ns,
    ) noexcept nogil
