# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What NetFlow v9 and IPFIX exporters have told: templates, compiled; sampling rates; sets that wait for a template.

Keyed by sender, version and observation domain. Bounded three ways: exporters (the least recently heard is forgotten),
memory of templates, and bytes of held sets per domain and together. Nothing here reads datagrams: netflow_sets.pyx does.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from framecodec.elements cimport Elements, Field, Op, Template

__all__ = ["Domains"]

cdef enum:
    BUCKETS = 1 << 14
    DOMAINS_MAX = 1 << 16
    TEMPLATES_MAX = 4096                 # of one domain
    TEMPLATE_BYTES_MAX = 1 << 28
    HELD_BYTES_MAX = 1 << 26
    DOMAIN_HELD_BYTES_MAX = 1 << 20      # a full-rate exporter's minute or a small one's hour


cdef class Domains:
    """All exporters heard; one object for each decoder. `elements` compiles their templates."""

    def __cinit__(self, Elements elements not None):
        self.elements = elements
        self.buckets = <Domain**> calloc(BUCKETS, sizeof(Domain*))
        if self.buckets == NULL:
            raise MemoryError

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
        self.elements.compile(template, (domain.key[2] >> 32) == 9)
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
