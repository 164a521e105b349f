# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Flow samples and discarded packets of sFlow into one row of flows each, and what windows count of them.

The second storey of the sFlow decoder. Structures are those of sFlow version 5 [5.3] and sflow_drops.txt; records without
a column of ours are skipped by their length, those of unknown type counted.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Column
from framecodec.headers cimport MPLS_LABELS_MAX, is_read_protocol, read_packet
from framecodec.rack cimport (
    BAD_LENGTH, CODEC_SFLOW, ENTITY_INTERFACE, METRIC_DISCARDED_PACKETS, METRIC_FLOW_IN_BYTES, METRIC_FLOW_IN_PACKETS,
    METRIC_FLOW_OUT_BYTES, METRIC_FLOW_OUT_PACKETS, UNIT_BYTES, UNIT_PACKETS, be32, is_set, put8, put16, put32, put64,
    put_ipv4, put_ipv6, put_mac,
)
from framecodec.rack_text cimport put_detail
from framecodec.records cimport (
    FLOW_BGP_NEXT_HOP, FLOW_BYTES, FLOW_CODEC, FLOW_DISCARD_REASON, FLOW_DST_ADDR, FLOW_DST_AS, FLOW_DST_MAC, FLOW_DST_MASK,
    FLOW_DST_PORT, FLOW_DST_VLAN, FLOW_DOMAIN, FLOW_ETHERTYPE, FLOW_EXPORTER, FLOW_IN_IF, FLOW_MPLS_LABELS, FLOW_NEXT_AS,
    FLOW_NEXT_HOP, FLOW_OUT_IF, FLOW_PACKETS, FLOW_PROTOCOL, FLOW_RECEIVED, FLOW_SAMPLING_RATE, FLOW_SEQUENCE,
    FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MAC, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_SRC_VLAN, FLOW_TCP_FLAGS, FLOW_TOS,
    FLOW_VLAN_ID, QUALITY_SAMPLING_UNKNOWN,
)
from framecodec.sflow_samples cimport (
    DISCARDED_PACKET, FLOW_SAMPLE, FLOW_SAMPLE_EXPANDED, Records, Sample, SflowSamples, close_records, follow_source,
    next_record, open_records,
)

__all__ = ["SflowFlows"]

cdef enum:
    # ifIndex 0x3FFFFFFF: sent or consumed by the agent itself, no interface [5, "interface"].
    INTERNAL_INTERFACE = 0x3FFFFFFF


cdef class SflowFlows(SflowSamples):
    """Base of the sFlow decoder: flows."""

    cdef int read_flow(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil:
        cdef Sample sample
        cdef Records records
        cdef char detail[96]
        cdef uint64_t present
        cdef uint32_t length
        cdef Column* columns
        cdef int64_t row = self.flows.length
        if not open_flow(self.start, tag, at, end, reach, &sample):
            return self.reject(BAD_LENGTH, at - 8, end - at + 8, b"sample is shorter than its header")
        if follow_source(
            self, &sample, DISCARDED_PACKET if tag == DISCARDED_PACKET else FLOW_SAMPLE,
        ) < 0 or self.rows_left <= 0:
            return -1
        if row == self.flows.capacity and self.flows.reserve(1) < 0:
            self.out_of_memory = True
            return -1
        columns = self.flows.columns
        present = self.mask | put32(columns, FLOW_SAMPLING_RATE, row, sample.rate) if sample.rate else self.mask
        if sample.in_form == 0:
            present |= put32(columns, FLOW_IN_IF, row, sample.in_value)
        if sample.out_form == 0:
            present |= put32(columns, FLOW_OUT_IF, row, sample.out_value)
        elif sample.out_form == 1 and sample.out_value < 0x10000:
            # Format 1 is "packet discarded", the value says why [5, "interface"].
            present |= put16(columns, FLOW_DISCARD_REASON, row, <uint16_t> sample.out_value)
        if tag == DISCARDED_PACKET and sample.reason < 0x10000:
            present |= put16(columns, FLOW_DISCARD_REASON, row, <uint16_t> sample.reason)
        open_records(&sample, &records)
        while next_record(self.start, &sample, &records):
            if not read_flow_record(self, &sample, row, &present, records.tag, self.start + records.body, records.size):
                put_detail(
                    detail, sizeof(detail), b"record of type %llu: %llu octets do not hold what it says",
                    records.tag, records.size,
                )
                if self.reject(BAD_LENGTH, records.body - 8, 0, detail) < 0:
                    return -1
        length = sample.ip_bytes if sample.ip_bytes else sample.frame_bytes
        if length:
            present |= put64(columns, FLOW_BYTES, row, length)
        self.flows.masks[row] = present
        columns[FLOW_MPLS_LABELS].ends[row + 1] = <int32_t> (columns[FLOW_MPLS_LABELS].data_used >> 2)
        self.flows.length = row + 1
        self.rows_left -= 1
        if self.derive and self.contribute_flow(&sample, tag == DISCARDED_PACKET) < 0:
            return -1
        return close_records(self, &sample, &records)

    cdef void complete_rows(self, int64_t row) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef int32_t* exporters = <int32_t*> columns[FLOW_EXPORTER].values
        cdef uint32_t* domains = <uint32_t*> columns[FLOW_DOMAIN].values
        cdef int32_t* codecs = <int32_t*> columns[FLOW_CODEC].values
        cdef uint32_t* sequences = <uint32_t*> columns[FLOW_SEQUENCE].values
        cdef int64_t* received = <int64_t*> columns[FLOW_RECEIVED].values
        cdef uint64_t* packets = <uint64_t*> columns[FLOW_PACKETS].values
        cdef int64_t index
        for index in range(row, self.flows.length):
            exporters[index], domains[index], codecs[index] = self.exporter, self.sub_agent, CODEC_SFLOW
            sequences[index], received[index], packets[index] = self.sequence, self.received_ns, 1

    cdef int contribute_flow(self, const Sample* sample, bint is_discard) noexcept nogil:
        cdef double scale = sample.rate if sample.rate else 1
        cdef uint16_t quality = 0 if sample.rate else QUALITY_SAMPLING_UNKNOWN
        cdef double size = scale * (sample.ip_bytes if sample.ip_bytes else sample.frame_bytes)
        cdef int32_t entity
        if is_discard:
            # Counts where it came in; where that is unknown, as in drops on the way out, where it would have left.
            if is_interface(sample.in_form, sample.in_value):
                entity = self.entity(ENTITY_INTERFACE, sample.in_value, 0)
            elif is_interface(sample.out_form, sample.out_value):
                entity = self.entity(ENTITY_INTERFACE, sample.out_value, 0)
            else:
                return 0
            if entity < 0:
                return -1
            return self.contribute(entity, METRIC_DISCARDED_PACKETS, 1, UNIT_PACKETS, 0)
        if is_interface(sample.in_form, sample.in_value):
            entity = self.entity(ENTITY_INTERFACE, sample.in_value, 0)
            if entity < 0:
                return -1
            if size > 0 and self.contribute(entity, METRIC_FLOW_IN_BYTES, size, UNIT_BYTES, quality) < 0:
                return -1
            if self.contribute(entity, METRIC_FLOW_IN_PACKETS, scale, UNIT_PACKETS, quality) < 0:
                return -1
        if is_interface(sample.out_form, sample.out_value):
            entity = self.entity(ENTITY_INTERFACE, sample.out_value, 0)
            if entity < 0:
                return -1
            if size > 0 and self.contribute(entity, METRIC_FLOW_OUT_BYTES, size, UNIT_BYTES, quality) < 0:
                return -1
            return self.contribute(entity, METRIC_FLOW_OUT_PACKETS, scale, UNIT_PACKETS, quality)
        return 0


# Whether a sample names one interface: 0 is an unknown one.
cdef inline bint is_interface(uint32_t form, uint32_t value) noexcept nogil:
    return form == 0 and value != 0 and value != INTERNAL_INTERFACE


# What a flow sample or a discarded packet says before its records; False where it is too short for that [5].
cdef inline bint open_flow(
    const uint8_t* datagram, uint32_t tag, int64_t at, int64_t end, int64_t reach, Sample* sample,
) noexcept nogil:
    cdef const uint8_t* p = datagram + at
    if end - at < (44 if tag == FLOW_SAMPLE_EXPANDED else 32):
        return False
    sample.sequence, sample.reason, sample.frame_bytes, sample.ip_bytes = be32(p), 0, 0, 0
    sample.at, sample.end, sample.reach, sample.records = at + 32, end, reach, be32(p + 28)
    if tag == FLOW_SAMPLE:
        sample.source_class, sample.source_index = p[4], be32(p + 4) & 0xFFFFFF
        sample.rate, sample.drops = be32(p + 8), be32(p + 16)
        split_interface(be32(p + 20), &sample.in_form, &sample.in_value)
        split_interface(be32(p + 24), &sample.out_form, &sample.out_value)
        return True
    sample.source_class, sample.source_index = be32(p + 4), be32(p + 8)
    if tag == DISCARDED_PACKET:
        sample.rate, sample.drops = 0, be32(p + 12)
        split_interface(be32(p + 16), &sample.in_form, &sample.in_value)
        split_interface(be32(p + 20), &sample.out_form, &sample.out_value)
        sample.reason = be32(p + 24)
    else:
        sample.rate, sample.drops = be32(p + 12), be32(p + 20)
        sample.in_form, sample.in_value = be32(p + 24), be32(p + 28)
        sample.out_form, sample.out_value = be32(p + 32), be32(p + 36)
        sample.at, sample.records = at + 44, be32(p + 40)
    return True


# Compact interface: the two top bits are the format [5].
cdef inline void split_interface(uint32_t word, uint32_t* form, uint32_t* value) noexcept nogil:
    form[0] = word >> 30
    value[0] = word & 0x3FFFFFFF


# False where the record ends before its fields do, or a count in it lies; those below are like it.
cdef inline bint read_flow_record(
    SflowFlows self, Sample* sample, int64_t row, uint64_t* present, uint32_t tag, const uint8_t* p, int64_t size,
) noexcept nogil:
    cdef Column* columns = self.flows.columns
    cdef uint32_t header_bytes
    cdef int64_t at
    if tag == 1:
        # sampled_header: protocol, frame length, stripped octets, header length, header.
        if size < 16:
            return False
        header_bytes = be32(p + 12)
        if header_bytes > size - 16:
            header_bytes = <uint32_t> (size - 16)
        if not is_read_protocol(be32(p)):
            self.unknown_records += 1
        present[0] = read_packet(self.flows, row, present[0], be32(p), p + 16, header_bytes, &sample.ip_bytes)
        sample.frame_bytes = be32(p + 4)
        return be32(p + 12) == header_bytes
    elif tag == 1001:
        # extended_switch: VLAN and priority in, VLAN and priority out; -1 is unknown.
        if size < 16:
            return False
        if be32(p) < 0x10000:
            present[0] |= put16(columns, FLOW_SRC_VLAN, row, <uint16_t> be32(p))
        if be32(p + 8) < 0x10000:
            present[0] |= put16(columns, FLOW_DST_VLAN, row, <uint16_t> be32(p + 8))
    elif tag == 1002:
        # extended_router: next hop, mask bits of source and destination.
        at = read_address(columns, row, present, FLOW_NEXT_HOP, p, size)
        if at < 0 or size - at < 8:
            return False
        if be32(p + at) <= 128:
            present[0] |= put8(columns, FLOW_SRC_MASK, row, <uint8_t> be32(p + at))
        if be32(p + at + 4) <= 128:
            present[0] |= put8(columns, FLOW_DST_MASK, row, <uint8_t> be32(p + at + 4))
    elif tag == 1003:
        return read_gateway(columns, row, present, p, size)
    elif tag == 2:
        # sampled_ethernet: length, source and destination in 8 octets each, type.
        if size < 24:
            return False
        if sample.frame_bytes == 0:
            sample.frame_bytes = be32(p)
        present[0] |= put_mac(columns, FLOW_SRC_MAC, row, p + 4) | put_mac(columns, FLOW_DST_MAC, row, p + 12)
        if be32(p + 20) < 0x10000:
            present[0] |= put16(columns, FLOW_ETHERTYPE, row, <uint16_t> be32(p + 20))
    elif tag == 3 or tag == 4:
        # sampled_ipv4, sampled_ipv6: length, protocol, addresses, ports, TCP flags, type of service or priority.
        if size < (32 if tag == 3 else 56):
            return False
        sample.ip_bytes = be32(p)
        present[0] |= put8(columns, FLOW_PROTOCOL, row, <uint8_t> be32(p + 4))
        if tag == 3:
            present[0] |= put_ipv4(columns, FLOW_SRC_ADDR, row, p + 8) | put_ipv4(columns, FLOW_DST_ADDR, row, p + 12)
            at = 16
        else:
            present[0] |= put_ipv6(columns, FLOW_SRC_ADDR, row, p + 8) | put_ipv6(columns, FLOW_DST_ADDR, row, p + 24)
            at = 40
        present[0] |= put16(columns, FLOW_SRC_PORT, row, <uint16_t> be32(p + at))
        present[0] |= put16(columns, FLOW_DST_PORT, row, <uint16_t> be32(p + at + 4))
        present[0] |= put16(columns, FLOW_TCP_FLAGS, row, <uint16_t> be32(p + at + 8))
        present[0] |= put8(columns, FLOW_TOS, row, <uint8_t> be32(p + at + 12))
        if not is_set(present[0], FLOW_ETHERTYPE):
            present[0] |= put16(columns, FLOW_ETHERTYPE, row, 0x0800 if tag == 3 else 0x86DD)
    elif tag == 1006:
        return read_mpls_record(self, row, present, p, size)
    elif tag == 1012:
        # extended_vlantunnel: the tags that were taken off, outermost first.
        if size < 4 or (be32(p) and size < 8):
            return False
        if be32(p) and not is_set(present[0], FLOW_VLAN_ID):
            present[0] |= put16(columns, FLOW_VLAN_ID, row, be32(p + 4) & 0x0FFF)
    elif not is_skipped_flow_record(tag):
        self.unknown_records += 1
    return True


# An sFlow address into a column that may be set already; the offset behind it, -1 when it is cut or of unknown type.
cdef inline int64_t read_address(
    Column* columns, int64_t row, uint64_t* present, int column, const uint8_t* p, int64_t size,
) noexcept nogil:
    cdef uint32_t kind = be32(p) if size >= 4 else 9
    if kind == 0:
        return 4
    if kind == 1 and size >= 8:
        present[0] |= put_ipv4(columns, column, row, p + 4)
        return 8
    if kind == 2 and size >= 20:
        present[0] |= put_ipv6(columns, column, row, p + 4)
        return 20
    return -1


# extended_gateway: next hop, own AS, source AS, source peer AS, AS path in segments, communities, local preference.
cdef inline bint read_gateway(
    Column* columns, int64_t row, uint64_t* present, const uint8_t* p, int64_t size,
) noexcept nogil:
    cdef int64_t at = read_address(columns, row, present, FLOW_BGP_NEXT_HOP, p, size)
    cdef uint32_t segments, length, last = 0, first = 0
    cdef bint has_path = False
    if at < 0 or size - at < 16:
        return False
    present[0] |= put32(columns, FLOW_SRC_AS, row, be32(p + at + 4))
    segments = be32(p + at + 12)
    at += 16
    for _ in range(segments):
        if size - at < 8:
            return False
        length = be32(p + at + 4)
        at += 8
        if length > (size - at) // 4:
            return False
        if length:
            if not has_path:
                first = be32(p + at)
            has_path = True
            last = be32(p + at + 4 * (<int64_t> length - 1))
        at += 4 * <int64_t> length
    if has_path:
        # The path runs from the next AS to the one that announces the destination.
        present[0] |= put32(columns, FLOW_NEXT_AS, row, first) | put32(columns, FLOW_DST_AS, row, last)
    return True


# extended_mpls: next hop, label stack in, label stack out; entries are whole label stack entries (RFC 3032).
cdef inline bint read_mpls_record(
    SflowFlows self, int64_t row, uint64_t* present, const uint8_t* p, int64_t size,
) noexcept nogil:
    cdef int64_t at
    cdef uint32_t count, index
    cdef uint32_t labels[MPLS_LABELS_MAX]
    at = read_address(self.flows.columns, row, present, FLOW_NEXT_HOP, p, size)
    if at < 0 or size - at < 4:
        return False
    count = be32(p + at)
    at += 4
    if count > (size - at) // 4:
        return False
    if is_set(present[0], FLOW_MPLS_LABELS):
        return True
    if count > MPLS_LABELS_MAX:
        count = MPLS_LABELS_MAX
    for index in range(count):
        labels[index] = be32(p + at + 4 * index) >> 12
    if count and self.flows.put_list(FLOW_MPLS_LABELS, labels, count) == 0:
        present[0] |= <uint64_t> 1 << FLOW_MPLS_LABELS
    return True


# Known records without a column of ours: users, URLs, NAT, MPLS details, 802.11, tunnels, queues, access lists, functions,
# transit delays, sockets, applications.
cdef inline bint is_skipped_flow_record(uint32_t tag) noexcept nogil:
    return 1004 <= tag <= 1011 or 1013 <= tag <= 1043 or 2000 <= tag <= 2003 or 2100 <= tag <= 2103 or 2200 <= tag <= 2210
