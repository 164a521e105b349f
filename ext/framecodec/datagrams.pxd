# Datagrams from a UDP socket into Batches. See datagrams.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.batches cimport KEY_BYTES_MAX, Batches
from framecodec.frame_view cimport ADDRESS_BYTES
from framecodec.priorities cimport Priorities


# One sender of datagrams.
cdef struct Source:
    uint8_t address[ADDRESS_BYTES]
    int32_t name                # in Batches.sources
    bint is_allowed
    int64_t due_ns              # when the next datagram is due at `rate`; it may come a second earlier
    size_t key_bytes            # of the last datagram: few senders speak for more than one agent or domain
    int32_t partition
    uint8_t key[KEY_BYTES_MAX]
    uint64_t datagrams          # since the last `take_sources`: taken, or refused ...
    uint64_t bytes_
    uint64_t limited            # ... or beyond `rate`
    int64_t skew_ns             # the largest, which is of the least delayed; NO_SKEW: none


@cython.final
cdef class Receiver:
    cdef int fd
    cdef Batches batches
    cdef void* buffers              # struct Buffers of datagrams.pyx: recvmmsg's arguments and memory; owned
    cdef int arrived                # datagrams in `buffers` ...
    cdef int taken                  # ... and how many of them are in `batches`
    cdef Source* sources
    cdef uint32_t* table            # open addressing: index into sources + 1, 0 = free
    cdef uint32_t source_count
    cdef uint32_t source_capacity
    cdef uint32_t sources_max
    cdef bytes networks             # allowed: 16 bytes of prefix, 1 byte of prefix length, each
    cdef const uint8_t* first_network   # borrowed from `networks`
    cdef int network_count
    cdef int64_t interval_ns        # between datagrams of a sender at `rate`; 0: no limit
    cdef Priorities priorities      # or None
    cdef uint32_t kernel_drops_seen # the socket's own counter, modulo 2^32
    cdef readonly uint64_t datagrams
    cdef readonly uint64_t bytes_received
    cdef readonly uint64_t refused
    cdef readonly uint64_t refused_bytes
    cdef readonly uint64_t limited
    cdef readonly uint64_t kernel_drops
    cdef readonly bint has_too_many_sources

    cdef int receive_more(self) noexcept nogil
    cdef int run(self, int64_t wait_ns) noexcept nogil
    cdef int take(self, int index, int64_t now_ns) noexcept nogil
    cdef int32_t partition_of_datagram(
        self, Source* source, const uint8_t* address, const uint8_t* datagram, size_t size,
    ) noexcept nogil
    cdef bint is_within_rate(self, Source* source, int64_t received_ns) noexcept nogil
    cdef Source* find_source(self, const uint8_t* address) noexcept nogil
    cdef Source* add_source(self, const uint8_t* address) noexcept nogil
    cdef bint is_allowed(self, const uint8_t* address) noexcept nogil
    cdef void see_kernel_drops(self, uint32_t counter) noexcept nogil
