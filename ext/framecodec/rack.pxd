# What sFlow and NetFlow decoding share: byte order, bounded state, rows. See rack.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from framecodec.arrow cimport ArrowArray
from framecodec.columns cimport Column, Names, Rows
from framecodec.state_table cimport Slot, Table

cdef extern from *:
    """
    #ifndef FRAMECODEC_BIG_ENDIAN_READS
    #define FRAMECODEC_BIG_ENDIAN_READS
    #include <stdint.h>
    #include <string.h>
    static inline uint16_t fc_be16(const uint8_t* p) { return (uint16_t)((p[0] << 8) | p[1]); }
    static inline uint32_t fc_be32(const uint8_t* p) {
        return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
    }
    static inline uint64_t fc_be64(const uint8_t* p) { return ((uint64_t)fc_be32(p) << 32) | fc_be32(p + 4); }
    /* The last eight octets of ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), of an address in the order of the wire. */
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define FC_V4_MAPPED(address) ((uint64_t)(address) << 32 | 0xFFFF0000u)
    #else
    #define FC_V4_MAPPED(address) (0x0000FFFF00000000u | (address))
    #endif
    static inline void fc_write_ipv4(uint8_t* cell, const uint8_t* address) {
        uint64_t halves[2] = {0, 0};
        uint32_t word;
        memcpy(&word, address, 4);
        halves[1] = FC_V4_MAPPED(word);
        memcpy(cell, halves, 16);
    }
    #endif
    """
    # Network byte order; the caller has checked that the octets are there.
    uint16_t be16 "fc_be16"(const uint8_t* bytes) noexcept nogil
    uint32_t be32 "fc_be32"(const uint8_t* bytes) noexcept nogil
    uint64_t be64 "fc_be64"(const uint8_t* bytes) noexcept nogil
    # IPv4 leaves as ::ffff:a.b.c.d.
    void write_ipv4 "fc_write_ipv4"(uint8_t* cell, const uint8_t* address) noexcept nogil


# The order of REASONS in rack.pyx.
cdef enum Reason:
    TRUNCATED
    BAD_LENGTH
    TEMPLATE_UNKNOWN
    BAD_TEMPLATE
    RECORD_SIZE_0
    RESERVED_SET
    UNKNOWN_VERSION
    TRAILING_BYTES
    ROWS_LIMIT

# The order of KINDS in rack.pyx.
cdef enum Kind:
    GAUGE
    COUNTER
    STATE
    TEXT

# What an entity is, below its exporter; the path words are in rack.pyx.
cdef enum EntityClass:
    ENTITY_INTERFACE
    ENTITY_VLAN
    ENTITY_PHYSICAL
    ENTITY_LOGICAL
    ENTITY_HOST
    ENTITY_DOMAIN
    ENTITY_LANE
    ENTITY_QUEUE
    ENTITY_ADAPTER
    ENTITY_VRF
    ENTITY_EXPORTER
    ENTITY_GPU

# Metrics that both decoders write; the order of SHARED_METRICS in rack.pyx.
cdef enum SharedMetric:
    METRIC_UP
    METRIC_DROPS
    METRIC_SAMPLE_GAPS
    METRIC_SEQUENCE_GAPS
    METRIC_SEQUENCE_RESETS
    METRIC_DATAGRAMS_RECEIVED
    METRIC_DATAGRAMS_LOST
    METRIC_FLOWS_LOST
    METRIC_FLOW_IN_BYTES
    METRIC_FLOW_IN_PACKETS
    METRIC_FLOW_OUT_BYTES
    METRIC_FLOW_OUT_PACKETS
    METRIC_DISCARDED_PACKETS
    METRIC_FLOW_DROPPED_PACKETS
    METRIC_DISCARD_DROPS

cdef enum SharedUnit:
    UNIT_BYTES
    UNIT_PACKETS
    UNIT_DATAGRAMS
    UNIT_FLOWS
    UNIT_SAMPLES

# The order of CODECS in rack.pyx.
cdef enum Codec:
    CODEC_SFLOW
    CODEC_NETFLOW5
    CODEC_NETFLOW9
    CODEC_IPFIX

cdef enum:
    NO_UNIT = -1


cdef class Decoded:
    cdef readonly list samples
    cdef readonly list derived
    cdef readonly list flows
    cdef readonly list rejects
    cdef readonly int64_t frames
    cdef readonly int64_t input_bytes


cdef class RackDecoder:
    cdef Rows samples
    cdef Rows derived
    cdef Rows flows
    cdef Rows rejects
    cdef Names entities
    cdef Names exporters
    cdef Names texts
    cdef Names metrics
    cdef Names units
    cdef Table entity_ids          # (address, class and index, sub-index) -> id in entities
    cdef Table sequences           # (address, domain, source) -> the next sequence number
    cdef bint derive
    cdef bint out_of_memory
    cdef int64_t usual_rows[3]     # of samples, derived and flows in the last batch, and some more
    cdef int64_t frames
    cdef int64_t input_bytes
    cdef readonly uint64_t unknown_records
    cdef readonly uint64_t unknown_samples
    # The datagram being decoded. `start` is borrowed from the batch and good only within datagram().
    cdef const uint8_t* start
    cdef int64_t size_bytes
    cdef int64_t received_ns
    cdef bint has_received
    cdef int64_t time_ns
    cdef uint16_t time_quality
    cdef const uint8_t* source_text
    cdef int64_t source_size
    cdef bint source_changed       # since the decoder last cleared it
    cdef uint64_t address_high     # who speaks: the key of all state
    cdef uint64_t address_low
    cdef int32_t exporter          # id in exporters
    cdef int64_t frame_offset                # of the datagram in its file; 0 where that is unknown
    cdef int64_t rows_left

    cdef void make_room(self) noexcept nogil
    cdef void walk(self, ArrowArray* frames) noexcept nogil
    cdef Decoded hand_over(self)
    # Decodes start[:size_bytes]; a subclass gives the body. 0, or -1 when out of memory.
    cdef int datagram(self) noexcept nogil
    # Set address, exporter: the datagram's sender, or an address inside the datagram.
    cdef void speak_as_sender(self) noexcept nogil
    cdef void speak_as_address(self, uint64_t high, uint64_t low) noexcept nogil
    cdef int32_t entity(self, EntityClass kind, uint32_t index, uint32_t sub_index) noexcept nogil
    cdef int sample(self, int32_t entity, int32_t metric, double value, Kind kind, int32_t unit) noexcept nogil
    cdef int text_sample(self, int32_t entity, int32_t metric, const uint8_t* text, int64_t size) noexcept nogil
    cdef int contribute(self, int32_t entity, int32_t metric, double value, int32_t unit, uint16_t quality) noexcept nogil
    cdef int reject(self, Reason reason, int64_t offset, int64_t size, const char* detail) noexcept nogil
    # Follows the messages of a domain; `protocol` tells those of one sender and number apart. 0, or -1.
    cdef int count_sequence(
        self, uint32_t protocol, uint32_t domain, uint32_t sequence, uint32_t uptime_ms, uint32_t step, int32_t lost_metric,
        int32_t unit,
    ) noexcept nogil
    # Where only the message's own records tell the next number: adds them; `is_known` False: the next one sets anew.
    cdef void advance_sequence(
        self, uint32_t protocol, uint32_t domain, uint32_t sequence, uint32_t step, bint is_known,
    ) noexcept nogil


# Each gives the bit of its column, for Rows.masks.
cdef inline uint64_t put8(Column* columns, int column, int64_t row, uint8_t value) noexcept nogil:
    columns[column].values[row] = value
    return <uint64_t> 1 << column


cdef inline uint64_t put16(Column* columns, int column, int64_t row, uint16_t value) noexcept nogil:
    (<uint16_t*> columns[column].values)[row] = value
    return <uint64_t> 1 << column


cdef inline uint64_t put32(Column* columns, int column, int64_t row, uint32_t value) noexcept nogil:
    (<uint32_t*> columns[column].values)[row] = value
    return <uint64_t> 1 << column


cdef inline uint64_t put64(Column* columns, int column, int64_t row, uint64_t value) noexcept nogil:
    (<uint64_t*> columns[column].values)[row] = value
    return <uint64_t> 1 << column


cdef inline bint is_set(uint64_t mask, int column) noexcept nogil:
    return mask >> column & 1


cdef inline uint64_t put_ipv4(Column* columns, int column, int64_t row, const uint8_t* address) noexcept nogil:
    write_ipv4(columns[column].values + 16 * row, address)
    return <uint64_t> 1 << column


cdef inline uint64_t put_ipv6(Column* columns, int column, int64_t row, const uint8_t* address) noexcept nogil:
    memcpy(columns[column].values + 16 * row, address, 16)
    return <uint64_t> 1 << column


cdef inline uint64_t put_mac(Column* columns, int column, int64_t row, const uint8_t* address) noexcept nogil:
    memcpy(columns[column].values + 6 * row, address, 6)
    return <uint64_t> 1 << column
