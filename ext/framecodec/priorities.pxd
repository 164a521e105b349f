# Which datagrams to give up first. See priorities.pyx.
cimport cython
from libc.stdint cimport uint8_t

from framecodec.partitions cimport KeyKind


@cython.final
cdef class Priorities:
    cdef KeyKind kind
    cdef uint8_t* is_options        # by hash of (sender, domain, template id): was announced by an options template; owned

    # Remembers the options templates in a datagram from `sender` (16 bytes). Several threads may call it.
    cdef void note(self, const uint8_t* sender, const uint8_t* datagram, size_t size) noexcept nogil
    # Whether there is more than flows in it.
    cdef bint is_vital(self, const uint8_t* sender, const uint8_t* datagram, size_t size) noexcept nogil
