# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Records of NetFlow version 5: 48 octets, always the same layout.

Source: Cisco, "NetFlow Export Datagram Format", table B-4 (from memory).
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t

from framecodec.columns cimport Column
from framecodec.netflow_fields cimport read_ipv4_addresses, read_numbers, read_uptimes
from framecodec.records cimport (
    FLOW_BYTES, FLOW_DST_ADDR, FLOW_DST_AS, FLOW_DST_MASK, FLOW_DST_PORT, FLOW_IN_IF, FLOW_NEXT_HOP, FLOW_OUT_IF, FLOW_PACKETS,
    FLOW_PROTOCOL, FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_TCP_FLAGS, FLOW_TIME_END, FLOW_TIME_START,
    FLOW_TOS,
)

__all__: list[str] = []


cdef void read_v5_records(
    Column* columns, int64_t row, const uint8_t* p, int64_t count, int64_t export_ns, uint32_t uptime_ms,
) noexcept nogil:
    read_ipv4_addresses(&columns[FLOW_SRC_ADDR], row, p, V5_RECORD_BYTES, count)
    read_ipv4_addresses(&columns[FLOW_DST_ADDR], row, p + 4, V5_RECORD_BYTES, count)
    read_ipv4_addresses(&columns[FLOW_NEXT_HOP], row, p + 8, V5_RECORD_BYTES, count)
    read_numbers(&columns[FLOW_IN_IF], row, 4, p + 12, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_OUT_IF], row, 4, p + 14, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_PACKETS], row, 8, p + 16, V5_RECORD_BYTES, 4, count)
    read_numbers(&columns[FLOW_BYTES], row, 8, p + 20, V5_RECORD_BYTES, 4, count)
    read_uptimes(&columns[FLOW_TIME_START], row, p + 24, V5_RECORD_BYTES, count, export_ns, uptime_ms)
    read_uptimes(&columns[FLOW_TIME_END], row, p + 28, V5_RECORD_BYTES, count, export_ns, uptime_ms)
    read_numbers(&columns[FLOW_SRC_PORT], row, 2, p + 32, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_DST_PORT], row, 2, p + 34, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_TCP_FLAGS], row, 2, p + 37, V5_RECORD_BYTES, 1, count)
    read_numbers(&columns[FLOW_PROTOCOL], row, 1, p + 38, V5_RECORD_BYTES, 1, count)
    read_numbers(&columns[FLOW_TOS], row, 1, p + 39, V5_RECORD_BYTES, 1, count)
    read_numbers(&columns[FLOW_SRC_AS], row, 4, p + 40, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_DST_AS], row, 4, p + 42, V5_RECORD_BYTES, 2, count)
    read_numbers(&columns[FLOW_SRC_MASK], row, 1, p + 44, V5_RECORD_BYTES, 1, count)
    read_numbers(&columns[FLOW_DST_MASK], row, 1, p + 45, V5_RECORD_BYTES, 1, count)
