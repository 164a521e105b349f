# Where frames begin and end in a stream of bytes, and the coding around them. See frame_cutter.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.coding cimport ReedSolomon
from framecodec.frame_streams cimport Stream

cdef enum:
    MARKER_BITS = 32

# How frames follow one another in the bytes.
cdef enum Cutting:
    CUT_BY_MARKER            # CADUs: attached sync marker, then the (coded) frame
    CUT_BY_LENGTH            # one after another, all of one length
    CUT_BY_USLP              # one after another, each with its length in its header

cdef enum WasteReason:
    WASTE_GARBAGE
    WASTE_TRUNCATED
    WASTE_RS

cdef enum Verdict:
    YES
    NO
    WAIT                     # more bytes are needed to tell

# A frame, ready to be read. `data` is valid during the call.
cdef struct Frame:
    const uint8_t* data
    int64_t size
    int64_t block_bytes      # of the input that it took: CADU, coded block or frame
    int64_t offset
    int64_t received_ns      # of the bytes that completed it
    int32_t source
    int32_t corrected        # symbols
    bint is_checked          # vouches() was asked, and true


cdef class FrameCutter:
    cdef readonly Cutting cutting
    cdef ReedSolomon code                # None: not coded
    cdef bint is_randomized
    cdef readonly int64_t frame_bytes    # 0 with CUT_BY_USLP
    cdef int64_t truncated_bytes         # of truncated USLP frames with CUT_BY_USLP; 0: there are none
    cdef readonly int64_t block_bytes    # frame, check symbols and marker
    cdef int marker_errors_max
    cdef int flywheel_frames
    cdef uint8_t* scratch                # owned; one coded block
    cdef Stream* stream                  # what run() works on; borrowed
    cdef const uint8_t* bytes            # that it was given: from byte `base` to bit `end` of the stream
    cdef int64_t base
    cdef int64_t end
    cdef bint is_final
    cdef int32_t source
    cdef int corrected                   # by the last decode_at

    # Called for what run() finds; FrameDecoder overrides them. `octets`: an uncorrectable CADU as received, else NULL. 0 or -1.
    cdef int on_frame(self, const Frame* frame) noexcept nogil
    cdef int on_waste(
        self, WasteReason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const uint8_t* octets,
    ) noexcept nogil
    # Whether the frame proves by its own check that it is one.
    cdef bint vouches(self, const uint8_t* frame, int64_t size) noexcept nogil
    # Whether it is known by now how frames prove that.
    cdef bint can_vouch(self) noexcept nogil

    # Decides on everything that can be decided: `data` is what was kept and then the new bytes; 0 or -1 (memory).
    cdef int run(self, Stream* stream, const uint8_t* data, int64_t size, bint is_final, int32_t source) noexcept nogil
    # With CUT_BY_MARKER: framecodec.cadu overrides it.
    cdef int run_marker(self) noexcept nogil
    cdef int run_length(self) noexcept nogil
    cdef Verdict find_again(self, int64_t* found) noexcept nogil
    cdef bint is_good_at(self, int64_t bit) noexcept nogil
    cdef int run_uslp(self) noexcept nogil
    cdef int64_t uslp_size(self, const uint8_t* frame, int64_t left) noexcept nogil
    cdef const uint8_t* decode_at(self, int64_t bit, bint is_inverted) noexcept nogil
    cdef int accept(
        self, const uint8_t* frame, int64_t frame_bytes, int64_t block_bytes, bint is_checked,
    ) noexcept nogil
    cdef int give_up(self, int64_t bits, WasteReason reason) noexcept nogil
    cdef int close_garbage(self) noexcept nogil
