# What has been seen of each APID of each virtual channel. See sequences.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from framecodec.found_packets cimport Packet

# One APID in one virtual channel.
cdef struct Sequence:
    int32_t last             # -1: nothing yet
    uint64_t seen            # bit n: the count `last` - n was received, or was before the first
    int64_t packets

cdef struct Channel:
    int32_t scid             # -1: unknown, the packets did not come in frames
    int32_t vcid
    int64_t packets
    int64_t bytes
    int64_t gaps
    int64_t lost
    Sequence* sequences      # owned; one for each APID


@cython.final
cdef class Sequences:
    cdef Channel* channels   # owned
    cdef int channel_count
    cdef int channel_capacity

    # Counts packets and writes into each what was missing before it (`lost`) and its size (`input_bytes`). Idle packets have
    # gaps only with `counts_idle`. 0 or -1 (memory).
    cdef int count(self, Packet* packets, int64_t count, bint counts_idle) noexcept nogil
    cdef Channel* channel_of(self, int32_t scid, int32_t vcid) noexcept nogil
    # No packet was seen yet; the totals stay.
    cdef void forget(self) noexcept nogil
    cdef void reset_totals(self) noexcept nogil
    cdef list links(self)
    cdef list state(self)
    cdef set_state(self, list channels)
