# State by key and sequence numbers. See state_table.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef enum:
    # Datagrams that overtake each other on a network differ by a handful.
    LATE_MAX = 1024
    GAP_MAX = 1 << 24
    RESTART_MS = 60_000

# One line of a Table. The pointer is good until the next find().
cdef struct Slot:
    uint64_t key[4]
    uint32_t used
    uint32_t number          # what the owner of the table likes
    uint32_t uptime_ms
    uint32_t extra


cdef class Table:
    cdef Slot* young
    cdef Slot* old
    cdef uint64_t young_mask
    cdef uint64_t old_mask
    cdef uint64_t count
    cdef readonly uint64_t limit
    cdef readonly uint64_t forgotten

    # The line of this key, made (zeroed, *is_new = 1) when there is none; NULL when out of memory.
    cdef Slot* find(self, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3, bint* is_new) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef bytes dump(self)
    cdef void load(self, const uint8_t* bytes, int64_t size) except *


cdef inline uint64_t mix(uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3) noexcept nogil:
    # Four products side by side, not one after another: this is on the way of every sample.
    cdef uint64_t state = (k0 * <uint64_t> 0x9E3779B97F4A7C15ULL) ^ (k1 * <uint64_t> 0xBF58476D1CE4E5B9ULL)
    state ^= ((k2 * <uint64_t> 0x94D049BB133111EBULL) >> 7) + (k3 * <uint64_t> 0xD6E8FEB86659FD93ULL)
    state ^= state >> 32
    state *= <uint64_t> 0x9E3779B97F4A7C15ULL
    return state ^ (state >> 32)


cdef inline Slot* probe(Slot* slots, uint64_t mask, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3) noexcept nogil:
    cdef uint64_t place = mix(k0, k1, k2, k3) & mask
    while slots[place].used:
        if slots[place].key[0] == k0 and slots[place].key[1] == k1 and slots[place].key[2] == k2 and slots[place].key[3] == k3:
            return &slots[place]
        place = (place + 1) & mask
    return &slots[place]


# Table.find without a call for a line in use lately.
cdef inline Slot* look(Table table, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3, bint* is_new) noexcept nogil:
    cdef Slot* slot = probe(table.young, table.young_mask, k0, k1, k2, k3)
    if slot.used:
        is_new[0] = 0
        return slot
    return table.find(k0, k1, k2, k3, is_new)


# A line in use, or NULL: nothing is made.
cdef inline Slot* seek(Table table, uint64_t k0, uint64_t k1, uint64_t k2, uint64_t k3) noexcept nogil:
    cdef bint is_new
    cdef Slot* slot = probe(table.young, table.young_mask, k0, k1, k2, k3)
    if slot.used:
        return slot
    if table.old == NULL or not probe(table.old, table.old_mask, k0, k1, k2, k3).used:
        return NULL
    return table.find(k0, k1, k2, k3, &is_new)


# How far `sequence` is beyond what the slot expects (0 in order, lost when positive, -1 late or repeated, -2 restarted);
# moves the slot on unless late.
cdef inline int64_t follow(Slot* slot, bint is_new, uint32_t sequence, uint32_t uptime_ms, uint32_t step) noexcept nogil:
    cdef int32_t ahead = <int32_t> (sequence - slot.number)
    cdef int32_t later_ms = <int32_t> (uptime_ms - slot.uptime_ms)
    if is_new:
        slot.number, slot.uptime_ms = sequence + step, uptime_ms
        return 0
    cdef bint is_restarted = later_ms <= -RESTART_MS and ahead != 0
    # An exporter that started again has a smaller uptime and another sequence, larger too where little was heard of its
    # former life; one that was overtaken on the way has a smaller sequence only. Both may wrap at 2^32.
    if -LATE_MAX <= ahead < 0 and not is_restarted:
        return -1
    slot.number, slot.uptime_ms = sequence + step, uptime_ms
    if ahead < 0 or ahead > GAP_MAX or is_restarted:
        return -2
    return ahead
