# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What NetFlow v9 and IPFIX exporters have told: templates, compiled; sampling rates; sets that wait for a template.

Keyed by sender, version and observation domain. Bounded three ways: exporters (the least recently heard is forgotten),
memory of templates, and bytes of held sets per domain and together. Nothing here reads datagrams: netflow.pyx does.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from framecodec.netflow_elements import ELEMENTS, EXPORT_COUNTERS, OPERATIONS, OPTIONS, SCOPES
from framecodec.records import FLOWS_FIELDS

__all__ = ["Domains"]

cdef enum:
    COLUMNS_MAX = 64
    BUCKETS = 1 << 14
    DOMAINS_MAX = 1 << 16
    TEMPLATES_MAX = 4096                 # of one domain
    TEMPLATE_BYTES_MAX = 1 << 28
    HELD_BYTES_MAX = 1 << 26
    DOMAIN_HELD_BYTES_MAX = 1 << 20      # a full-rate exporter's minute or a small one's hour

OPTION_NAMES = (
    "rate", "interval", "space", "size", "population", "sampler", "interface", "if_name", "if_description", "vrf", "vrf_name",
    "system_init",
)
WIDTHS = {"C": 1, "S": 2, "I": 4, "L": 8}


# A domain in a snapshot; its templates and held sets follow.
cdef struct Saved:
    uint64_t key[3]
    uint64_t lone_sampler
    int64_t system_init_ms
    uint32_t default_rate
    uint32_t lone_rate
    uint32_t has_samplers
    uint32_t has_several_samplers
    uint32_t has_interface_rates
    uint32_t template_count
    uint32_t held_count
    uint32_t exporter_size
    uint8_t exporter[EXPORTER_MAX]
    uint32_t reserved


cdef class Domains:
    """All exporters heard; one object for each decoder. `enterprise` maps (enterprise number, element) to a column."""

    def __cinit__(self, enterprise=()):
        cdef int index
        columns = {field[0]: (number, WIDTHS.get(field[1], 0)) for number, field in enumerate(FLOWS_FIELDS)}
        self.buckets = <Domain**> calloc(BUCKETS, sizeof(Domain*))
        if self.buckets == NULL:
            raise MemoryError
        assert len(columns) <= COLUMNS_MAX
        for index in range(ELEMENTS_MAX):
            self.elements[index].operation = OP_NONE
            self.options[index] = self.scopes[index] = OP_NONE
        for element, operation, column, rank in ELEMENTS:
            self.elements[<int> element] = Element(OPERATIONS.index(operation), columns[column][0], columns[column][1], rank)
        for element, name in OPTIONS.items():
            self.options[<int> element] = OPTION_RATE + <int> OPTION_NAMES.index(name)
        for index, element in enumerate(EXPORT_COUNTERS):
            self.options[<int> element] = OPTION_COUNTER
            self.option_counters[<int> element] = index
        for element, name in SCOPES.items():
            self.scopes[<int> element] = OPTION_RATE + <int> OPTION_NAMES.index(name)
        for (number, element), column in dict(enterprise).items():
            if self.enterprise_count == 64:
                raise ValueError("more than 64 enterprise elements")
            if column not in columns or not columns[column][1]:
                raise ValueError(f"enterprise element {number}/{element}: {column!r} is no numeric column of flows")
            self.enterprise_keys[self.enterprise_count] = <uint64_t> number << 16 | <uint64_t> element
            self.enterprise_elements[self.enterprise_count] = Element(OP_NUMBER, columns[column][0], columns[column][1], 8)
            self.enterprise_count += 1

    def __dealloc__(self):
        if self.buckets != NULL:
            self.clear()
        free(self.buckets)

    cdef Domain* find(self, uint64_t high, uint64_t low, uint64_t version_domain) noexcept nogil:
        cdef uint64_t place = (high ^ (low * <uint64_t> 0x9E3779B97F4A7C15ULL)) + version_domain
        cdef Domain* domain
        place = (place * <uint64_t> 0xBF58476D1CE4E5B9ULL) >> 40 & (BUCKETS - 1)
        domain = self.buckets[place]
        while domain != NULL and not (domain.key[0] == high and domain.key[1] == low and domain.key[2] == version_domain):
            domain = domain.chain
        if domain == NULL:
            while self.oldest != NULL and (self.count >= DOMAINS_MAX or self.template_bytes > TEMPLATE_BYTES_MAX):
                self.forgotten += 1
                self.forget(self.oldest)
            domain = <Domain*> calloc(1, sizeof(Domain))
            if domain == NULL:
                return NULL
            domain.key[0], domain.key[1], domain.key[2] = high, low, version_domain
            domain.system_init_ms = -1
            domain.chain = self.buckets[place]
            self.buckets[place] = domain
            self.count += 1
        elif domain == self.newest:
            return domain
        else:
            if domain.newer != NULL:
                domain.newer.older = domain.older
            if domain.older != NULL:
                domain.older.newer = domain.newer
            if self.oldest == domain:
                self.oldest = domain.newer
        domain.newer, domain.older = NULL, self.newest
        if self.newest != NULL:
            self.newest.newer = domain
        self.newest = domain
        if self.oldest == NULL:
            self.oldest = domain
        return domain

    cdef void forget(self, Domain* domain) noexcept nogil:
        cdef uint64_t place = (domain.key[0] ^ (domain.key[1] * <uint64_t> 0x9E3779B97F4A7C15ULL)) + domain.key[2]
        cdef Domain** link
        cdef Held* held
        cdef uint32_t index
        place = (place * <uint64_t> 0xBF58476D1CE4E5B9ULL) >> 40 & (BUCKETS - 1)
        link = &self.buckets[place]
        while link[0] != domain:
            link = &link[0].chain
        link[0] = domain.chain
        if domain.newer != NULL:
            domain.newer.older = domain.older
        else:
            self.newest = domain.older
        if domain.older != NULL:
            domain.older.newer = domain.newer
        else:
            self.oldest = domain.newer
        held = self.take_any(domain)
        while held != NULL:
            free(held)
            held = self.take_any(domain)
        if domain.templates != NULL:
            for index in range(domain.template_mask + 1):
                if domain.templates[index] != NULL:
                    self.template_bytes -= template_size(domain.templates[index])
                    free_template(domain.templates[index])
        free(domain.templates)
        free(domain)
        self.count -= 1

    cdef void clear(self) noexcept nogil:
        while self.newest != NULL:
            self.forget(self.newest)

    cdef Template* template(self, const Domain* domain, uint32_t number) noexcept nogil:
        cdef uint32_t place
        if domain.templates == NULL:
            return NULL
        place = number & domain.template_mask
        while domain.templates[place] != NULL:
            if domain.templates[place].id == number:
                return domain.templates[place]
            place = (place + 1) & domain.template_mask
        return NULL

    cdef int define(
        self, Domain* domain, uint32_t number, const Field* fields, uint32_t field_count, uint32_t scope_count, bint is_options,
    ) noexcept nogil:
        cdef Template* known = self.template(domain, number)
        cdef Template* template
        cdef Template** grown
        cdef uint32_t index, place, mask
        if (
            known != NULL and known.is_options == is_options and known.field_count == field_count
            and known.scope_count == scope_count and memcmp(known.fields, fields, field_count * sizeof(Field)) == 0
        ):
            return 0
        if known == NULL and domain.template_count >= TEMPLATES_MAX:
            return -3
        template = <Template*> calloc(1, sizeof(Template))
        if template == NULL:
            return -1
        template.id = <uint16_t> number
        template.is_options = is_options
        template.field_count = <uint16_t> field_count
        template.scope_count = <uint16_t> scope_count
        template.fields = <Field*> malloc(field_count * sizeof(Field) + 1)
        template.ops = <Op*> malloc((field_count + 1) * sizeof(Op))
        template.reverse = <Op*> malloc((field_count + 1) * sizeof(Op))
        if template.fields == NULL or template.ops == NULL or template.reverse == NULL:
            free_template(template)
            return -1
        memcpy(template.fields, fields, field_count * sizeof(Field))
        self.compile(template, (domain.key[2] >> 32) == 9)
        if template.min_bytes == 0:
            free_template(template)
            return -2
        if known != NULL:
            place = number & domain.template_mask
            while domain.templates[place] != known:
                place = (place + 1) & domain.template_mask
            self.template_bytes -= template_size(known)
            free_template(known)
            domain.templates[place] = template
        else:
            if domain.templates == NULL or 2 * domain.template_count > domain.template_mask:
                mask = 2 * domain.template_mask + 1 if domain.templates != NULL else 15
                grown = <Template**> calloc(mask + 1, sizeof(Template*))
                if grown == NULL:
                    free_template(template)
                    return -1
                if domain.templates != NULL:
                    for index in range(domain.template_mask + 1):
                        if domain.templates[index] != NULL:
                            insert(grown, mask, domain.templates[index])
                free(domain.templates)
                domain.templates, domain.template_mask = grown, mask
            insert(domain.templates, domain.template_mask, template)
            domain.template_count += 1
        self.template_bytes += template_size(template)
        return 1

    # Fields into operations: for each column the best element, in the order of the template.
    cdef void compile(self, Template* template, bint is_v9) noexcept nogil:
        cdef uint32_t index, offset = 0
        cdef const Field* field
        cdef Element element
        cdef Op op
        cdef bint is_reverse
        cdef uint8_t best_rank[2][COLUMNS_MAX]
        cdef uint32_t best_index[2][COLUMNS_MAX]
        cdef uint32_t candidates[2][COLUMNS_MAX]
        memset(best_rank, 0xFF, sizeof(best_rank))
        memset(candidates, 0, sizeof(candidates))
        for index in range(0 if template.is_options else template.field_count):
            field = &template.fields[index]
            element = self.element(field)
            if field.length == 0 or not is_exclusive(element.operation):
                continue
            is_reverse = field.enterprise == REVERSE_PEN
            candidates[is_reverse][element.column] += 1
            if element.rank < best_rank[is_reverse][element.column]:
                best_rank[is_reverse][element.column] = element.rank
                best_index[is_reverse][element.column] = index
        for index in range(template.field_count):
            field = &template.fields[index]
            memset(&op, 0, sizeof(Op))
            op.field, op.length, op.offset = <uint16_t> index, field.length, offset
            if field.length == VARIABLE:
                template.is_variable = True
                template.min_bytes += 1
            else:
                template.min_bytes += field.length
                offset += field.length
            if field.length == 0:
                continue
            if template.is_options:
                if index < template.scope_count and is_v9:
                    op.operation = self.scopes[field.element] if field.element < ELEMENTS_MAX else OP_NONE
                else:
                    op.operation = OP_NONE
                    if field.enterprise == 0 and field.element < ELEMENTS_MAX:
                        op.operation = self.options[field.element]
                        op.number = self.option_counters[field.element]
                if op.operation != OP_NONE:
                    template.ops[template.op_count] = op
                    template.op_count += 1
                continue
            is_reverse = field.enterprise == REVERSE_PEN
            element = self.element(field)
            if element.operation == OP_NONE:
                continue
            # Of two addresses or masks both are read: the one of the other family may be all zero.
            if is_exclusive(element.operation) and (
                element.rank > best_rank[is_reverse][element.column]
                or (
                    best_index[is_reverse][element.column] != index and element.operation != OP_ADDRESS
                    and element.operation != OP_EITHER
                )
            ):
                continue
            op.operation, op.column, op.width = element.operation, element.column, element.width
            if op.operation == OP_ADDRESS:
                op.number = candidates[is_reverse][element.column] == 1
            if op.operation == OP_MPLS:
                op.number = <uint8_t> (field.element - 70)
                template.has_mpls = True
            if op.operation == OP_FRAME or op.operation == OP_PACKET or op.operation == OP_SYSTEM_INIT:
                template.is_row_wise = True
            if is_reverse:
                template.reverse[template.reverse_count] = op
                template.reverse_count += 1
                template.is_row_wise = True
                continue
            template.has_ethertype = template.has_ethertype or field.element == 256
            template.has_rate = template.has_rate or op.operation == OP_RATE
            if op.operation == OP_ADDRESS:
                template.has_ipv4 = template.has_ipv4 or field.element == 8 or field.element == 12
                template.has_ipv6 = template.has_ipv6 or field.element == 27 or field.element == 28
            template.ops[template.op_count] = op
            template.op_count += 1
        template.is_row_wise = template.is_row_wise or template.is_variable
        sort_ops(template.ops, template.op_count)

    cdef Element element(self, const Field* field) noexcept nogil:
        cdef int index
        cdef Element none
        if (field.enterprise == 0 or field.enterprise == REVERSE_PEN) and field.element < ELEMENTS_MAX:
            return self.elements[field.element]
        for index in range(self.enterprise_count):
            if self.enterprise_keys[index] == (<uint64_t> field.enterprise << 16 | field.element):
                return self.enterprise_elements[index]
        memset(&none, 0, sizeof(Element))
        none.operation = OP_NONE
        return none

    cdef void withdraw(self, Domain* domain, uint32_t number) noexcept nogil:
        cdef Template** rest
        cdef uint32_t index
        cdef Template* known = self.template(domain, number)
        if known == NULL:
            return
        rest = <Template**> calloc(domain.template_mask + 1, sizeof(Template*))
        if rest == NULL:
            return
        for index in range(domain.template_mask + 1):
            if domain.templates[index] != NULL and domain.templates[index] != known:
                insert(rest, domain.template_mask, domain.templates[index])
        free(domain.templates)
        domain.templates = rest
        domain.template_count -= 1
        self.template_bytes -= template_size(known)
        free_template(known)

    cdef int hold(self, Domain* domain, const Message* message, const uint8_t* data, int64_t size) noexcept nogil:
        cdef int64_t cost = size + <int64_t> sizeof(Held)
        cdef Held* held
        if domain.held_bytes + cost > DOMAIN_HELD_BYTES_MAX or self.held_bytes + cost > HELD_BYTES_MAX:
            return -1
        held = <Held*> malloc(sizeof(Held) + size)
        if held == NULL:
            return -1
        held.next = NULL
        held.size_bytes = size
        held.message = message[0]
        held.data = <uint8_t*> held + sizeof(Held)
        memcpy(held.data, data, size)
        if domain.last == NULL:
            domain.first = held
        else:
            domain.last.next = held
        domain.last = held
        domain.held_bytes += cost
        self.held_bytes += cost
        return 0

    cdef Held* take_for(self, Domain* domain, uint32_t set_id) noexcept nogil:
        cdef Held* before = NULL
        cdef Held* held = domain.first
        while held != NULL and held.message.set_id != set_id:
            before, held = held, held.next
        return unlink(self, domain, before, held)

    cdef Held* take_before(self, Domain* domain, int64_t before_ns) noexcept nogil:
        cdef Held* held = domain.first
        if held == NULL or not held.message.has_received or held.message.received_ns >= before_ns:
            return NULL
        return unlink(self, domain, NULL, held)

    cdef Held* take_any(self, Domain* domain) noexcept nogil:
        return unlink(self, domain, NULL, domain.first)

    # Each domain, the least recently heard first: its plain fields, its templates as announced, its held sets.
    cdef bytes dump(self):
        cdef list parts = []
        cdef Domain* domain = self.oldest
        cdef Held* held
        cdef Template* template
        cdef uint32_t index
        cdef uint32_t head[4]
        cdef Saved saved
        while domain != NULL:
            memset(&saved, 0, sizeof(Saved))
            memcpy(saved.key, domain.key, sizeof(saved.key))
            saved.lone_sampler, saved.system_init_ms = domain.lone_sampler, domain.system_init_ms
            saved.default_rate, saved.lone_rate = domain.default_rate, domain.lone_rate
            saved.has_samplers, saved.has_several_samplers = domain.has_samplers, domain.has_several_samplers
            saved.has_interface_rates = domain.has_interface_rates
            saved.template_count, saved.exporter_size = domain.template_count, domain.exporter_size
            memcpy(saved.exporter, domain.exporter, EXPORTER_MAX)
            held = domain.first
            while held != NULL:
                saved.held_count += 1
                held = held.next
            parts.append(PyBytes_FromStringAndSize(<char*> &saved, sizeof(Saved)))
            if domain.templates != NULL:
                for index in range(domain.template_mask + 1):
                    template = domain.templates[index]
                    if template == NULL:
                        continue
                    head[0], head[1], head[2], head[3] = (
                        template.id, template.field_count, template.scope_count, template.is_options,
                    )
                    parts.append(PyBytes_FromStringAndSize(<char*> head, sizeof(head)))
                    parts.append(PyBytes_FromStringAndSize(<char*> template.fields, template.field_count * sizeof(Field)))
            held = domain.first
            while held != NULL:
                parts.append(PyBytes_FromStringAndSize(<char*> &held.message, sizeof(Message)))
                parts.append(PyBytes_FromStringAndSize(<char*> &held.size_bytes, 8))
                parts.append(PyBytes_FromStringAndSize(<char*> held.data, held.size_bytes))
                held = held.next
            domain = domain.newer
        head[0] = self.count
        return PyBytes_FromStringAndSize(<char*> head, 4) + b"".join(parts)

    # The octets read; ValueError where they do not fit together.
    cdef int64_t load(self, const uint8_t* data, int64_t size) except -1:
        cdef int64_t at = 4
        cdef uint32_t domain_count, index, number
        cdef uint32_t head[4]
        cdef Saved saved
        cdef Domain* domain
        cdef Message message
        cdef int64_t held_size
        cdef Field* fields
        check(size >= 4)
        memcpy(&domain_count, data, 4)
        self.clear()
        for index in range(domain_count):
            check(size - at >= <int64_t> sizeof(Saved))
            memcpy(&saved, data + at, sizeof(Saved))
            at += sizeof(Saved)
            domain = self.find(saved.key[0], saved.key[1], saved.key[2])
            if domain == NULL:
                raise MemoryError
            domain.default_rate, domain.lone_rate = saved.default_rate, saved.lone_rate
            domain.lone_sampler, domain.has_several_samplers = saved.lone_sampler, saved.has_several_samplers
            domain.has_samplers, domain.has_interface_rates = saved.has_samplers, saved.has_interface_rates
            domain.system_init_ms = saved.system_init_ms
            domain.exporter_size = saved.exporter_size if saved.exporter_size <= EXPORTER_MAX else 0
            memcpy(domain.exporter, saved.exporter, EXPORTER_MAX)
            for number in range(saved.template_count):
                check(size - at >= <int64_t> sizeof(head))
                memcpy(head, data + at, sizeof(head))
                at += sizeof(head)
                check(head[1] <= FIELDS_MAX and size - at >= <int64_t> (head[1] * sizeof(Field)))
                fields = <Field*> malloc(head[1] * sizeof(Field) + 1)
                if fields == NULL:
                    raise MemoryError
                memcpy(fields, data + at, head[1] * sizeof(Field))
                at += head[1] * sizeof(Field)
                self.define(domain, head[0] & 0xFFFF, fields, head[1], head[2], head[3] != 0)
                free(fields)
            for number in range(saved.held_count):
                check(size - at >= <int64_t> (sizeof(Message) + 8))
                memcpy(&message, data + at, sizeof(Message))
                memcpy(&held_size, data + at + sizeof(Message), 8)
                at += sizeof(Message) + 8
                check(0 <= held_size <= size - at)
                self.hold(domain, &message, data + at, held_size)
                at += held_size
        return at


cdef inline int check(bint fits) except -1:
    if not fits:
        raise ValueError("not a snapshot: the templates are cut short")
    return 0


cdef inline Held* unlink(Domains self, Domain* domain, Held* before, Held* held) noexcept nogil:
    if held == NULL:
        return NULL
    if before == NULL:
        domain.first = held.next
    else:
        before.next = held.next
    if domain.last == held:
        domain.last = before
    domain.held_bytes -= held.size_bytes + <int64_t> sizeof(Held)
    self.held_bytes -= held.size_bytes + <int64_t> sizeof(Held)
    return held


cdef inline void insert(Template** table, uint32_t mask, Template* template) noexcept nogil:
    cdef uint32_t place = template.id & mask
    while table[place] != NULL:
        place = (place + 1) & mask
    table[place] = template


cdef inline int64_t template_size(const Template* template) noexcept nogil:
    return sizeof(Template) + template.field_count * (sizeof(Field) + 2 * sizeof(Op))


cdef void free_template(Template* template) noexcept nogil:
    free(template.ops)
    free(template.reverse)
    free(template.fields)
    free(template)


# Packets inside a record go first, so that elements overrule them, and start times; then joint ICMP elements; rates, spaces and samplers
# last, in this order.
cdef void sort_ops(Op* ops, int count) noexcept nogil:
    cdef int index, place
    cdef Op op
    for index in range(1, count):
        op = ops[index]
        place = index
        while place > 0 and phase(ops[place - 1].operation) > phase(op.operation):
            ops[place] = ops[place - 1]
            place -= 1
        ops[place] = op


# Of these one a column is read.
cdef inline bint is_exclusive(uint8_t operation) noexcept nogil:
    return operation < OP_MPLS or OP_SECONDS <= operation < OP_ICMP


cdef inline int phase(uint8_t operation) noexcept nogil:
    if operation == OP_FRAME or operation == OP_PACKET or operation == OP_SYSTEM_INIT:
        return 0
    if operation == OP_ICMP:
        return 1
    if operation == OP_RATE:
        return 3
    if operation == OP_SPACE:
        return 4
    if operation == OP_SAMPLER:
        return 5
    return 2
