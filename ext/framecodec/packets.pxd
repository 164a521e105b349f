# Space packets to rows. See packets.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.found_packets cimport Found, Packet, Passed
from framecodec.packet_rows cimport PacketRows
from framecodec.packet_table cimport PacketTable
from framecodec.plan cimport Plan
from framecodec.sequences cimport Sequences
from framecodec.sync cimport Sync
from framecodec.timecodes cimport Code

# What is known of each packet of a slice. Kept from slice to slice, owned by the decoder.
cdef struct Scratch:
    uint8_t* memory          # of all that follows
    int64_t capacity
    const uint8_t** packets
    int32_t* sizes
    int32_t* containers
    int64_t* rows
    int64_t* numbers         # row among this call's packets, -1 for none
    int64_t* times
    uint8_t* shorts

cdef enum Boundaries:
    BOUNDARIES_STREAM
    BOUNDARIES_FRAMES
    BOUNDARIES_DATAGRAMS


@cython.final
cdef class SpacePacketDecoder:
    cdef readonly object definition
    cdef Plan plan
    cdef dict syncs                      # source -> Sync
    cdef Boundaries boundaries
    cdef int record_header
    cdef bint keeps_idle
    cdef bint emits_samples
    cdef bint emits_derived
    cdef bint emits_packets
    cdef bint emits_values
    cdef Code code                       # where the link says that the packets' time is
    cdef bint has_code
    cdef bint has_times
    cdef PacketRows rows
    cdef PacketTable packets
    cdef Sequences sequences
    cdef int64_t slices                  # what process() is given is the first of about as many like it in this input
    cdef int64_t input_bytes
    cdef Passed passed                   # encapsulation packets
    cdef bint is_final
    cdef int64_t packet_rows
    cdef object joiner
    cdef bint is_joining
    cdef bint has_plan
    cdef Scratch scratch

    cdef Sync sync_of(self, str name)
    cdef run_joined(
        self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers,
    )
    cdef run_slices(self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found)
    cdef run_sync(self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers)

    cdef int process(self, Found* found) noexcept nogil
    cdef int64_t time_of(self, const Packet* packet, int32_t container, int64_t row) noexcept nogil
    cdef finish_input(self, Found* found)
    cdef begin(self)
    # Everything that was decoded since begin().
    cdef hand_over(self)
    cdef void number_packets(self, Found* found, int64_t* numbers) noexcept nogil
    cdef int write(
        self, Found* found, const int32_t* containers, const int64_t* rows, const uint8_t* shorts, const int64_t* times,
    ) noexcept nogil
