# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""The state of Domains as octets, and back: templates as announced, sampling, held sets; in this machine's byte order."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from framecodec.elements cimport FIELDS_MAX, Field, Template
from framecodec.held_sets cimport Held, Message
from framecodec.templates cimport Domain, Domains, EXPORTER_MAX

__all__: list[str] = []


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


cdef bytes dump_domains(Domains domains):
    cdef list parts = []
    cdef Domain* domain = domains.oldest
    cdef Held* held
    cdef Template* template
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
        held = domain.held.oldest
        while held != NULL:
            saved.held_count += 1
            held = held.newer
        parts.append(PyBytes_FromStringAndSize(<char*> &saved, sizeof(Saved)))
        template = domain.oldest_template
        while template != NULL:
            head[0], head[1], head[2], head[3] = template.id, template.field_count, template.scope_count, template.is_options
            parts.append(PyBytes_FromStringAndSize(<char*> head, sizeof(head)))
            parts.append(PyBytes_FromStringAndSize(<char*> template.fields, template.field_count * sizeof(Field)))
            template = template.newer
        held = domain.held.oldest
        while held != NULL:
            parts.append(PyBytes_FromStringAndSize(<char*> &held.message, sizeof(Message)))
            parts.append(PyBytes_FromStringAndSize(<char*> &held.size_bytes, 8))
            parts.append(PyBytes_FromStringAndSize(<char*> held.data, held.size_bytes))
            held = held.newer
        domain = domain.newer
    head[0] = domains.count
    return PyBytes_FromStringAndSize(<char*> head, 4) + b"".join(parts)


cdef int64_t load_domains(Domains domains, const uint8_t* data, int64_t size) except -1:
    cdef int64_t at = 4
    cdef uint32_t domain_count
    cdef uint32_t head[4]
    cdef Saved saved
    cdef Domain* domain
    cdef Message message
    cdef int64_t held_size
    cdef Field* fields
    check(size >= 4)
    memcpy(&domain_count, data, 4)
    domains.clear()
    for _ in range(domain_count):
        check(size - at >= <int64_t> sizeof(Saved))
        memcpy(&saved, data + at, sizeof(Saved))
        at += sizeof(Saved)
        domain = domains.find(saved.key[0], saved.key[1], saved.key[2])
        if domain == NULL:
            raise MemoryError
        domain.default_rate, domain.lone_rate = saved.default_rate, saved.lone_rate
        domain.lone_sampler, domain.has_several_samplers = saved.lone_sampler, saved.has_several_samplers
        domain.has_samplers, domain.has_interface_rates = saved.has_samplers, saved.has_interface_rates
        domain.system_init_ms = saved.system_init_ms
        domain.exporter_size = saved.exporter_size if saved.exporter_size <= EXPORTER_MAX else 0
        memcpy(domain.exporter, saved.exporter, EXPORTER_MAX)
        for _ in range(saved.template_count):
            check(size - at >= <int64_t> sizeof(head))
            memcpy(head, data + at, sizeof(head))
            at += sizeof(head)
            check(head[1] <= FIELDS_MAX and size - at >= <int64_t> (head[1] * sizeof(Field)))
            fields = <Field*> malloc(head[1] * sizeof(Field) + 1)
            if fields == NULL:
                raise MemoryError
            memcpy(fields, data + at, head[1] * sizeof(Field))
            at += head[1] * sizeof(Field)
            domains.define(domain, head[0] & 0xFFFF, fields, head[1], head[2], head[3] != 0)
            free(fields)
        for _ in range(saved.held_count):
            check(size - at >= <int64_t> (sizeof(Message) + 8))
            memcpy(&message, data + at, sizeof(Message))
            memcpy(&held_size, data + at + sizeof(Message), 8)
            at += sizeof(Message) + 8
            check(0 <= held_size <= size - at)
            if domains.hold(domain, &message, data + at, held_size) < 0:
                raise MemoryError
            at += held_size
    return at


cdef inline int check(bint fits) except -1:
    if not fits:
        raise ValueError("not a snapshot: the templates are cut short")
    return 0
