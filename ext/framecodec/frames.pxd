# Transfer frames to frame rows, packets and what was lost. See frames.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.cadu cimport CaduCutter
from framecodec.channels cimport Reassembler
from framecodec.clcw cimport CommandReports
from framecodec.frame_counts cimport FrameCounts
from framecodec.frame_cutter cimport Frame
from framecodec.frame_rows cimport FrameRows
from framecodec.frame_streams cimport Stream, StreamOwner
from framecodec.header_check cimport HeaderCheck
from framecodec.transfer cimport Header, Layout

cdef enum:
    CADU_BYTES_MAX = 2045                # a marker, eight interleaved codewords, and one octet for the phase of bits


cdef class FrameDecoder(CaduCutter):
    cdef Layout layout
    cdef int fecf                        # 1 and 0: there is one, there is none; -1: the first frame tells
    cdef bint is_fecf_known              # also of how many bytes
    cdef str kind
    cdef str boundaries
    cdef dict owners                     # source -> StreamOwner
    cdef HeaderCheck header_check        # None: headers have no error control of their own
    cdef uint8_t* repaired               # owned; a frame whose header was corrected
    cdef FrameCounts channels
    cdef CommandReports commands
    cdef Reassembler reassembler
    cdef FrameRows rows
    cdef bint emits_frames
    cdef bint emits_derived
    cdef bint emits_samples
    cdef bint emits_packets
    cdef uint8_t* joined                 # owned; what was kept and then the new bytes
    cdef int64_t joined_capacity
    cdef int64_t input_bytes
    cdef int64_t frame_total
    cdef char[2 * CADU_BYTES_MAX + 128] uncorrectable      # what the next reject of such a CADU says

    cdef StreamOwner owner_of(self, str name)
    cdef run_stream(self, Stream* stream, const uint8_t* data, int64_t size, bint is_final, int32_t source)
    # Corrects the frame's header, in a copy that `data` then is: how many symbols were wrong, or HEADER_UNCORRECTABLE.
    cdef int repair(self, Frame* frame) noexcept nogil
    cdef void learn_fecf(self, const Frame* frame) noexcept nogil
    cdef bint check_frame(self, const uint8_t* frame, int64_t size) noexcept nogil
    # `header` is NULL for a frame that cannot be read.
    cdef int refuse_bad(self, const Header* header, const Frame* frame) noexcept nogil
    cdef int take_frame(self, const Header* header, const Frame* frame, bint has_fecf, int channel, int stream) noexcept nogil
    cdef const char* describe_uncorrectable(self, const uint8_t* octets, int64_t size) noexcept nogil
    cdef int take_remarks(self) noexcept nogil
