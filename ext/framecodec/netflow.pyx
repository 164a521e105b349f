# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""NetFlow version 5, NetFlow version 9 and IPFIX datagrams into rows of FLOWS, SAMPLES and REJECTS.

    decoder = NetflowDecoder()
    out = decoder.decode(frames)                # a batch of streams.model.FRAMES, one datagram a row, versions mixed
    out = decoder.finish()                      # no more input: what still waits for its template is rejected

v9 and IPFIX share one engine. A template is compiled once into operations (elements.pyx); a set of records of fixed
length is then decoded column by column, other records one by one. Sets whose template has not come are kept and decoded
when it does, with the times of the datagram that brought them; their neighbours are not delayed. Options records are
never flows: they set sampling rates, name interfaces and VRFs, and tell the exporter's own totals.

The decoder is one object in storeys, each a file that knows those before it: rack (datagrams, rows, names),
netflow_rows (a message's flows), netflow_records, netflow_options, netflow_sets, and here the messages.

Sources, sections in brackets: NetFlow v5 as Cisco's "NetFlow Export Datagram Format" has it (from memory), RFC 3954 (v9),
RFC 7011 (IPFIX), RFC 5103 (biflow), RFC 6313 (lists, skipped by length). Which element fills which column is the table
in netflow_elements.py.
"""
from cpython.bytes cimport PyBytes_AS_STRING
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from framecodec.elements cimport Elements
from framecodec.netflow_elements import COLUMN
from framecodec.netflow5 cimport V5_RECORD_BYTES, read_v5_records
from framecodec.netflow_fields cimport add_mask, fill32, is_zero
from framecodec.netflow_sets cimport NetflowSets
from framecodec.rack cimport (
    BAD_LENGTH, CODEC_IPFIX, CODEC_NETFLOW5, CODEC_NETFLOW9, METRIC_DATAGRAMS_LOST, METRIC_FLOWS_LOST, ROWS_LIMIT,
    RackDecoder, TRAILING_BYTES, TRUNCATED, UNIT_DATAGRAMS, UNIT_FLOWS, UNKNOWN_VERSION, be16, be32,
)
from framecodec.rack_text cimport put_detail
from framecodec.records cimport FLOW_SAMPLING_RATE
from framecodec.template_state cimport dump_domains, load_domains
from framecodec.templates cimport Domain, Domains

__all__ = ["NetflowDecoder"]

cdef enum:
    V5_HEADER_BYTES = 24
    V9_HEADER_BYTES = 20
    IPFIX_HEADER_BYTES = 16
    # Two messages of one datagram were exported within this time of each other.
    SAME_TIME_S = 3600

SNAPSHOT_MAGIC = b"orbflow1"


@cython.final
cdef class NetflowDecoder(NetflowSets):
    """Decodes NetFlow v5, v9 and IPFIX; see the module.

    `udp`: the messages came as datagrams, so template withdrawals are counted and ignored (RFC 7011 8.4); False honours
    them (8.1). `enterprise` says what an enterprise's own elements are: (enterprise number, element) to a numeric column
    of flows, or to (metric, form, unit) with a form of netflow_elements.FORMS: those become samples of the interface that
    the flow came in by. `keeps_unknown`: enterprise elements that `enterprise` does not have become text samples of their
    octets. State: templates, sampling rates, held sets, sequence numbers.
    """

    def __cinit__(self, *, bint derive=True, bint udp=True, enterprise=(), bint keeps_unknown=False):
        given = dict(enterprise).items()
        named = {key: (what, COLUMN, None) if isinstance(what, str) else what for key, what in given}
        self.udp = udp
        self.domains = Domains(Elements(self.metrics, self.units, named, keeps_unknown))

    def counters(self) -> dict[str, int]:
        """Totals that no row shows, and the size of what is held."""
        return RackDecoder.counters(self) | {
            "domains": self.domains.count,
            "template_bytes": self.domains.template_bytes,
            "held_bytes": self.domains.held_bytes,
            "withdrawals": self.domains.withdrawals,
            "forgotten_rates": self.rates.forgotten,
            "forgotten_domains": self.domains.forgotten,
            "forgotten_templates": self.domains.forgotten_templates,
        }

    def snapshot(self) -> bytes:
        """All state that outlives a batch, held sets included."""
        parts = [self.sequences.dump(), self.rates.dump(), dump_domains(self.domains)]
        return b"".join([SNAPSHOT_MAGIC, *(len(part).to_bytes(8, "little") + part for part in parts)])

    def restore(self, data: bytes) -> None:
        """Takes the state of a `snapshot`; ValueError for anything else."""
        if data[:8] != SNAPSHOT_MAGIC:
            raise ValueError("not a snapshot of a NetFlow decoder")
        cdef int64_t at = 8
        cdef int64_t size
        for index in range(3):
            announced = int.from_bytes(data[at:at + 8], "little")
            at += 8
            if at + announced > len(data):
                raise ValueError("not a snapshot: a part is cut short")
            size = announced
            part = <const uint8_t*> PyBytes_AS_STRING(data) + at
            if index == 0:
                self.sequences.load(part, size)
            elif index == 1:
                self.rates.load(part, size)
            elif load_domains(self.domains, part, size) != size:
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

    # The offset behind the message, -1 out of memory or rows.
    cdef int64_t read_v5(self, int64_t at) noexcept nogil:
        cdef const uint8_t* p = self.start + at
        cdef int64_t left = self.size_bytes - at
        cdef uint32_t count, interval
        cdef int64_t first_row
        cdef uint64_t present
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
            CODEC_NETFLOW5, self.message.domain, self.message.sequence, self.message.uptime_ms, count,
            METRIC_FLOWS_LOST, UNIT_FLOWS,
        ) < 0:
            return -1
        if <int64_t> count > (left - V5_HEADER_BYTES) // V5_RECORD_BYTES:
            put_detail(
                detail, sizeof(detail), b"%llu records announced, %llu are there", count,
                <uint64_t> ((left - V5_HEADER_BYTES) // V5_RECORD_BYTES),
            )
            count = <uint32_t> ((left - V5_HEADER_BYTES) // V5_RECORD_BYTES)
            if self.reject(
                TRUNCATED, at + V5_HEADER_BYTES + count * V5_RECORD_BYTES,
                left - V5_HEADER_BYTES - count * V5_RECORD_BYTES, detail,
            ) < 0:
                return -1
            left = 0                         # nothing behind it can be a message
        if count == 0:
            return at + V5_HEADER_BYTES if left else self.size_bytes
        first_row = self.open_rows(count, CODEC_NETFLOW5)
        if first_row < 0:
            return -1
        present = read_v5_records(
            self.flows.columns, first_row, p + V5_HEADER_BYTES, count, self.message.export_ns, self.message.uptime_ms,
        )
        if interval:
            fill32(<uint32_t*> self.flows.columns[FLOW_SAMPLING_RATE].values + first_row, interval, count)
            present |= <uint64_t> 1 << FLOW_SAMPLING_RATE
        add_mask(self.flows.masks + first_row, present, count)
        self.close_rows(count)
        if self.contribute_rows(first_row, count) < 0:
            return -1
        return at + V5_HEADER_BYTES + V5_RECORD_BYTES * <int64_t> count if left else self.size_bytes

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
        cdef int64_t message_bytes, missing_bytes
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
        missing_bytes = message_bytes - (end - at)
        if missing_bytes <= 0:
            end = at + message_bytes
        at += IPFIX_HEADER_BYTES
        while end - at >= 4:
            set_id, set_bytes = be16(p + at), be16(p + at + 2)
            if self.is_bad_set(at, end, set_id, set_bytes):
                self.has_unknown_set = True
                missing_bytes = 0            # told with the set
                at = end
                break
            if self.read_set(domain, set_id, 2, 3, at, set_bytes) < 0:
                return -1
            at += set_bytes
        if missing_bytes > 0:
            self.has_unknown_set = True
            put_detail(detail, sizeof(detail), b"IPFIX message of %llu bytes, %llu are missing", message_bytes, missing_bytes)
            self.reject(TRUNCATED, end, 0, detail)
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
        return -SAME_TIME_S < export_s - self.message.export_ns // 1_000_000_000 < SAME_TIME_S

    cdef bint is_bad_set(self, int64_t at, int64_t end, uint32_t set_id, uint32_t set_bytes) noexcept nogil:
        cdef char detail[96]
        if set_bytes >= 4 and <int64_t> set_bytes <= end - at:
            return False
        if set_id == 0 and set_bytes == 0 and is_zero(self.start + at, end - at):
            return True
        put_detail(detail, sizeof(detail), b"set of %llu bytes, %llu are left", set_bytes, <uint64_t> (end - at))
        self.reject(BAD_LENGTH if set_bytes < 4 else TRUNCATED, at, end - at, detail)
        return True
