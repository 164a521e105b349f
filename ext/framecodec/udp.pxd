# UDP datagrams out of captured packets. See udp.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Names, Rows
from framecodec.fragments cimport Fragments, Slot

cdef enum PacketStatus:
    PACKET_OK
    PACKET_NO_MEMORY
    PACKET_BAD_LINK              # a link type that is not read

cdef enum Reason:
    REASON_TRUNCATED
    REASON_BAD_LENGTH
    REASON_FRAGMENT


@cython.final
cdef class UdpReader:
    cdef Rows frames
    cdef Rows rejects
    cdef Names senders               # texts
    cdef Names addresses             # the same numbers, as 16 bytes
    cdef Fragments fragments
    cdef uint16_t port
    cdef readonly uint64_t datagrams  # that became frames
    cdef readonly uint64_t passed     # packets of no interest

    # One packet: `offset` is where `at` lies in the file, time_ns < 0 is unknown.
    cdef PacketStatus take_packet(
        self, const uint8_t* at, size_t size, int32_t link_type, int64_t offset, int64_t time_ns,
    ) noexcept nogil
    # The end of the file: incomplete datagrams become rejects.
    cdef PacketStatus finish(self) noexcept nogil
    cdef PacketStatus reject(
        self, Reason reason, int64_t time_ns, int32_t source, int64_t offset, size_t size, const char* detail,
    ) noexcept nogil

    cdef PacketStatus take_ipv4(self, const uint8_t* at, size_t size, int64_t offset, int64_t time_ns) noexcept nogil
    cdef PacketStatus take_ipv6(self, const uint8_t* at, size_t size, int64_t offset, int64_t time_ns) noexcept nogil
    cdef PacketStatus take_fragment(
        self, const uint8_t* key, uint32_t place, bint more, const uint8_t* at, size_t total, size_t size, int64_t offset,
        int64_t time_ns,
    ) noexcept nogil
    cdef PacketStatus give_up(self, Slot* slot, const char* detail) noexcept nogil
    cdef PacketStatus take_udp(
        self, const uint8_t* sender, const uint8_t* at, size_t total, size_t size, int64_t offset, int64_t time_ns,
    ) noexcept nogil
    cdef int32_t intern_sender(self, const uint8_t* address) noexcept nogil
    cdef PacketStatus reject_packet(
        self, Reason reason, int64_t time_ns, const uint8_t* sender, int64_t offset, size_t size, const char* detail,
    ) noexcept nogil
