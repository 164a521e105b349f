# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Data records of NetFlow v9 and IPFIX into rows of flows, by the operations of their template.

The second storey of the NetFlow decoder: records of fixed length column by column, others one by one. Sampling rates are
looked up here; netflow_options.pyx writes them.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from framecodec.columns cimport Column
from framecodec.elements cimport (
    OP_ADDRESS, OP_DELTA, OP_EITHER, OP_FRAME, OP_ICMP, OP_MAC, OP_MICROS, OP_MPLS, OP_NAMED, OP_NANOS, OP_NUMBER, OP_PACKET,
    OP_RATE, OP_SAMPLER, OP_SECONDS, OP_SPACE, OP_SYSTEM_INIT, OP_UNKNOWN, OP_UPTIME, Op, Template, VARIABLE,
)
from framecodec.headers cimport HEADER_ETHERNET, HEADER_IPV4, HEADER_IPV6, read_packet
from framecodec.netflow_biflow cimport copy_reversed, is_reverse_seen
from framecodec.netflow_fields cimport (
    add_mask, number_of, ratio, read_addresses, read_ipv4_addresses, read_numbers, read_uptimes, time_of, uptime_time,
)
from framecodec.netflow_named cimport sample_named
from framecodec.netflow_rows cimport NetflowRows
from framecodec.rack cimport (
    CODEC_IPFIX, CODEC_NETFLOW9, ENTITY_DOMAIN, ENTITY_INTERFACE, be16, be32, be64, is_set, put8, put16, put32, put64,
)
from framecodec.records cimport (
    FLOW_BYTES, FLOW_DIRECTION, FLOW_DST_ADDR, FLOW_ETHERTYPE, FLOW_ICMP_CODE, FLOW_ICMP_TYPE, FLOW_IN_IF, FLOW_MPLS_LABELS,
    FLOW_OUT_IF, FLOW_PACKETS, FLOW_SAMPLING_RATE, FLOW_SRC_ADDR,
)
from framecodec.state_table cimport Slot, Table, seek
from framecodec.templates cimport Domain

__all__ = ["NetflowRecords"]

cdef enum:
    LABELS_MAX = 10                      # elements 70 to 79


cdef class NetflowRecords(NetflowRows):
    """Base of the NetFlow decoder: data records. `domains` is set by who knows the elements."""

    def __cinit__(self, **others):
        self.rates = Table()

    cdef int64_t locate(self, const Template* template, const uint8_t* p, int64_t size) noexcept nogil:
        cdef int64_t at = 0
        cdef int64_t length
        cdef uint32_t index
        for index in range(template.field_count):
            length = template.fields[index].length
            if length == VARIABLE:
                # [RFC 7011 7] One octet, or 255 and two more.
                if size - at < 1:
                    return -1
                length = p[at]
                at += 1
                if length == 255:
                    if size - at < 2:
                        return -1
                    length = be16(p + at)
                    at += 2
            if length > size - at:
                return -1
            self.at[index] = p + at
            self.length[index] = <uint16_t> length
            at += length
        return at

    cdef int read_records(self, Domain* domain, Template* template, const uint8_t* p, int64_t count) noexcept nogil:
        cdef int index
        cdef int64_t record
        cdef uint64_t present = 0
        cdef int64_t row = self.open_rows(count, CODEC_NETFLOW9 if self.message.version == 9 else CODEC_IPFIX)
        if row < 0:
            return -1
        self.system_init_ms = domain.system_init_ms
        for index in range(template.op_count):
            present |= self.apply(
                domain, &template.ops[index], p + template.ops[index].offset, template.min_bytes, template.ops[index].length,
                row, count, present,
            )
        add_mask(self.flows.masks + row, present, count)
        self.complete_rows(domain, template, row, count)
        if template.has_mpls:
            for record in range(count):
                self.read_labels(template, p + record * template.min_bytes)
                self.close_rows(1)
        else:
            self.close_rows(count)
        return self.contribute_rows(row, count)

    cdef int read_record(self, Domain* domain, Template* template) noexcept nogil:
        cdef int index
        cdef int32_t codec = CODEC_NETFLOW9 if self.message.version == 9 else CODEC_IPFIX
        cdef int64_t row = self.open_rows(1, codec)
        cdef uint64_t present
        cdef const Op* op
        if row < 0:
            return -1
        self.system_init_ms = domain.system_init_ms
        for index in range(template.op_count):
            op = &template.ops[index]
            if self.length[op.field] == 0:
                continue
            present = self.apply(domain, op, self.at[op.field], 0, self.length[op.field], row, 1, 0)
            add_mask(self.flows.masks + row, present, 1)
        self.complete_rows(domain, template, row, 1)
        if template.has_mpls:
            self.read_labels(template, NULL)
        self.close_rows(1)
        if self.contribute_rows(row, 1) < 0 or (template.has_named and self.read_named(template, row) < 0):
            return -1
        if template.reverse_count == 0:
            return 0
        if self.open_rows(1, codec) < 0:
            return -1
        copy_reversed(self.flows, row)
        row += 1
        for index in range(template.reverse_count):
            op = &template.reverse[index]
            if self.length[op.field] == 0:
                continue
            present = self.apply(domain, op, self.at[op.field], 0, self.length[op.field], row, 1, 0)
            add_mask(self.flows.masks + row, present, 1)
        if not is_reverse_seen(self.flows, row):
            return 0                         # and the row is not closed
        self.close_rows(1)
        return self.contribute_rows(row, 1)

    cdef void complete_rows(self, const Domain* domain, const Template* template, int64_t row, int64_t count) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef uint64_t* masks = self.flows.masks
        cdef int64_t index
        cdef uint32_t rate
        cdef uint16_t ethertype
        cdef int side
        cdef const uint8_t* address
        if not template.has_ethertype and not template.is_row_wise and template.has_ipv4 != template.has_ipv6:
            add_mask(masks + row, self.fill_ethertype(row, 0x0800 if template.has_ipv4 else 0x86DD, count), count)
        elif not template.has_ethertype and (template.has_ipv4 or template.has_ipv6):
            for index in range(row, row + count):
                if is_set(masks[index], FLOW_ETHERTYPE):
                    continue
                ethertype = 0x0800 if template.has_ipv4 else 0x86DD
                if template.has_ipv4 and template.has_ipv6:
                    address = columns[FLOW_SRC_ADDR].values + 16 * index
                    if not is_set(masks[index], FLOW_SRC_ADDR):
                        if not is_set(masks[index], FLOW_DST_ADDR):
                            continue
                        address = columns[FLOW_DST_ADDR].values + 16 * index
                    ethertype = 0x0800 if be64(address) == 0 and be32(address + 8) == 0xFFFF else 0x86DD
                masks[index] |= put16(columns, FLOW_ETHERTYPE, index, ethertype)
        if domain.has_interface_rates:
            for index in range(row, row + count):
                # [IPFIX element 61] Direction 1: the flow was observed where it went out.
                side = FLOW_IN_IF
                if is_set(masks[index], FLOW_DIRECTION) and columns[FLOW_DIRECTION].values[index] == 1:
                    side = FLOW_OUT_IF
                if is_set(masks[index], FLOW_SAMPLING_RATE) or not is_set(masks[index], side):
                    continue
                rate = self.rate(domain, INTERFACE_RATE, (<uint32_t*> columns[side].values)[index])
                if rate:
                    masks[index] |= put32(columns, FLOW_SAMPLING_RATE, index, rate)
        rate = domain.default_rate if domain.default_rate or template.has_sampler else domain.lone_rate
        if rate:
            for index in range(row, row + count):
                if not is_set(masks[index], FLOW_SAMPLING_RATE):
                    masks[index] |= put32(columns, FLOW_SAMPLING_RATE, index, rate)

    cdef uint32_t rate(self, const Domain* domain, uint64_t kind, uint64_t number) noexcept nogil:
        cdef Slot* slot = seek(self.rates, domain.key[0], domain.key[1], domain.key[2], kind << 56 | number)
        return slot.number if slot != NULL else 0

    cdef uint64_t apply(
        self, const Domain* domain, const Op* op, const uint8_t* p, int64_t stride, uint32_t length, int64_t row, int64_t count,
        uint64_t present,
    ) noexcept nogil:
        cdef Column* column = &self.flows.columns[op.column]
        cdef uint64_t* masks = self.flows.masks + row
        cdef uint64_t bit = <uint64_t> 1 << op.column
        cdef int64_t index
        cdef uint64_t value
        cdef int64_t* times = <int64_t*> column.values + row
        cdef uint32_t kind, ip_bytes = 0
        if op.operation == OP_NUMBER:
            return read_numbers(column, self.flows.masks, bit, row, op.width, p, stride, length, count)
        if op.operation == OP_ADDRESS and op.number and length == 4:
            read_ipv4_addresses(column, row, p, stride, count)
            return bit
        if op.operation == OP_UPTIME and length == 4 and self.message.version == 9:
            read_uptimes(column, row, p, stride, count, self.message.export_ns, self.message.uptime_ms)
            return bit
        add_mask(masks, present, count)      # what follows looks at each cell
        if op.operation == OP_ADDRESS:
            read_addresses(column, self.flows.masks, bit, row, p, stride, length, count)
        elif op.operation == OP_EITHER:
            for index in range(count):
                value = number_of(p, length)
                if value <= 255 and (not masks[index] & bit or (value != 0 and column.values[row + index] == 0)):
                    column.values[row + index] = <uint8_t> value
                    masks[index] |= bit
                p += stride
        elif op.operation == OP_MAC:
            if length == 6:
                for index in range(count):
                    memcpy(column.values + 6 * (row + index), p, 6)
                    p += stride
                return bit
        elif op.operation == OP_UPTIME:
            if self.message.version == 10 and self.system_init_ms < 0:
                return 0                     # IPFIX headers have no uptime; systemInitTimeMilliseconds did not come
            for index in range(count):
                value = number_of(p, length)
                if self.message.version == 10:
                    times[index] = 1_000_000LL * (self.system_init_ms + <int64_t> (value & 0xFFFFFFFFU))
                else:
                    times[index] = uptime_time(self.message.export_ns, self.message.uptime_ms, <uint32_t> value)
                p += stride
            return bit
        elif OP_SECONDS <= op.operation <= OP_DELTA:
            if length != 8 and (op.operation == OP_MICROS or op.operation == OP_NANOS):
                return 0                     # two numbers beside each other, never of reduced size
            for index in range(count):
                if length <= 8 and time_of(op.operation, number_of(p, length), self.message.export_ns, &times[index]):
                    masks[index] |= bit
                p += stride
        elif op.operation == OP_ICMP:
            for index in range(count):
                # Where both families have one, that of the other is 0.
                value = number_of(p, length)
                if value or not masks[index] & bit:
                    masks[index] |= put8(self.flows.columns, FLOW_ICMP_TYPE, row + index, <uint8_t> (value >> 8))
                    masks[index] |= put8(self.flows.columns, FLOW_ICMP_CODE, row + index, <uint8_t> value)
                p += stride
        elif op.operation == OP_SYSTEM_INIT:
            if length == 8 and be64(p) < 9_000_000_000_000LL:
                self.system_init_ms = <int64_t> be64(p)
        elif op.operation == OP_FRAME or op.operation == OP_PACKET:
            # One record at a time: labels go to the end of their column.
            kind = HEADER_ETHERNET if op.operation == OP_FRAME else HEADER_IPV6 if length and p[0] >> 4 == 6 else HEADER_IPV4
            masks[0] = read_packet(self.flows, row, masks[0], kind, p, length, &ip_bytes)
            if ip_bytes:
                masks[0] |= put64(self.flows.columns, FLOW_BYTES, row, ip_bytes)
            masks[0] |= put64(self.flows.columns, FLOW_PACKETS, row, 1)
        elif OP_RATE <= op.operation <= OP_SAMPLER:
            self.apply_rate(domain, op, p, stride, length, row, count)
        return 0

    cdef void apply_rate(
        self, const Domain* domain, const Op* op, const uint8_t* p, int64_t stride, uint32_t length, int64_t row, int64_t count,
    ) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef uint64_t* masks = self.flows.masks
        cdef int64_t index
        cdef uint64_t value
        cdef uint32_t rate
        for index in range(row, row + count):
            value = number_of(p, length)
            p += stride
            if op.operation == OP_RATE:
                if 0 < value <= 0xFFFFFFFFU and not is_set(masks[index], FLOW_SAMPLING_RATE):
                    masks[index] |= put32(columns, FLOW_SAMPLING_RATE, index, <uint32_t> value)
            elif op.operation == OP_SPACE:
                if is_set(masks[index], FLOW_SAMPLING_RATE):
                    rate = (<uint32_t*> columns[FLOW_SAMPLING_RATE].values)[index]
                    masks[index] |= put32(columns, FLOW_SAMPLING_RATE, index, ratio(value + rate, rate))
            elif domain.has_samplers and not is_set(masks[index], FLOW_SAMPLING_RATE):
                rate = self.rate(domain, SAMPLER_RATE, value)
                # Number 0 is no number: the only sampler is meant, unless the rate is told in another way.
                if not rate and value == 0 and not domain.default_rate and not domain.has_interface_rates:
                    rate = domain.lone_rate
                if rate:
                    masks[index] |= put32(columns, FLOW_SAMPLING_RATE, index, rate)

    cdef void read_labels(self, const Template* template, const uint8_t* p) noexcept nogil:
        cdef uint32_t labels[LABELS_MAX]
        cdef bint present[LABELS_MAX]
        cdef int index
        cdef int count = 0
        cdef const Op* op
        cdef const uint8_t* q
        cdef uint32_t word
        memset(present, 0, sizeof(present))
        for index in range(template.op_count):
            op = &template.ops[index]
            if op.operation != OP_MPLS or present[op.number] or (self.length[op.field] if p == NULL else op.length) < 3:
                continue
            q = p + op.offset if p != NULL else self.at[op.field]
            labels[op.number] = (<uint32_t> q[0] << 16) | (<uint32_t> q[1] << 8) | q[2]
            present[op.number] = True
        for index in range(LABELS_MAX):
            # Three octets of zero are a place that the exporter did not fill; the last bit ends the stack.
            if not present[index] or labels[index] == 0:
                continue
            word = labels[index]
            labels[count] = word >> 4
            count += 1
            if word & 1:
                break
        if count and not is_set(self.flows.masks[self.flows.length], FLOW_MPLS_LABELS):
            if self.flows.put_list(FLOW_MPLS_LABELS, labels, count) < 0:
                self.out_of_memory = True
            else:
                add_mask(self.flows.masks + self.flows.length, <uint64_t> 1 << FLOW_MPLS_LABELS, 1)

    cdef int read_named(self, const Template* template, int64_t row) noexcept nogil:
        cdef Column* input = &self.flows.columns[FLOW_IN_IF]
        cdef uint32_t interface = (<uint32_t*> input.values)[row] if is_set(self.flows.masks[row], FLOW_IN_IF) else 0
        cdef int32_t entity
        cdef int index
        cdef const Op* op
        if interface:
            entity = self.entity(ENTITY_INTERFACE, interface, 0)
        else:
            entity = self.entity(ENTITY_DOMAIN, self.message.domain, 0)
        if entity < 0:
            return -1
        for index in range(template.op_count):
            op = &template.ops[index]
            if (op.operation == OP_NAMED or op.operation == OP_UNKNOWN) and sample_named(
                self, self.domains.elements, &template.fields[op.field], op, entity, self.at[op.field], self.length[op.field],
            ) < 0:
                return -1
        return 0
