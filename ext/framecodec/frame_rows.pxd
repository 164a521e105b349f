# The rows that a FrameDecoder writes. See frame_rows.pyx.
from libc.stdint cimport int32_t, int64_t

from framecodec.columns cimport Names, Rows
from framecodec.frame_cutter cimport Frame
from framecodec.transfer cimport Header

cdef enum Fecf:
    FECF_OK
    FECF_BAD
    FECF_ABSENT

# The first ones are framecodec.frame_cutter's WasteReason.
cdef enum Reason:
    GARBAGE
    TRUNCATED
    RS_UNCORRECTABLE
    BAD_FECF
    FRAME_VERSION
    NOT_PACKETS
    PARTIAL_PACKET
    REASON_COUNT

cdef enum Metric:
    FRAMES_RX
    FRAME_BYTES
    FRAMES_LOST
    CORRECTED_SYMBOLS
    FECF_ERRORS
    RS_ERRORS
    GARBAGE_BYTES
    FRAMES_REFUSED
    MASTER_FRAMES_LOST
    CORRECTED_HEADER_SYMBOLS
    CLCW_NO_RF_AVAILABLE
    CLCW_NO_BIT_LOCK
    CLCW_LOCKOUT
    CLCW_WAIT
    CLCW_RETRANSMIT
    CLCW_FARM_B_COUNTER
    CLCW_REPORT_VALUE
    METRIC_COUNT


cdef class FrameRows:
    cdef str spacecraft
    cdef bint has_payload
    cdef Rows frames
    cdef Rows derived
    cdef Rows samples
    cdef Rows rejects
    cdef readonly Names sources
    cdef int32_t units[METRIC_COUNT]
    cdef int64_t reject_counts[REASON_COUNT]

    # All give 0 or -1 (memory). `header` is NULL for a frame that cannot be read.
    cdef int put_frame(self, const Header* header, const Frame* frame, int64_t lost, Fecf fecf) noexcept nogil
    cdef int put_event(self, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source) noexcept nogil
    cdef int put(
        self, Rows rows, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source,
    ) noexcept nogil
    cdef int put_sample(self, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source) noexcept nogil
    cdef int reject(
        self, Reason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil
