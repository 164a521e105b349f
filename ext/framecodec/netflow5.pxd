# Records of NetFlow version 5. See netflow5.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from framecodec.columns cimport Column

cdef enum:
    V5_RECORD_BYTES = 48

# `count` records at `p` into rows of FLOWS, from `row` on. Gives the columns that have a value in all of them, for Rows.masks.
cdef uint64_t read_v5_records(
    Column* columns, int64_t row, const uint8_t* p, int64_t count, int64_t export_ns, uint32_t uptime_ms,
) noexcept nogil
