# What has been seen of each virtual and master channel of a link. See frame_counts.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from framecodec.frame_cutter cimport Frame
from framecodec.transfer cimport Header

cdef enum:
    NO_MEMORY = -1
    TOO_MANY = -2

cdef struct VirtualChannel:
    int32_t scid
    int32_t vcid
    int64_t last_count[2]    # by lane; -1: none yet
    uint8_t* last_frame      # owned; to know a repeated frame
    int64_t last_size
    int64_t last_capacity
    int64_t frames           # since the counts were reset
    int64_t lost
    int64_t bytes
    int64_t repeated
    int64_t corrected
    int64_t fecf_errors

# All of one spacecraft's frames, TM only.
cdef struct MasterChannel:
    int32_t scid
    int32_t last_count
    int64_t lost

# What a frame's counts say.
cdef struct Continuity:
    bint is_repeated         # the frame of before once more
    int64_t lost             # frames of its virtual channel that are missing before it
    int64_t master_lost      # and of its master channel


cdef class FrameCounts:
    cdef VirtualChannel* channels        # owned
    cdef int channel_count
    cdef int channel_capacity
    cdef MasterChannel* masters          # owned
    cdef int master_count
    cdef int master_capacity
    cdef uint64_t uncounted              # a bit for each virtual channel whose count means nothing

    # Its index; TOO_MANY or NO_MEMORY.
    cdef int channel_of(self, int32_t scid, int32_t vcid) noexcept nogil
    # Counts a frame whose error control is wrong, if good ones have shown its channel. Whether they have.
    cdef bint note_bad(self, const Header* header) noexcept nogil
    # Counts a good frame of the channel with this index. 0 or NO_MEMORY.
    cdef int note(self, int index, const Header* header, const Frame* frame, Continuity* found) noexcept nogil
    cdef int64_t note_count(self, VirtualChannel* channel, const Header* header) noexcept nogil
    cdef int keep_frame(self, VirtualChannel* channel, const uint8_t* frame, int64_t size) noexcept nogil
    cdef MasterChannel* master_of(self, int32_t scid) noexcept nogil
