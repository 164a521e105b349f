# Sets of one domain that wait for their template. See held_sets.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t

# What a set needs of its message when it is decoded later. The layout is part of the snapshot.
cdef struct Message:
    uint32_t version
    uint32_t domain
    uint32_t sequence
    uint32_t uptime_ms
    int64_t export_ns
    int64_t received_ns
    int64_t frame_offset          # of the datagram, where the input is a file
    int64_t set_offset           # of the set in the datagram
    uint32_t has_received
    uint32_t set_id

cdef struct Held:
    Held* next                   # that waits for the same template
    Held* newer
    Held* older
    int64_t size_bytes
    Message message
    uint8_t* data                # the set after its header; owned, in the same block

# Those that wait for one template, as they came.
cdef struct Waiting:
    Waiting* chain
    Held* first
    Held* last
    uint32_t set_id

# All zero at first.
cdef struct HeldSets:
    Held* oldest
    Held* newest
    Waiting** buckets            # by set id; owned
    uint32_t bucket_mask
    uint32_t waiting_count

# The memory that a set takes, at most.
cdef inline int64_t held_cost(int64_t size) noexcept nogil:
    return size + <int64_t> (sizeof(Held) + sizeof(Waiting) + 2 * sizeof(Waiting*))

# Copies a set in; 0, or -1 when out of memory.
cdef int keep(HeldSets* sets, const Message* message, const uint8_t* data, int64_t size) noexcept nogil

# Unlinks the oldest set of this id, which the caller frees; NULL where there is none.
cdef Held* take(HeldSets* sets, uint32_t set_id) noexcept nogil
