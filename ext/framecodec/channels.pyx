# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Packets out of the frames of virtual channels: reassembly by the first header pointer.

A packet may fill a part of a frame or go on over many. It is followed by its own length; the pointer in each frame says where
the next one begins, and the two must agree. Where they do not, or frames are missing, the packet at hand is given up, with one
`partial_packet`, and reading goes on at the next pointer. Encapsulation packets (133.1-B) are passed over by their length.

What a channel carries is judged by that (framecodec.channel_modes): until it is clear, packets are held.

Every byte of a packet zone is counted once: packet, passed over, lost, or other. Clauses are cited from memory.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from framecodec.channel_modes cimport (
    MODE_BYTES, MODE_NOT_PACKETS, MODE_PACKETS, MODE_UNKNOWN, PACKET_BYTES_MAX, REMARK_PARTIAL, ChannelModes, Held, Mode,
    PacketStream, Remark,
)
from framecodec.columns cimport Names
from framecodec.encapsulation cimport encapsulation_size
from framecodec.frame_cutter cimport Frame
from framecodec.transfer cimport STARTS_IDLE, STARTS_NONE, STARTS_OTHER, Header

__all__ = ["Reassembler"]

cdef enum:
    PACKET_HEADER_BYTES = 6              # 133.0-B 4.1.3
    ENCAPSULATION_HEADER_BYTES = 8       # 133.1-B 4.1.2, at most

cdef const char* SHORT_LAST = "its last frame ends before it does"

# The size of the packet that begins here: 0 if too little of its header is there, -1 if it is none.
cdef int64_t size_of(const uint8_t* data, int64_t available) noexcept nogil:
    if data[0] >> 5:
        return encapsulation_size(data, available)
    return PACKET_HEADER_BYTES + 1 + ((<int64_t> data[4] << 8) | data[5]) if available >= PACKET_HEADER_BYTES else 0


# How much of the packet at hand is in `pending`: of one that is passed over, only its header.
cdef int64_t stored_bytes(const PacketStream* stream) noexcept nogil:
    if stream.used > ENCAPSULATION_HEADER_BYTES and stream.pending[0] >> 5:
        return ENCAPSULATION_HEADER_BYTES
    return stream.used


cdef class Reassembler(ChannelModes):
    """Follows the packets of all virtual channels of a link; arguments as in ChannelModes."""

    cdef int feed(self, PacketStream* stream, const Header* header, const Frame* frame, bint is_gap) noexcept nogil:
        cdef const uint8_t* zone = frame.data + header.data_start
        cdef int64_t size = header.data_end - header.data_start
        cdef int64_t first = header.first_header
        cdef int64_t at = 0, left
        if stream.data_bytes == 0:
            stream.first_offset, stream.first_source = frame.offset, frame.source
        stream.data_bytes += size
        if is_gap and self.abandon(stream, "frames are missing") < 0:
            return -1
        if stream.mode == MODE_NOT_PACKETS or stream.mode == MODE_BYTES or first == STARTS_IDLE:
            stream.other_bytes += size
            return 0
        if first == STARTS_OTHER:
            stream.other_bytes += size
            if self.abandon(stream, "the channel goes on with something else") < 0:
                return -1
            return self.refuse(stream, frame.offset, frame.received_ns, frame.source, "the frames' headers say so")
        if header.is_fresh and stream.used and self.abandon(stream, "the next frame does not continue it") < 0:
            return -1
        if first > size:
            stream.lost_bytes += size
            if self.abandon(stream, "the first header pointer is beyond its frame") < 0:
                return -1
            return self.judge(stream, -1, frame)
        if stream.is_in_step:
            # One byte at a time until the header tells the packet's size.
            while stream.used and stream.total == 0 and at < size:
                if self.append(stream, zone + at, 1) < 0:
                    return -1
                at += 1
                stream.total = size_of(stream.pending, stream.used)
            left = stream.total - stream.used if stream.used and stream.total > 0 else 0
            if stream.total < 0 or (stream.used and stream.total == 0 and first != STARTS_NONE) or (
                at + left < size if first == STARTS_NONE else at + left != first
            ):
                # All of the packet that came, these bytes too, is given up.
                if at < size and first != 0:
                    stream.lost_bytes += (size if first == STARTS_NONE else first if first > at else at) - at
                if (
                    self.abandon(stream, "its length and the first header pointer disagree") < 0
                    or self.judge(stream, -1, frame) < 0
                ):
                    return -1
                if stream.mode == MODE_NOT_PACKETS:
                    stream.other_bytes += 0 if first == STARTS_NONE else size - (first if first > at else at)
                    return 0
                if first == STARTS_NONE:
                    return 0
                if at > first:                          # the pointer is inside what was taken for a header: skip this frame
                    stream.lost_bytes += size - at
                    return 0
            else:
                if stream.used:
                    left = left if left < size - at else size - at
                    if self.append(stream, zone + at, left) < 0:
                        return -1
                    if stream.total and stream.used == stream.total and self.complete(stream, frame) < 0:
                        return -1
                if first == STARTS_NONE:
                    return self.abandon(stream, SHORT_LAST) if header.is_closed and stream.used else 0
                if self.judge(stream, 1, frame) < 0:
                    return -1
        else:
            left = size if first == STARTS_NONE else first
            stream.lost_bytes += left
            stream.without_header += left
            if stream.is_headless and left:
                stream.is_headless = False
                if self.tell_partial(stream, frame.offset, frame.received_ns, frame.source, "its beginning is missing") < 0:
                    return -1
            if first == STARTS_NONE:
                if stream.mode == MODE_UNKNOWN and stream.without_header > PACKET_BYTES_MAX:
                    return self.refuse(
                        stream, frame.offset, frame.received_ns, frame.source, "no packet begins in 65,542 bytes",
                    )
                return 0
        stream.is_in_step, stream.is_headless = True, False
        if self.read_packets(stream, zone, size, first, frame) < 0:
            return -1
        if header.is_closed and stream.used:
            return self.abandon(stream, SHORT_LAST)
        return 0

    # From a place where a header must be to the end of the zone.
    cdef int read_packets(
        self, PacketStream* stream, const uint8_t* zone, int64_t size, int64_t at, const Frame* frame,
    ) noexcept nogil:
        cdef int64_t total
        cdef char detail[96]
        while at < size:
            total = size_of(zone + at, size - at)
            if total < 0:
                snprintf(detail, sizeof(detail), "no packet header at byte %lld of the packet zone", <long long> at)
                stream.lost_bytes += size - at
                stream.is_in_step = False
                if self.tell_partial(stream, frame.offset, frame.received_ns, frame.source, detail) < 0:
                    return -1
                return self.judge(stream, -1, frame)
            stream.without_header = 0
            stream.has_seen_header = True
            if total == 0 or at + total > size:
                return self.begin(stream, zone + at, size - at, total, frame)
            if zone[at] >> 5:
                stream.passed_bytes += total
            elif self.emit(stream, zone + at, total, frame.offset, frame.received_ns, frame.source) < 0:
                return -1
            at += total
        return 0

    # The first `size` bytes of a packet of `total` bytes (0: not known yet).
    cdef int begin(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t total, const Frame* frame,
    ) noexcept nogil:
        stream.total, stream.used = total, 0
        stream.pending_offset, stream.pending_received_ns, stream.pending_source = frame.offset, frame.received_ns, frame.source
        return self.append(stream, data, size)

    cdef int append(self, PacketStream* stream, const uint8_t* data, int64_t size) noexcept nogil:
        cdef void* moved
        cdef int64_t stored = size
        cdef int64_t wanted
        if size == 0:
            return 0
        if (stream.pending[0] if stream.used else data[0]) >> 5:
            # Passed over: only its header matters.
            stored = ENCAPSULATION_HEADER_BYTES - stream.used if stream.used < ENCAPSULATION_HEADER_BYTES else 0
            stored = stored if stored < size else size
        if stored and stream.used + stored > stream.pending_capacity:
            wanted = 2 * (stream.used + stored) + 2048
            moved = realloc(stream.pending, wanted)
            if moved == NULL:
                return -1
            stream.pending, stream.pending_capacity = <uint8_t*> moved, wanted
        if stored:
            memcpy(stream.pending + stream.used, data, stored)
        stream.used += size
        return 0

    cdef int complete(self, PacketStream* stream, const Frame* frame) noexcept nogil:
        cdef int64_t size = stream.used
        stream.used = 0
        if stream.pending[0] >> 5:
            stream.passed_bytes += size
            return 0
        return self.emit(stream, stream.pending, size, stream.pending_offset, frame.received_ns, frame.source)

    # The packet at hand will not be whole.
    cdef int abandon(self, PacketStream* stream, const char* why) noexcept nogil:
        cdef char detail[120]
        stream.is_headless = stream.used == 0
        stream.is_in_step = False
        if stream.used == 0:
            return 0
        stream.lost_bytes += stream.used
        if stream.total > 0:
            snprintf(detail, sizeof(detail), "%lld of %lld bytes: %s", <long long> stream.used, <long long> stream.total, why)
        else:
            snprintf(detail, sizeof(detail), "%lld bytes: %s", <long long> stream.used, why)
        stream.used = 0
        return self.tell_partial(stream, stream.pending_offset, stream.pending_received_ns, stream.pending_source, detail)

    cdef int close(self) noexcept nogil:
        cdef int index
        cdef PacketStream* stream
        for index in range(self.stream_count):
            stream = &self.streams[index]
            if self.abandon(stream, "the input ends") < 0:
                return -1
            if stream.mode != MODE_UNKNOWN:
                continue
            if stream.has_seen_header and stream.score >= 0:
                if self.settle(stream, MODE_PACKETS) < 0:
                    return -1
            elif stream.data_bytes > stream.other_bytes:
                if self.refuse(
                    stream, stream.first_offset, -1, stream.first_source, "no packet begins in what there is of it",
                ) < 0:
                    return -1
        return 0

    def state(self, Names sources) -> list:
        """All that later frames depend on, as JSON can hold it."""
        cdef int index
        cdef int64_t number
        cdef PacketStream* stream
        cdef Held* held
        streams = []
        for index in range(self.stream_count):
            stream = &self.streams[index]
            waiting = []
            for number in range(stream.held_count):
                held = &stream.held[number]
                if held.size < 0:
                    waiting.append([
                        held.remark.offset, held.remark.received_ns, sources.name(held.remark.source), "",
                        held.remark.detail.decode(),
                    ])
                else:
                    data = (<char*> stream.held_bytes)[held.start:held.start + held.size]
                    waiting.append([held.offset, held.received_ns, sources.name(held.source), data.hex(), ""])
            streams.append({
                "channel": [stream.scid, stream.vcid, stream.map_id], "mode": <int> stream.mode, "score": stream.score,
                "step": [bool(stream.is_in_step), bool(stream.is_headless), bool(stream.has_seen_header)],
                "pending": (<bytes> (<char*> stream.pending)[:stored_bytes(stream)]).hex() if stream.used else "",
                "used": stream.used, "total": stream.total,
                "begun": [
                    stream.pending_offset, stream.pending_received_ns,
                    sources.name(stream.pending_source) if stream.used else "",
                ],
                "first": [stream.first_offset, sources.name(stream.first_source)], "held": waiting,
                "bytes": [
                    stream.data_bytes, stream.packet_bytes, stream.passed_bytes, stream.lost_bytes, stream.other_bytes,
                    stream.without_header,
                ],
            })
        return streams

    def set_state(self, streams: list, Names sources) -> None:
        """Go on where `state` was taken."""
        cdef PacketStream* stream
        cdef Remark remark
        cdef bytes data, detail
        cdef Held* held
        self.forget()
        for each in streams:
            scid, vcid, map_id = each["channel"]
            index = self.stream_of(scid, vcid, map_id)
            if index < 0:
                raise MemoryError
            stream = &self.streams[<int> index]
            data = bytes.fromhex(each["pending"])
            if self.append(stream, <const uint8_t*> <char*> data, len(data)) < 0:
                raise MemoryError
            stream.mode = <Mode> <int> each["mode"]
            stream.score, stream.used, stream.total = each["score"], each["used"], each["total"]
            stream.is_in_step, stream.is_headless, stream.has_seen_header = each["step"]
            stream.pending_offset, stream.pending_received_ns = each["begun"][:2]
            stream.pending_source = sources.add(each["begun"][2])
            stream.first_offset, stream.first_source = each["first"][0], sources.add(each["first"][1])
            for offset, received_ns, source, packet, text in each["held"]:
                if text:
                    detail = text.encode()
                    remark.reason, remark.offset = REMARK_PARTIAL, offset
                    remark.received_ns, remark.source = received_ns, sources.add(source)
                    snprintf(remark.detail, sizeof(remark.detail), "%s", <char*> detail)
                    held = self.hold(stream)
                    if held == NULL:
                        raise MemoryError
                    held.size, held.remark = -1, remark
                    continue
                data = bytes.fromhex(packet)
                if self.emit(stream, <const uint8_t*> <char*> data, len(data), offset, received_ns, sources.add(source)) < 0:
                    raise MemoryError
            (
                stream.data_bytes, stream.packet_bytes, stream.passed_bytes, stream.lost_bytes, stream.other_bytes,
                stream.without_header,
            ) = each["bytes"]

    def accounts(self) -> list:
        """Where the bytes of each stream's packet zones went."""
        cdef int index
        cdef PacketStream* stream
        found = []
        for index in range(self.stream_count):
            stream = &self.streams[index]
            found.append({
                "scid": stream.scid, "vcid": stream.vcid, "map_id": stream.map_id, "data_bytes": stream.data_bytes,
                "packet_bytes": stream.packet_bytes, "passed_bytes": stream.passed_bytes, "lost_bytes": stream.lost_bytes,
                "other_bytes": stream.other_bytes, "pending_bytes": stream.used,
            })
        return found
