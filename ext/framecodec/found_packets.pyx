# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What was found in some input: packets, which point into it, and what was given up; in arrays that grow.

This module does not know how packets are found (framecodec.sync, framecodec.packet_input).
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset


cdef void free_found(Found* found) noexcept nogil:
    free(found.packets)
    free(found.wastes)
    memset(found, 0, sizeof(Found))


cdef Packet* new_packets(Found* found, int64_t count) noexcept nogil:
    cdef void* moved
    cdef int64_t capacity = found.packet_capacity
    if found.packet_count + count > capacity:
        capacity = max(2 * capacity, found.packet_count + count + 64)
        moved = realloc(found.packets, capacity * sizeof(Packet))
        if moved == NULL:
            return NULL
        found.packets, found.packet_capacity = <Packet*> moved, capacity
    return &found.packets[found.packet_count]


cdef Packet* new_packet(Found* found) noexcept nogil:
    cdef Packet* packet = new_packets(found, 1)
    if packet != NULL:
        found.packet_count += 1
        packet.parts, packet.lost, packet.scid, packet.vcid = 1, 0, -1, -1
    return packet


cdef Waste* new_waste(Found* found) noexcept nogil:
    cdef void* moved
    if found.waste_count == found.waste_capacity:
        moved = realloc(found.wastes, (2 * found.waste_capacity + 16) * sizeof(Waste))
        if moved == NULL:
            return NULL
        found.wastes = <Waste*> moved
        found.waste_capacity = 2 * found.waste_capacity + 16
    found.waste_count += 1
    return &found.wastes[found.waste_count - 1]
