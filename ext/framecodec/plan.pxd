# A compiled definition, running. See plan.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.layouts cimport LayoutC, Machine, NodeC, ProgramC


# What a packet is that begins with these 16 bits, -1 none.
cdef struct Remembered:
    int32_t begins
    int32_t container


@cython.final
cdef class Plan:
    cdef readonly object definition
    cdef readonly list trees             # of each container
    cdef readonly list outputs           # the TreeLayout of each
    cdef list texts                      # constants that comparisons point into
    cdef dict condition_numbers          # condition -> its number in the machine
    cdef Machine machine
    cdef int field_count
    cdef LayoutC* layouts
    cdef readonly int container_count
    cdef bint has_times                  # some container says what its packets' time is
    cdef ProgramC* deciding              # of each layout: its full program without output, to decide among heirs
    cdef int layout_count
    cdef NodeC* nodes
    cdef int node_count
    cdef int slot_count
    # decode_packets() is given the first of about as many lots like it: so much room is made.
    cdef int64_t slices
    cdef Remembered* memory              # by APID
    cdef int64_t consulted_bits
    cdef uint8_t* zeros                  # owned; as many as any container has at constant places

    # Decodes `count` packets, which have the numbers `numbers_of`: the container of each (or NO_CONTAINER), its row there, and
    # 1 where it was too short. 0 or -1.
    cdef int decode_packets(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, int32_t* containers, int64_t* rows, uint8_t* shorts,
        const int64_t* numbers_of,
    ) noexcept nogil
    # Forgets what was decoded.
    cdef void clear(self) noexcept nogil
    # The packet's own time, UTC ns or NO_TIME, after decode_packets.
    cdef int64_t time_of(self, int32_t container, int64_t row, const uint8_t* packet, int64_t size) noexcept nogil
    cdef int32_t classify(self, const uint8_t* packet, int64_t size) noexcept nogil
    cdef int32_t descend(self, int node, const uint8_t* packet, int64_t size) noexcept nogil
    cdef int decode_mixed(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, const int32_t* containers, int64_t* rows,
        uint8_t* shorts, const int64_t* numbers_of,
    ) noexcept nogil
    cdef int decode_container(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t* rows, uint8_t* shorts,
        const int64_t* numbers_of, const int64_t* order, int64_t count,
    ) noexcept nogil
    cdef int decode_alike(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t count, int64_t* rows,
        const int64_t* numbers_of,
    ) noexcept nogil
    cdef int run_tails(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, uint8_t* shorts, const int64_t* numbers,
        int64_t count, int64_t row,
    ) noexcept nogil
