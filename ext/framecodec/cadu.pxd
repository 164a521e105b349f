# Frames behind attached sync markers. See cadu.pyx.
from libc.stdint cimport int64_t

from framecodec.frame_cutter cimport FrameCutter, Verdict


cdef class CaduCutter(FrameCutter):
    cdef Verdict expect_marker(self, int* status) noexcept nogil
    cdef Verdict look_ahead(self, int64_t first, int64_t last, int64_t* found) noexcept nogil
    cdef Verdict believe(self, int64_t place, int errors) noexcept nogil
    cdef int marker_at(self, int64_t bit, bint* is_inverted) noexcept nogil
    cdef int64_t find_marker(self, int64_t bit, int64_t last, int* errors) noexcept nogil
