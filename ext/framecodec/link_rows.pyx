# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Rows that decoders have in common: what satellite decoders have measured of a link, and what anybody gave up.

Names are ids of the dictionaries that the decoder gave its Rows. This module does not know what is measured.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport strlen

from framecodec.columns cimport Column, Names, Rows
from framecodec.records cimport (
    REJECT_DETAIL, REJECT_OFFSET, REJECT_REASON, REJECT_SIZE_BYTES, REJECT_SOURCE, REJECT_TIME, SAMPLE_ENTITY, SAMPLE_KIND,
    SAMPLE_METRIC, SAMPLE_QUALITY, SAMPLE_RECEIVED, SAMPLE_SOURCE, SAMPLE_TIME, SAMPLE_UNIT, SAMPLE_VALUE,
)


cdef add_entities(Names entities, str spacecraft):
    entities.add(spacecraft)
    for vcid in range(CHANNELS):
        entities.add(f"{spacecraft}/vc/{vcid}")


cdef int put_measure(
    Rows rows, int32_t entity, int32_t metric, int32_t unit, double value, int64_t time_ns, int64_t received_ns, int32_t source,
    int quality,
) noexcept nogil:
    cdef int64_t row = rows.length
    cdef Column* out
    if rows.reserve(1) < 0:
        return -1
    out = rows.columns
    (<int64_t*> out[SAMPLE_TIME].values)[row] = time_ns
    if received_ns >= 0:
        (<int64_t*> out[SAMPLE_RECEIVED].values)[row] = received_ns
        out[SAMPLE_RECEIVED].valid[row] = 1
    (<int32_t*> out[SAMPLE_ENTITY].values)[row] = entity
    (<int32_t*> out[SAMPLE_METRIC].values)[row] = metric
    (<double*> out[SAMPLE_VALUE].values)[row] = value
    out[SAMPLE_VALUE].valid[row] = 1
    (<int32_t*> out[SAMPLE_KIND].values)[row] = 0
    if unit >= 0:
        (<int32_t*> out[SAMPLE_UNIT].values)[row] = unit
        out[SAMPLE_UNIT].valid[row] = 1
    (<int32_t*> out[SAMPLE_SOURCE].values)[row] = source
    (<uint16_t*> out[SAMPLE_QUALITY].values)[row] = <uint16_t> quality
    rows.length += 1                                     # SAMPLES has no columns of bytes: nothing else to close
    return 0


cdef int put_reject(
    Rows rows, int32_t reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
) noexcept nogil:
    cdef int64_t row = rows.length
    cdef Column* out
    if rows.reserve(1) < 0:
        return -1
    out = rows.columns
    if received_ns >= 0:
        (<int64_t*> out[REJECT_TIME].values)[row] = received_ns
        out[REJECT_TIME].valid[row] = 1
    (<int32_t*> out[REJECT_SOURCE].values)[row] = source
    (<int32_t*> out[REJECT_REASON].values)[row] = reason
    (<int64_t*> out[REJECT_OFFSET].values)[row] = offset
    (<int64_t*> out[REJECT_SIZE_BYTES].values)[row] = size
    if rows.put_bytes(REJECT_DETAIL, <const uint8_t*> detail, strlen(detail)) < 0:
        return -1
    rows.next_row()
    return 0
