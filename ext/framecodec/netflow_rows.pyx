# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Rows of flows of NetFlow and IPFIX messages: opened with what the message says, closed, and counted for windows.

The first storey of the NetFlow decoder (netflow.pyx has the plan): it knows the message, no records and no templates.
"""
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Column
from framecodec.netflow_fields cimport fill16, fill32
from framecodec.rack cimport (
    ENTITY_INTERFACE, METRIC_FLOW_DROPPED_PACKETS, METRIC_FLOW_IN_BYTES, METRIC_FLOW_IN_PACKETS, METRIC_FLOW_OUT_BYTES,
    METRIC_FLOW_OUT_PACKETS, RackDecoder, UNIT_BYTES, UNIT_PACKETS, is_set,
)
from framecodec.records cimport (
    FLOW_BYTES, FLOW_CODEC, FLOW_DOMAIN, FLOW_DROPPED, FLOW_ETHERTYPE, FLOW_EXPORTER, FLOW_IN_IF, FLOW_MPLS_LABELS, FLOW_OUT_IF,
    FLOW_PACKETS, FLOW_RECEIVED, FLOW_SAMPLING_RATE, FLOW_SEQUENCE, QUALITY_SAMPLING_UNKNOWN, QUALITY_TIME_SUBSTITUTED,
)

__all__ = ["NetflowRows"]

cdef enum:
    # Beyond this the exporter's clock is wrong: samples then take the time of reception.
    CLOCK_LIMIT_S = 3600


cdef class NetflowRows(RackDecoder):
    """Base of the NetFlow decoder: messages and their flow rows."""

    cdef void open_message(
        self, uint32_t version, uint32_t domain, uint32_t sequence, uint32_t uptime_ms, int64_t export_ns,
    ) noexcept nogil:
        self.message.version, self.message.domain, self.message.sequence = version, domain, sequence
        self.message.uptime_ms, self.message.export_ns = uptime_ms, export_ns
        self.message.received_ns, self.message.has_received = self.received_ns, self.has_received
        self.message.frame_offset = self.frame_offset
        self.set_time()

    cdef void set_time(self) noexcept nogil:
        cdef int64_t skew_ns = self.message.export_ns - self.received_ns
        self.time_ns, self.time_quality = self.message.export_ns, 0
        if self.has_received and (skew_ns > CLOCK_LIMIT_S * 1_000_000_000LL or skew_ns < -CLOCK_LIMIT_S * 1_000_000_000LL):
            self.time_ns, self.time_quality = self.received_ns, QUALITY_TIME_SUBSTITUTED

    cdef int64_t open_rows(self, int64_t count, int32_t codec) noexcept nogil:
        cdef int64_t row = self.flows.length
        cdef int64_t received_ns = self.received_ns
        cdef int64_t index
        cdef int64_t* times
        cdef uint64_t* masks
        cdef uint64_t present = 0
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
            present = <uint64_t> 1 << FLOW_RECEIVED
        masks = self.flows.masks + row
        for index in range(count):
            masks[index] = present
        return row

    cdef uint64_t fill_ethertype(self, int64_t row, uint16_t ethertype, int64_t count) noexcept nogil:
        fill16(<uint16_t*> self.flows.columns[FLOW_ETHERTYPE].values + row, ethertype, count)
        return <uint64_t> 1 << FLOW_ETHERTYPE

    cdef void close_rows(self, int64_t count) noexcept nogil:
        cdef Column* labels = &self.flows.columns[FLOW_MPLS_LABELS]
        fill32(<uint32_t*> labels.ends + self.flows.length + 1, <uint32_t> (labels.data_used // 4), count)
        self.flows.length += count
        self.rows_left -= count

    cdef int contribute_rows(self, int64_t row, int64_t count) noexcept nogil:
        cdef Column* columns = self.flows.columns
        cdef const uint64_t* masks = self.flows.masks
        cdef const uint32_t* rates = <const uint32_t*> columns[FLOW_SAMPLING_RATE].values
        cdef const uint32_t* inputs = <const uint32_t*> columns[FLOW_IN_IF].values
        cdef const uint32_t* outputs = <const uint32_t*> columns[FLOW_OUT_IF].values
        cdef int64_t index
        cdef double scale
        cdef uint16_t quality
        if not self.derive:
            return 0
        for index in range(row, row + count):
            scale, quality = 1, QUALITY_SAMPLING_UNKNOWN
            if is_set(masks[index], FLOW_SAMPLING_RATE):
                scale, quality = rates[index], 0
            if is_set(masks[index], FLOW_IN_IF) and inputs[index] and contribute_side(
                self, index, inputs[index], METRIC_FLOW_IN_BYTES, METRIC_FLOW_IN_PACKETS, True, scale, quality,
            ) < 0:
                return -1
            if is_set(masks[index], FLOW_OUT_IF) and outputs[index] and contribute_side(
                self, index, outputs[index], METRIC_FLOW_OUT_BYTES, METRIC_FLOW_OUT_PACKETS, False, scale, quality,
            ) < 0:
                return -1
        return 0


# What one flow adds to one interface; packets dropped count where they came in.
cdef inline int contribute_side(
    NetflowRows self, int64_t row, uint32_t interface, int32_t bytes_metric, int32_t packets_metric, bint is_input,
    double scale, uint16_t quality,
) noexcept nogil:
    cdef Column* columns = self.flows.columns
    cdef uint64_t present = self.flows.masks[row]
    cdef int32_t entity = self.entity(ENTITY_INTERFACE, interface, 0)
    if entity < 0:
        return -1
    if is_set(present, FLOW_BYTES) and self.contribute(
        entity, bytes_metric, scale * <double> (<uint64_t*> columns[FLOW_BYTES].values)[row], UNIT_BYTES, quality,
    ) < 0:
        return -1
    if is_set(present, FLOW_PACKETS) and self.contribute(
        entity, packets_metric, scale * <double> (<uint64_t*> columns[FLOW_PACKETS].values)[row], UNIT_PACKETS, quality,
    ) < 0:
        return -1
    if is_input and is_set(present, FLOW_DROPPED):
        return self.contribute(
            entity, METRIC_FLOW_DROPPED_PACKETS, scale * <double> (<uint64_t*> columns[FLOW_DROPPED].values)[row], UNIT_PACKETS,
            quality,
        )
    return 0
