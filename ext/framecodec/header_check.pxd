# Frame header error control of AOS. See header_check.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t

cdef enum:
    HEADER_CHECK_BYTES = 8               # of the frame: the header and its check symbols
    HEADER_UNCORRECTABLE = -1


cdef class HeaderCheck:
    cdef uint16_t* patterns              # owned; by syndrome: what is wrong, see fill_patterns

    # How many symbols of the header are wrong, or HEADER_UNCORRECTABLE. Writes the header, corrected, to `header` if it is one
    # or two. The frame must have 8 bytes.
    cdef int correct(self, const uint8_t* frame, uint8_t* header) noexcept nogil
