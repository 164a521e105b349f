# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""State by key, bounded: what decoders of datagrams remember of each agent, exporter and data source.

    slot = look(table, high, low, kind_and_index, stream, &is_new)      # 48 octets, zero when new
    lost = follow(slot, is_new, sequence, uptime_ms, 1)                 # a sequence number kept in such a line

A Table forgets its less recently used half when it is full. It does not know what its lines mean.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

__all__: list[str] = []

cdef enum:
    TABLE_LIMIT = 1 << 18
    TABLE_FIRST = 256


cdef class Table:
    """At most 2 x `limit` lines by 32-byte key.

    New lines go to the young half. When that is full, it becomes the old half and the old one is forgotten; a line found
    in the old half moves to the young one. So what is in use stays, whatever an attacker sends besides.
    """

    def __cinit__(self, uint64_t limit=TABLE_LIMIT):
        self.limit = limit
        self.young_mask = TABLE_FIRST - 1
        self.young = <Slot*> calloc(TABLE_FIRST, sizeof(Slot))
        if self.young == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.young)
        free(self.old)

    cdef void clear(self) noexcept nogil:
        free(self.old)
        self.old = NULL
        memset(self.young, 0, (self.young_mask + 1) * sizeof(Slot))
        self.count = 0

    cdef Slot* find(self, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3, bint* is_new) noexcept nogil:
        cdef Slot* slot = probe(self.young, self.young_mask, k0, k1, k2, k3)
        cdef Slot* earlier
        cdef Slot* grown
        cdef uint64_t place
        is_new[0] = 0
        if slot.used:
            return slot
        if self.count >= self.limit:
            grown = <Slot*> calloc(TABLE_FIRST, sizeof(Slot))
            if grown == NULL:
                return NULL
            if self.old != NULL:
                self.forgotten += self.limit
                free(self.old)
            self.old, self.old_mask = self.young, self.young_mask
            self.young, self.young_mask, self.count = grown, TABLE_FIRST - 1, 0
        elif 2 * self.count > self.young_mask:
            grown = <Slot*> calloc(2 * (self.young_mask + 1), sizeof(Slot))
            if grown == NULL:
                return NULL
            for place in range(self.young_mask + 1):
                slot = &self.young[place]
                if slot.used:
                    probe(grown, 2 * self.young_mask + 1, slot.key[0], slot.key[1], slot.key[2], slot.key[3])[0] = slot[0]
            free(self.young)
            self.young, self.young_mask = grown, 2 * self.young_mask + 1
        slot = probe(self.young, self.young_mask, k0, k1, k2, k3)
        self.count += 1
        if self.old != NULL:
            earlier = probe(self.old, self.old_mask, k0, k1, k2, k3)
            if earlier.used:
                slot[0] = earlier[0]
                return slot
        is_new[0] = 1
        slot.used = 1
        slot.key[0], slot.key[1], slot.key[2], slot.key[3] = k0, k1, k2, k3
        return slot

    # The lines, the old half first: u32 count of each half, then 48 bytes a line in this machine's byte order.
    cdef bytes dump(self):
        cdef list parts = []
        cdef uint64_t place
        cdef uint32_t counts[2]
        counts[0] = counts[1] = 0
        if self.old != NULL:
            for place in range(self.old_mask + 1):
                if self.old[place].used:
                    parts.append(PyBytes_FromStringAndSize(<char*> &self.old[place], sizeof(Slot)))
                    counts[0] += 1
        for place in range(self.young_mask + 1):
            if self.young[place].used:
                parts.append(PyBytes_FromStringAndSize(<char*> &self.young[place], sizeof(Slot)))
                counts[1] += 1
        return PyBytes_FromStringAndSize(<char*> counts, 8) + b"".join(parts)

    cdef void load(self, const uint8_t* data, int64_t size) except *:
        cdef uint32_t counts[2]
        cdef Slot line
        cdef Slot* slot
        cdef bint is_new
        cdef uint64_t index
        if size < 8:
            raise ValueError("not a snapshot: the sequence table is cut short")
        memcpy(counts, data, 8)
        if <uint64_t> size != 8 + sizeof(Slot) * (<uint64_t> counts[0] + counts[1]):
            raise ValueError("not a snapshot: the sequence table has the wrong size")
        self.clear()
        for index in range(<uint64_t> counts[0] + counts[1]):
            if index == counts[0] and index:
                # The young half starts: what is there so far becomes the old one.
                slot = <Slot*> calloc(TABLE_FIRST, sizeof(Slot))
                if slot == NULL:
                    raise MemoryError
                self.old, self.old_mask = self.young, self.young_mask
                self.young, self.young_mask, self.count = slot, TABLE_FIRST - 1, 0
            memcpy(&line, data + 8 + index * sizeof(Slot), sizeof(Slot))
            slot = self.find(line.key[0], line.key[1], line.key[2], line.key[3], &is_new)
            if slot == NULL:
                raise MemoryError
            slot[0] = line
            slot.used = 1
