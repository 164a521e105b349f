# Templates, options and held sets of NetFlow v9 and IPFIX exporters. See templates.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.elements cimport Elements, Field, Template
from framecodec.held_sets cimport Held, HeldSets, Message

cdef enum:
    EXPORTER_MAX = 60
    FOREVER_NS = 0x7FFFFFFFFFFFFFFFLL

cdef struct Domain:
    uint64_t key[3]              # address, version and domain
    Domain* chain
    Domain* newer
    Domain* older
    Template** templates         # buckets by id
    uint32_t template_mask
    uint32_t template_count
    Template* oldest_template    # defined longest ago; all owned
    Template* newest_template
    HeldSets held
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
    cdef readonly uint64_t forgotten_templates
    cdef readonly uint64_t withdrawals

    # The domain of this key, made when there is none; NULL when out of memory. Good until the next find().
    cdef Domain* find(self, uint64_t high, uint64_t low, uint64_t version_domain) noexcept nogil
    cdef Template* template(self, const Domain* domain, uint32_t number) noexcept nogil
    # The domain to be forgotten, the least recently heard, while there are too many or their templates take too much memory;
    # never the one found last. NULL where all is well.
    cdef Domain* excess(self) noexcept nogil
    # Takes a definition; 1 new or changed, 0 known already, -1 out of memory, -2 record size 0.
    cdef int define(
        self, Domain* domain, uint32_t number, const Field* fields, uint32_t field_count, uint32_t scope_count, bint is_options,
    ) noexcept nogil
    cdef void remove(self, Domain* domain, Template* template) noexcept nogil
    # Whether a set of this size may still wait; `hold` does not ask. 0, or -1 when out of memory.
    cdef bint has_room(self, const Domain* domain, int64_t size) noexcept nogil
    cdef int hold(self, Domain* domain, const Message* message, const uint8_t* data, int64_t size) noexcept nogil
    # Unlinks the first held set that this template decodes, or the oldest, if it was received before `before_ns`: those without
    # a time of reception only where that is FOREVER_NS. The caller frees it.
    cdef Held* take_for(self, Domain* domain, uint32_t set_id) noexcept nogil
    cdef Held* take_before(self, Domain* domain, int64_t before_ns) noexcept nogil
    # What is held goes with it: `take_before` tells it first.
    cdef void forget(self, Domain* domain) noexcept nogil
    cdef void clear(self) noexcept nogil
