# Templates, options and held sets of NetFlow v9 and IPFIX exporters. See templates.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.elements cimport Elements, Field, Template

cdef enum:
    EXPORTER_MAX = 60

# What a set needs of its message when it is decoded later.
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
    Held* next
    int64_t size_bytes
    Message message
    uint8_t* data                # the set after its header; owned, in the same block

cdef struct Domain:
    uint64_t key[3]              # address, version and domain
    Domain* chain
    Domain* newer
    Domain* older
    Template** templates         # open addressing by id, owned
    uint32_t template_mask
    uint32_t template_count
    Held* first
    Held* last
    int64_t held_bytes
    uint32_t default_rate
    uint32_t lone_rate           # of the only sampler told of, 0 where there are several
    uint64_t lone_sampler
    bint has_several_samplers
    bint has_samplers
    bint has_interface_rates
    int64_t system_init_ms
    uint32_t exporter_size
    uint8_t exporter[EXPORTER_MAX]   # the sender as text: not always an address


cdef class Domains:
    cdef Elements elements
    cdef Domain** buckets
    cdef Domain* newest
    cdef Domain* oldest
    cdef readonly uint32_t count
    cdef readonly int64_t template_bytes
    cdef readonly int64_t held_bytes
    cdef readonly uint64_t forgotten
    cdef readonly uint64_t withdrawals

    # The domain of this key, made when there is none; NULL when out of memory. Good until the next find().
    cdef Domain* find(self, uint64_t high, uint64_t low, uint64_t version_domain) noexcept nogil
    cdef Template* template(self, const Domain* domain, uint32_t number) noexcept nogil
    # Takes a definition; 1 new or changed, 0 known already, -1 out of memory, -2 record size 0, -3 too many.
    cdef int define(
        self, Domain* domain, uint32_t number, const Field* fields, uint32_t field_count, uint32_t scope_count, bint is_options,
    ) noexcept nogil
    cdef void withdraw(self, Domain* domain, uint32_t number) noexcept nogil
    # Keeps a set; 0, or -1 when it does not fit and the caller must reject it.
    cdef int hold(self, Domain* domain, const Message* message, const uint8_t* data, int64_t size) noexcept nogil
    # Unlinks the first held set that this template decodes, or that is older than `before_ns`, or (any) the first at all.
    cdef Held* take_for(self, Domain* domain, uint32_t set_id) noexcept nogil
    cdef Held* take_before(self, Domain* domain, int64_t before_ns) noexcept nogil
    cdef Held* take_any(self, Domain* domain) noexcept nogil
    cdef void forget(self, Domain* domain) noexcept nogil
    cdef void clear(self) noexcept nogil
