# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Sets of NetFlow v9 and IPFIX: templates taken and withdrawn, data decoded, and held where the template has not come.

The fourth storey of the NetFlow decoder. A held set is decoded when its template comes, as if its datagram came then, and
rejected when it has waited too long or the input ends.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from framecodec.elements cimport FIELDS_MAX, Field, Template
from framecodec.held_sets cimport Held, Message
from framecodec.netflow_fields cimport is_zero
from framecodec.netflow_options cimport NetflowOptions
from framecodec.rack cimport (
    BAD_LENGTH, BAD_TEMPLATE, RECORD_SIZE_0, RESERVED_SET, ROWS_LIMIT, TEMPLATE_UNKNOWN, TRAILING_BYTES, TRUNCATED, be16,
    be32,
)
from framecodec.rack_text cimport put_detail, utf8_prefix
from framecodec.templates cimport Domain, EXPORTER_MAX, FOREVER_NS

__all__ = ["NetflowSets"]

cdef enum:
    FIRST_DATA_SET = 256
    # Exporters send templates again after 10 to 30 minutes at the longest (RFC 3954 9, RFC 7011 8.4 and their defaults).
    HELD_AGE_S = 3600
    MINUTE_NS = 60_000_000_000LL
    ROWS_MAX = 16384


cdef class NetflowSets(NetflowOptions):
    """Base of the NetFlow decoder: sets."""

    cdef Domain* open_domain(self) noexcept nogil:
        cdef Domain* domain = self.domains.find(
            self.address_high, self.address_low, (<uint64_t> self.message.version << 32) | self.message.domain,
        )
        if domain == NULL:
            self.out_of_memory = True
            return NULL
        self.forget_excess()
        self.data_records, self.has_unknown_set = 0, False
        if domain.exporter_size == 0:
            domain.exporter_size = <uint32_t> (
                self.source_size if self.source_size <= EXPORTER_MAX else utf8_prefix(self.source_text, EXPORTER_MAX)
            )
            memcpy(domain.exporter, self.source_text, domain.exporter_size)
        if self.has_received and self.domains.held_bytes:
            self.reject_aged(domain)
        return domain

    cdef void reject_aged(self, Domain* domain) noexcept nogil:
        cdef int64_t minute
        cdef int64_t before_ns = self.received_ns - HELD_AGE_S * 1_000_000_000LL
        self.reject_held_before(domain, before_ns)
        minute = self.received_ns // <int64_t> MINUTE_NS
        if minute <= self.swept_minute:
            return
        # Those that are silent, too, else they took the room of others for good.
        self.swept_minute = minute
        domain = self.domains.oldest
        while domain != NULL:
            self.reject_held_before(domain, before_ns)
            domain = domain.newer

    cdef void forget_excess(self) noexcept nogil:
        cdef Domain* domain = self.domains.excess()
        while domain != NULL:
            self.reject_held_before(domain, FOREVER_NS)
            self.domains.forget(domain)
            self.domains.forgotten += 1
            domain = self.domains.excess()

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
            if not self.domains.has_room(domain, set_bytes - 4):
                put_detail(detail, sizeof(detail), b"set %llu: too many sets wait for a template", set_id, 0)
                return self.reject(TEMPLATE_UNKNOWN, at, set_bytes, detail)
            if self.domains.hold(domain, &self.message, self.start + at + 4, set_bytes - 4) < 0:
                self.out_of_memory = True
                return -1
            return 0
        if set_id == template_id or set_id == options_id:
            return self.read_templates(domain, set_id == options_id, at + 4, at + set_bytes)
        put_detail(detail, sizeof(detail), b"set %llu is reserved", set_id, 0)
        return self.reject(RESERVED_SET, at, set_bytes, detail)

    cdef int read_templates(self, Domain* domain, bint is_options, int64_t at, int64_t end) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef bint is_v9 = self.message.version == 9
        cdef uint32_t number, field_count, scope_count
        cdef int64_t record_at, head_bytes = 6 if is_options else 4
        cdef char detail[96]
        while end - at >= 4:
            record_at = at
            number, field_count, scope_count = be16(p + at), be16(p + at + 2), 0
            if not is_v9 and field_count == 0 and (number >= FIRST_DATA_SET or number == (3 if is_options else 2)):
                # A withdrawal [8.1] is four octets, for options templates too; the set's own number means all of them.
                self.withdraw(domain, number, is_options)
                at += 4
                continue
            if number < FIRST_DATA_SET:
                if is_zero(p + at, end - at):
                    return 0
                put_detail(detail, sizeof(detail), b"template number %llu is reserved", number, 0)
                return self.reject(BAD_TEMPLATE, at, end - at, detail)
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
            at = self.read_fields(at + head_bytes, end, field_count)
            if at < 0:
                put_detail(detail, sizeof(detail), b"template %llu is cut", number, 0)
                return self.reject(TRUNCATED, record_at, end - record_at, detail)
            if self.define(domain, number, field_count, scope_count, is_options, record_at, at) < 0:
                return -1
        return 0                             # up to three octets of padding, zero or not

    cdef int64_t read_fields(self, int64_t at, int64_t end, uint32_t field_count) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef uint32_t index, word
        cdef Field field
        for index in range(field_count):
            if end - at < 4:
                return -1
            word = be16(p + at)
            field.element, field.length, field.enterprise = <uint16_t> word, be16(p + at + 2), 0
            at += 4
            if self.message.version == 10 and word & 0x8000:
                if end - at < 4:
                    return -1
                field.element, field.enterprise = <uint16_t> (word & 0x7FFF), be32(p + at)
                at += 4
            if index < FIELDS_MAX:
                self.fields[index] = field
        return at

    # Takes the template in `fields`, which stood in [at, end), and decodes what has waited for it.
    cdef int define(
        self, Domain* domain, uint32_t number, uint32_t field_count, uint32_t scope_count, bint is_options,
        int64_t at, int64_t end,
    ) noexcept nogil:
        cdef int status
        cdef char detail[96]
        cdef Held* held
        if field_count > FIELDS_MAX:
            put_detail(detail, sizeof(detail), b"template %llu has %llu fields", number, field_count)
            return self.reject(BAD_TEMPLATE, at, end - at, detail)
        status = self.domains.define(domain, number, self.fields, field_count, scope_count, is_options)
        if status == -1:
            self.out_of_memory = True
            return -1
        if status == -2:
            # Records of no octets would never end.
            put_detail(detail, sizeof(detail), b"records of template %llu have no octets", number, 0)
            return self.reject(RECORD_SIZE_0, at, end - at, detail)
        self.forget_excess()
        held = self.domains.take_for(domain, number)
        while held != NULL:
            status = self.read_held(domain, held)
            free(held)
            if status < 0:
                return -1
            held = self.domains.take_for(domain, number)
        return 0

    cdef void withdraw(self, Domain* domain, uint32_t number, bint is_options) noexcept nogil:
        cdef Template* template
        cdef Template* following = domain.oldest_template
        self.domains.withdrawals += 1
        if self.udp:
            return
        if number >= FIRST_DATA_SET:
            template = self.domains.template(domain, number)
            if template != NULL:
                self.domains.remove(domain, template)
            return
        while following != NULL:
            template, following = following, following.newer
            if template.is_options == is_options:
                self.domains.remove(domain, template)

    cdef int read_held(self, Domain* domain, Held* held) noexcept nogil:
        cdef Message message = self.message
        cdef int64_t received_ns = self.received_ns
        cdef bint has_received = self.has_received
        cdef int64_t frame_offset = self.frame_offset
        cdef int64_t rows_left = self.rows_left
        cdef uint32_t data_records = self.data_records
        cdef bint has_unknown_set = self.has_unknown_set
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
        self.data_records, self.has_unknown_set = data_records, has_unknown_set
        self.set_time()
        return status

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

    cdef void reject_held_before(self, Domain* domain, int64_t before_ns) noexcept nogil:
        cdef int32_t exporter = self.exporter
        cdef Held* held = self.domains.take_before(domain, before_ns)
        if held == NULL:
            return
        self.exporter = self.exporters.intern(domain.exporter, domain.exporter_size)
        if self.exporter < 0:
            self.out_of_memory = True
        while held != NULL:
            if self.exporter < 0:
                free(held)
            else:
                self.reject_held(held)
            held = self.domains.take_before(domain, before_ns)
        self.exporter = exporter

    cdef void reject_all_held(self) noexcept nogil:
        cdef Domain* domain = self.domains.oldest
        while domain != NULL:
            self.reject_held_before(domain, FOREVER_NS)
            domain = domain.newer

    cdef int read_data(self, Domain* domain, Template* template, const uint8_t* p, int64_t size, int64_t at) noexcept nogil:
        cdef int64_t count, left, used
        cdef const uint8_t* start = p
        if template.is_options or template.is_row_wise:
            left = size
            while left >= template.min_bytes:
                if template.is_variable and left <= 3 and is_zero(p, left):
                    break                    # padding; it could be read as fields of no octets
                used = self.locate(template, p, left)
                if used < 0:
                    self.has_unknown_set = True
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
            self.data_records += <uint32_t> count
            p += count * template.min_bytes
        # [RFC 7011 3.3.1] Padding is shorter than a record, and up to three octets; more that is not zero was part of one.
        if left > 3 and not is_zero(p, left):
            return self.reject(TRAILING_BYTES, at + 4 + (p - start), left, b"bytes behind the last record")
        return 0
