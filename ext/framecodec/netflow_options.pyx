# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Options records of NetFlow v9 and IPFIX: sampling, names of interfaces and VRFs, the exporter's own totals. Never flows.

The third storey of the NetFlow decoder. What a rate is about (a sampler, an interface, the whole domain) is told by the
scope or by a field beside it.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from framecodec.elements cimport (
    OPTION_COUNTER, OPTION_IF_DESCRIPTION, OPTION_IF_NAME, OPTION_INTERFACE, OPTION_INTERVAL, OPTION_POPULATION,
    OPTION_PROBABILITY, OPTION_RATE, OPTION_SAMPLER, OPTION_SIZE, OPTION_SPACE, OPTION_SYSTEM_INIT, OPTION_VRF, OPTION_VRF_NAME,
    Op, Template,
)
from framecodec.netflow_fields cimport number_of, ratio
from framecodec.netflow_records cimport INTERFACE_RATE, NetflowRecords, SAMPLER_RATE
from framecodec.rack cimport COUNTER, ENTITY_DOMAIN, ENTITY_INTERFACE, ENTITY_VRF
from framecodec.rack_text cimport utf8_prefix
from framecodec.state_table cimport Slot
from framecodec.templates cimport Domain

from framecodec.netflow_elements import EXPORT_COUNTERS

__all__ = ["NetflowOptions"]

cdef enum:
    NAME_BYTES_MAX = 255


cdef class NetflowOptions(NetflowRecords):
    """Base of the NetFlow decoder: options records."""

    def __cinit__(self, **others):
        for index, (metric, unit) in enumerate(EXPORT_COUNTERS.values()):
            self.metric_counters[index] = self.metrics.add(metric)
            self.unit_counters[index] = self.units.add(unit)
        self.metric_if_name = self.metrics.add("if_name")
        self.metric_if_description = self.metrics.add("if_description")
        self.metric_vrf_name = self.metrics.add("vrf_name")

    cdef int read_option(self, Domain* domain, const Template* template) noexcept nogil:
        cdef int index
        cdef const Op* op
        cdef uint64_t value, rate = 0, interval = 0, space = 0, sample = 0, population = 0, sampler = 0, interface = 0, vrf = 0
        cdef uint64_t inverse = 0
        cdef bint has_sampler = False, has_interface = False, has_vrf = False, has_rate = False, has_space = False
        cdef const Op* if_name = NULL        # told once the record has told what they name
        cdef const Op* if_description = NULL
        cdef const Op* vrf_name = NULL
        cdef bint is_new
        cdef Slot* slot
        for index in range(template.op_count):
            op = &template.ops[index]
            if self.length[op.field] == 0:
                continue
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
            elif op.operation == OPTION_PROBABILITY:
                inverse, has_rate = rate_of_probability(value, self.length[op.field]), True
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
                    self.entity(ENTITY_DOMAIN, self.message.domain, 0), self.metric_counters[op.number], <double> value,
                    COUNTER, self.unit_counters[op.number],
                ) < 0:
                    return -1
        if interval:
            rate = ratio(interval + space, interval) if has_space else interval
        elif sample and population:
            rate = ratio(population, sample)
        elif inverse:
            rate = inverse
        if has_rate and 0 < rate <= 0xFFFFFFFFU:
            if has_sampler or has_interface:
                slot = self.rates.find(
                    domain.key[0], domain.key[1], domain.key[2],
                    <uint64_t> SAMPLER_RATE << 56 | sampler if has_sampler else <uint64_t> INTERFACE_RATE << 56 | interface,
                    &is_new,
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


# 1 in N of a samplingProbability (RFC 5477): a float64 or, reduced, a float32; 0 where it is none.
cdef uint32_t rate_of_probability(uint64_t octets, uint32_t length) noexcept nogil:
    cdef uint32_t word = <uint32_t> octets
    cdef double probability = 0
    cdef float single
    if length == 8:
        memcpy(&probability, &octets, 8)
    elif length == 4:
        memcpy(&single, &word, 4)
        probability = single
    if not 1e-9 < probability <= 1:
        return 0
    return <uint32_t> (1 / probability + 0.5)
