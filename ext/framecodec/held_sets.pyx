# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Sets of NetFlow v9 and IPFIX that wait for their template, of one domain: in the order they came, and by set id.

A sender chooses how many sets wait and how many templates come, so neither is ever looked for along the other: a datagram of
8,000 templates for a domain of 12,000 waiting sets took 0.2 s in a list. How much may wait is not known here.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

__all__: list[str] = []

cdef enum:
    FIRST_BUCKETS = 8


cdef int keep(HeldSets* sets, const Message* message, const uint8_t* data, int64_t size) noexcept nogil:
    cdef Waiting* waiting = waiting_for(sets, message.set_id)
    cdef Held* held
    if waiting == NULL:
        return -1
    held = <Held*> malloc(sizeof(Held) + size)
    if held == NULL:
        if waiting.first == NULL:
            forget(sets, waiting)
        return -1
    held.next = held.newer = NULL
    held.older = sets.newest
    held.size_bytes = size
    held.message = message[0]
    held.data = <uint8_t*> held + sizeof(Held)
    memcpy(held.data, data, size)
    if waiting.last == NULL:
        waiting.first = held
    else:
        waiting.last.next = held
    waiting.last = held
    if sets.newest == NULL:
        sets.oldest = held
    else:
        sets.newest.newer = held
    sets.newest = held
    return 0


cdef Held* take(HeldSets* sets, uint32_t set_id) noexcept nogil:
    cdef Waiting* waiting = find(sets, set_id)
    cdef Held* held
    if waiting == NULL:
        return NULL
    held = waiting.first
    waiting.first = held.next
    if held.newer == NULL:
        sets.newest = held.older
    else:
        held.newer.older = held.older
    if held.older == NULL:
        sets.oldest = held.newer
    else:
        held.older.newer = held.newer
    if waiting.first == NULL:
        forget(sets, waiting)
    return held


cdef inline Waiting* find(const HeldSets* sets, uint32_t set_id) noexcept nogil:
    cdef Waiting* waiting
    if sets.buckets == NULL:
        return NULL
    waiting = sets.buckets[set_id & sets.bucket_mask]
    while waiting != NULL and waiting.set_id != set_id:
        waiting = waiting.chain
    return waiting


# Found or made; NULL when out of memory.
cdef Waiting* waiting_for(HeldSets* sets, uint32_t set_id) noexcept nogil:
    cdef Waiting* waiting = find(sets, set_id)
    if waiting != NULL:
        return waiting
    if (sets.buckets == NULL or sets.waiting_count > sets.bucket_mask) and grow(sets) < 0:
        return NULL
    waiting = <Waiting*> calloc(1, sizeof(Waiting))
    if waiting == NULL:
        return NULL
    waiting.set_id = set_id
    waiting.chain = sets.buckets[set_id & sets.bucket_mask]
    sets.buckets[set_id & sets.bucket_mask] = waiting
    sets.waiting_count += 1
    return waiting


cdef int grow(HeldSets* sets) noexcept nogil:
    cdef uint32_t mask = 2 * sets.bucket_mask + 1 if sets.buckets != NULL else FIRST_BUCKETS - 1
    cdef Waiting** grown = <Waiting**> calloc(mask + 1, sizeof(Waiting*))
    cdef Waiting* waiting
    cdef Waiting* following
    cdef uint32_t index
    if grown == NULL:
        return -1
    if sets.buckets != NULL:
        for index in range(sets.bucket_mask + 1):
            waiting = sets.buckets[index]
            while waiting != NULL:
                following = waiting.chain
                waiting.chain = grown[waiting.set_id & mask]
                grown[waiting.set_id & mask] = waiting
                waiting = following
    free(sets.buckets)
    sets.buckets, sets.bucket_mask = grown, mask
    return 0


# Nothing waits for this template any more; with the last one the table goes.
cdef void forget(HeldSets* sets, Waiting* waiting) noexcept nogil:
    cdef Waiting** link = &sets.buckets[waiting.set_id & sets.bucket_mask]
    while link[0] != waiting:
        link = &link[0].chain
    link[0] = waiting.chain
    free(waiting)
    sets.waiting_count -= 1
    if sets.waiting_count == 0:
        free(sets.buckets)
        sets.buckets, sets.bucket_mask = NULL, 0
