# Datagrams from a UDP socket into Batches. See datagrams.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.batches cimport ADDRESS_BYTES, Batches


# One sender of datagrams.
cdef struct Source:
    uint8_t address[ADDRESS_BYTES]
    int32_t name                # in Batches.sources
    bint is_allowed
    uint64_t datagrams          # since the last `take_sources`, refused ones too
    uint64_t bytes_



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
    cdef uint32_t kernel_drops_seen # the socket's own counter, modulo 2^32
    cdef readonly uint64_t datagrams
    cdef readonly uint64_t bytes_received
    cdef readonly uint64_t refused
    cdef readonly uint64_t refused_bytes
    cdef readonly uint64_t kernel_drops
    cdef readonly bint has_too_many_sources

    cdef int run(self, int64_t wait_ns) noexcept nogil
    cdef int take(self, int index, int64_t now_ns) noexcept nogil
    cdef Source* find_source(self, const uint8_t* address) noexcept nogil
    cdef Source* add_source(self, const uint8_t* address) noexcept nogil
    cdef bint is_allowed(self, const uint8_t* address) noexcept nogil
    cdef void see_kernel_drops(self, uint32_t counter) noexcept nogil
