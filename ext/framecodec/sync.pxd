# Where space packets begin and end in a stream of bytes. See sync.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from framecodec.arrivals cimport Arrivals
from framecodec.found_packets cimport Found

# What a step found out.
cdef enum Verdict:
    ACCEPT
    REJECT
    WAIT

@cython.final
cdef class Sync:
    cdef readonly int record_header
    cdef readonly bint uses_frames       # the ends of segments are hints
    cdef readonly bint is_locked
    cdef readonly int version            # of the packets
    cdef readonly int64_t position       # in the stream, of the first byte not yet decided on
    cdef int64_t needed                  # stream position up to which bytes must be there before anything can change
    cdef int64_t garbage_start
    cdef int64_t garbage_size
    cdef int64_t garbage_received_ns
    cdef bint has_encapsulation          # an encapsulation packet was accepted: others are believed more easily
    cdef uint8_t* known                  # 1 for an APID that the definition or an accepted packet has
    cdef int32_t known_count
    cdef int32_t* last                   # sequence count of each APID's last packet, -1 none
    cdef uint8_t* kept                   # undecided bytes, from `position` on
    cdef int64_t kept_size
    cdef int64_t kept_capacity
    cdef Arrivals arrivals               # of the undecided bytes and of the input at hand
    cdef const uint8_t* data             # the bytes at hand: position `base` on
    cdef int64_t base
    cdef int64_t end
    cdef bint is_final

    # Adds bytes that arrive next, as one segment. Call before run(); 0 or -1.
    cdef int add_segment(self, int64_t size, int64_t received_ns) noexcept nogil
    # Decides on everything that can be decided: `data` is what was kept and then the new bytes, from `position` on. 0; 1 when there
    # are `limit` packets in `found` and more to come: call again with what is left; -1 (memory).
    cdef int run(self, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, int64_t limit) noexcept nogil
    cdef int64_t run_chain(self, int64_t at, int32_t source, Found* found, int64_t limit) noexcept nogil
    cdef void place(
        self, int64_t at, int64_t after, int64_t* whole_from, int64_t* whole_to, int64_t* origin, int64_t* received_ns,
    ) noexcept nogil
    cdef int accept(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int close_garbage(self, int32_t source, Found* found) noexcept nogil
    cdef int waste(self, int64_t start, int64_t size, bint is_truncated, int32_t source, Found* found) noexcept nogil
    cdef bint is_whole_segment(self, int64_t at, int64_t size) noexcept nogil
    cdef Verdict other_version(self, int64_t at, int version) noexcept nogil
    cdef Verdict judge(self, int64_t at, int64_t size, bint is_known) noexcept nogil
    cdef Verdict judge_encapsulation(self, int64_t at) noexcept nogil
    cdef Verdict score(self, int64_t at, bint is_expected) noexcept nogil
    cdef int points_of(self, const uint8_t* header, int* apids, int* counts, int depth) noexcept nogil
    cdef int64_t better_inside(self, int64_t at, int64_t end) noexcept nogil
    cdef int keep(self, const uint8_t* data, int64_t size) noexcept nogil
    cdef void forget(self) noexcept nogil
