# Flow samples of sFlow. See sflow_flows.pyx.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from framecodec.sflow_samples cimport Sample, SflowSamples


cdef class SflowFlows(SflowSamples):
    cdef uint64_t mask                   # of rows of this datagram: columns that complete_rows fills

    # One sample in [at, end); records may go to `reach`. 0, 1 when they did, -1 out of memory or rows.
    cdef int read_flow(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil
    # What the datagram says of all of its flows, into the rows from `row` on.
    cdef void complete_rows(self, int64_t row) noexcept nogil
    # Window-only rows of one flow, for each interface it names.
    cdef int contribute_flow(self, const Sample* sample, bint is_discard) noexcept nogil
