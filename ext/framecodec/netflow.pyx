# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""NetFlow version 5, NetFlow version 9 and IPFIX datagrams into rows of FLOWS, SAMPLES and REJECTS.

    decoder = NetflowDecoder()
    out = decoder.decode(frames)                # a batch of streams.model.FRAMES, one datagram a row, versions mixed
    out = decoder.finish()                      # no more input: what still waits for its template is rejected

v9 and IPFIX share one engine. A template is compiled once into operations (templates.pyx); a set of records of fixed
length is then decoded column by column, other records one by one. Sets whose template has not come are kept and decoded
when it does, with the times of the datagram that brought them; their neighbours are not delayed. Options records are
never flows: they set sampling rates, name interfaces and VRFs, and tell the exporter's own totals.

Sources, sections in brackets: NetFlow v5 as Cisco's "NetFlow Export Datagram Format" has it (from memory), RFC 3954 (v9),
RFC 7011 (IPFIX), RFC 5103 (biflow), RFC 6313 (lists, skipped by length). Which element fills which column is the table
in netflow_elements.py.
"""
from cpython.bytes cimport PyBytes_AS_STRING
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy, memset

from framecodec.columns cimport Column, Names, Rows
from framecodec.headers cimport HEADER_ETHERNET, HEADER_IPV4, HEADER_IPV6, read_packet
from framecodec.rack cimport (
    BAD_LENGTH, BAD_TEMPLATE, CODEC_IPFIX, CODEC_NETFLOW5, CODEC_NETFLOW9, COUNTER, ENTITY_DOMAIN, ENTITY_INTERFACE, ENTITY_VRF,
    METRIC_DATAGRAMS_LOST, METRIC_FLOWS_LOST, METRIC_FLOW_DROPPED_PACKETS, METRIC_FLOW_IN_BYTES, METRIC_FLOW_IN_PACKETS,
    METRIC_FLOW_OUT_BYTES, METRIC_FLOW_OUT_PACKETS, RECORD_SIZE_0, RESERVED_SET, ROWS_LIMIT, RackDecoder, Slot, TEMPLATE_UNKNOWN,
    TRAILING_BYTES, TRUNCATED, Table, UNIT_BYTES, UNIT_DATAGRAMS, UNIT_FLOWS, UNIT_PACKETS, UNKNOWN_VERSION, be16, be32, be64,
    put8, put16, put32, put64, put_detail, put_ipv4, utf8_prefix, write_ipv4,
)
from framecodec.records cimport (
    FLOW_BGP_NEXT_HOP, FLOW_BYTES, FLOW_CODEC, FLOW_DIRECTION, FLOW_DOMAIN, FLOW_DROPPED, FLOW_DST_ADDR, FLOW_DST_AS,
    FLOW_DST_MAC, FLOW_DST_MASK, FLOW_DST_PORT, FLOW_DST_VLAN, FLOW_ETHERTYPE, FLOW_EXPORTER, FLOW_FLOW_LABEL,
    FLOW_FRAGMENT_ID, FLOW_FRAGMENT_OFFSET, FLOW_ICMP_CODE, FLOW_ICMP_TYPE, FLOW_IN_IF, FLOW_IN_VRF, FLOW_MPLS_LABELS,
    FLOW_NEXT_AS, FLOW_NEXT_HOP, FLOW_OUT_IF, FLOW_OUT_VRF, FLOW_PACKETS, FLOW_PROTOCOL, FLOW_RECEIVED, FLOW_SAMPLING_RATE,
    FLOW_SEQUENCE, FLOW_SRC_ADDR, FLOW_SRC_AS, FLOW_SRC_MAC, FLOW_SRC_MASK, FLOW_SRC_PORT, FLOW_SRC_VLAN, FLOW_TCP_FLAGS,
    FLOW_TIME_END, FLOW_TIME_START, FLOW_TOS, FLOW_TTL, QUALITY_SAMPLING_UNKNOWN, QUALITY_TIME_SUBSTITUTED,
)
from framecodec.templates cimport (
    Domain, Domains, EXPORTER_MAX, FIELDS_MAX, Field, Held, Message, OPTION_COUNTER, OPTION_IF_DESCRIPTION, OPTION_IF_NAME, OPTION_INTERFACE,
    OPTION_INTERVAL, OPTION_POPULATION, OPTION_RATE, OPTION_SAMPLER, OPTION_SIZE, OPTION_SPACE, OPTION_SYSTEM_INIT, OPTION_VRF,
    OPTION_VRF_NAME, OP_ADDRESS, OP_DELTA, OP_EITHER, OP_FRAME, OP_ICMP, OP_MAC, OP_MICROS, OP_MILLISECONDS, OP_MPLS, OP_NANOS,
    OP_NUMBER, OP_PACKET, OP_RATE, OP_SAMPLER, OP_SECONDS, OP_SPACE, OP_SYSTEM_INIT, OP_UPTIME, Op, Template, VARIABLE,
)

from framecodec.netflow_elements import EXPORT_COUNTERS

__all__ = ["NetflowDecoder"]

cdef enum:
    V5_HEADER_BYTES = 24
    V5_RECORD_BYTES = 48
    V9_HEADER_BYTES = 20
    IPFIX_HEADER_BYTES = 16
    FIRST_DATA_SET = 256
    # Exporters send templates again after 10 to 30 minutes at the longest (RFC 3954 9, RFC 7011 8.4 and their defaults).
    HELD_AGE_S = 3600
    # Beyond this the exporter's clock is wrong: samples then take the time of reception.
    CLOCK_LIMIT_S = 3600
    ROWS_MAX = 16384
    NAME_BYTES_MAX = 255
    NTP_EPOCH_S = 2_208_988_800ULL         # 1900-01-01 to 1970-01-01
    SAMPLER_RATE = 1
    INTERFACE_RATE = 2

SNAPSHOT_MAGIC = b"orbflow1"


@cython.final
cdef class NetflowDecoder(RackDecoder):
    """Decodes NetFlow v5, v9 and IPFIX; see the module.

    `udp`: the messages came as datagrams, so template withdrawals are counted and ignored (RFC 7011 8.4); False honours
    them. `enterprise` maps (enterprise number, element) to a numeric column of flows. State: templates, sampling rates,
    held sets, sequence numbers.
    """

    cdef Domains domains
    cdef Table rates                     # (address, version and domain, kind and number) -> 1 in N
    cdef bint udp
    cdef int32_t metric_counters[16]
    cdef int32_t unit_counters[16]
    cdef int32_t metric_if_name
    cdef int32_t metric_if_description
    cdef int32_t metric_vrf_name
    cdef Message message
    cdef uint32_t data_records           # of the message: what IPFIX sequence numbers count
    cdef bint has_unknown_set
    cdef int64_t system_init_ms          # the exporter's start, for uptimes in IPFIX; -1 where nobody told
    cdef Field fields[FIELDS_MAX]        # a template being read
    cdef const uint8_t* at[FIELDS_MAX]   # where the fields of a record of variable length are
    cdef uint16_t length[FIELDS_MAX]

    def __cinit__(self, *, bint derive=True, bint udp=True, enterprise=()):
        self.udp = udp
        self.domains = Domains(enterprise)
        self.rates = Table()
        for index, (metric, unit) in enumerate(EXPORT_COUNTERS.values()):
            self.metric_counters[index] = self.metrics.add(metric)
            self.unit_counters[index] = self.units.add(unit)
        self.metric_if_name = self.metrics.add("if_name")
        self.metric_if_description = self.metrics.add("if_description")
        self.metric_vrf_name = self.metrics.add("vrf_name")

    def counters(self) -> dict[str, int]:
        """Totals that no row shows, and the size of what is held."""
        return RackDecoder.counters(self) | {
            "domains": self.domains.count,
            "template_bytes": self.domains.template_bytes,
            "held_bytes": self.domains.held_bytes,
            "withdrawals": self.domains.withdrawals,
            "forgotten_domains": self.domains.forgotten,
        }

    def snapshot(self) -> bytes:
        """All state that outlives a batch, held sets included."""
        parts = [self.sequences.dump(), self.rates.dump(), self.domains.dump()]
        return b"".join([SNAPSHOT_MAGIC, *(len(part).to_bytes(8, "little") + part for part in parts)])

    def restore(self, data: bytes) -> None:
        """Takes the state of a `snapshot`; ValueError for anything else."""
        if data[:8] != SNAPSHOT_MAGIC:
            raise ValueError("not a snapshot of a NetFlow decoder")
        cdef int64_t at = 8
        cdef int64_t size
        for index in range(3):
            size = int.from_bytes(data[at:at + 8], "little")
            at += 8
            if size > len(data) - at or len(data) < at:
                raise ValueError("not a snapshot: a part is cut short")
            part = <const uint8_t*> PyBytes_AS_STRING(data) + at
            if index == 0:
                self.sequences.load(part, size)
            elif index == 1:
                self.rates.load(part, size)
            elif self.domains.load(part, size) != size:
                raise ValueError("not a snapshot: bytes behind the templates")
            at += size
        if at != len(data):
            raise ValueError("not a snapshot: bytes behind the last part")

    def finish(self):
        """Rejects what still waits for a template, oldest first within each exporter."""
        with nogil:
            self.reject_all_held()
        return self.hand_over()

    cdef int datagram(self) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t at = 0
        cdef int64_t next_at
        cdef uint32_t version
        cdef char detail[96]
        if self.source_changed:
            self.speak_as_sender()
            self.source_changed = False
        if self.exporter < 0:
            self.out_of_memory = True
            return -1
        if self.size_bytes < 2:
            return self.reject(TRUNCATED, 0, self.size_bytes, b"no NetFlow header")
        while self.size_bytes - at >= 2:
            version = be16(p + at)
            if version == 5:
                next_at = self.read_v5(at)
            elif version == 9:
                next_at = self.read_v9(at)
            elif version == 10:
                next_at = self.read_ipfix(at)
            elif at == 0:
                put_detail(detail, sizeof(detail), b"NetFlow version %llu", version, 0)
                return self.reject(UNKNOWN_VERSION, 0, self.size_bytes, detail)
            else:
                break
            if next_at < 0:
                if self.out_of_memory:
                    return -1
                return self.reject(ROWS_LIMIT, at, self.size_bytes - at, b"more rows than a datagram can hold")
            at = next_at
        if at < self.size_bytes:
            return self.reject(TRAILING_BYTES, at, self.size_bytes - at, b"bytes behind the last message")
        return 0

    # Notes what the message's header says; its time becomes that of samples unless it is absurd.
    cdef void open_message(
        self, uint32_t version, uint32_t domain, uint32_t sequence, uint32_t uptime_ms, int64_t export_ns,
    ) noexcept nogil:
        self.message.version, self.message.domain, self.message.sequence = version, domain, sequence
        self.message.uptime_ms, self.message.export_ns = uptime_ms, export_ns
        self.message.received_ns, self.message.has_received = self.received_ns, self.has_received
        self.message.frame_offset = self.frame_offset
        self.data_records = 0
        self.has_unknown_set = False
        self.set_time()

    cdef void set_time(self) noexcept nogil:
        cdef int64_t skew_ns = self.message.export_ns - self.received_ns
        self.time_ns, self.time_quality = self.message.export_ns, 0
        if self.has_received and (skew_ns > CLOCK_LIMIT_S * 1_000_000_000LL or skew_ns < -CLOCK_LIMIT_S * 1_000_000_000LL):
            self.time_ns, self.time_quality = self.received_ns, QUALITY_TIME_SUBSTITUTED

    # The offset behind the message, -1 out of memory or rows.
    cdef int64_t read_v5(self, int64_t at) noexcept nogil:
        cdef const uint8_t* p = self.start + at
        cdef int64_t left = self.size_bytes - at
        cdef uint32_t count, interval
        cdef int64_t first_row
        cdef const uint8_t* q
        cdef char detail[96]
        if left < V5_HEADER_BYTES:
            if self.reject(TRUNCATED, at, left, b"NetFlow v5 header is cut") < 0:
                return -1
            return self.size_bytes
        count = be16(p + 2)
        interval = be16(p + 22) & 0x3FFF
        self.open_message(
            5, be16(p + 20), be32(p + 16), be32(p + 4),
            <int64_t> be32(p + 8) * 1_000_000_000LL + <int64_t> (be32(p + 12) if be32(p + 12) < 1_000_000_000 else 0),
        )
        if self.count_sequence(
            CODEC_NETFLOW5, self.message.domain, self.message.sequence, self.message.uptime_ms, count, METRIC_FLOWS_LOST, UNIT_FLOWS,
        ) < 0:
            return -1
        if <int64_t> count > (left - V5_HEADER_BYTES) // V5_RECORD_BYTES:
            put_detail(
                detail, sizeof(detail), b"%llu records announced, %llu are there", count,
                <uint64_t> ((left - V5_HEADER_BYTES) // V5_RECORD_BYTES),
            )
            count = <uint32_t> ((left - V5_HEADER_BYTES) // V5_RECORD_BYTES)
            if self.reject(
                TRUNCATED, at + V5_HEADER_BYTES + count * V5_RECORD_BYTES, left - V5_HEADER_BYTES - count * V5_RECORD_BYTES, detail,
            ) < 0:
                return -1
            left = 0                         # nothing behind it can be a message
        if count == 0:
            return at + V5_HEADER_BYTES if left else self.size_bytes
        first_row = self.open_rows(count, CODEC_NETFLOW5)
        if first_row < 0:
            return -1
        q = p + V5_HEADER_BYTES
        self.read_ipv4(FLOW_SRC_ADDR, first_row, q, V5_RECORD_BYTES, count)
        self.read_ipv4(FLOW_DST_ADDR, first_row, q + 4, V5_RECORD_BYTES, count)
        self.read_ipv4(FLOW_NEXT_HOP, first_row, q + 8, V5_RECORD_BYTES, count)
        self.read_column(FLOW_IN_IF, 4, first_row, q + 12, 2, count)
        self.read_column(FLOW_OUT_IF, 4, first_row, q + 14, 2, count)
        self.read_column(FLOW_PACKETS, 8, first_row, q + 16, 4, count)
        self.read_column(FLOW_BYTES, 8, first_row, q + 20, 4, count)
        self.read_uptimes(FLOW_TIME_START, first_row, q + 24, V5_RECORD_BYTES, count)
        self.read_uptimes(FLOW_TIME_END, first_row, q + 28, V5_RECORD_BYTES, count)
        self.read_column(FLOW_SRC_PORT, 2, first_row, q + 32, 2, count)
        self.read_column(FLOW_DST_PORT, 2, first_row, q + 34, 2, count)
        self.read_column(FLOW_TCP_FLAGS, 2, first_row, q + 37, 1, count)
        self.read_column(FLOW_PROTOCOL, 1, first_row, q + 38, 1, count)
        self.read_column(FLOW_TOS, 1, first_row, q + 39, 1, count)
        self.read_column(FLOW_SRC_AS, 4, first_row, q + 40, 2, count)
        self.read_column(FLOW_DST_AS, 4, first_row, q + 42, 2, count)
        self.read_column(FLOW_SRC_MASK, 1, first_row, q + 44, 1, count)
        self.read_column(FLOW_DST_MASK, 1, first_row, q + 45, 1, count)
        self.fill_ethertype(first_row, 0x0800, count)
        if interval:
            fill32(<uint32_t*> self.flows.columns[FLOW_SAMPLING_RATE].values + first_row, interval, count)
            memset(self.flows.columns[FLOW_SAMPLING_RATE].valid + first_row, 1, count)
        self.close_rows(count)
        if self.contribute_rows(first_row, count) < 0:
            return -1
        return at + V5_HEADER_BYTES + V5_RECORD_BYTES * <int64_t> count if left else self.size_bytes

    cdef inline void read_column(
        self, int column, uint8_t width, int64_t row, const uint8_t* p, uint32_t length, int64_t count,
    ) noexcept nogil:
        read_numbers(&self.flows.columns[column], row, width, p, V5_RECORD_BYTES, length, count)

    cdef void fill_ethertype(self, int64_t row, uint16_t ethertype, int64_t count) noexcept nogil:
        cdef uint16_t* cells = <uint16_t*> self.flows.columns[FLOW_ETHERTYPE].values + row
        cdef int64_t index
        for index in range(count):
            cells[index] = ethertype
        memset(self.flows.columns[FLOW_ETHERTYPE].valid + row, 1, count)

    # IPv4 addresses, `stride` octets apart, into cells that nothing was written to.
    cdef void read_ipv4(self, int column, int64_t row, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil:
        cdef uint8_t* cells = self.flows.columns[column].values + 16 * row
        cdef int64_t index
        for index in range(count):
            write_ipv4(cells + 16 * index, p + stride * index)
        memset(self.flows.columns[column].valid + row, 1, count)

    cdef void read_uptimes(self, int column, int64_t row, const uint8_t* p, int64_t stride, int64_t count) noexcept nogil:
        cdef int64_t* cells = <int64_t*> self.flows.columns[column].values + row
        cdef int64_t export_ns = self.message.export_ns
        cdef uint32_t uptime_ms = self.message.uptime_ms
        cdef int64_t index
        for index in range(count):
            cells[index] = export_ns - 1_000_000LL * <int64_t> <int32_t> (uptime_ms - be32(p + stride * index))
        memset(self.flows.columns[column].valid + row, 1, count)

    # A time given as milliseconds since the exporter's start; both clocks wrap at 2^32 ms, 49.7 days.
    cdef inline int64_t uptime_time(self, uint32_t since_start_ms) noexcept nogil:
        return self.message.export_ns - 1_000_000LL * <int64_t> <int32_t> (self.message.uptime_ms - since_start_ms)

    cdef int64_t read_v9(self, int64_t at) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t end = self.size_bytes
        cdef uint32_t set_id, set_bytes
        cdef Domain* domain
        cdef bint is_first = True
        if end - at < V9_HEADER_BYTES:
            if self.reject(TRUNCATED, at, end - at, b"NetFlow v9 header is cut") < 0:
                return -1
            return end
        self.open_message(
            9, be32(p + at + 16), be32(p + at + 12), be32(p + at + 4), <int64_t> be32(p + at + 8) * 1_000_000_000LL,
        )
        if self.count_sequence(
            CODEC_NETFLOW9, self.message.domain, self.message.sequence, self.message.uptime_ms, 1, METRIC_DATAGRAMS_LOST,
            UNIT_DATAGRAMS,
        ) < 0:
            return -1
        domain = self.open_domain()
        if domain == NULL:
            return -1
        at += V9_HEADER_BYTES
        # [5.1] The count of records in the header is not used: it is wrong too often, and set lengths say the same.
        while end - at >= 4:
            set_id, set_bytes = be16(p + at), be16(p + at + 2)
            if not is_first and self.is_message(at):
                return at
            is_first = False
            if self.is_bad_set(at, end, set_id, set_bytes):
                return end if not self.out_of_memory else -1
            if self.read_set(domain, set_id, 0, 1, at, set_bytes) < 0:
                return -1
            at += set_bytes
        return self.end_of_sets(at, end)

    cdef int64_t read_ipfix(self, int64_t at) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t end = self.size_bytes
        cdef int64_t message_bytes
        cdef uint32_t set_id, set_bytes
        cdef Domain* domain
        cdef char detail[96]
        if end - at < IPFIX_HEADER_BYTES:
            if self.reject(TRUNCATED, at, end - at, b"IPFIX header is cut") < 0:
                return -1
            return end
        message_bytes = be16(p + at + 2)
        if message_bytes < IPFIX_HEADER_BYTES:
            put_detail(detail, sizeof(detail), b"IPFIX message of %llu bytes", <uint64_t> message_bytes, 0)
            return -1 if self.reject(BAD_LENGTH, at, end - at, detail) < 0 else end
        self.open_message(
            10, be32(p + at + 12), be32(p + at + 8), 1000 * be32(p + at + 4), <int64_t> be32(p + at + 4) * 1_000_000_000LL,
        )
        if self.count_sequence(
            CODEC_IPFIX, self.message.domain, self.message.sequence, self.message.uptime_ms, 0, METRIC_FLOWS_LOST, UNIT_FLOWS,
        ) < 0:
            return -1
        domain = self.open_domain()
        if domain == NULL:
            return -1
        if message_bytes < end - at:
            end = at + message_bytes
        elif message_bytes > end - at:
            self.has_unknown_set = True
        at += IPFIX_HEADER_BYTES
        while end - at >= 4:
            set_id, set_bytes = be16(p + at), be16(p + at + 2)
            if self.is_bad_set(at, end, set_id, set_bytes):
                self.has_unknown_set = True
                at = end
                break
            if self.read_set(domain, set_id, 2, 3, at, set_bytes) < 0:
                return -1
            at += set_bytes
        if self.out_of_memory:
            return -1
        # [3.1] The sequence number counts data records, those of options included.
        self.advance_sequence(
            CODEC_IPFIX, self.message.domain, self.message.sequence, self.data_records, not self.has_unknown_set,
        )
        return self.end_of_sets(at, end)

    # Zeros that fill up a message are silent, anything else there is told.
    cdef int64_t end_of_sets(self, int64_t at, int64_t end) noexcept nogil:
        if at < end and not is_zero(self.start + at, end - at):
            if self.reject(TRAILING_BYTES, at, end - at, b"too short for a set") < 0:
                return -1
        return end

    # A second message without its own length before it: a version in place of a set id below 256 that no set has, and a
    # time near the first one's.
    cdef bint is_message(self, int64_t at) noexcept nogil:
        cdef const uint8_t* p = self.start + at
        cdef uint32_t version = be16(p)
        cdef int64_t export_s
        if (version != 5 and version != 9 and version != 10) or self.size_bytes - at < IPFIX_HEADER_BYTES:
            return False
        export_s = be32(p + (4 if version == 10 else 8))
        return -CLOCK_LIMIT_S < export_s - self.message.export_ns // 1_000_000_000 < CLOCK_LIMIT_S

    cdef bint is_bad_set(self, int64_t at, int64_t end, uint32_t set_id, uint32_t set_bytes) noexcept nogil:
        cdef char detail[96]
        if set_bytes >= 4 and <int64_t> set_bytes <= end - at:
            return False
        if set_id == 0 and set_bytes == 0 and is_zero(self.start + at, end - at):
            return True
        put_detail(detail, sizeof(detail), b"set of %llu bytes, %llu are left", set_bytes, <uint64_t> (end - at))
        self.reject(BAD_LENGTH if set_bytes < 4 else TRUNCATED, at, end - at, detail)
        return True

    # The state of who speaks; sets that waited too long for a template are given up first.
    cdef Domain* open_domain(self) noexcept nogil:
        cdef Domain* domain = self.domains.find(
            self.address_high, self.address_low, (<uint64_t> self.message.version << 32) | self.message.domain,
        )
        cdef Held* held
        if domain == NULL:
            self.out_of_memory = True
            return NULL
        if domain.exporter_size == 0:
            domain.exporter_size = <uint32_t> (
                self.source_size if self.source_size <= EXPORTER_MAX else utf8_prefix(self.source_text, EXPORTER_MAX)
            )
            memcpy(domain.exporter, self.source_text, domain.exporter_size)
        if domain.first != NULL and self.has_received:
            held = self.domains.take_before(domain, self.received_ns - HELD_AGE_S * 1_000_000_000LL)
            while held != NULL:
                self.reject_held(held)
                held = self.domains.take_before(domain, self.received_ns - HELD_AGE_S * 1_000_000_000LL)
        return domain

    cdef int read_set(
        self, Domain* domain, uint32_t set_id, uint32_t template_id, uint32_t options_id, int64_t at, uint32_t set_bytes,
    ) noexcept nogil:
        cdef Template* template
        cdef char detail[96]
        if set_id >= FIRST_DATA_SET:
            template = self.domains.template(domain, set_id)
            if template != NULL:
                return self.read_data(domain, template, self.start + at + 4, set_bytes - 4, at)
            self.has_unknown_set = True
            self.message.set_id, self.message.set_offset = set_id, at
            if self.domains.hold(domain, &self.message, self.start + at + 4, set_bytes - 4) < 0:
                put_detail(detail, sizeof(detail), b"set %llu: too many sets wait for a template", set_id, 0)
                return self.reject(TEMPLATE_UNKNOWN, at, set_bytes, detail)
            return 0
        if set_id == template_id or set_id == options_id:
            return self.read_templates(domain, set_id == options_id, at, at + 4, at + set_bytes)
        put_detail(detail, sizeof(detail), b"set %llu is reserved", set_id, 0)
        return self.reject(RESERVED_SET, at, set_bytes, detail)

    # Template records in [at, end) of the set at `set_at` [RFC 3954 5.2 and 6.1, RFC 7011 3.4].
    cdef int read_templates(self, Domain* domain, bint is_options, int64_t set_at, int64_t at, int64_t end) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef bint is_v9 = self.message.version == 9
        cdef uint32_t number, field_count, scope_count, index, word
        cdef int64_t record_at, head_bytes = 6 if is_options else 4
        cdef int status
        cdef char detail[96]
        cdef Held* held
        while end - at >= 4:
            record_at = at
            number, field_count, scope_count = be16(p + at), be16(p + at + 2), 0
            if number < FIRST_DATA_SET:
                if is_zero(p + at, end - at):
                    return 0
                if not is_v9 and field_count == 0 and number == (3 if is_options else 2):
                    self.withdraw(domain, number, is_options)
                    at += 4
                    continue
                put_detail(detail, sizeof(detail), b"template number %llu is reserved", number, 0)
                return self.reject(BAD_TEMPLATE, at, end - at, detail)
            if field_count == 0 and not is_v9:
                # A withdrawal [8.1] is four octets, for options templates too.
                self.withdraw(domain, number, is_options)
                at += 4
                continue
            if end - at < head_bytes:
                return self.reject(TRUNCATED, at, end - at, b"template is cut")
            if is_options and is_v9:
                # Lengths in octets of the scope and of the option fields.
                scope_count = be16(p + at + 2) // 4
                field_count = scope_count + be16(p + at + 4) // 4
                if be16(p + at + 2) % 4 or be16(p + at + 4) % 4:
                    return self.reject(BAD_TEMPLATE, at, end - at, b"options template lengths are no multiples of 4")
            elif is_options:
                scope_count = be16(p + at + 4)
                if scope_count > field_count:
                    return self.reject(BAD_TEMPLATE, at, end - at, b"more scope fields than fields")
            at += head_bytes
            for index in range(field_count):
                if end - at < 4:
                    put_detail(detail, sizeof(detail), b"template %llu is cut", number, 0)
                    return self.reject(TRUNCATED, record_at, end - record_at, detail)
                word = be16(p + at)
                if index < FIELDS_MAX:
                    self.fields[index].element = <uint16_t> word
                    self.fields[index].length = be16(p + at + 2)
                    self.fields[index].enterprise = 0
                at += 4
                if not is_v9 and word & 0x8000:
                    if end - at < 4:
                        put_detail(detail, sizeof(detail), b"template %llu is cut", number, 0)
                        return self.reject(TRUNCATED, record_at, end - record_at, detail)
                    if index < FIELDS_MAX:
                        self.fields[index].element = <uint16_t> (word & 0x7FFF)
                        self.fields[index].enterprise = be32(p + at)
                    at += 4
            if field_count > FIELDS_MAX:
                put_detail(detail, sizeof(detail), b"template %llu has %llu fields", number, field_count)
                status = self.reject(BAD_TEMPLATE, record_at, at - record_at, detail)
                if status < 0:
                    return -1
                continue
            status = self.domains.define(domain, number, self.fields, field_count, scope_count, is_options)
            if status == -1:
                self.out_of_memory = True
                return -1
            if status == -2:
                # Records of no octets would never end.
                put_detail(detail, sizeof(detail), b"records of template %llu have no octets", number, 0)
                if self.reject(RECORD_SIZE_0, record_at, at - record_at, detail) < 0:
                    return -1
            elif status == -3:
                put_detail(detail, sizeof(detail), b"template %llu: the domain has too many", number, 0)
                if self.reject(BAD_TEMPLATE, record_at, at - record_at, detail) < 0:
                    return -1
            elif domain.first != NULL:
                held = self.domains.take_for(domain, number)
                while held != NULL:
                    status = self.read_held(domain, held)
                    free(held)
                    if status < 0:
                        return -1
                    held = self.domains.take_for(domain, number)
        return 0                             # up to three octets of padding, zero or not

    cdef void withdraw(self, Domain* domain, uint32_t number, bint is_options) noexcept nogil:
        cdef uint32_t index
        self.domains.withdrawals += 1
        if self.udp:
            return
        if number >= FIRST_DATA_SET:
            self.domains.withdraw(domain, number)
            return
        index = 0
        while domain.templates != NULL and index <= domain.template_mask:
            if domain.templates[index] != NULL and domain.templates[index].is_options == is_options:
                self.domains.withdraw(domain, domain.templates[index].id)
                index = 0                    # the table was laid out anew
            else:
                index += 1

    # Decodes a set that has waited, as if its datagram came now.
    cdef int read_held(self, Domain* domain, Held* held) noexcept nogil:
        cdef Message message = self.message
        cdef int64_t received_ns = self.received_ns
        cdef bint has_received = self.has_received
        cdef int64_t frame_offset = self.frame_offset
        cdef int64_t rows_left = self.rows_left
        cdef uint32_t data_records = self.data_records
        cdef Template* template = self.domains.template(domain, held.message.set_id)
        cdef int status
        self.message = held.message
        self.received_ns, self.has_received = held.message.received_ns, held.message.has_received
        self.frame_offset = held.message.frame_offset
        self.rows_left = ROWS_MAX
        self.set_time()
        status = self.read_data(domain, template, held.data, held.size_bytes, held.message.set_offset)
        if status < 0 and not self.out_of_memory:
            status = self.reject(ROWS_LIMIT, held.message.set_offset, held.size_bytes, b"more rows than a datagram can hold")
        self.message = message
        self.received_ns, self.has_received = received_ns, has_received
        self.frame_offset = frame_offset
        self.rows_left = rows_left
        self.data_records = data_records
        self.set_time()
        return status

    # Frees it, too.
    cdef void reject_held(self, Held* held) noexcept nogil:
        cdef int64_t received_ns = self.received_ns
        cdef bint has_received = self.has_received
        cdef int64_t frame_offset = self.frame_offset
        cdef char detail[96]
        self.received_ns, self.has_received = held.message.received_ns, held.message.has_received
        self.frame_offset = held.message.frame_offset
        put_detail(detail, sizeof(detail), b"no template %llu came for domain %llu", held.message.set_id, held.message.domain)
        self.reject(TEMPLATE_UNKNOWN, held.message.set_offset, held.size_bytes + 4, detail)
        self.received_ns, self.has_received = received_ns, has_received
        self.frame_offset = frame_offset
        free(held)

    cdef void reject_all_held(self) noexcept nogil:
        cdef Domain* domain = self.domains.oldest
        cdef Held* held
        while domain != NULL:
            held = self.domains.take_any(domain)
            if held != NULL:
                self.exporter = self.exporters.intern(domain.exporter, domain.exporter_size)
                self.source_changed = True   # whoever speaks next says so anew
                if self.exporter < 0:
                    self.out_of_memory = True
                    free(held)
                    return
            while held != NULL:
                self.reject_held(held)
                held = self.domains.take_any(domain)
            domain = domain.newer

    # Data records of one set. `at` is the set's place in its datagram.
    cdef int read_data(self, Domain* domain, Template* template, const uint8_t* p, int64_t size, int64_t at) noexcept nogil:
        cdef int64_t count, left, used
        cdef const uint8_t* start = p
        if template.is_options or template.is_row_wise:
            left = size
            while left >= template.min_bytes:
                used = self.locate(template, p, left)
                if used < 0:
                    return self.reject(BAD_LENGTH, at + 4 + (p - start), left, b"a field reaches beyond its set")
                if template.is_options:
                    if self.read_option(domain, template) < 0:
                        return -1
                elif self.read_record(domain, template) < 0:
                    return -1
                self.data_records += 1
                p += used
                left -= used
        else:
            count = size // template.min_bytes
            left = size - count * template.min_bytes
            if count and self.read_records(domain, template, p, count) < 0:
                return -1
            p += count * template.min_bytes
        # [RFC 7011 3.3.1] Padding is shorter than a record, and up to three octets; more that is not zero was part of one.
        if left > 3 and not is_zero(p, left):
            return self.reject(TRAILING_BYTES, at + 4 + (p - start), left, b"bytes behind the last record")
        return 0

    # `count` records of fixed length, column by column.
    cdef int read_records(self, Domain* domain, Template* template, const uint8_t* p, int64_t count) noexcept nogil:
        cdef int index
        cdef int64_t record
        cdef int64_t row = self.open_rows(count, CODEC_NETFLOW9 if self.message.version == 9 else CODEC_IPFIX)
        if row < 0:
            return -1
        self.system_init_ms = domain.system_init_ms
        for index in range(template.op_count):
            self.apply(
                domain, &template.ops[index], p + template.ops[index].offset, template.min_bytes, template.ops[index].length,
                row, count,
            )
        self.complete_rows(domain, template, row, count)
        if template.has_mpls:
            for record in range(count):
                self.read_labels(template, p + record * template.min_bytes)
                self.close_rows(1)
        else:
            self.close_rows(count)
        self.data_records += <uint32_t> count
        return self.contribute_rows(row, count)

    # Notes where each field of the record at `p` is; the octets of the record, or -1 when it does not fit.
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

    # `count` rows with what the message says of all of them; the index of the first, or -1.
    cdef int64_t open_rows(self, int64_t count, int32_t codec) noexcept nogil:
        cdef int64_t row = self.flows.length
        cdef int64_t received_ns = self.received_ns
        cdef int64_t index
        cdef int64_t* times
        cdef Column* columns
        if count > self.rows_left:
            return -1
        if self.flows.reserve(count) < 0:
            self.out_of_memory = True
            return -1
        columns = self.flows.columns
        fill32(<uint32_t*> columns[FLOW_EXPORTER].values + row, <uint32_t> self.exporter, count)
        fill32(<uint32_t*> columns[FLOW_DOMAIN].values + row, self.message.domain, count)
        fill32(<uint32_t*> columns[FLOW_CODEC].values + row, <uint32_t> codec, count)
        fill32(<uint32_t*> columns[FLOW_SEQUENCE].values + row, self.message.sequence, count)
        if self.has_received:
            times = <int64_t*> columns[FLOW_RECEIVED].values + row
            for index in range(count):
                times[index] = received_ns
            memset(columns[FLOW_RECEIVED].valid + row, 1, count)
        return row

    cdef void close_rows(self, int64_t count) noexcept nogil:
        cdef Column* labels = &self.flows.columns[FLOW_MPLS_LABELS]
        fill32(<uint32_t*> labels.ends + self.flows.length + 1, <uint32_t> (labels.data_used // 4), count)
        self.flows.length += count
        self.rows_left -= count

    # One record whose fields `locate` has found: a row, and a second one where it tells of both directions.
    cdef int read_record(self, Domain* domain, Template* template) noexcept nogil:
        cdef int index
        cdef int32_t codec = CODEC_NETFLOW9 if self.message.version == 9 else CODEC_IPFIX
        cdef int64_t row = self.open_rows(1, codec)
        cdef const Op* op
        if row < 0:
            return -1
        self.system_init_ms = domain.system_init_ms
        for index in range(template.op_count):
            op = &template.ops[index]
            self.apply(domain, op, self.at[op.field], 0, self.length[op.field], row, 1)
        self.complete_rows(domain, template, row, 1)
        if template.has_mpls:
            self.read_labels(template, NULL)
        self.close_rows(1)
        if self.contribute_rows(row, 1) < 0:
            return -1
        if template.reverse_count == 0:
            return 0
        if self.open_rows(1, codec) < 0:
            return -1
        self.copy_reversed(row)
        row += 1
        for index in range(template.reverse_count):
            op = &template.reverse[index]
            self.apply(domain, op, self.at[op.field], 0, self.length[op.field], row, 1)
        if not self.is_reverse_seen(row):
            self.clear_row(row)
            return 0
        self.close_rows(1)
        return self.contribute_rows(row, 1)

    # A biflow of which the other direction had no packet is one flow.
    cdef bint is_reverse_seen(self, int64_t row) noexcept nogil:
        cdef Column* columns = self.flows.columns
        return (
            (columns[FLOW_PACKETS].valid[row] and (<uint64_t*> columns[FLOW_PACKETS].values)[row] != 0)
            or (columns[FLOW_BYTES].valid[row] and (<uint64_t*> columns[FLOW_BYTES].values)[row] != 0)
            or not (columns[FLOW_PACKETS].valid[row] or columns[FLOW_BYTES].valid[row])
        )

    cdef void clear_row(self, int64_t row) noexcept nogil:
        cdef int index
        cdef Column* column
        for index in range(self.flows.column_count):
            column = &self.flows.columns[index]
            if column.nullable:
                column.valid[row] = 0
            if column.values != NULL:
                memset(column.values + row * column.item_bytes, 0, column.item_bytes)

    # Row + 1 becomes the row's other direction [RFC 5103]: the ends swapped; what belongs to one direction is left to the
    # reverse elements.
    cdef void copy_reversed(self, int64_t row) noexcept nogil:
        cdef int index
        for index in range(self.flows.column_count):
            if not is_of_direction(index) and index != FLOW_MPLS_LABELS:
                copy_cell(self.flows, index, row, index, row + 1)
        swap(self.flows, FLOW_SRC_ADDR, FLOW_DST_ADDR, row)
        swap(self.flows, FLOW_SRC_PORT, FLOW_DST_PORT, row)
        swap(self.flows, FLOW_SRC_MAC, FLOW_DST_MAC, row)
        swap(self.flows, FLOW_SRC_VLAN, FLOW_DST_VLAN, row)
        swap(self.flows, FLOW_SRC_AS, FLOW_DST_AS, row)
        swap(self.flows, FLOW_SRC_MASK, FLOW_DST_MASK, row)
        swap(self.flows, FLOW_IN_IF, FLOW_OUT_IF, row)
        swap(self.flows, FLOW_IN_VRF, FLOW_OUT_VRF, row)

    # What other columns imply: the EtherType, and a sampling rate that options records told.
    cdef void complete_rows(self, const Domain* domain, const Template* template, int64_t row, int64_t count) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef int64_t index
        cdef uint32_t rate
        cdef uint16_t ethertype
        cdef const uint8_t* address
        if not template.has_ethertype and not template.is_row_wise and template.has_ipv4 != template.has_ipv6:
            self.fill_ethertype(row, 0x0800 if template.has_ipv4 else 0x86DD, count)
        elif not template.has_ethertype and (template.has_ipv4 or template.has_ipv6):
            for index in range(row, row + count):
                if columns[FLOW_ETHERTYPE].valid[index]:
                    continue
                ethertype = 0x0800 if template.has_ipv4 else 0x86DD
                if template.has_ipv4 and template.has_ipv6:
                    address = columns[FLOW_SRC_ADDR].values + 16 * index
                    if not columns[FLOW_SRC_ADDR].valid[index]:
                        address = columns[FLOW_DST_ADDR].values + 16 * index
                    ethertype = 0x0800 if be64(address) == 0 and be32(address + 8) == 0xFFFF else 0x86DD
                put16(self.flows.columns, FLOW_ETHERTYPE, index, ethertype)
        if domain.has_interface_rates:
            for index in range(row, row + count):
                if columns[FLOW_SAMPLING_RATE].valid[index] or not columns[FLOW_IN_IF].valid[index]:
                    continue
                rate = self.rate(domain, INTERFACE_RATE, (<uint32_t*> columns[FLOW_IN_IF].values)[index])
                if rate:
                    put32(self.flows.columns, FLOW_SAMPLING_RATE, index, rate)
        rate = domain.default_rate if domain.default_rate else domain.lone_rate
        if rate:
            for index in range(row, row + count):
                if not columns[FLOW_SAMPLING_RATE].valid[index]:
                    put32(self.flows.columns, FLOW_SAMPLING_RATE, index, rate)

    # 1 in N of a sampler or an interface, 0 when nothing was told.
    cdef uint32_t rate(self, const Domain* domain, uint64_t kind, uint64_t number) noexcept nogil:
        cdef bint is_new
        cdef Slot* slot = self.rates.find(domain.key[0], domain.key[1], domain.key[2], kind << 56 | number, &is_new)
        return slot.number if slot != NULL else 0

    # One operation on `count` records, `stride` octets apart, into rows from `row` on. `length` is the field's, never 0.
    cdef void apply(
        self, const Domain* domain, const Op* op, const uint8_t* p, int64_t stride, uint32_t length, int64_t row, int64_t count,
    ) noexcept nogil:
        cdef Column* column = &self.flows.columns[op.column]
        cdef uint8_t* valid = column.valid + row
        cdef int64_t index
        cdef uint64_t value
        cdef uint32_t rate
        cdef int64_t* times = <int64_t*> column.values + row
        if op.operation == OP_NUMBER:
            read_numbers(column, row, op.width, p, stride, length, count)
        elif op.operation == OP_ADDRESS and op.number and length == 4:
            self.read_ipv4(op.column, row, p, stride, count)
        elif op.operation == OP_ADDRESS:
            for index in range(count):
                if length == 4:
                    if valid[index] and (be32(p) == 0 or not is_zero_address(column.values + 16 * (row + index))):
                        p += stride
                        continue
                    put_ipv4(self.flows.columns, op.column, row + index, p)
                elif length == 16:
                    if not valid[index] or (is_zero_address(column.values + 16 * (row + index)) and not is_zero(p, 16)):
                        memcpy(column.values + 16 * (row + index), p, 16)
                        valid[index] = 1
                p += stride
        elif op.operation == OP_EITHER:
            for index in range(count):
                value = number_of(p, length)
                if value <= 255 and (not valid[index] or (value != 0 and column.values[row + index] == 0)):
                    column.values[row + index] = <uint8_t> value
                    valid[index] = 1
                p += stride
        elif op.operation == OP_MAC:
            if length == 6:
                for index in range(count):
                    memcpy(column.values + 6 * (row + index), p, 6)
                    p += stride
                memset(valid, 1, count)
        elif op.operation == OP_UPTIME and length == 4 and self.message.version == 9:
            self.read_uptimes(op.column, row, p, stride, count)
        elif op.operation == OP_UPTIME:
            if self.message.version == 10 and self.system_init_ms < 0:
                return                       # IPFIX headers have no uptime; systemInitTimeMilliseconds did not come
            for index in range(count):
                value = number_of(p, length)
                if self.message.version == 10:
                    times[index] = 1_000_000LL * (self.system_init_ms + <int64_t> (value & 0xFFFFFFFFU))
                else:
                    times[index] = self.uptime_time(<uint32_t> value)
                p += stride
            memset(valid, 1, count)
        elif OP_SECONDS <= op.operation <= OP_DELTA:
            for index in range(count):
                if length <= 8 and time_of(op.operation, number_of(p, length), self.message.export_ns, &times[index]):
                    valid[index] = 1
                p += stride
        elif op.operation == OP_ICMP:
            for index in range(count):
                # Where both families have one, that of the other is 0.
                value = number_of(p, length)
                if value or not valid[index]:
                    put8(self.flows.columns, FLOW_ICMP_TYPE, row + index, <uint8_t> (value >> 8))
                    put8(self.flows.columns, FLOW_ICMP_CODE, row + index, <uint8_t> value)
                p += stride
        elif op.operation == OP_RATE:
            for index in range(count):
                value = number_of(p, length)
                if 0 < value <= 0xFFFFFFFFU and not valid[index]:
                    put32(self.flows.columns, FLOW_SAMPLING_RATE, row + index, <uint32_t> value)
                p += stride
        elif op.operation == OP_SPACE:
            for index in range(count):
                if valid[index]:
                    rate = (<uint32_t*> column.values)[row + index]
                    put32(self.flows.columns, FLOW_SAMPLING_RATE, row + index, ratio(number_of(p, length) + rate, rate))
                p += stride
        elif op.operation == OP_SAMPLER:
            if domain.has_samplers:
                for index in range(count):
                    rate = 0 if valid[index] else self.rate(domain, SAMPLER_RATE, number_of(p, length))
                    if rate:
                        put32(self.flows.columns, FLOW_SAMPLING_RATE, row + index, rate)
                    p += stride
        elif op.operation == OP_SYSTEM_INIT:
            if length == 8 and be64(p) < 9_000_000_000_000LL:
                self.system_init_ms = <int64_t> be64(p)
        elif op.operation == OP_FRAME or op.operation == OP_PACKET:
            # One record at a time: labels go to the end of their column.
            if op.operation == OP_FRAME:
                value = read_packet(self.flows, row, HEADER_ETHERNET, p, length)
            else:
                value = read_packet(self.flows, row, HEADER_IPV6 if length and p[0] >> 4 == 6 else HEADER_IPV4, p, length)
            if value:
                put64(self.flows.columns, FLOW_BYTES, row, value)
            put64(self.flows.columns, FLOW_PACKETS, row, 1)

    # The labels of the record at `p`, or of the located one, top of the stack first, into row flows.length.
    cdef void read_labels(self, const Template* template, const uint8_t* p) noexcept nogil:
        cdef uint32_t labels[10]
        cdef bint present[10]
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
        for index in range(10):
            # Three octets of zero are a place that the exporter did not fill; the last bit ends the stack.
            if not present[index] or labels[index] == 0:
                continue
            word = labels[index]
            labels[count] = word >> 4
            count += 1
            if word & 1:
                break
        if count and not self.flows.columns[FLOW_MPLS_LABELS].valid[self.flows.length]:
            if self.flows.put_list(FLOW_MPLS_LABELS, labels, count) < 0:
                self.out_of_memory = True

    # One options record whose fields `locate` has found.
    cdef int read_option(self, Domain* domain, const Template* template) noexcept nogil:
        cdef int index
        cdef const Op* op
        cdef uint64_t value, rate = 0, interval = 0, space = 0, sample = 0, population = 0, sampler = 0, interface = 0, vrf = 0
        cdef bint has_sampler = False, has_interface = False, has_vrf = False, has_rate = False, has_space = False
        cdef const Op* if_name = NULL        # told once the record has told what they name
        cdef const Op* if_description = NULL
        cdef const Op* vrf_name = NULL
        cdef bint is_new
        cdef Slot* slot
        for index in range(template.op_count):
            op = &template.ops[index]
            value = number_of(self.at[op.field], self.length[op.field])
            if op.operation == OPTION_RATE:
                if value:
                    rate = value
                has_rate = True
            elif op.operation == OPTION_INTERVAL:
                interval, has_rate = value, True
            elif op.operation == OPTION_SPACE:
                space, has_space = value, True
            elif op.operation == OPTION_SIZE:
                sample = value
            elif op.operation == OPTION_POPULATION:
                population, has_rate = value, True
            elif op.operation == OPTION_SAMPLER:
                sampler, has_sampler = value, True
            elif op.operation == OPTION_INTERFACE:
                interface, has_interface = value, True
            elif op.operation == OPTION_VRF:
                vrf, has_vrf = value, True
            elif op.operation == OPTION_IF_NAME:
                if_name = op
            elif op.operation == OPTION_IF_DESCRIPTION:
                if_description = op
            elif op.operation == OPTION_VRF_NAME:
                vrf_name = op
            elif op.operation == OPTION_SYSTEM_INIT:
                if self.length[op.field] == 8 and value < 9_000_000_000_000LL:
                    domain.system_init_ms = <int64_t> value
            elif op.operation == OPTION_COUNTER and self.length[op.field] <= 8:
                if self.sample(
                    self.entity(ENTITY_DOMAIN, self.message.domain, 0), self.metric_counters[op.number], <double> value, COUNTER,
                    self.unit_counters[op.number],
                ) < 0:
                    return -1
        if interval:
            rate = ratio(interval + space, interval) if has_space else interval
        elif sample and population:
            rate = ratio(population, sample)
        if has_rate and 0 < rate <= 0xFFFFFFFFU:
            if has_sampler or has_interface:
                slot = self.rates.find(
                    domain.key[0], domain.key[1], domain.key[2],
                    <uint64_t> SAMPLER_RATE << 56 | sampler if has_sampler else <uint64_t> INTERFACE_RATE << 56 | interface, &is_new,
                )
                if slot == NULL:
                    self.out_of_memory = True
                    return -1
                slot.number = <uint32_t> rate
                if has_sampler:
                    # Flows that name no sampler were taken by the only one; of several nobody knows.
                    if not domain.has_samplers:
                        domain.lone_sampler = sampler
                    domain.has_several_samplers = domain.has_several_samplers or domain.lone_sampler != sampler
                    domain.lone_rate = 0 if domain.has_several_samplers else <uint32_t> rate
                    domain.has_samplers = True
                else:
                    domain.has_interface_rates = True
            else:
                domain.default_rate = <uint32_t> rate
        if has_interface and if_name != NULL:
            if self.name(ENTITY_INTERFACE, <uint32_t> interface, self.metric_if_name, if_name) < 0:
                return -1
        if has_interface and if_description != NULL:
            if self.name(ENTITY_INTERFACE, <uint32_t> interface, self.metric_if_description, if_description) < 0:
                return -1
        if has_vrf and vrf_name != NULL:
            return self.name(ENTITY_VRF, <uint32_t> vrf, self.metric_vrf_name, vrf_name)
        return 0

    # A text sample; strings end at the first octet that is no text, mostly zero padding.
    cdef int name(self, int kind, uint32_t number, int32_t metric, const Op* op) noexcept nogil:
        cdef int64_t size = self.length[op.field]
        cdef int32_t entity
        size = utf8_prefix(self.at[op.field], size if size < NAME_BYTES_MAX else NAME_BYTES_MAX)
        if size == 0:
            return 0
        entity = self.entity(ENTITY_INTERFACE, number, 0) if kind == ENTITY_INTERFACE else self.entity(ENTITY_VRF, number, 0)
        if entity < 0:
            return -1
        return self.text_sample(entity, metric, self.at[op.field], size)

    # Window-only rows for the interfaces that each flow names.
    cdef int contribute_rows(self, int64_t row, int64_t count) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef int64_t index
        cdef double scale, size, packets
        cdef uint16_t quality
        cdef uint32_t interface
        cdef int32_t entity
        if not self.derive:
            return 0
        for index in range(row, row + count):
            scale, quality = 1, QUALITY_SAMPLING_UNKNOWN
            if columns[FLOW_SAMPLING_RATE].valid[index]:
                scale, quality = (<uint32_t*> columns[FLOW_SAMPLING_RATE].values)[index], 0
            size = scale * <double> (<uint64_t*> columns[FLOW_BYTES].values)[index]
            packets = scale * <double> (<uint64_t*> columns[FLOW_PACKETS].values)[index]
            interface = (<uint32_t*> columns[FLOW_IN_IF].values)[index]
            if columns[FLOW_IN_IF].valid[index] and interface:
                entity = self.entity(ENTITY_INTERFACE, interface, 0)
                if entity < 0:
                    return -1
                if columns[FLOW_BYTES].valid[index] and self.contribute(entity, METRIC_FLOW_IN_BYTES, size, UNIT_BYTES, quality) < 0:
                    return -1
                if columns[FLOW_PACKETS].valid[index] and self.contribute(
                    entity, METRIC_FLOW_IN_PACKETS, packets, UNIT_PACKETS, quality,
                ) < 0:
                    return -1
                if columns[FLOW_DROPPED].valid[index] and self.contribute(
                    entity, METRIC_FLOW_DROPPED_PACKETS, scale * <double> (<uint64_t*> columns[FLOW_DROPPED].values)[index],
                    UNIT_PACKETS, quality,
                ) < 0:
                    return -1
            interface = (<uint32_t*> columns[FLOW_OUT_IF].values)[index]
            if columns[FLOW_OUT_IF].valid[index] and interface:
                entity = self.entity(ENTITY_INTERFACE, interface, 0)
                if entity < 0:
                    return -1
                if columns[FLOW_BYTES].valid[index] and self.contribute(entity, METRIC_FLOW_OUT_BYTES, size, UNIT_BYTES, quality) < 0:
                    return -1
                if columns[FLOW_PACKETS].valid[index] and self.contribute(
                    entity, METRIC_FLOW_OUT_PACKETS, packets, UNIT_PACKETS, quality,
                ) < 0:
                    return -1
        return 0


cdef inline void fill32(uint32_t* cells, uint32_t value, int64_t count) noexcept nogil:
    cdef int64_t index
    for index in range(count):
        cells[index] = value


cdef inline bint is_zero(const uint8_t* p, int64_t size) noexcept nogil:
    cdef int64_t index
    for index in range(size):
        if p[index]:
            return False
    return True


# 0.0.0.0 as ::ffff:0.0.0.0 counts as zero, like ::.
cdef inline bint is_zero_address(const uint8_t* p) noexcept nogil:
    return be64(p) == 0 and be32(p + 12) == 0 and (be32(p + 8) == 0 or be32(p + 8) == 0xFFFF)


# Big-endian of any length; of more than 8 octets the last 8.
cdef inline uint64_t number_of(const uint8_t* p, uint32_t length) noexcept nogil:
    cdef uint64_t value = 0
    cdef uint32_t index
    if length == 4:
        return be32(p)
    if length == 8:
        return be64(p)
    if length == 2:
        return be16(p)
    for index in range(length):
        value = (value << 8) | p[index]
    return value


# N of "1 in N", rounded, at least 1.
cdef inline uint32_t ratio(uint64_t whole, uint64_t part) noexcept nogil:
    cdef uint64_t rate = (whole + part // 2) // part if part else 0
    return <uint32_t> rate if rate <= 0xFFFFFFFFU else 0xFFFFFFFFU


# 1 and the time, or 0 when the value is no time that 64 bits of nanoseconds hold; zero means that it was not set.
cdef inline bint time_of(uint8_t operation, uint64_t value, int64_t export_ns, int64_t* time_ns) noexcept nogil:
    if operation == OP_DELTA:
        # Microseconds back from the export time, which is in whole seconds [RFC 5102 5.9].
        time_ns[0] = export_ns - 1000 * <int64_t> (value & 0xFFFFFFFFU)
        return 1
    if value == 0:
        return 0
    if operation == OP_SECONDS:
        if value > 9_200_000_000LL:
            return 0
        time_ns[0] = 1_000_000_000LL * <int64_t> value
    elif operation == OP_MILLISECONDS:
        if value > 9_200_000_000_000LL:
            return 0
        time_ns[0] = 1_000_000LL * <int64_t> value
    else:
        # NTP: seconds since 1900 and a fraction; of microseconds the last 11 bits mean nothing [RFC 7011 6.1.9].
        if operation == OP_MICROS:
            value &= ~<uint64_t> 0x7FF
        time_ns[0] = 1_000_000_000LL * (<int64_t> (value >> 32) - <int64_t> NTP_EPOCH_S) + <int64_t> (
            ((value & 0xFFFFFFFFU) * 1_000_000_000ULL) >> 32
        )
    return 1


# Unsigned numbers of `length` octets into a column of `width`; one too large for it leaves its cell null.
cdef void read_numbers(
    Column* column, int64_t row, uint8_t width, const uint8_t* p, int64_t stride, uint32_t length, int64_t count,
) noexcept nogil:
    cdef int64_t index
    cdef uint64_t value
    cdef uint64_t limit = <uint64_t> 0xFFFFFFFFFFFFFFFFULL >> (64 - 8 * width)
    cdef uint8_t* d8 = column.values + row
    cdef uint16_t* d16 = <uint16_t*> column.values + row
    cdef uint32_t* d32 = <uint32_t*> column.values + row
    cdef uint64_t* d64 = <uint64_t*> column.values + row
    if length == 1 and width == 1:
        for index in range(count):
            d8[index] = p[0]
            p += stride
    elif length == 2 and width == 2:
        for index in range(count):
            d16[index] = be16(p)
            p += stride
    elif length == 4 and width == 4:
        for index in range(count):
            d32[index] = be32(p)
            p += stride
    elif length == 4 and width == 8:
        for index in range(count):
            d64[index] = be32(p)
            p += stride
    elif length == 8 and width == 8:
        for index in range(count):
            d64[index] = be64(p)
            p += stride
    elif length == 2 and width == 4:
        for index in range(count):
            d32[index] = be16(p)
            p += stride
    elif length == 1 and width == 2:
        for index in range(count):
            d16[index] = p[0]
            p += stride
    else:
        if length > 8:
            return
        for index in range(count):
            value = number_of(p, length)
            p += stride
            if value > limit:
                continue
            if width == 1:
                d8[index] = <uint8_t> value
            elif width == 2:
                d16[index] = <uint16_t> value
            elif width == 4:
                d32[index] = <uint32_t> value
            else:
                d64[index] = value
            column.valid[row + index] = 1
        return
    memset(column.valid + row, 1, count)


# Columns that tell of one direction only.
cdef inline bint is_of_direction(int column) noexcept nogil:
    return (
        column == FLOW_BYTES or column == FLOW_PACKETS or column == FLOW_DROPPED or column == FLOW_TCP_FLAGS or column == FLOW_TOS
        or column == FLOW_TTL or column == FLOW_NEXT_HOP or column == FLOW_BGP_NEXT_HOP or column == FLOW_NEXT_AS
        or column == FLOW_FLOW_LABEL or column == FLOW_FRAGMENT_ID or column == FLOW_FRAGMENT_OFFSET or column == FLOW_DIRECTION
        or column == FLOW_ICMP_TYPE or column == FLOW_ICMP_CODE
    )


cdef inline void copy_cell(Rows rows, int source, int64_t source_row, int target, int64_t target_row) noexcept nogil:
    cdef Column* from_column = &rows.columns[source]
    cdef Column* to_column = &rows.columns[target]
    memcpy(
        to_column.values + target_row * to_column.item_bytes, from_column.values + source_row * from_column.item_bytes,
        to_column.item_bytes,
    )
    if to_column.nullable:
        to_column.valid[target_row] = from_column.valid[source_row]


cdef inline void swap(Rows rows, int one, int other, int64_t row) noexcept nogil:
    copy_cell(rows, one, row, other, row + 1)
    copy_cell(rows, other, row, one, row + 1)

