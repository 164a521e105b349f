# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Packets that are cut already: a record batch with one in each row, as transfer frames give them
(framecodec.channel_modes.PACKET_FIELDS).

    given = PacketInput(batch)           # kept alive as long as this is
    size = given.find(&found, sources)

A row that is not exactly one space packet of version 0 (CCSDS 133.0-B-2 4.1.3), or encapsulation packet, is garbage, or
truncated where it begins like one.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.bits cimport load_be32
from framecodec.columns cimport Names
from framecodec.encapsulation cimport encapsulation_size
from framecodec.found_packets cimport (
    HEADER_BYTES, WASTE_GARBAGE, WASTE_TRUNCATED, Found, Packet, Waste, new_packet, new_waste, packet_size, pass_over,
)
from framecodec.frame_input cimport check_columns, dictionary_name, int_at, long_at

__all__ = ["PacketInput"]

cdef enum:
    RECEIVED_NS
    SOURCE
    PACKET
    OFFSET
    SCID
    VCID

FORMATS = {RECEIVED_NS: b"l", SOURCE: b"name", PACKET: b"z", OFFSET: b"l", SCID: b"i", VCID: b"i"}


cdef class PacketInput:
    """`packets` is a batch of those columns; TypeError for any other."""

    def __cinit__(self, packets):
        self.capsules = packets.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(self.capsules[0], "arrow_schema")
        self.array = <const ArrowArray*> PyCapsule_GetPointer(self.capsules[1], "arrow_array")
        check_columns(schema, FORMATS)

    cdef int64_t find(self, Found* found, Names sources) except -1:
        cdef const ArrowArray* array = self.array
        cdef const ArrowArray* source = array.children[SOURCE]
        cdef const ArrowArray* packets = array.children[PACKET]
        cdef const int32_t* ids = <const int32_t*> source.buffers[1] + source.offset + array.offset
        cdef const int32_t* ends = <const int32_t*> packets.buffers[1] + packets.offset + array.offset
        cdef const uint8_t* data = <const uint8_t*> packets.buffers[2]
        cdef const int64_t* offsets = (
            <const int64_t*> array.children[OFFSET].buffers[1] + array.children[OFFSET].offset + array.offset
        )
        cdef const uint8_t* header
        cdef Packet* packet
        cdef Waste* waste
        cdef int64_t row, size, expected
        cdef int32_t last_id = -1, number = 0
        for row in range(array.length):
            if ids[row] != last_id:
                last_id = ids[row]
                number = sources.add(dictionary_name(source, last_id))
            header, size = data + ends[row], ends[row + 1] - ends[row]
            expected = packet_size(header) if size >= HEADER_BYTES and header[0] >> 5 == 0 else -1
            if size == expected:
                packet = new_packet(found)
                if packet == NULL:
                    raise MemoryError
                packet.data, packet.head, packet.size = header, load_be32(header), <int32_t> size
                packet.source, packet.offset = number, offsets[row]
                packet.received_ns = long_at(array.children[RECEIVED_NS], array.offset + row)
                packet.scid = int_at(array.children[SCID], array.offset + row)
                packet.vcid = int_at(array.children[VCID], array.offset + row)
            elif size and encapsulation_size(header, size) == size:
                pass_over(&found.passed, header, size)
            else:
                waste = new_waste(found)
                if waste == NULL:
                    raise MemoryError
                waste.offset, waste.size, waste.source = offsets[row], size, number
                waste.received_ns = long_at(array.children[RECEIVED_NS], array.offset + row)
                waste.kind = WASTE_TRUNCATED if size < HEADER_BYTES or size < expected else WASTE_GARBAGE
        return ends[array.length] - ends[0] if array.length else 0
