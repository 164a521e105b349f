# Rows that every satellite decoder writes: what it has measured of a link, and what it gave up. See link_rows.pyx.
from libc.stdint cimport int32_t, int64_t

from framecodec.columns cimport Rows

# One number of model.SAMPLES, kind 0 of the rows' names. `received_ns` -1: unknown. 0 or -1 (memory).
cdef int put_measure(
    Rows rows, int32_t entity, int32_t metric, int32_t unit, double value, int64_t time_ns, int64_t received_ns, int32_t source,
    int quality,
) noexcept nogil
# One row of model.REJECTS. 0 or -1 (memory).
cdef int put_reject(
    Rows rows, int32_t reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
) noexcept nogil
