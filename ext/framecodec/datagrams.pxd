# Datagrams from a UDP socket into Batches. See datagrams.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.batches cimport Batches
from framecodec.priorities cimport Priorities
from framecodec.senders cimport Sender, Senders


@cython.final
cdef class Receiver:
    cdef int fd
    cdef Batches batches
    cdef readonly Senders senders
    cdef Priorities priorities      # or None
    cdef void* buffers              # struct Buffers of recvmmsg.pxd; owned
    cdef int arrived                # datagrams in `buffers` ...
    cdef int taken                  # ... and how many of them are in `batches`
    cdef uint32_t kernel_drops_seen  # the socket's own counter, modulo 2^32
    cdef readonly uint64_t datagrams
    cdef readonly uint64_t bytes_received
    cdef readonly uint64_t refused
    cdef readonly uint64_t refused_bytes
    cdef readonly uint64_t limited
    cdef readonly uint64_t kernel_drops

    cdef int receive_more(self) noexcept nogil
    cdef int run(self, int64_t wait_ns) noexcept nogil
    cdef int take(self, int index, int64_t now_ns) noexcept nogil
    cdef int32_t partition_of_datagram(self, Sender* sender, const uint8_t* datagram, size_t size) noexcept nogil
    cdef Sender* add_sender(self, const uint64_t* address) noexcept nogil
    cdef void see_kernel_drops(self, uint32_t counter) noexcept nogil
