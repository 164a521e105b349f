# What becomes of packets that were found. See packet_slices.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.found_packets cimport Found, Packet, Passed
from framecodec.packet_rows cimport PacketRows
from framecodec.packet_table cimport PacketTable
from framecodec.plan cimport Plan
from framecodec.segments cimport Joiner
from framecodec.sequences cimport Sequences
from framecodec.timecodes cimport Code

# What is known of each packet of a slice. Kept from slice to slice, owned by PacketSlices.
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


@cython.final
cdef class PacketSlices:
    cdef Plan plan                       # or None
    cdef Joiner joiner                   # None: segments stay packets
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
    cdef Passed passed                   # encapsulation packets
    cdef int64_t expected                # what process() is given is the first of about as many like it in this input
    cdef int64_t packet_rows             # since begin()
    cdef Scratch scratch

    # Before anything of an input is processed.
    cdef begin(self)
    # What was found becomes rows, and `found` is empty. `is_final`: segments that wait for others are given up. 0 or -1.
    cdef int process(self, Found* found, bint is_final) noexcept nogil
    # The rows since begin(), as record batches, into a framecodec.packets.Decoded.
    cdef hand_over(self, out)
    # No packet was seen yet; the totals stay.
    cdef forget(self)
    cdef dict totals(self)
    cdef reset_totals(self)
    # What later packets depend on, as JSON can hold it.
    cdef dict state(self)
    cdef set_state(self, dict state)
    cdef int64_t time_of(self, const Packet* packet, int32_t container, int64_t row) noexcept nogil
    cdef void number_packets(self, Found* found, int64_t* numbers) noexcept nogil
    cdef int write(
        self, Found* found, const int32_t* containers, const int64_t* rows, const uint8_t* shorts, const int64_t* times,
    ) noexcept nogil
