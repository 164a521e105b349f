# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Segmented space packets (CCSDS 133.0-B-2 4.1.3.4.2) put together, for each channel and APID.

A group is a first segment (flags 01), continuations (00) and a last one (10) with consecutive sequence counts. The joined
packet has the first one's header, with flags 11 and a length field that covers all data fields, or all ones where that is not
enough for it. Secondary headers are data here: where the later segments have one, it stays where it is. A group with a hole is
given up as a whole. Groups are bounded in size, and all of them together: the one that was begun first gives way.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.bits cimport load_be32
from framecodec.columns cimport Names
from framecodec.found_packets cimport HEADER_BYTES, WASTE_PARTIAL, Found, Packet, Waste, apid_of, count_of, flags_of, new_waste

cdef enum:
    FIRST = 1
    LAST = 2
    UNSEGMENTED = 3
    GROUP_BYTES_MAX = 16 << 20
    HELD_BYTES_MAX = 64 << 20    # of all groups, and one packet more


cdef class Group:
    cdef bytearray data
    cdef int count           # of the last segment
    cdef int32_t parts
    cdef int32_t lost
    cdef int32_t source
    cdef int64_t offset
    cdef int64_t received_ns
    cdef int64_t input_bytes


cdef class Joiner:
    def __cinit__(self):
        self.groups, self.whole = {}, []

    # Replaces the segments in `found` by whole packets, where their last segment was.
    cdef join(self, Found* found, bint is_final):
        cdef int64_t index, kept = 0
        cdef Packet packet
        cdef int flags, count
        cdef Group group
        self.whole = []
        for index in range(found.packet_count):
            packet = found.packets[index]
            flags, count = flags_of(packet.head), count_of(packet.head)
            key = (packet.scid, packet.vcid, apid_of(packet.head))
            group = self.groups.get(key)
            if group is not None and (
                flags in (FIRST, UNSEGMENTED) or count != (group.count + 1) % 16384
                or len(group.data) + packet.size > GROUP_BYTES_MAX
            ):
                self.give_up(found, key)
                group = None
            if flags == UNSEGMENTED:
                found.packets[kept] = packet
                kept += 1
                continue
            while self.held_bytes > HELD_BYTES_MAX and self.groups:      # the one that was begun first goes
                oldest = next(iter(self.groups))
                self.give_up(found, oldest)
                group = None if oldest == key else group
            if flags == FIRST:
                group = Group()
                group.data = bytearray(packet.data[:packet.size])
                group.source, group.offset, group.received_ns = packet.source, packet.offset, packet.received_ns
                self.groups[key] = group
                self.held_bytes += packet.size
            elif group is None:                              # the middle or the end of something that was lost
                self.waste(found, packet.offset, packet.input_bytes, packet.received_ns, packet.source)
                continue
            else:
                group.data += packet.data[HEADER_BYTES:packet.size]
                self.held_bytes += packet.size - HEADER_BYTES
            group.count, group.received_ns = count, packet.received_ns
            group.parts += 1
            group.lost += packet.lost
            group.input_bytes += packet.input_bytes
            if flags == LAST:
                del self.groups[key]
                self.held_bytes -= len(group.data)
                self.whole.append(group.data)
                finish_header(group.data)
                packet.data, packet.size = <const uint8_t*> <char*> group.data, <int32_t> len(group.data)
                packet.head = load_be32(packet.data)
                packet.offset, packet.parts = group.offset, group.parts
                packet.lost, packet.input_bytes = group.lost, group.input_bytes
                found.packets[kept] = packet
                kept += 1
        found.packet_count = kept
        if is_final:
            for key in list(self.groups):
                self.give_up(found, key)

    cdef give_up(self, Found* found, key):
        cdef Group group = self.groups.pop(key)
        self.held_bytes -= len(group.data)
        self.waste(found, group.offset, group.input_bytes, group.received_ns, group.source)

    cdef waste(self, Found* found, int64_t offset, int64_t size, int64_t received_ns, int32_t source):
        cdef Waste* waste = new_waste(found)
        if waste == NULL:
            raise MemoryError
        waste.offset, waste.size, waste.received_ns, waste.source, waste.kind = offset, size, received_ns, source, WASTE_PARTIAL

    cdef list state(self, Names sources):
        cdef Group group
        return [
            [list(key), bytes(group.data).hex(), group.count, group.parts, group.lost, sources.name(group.source), group.offset,
             group.received_ns, group.input_bytes]
            for key, group in self.groups.items()
        ]

    cdef set_state(self, list state, Names sources):
        cdef Group group
        self.groups, self.held_bytes = {}, 0
        for key, data, count, parts, lost, source, offset, received_ns, input_bytes in state:
            group = Group()
            group.data, group.count, group.parts, group.lost = bytearray.fromhex(data), count, parts, lost
            group.source, group.offset = sources.add(source), offset
            group.received_ns, group.input_bytes = received_ns, input_bytes
            self.groups[tuple(key)] = group
            self.held_bytes += len(group.data)


# Flags 11 and the length of the whole.
cdef finish_header(bytearray packet):
    cdef int length = min(len(packet) - HEADER_BYTES - 1, 0xFFFF)
    packet[2] = packet[2] | 0xC0
    packet[4], packet[5] = length >> 8, length & 0xFF
