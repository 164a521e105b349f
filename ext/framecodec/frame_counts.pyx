# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What has been seen of each virtual and master channel of a link: frames, and how many are missing by their counts.

Missing are (count - last - 1) modulo the count's size: 256 for TM and its master channel, 2^24 for AOS (its cycle and replay
flag say nothing that matters here), as the header says for USLP, where expedited frames have a count of their own. The same
count again is no loss, and a frame that is the last one to the byte is one that came twice. Some spacecraft leave the count at
0 or put anything there: for channels that the operator calls `uncounted`, neither losses nor repetitions are read from it.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset

from framecodec.frame_cutter cimport Frame
from framecodec.transfer cimport Header

__all__ = ["FrameCounts"]

cdef enum:
    CHANNELS_MAX = 1024
    MASTER_COUNTS = 256                  # 132.0-B 4.1.2.5


cdef class FrameCounts:
    """`uncounted` are the ids of virtual channels whose frame count means nothing."""

    def __cinit__(self, uncounted=()):
        for vcid in uncounted:
            if not 0 <= vcid < 64:
                raise ValueError(f"virtual channel {vcid}: there are 0 to 63")
            self.uncounted |= <uint64_t> 1 << <int> vcid

    def __dealloc__(self):
        cdef int index
        for index in range(self.channel_count):
            free(self.channels[index].last_frame)
        free(self.channels)
        free(self.masters)

    def forget(self):
        """The next frame of each channel is its first; the totals stay."""
        cdef int index
        for index in range(self.channel_count):
            self.channels[index].last_count[0] = self.channels[index].last_count[1] = -1
            self.channels[index].last_size = 0
        for index in range(self.master_count):
            self.masters[index].last_count = -1

    cdef int channel_of(self, int32_t scid, int32_t vcid) noexcept nogil:
        cdef int index
        cdef void* moved
        cdef VirtualChannel* channel
        for index in range(self.channel_count):
            if self.channels[index].scid == scid and self.channels[index].vcid == vcid:
                return index
        if self.channel_count == CHANNELS_MAX:
            return TOO_MANY
        if self.channel_count == self.channel_capacity:
            moved = realloc(self.channels, (2 * self.channel_capacity + 8) * sizeof(VirtualChannel))
            if moved == NULL:
                return NO_MEMORY
            self.channels, self.channel_capacity = <VirtualChannel*> moved, 2 * self.channel_capacity + 8
        channel = &self.channels[self.channel_count]
        memset(channel, 0, sizeof(VirtualChannel))
        channel.scid, channel.vcid = scid, vcid
        channel.last_count[0] = channel.last_count[1] = -1
        self.channel_count += 1
        return self.channel_count - 1

    cdef MasterChannel* master_of(self, int32_t scid) noexcept nogil:
        cdef int index
        cdef void* moved
        for index in range(self.master_count):
            if self.masters[index].scid == scid:
                return &self.masters[index]
        if self.master_count == self.master_capacity:
            moved = realloc(self.masters, (2 * self.master_capacity + 8) * sizeof(MasterChannel))
            if moved == NULL:
                return NULL
            self.masters, self.master_capacity = <MasterChannel*> moved, 2 * self.master_capacity + 8
        self.masters[self.master_count].scid, self.masters[self.master_count].last_count = scid, -1
        self.masters[self.master_count].lost = 0
        self.master_count += 1
        return &self.masters[self.master_count - 1]

    cdef bint note_bad(self, const Header* header) noexcept nogil:
        cdef int index
        for index in range(self.channel_count):
            if self.channels[index].scid == header.scid and self.channels[index].vcid == header.vcid:
                self.channels[index].fecf_errors += 1
                return True
        return False

    cdef int note(self, int index, const Header* header, const Frame* frame, Continuity* found) noexcept nogil:
        cdef VirtualChannel* channel = &self.channels[index]
        cdef MasterChannel* master
        found.is_repeated = (
            header.count >= 0 and header.count == channel.last_count[header.lane] and channel.last_size == frame.size
            and memcmp(channel.last_frame, frame.data, frame.size) == 0
        )
        found.lost = found.master_lost = 0
        if not (self.uncounted >> header.vcid) & 1:
            found.lost = self.note_count(channel, header)
            if self.keep_frame(channel, frame.data, frame.size) < 0:
                return NO_MEMORY
        channel.frames += 1
        channel.lost += found.lost
        channel.bytes += frame.size
        channel.repeated += found.is_repeated
        channel.corrected += frame.corrected
        if header.master_count >= 0:
            master = self.master_of(header.scid)
            if master == NULL:
                return NO_MEMORY
            if master.last_count >= 0 and not found.is_repeated:
                found.master_lost = (header.master_count - master.last_count - 1) & (MASTER_COUNTS - 1)
            master.last_count = header.master_count
            master.lost += found.master_lost
        return 0

    # How many frames are missing before this one, by the channel's count.
    cdef int64_t note_count(self, VirtualChannel* channel, const Header* header) noexcept nogil:
        cdef int64_t last = channel.last_count[header.lane]
        if header.count < 0:
            return 0
        channel.last_count[header.lane] = header.count
        if last < 0 or last == header.count:
            return 0
        return <int64_t> (<uint64_t> (header.count - last - 1) & header.count_mask)

    cdef int keep_frame(self, VirtualChannel* channel, const uint8_t* frame, int64_t size) noexcept nogil:
        cdef void* moved
        if size > channel.last_capacity:
            moved = realloc(channel.last_frame, size)
            if moved == NULL:
                return NO_MEMORY
            channel.last_frame, channel.last_capacity = <uint8_t*> moved, size
        if size:                                             # memcpy may not be handed NULL, not even for nothing
            memcpy(channel.last_frame, frame, size)
        channel.last_size = size
        return 0

    def links(self) -> list:
        """Totals of each virtual channel that had frames, since the last reset."""
        cdef int index
        found = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            if channel.frames or channel.fecf_errors:
                found.append({
                    "scid": channel.scid, "vcid": channel.vcid, "frames": channel.frames, "lost_frames": channel.lost,
                    "frame_bytes": channel.bytes, "repeated_frames": channel.repeated, "corrected_symbols": channel.corrected,
                    "fecf_errors": channel.fecf_errors, "apids": {},
                })
        return found

    def master_links(self) -> list:
        """The same of master channels."""
        cdef int index
        return [
            {"scid": self.masters[index].scid, "lost_frames": self.masters[index].lost} for index in range(self.master_count)
        ]

    def reset_counts(self):
        cdef int index
        for index in range(self.channel_count):
            channel = &self.channels[index]
            channel.frames = channel.lost = channel.bytes = channel.repeated = channel.corrected = channel.fecf_errors = 0
        for index in range(self.master_count):
            self.masters[index].lost = 0

    def state(self) -> tuple:
        """What later frames are compared with, as JSON can hold it: virtual channels, master channels."""
        cdef int index
        channels = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            last = (<bytes> (<char*> channel.last_frame)[:channel.last_size]).hex() if channel.last_size else ""
            channels.append([channel.scid, channel.vcid, [channel.last_count[0], channel.last_count[1]], last])
        return channels, [[self.masters[index].scid, self.masters[index].last_count] for index in range(self.master_count)]

    def set_state(self, list channels, list masters):
        """Go on where `state` was taken."""
        cdef MasterChannel* master
        cdef bytes last
        cdef int index
        self.forget()
        for scid, vcid, counts, frame in channels:
            index = self.channel_of(scid, vcid)
            last = bytes.fromhex(frame)
            if index < 0 or self.keep_frame(&self.channels[index], <const uint8_t*> <char*> last, len(last)) < 0:
                raise MemoryError
            self.channels[index].last_count[0], self.channels[index].last_count[1] = counts
        for scid, count in masters:
            master = self.master_of(scid)
            if master == NULL:
                raise MemoryError
            master.last_count = count
