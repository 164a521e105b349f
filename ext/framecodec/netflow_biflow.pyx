# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Biflows (RFC 5103): one record that tells of both directions becomes two rows, each seen from its own sender."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from framecodec.columns cimport Column, Rows
from framecodec.rack cimport is_set
from framecodec.records cimport (
    FLOW_BGP_NEXT_HOP, FLOW_BYTES, FLOW_DIRECTION, FLOW_DROPPED, FLOW_DST_ADDR, FLOW_DST_AS, FLOW_DST_MAC, FLOW_DST_MASK,
    FLOW_DST_PORT, FLOW_DST_VLAN, FLOW_FLOW_LABEL, FLOW_FRAGMENT_ID, FLOW_FRAGMENT_OFFSET, FLOW_ICMP_CODE, FLOW_ICMP_TYPE,
    FLOW_IN_IF, FLOW_IN_VRF, FLOW_MPLS_LABELS, FLOW_NEXT_AS, FLOW_NEXT_HOP, FLOW_OUT_IF, FLOW_OUT_VRF, FLOW_PACKETS,
    FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MAC, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_SRC_VLAN, FLOW_TCP_FLAGS, FLOW_TOS, FLOW_TTL,
)

__all__: list[str] = []


cdef bint is_reverse_seen(Rows flows, int64_t row) noexcept nogil:
    cdef Column* columns = flows.columns
    cdef uint64_t present = flows.masks[row]
    return (
        (is_set(present, FLOW_PACKETS) and (<uint64_t*> columns[FLOW_PACKETS].values)[row] != 0)
        or (is_set(present, FLOW_BYTES) and (<uint64_t*> columns[FLOW_BYTES].values)[row] != 0)
        or not (is_set(present, FLOW_PACKETS) or is_set(present, FLOW_BYTES))
    )


cdef void copy_reversed(Rows flows, int64_t row) noexcept nogil:
    cdef int index
    for index in range(flows.column_count):
        if not is_of_direction(index) and index != FLOW_MPLS_LABELS:
            copy_cell(flows, index, row, index, row + 1)
    swap(flows, FLOW_SRC_ADDR, FLOW_DST_ADDR, row)
    swap(flows, FLOW_SRC_PORT, FLOW_DST_PORT, row)
    swap(flows, FLOW_SRC_MAC, FLOW_DST_MAC, row)
    swap(flows, FLOW_SRC_VLAN, FLOW_DST_VLAN, row)
    swap(flows, FLOW_SRC_AS, FLOW_DST_AS, row)
    swap(flows, FLOW_SRC_MASK, FLOW_DST_MASK, row)
    swap(flows, FLOW_IN_IF, FLOW_OUT_IF, row)
    swap(flows, FLOW_IN_VRF, FLOW_OUT_VRF, row)


# Columns that tell of one direction only.
cdef inline bint is_of_direction(int column) noexcept nogil:
    return (
        column == FLOW_BYTES or column == FLOW_PACKETS or column == FLOW_DROPPED or column == FLOW_TCP_FLAGS
        or column == FLOW_TOS or column == FLOW_TTL or column == FLOW_NEXT_HOP or column == FLOW_BGP_NEXT_HOP
        or column == FLOW_NEXT_AS or column == FLOW_FLOW_LABEL or column == FLOW_FRAGMENT_ID
        or column == FLOW_FRAGMENT_OFFSET or column == FLOW_DIRECTION or column == FLOW_ICMP_TYPE or column == FLOW_ICMP_CODE
    )


cdef inline void copy_cell(Rows rows, int source, int64_t source_row, int target, int64_t target_row) noexcept nogil:
    cdef Column* from_column = &rows.columns[source]
    cdef Column* to_column = &rows.columns[target]
    memcpy(
        to_column.values + target_row * to_column.item_bytes, from_column.values + source_row * from_column.item_bytes,
        to_column.item_bytes,
    )
    rows.masks[target_row] &= ~(<uint64_t> 1 << target)
    rows.masks[target_row] |= (rows.masks[source_row] >> source & 1) << target


cdef inline void swap(Rows rows, int one, int other, int64_t row) noexcept nogil:
    copy_cell(rows, one, row, other, row + 1)
    copy_cell(rows, other, row, one, row + 1)
