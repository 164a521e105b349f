# Where space packets begin and end in a stream of bytes. See sync.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.found_packets cimport Found
from framecodec.header_chains cimport HeaderChains, Verdict


@cython.final
cdef class Sync(HeaderChains):
    cdef readonly bint is_locked
    cdef readonly int64_t position       # in the stream, of the first byte not yet decided on
    cdef int64_t garbage_start
    cdef int64_t garbage_size
    cdef int64_t garbage_received_ns
    cdef uint8_t* kept                   # undecided bytes, from `position` on
    cdef int64_t kept_size
    cdef int64_t kept_capacity

    # Adds bytes that arrive next, as one segment. Call before run(); 0 or -1.
    cdef int add_segment(self, int64_t size, int64_t received_ns) noexcept nogil
    # Decides on everything that can be decided: `data` is what was kept and then the new bytes, from `position` on. 0; 1 when
    # there are `limit` packets in `found` and more to come: call again with what is left; -1 (memory).
    cdef int run(
        self, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, int64_t limit,
    ) noexcept nogil
    cdef Verdict search(self, int64_t at) noexcept nogil
    # Decides on what begins at `at`: the place behind it, NOTHING_HERE, NO_MEMORY, or `at` where more bytes are needed to tell.
    cdef int64_t take(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int64_t take_encapsulation(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int64_t take_remainder(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int64_t take_packet(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int64_t run_chain(self, int64_t at, int32_t source, Found* found, int64_t limit) noexcept nogil
    cdef void place(
        self, int64_t at, int64_t after, int64_t* whole_from, int64_t* whole_to, int64_t* origin, int64_t* received_ns,
    ) noexcept nogil
    cdef int accept(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int close_garbage(self, int32_t source, Found* found) noexcept nogil
    cdef int waste(self, int64_t start, int64_t size, bint is_truncated, int32_t source, Found* found) noexcept nogil
    cdef int keep(self, const uint8_t* data, int64_t size) noexcept nogil
    cdef void forget(self) noexcept nogil
