# What spacecraft say of the telecommands they receive. See clcw.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from framecodec.frame_rows cimport FrameRows

cdef enum:
    TELECOMMAND_CHANNELS = 64            # 232.0-B 4.1.2.5: six bits

# The last report of one telecommand channel.
cdef struct Report:
    uint32_t word
    bint is_known
    int64_t interval                     # in which all of it was told; -1: without a time

cdef struct Spacecraft:
    int32_t scid
    Report reports[TELECOMMAND_CHANNELS]


cdef class CommandReports:
    cdef Spacecraft* spacecraft          # owned
    cdef int spacecraft_count
    cdef int spacecraft_capacity

    # The operational control field of a good frame: samples of what is new, or due again. 0 or -1 (memory).
    cdef int note(self, int32_t scid, const uint8_t* field, int64_t received_ns, int32_t source, FrameRows rows) noexcept nogil
    cdef Spacecraft* spacecraft_of(self, int32_t scid) noexcept nogil
