# Received frames and their senders, row by row, out of Arrow buffers. See frame_view.pyx.
cimport cython
from libc.stdint cimport int32_t, uint8_t

cdef enum:
    ADDRESS_BYTES = 16   # IPv6; IPv4 as ::ffff:a.b.c.d


@cython.final
cdef class FrameView:
    cdef Py_buffer views[3]         # sender numbers, offsets, octets
    cdef int view_count             # of those that are held
    cdef bytes addresses            # ADDRESS_BYTES for each sender ...
    cdef bytes known                # ... and 1 where it is an address
    cdef const uint8_t* first_address   # borrowed from these two
    cdef const uint8_t* first_known
    cdef readonly Py_ssize_t rows

    # For row < rows; borrowed, valid while this object lives.
    cdef const uint8_t* sender(self, Py_ssize_t row) noexcept nogil
    cdef bint has_address(self, Py_ssize_t row) noexcept nogil
    cdef const uint8_t* frame(self, Py_ssize_t row) noexcept nogil
    cdef size_t size(self, Py_ssize_t row) noexcept nogil
