# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Records of NetFlow version 5: 48 octets, always the same layout.

    octets   0      4         8         12      14      16        20        24     28    32        34
             src    dst       next_hop  in_if   out_if  packets   bytes     first  last  src_port  dst_port
             37     38        39        40      42      44        45
             flags  protocol  tos       src_as  dst_as  src_mask  dst_mask

Source: Cisco, "NetFlow Export Datagram Format", table B-4 (from memory).
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Column
from framecodec.rack cimport be16, be32, be64  # no-cython-lint: the C below calls what these stand for
from framecodec.records cimport (
    FLOW_BYTES, FLOW_DST_ADDR, FLOW_DST_AS, FLOW_DST_MASK, FLOW_DST_PORT, FLOW_ETHERTYPE, FLOW_IN_IF, FLOW_NEXT_HOP,
    FLOW_OUT_IF, FLOW_PACKETS, FLOW_PROTOCOL, FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_TCP_FLAGS,
    FLOW_TIME_END, FLOW_TIME_START, FLOW_TOS,
)

__all__: list[str] = []

cdef extern from *:
    """
    /* A loop for every few columns that stand side by side: their pointers stay in registers, and eight octets are turned
       around at once. By the whole record there are too many pointers, by the column too many loops. */
    #define FC_V5 48

    static void fc_v5_addresses(const uint8_t* p, int64_t n, uint64_t* src, uint64_t* dst, uint64_t* hop) {
        for (int64_t i = 0; i < n; i++, p += FC_V5) {
            uint32_t a, b, c;
            memcpy(&a, p, 4); memcpy(&b, p + 4, 4); memcpy(&c, p + 8, 4);
            src[2 * i] = dst[2 * i] = hop[2 * i] = 0;
            src[2 * i + 1] = FC_V4_MAPPED(a); dst[2 * i + 1] = FC_V4_MAPPED(b); hop[2 * i + 1] = FC_V4_MAPPED(c);
        }
    }
    static void fc_v5_volumes(
        const uint8_t* p, int64_t n, uint32_t* in_if, uint32_t* out_if, uint64_t* packets, uint64_t* bytes
    ) {
        for (int64_t i = 0; i < n; i++, p += FC_V5) {
            uint64_t word = fc_be64(p + 16);
            uint32_t interfaces = fc_be32(p + 12);
            in_if[i] = interfaces >> 16; out_if[i] = interfaces & 0xFFFF;
            packets[i] = word >> 32; bytes[i] = (uint32_t)word;
        }
    }
    /* The exporter's start was `uptime_ms` before `export_ns`; both wrap at 2^32 ms, 49.7 days. */
    static void fc_v5_times(
        const uint8_t* p, int64_t n, int64_t export_ns, uint32_t uptime_ms, int64_t* first, int64_t* last
    ) {
        for (int64_t i = 0; i < n; i++, p += FC_V5) {
            uint64_t word = fc_be64(p + 24);
            first[i] = export_ns - 1000000LL * (int32_t)(uptime_ms - (uint32_t)(word >> 32));
            last[i] = export_ns - 1000000LL * (int32_t)(uptime_ms - (uint32_t)word);
        }
    }
    static void fc_v5_transport(
        const uint8_t* p, int64_t n, uint16_t* src_port, uint16_t* dst_port, uint16_t* flags, uint8_t* protocol, uint8_t* tos
    ) {
        for (int64_t i = 0; i < n; i++, p += FC_V5) {
            uint64_t word = fc_be64(p + 32);
            src_port[i] = (uint16_t)(word >> 48); dst_port[i] = (uint16_t)(word >> 32);
            flags[i] = (uint8_t)(word >> 16); protocol[i] = (uint8_t)(word >> 8); tos[i] = (uint8_t)word;
        }
    }
    static void fc_v5_routing(
        const uint8_t* p, int64_t n, uint32_t* src_as, uint32_t* dst_as, uint8_t* src_mask, uint8_t* dst_mask,
        uint16_t* ethertype
    ) {
        for (int64_t i = 0; i < n; i++, p += FC_V5) {
            uint64_t word = fc_be64(p + 40);
            src_as[i] = (uint32_t)(word >> 48); dst_as[i] = (uint16_t)(word >> 32);
            src_mask[i] = (uint8_t)(word >> 24); dst_mask[i] = (uint8_t)(word >> 16);
            ethertype[i] = 0x0800;
        }
    }
    """
    void v5_addresses "fc_v5_addresses"(
        const uint8_t* p, int64_t count, uint64_t* src, uint64_t* dst, uint64_t* next_hop) noexcept nogil
    void v5_volumes "fc_v5_volumes"(
        const uint8_t* p, int64_t count, uint32_t* in_if, uint32_t* out_if, uint64_t* packets, uint64_t* bytes) noexcept nogil
    void v5_times "fc_v5_times"(
        const uint8_t* p, int64_t count, int64_t export_ns, uint32_t uptime_ms, int64_t* first, int64_t* last) noexcept nogil
    void v5_transport "fc_v5_transport"(
        const uint8_t* p, int64_t count, uint16_t* src_port, uint16_t* dst_port, uint16_t* flags, uint8_t* protocol,
        uint8_t* tos) noexcept nogil
    void v5_routing "fc_v5_routing"(
        const uint8_t* p, int64_t count, uint32_t* src_as, uint32_t* dst_as, uint8_t* src_mask, uint8_t* dst_mask,
        uint16_t* ethertype) noexcept nogil

cdef uint64_t ONE = 1
cdef uint64_t WRITTEN = (
    ONE << FLOW_SRC_ADDR | ONE << FLOW_DST_ADDR | ONE << FLOW_NEXT_HOP | ONE << FLOW_IN_IF | ONE << FLOW_OUT_IF
    | ONE << FLOW_PACKETS | ONE << FLOW_BYTES | ONE << FLOW_TIME_START | ONE << FLOW_TIME_END | ONE << FLOW_SRC_PORT
    | ONE << FLOW_DST_PORT | ONE << FLOW_TCP_FLAGS | ONE << FLOW_PROTOCOL | ONE << FLOW_TOS | ONE << FLOW_SRC_AS
    | ONE << FLOW_DST_AS | ONE << FLOW_SRC_MASK | ONE << FLOW_DST_MASK | ONE << FLOW_ETHERTYPE
)


cdef uint64_t read_v5_records(
    Column* columns, int64_t row, const uint8_t* p, int64_t count, int64_t export_ns, uint32_t uptime_ms,
) noexcept nogil:
    v5_addresses(
        p, count, <uint64_t*> columns[FLOW_SRC_ADDR].values + 2 * row, <uint64_t*> columns[FLOW_DST_ADDR].values + 2 * row,
        <uint64_t*> columns[FLOW_NEXT_HOP].values + 2 * row,
    )
    v5_volumes(
        p, count, <uint32_t*> columns[FLOW_IN_IF].values + row, <uint32_t*> columns[FLOW_OUT_IF].values + row,
        <uint64_t*> columns[FLOW_PACKETS].values + row, <uint64_t*> columns[FLOW_BYTES].values + row,
    )
    v5_times(
        p, count, export_ns, uptime_ms, <int64_t*> columns[FLOW_TIME_START].values + row,
        <int64_t*> columns[FLOW_TIME_END].values + row,
    )
    v5_transport(
        p, count, <uint16_t*> columns[FLOW_SRC_PORT].values + row, <uint16_t*> columns[FLOW_DST_PORT].values + row,
        <uint16_t*> columns[FLOW_TCP_FLAGS].values + row, columns[FLOW_PROTOCOL].values + row, columns[FLOW_TOS].values + row,
    )
    v5_routing(
        p, count, <uint32_t*> columns[FLOW_SRC_AS].values + row, <uint32_t*> columns[FLOW_DST_AS].values + row,
        columns[FLOW_SRC_MASK].values + row, columns[FLOW_DST_MASK].values + row,
        <uint16_t*> columns[FLOW_ETHERTYPE].values + row,
    )
    return WRITTEN
