# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What all sFlow samples have: a data source with sequence numbers, and records behind each other.

The first storey of the sFlow decoder (sflow.pyx has the plan). Where the length of a datagram's last sample is too short,
its records are what follows: sflowtool reads them so too.
"""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from framecodec.rack cimport (
    BAD_LENGTH, COUNTER, GAUGE, METRIC_SAMPLE_GAPS, RackDecoder, TRAILING_BYTES, UNIT_PACKETS, UNIT_SAMPLES,
    be32,
)
from framecodec.rack_text cimport put_detail

__all__ = ["SflowSamples"]


cdef class SflowSamples(RackDecoder):
    """Base of the sFlow decoder: data sources and records."""

    cdef int tell_source(self, const Sample* sample, int64_t lost, int32_t drops_metric) noexcept nogil:
        cdef int32_t entity = self.entity(entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        if lost > 0 and self.sample(entity, METRIC_SAMPLE_GAPS, <double> lost, GAUGE, UNIT_SAMPLES) < 0:
            return -1
        if drops_metric != NO_METRIC and self.sample(entity, drops_metric, sample.drops, COUNTER, UNIT_PACKETS) < 0:
            return -1
        return 0

    cdef int reject_short(self, const Sample* sample, int64_t at, int64_t left, uint32_t index) noexcept nogil:
        cdef char detail[96]
        if left < 8:
            put_detail(detail, sizeof(detail), b"record %llu of %llu is missing", index + 1, sample.records)
        else:
            put_detail(
                detail, sizeof(detail), b"record of %llu bytes, %llu are left", be32(self.start + at + 4),
                <uint64_t> (left - 8),
            )
        return self.reject(BAD_LENGTH, at, left, detail)

    cdef int reject_rest(self, const Sample* sample, int64_t at) noexcept nogil:
        cdef char detail[96]
        put_detail(detail, sizeof(detail), b"%llu bytes after %llu records", <uint64_t> (sample.end - at), sample.records)
        return self.reject(TRAILING_BYTES, at, sample.end - at, detail)

    cdef int reject_long(self, const Sample* sample, int64_t at) noexcept nogil:
        if self.reject(BAD_LENGTH, sample.at, 0, b"sample is longer than it says") < 0:
            return -1
        if at == sample.reach:
            return 1
        if self.reject(TRAILING_BYTES, at, sample.reach - at, b"bytes after the last sample") < 0:
            return -1
        return 1
