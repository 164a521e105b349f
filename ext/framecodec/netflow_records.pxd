# Data records of NetFlow v9 and IPFIX. See netflow_records.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.elements cimport FIELDS_MAX, Op, Template
from framecodec.netflow_rows cimport NetflowRows
from framecodec.state_table cimport Table
from framecodec.templates cimport Domain, Domains

# What a line of `rates` is about.
cdef enum RateKind:
    SAMPLER_RATE = 1
    INTERFACE_RATE = 2


cdef class NetflowRecords(NetflowRows):
    cdef Domains domains
    cdef Table rates                     # (address, version and domain, kind and number) -> 1 in N
    cdef int64_t system_init_ms          # the exporter's start, for uptimes in IPFIX; -1 where nobody told
    cdef const uint8_t* at[FIELDS_MAX]   # where the fields of a record of variable length are
    cdef uint16_t length[FIELDS_MAX]

    # Notes where each field of the record at `p` is; the octets of the record, or -1 when it does not fit.
    cdef int64_t locate(self, const Template* template, const uint8_t* p, int64_t size) noexcept nogil
    # `count` records of fixed length, column by column.
    cdef int read_records(self, Domain* domain, Template* template, const uint8_t* p, int64_t count) noexcept nogil
    # One record whose fields `locate` has found: a row, and a second one where it tells of both directions.
    cdef int read_record(self, Domain* domain, Template* template) noexcept nogil
    # One operation on `count` records, `stride` octets apart, into rows from `row` on. `length` is the field's, never 0.
    # Columns of `present` are there in all rows, their masks need not say so yet; gives the column that it adds to those,
    # or 0.
    cdef uint64_t apply(
        self, const Domain* domain, const Op* op, const uint8_t* p, int64_t stride, uint32_t length, int64_t row, int64_t count,
        uint64_t present,
    ) noexcept nogil
    cdef void apply_rate(
        self, const Domain* domain, const Op* op, const uint8_t* p, int64_t stride, uint32_t length, int64_t row, int64_t count,
    ) noexcept nogil
    # What other columns imply: the EtherType, and a sampling rate that options records told.
    cdef void complete_rows(self, const Domain* domain, const Template* template, int64_t row, int64_t count) noexcept nogil
    # 1 in N of a sampler or an interface, 0 when nothing was told.
    cdef uint32_t rate(self, const Domain* domain, uint64_t kind, uint64_t number) noexcept nogil
    # The labels of the record at `p`, or of the located one, top of the stack first, into row flows.length.
    cdef void read_labels(self, const Template* template, const uint8_t* p) noexcept nogil
    # Samples of the located record's enterprise elements; `row` is its flow.
    cdef int read_named(self, const Template* template, int64_t row) noexcept nogil
