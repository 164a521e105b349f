# Space packets to rows. See packets.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.found_packets cimport Found
from framecodec.packet_slices cimport PacketSlices
from framecodec.sync cimport Sync

cdef enum Boundaries:
    BOUNDARIES_STREAM
    BOUNDARIES_FRAMES
    BOUNDARIES_DATAGRAMS


@cython.final
cdef class SpacePacketDecoder:
    cdef readonly object definition
    cdef PacketSlices slices             # what becomes of the packets
    cdef dict syncs                      # source -> Sync
    cdef Boundaries boundaries
    cdef int record_header
    cdef int64_t input_bytes

    cdef Sync sync_of(self, str name)
    cdef run_joined(
        self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers,
    )
    cdef run_slices(self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found)
    cdef run_sync(self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers)
    cdef finish_input(self, Found* found, bint is_final)
    cdef hand_over(self)
