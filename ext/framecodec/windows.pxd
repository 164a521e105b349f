# Event-time windows; windows.pyx says what they mean.
from framecodec.groups cimport Group, Groups
from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef class Windower:
    cdef readonly int64_t size_ns
    cdef readonly int64_t lateness_ns
    cdef readonly int64_t allowed_lateness_ns
    cdef readonly int64_t idle_timeout_ns
    cdef Groups groups
    cdef uint64_t turn               # of advance(); groups carry the one in which they last got a sample
    cdef uint32_t* stirred           # numbers of the groups that got samples since advance()
    cdef uint32_t stirred_count
    cdef uint32_t stirred_capacity
    cdef readonly uint64_t not_finite
    cdef readonly uint64_t late

    cdef bint is_late(self, Group* group, int64_t time_ns) noexcept nogil
    cdef int stir(self, Group* group) noexcept nogil
