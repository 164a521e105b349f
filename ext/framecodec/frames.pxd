# Transfer frames to frame rows, packets and what was lost. See frames.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from framecodec.cadu cimport Frame, FrameCutter, Stream, StreamOwner
from framecodec.channels cimport Reassembler
from framecodec.columns cimport Names, Rows
from framecodec.transfer cimport Header, Layout

# What has been seen of one virtual channel.
cdef struct VirtualChannel:
    int32_t scid
    int32_t vcid
    int32_t entity           # its name in samples
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

# Of one spacecraft, TM only.
cdef struct MasterChannel:
    int32_t scid
    int32_t last_count
    int64_t lost


cdef class FrameDecoder(FrameCutter):
    cdef Layout layout
    cdef int fecf                        # 1 and 0: there is one, there is none; -1: the first frame tells
    cdef bint is_fecf_known              # also of how many bytes
    cdef str kind
    cdef str boundaries
    cdef str spacecraft
    cdef dict owners                     # source -> StreamOwner
    cdef Reassembler reassembler
    cdef bint emits_frames
    cdef bint emits_derived
    cdef bint emits_packets
    cdef bint emits_payload
    cdef Rows frame_rows
    cdef Rows derived
    cdef Rows rejects
    cdef Names sources
    cdef VirtualChannel* channels        # owned
    cdef int channel_count
    cdef int channel_capacity
    cdef MasterChannel* masters          # owned
    cdef int master_count
    cdef int master_capacity
    cdef uint8_t* joined                 # owned; what was kept and then the new bytes
    cdef int64_t joined_capacity
    cdef int64_t input_bytes
    cdef int64_t frame_total
    cdef int64_t reject_counts[7]

    cdef StreamOwner owner_of(self, str name)
    cdef run_stream(self, Stream* stream, const uint8_t* data, int64_t size, bint is_final, int32_t source)
    cdef VirtualChannel* channel_of(self, int32_t scid, int32_t vcid) noexcept nogil
    cdef MasterChannel* master_of(self, int32_t scid) noexcept nogil
    cdef bint check_frame(self, const uint8_t* frame, int64_t size) noexcept nogil
    cdef int64_t note_count(self, VirtualChannel* channel, const Header* header) noexcept nogil
    cdef int keep_frame(self, VirtualChannel* channel, const uint8_t* frame, int64_t size) noexcept nogil
    cdef int take_remarks(self) noexcept nogil
    # `header` is NULL for a frame that cannot be read.
    cdef int write_frame(self, const Header* header, const Frame* frame, int64_t lost, int fecf) noexcept nogil
    cdef int write_derived(
        self, int32_t entity, int metric, double value, int64_t received_ns, int32_t source,
    ) noexcept nogil
    cdef int write_reject(
        self, int reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil
