# The rows of packets, column by column. See packet_table.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

cimport cython

from framecodec.arrow_out cimport Layout
from framecodec.columns cimport Names
from framecodec.found_packets cimport Packet

cdef enum:
    PACKET_OFFSET
    PACKET_SCID
    PACKET_VCID
    PACKET_APID
    PACKET_TYPE
    PACKET_SEQUENCE_FLAGS
    PACKET_SEQUENCE_COUNT
    PACKET_SIZE_BYTES
    PACKET_TIME
    PACKET_RECEIVED
    PACKET_SOURCE
    PACKET_LOST_BEFORE
    PACKET_CONTAINER
    PACKET_COLUMNS

cdef struct PacketColumn:
    int item_bytes
    bint is_nullable
    uint8_t* values          # counted blocks; NULL: nothing but zeros or nulls so far
    uint8_t* valid           # one byte a row
    int64_t present          # rows that have a value


@cython.final
cdef class PacketTable:
    cdef PacketColumn columns[PACKET_COLUMNS]
    cdef readonly int64_t length
    cdef int64_t capacity
    cdef int64_t slices      # the next append() is the first of about as many: so much room is made
    cdef bint has_payload
    cdef Names sources
    cdef Layout layout
    cdef int32_t* ends       # of the payloads
    cdef uint8_t* data
    cdef int64_t data_used
    cdef int64_t data_capacity

    # Appends `count` packets, but for those whose number is negative; `times` and `containers` may be NULL. 0 or -1.
    cdef int append(
        self, const Packet* packets, int64_t count, const int64_t* numbers, const int64_t* times, const int32_t* containers,
    ) noexcept nogil
    cdef int put_times(self, int64_t row, const int64_t* numbers, const int64_t* times, int64_t count) noexcept nogil
    cdef int put_containers(self, int64_t row, const int64_t* numbers, const int32_t* containers, int64_t count) noexcept nogil
    cdef int put_payloads(self, int64_t row, const Packet* packets, int64_t count, const int64_t* numbers) noexcept nogil
    cdef int extra(self, int64_t row, const Packet* packet) noexcept nogil
    cdef int put_number(self, int number, int64_t row, int32_t value) noexcept nogil
    cdef int room(self, int64_t rows) noexcept nogil
    cdef int open_column(self, int number) noexcept nogil
    cdef void clear(self) noexcept nogil
