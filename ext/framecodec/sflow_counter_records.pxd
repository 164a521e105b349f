# Counter samples of sFlow. See sflow_counter_records.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from framecodec.rack cimport Kind
from framecodec.sflow_flows cimport SflowFlows
from framecodec.sflow_samples cimport Sample

cdef enum:
    FIELDS_MAX = 40

# The order of FIELD_TYPES in sflow_counter_records.pyx.
cdef enum FieldType:
    U32
    U64
    F32
    I32
    U8
    PERCENT
    SKIP32
    MAC
    HEX8
    UUID
    STRING

# The order of PLACES.
cdef enum Place:
    PLACE_INTERFACE
    PLACE_SOURCE
    PLACE_VLAN
    PLACE_HOST
    PLACE_QUEUE
    PLACE_GPU

cdef struct Field:
    FieldType form
    Kind kind
    int32_t metric
    int32_t unit

cdef struct Record:
    uint32_t tag                 # enterprise << 12 | format
    Place place
    int count
    Field fields[FIELDS_MAX]


cdef class SflowCounters(SflowFlows):
    cdef Record* records
    cdef int record_count
    cdef Field lane[16]
    cdef int lane_fields
    cdef int32_t metric_mac
    cdef int32_t metric_pfc[2][9]
    cdef int32_t unit_frames

    cdef Field compile(self, field) except *
    # 0, 1 when its records ran beyond it to the datagram's end, -1 out of memory or rows.
    cdef int read_counters(self, const Sample* sample) noexcept nogil
    cdef int read_counter_record(self, const Sample* sample, uint32_t tag, const uint8_t* p, int64_t size) noexcept nogil
    # A row for each field that is there and known.
    cdef int read_fields(self, int32_t entity, const Field* fields, int count, const uint8_t* p, int64_t size) noexcept nogil
    # A field that is text; the offset behind it, -1 out of memory or rows, -2 when the record ends within it.
    cdef int64_t read_text(self, int32_t entity, const Field* field, const uint8_t* p, int64_t size, int64_t at) noexcept nogil
    # The lanes of an optical module, after its four words and their count.
    cdef int read_lanes(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil
    # pfc_counters (draft): requests and indications of IEEE8021-PFC-MIB, of the port or for each of 8 priorities, as 32 or
    # 64 bits, the arrays with or without their XDR count. The length tells these apart.
    cdef int read_pfc(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil
    # host_adapters: for each ifIndex its MAC addresses, 8 octets each.
    cdef int read_adapters(self, const uint8_t* p, int64_t size) noexcept nogil
