# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""sFlow version 5 datagrams into rows of FLOWS, SAMPLES and REJECTS.

    decoder = SflowDecoder()
    out = decoder.decode(frames)                # a batch of streams.model.FRAMES, one datagram a row
    flows = pyarrow.record_batch(out.flows[0])

One flow row for each flow sample and each discarded packet, one sample row for each counter of a counter sample
(sflow_counters.py has the table), one `sequence_gaps` row where datagrams of an agent and sub-agent are missing. Unknown
records are skipped by their length and counted. sFlow has no wall clock: `time` is when the datagram was received, and
where that is unknown the agent's uptime counted from the epoch, with quality `time_substituted`.

Source: sFlow Version 5, sflow.org/sflow_version_5.txt (2004), sections in brackets; sflow_drops.txt for discarded packets.
All numbers are big-endian 32-bit words (XDR, RFC 4506).
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from framecodec.columns cimport Column
from framecodec.headers cimport MPLS_LABELS_MAX, read_packet
from framecodec.rack cimport (
    BAD_LENGTH, CODEC_SFLOW, COUNTER, ENTITY_ADAPTER, ENTITY_HOST, ENTITY_INTERFACE, ENTITY_LANE, ENTITY_LOGICAL, ENTITY_PHYSICAL,
    ENTITY_QUEUE, ENTITY_VLAN, EntityClass, GAUGE, Kind, METRIC_DATAGRAMS_LOST, METRIC_DISCARDED_PACKETS, METRIC_DROPS,
    METRIC_FLOW_IN_BYTES, METRIC_FLOW_IN_PACKETS, METRIC_FLOW_OUT_BYTES, METRIC_FLOW_OUT_PACKETS, METRIC_SAMPLE_GAPS, METRIC_UP,
    NO_UNIT, ROWS_LIMIT, RackDecoder, STATE, Slot, TEXT, TRAILING_BYTES, TRUNCATED, UNIT_BYTES, UNIT_DATAGRAMS, UNIT_PACKETS,
    UNIT_SAMPLES, UNKNOWN_VERSION, be16, be32, be64, close_flow, follow, is_set, look, open_flow, put16, put32, put64, put8, put_detail, put_ipv4, put_ipv6,
    put_mac, utf8_prefix,
)
from framecodec.records cimport (
    FLOW_BGP_NEXT_HOP, FLOW_BYTES, FLOW_DISCARD_REASON, FLOW_DST_ADDR, FLOW_DST_AS, FLOW_DST_MAC, FLOW_DST_MASK, FLOW_DST_PORT,
    FLOW_DST_VLAN, FLOW_ETHERTYPE, FLOW_IN_IF, FLOW_MPLS_LABELS, FLOW_NEXT_AS, FLOW_NEXT_HOP, FLOW_OUT_IF, FLOW_PACKETS,
    FLOW_PROTOCOL, FLOW_SAMPLING_RATE, FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MAC, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_SRC_VLAN,
    FLOW_TCP_FLAGS, FLOW_TOS, FLOW_VLAN_ID, QUALITY_SAMPLING_UNKNOWN, QUALITY_TIME_SUBSTITUTED,
)
from framecodec.sflow_counters import LANE, RECORDS

__all__ = ["SflowDecoder"]

cdef enum:
    FIELDS_MAX = 40
    RECORDS_MAX = 48
    # ifIndex 0x3FFFFFFF: sent or consumed by the agent itself, no interface [5, "interface"].
    INTERNAL_INTERFACE = 0x3FFFFFFF
    LANE_BYTES = 40
    TEXT_MAX_BYTES = 255

# Sample formats of enterprise 0 [5].
cdef enum SampleFormat:
    FLOW_SAMPLE = 1
    COUNTER_SAMPLE = 2
    FLOW_SAMPLE_EXPANDED = 3
    COUNTER_SAMPLE_EXPANDED = 4
    DISCARDED_PACKET = 5

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

FIELD_TYPES = ("u32", "u64", "f32", "i32", "u8", "percent", "skip32", "mac", "hex8", "uuid", "string")

cdef enum Place:
    PLACE_INTERFACE
    PLACE_SOURCE
    PLACE_VLAN
    PLACE_HOST
    PLACE_QUEUE

PLACES = ("interface", "source", "vlan", "host", "queue")
KIND_NUMBERS = {"gauge": 0, "counter": 1, "state": 2, "text": 3}

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


# What a flow or discard sample says before its records.
cdef struct Sample:
    uint32_t sequence
    uint32_t source_class
    uint32_t source_index
    uint32_t rate
    uint32_t drops
    uint32_t in_form
    uint32_t in_value
    uint32_t out_form
    uint32_t out_value
    uint32_t reason
    uint32_t records
    uint32_t frame_bytes         # from the packet record, 0 when there is none
    uint32_t ip_bytes
    int64_t at                   # where the records begin


@cython.final
cdef class SflowDecoder(RackDecoder):
    """Decodes sFlow version 5; see the module. State: sequence numbers per agent, sub-agent and data source."""

    cdef Record* records
    cdef int record_count
    cdef Field lane[16]
    cdef int lane_fields
    cdef int32_t metric_mac
    cdef int32_t metric_pfc[2][9]
    cdef int32_t unit_frames
    cdef uint32_t sub_agent
    cdef uint32_t sequence
    cdef uint32_t uptime_ms

    def __cinit__(self, *, bint derive=True):
        cdef Record* record
        self.records = <Record*> calloc(RECORDS_MAX, sizeof(Record))
        if self.records == NULL:
            raise MemoryError
        assert len(RECORDS) <= RECORDS_MAX
        for (enterprise, form), (place, fields) in RECORDS.items():
            assert len(fields) <= FIELDS_MAX
            record = &self.records[self.record_count]
            record.tag = <uint32_t> (enterprise << 12 | form)
            record.place = <Place> <int> PLACES.index(place)
            record.count = len(fields)
            for index, field in enumerate(fields):
                record.fields[index] = self.compile(field)
            self.record_count += 1
        self.lane_fields = len(LANE)
        for index, field in enumerate(LANE):
            self.lane[index] = self.compile(field)
        self.metric_mac = self.metrics.add("mac_address")
        self.unit_frames = self.units.add("frames")
        for direction, name in enumerate(("pfc_requests", "pfc_indications")):
            for priority in range(8):
                self.metric_pfc[direction][priority] = self.metrics.add(f"{name}_{priority}")
            self.metric_pfc[direction][8] = self.metrics.add(name)

    def __dealloc__(self):
        free(self.records)

    cdef Field compile(self, field) except *:
        cdef Field compiled
        metric, form, kind, unit = field
        compiled.form = <FieldType> <int> FIELD_TYPES.index(form)
        compiled.kind = <Kind> <int> KIND_NUMBERS[kind]
        compiled.metric = self.metrics.add(metric)
        compiled.unit = NO_UNIT if unit is None else self.units.add(unit)
        return compiled

    cdef int datagram(self) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t size = self.size_bytes
        cdef int64_t at = 4
        cdef int64_t end
        cdef uint8_t agent[16]
        cdef uint32_t kind, count, index, length
        cdef char detail[96]
        cdef int status
        if size < 4:
            self.speak_as_sender()
            return self.reject(TRUNCATED, 0, size, b"no sFlow header")
        if be32(p) != 5:
            self.speak_as_sender()
            put_detail(detail, sizeof(detail), b"sFlow version %llu", be32(p), 0)
            return self.reject(UNKNOWN_VERSION, 0, size, detail)
        # The agent's address: 1 IPv4, 2 IPv6, 0 unknown and then without octets.
        kind = be32(p + 4) if size >= 8 else 0
        memset(agent, 0, 16)
        if size < 8 or (kind == 1 and size < 12) or (kind == 2 and size < 24):
            self.speak_as_sender()
            return self.reject(TRUNCATED, 0, size, b"sFlow header is cut")
        at = 8
        if kind == 1:
            agent[10] = agent[11] = 0xFF
            memcpy(agent + 12, p + 8, 4)
            at = 12
        elif kind == 2:
            memcpy(agent, p + 8, 16)
            at = 24
        elif kind != 0:
            self.speak_as_sender()
            put_detail(detail, sizeof(detail), b"agent address of type %llu", kind, 0)
            return self.reject(BAD_LENGTH, 4, size, detail)
        if kind:
            self.speak_as_address(agent)
        else:
            self.speak_as_sender()
        if self.exporter < 0:
            self.out_of_memory = True
            return -1
        if size - at < 16:
            return self.reject(TRUNCATED, 0, size, b"sFlow header is cut")
        self.sub_agent = be32(p + at)
        self.sequence = be32(p + at + 4)
        self.uptime_ms = be32(p + at + 8)
        count = be32(p + at + 12)
        at += 16
        if not self.has_received:
            self.time_ns = 1_000_000 * <int64_t> self.uptime_ms
            self.time_quality = QUALITY_TIME_SUBSTITUTED
        if self.count_sequence(
            CODEC_SFLOW, self.sub_agent, self.sequence, self.uptime_ms, 1, METRIC_DATAGRAMS_LOST, UNIT_DATAGRAMS,
        ) < 0:
            return -1
        for index in range(count):
            if size - at < 8:
                put_detail(detail, sizeof(detail), b"sample %llu of %llu is missing", index + 1, count)
                return self.reject(TRUNCATED, at, size - at, detail)
            length = be32(p + at + 4)
            if <int64_t> length > size - at - 8:
                put_detail(detail, sizeof(detail), b"sample of %llu bytes, %llu are left", length, <uint64_t> (size - at - 8))
                return self.reject(TRUNCATED, at, size - at, detail)
            end = at + 8 + length
            # Where the last sample's length is too short, its records are what follows: sflowtool reads them so too.
            status = self.read_sample(be32(p + at), at + 8, end, size if index + 1 == count else end)
            if status < 0:
                if self.out_of_memory:
                    return -1
                put_detail(detail, sizeof(detail), b"more rows than a datagram can hold", 0, 0)
                return self.reject(ROWS_LIMIT, at, size - at, detail)
            if status == 1:
                return 0
            at = end
        if at < size:
            put_detail(detail, sizeof(detail), b"%llu bytes after %llu samples", <uint64_t> (size - at), count)
            return self.reject(TRAILING_BYTES, at, size - at, detail)
        return 0

    # One sample in [at, end); records may reach to `reach`. 0, -1 out of memory or rows, 1 when it ran to `reach`.
    cdef int read_sample(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil:
        cdef Sample sample
        cdef const uint8_t* p = self.start
        cdef int64_t header_bytes
        memset(&sample, 0, sizeof(Sample))
        if tag == FLOW_SAMPLE:
            header_bytes = 32
        elif tag == FLOW_SAMPLE_EXPANDED:
            header_bytes = 44
        elif tag == DISCARDED_PACKET:
            header_bytes = 32
        elif tag == COUNTER_SAMPLE:
            header_bytes = 12
        elif tag == COUNTER_SAMPLE_EXPANDED:
            header_bytes = 16
        else:
            self.unknown_samples += 1
            return 0
        if end - at < header_bytes:
            return self.reject(BAD_LENGTH, at - 8, end - at + 8, b"sample is shorter than its header")
        sample.sequence = be32(p + at)
        sample.at = at + header_bytes
        if tag == FLOW_SAMPLE or tag == COUNTER_SAMPLE:
            sample.source_class, sample.source_index = p[at + 4], be32(p + at + 4) & 0xFFFFFF
        else:
            sample.source_class, sample.source_index = be32(p + at + 4), be32(p + at + 8)
        sample.records = be32(p + at + header_bytes - 4)
        if tag == COUNTER_SAMPLE or tag == COUNTER_SAMPLE_EXPANDED:
            return self.read_counters(&sample, end, reach)
        if tag == DISCARDED_PACKET:
            sample.drops = be32(p + at + 12)
            split_interface(be32(p + at + 16), &sample.in_form, &sample.in_value)
            split_interface(be32(p + at + 20), &sample.out_form, &sample.out_value)
            sample.reason = be32(p + at + 24)
        elif tag == FLOW_SAMPLE:
            sample.rate, sample.drops = be32(p + at + 8), be32(p + at + 16)
            split_interface(be32(p + at + 20), &sample.in_form, &sample.in_value)
            split_interface(be32(p + at + 24), &sample.out_form, &sample.out_value)
        else:
            sample.rate, sample.drops = be32(p + at + 12), be32(p + at + 20)
            sample.in_form, sample.in_value = be32(p + at + 24), be32(p + at + 28)
            sample.out_form, sample.out_value = be32(p + at + 32), be32(p + at + 36)
        return self.read_flow(&sample, tag == DISCARDED_PACKET, end, reach)

    cdef EntityClass source_entity_class(self, uint32_t source_class) noexcept nogil:
        if source_class == 0:
            return ENTITY_INTERFACE
        if source_class == 1:
            return ENTITY_VLAN
        if source_class == 2:
            return ENTITY_PHYSICAL
        return ENTITY_LOGICAL

    # Sequence and drops of a data source. `stream` tells its flow, counter and discard samples apart.
    cdef int follow_source(self, const Sample* sample, uint64_t stream) noexcept nogil:
        cdef bint is_new
        cdef int64_t lost
        cdef int32_t entity
        cdef Slot* slot = look(
            self.sequences, self.address_high, self.address_low, (stream << 40) | (<uint64_t> (sample.source_class & 0xFF) << 32)
            | sample.source_index, self.sub_agent, &is_new,
        )
        cdef bint drops_changed
        if slot == NULL:
            self.out_of_memory = True
            return -1
        lost = follow(slot, is_new, sample.sequence, self.uptime_ms, 1)
        drops_changed = stream != COUNTER_SAMPLE and (is_new or slot.extra != sample.drops) and lost != -1
        if drops_changed:
            slot.extra = sample.drops
        if lost <= 0 and not drops_changed:
            return 0
        entity = self.entity(self.source_entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        if lost > 0 and self.sample(entity, METRIC_SAMPLE_GAPS, <double> lost, GAUGE, UNIT_SAMPLES) < 0:
            return -1
        if drops_changed and self.sample(entity, METRIC_DROPS, sample.drops, COUNTER, UNIT_PACKETS) < 0:
            return -1
        return 0

    cdef int read_flow(self, Sample* sample, bint is_discard, int64_t end, int64_t reach) noexcept nogil:
        cdef Column* columns
        cdef const uint8_t* p = self.start
        cdef int64_t row, at = sample.at
        cdef int64_t limit = end
        cdef uint32_t index, length
        cdef char detail[96]
        cdef bint is_short = False
        if self.follow_source(sample, DISCARDED_PACKET if is_discard else FLOW_SAMPLE) < 0:
            return -1
        row = open_flow(self, CODEC_SFLOW, self.sub_agent, self.sequence)
        if row < 0:
            return -1
        columns = self.flows.columns
        if sample.rate:
            put32(columns, FLOW_SAMPLING_RATE, row, sample.rate)
        if sample.in_form == 0:
            put32(columns, FLOW_IN_IF, row, sample.in_value)
        if sample.out_form == 0:
            put32(columns, FLOW_OUT_IF, row, sample.out_value)
        elif sample.out_form == 1 and sample.out_value < 0x10000:
            # Format 1 is "packet discarded", the value says why [5, "interface"].
            put16(columns, FLOW_DISCARD_REASON, row, <uint16_t> sample.out_value)
        if is_discard and sample.reason < 0x10000:
            put16(columns, FLOW_DISCARD_REASON, row, <uint16_t> sample.reason)
        put64(columns, FLOW_PACKETS, row, 1)
        for index in range(sample.records):
            if limit - at < 8:
                put_detail(detail, sizeof(detail), b"record %llu of %llu is missing", index + 1, sample.records)
                is_short = True
                break
            length = be32(p + at + 4)
            if <int64_t> length > limit - at - 8 and <int64_t> length <= reach - at - 8:
                limit = reach
            if <int64_t> length > limit - at - 8:
                put_detail(
                    detail, sizeof(detail), b"record of %llu bytes, %llu are left", length, <uint64_t> (limit - at - 8),
                )
                is_short = True
                break
            self.read_flow_record(sample, row, be32(p + at), p + at + 8, length)
            at += 8 + ((<int64_t> length + 3) & ~<int64_t> 3)
            if at > limit:
                at = limit           # some exporters leave the last record's padding out
        if sample.ip_bytes or sample.frame_bytes:
            put64(columns, FLOW_BYTES, row, sample.ip_bytes if sample.ip_bytes else sample.frame_bytes)
        close_flow(self, row)
        if self.derive and self.contribute_flow(sample, row, is_discard) < 0:
            return -1
        if is_short:
            return self.reject(BAD_LENGTH, at, limit - at, detail)
        if limit != end:
            if self.reject(BAD_LENGTH, sample.at, 0, b"sample is longer than it says") < 0:
                return -1
            return 1 if at == reach else self.reject(TRAILING_BYTES, at, reach - at, b"bytes after the last sample") or 1
        return 0

    # Window-only rows of one flow, for each interface it names.
    cdef int contribute_flow(self, const Sample* sample, int64_t row, bint is_discard) noexcept nogil:
        cdef double scale = sample.rate if sample.rate else 1
        cdef uint16_t quality = 0 if sample.rate or is_discard else QUALITY_SAMPLING_UNKNOWN
        cdef double size = scale * (sample.ip_bytes if sample.ip_bytes else sample.frame_bytes)
        cdef int32_t entity
        if sample.in_form == 0 and sample.in_value != 0 and sample.in_value != INTERNAL_INTERFACE:
            entity = self.entity(ENTITY_INTERFACE, sample.in_value, 0)
            if entity < 0:
                return -1
            if is_discard:
                return self.contribute(entity, METRIC_DISCARDED_PACKETS, 1, UNIT_PACKETS, quality)
            if size > 0 and self.contribute(entity, METRIC_FLOW_IN_BYTES, size, UNIT_BYTES, quality) < 0:
                return -1
            if self.contribute(entity, METRIC_FLOW_IN_PACKETS, scale, UNIT_PACKETS, quality) < 0:
                return -1
        if is_discard:
            return 0
        if sample.out_form == 0 and sample.out_value != 0 and sample.out_value != INTERNAL_INTERFACE:
            entity = self.entity(ENTITY_INTERFACE, sample.out_value, 0)
            if entity < 0:
                return -1
            if size > 0 and self.contribute(entity, METRIC_FLOW_OUT_BYTES, size, UNIT_BYTES, quality) < 0:
                return -1
            return self.contribute(entity, METRIC_FLOW_OUT_PACKETS, scale, UNIT_PACKETS, quality)
        return 0

    cdef void read_flow_record(
        self, Sample* sample, int64_t row, uint32_t tag, const uint8_t* p, int64_t size,
    ) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef uint32_t header_bytes, ip_bytes
        cdef int64_t at
        if tag == 1:
            # sampled_header: protocol, frame length, stripped octets, header length, header.
            if size < 16:
                return
            header_bytes = be32(p + 12)
            if header_bytes > size - 16:
                header_bytes = <uint32_t> (size - 16)
            ip_bytes = read_packet(self.flows, row, be32(p), p + 16, header_bytes)
            sample.frame_bytes = be32(p + 4)
            if ip_bytes:
                sample.ip_bytes = ip_bytes
        elif tag == 2:
            # sampled_ethernet: length, source and destination in 8 octets each, type.
            if size < 24:
                return
            if sample.frame_bytes == 0:
                sample.frame_bytes = be32(p)
            put_mac(columns, FLOW_SRC_MAC, row, p + 4)
            put_mac(columns, FLOW_DST_MAC, row, p + 12)
            if be32(p + 20) < 0x10000:
                put16(columns, FLOW_ETHERTYPE, row, <uint16_t> be32(p + 20))
        elif tag == 3 or tag == 4:
            # sampled_ipv4, sampled_ipv6: length, protocol, addresses, ports, TCP flags, type of service or priority.
            if size < (32 if tag == 3 else 56):
                return
            sample.ip_bytes = be32(p)
            put8(columns, FLOW_PROTOCOL, row, <uint8_t> be32(p + 4))
            if tag == 3:
                put_ipv4(columns, FLOW_SRC_ADDR, row, p + 8)
                put_ipv4(columns, FLOW_DST_ADDR, row, p + 12)
                at = 16
            else:
                put_ipv6(columns, FLOW_SRC_ADDR, row, p + 8)
                put_ipv6(columns, FLOW_DST_ADDR, row, p + 24)
                at = 40
            put16(columns, FLOW_SRC_PORT, row, <uint16_t> be32(p + at))
            put16(columns, FLOW_DST_PORT, row, <uint16_t> be32(p + at + 4))
            put16(columns, FLOW_TCP_FLAGS, row, <uint16_t> be32(p + at + 8))
            put8(columns, FLOW_TOS, row, <uint8_t> be32(p + at + 12))
            if not is_set(columns, FLOW_ETHERTYPE, row):
                put16(columns, FLOW_ETHERTYPE, row, 0x0800 if tag == 3 else 0x86DD)
        elif tag == 1001:
            # extended_switch: VLAN and priority in, VLAN and priority out; -1 is unknown.
            if size < 16:
                return
            if be32(p) < 0x10000:
                put16(columns, FLOW_SRC_VLAN, row, <uint16_t> be32(p))
            if be32(p + 8) < 0x10000:
                put16(columns, FLOW_DST_VLAN, row, <uint16_t> be32(p + 8))
        elif tag == 1002:
            # extended_router: next hop, mask bits of source and destination.
            at = self.read_address(row, FLOW_NEXT_HOP, p, size)
            if at < 0 or size - at < 8:
                return
            if be32(p + at) <= 128:
                put8(columns, FLOW_SRC_MASK, row, <uint8_t> be32(p + at))
            if be32(p + at + 4) <= 128:
                put8(columns, FLOW_DST_MASK, row, <uint8_t> be32(p + at + 4))
        elif tag == 1003:
            self.read_gateway(row, p, size)
        elif tag == 1006:
            self.read_mpls_record(row, p, size)
        elif tag == 1012:
            # extended_vlantunnel: the tags that were taken off, outermost first.
            if size >= 8 and be32(p) and not is_set(columns, FLOW_VLAN_ID, row):
                put16(columns, FLOW_VLAN_ID, row, be32(p + 4) & 0x0FFF)
        elif not is_skipped_flow_record(tag):
            self.unknown_records += 1

    # An sFlow address into a column that may be set already; the offset behind it, -1 when it is cut or of unknown type.
    cdef int64_t read_address(self, int64_t row, int column, const uint8_t* p, int64_t size) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef uint32_t kind = be32(p) if size >= 4 else 9
        if kind == 0:
            return 4
        if kind == 1 and size >= 8:
            put_ipv4(columns, column, row, p + 4)
            return 8
        if kind == 2 and size >= 20:
            put_ipv6(columns, column, row, p + 4)
            return 20
        return -1

    # extended_gateway: next hop, own AS, source AS, source peer AS, AS path in segments, communities, local preference.
    cdef void read_gateway(self, int64_t row, const uint8_t* p, int64_t size) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef int64_t at = self.read_address(row, FLOW_BGP_NEXT_HOP, p, size)
        cdef uint32_t segments, segment, length, last = 0, first = 0
        cdef bint has_path = False
        if at < 0 or size - at < 16:
            return
        put32(columns, FLOW_SRC_AS, row, be32(p + at + 4))
        segments = be32(p + at + 12)
        at += 16
        for segment in range(segments):
            if size - at < 8:
                return
            length = be32(p + at + 4)
            at += 8
            if length > (size - at) // 4:
                return
            if length:
                if not has_path:
                    first = be32(p + at)
                has_path = True
                last = be32(p + at + 4 * (<int64_t> length - 1))
            at += 4 * <int64_t> length
        if has_path:
            # The path runs from the next AS to the one that announces the destination.
            put32(columns, FLOW_NEXT_AS, row, first)
            put32(columns, FLOW_DST_AS, row, last)

    # extended_mpls: next hop, label stack in, label stack out; entries are whole label stack entries (RFC 3032).
    cdef void read_mpls_record(self, int64_t row, const uint8_t* p, int64_t size) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef int64_t at
        cdef uint32_t count, index
        cdef uint32_t labels[MPLS_LABELS_MAX]
        at = self.read_address(row, FLOW_NEXT_HOP, p, size)
        if at < 0 or size - at < 4:
            return
        count = be32(p + at)
        at += 4
        if count > (size - at) // 4 or is_set(columns, FLOW_MPLS_LABELS, row):
            return
        if count > MPLS_LABELS_MAX:
            count = MPLS_LABELS_MAX
        for index in range(count):
            labels[index] = be32(p + at + 4 * index) >> 12
        if count:
            self.flows.put_list(FLOW_MPLS_LABELS, labels, count)

    cdef int read_counters(self, Sample* sample, int64_t end, int64_t reach) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t at = sample.at
        cdef int64_t limit = end
        cdef uint32_t index, length
        cdef char detail[96]
        if self.follow_source(sample, COUNTER_SAMPLE) < 0:
            return -1
        for index in range(sample.records):
            if limit - at < 8:
                put_detail(detail, sizeof(detail), b"record %llu of %llu is missing", index + 1, sample.records)
                return self.reject(BAD_LENGTH, at, limit - at, detail)
            length = be32(p + at + 4)
            if <int64_t> length > limit - at - 8 and <int64_t> length <= reach - at - 8:
                limit = reach
            if <int64_t> length > limit - at - 8:
                put_detail(
                    detail, sizeof(detail), b"record of %llu bytes, %llu are left", length, <uint64_t> (limit - at - 8),
                )
                return self.reject(BAD_LENGTH, at, limit - at, detail)
            if self.read_counter_record(sample, be32(p + at), p + at + 8, length) < 0:
                return -1
            at += 8 + ((<int64_t> length + 3) & ~<int64_t> 3)
            if at > limit:
                at = limit
        if limit != end:
            if self.reject(BAD_LENGTH, sample.at, 0, b"sample is longer than it says") < 0:
                return -1
            return 1 if at == reach else self.reject(TRAILING_BYTES, at, reach - at, b"bytes after the last sample") or 1
        return 0

    cdef int read_counter_record(self, const Sample* sample, uint32_t tag, const uint8_t* p, int64_t size) noexcept nogil:
        cdef const Record* record = NULL
        cdef int index
        cdef int32_t entity
        for index in range(self.record_count):
            if self.records[index].tag == tag:
                record = &self.records[index]
                break
        if record == NULL:
            if tag == 2001:
                return self.read_adapters(p, size)
            if tag == 11:
                return self.read_pfc(sample, p, size)
            if not is_skipped_counter_record(tag):
                self.unknown_records += 1
            return 0
        if size < 4:
            return 0
        if record.place == PLACE_INTERFACE:
            entity = self.entity(ENTITY_INTERFACE, be32(p), 0)
        elif record.place == PLACE_VLAN:
            entity = self.entity(ENTITY_VLAN, be32(p), 0)
        elif record.place == PLACE_HOST:
            entity = self.entity(ENTITY_HOST, 0, 0)
        elif record.place == PLACE_QUEUE:
            entity = self.entity(ENTITY_QUEUE, sample.source_index, be32(p))
        else:
            entity = self.entity(self.source_entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        if self.read_fields(entity, record.fields, record.count, p, size) < 0:
            return -1
        if tag == 1 and size >= 88 and be32(p + 20) != 0xFFFFFFFFU:
            # ifStatus: bit 0 ifAdminStatus, bit 1 ifOperStatus.
            if self.sample(entity, METRIC_UP, (be32(p + 20) >> 1) & 1, STATE, NO_UNIT) < 0:
                return -1
        if tag == 10:
            return self.read_lanes(sample, p, size)
        return 0

    # A row for each field that is there and known.
    cdef int read_fields(
        self, int32_t entity, const Field* fields, int count, const uint8_t* p, int64_t size,
    ) noexcept nogil:
        cdef int index
        cdef int64_t at = 0
        cdef uint32_t word
        cdef uint64_t wide
        cdef double value
        cdef float single
        cdef const Field* field
        for index in range(count):
            field = &fields[index]
            if field.form == U64:
                if size - at < 8:
                    return 0
                wide = be64(p + at)
                at += 8
                if wide == <uint64_t> 0xFFFFFFFFFFFFFFFFULL:
                    continue
                value = <double> wide
            elif field.form == U8:
                if size - at < 1:
                    return 0
                value = p[at]
                at += 1
            elif field.form <= SKIP32:
                if size - at < 4:
                    return 0
                word = be32(p + at)
                at += 4
                if field.form == SKIP32 or word == 0xFFFFFFFFU:
                    continue
                if field.form == U32:
                    value = word
                elif field.form == I32:
                    value = <int32_t> word
                elif field.form == PERCENT:
                    value = word / 100.0
                else:
                    memcpy(&single, &word, 4)
                    value = single
            else:
                at = self.read_text(entity, field, p, size, at)
                if at < 0:
                    return 0 if at == -2 else -1
                continue
            if self.sample(entity, field.metric, value, field.kind, field.unit) < 0:
                return -1
        return 0

    # A field that is text; the offset behind it, -1 out of memory or rows, -2 when the record ends within it.
    cdef int64_t read_text(
        self, int32_t entity, const Field* field, const uint8_t* p, int64_t size, int64_t at,
    ) noexcept nogil:
        cdef char text[64]
        cdef uint32_t length
        cdef int64_t kept
        if field.form == STRING:
            if size - at < 4:
                return -2
            length = be32(p + at)
            at += 4
            if length > size - at:
                return -2
            kept = length if length <= TEXT_MAX_BYTES else TEXT_MAX_BYTES
            if kept and self.text_sample(entity, field.metric, p + at, utf8_prefix(p + at, kept)) < 0:
                return -1
            at += (<int64_t> length + 3) & ~<int64_t> 3
            return at if at <= size else size
        length = 16 if field.form == UUID else 8
        if size - at < length:
            return -2
        if field.form == MAC:
            write_mac(text, p + at)
        elif field.form == HEX8:
            snprintf(text, sizeof(text), b"%016llx", <unsigned long long> be64(p + at))
        else:
            snprintf(
                text, sizeof(text), b"%08x-%04x-%04x-%04x-%04x%08x", be32(p + at), <unsigned int> be16(p + at + 4),
                <unsigned int> be16(p + at + 6), <unsigned int> be16(p + at + 8), <unsigned int> be16(p + at + 10),
                be32(p + at + 12),
            )
        if self.text_sample(entity, field.metric, <const uint8_t*> text, 36 if field.form == UUID else (
            17 if field.form == MAC else 16
        )) < 0:
            return -1
        return at + length

    # The lanes of an optical module, after its four words and their count.
    cdef int read_lanes(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil:
        cdef uint32_t count, index
        cdef int32_t entity
        if size < 20:
            return 0
        count = be32(p + 16)
        if count > (size - 20) // LANE_BYTES:
            count = <uint32_t> ((size - 20) // LANE_BYTES)
        for index in range(count):
            p += LANE_BYTES if index else 20
            entity = self.entity(ENTITY_LANE, sample.source_index, be32(p))
            if entity < 0 or self.read_fields(entity, self.lane, self.lane_fields, p + 4, LANE_BYTES - 4) < 0:
                return -1
        return 0

    # pfc_counters (draft): requests and indications of IEEE8021-PFC-MIB, of the port or for each of 8 priorities, as 32 or
    # 64 bits, the arrays with or without their XDR count. The length tells these apart.
    cdef int read_pfc(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil:
        cdef int width = 8 if size == 16 or size == 128 or size == 136 else 4
        cdef int count = 1 if size == 8 or size == 16 else 8
        cdef int64_t at = 0
        cdef int direction, priority
        cdef uint64_t value
        cdef int32_t entity, metric
        if size != 8 and size != 16 and size != 64 and size != 72 and size != 128 and size != 136:
            self.unknown_records += 1
            return 0
        entity = self.entity(self.source_entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        for direction in range(2):
            if size == 72 or size == 136:
                at += 4
            for priority in range(count):
                value = be64(p + at) if width == 8 else be32(p + at)
                at += width
                if value == (<uint64_t> 0xFFFFFFFFFFFFFFFFULL if width == 8 else <uint64_t> 0xFFFFFFFFU):
                    continue
                metric = self.metric_pfc[direction][priority if count > 1 else 8]
                if self.sample(entity, metric, <double> value, COUNTER, self.unit_frames) < 0:
                    return -1
        return 0

    # host_adapters: for each ifIndex its MAC addresses, 8 octets each.
    cdef int read_adapters(self, const uint8_t* p, int64_t size) noexcept nogil:
        cdef uint32_t count, addresses, adapter, address
        cdef int64_t at = 4
        cdef int32_t entity
        cdef char text[64]
        if size < 4:
            return 0
        count = be32(p)
        for adapter in range(count):
            if size - at < 8:
                return 0
            addresses = be32(p + at + 4)
            entity = self.entity(ENTITY_ADAPTER, be32(p + at), 0)
            if entity < 0:
                return -1
            at += 8
            for address in range(addresses):
                if size - at < 8:
                    return 0
                write_mac(text, p + at)
                if self.text_sample(entity, self.metric_mac, <const uint8_t*> text, 17) < 0:
                    return -1
                at += 8
        return 0


# Compact interface: the two top bits are the format [5].
cdef inline void split_interface(uint32_t word, uint32_t* form, uint32_t* value) noexcept nogil:
    form[0] = word >> 30
    value[0] = word & 0x3FFFFFFF


cdef void write_mac(char* text, const uint8_t* p) noexcept nogil:
    snprintf(
        text, 64, b"%02x:%02x:%02x:%02x:%02x:%02x", <unsigned int> p[0], <unsigned int> p[1], <unsigned int> p[2],
        <unsigned int> p[3], <unsigned int> p[4], <unsigned int> p[5],
    )


# Known records without a column of ours: users, URLs, NAT, MPLS details, 802.11, tunnels, queues, access lists, functions,
# transit delays, sockets, applications.
cdef inline bint is_skipped_flow_record(uint32_t tag) noexcept nogil:
    return 1004 <= tag <= 1011 or 1013 <= tag <= 1043 or 2000 <= tag <= 2003 or 2100 <= tag <= 2103 or 2200 <= tag <= 2210


cdef inline bint is_skipped_counter_record(uint32_t tag) noexcept nogil:
    return tag == 6 or tag == 8 or tag == 9 or tag == 1002 or 2105 <= tag <= 2106 or 2200 <= tag <= 2207 or 3000 <= tag <= 3003
