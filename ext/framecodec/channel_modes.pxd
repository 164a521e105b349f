# What virtual channels carry, and packets that wait until that is clear. See channel_modes.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.columns cimport Rows
from framecodec.frame_cutter cimport Frame

cdef enum:
    PACKET_BYTES_MAX = 65542  # 133.0-B 4.1.3.5.3

cdef enum Mode:
    MODE_UNKNOWN             # packets are held until it is clear that they are
    MODE_PACKETS
    MODE_NOT_PACKETS
    MODE_BYTES               # said so by the operator

cdef enum RemarkReason:
    REMARK_PARTIAL
    REMARK_NOT_PACKETS

# Something to tell about an accepted frame.
cdef struct Remark:
    RemarkReason reason
    int64_t offset
    int64_t received_ns
    int32_t source
    char detail[120]

# A packet, or a remark about one, that waits for the channel to be understood.
cdef struct Held:
    int64_t start            # in held_bytes
    int64_t size             # -1: a remark
    int64_t offset
    int64_t received_ns
    int32_t source
    Remark remark

# The packets of one virtual channel, or of one MAP of it. All pointers are owned by ChannelModes.
cdef struct PacketStream:
    int32_t scid
    int32_t vcid
    int32_t map_id
    Mode mode
    bint is_forced           # the operator said what it is
    int score                # headers that were where they had to be, minus those that were not
    bint is_in_step          # the next byte belongs to the packet at hand or begins one
    bint is_headless         # bytes before the next header are of a packet whose loss nobody has told yet
    bint has_seen_header
    uint8_t* pending         # the packet at hand, as far as it came; only the header of one that is passed over
    int64_t pending_capacity
    int64_t used             # bytes that came of it; 0: none is at hand
    int64_t total            # its size, 0 as long as its header is not there
    int64_t pending_offset
    int64_t pending_received_ns
    int32_t pending_source
    int64_t first_offset     # of the channel's first frame
    int32_t first_source
    int64_t without_header   # bytes since the last header
    Held* held
    int64_t held_count
    int64_t held_capacity
    uint8_t* held_bytes
    int64_t held_used
    int64_t held_bytes_capacity
    # Where the bytes of all packet zones went; with the packet at hand they add up to data_bytes.
    int64_t data_bytes
    int64_t packet_bytes
    int64_t passed_bytes     # encapsulation packets
    int64_t lost_bytes       # parts of packets that are not whole
    int64_t other_bytes      # idle, or no packets


cdef class ChannelModes:
    cdef Rows packets                    # received_ns source packet offset scid vcid
    cdef PacketStream* streams           # owned
    cdef int stream_count
    cdef int stream_capacity
    cdef Remark* remarks                 # owned; since they were last taken
    cdef int64_t remark_count
    cdef int64_t remark_capacity
    cdef Mode modes[64]                  # by virtual channel, as the operator said

    # The index of a stream, -1 (memory), -2 (too many).
    cdef int stream_of(self, int32_t scid, int32_t vcid, int32_t map_id) noexcept nogil
    # A whole packet: out it goes, or it waits.
    cdef int emit(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t offset, int64_t received_ns, int32_t source,
    ) noexcept nogil
    cdef int write(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t offset, int64_t received_ns, int32_t source,
    ) noexcept nogil
    # All of these give 0 or -1 (memory).
    cdef int judge(self, PacketStream* stream, int points, const Frame* frame) noexcept nogil
    cdef int settle(self, PacketStream* stream, Mode mode) noexcept nogil
    cdef int refuse(
        self, PacketStream* stream, int64_t offset, int64_t received_ns, int32_t source, const char* why,
    ) noexcept nogil
    cdef int tell_partial(
        self, PacketStream* stream, int64_t offset, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil
    cdef int add_remark(self, const Remark* remark) noexcept nogil
    cdef Held* hold(self, PacketStream* stream) noexcept nogil
    cdef int bound_held(self, PacketStream* stream) noexcept nogil
