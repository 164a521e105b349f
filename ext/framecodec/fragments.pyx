# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""IP fragments put together (RFC 791 3.2, RFC 8200 4.5, both from memory), a bounded number at a time.

Used by framecodec.pcap only. A fragment that repeats bytes is ignored, one that contradicts them breaks its datagram
(RFC 5722: overlaps are attacks). At most FRAGMENT_SLOTS datagrams are open; the oldest gives way.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

cdef enum:
    UNIT_BYTES = 8

# RFC 8200 4.5 gives 60 s; an IPv4 identification may come around sooner.
cdef int64_t STALE_NS = 30_000_000_000


@cython.final
cdef class Fragments:
    """Datagrams of which some fragments have come."""

    def __cinit__(self):
        memset(self.slots, 0, sizeof(self.slots))

    def __dealloc__(self):
        cdef int index
        for index in range(FRAGMENT_SLOTS):
            free(self.slots[index].data)

    cdef Slot* find(self, const uint8_t* key) noexcept nogil:
        cdef int index
        cdef Slot* slot
        cdef Slot* unused = NULL
        for index in range(FRAGMENT_SLOTS):
            slot = &self.slots[index]
            if not slot.is_used:
                unused = slot
            elif memcmp(slot.key, key, FRAGMENT_KEY_BYTES) == 0:
                return slot
        return unused if unused != NULL else self.oldest()

    cdef Slot* oldest(self) noexcept nogil:
        cdef int index
        cdef Slot* found = NULL
        for index in range(FRAGMENT_SLOTS):
            if self.slots[index].is_used and (found == NULL or self.slots[index].offset < found.offset):
                found = &self.slots[index]
        return found

    cdef bint is_stale(self, const Slot* slot, int64_t received_ns) noexcept nogil:
        return slot.received_ns >= 0 and received_ns - slot.received_ns > STALE_NS

    cdef void open(self, Slot* slot, const uint8_t* key, int64_t received_ns, int64_t offset) noexcept nogil:
        slot.is_used = True
        slot.has_first = False
        memcpy(slot.key, key, FRAGMENT_KEY_BYTES)
        memset(slot.units, 0, sizeof(slot.units))
        slot.received_bytes = slot.end_bytes = slot.total_bytes = 0
        slot.received_ns = slot.first_received_ns = received_ns
        slot.offset = offset

    cdef Assembly put(
        self, Slot* slot, uint32_t at, bint more, const uint8_t* data, size_t size, int64_t received_ns,
    ) noexcept nogil:
        cdef uint32_t unit, first, last, end
        cdef uint32_t known = 0
        if size == 0 or at + size > DATAGRAM_BYTES_MAX or (more and size % UNIT_BYTES):
            return ASSEMBLY_BROKEN
        end = at + <uint32_t> size
        if slot.total_bytes and (end > slot.total_bytes or (not more and end != slot.total_bytes)):
            return ASSEMBLY_BROKEN
        if not more and end < slot.end_bytes:                    # others lie beyond the last one
            return ASSEMBLY_BROKEN
        if slot.data == NULL:
            slot.data = <uint8_t*> malloc(DATAGRAM_BYTES_MAX)
            if slot.data == NULL:
                return ASSEMBLY_BROKEN
        first = at // UNIT_BYTES
        last = (end - 1) // UNIT_BYTES
        for unit in range(first, last + 1):
            known += slot.units[unit]
        if known:
            if known == last - first + 1 and memcmp(slot.data + at, data, size) == 0:
                return ASSEMBLY_WAITS
            return ASSEMBLY_BROKEN
        for unit in range(first, last + 1):
            slot.units[unit] = 1
        memcpy(slot.data + at, data, size)
        slot.received_bytes += <uint32_t> size
        slot.end_bytes = max(slot.end_bytes, end)
        slot.received_ns = received_ns
        slot.has_first |= at == 0
        if not more:
            slot.total_bytes = end
        # No two overlap and none lies beyond the last one, so that nothing is missing when the bytes add up.
        return ASSEMBLY_COMPLETE if slot.received_bytes == slot.total_bytes else ASSEMBLY_WAITS
