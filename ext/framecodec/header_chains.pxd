# What the headers in a stream are worth. See header_chains.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrivals cimport Arrivals

# What a step found out.
cdef enum Verdict:
    ACCEPT
    REJECT
    WAIT


cdef class HeaderChains:
    cdef readonly int record_header
    cdef readonly bint uses_frames       # the ends of segments are hints
    cdef readonly int version            # of the packets
    cdef int64_t needed                  # stream position up to which bytes must be there before anything can change
    cdef bint has_encapsulation          # an encapsulation packet was accepted: others are believed more easily
    cdef uint8_t* known                  # 1 for an APID that the definition or an accepted packet has
    cdef int32_t known_count
    cdef int32_t* last                   # sequence count of each APID's last packet, -1 none
    cdef Arrivals arrivals               # of the undecided bytes and of the input at hand
    cdef const uint8_t* data             # the bytes at hand: position `base` on
    cdef int64_t base
    cdef int64_t end
    cdef bint is_final

    cdef void forget_known(self) noexcept nogil
    # Whether these bytes are exactly one frame or datagram.
    cdef bint is_whole_segment(self, int64_t at, int64_t size) noexcept nogil
    cdef Verdict other_version(self, int64_t at, int version) noexcept nogil
    # What begins at a place where something must begin, and where none need.
    cdef Verdict judge(self, int64_t at, int64_t size, bint is_known) noexcept nogil
    cdef Verdict judge_encapsulation(self, int64_t at) noexcept nogil
    cdef Verdict score(self, int64_t at, bint is_expected) noexcept nogil
    cdef int points_of(self, const uint8_t* header, int* apids, int* counts, int depth) noexcept nogil
    cdef int64_t better_inside(self, int64_t at, int64_t end) noexcept nogil
