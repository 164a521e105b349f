# Which bytes of a stream arrived together, and the bytes that wait for more. See arrivals.pyx.
from libc.stdint cimport int64_t, uint8_t

# Bytes that arrived together.
cdef struct Arrival:
    int64_t start            # in the stream
    int64_t end
    int64_t offset           # of its first byte, as rows shall name it
    int64_t received_ns      # -1 unknown

# Those of the undecided bytes and of the input at hand, in order. `items` is owned by who has the struct.
cdef struct Arrivals:
    Arrival* items
    int64_t count
    int64_t capacity
    int64_t at               # of the last look-up

# Bytes from `start` on; none are not noted. 0 or -1 (memory).
cdef int add_arrival(Arrivals* arrivals, int64_t start, int64_t size, int64_t offset, int64_t received_ns) noexcept nogil
# Those that end at `position` or before it are done with.
cdef void drop_arrivals(Arrivals* arrivals, int64_t position) noexcept nogil
# Remembers `size` bytes, which may lie in `kept`: 0 or -1 (memory).
cdef int keep_bytes(
    uint8_t** kept, int64_t* kept_size, int64_t* kept_capacity, const uint8_t* data, int64_t size,
) noexcept nogil


# The arrival that the byte at `position` is of; the last one if it is beyond all. There must be one.
# Look-ups mostly go forward.
cdef inline Arrival* arrival_of(Arrivals* arrivals, int64_t position) noexcept nogil:
    if arrivals.at >= arrivals.count or arrivals.items[arrivals.at].start > position:
        arrivals.at = 0
    while arrivals.at + 1 < arrivals.count and arrivals.items[arrivals.at].end <= position:
        arrivals.at += 1
    return &arrivals.items[arrivals.at]
