# Flow samples of sFlow. See sflow_flows.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from framecodec.sflow_samples cimport Sample, SflowSamples


cdef class SflowFlows(SflowSamples):
    # 0, 1 when its records ran beyond it to the datagram's end, -1 out of memory or rows.
    cdef int read_flow(self, Sample* sample, bint is_discard) noexcept nogil
    # Window-only rows of one flow, for each interface it names.
    cdef int contribute_flow(self, const Sample* sample, bint is_discard) noexcept nogil
    # False where the record ends before its fields do, or a count in it lies; those next are like it.
    cdef bint read_flow_record(
        self, Sample* sample, int64_t row, uint32_t tag, const uint8_t* p, int64_t size,
    ) noexcept nogil
    # An sFlow address into a column that may be set already; the offset behind it, -1 when it is cut or of unknown type.
    cdef int64_t read_address(self, int64_t row, int column, const uint8_t* p, int64_t size) noexcept nogil
    # extended_gateway: next hop, own AS, source AS, source peer AS, AS path in segments, communities, local preference.
    cdef bint read_gateway(self, int64_t row, const uint8_t* p, int64_t size) noexcept nogil
    # extended_mpls: next hop, label stack in, label stack out; entries are whole label stack entries (RFC 3032).
    cdef bint read_mpls_record(self, int64_t row, const uint8_t* p, int64_t size) noexcept nogil
