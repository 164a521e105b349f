# What is at a constant place, column by column. See column_runs.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.layouts cimport LayoutC, Machine

# The columns of `count` packets of one container, the first of which gets row `row`; each has fixed_bytes at least.
cdef void read_columns(
    Machine* machine, const LayoutC* layout, const uint8_t** packets, int64_t count, int64_t row,
) noexcept nogil
