# Sets of NetFlow v9 and IPFIX. See netflow_sets.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from framecodec.elements cimport FIELDS_MAX, Field, Template
from framecodec.held_sets cimport Held
from framecodec.netflow_options cimport NetflowOptions
from framecodec.templates cimport Domain


cdef class NetflowSets(NetflowOptions):
    cdef bint udp                        # withdrawals are ignored
    cdef uint32_t data_records           # of the message: what IPFIX sequence numbers count
    cdef bint has_unknown_set
    cdef int64_t swept_minute            # of reception, when all domains were last looked through for sets that are too old
    cdef Field fields[FIELDS_MAX]        # a template being read

    # The state of who speaks; sets that waited too long for a template are given up first.
    cdef Domain* open_domain(self) noexcept nogil
    # The set of `set_bytes` at `at`; the message's set ids for templates and options templates.
    cdef int read_set(
        self, Domain* domain, uint32_t set_id, uint32_t template_id, uint32_t options_id, int64_t at, uint32_t set_bytes,
    ) noexcept nogil
    # Template records in [at, end) [RFC 3954 5.2 and 6.1, RFC 7011 3.4].
    cdef int read_templates(self, Domain* domain, bint is_options, int64_t at, int64_t end) noexcept nogil
    # The fields of one template record at `at` into `fields`; the offset behind them, -1 where the set ends before.
    cdef int64_t read_fields(self, int64_t at, int64_t end, uint32_t field_count) noexcept nogil
    cdef int define(
        self, Domain* domain, uint32_t number, uint32_t field_count, uint32_t scope_count, bint is_options,
        int64_t at, int64_t end,
    ) noexcept nogil
    cdef void withdraw(self, Domain* domain, uint32_t number, bint is_options) noexcept nogil
    # Decodes a set that has waited, as if its datagram came now.
    cdef int read_held(self, Domain* domain, Held* held) noexcept nogil
    # Frees it, too.
    cdef void reject_held(self, Held* held) noexcept nogil
    # In the name of the one who sent them.
    cdef void reject_held_before(self, Domain* domain, int64_t before_ns) noexcept nogil
    cdef void reject_all_held(self) noexcept nogil
    # What has waited too long: of this domain, and of all once a minute.
    cdef void reject_aged(self, Domain* domain) noexcept nogil
    # Forgets the domains that are too many, never the one that speaks.
    cdef void forget_excess(self) noexcept nogil
    # Data records of one set. `at` is the set's place in its datagram.
    cdef int read_data(self, Domain* domain, Template* template, const uint8_t* p, int64_t size, int64_t at) noexcept nogil
