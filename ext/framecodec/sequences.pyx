# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Sequence counts of space packets (CCSDS 133.0-B-2 4.1.3.4.3): what is missing, and totals for each virtual channel.

Counts go modulo 2**14, for each spacecraft id, virtual channel and APID. The same count again is no loss; a packet up to 63
counts late was overtaken by others, and gives back what was counted as lost; further back, the counter has jumped.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from framecodec.found_packets cimport APIDS, IDLE_APID, Packet, apid_of, count_of

cdef enum:
    COUNTS = 16384
    LATE_COUNTS = 64


@cython.final
cdef class Sequences:
    def __dealloc__(self):
        cdef int index
        for index in range(self.channel_count):
            free(self.channels[index].sequences)
        free(self.channels)

    cdef int count(self, Packet* packets, int64_t count, bint counts_idle) noexcept nogil:
        cdef Channel* channel = NULL
        cdef Sequence* sequence = NULL
        cdef Packet* packet = packets
        cdef Packet* end = packets + count
        cdef Packet* first
        cdef int apid, number, last
        cdef int64_t size
        cdef uint64_t seen
        while packet < end:
            if channel == NULL or channel.scid != packet.scid or channel.vcid != packet.vcid:
                channel = self.channel_of(packet.scid, packet.vcid)
                if channel == NULL:
                    return -1
            apid = apid_of(packet.head)
            sequence = &channel.sequences[apid]
            # A run of packets that follow one another: nothing is missing, and what is counted stays in registers.
            first, last, seen, size = packet, sequence.last, sequence.seen, 0
            while packet < end and apid_of(packet.head) == apid and packet.scid == channel.scid and packet.vcid == channel.vcid:
                number = count_of(packet.head)
                if number != ((last + 1) & (COUNTS - 1)) or sequence.last < 0:
                    break
                last, seen = number, (seen << 1) | 1
                packet.lost, packet.input_bytes = 0, packet.size
                size += packet.size
                packet += 1
            sequence.last, sequence.seen = last, seen
            if packet == first:
                packet.lost = note_count(sequence, count_of(packet.head)) if apid != IDLE_APID or counts_idle else 0
                packet.input_bytes = size = packet.size
                channel.gaps += packet.lost > 0
                channel.lost += packet.lost
                packet += 1
            sequence.packets += packet - first
            channel.packets += packet - first
            channel.bytes += size
        return 0

    cdef Channel* channel_of(self, int32_t scid, int32_t vcid) noexcept nogil:
        cdef int index
        cdef void* moved
        cdef Channel* channel
        for index in range(self.channel_count):
            if self.channels[index].scid == scid and self.channels[index].vcid == vcid:
                return &self.channels[index]
        if self.channel_count == self.channel_capacity:
            moved = realloc(self.channels, (2 * self.channel_capacity + 4) * sizeof(Channel))
            if moved == NULL:
                return NULL
            self.channels = <Channel*> moved
            self.channel_capacity = 2 * self.channel_capacity + 4
        channel = &self.channels[self.channel_count]
        memset(channel, 0, sizeof(Channel))
        channel.scid, channel.vcid = scid, vcid
        channel.sequences = <Sequence*> calloc(APIDS, sizeof(Sequence))
        if channel.sequences == NULL:
            return NULL
        for index in range(APIDS):
            channel.sequences[index].last = -1
        self.channel_count += 1
        return channel

    cdef void forget(self) noexcept nogil:
        cdef int index, apid
        for index in range(self.channel_count):
            for apid in range(APIDS):
                self.channels[index].sequences[apid].last = -1

    cdef void reset_totals(self) noexcept nogil:
        cdef int index, apid
        for index in range(self.channel_count):
            self.channels[index].packets = self.channels[index].bytes = 0
            self.channels[index].gaps = self.channels[index].lost = 0
            for apid in range(APIDS):
                self.channels[index].sequences[apid].packets = 0

    # The totals, as `decode --summary` wants them.
    cdef list links(self):
        cdef int index, apid
        cdef Channel* channel
        found = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            if channel.packets:
                found.append({
                    "scid": None if channel.scid < 0 else channel.scid, "vcid": None if channel.vcid < 0 else channel.vcid,
                    "packets": channel.packets, "packet_bytes": channel.bytes,
                    "sequence_gaps": channel.gaps, "packets_lost": channel.lost,
                    "apids": {
                        apid: channel.sequences[apid].packets
                        for apid in range(APIDS) if channel.sequences[apid].packets
                    },
                })
        return found

    # What later packets are compared with; the totals are not part of it.
    cdef list state(self):
        cdef int index, apid
        cdef Channel* channel
        channels = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            channels.append([
                channel.scid, channel.vcid,
                {
                    apid: [channel.sequences[apid].last, channel.sequences[apid].seen]
                    for apid in range(APIDS) if channel.sequences[apid].last >= 0
                },
            ])
        return channels

    cdef set_state(self, list channels):
        cdef Channel* channel
        for scid, vcid, sequences in channels:
            channel = self.channel_of(scid, vcid)
            if channel == NULL:
                raise MemoryError
            for apid, (last, seen) in sequences.items():
                channel.sequences[int(apid)].last, channel.sequences[int(apid)].seen = last, seen


# How many packets are missing before this one; -1: it is one that was missing.
cdef int note_count(Sequence* sequence, int count) noexcept nogil:
    cdef int ahead, behind
    if sequence.last < 0:
        sequence.last, sequence.seen = count, 0xFFFFFFFFFFFFFFFFULL
        return 0
    ahead = (count - sequence.last) & (COUNTS - 1)
    if ahead == 0:
        return 0
    behind = COUNTS - ahead
    if behind < LATE_COUNTS:
        if (sequence.seen >> behind) & 1:
            return 0
        sequence.seen |= <uint64_t> 1 << behind
        return -1
    sequence.seen = 1 if ahead >= 64 else (sequence.seen << ahead) | 1
    sequence.last = count
    return ahead - 1
