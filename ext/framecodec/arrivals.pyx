# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Which bytes of a stream arrived together, and the bytes that wait for more: what finding packets and finding frames share.

A stream may be cut anywhere, and rows name the receive time and the place of the piece that they are from. So every piece is an
`Arrival` as long as some of its bytes are undecided.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove


cdef int add_arrival(Arrivals* arrivals, int64_t start, int64_t size, int64_t offset, int64_t received_ns) noexcept nogil:
    cdef void* moved
    cdef Arrival* arrival
    if size == 0:
        return 0
    if arrivals.count == arrivals.capacity:
        moved = realloc(arrivals.items, (2 * arrivals.capacity + 64) * sizeof(Arrival))
        if moved == NULL:
            return -1
        arrivals.items, arrivals.capacity = <Arrival*> moved, 2 * arrivals.capacity + 64
    arrival = &arrivals.items[arrivals.count]
    arrival.start, arrival.end, arrival.offset, arrival.received_ns = start, start + size, offset, received_ns
    arrivals.count += 1
    return 0


cdef void drop_arrivals(Arrivals* arrivals, int64_t position) noexcept nogil:
    cdef int64_t gone = 0
    while gone < arrivals.count and arrivals.items[gone].end <= position:
        gone += 1
    if gone:
        memmove(arrivals.items, arrivals.items + gone, (arrivals.count - gone) * sizeof(Arrival))
        arrivals.count -= gone
        arrivals.at = 0


cdef int keep_bytes(
    uint8_t** kept, int64_t* kept_size, int64_t* kept_capacity, const uint8_t* data, int64_t size,
) noexcept nogil:
    cdef void* moved
    if size > kept_capacity[0]:
        moved = malloc(2 * size)
        if moved == NULL:
            return -1
        memcpy(moved, data, size)
        free(kept[0])
        kept[0], kept_capacity[0] = <uint8_t*> moved, 2 * size
    elif size:                                               # memmove may not be handed NULL, not even for nothing
        memmove(kept[0], data, size)
    kept_size[0] = size
    return 0
