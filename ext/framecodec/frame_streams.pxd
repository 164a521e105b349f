# One sender's stream of frames. See frame_streams.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.arrivals cimport Arrivals

# One sender's bytes: what is undecided, and what is known of where frames begin. Its StreamOwner owns the arrays.
cdef struct Stream:
    int64_t at               # bits of the stream decided on
    bint is_locked
    bint is_inverted
    int64_t misses           # frames in a row that did not prove themselves
    int64_t garbage_bits     # before `at`, not reported yet
    int64_t garbage_start    # bit
    int64_t garbage_offset
    int64_t garbage_received_ns
    uint8_t* kept            # bytes from at >> 3 on
    int64_t kept_size
    int64_t kept_capacity
    int64_t received_bytes   # of the stream so far
    Arrivals arrivals        # those that undecided bytes are from

# Bytes that arrive next; call it before run(). 0 or -1.
cdef int add_segment(Stream* stream, int64_t size, int64_t offset, int64_t received_ns) noexcept nogil
cdef void forget(Stream* stream) noexcept nogil
# Remembers the undecided bytes, and when they arrived. 0 or -1.
cdef int keep(Stream* stream, const uint8_t* data, int64_t size) noexcept nogil


cdef class StreamOwner:
    cdef Stream stream
