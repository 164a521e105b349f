# Enterprise elements as samples. See netflow_named.pyx.
from libc.stdint cimport int32_t, uint8_t, uint32_t

from framecodec.elements cimport Elements, Field, Op
from framecodec.rack cimport RackDecoder

# One sample of one element of a record; none where its octets are no value of its type. -1: out of memory or rows.
cdef int sample_named(
    RackDecoder self, Elements elements, const Field* field, const Op* op, int32_t entity, const uint8_t* p, uint32_t length,
) noexcept nogil
