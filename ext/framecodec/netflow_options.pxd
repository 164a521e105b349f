# Options records of NetFlow v9 and IPFIX. See netflow_options.pyx.
from libc.stdint cimport int32_t, uint32_t

from framecodec.elements cimport Op, Template
from framecodec.netflow_records cimport NetflowRecords
from framecodec.templates cimport Domain


cdef class NetflowOptions(NetflowRecords):
    cdef int32_t metric_counters[16]
    cdef int32_t unit_counters[16]
    cdef int32_t metric_if_name
    cdef int32_t metric_if_description
    cdef int32_t metric_vrf_name

    # One options record whose fields `locate` has found.
    cdef int read_option(self, Domain* domain, const Template* template) noexcept nogil
    # A text sample; strings end at the first octet that is no text, mostly zero padding.
    cdef int name(self, int kind, uint32_t number, int32_t metric, const Op* op) noexcept nogil
