# Rows that decoders have in common: what they have measured of a link, and what they gave up. See link_rows.pyx.
from libc.stdint cimport int32_t, int64_t

from framecodec.columns cimport Names, Rows

cdef enum:
    CHANNELS = 64            # virtual channels of a spacecraft: 732.0-B 4.1.2.3, 732.1-B 4.1.2.5; TM has 8

# The entities of a link, under the ids of entity_of(): the spacecraft and `<spacecraft>/vc/<id>`.
cdef add_entities(Names entities, str spacecraft)

# One number of model.SAMPLES, kind 0 of the rows' names. `unit` and `received_ns` -1: none, unknown. 0 or -1 (memory).
cdef int put_measure(
    Rows rows, int32_t entity, int32_t metric, int32_t unit, double value, int64_t time_ns, int64_t received_ns, int32_t source,
    int quality,
) noexcept nogil
# One row of model.REJECTS. 0 or -1 (memory).
cdef int put_reject(
    Rows rows, int32_t reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
) noexcept nogil


# The entity of a virtual channel, or of the spacecraft where none is known (-1).
cdef inline int32_t entity_of(int32_t vcid) noexcept nogil:
    return 1 + vcid if 0 <= vcid < CHANNELS else 0
