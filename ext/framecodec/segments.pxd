# Segmented packets put together. See segments.pyx.
from libc.stdint cimport int32_t, int64_t

from framecodec.columns cimport Names
from framecodec.found_packets cimport Found, Packet


cdef class Joiner:
    cdef dict groups         # (scid, vcid, apid) -> Group
    cdef list whole          # the bytes of joined packets, as long as Found points into them
    cdef int64_t held_bytes

    cdef join(self, Found* found, bint is_final)
    cdef give_up(self, Found* found, object key)
    cdef waste(self, Found* found, int64_t offset, int64_t size, int64_t received_ns, int32_t source)
    cdef list state(self, Names sources)
    cdef set_state(self, list state, Names sources)
