# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What each virtual channel carries: packets, or something else; and the packets that wait until that is clear.

Not every channel carries packets, and nothing in a frame says so for sure. A channel is believed as soon as one packet ends
where the pointer of the next frame says; until then its packets are held. Two contradictions more than agreements, and it gets
one `not_packets` and no further look. The same at the end of the input for a channel of which no packet header was ever seen.
Where the operator says what a channel is, nothing is judged.

The evidence comes from framecodec.channels, which follows the packets themselves.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from framecodec.columns cimport Column, Names, Rows
from framecodec.frame_cutter cimport Frame

__all__ = ["PACKET_FIELDS", "ChannelModes"]

cdef enum:
    STREAMS_MAX = 1024
    SCORE_MAX = 16
    SCORE_PACKETS = 1
    SCORE_NOT_PACKETS = -2
    # What is held of one channel, in octets and in packets and remarks.
    HELD_BYTES_MAX = 4 * PACKET_BYTES_MAX
    HELD_MAX = 4096

cdef enum:
    OUT_RECEIVED
    OUT_SOURCE
    OUT_PACKET
    OUT_OFFSET
    OUT_SCID
    OUT_VCID

# In the order of the numbers above; what framecodec.packets.SpacePacketDecoder.decode_packets takes.
PACKET_FIELDS = (
    ("received_ns", "l", True), ("source", "name", False), ("packet", "z", False), ("offset", "l", False), ("scid", "i", True),
    ("vcid", "i", True),
)


cdef class ChannelModes:
    """All virtual channels of a link. `modes` says what the operator knows: {vcid: packets or bytes}."""

    def __cinit__(self, Names sources, modes=None):
        self.open_rows(sources)
        memset(self.modes, 0, sizeof(self.modes))
        for vcid, mode in (modes or {}).items():
            if mode not in ("packets", "bytes") or not 0 <= vcid < 64:
                raise ValueError(f"virtual channel {vcid} is to be '{mode}'; it can be 'packets' or 'bytes'")
            self.modes[vcid] = MODE_PACKETS if mode == "packets" else MODE_BYTES

    def __dealloc__(self):
        self.forget()
        free(self.streams)
        free(self.remarks)

    def open_rows(self, sources):
        """Fresh rows that name their senders by `sources`."""
        self.packets = Rows([(*field, sources if field[0] == "source" else None) for field in PACKET_FIELDS])

    def forget(self):
        """All channels as if never seen."""
        cdef int index
        for index in range(self.stream_count):
            free(self.streams[index].pending)
            free(self.streams[index].held)
            free(self.streams[index].held_bytes)
        self.stream_count = 0
        self.remark_count = 0

    cdef int stream_of(self, int32_t scid, int32_t vcid, int32_t map_id) noexcept nogil:
        cdef int index
        cdef void* moved
        cdef PacketStream* stream
        for index in range(self.stream_count):
            stream = &self.streams[index]
            if stream.scid == scid and stream.vcid == vcid and stream.map_id == map_id:
                return index
        if self.stream_count == STREAMS_MAX:
            return -2
        if self.stream_count == self.stream_capacity:
            moved = realloc(self.streams, (2 * self.stream_capacity + 8) * sizeof(PacketStream))
            if moved == NULL:
                return -1
            self.streams = <PacketStream*> moved
            self.stream_capacity = 2 * self.stream_capacity + 8
        stream = &self.streams[self.stream_count]
        memset(stream, 0, sizeof(PacketStream))
        stream.scid, stream.vcid, stream.map_id, stream.is_headless = scid, vcid, map_id, True
        stream.mode = self.modes[vcid]
        stream.is_forced = stream.mode != MODE_UNKNOWN
        self.stream_count += 1
        return self.stream_count - 1

    cdef int emit(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t offset, int64_t received_ns, int32_t source,
    ) noexcept nogil:
        cdef Held* held
        cdef void* moved
        stream.packet_bytes += size
        if stream.mode == MODE_PACKETS:
            return self.write(stream, data, size, offset, received_ns, source)
        if stream.held_used + size > stream.held_bytes_capacity:
            moved = realloc(stream.held_bytes, 2 * (stream.held_used + size))
            if moved == NULL:
                return -1
            stream.held_bytes, stream.held_bytes_capacity = <uint8_t*> moved, 2 * (stream.held_used + size)
        held = self.hold(stream)
        if held == NULL:
            return -1
        held.start, held.size, held.offset, held.received_ns, held.source = stream.held_used, size, offset, received_ns, source
        memcpy(stream.held_bytes + stream.held_used, data, size)
        stream.held_used += size
        return self.bound_held(stream)

    cdef Held* hold(self, PacketStream* stream) noexcept nogil:
        cdef void* moved
        if stream.held_count == stream.held_capacity:
            moved = realloc(stream.held, (2 * stream.held_capacity + 16) * sizeof(Held))
            if moved == NULL:
                return NULL
            stream.held, stream.held_capacity = <Held*> moved, 2 * stream.held_capacity + 16
        stream.held_count += 1
        return &stream.held[stream.held_count - 1]

    # A channel that is not understood after so much of it is taken at its word.
    cdef int bound_held(self, PacketStream* stream) noexcept nogil:
        if stream.held_used > HELD_BYTES_MAX or stream.held_count > HELD_MAX:
            return self.settle(stream, MODE_PACKETS)
        return 0

    cdef int write(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t offset, int64_t received_ns, int32_t source,
    ) noexcept nogil:
        cdef int64_t row = self.packets.length
        cdef Column* out
        if self.packets.reserve(1) < 0:
            return -1
        out = self.packets.columns
        if received_ns >= 0:
            (<int64_t*> out[OUT_RECEIVED].values)[row] = received_ns
            out[OUT_RECEIVED].valid[row] = 1
        (<int32_t*> out[OUT_SOURCE].values)[row] = source
        (<int64_t*> out[OUT_OFFSET].values)[row] = offset
        (<int32_t*> out[OUT_SCID].values)[row] = stream.scid
        (<int32_t*> out[OUT_VCID].values)[row] = stream.vcid
        out[OUT_SCID].valid[row] = out[OUT_VCID].valid[row] = 1
        if self.packets.put_bytes(OUT_PACKET, data, size) < 0:
            return -1
        self.packets.next_row()
        return 0

    # Evidence for packets, or against.
    cdef int judge(self, PacketStream* stream, int points, const Frame* frame) noexcept nogil:
        stream.score += points
        if stream.score > SCORE_MAX:
            stream.score = SCORE_MAX
        if stream.is_forced:
            return 0
        if stream.mode == MODE_UNKNOWN and stream.score >= SCORE_PACKETS:
            return self.settle(stream, MODE_PACKETS)
        if stream.score <= SCORE_NOT_PACKETS:
            return self.refuse(
                stream, frame.offset, frame.received_ns, frame.source, "what begins at the first header pointers is none",
            )
        return 0

    cdef int refuse(
        self, PacketStream* stream, int64_t offset, int64_t received_ns, int32_t source, const char* why,
    ) noexcept nogil:
        cdef Remark remark
        if stream.mode == MODE_NOT_PACKETS:
            return 0
        remark.reason, remark.offset, remark.received_ns, remark.source = REMARK_NOT_PACKETS, offset, received_ns, source
        snprintf(remark.detail, sizeof(remark.detail), "spacecraft %d, virtual channel %d: %s", stream.scid, stream.vcid, why)
        if self.settle(stream, MODE_NOT_PACKETS) < 0:
            return -1
        return self.add_remark(&remark)

    # What was held goes out, or nowhere.
    cdef int settle(self, PacketStream* stream, Mode mode) noexcept nogil:
        cdef int64_t index
        cdef Held* held
        stream.mode = mode
        if mode == MODE_NOT_PACKETS:
            # The packets among what is held were none.
            for index in range(stream.held_count):
                if stream.held[index].size >= 0:
                    stream.packet_bytes -= stream.held[index].size
                    stream.other_bytes += stream.held[index].size
            stream.other_bytes += stream.used
            stream.used = 0
        for index in range(stream.held_count):
            held = &stream.held[index]
            if mode != MODE_PACKETS:
                continue
            if held.size < 0:
                if self.add_remark(&held.remark) < 0:
                    return -1
            elif self.write(stream, stream.held_bytes + held.start, held.size, held.offset, held.received_ns, held.source) < 0:
                return -1
        stream.held_count = stream.held_used = 0
        return 0

    cdef int tell_partial(
        self, PacketStream* stream, int64_t offset, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil:
        cdef Held* held
        cdef Remark remark
        if stream.mode == MODE_NOT_PACKETS or stream.mode == MODE_BYTES:
            return 0
        remark.reason, remark.offset, remark.received_ns, remark.source = REMARK_PARTIAL, offset, received_ns, source
        snprintf(
            remark.detail, sizeof(remark.detail), "spacecraft %d, virtual channel %d: %s", stream.scid, stream.vcid, detail,
        )
        if stream.mode == MODE_PACKETS:
            return self.add_remark(&remark)
        held = self.hold(stream)
        if held == NULL:
            return -1
        held.size, held.remark = -1, remark
        return self.bound_held(stream)

    cdef int add_remark(self, const Remark* remark) noexcept nogil:
        cdef void* moved
        if self.remark_count == self.remark_capacity:
            moved = realloc(self.remarks, (2 * self.remark_capacity + 16) * sizeof(Remark))
            if moved == NULL:
                return -1
            self.remarks, self.remark_capacity = <Remark*> moved, 2 * self.remark_capacity + 16
        self.remarks[self.remark_count] = remark[0]
        self.remark_count += 1
        return 0
