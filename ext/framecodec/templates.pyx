# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What NetFlow v9 and IPFIX exporters have told: templates, compiled; sampling rates; sets that wait for a template.

Keyed by sender, version and observation domain. Bounds: domains and the memory of their templates together (the least recently
heard is to be forgotten, `excess`), templates of a domain (the one defined longest ago is), bytes of held sets per domain and
together. Nothing here reads datagrams: netflow_sets.pyx does.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from framecodec.elements cimport Elements, Field, Op, Template
from framecodec.held_sets cimport Held, Message, held_cost, keep, take

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

    cdef Domain* excess(self) noexcept nogil:
        if self.oldest == self.newest or (self.count <= DOMAINS_MAX and self.template_bytes <= TEMPLATE_BYTES_MAX):
            return NULL
        return self.oldest

    cdef void forget(self, Domain* domain) noexcept nogil:
        cdef uint64_t place = (domain.key[0] ^ (domain.key[1] * <uint64_t> 0x9E3779B97F4A7C15ULL)) + domain.key[2]
        cdef Domain** link
        cdef Held* held
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
        held = self.take_before(domain, FOREVER_NS)
        while held != NULL:
            free(held)
            held = self.take_before(domain, FOREVER_NS)
        while domain.oldest_template != NULL:
            self.remove(domain, domain.oldest_template)
        free(domain.templates)
        free(domain)
        self.count -= 1

    cdef void clear(self) noexcept nogil:
        while self.newest != NULL:
            self.forget(self.newest)

    cdef Template* template(self, const Domain* domain, uint32_t number) noexcept nogil:
        cdef Template* template
        if domain.templates == NULL:
            return NULL
        template = domain.templates[number & domain.template_mask]
        while template != NULL and template.id != number:
            template = template.chain
        return template

    cdef int define(
        self, Domain* domain, uint32_t number, const Field* fields, uint32_t field_count, uint32_t scope_count, bint is_options,
    ) noexcept nogil:
        cdef Template* known = self.template(domain, number)
        cdef Template* template
        if (
            known != NULL and known.is_options == is_options and known.field_count == field_count
            and known.scope_count == scope_count and memcmp(known.fields, fields, field_count * sizeof(Field)) == 0
        ):
            unlink(domain, known)
            link(domain, known)
            return 0
        if (domain.templates == NULL or domain.template_count > domain.template_mask) and grow(domain) < 0:
            return -1
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
            self.remove(domain, known)
        elif domain.template_count >= TEMPLATES_MAX:
            # Those in use are defined again and again; the others would fill the domain for good.
            self.remove(domain, domain.oldest_template)
            self.forgotten_templates += 1
        template.chain = domain.templates[number & domain.template_mask]
        domain.templates[number & domain.template_mask] = template
        link(domain, template)
        domain.template_count += 1
        self.template_bytes += template_size(template)
        return 1

    cdef void remove(self, Domain* domain, Template* template) noexcept nogil:
        cdef Template** place = &domain.templates[template.id & domain.template_mask]
        while place[0] != template:
            place = &place[0].chain
        place[0] = template.chain
        unlink(domain, template)
        domain.template_count -= 1
        self.template_bytes -= template_size(template)
        free_template(template)

    cdef bint has_room(self, const Domain* domain, int64_t size) noexcept nogil:
        size = held_cost(size)
        return domain.held_bytes + size <= DOMAIN_HELD_BYTES_MAX and self.held_bytes + size <= HELD_BYTES_MAX

    cdef int hold(self, Domain* domain, const Message* message, const uint8_t* data, int64_t size) noexcept nogil:
        if keep(&domain.held, message, data, size) < 0:
            return -1
        domain.held_bytes += held_cost(size)
        self.held_bytes += held_cost(size)
        return 0

    cdef Held* take_for(self, Domain* domain, uint32_t set_id) noexcept nogil:
        cdef Held* held = take(&domain.held, set_id)
        if held != NULL:
            domain.held_bytes -= held_cost(held.size_bytes)
            self.held_bytes -= held_cost(held.size_bytes)
        return held

    cdef Held* take_before(self, Domain* domain, int64_t before_ns) noexcept nogil:
        cdef const Held* oldest = domain.held.oldest
        if oldest == NULL:
            return NULL
        if before_ns != <int64_t> FOREVER_NS and (not oldest.message.has_received or oldest.message.received_ns >= before_ns):
            return NULL
        return self.take_for(domain, oldest.message.set_id)


# Twice the buckets, 16 at first.
cdef int grow(Domain* domain) noexcept nogil:
    cdef uint32_t mask = 2 * domain.template_mask + 1 if domain.templates != NULL else 15
    cdef Template** grown = <Template**> calloc(mask + 1, sizeof(Template*))
    cdef Template* template = domain.oldest_template
    if grown == NULL:
        return -1
    while template != NULL:
        template.chain = grown[template.id & mask]
        grown[template.id & mask] = template
        template = template.newer
    free(domain.templates)
    domain.templates, domain.template_mask = grown, mask
    return 0


# The newest of all.
cdef inline void link(Domain* domain, Template* template) noexcept nogil:
    template.newer, template.older = NULL, domain.newest_template
    if domain.newest_template == NULL:
        domain.oldest_template = template
    else:
        domain.newest_template.newer = template
    domain.newest_template = template


cdef inline void unlink(Domain* domain, Template* template) noexcept nogil:
    if template.newer == NULL:
        domain.newest_template = template.older
    else:
        template.newer.older = template.older
    if template.older == NULL:
        domain.oldest_template = template.newer
    else:
        template.older.newer = template.newer


cdef inline int64_t template_size(const Template* template) noexcept nogil:
    return sizeof(Template) + template.field_count * (sizeof(Field) + 2 * sizeof(Op))


cdef void free_template(Template* template) noexcept nogil:
    free(template.ops)
    free(template.reverse)
    free(template.fields)
    free(template)
