# Rows of flows of NetFlow and IPFIX messages. See netflow_rows.pyx.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from framecodec.held_sets cimport Message
from framecodec.rack cimport RackDecoder


cdef class NetflowRows(RackDecoder):
    cdef Message message                 # the one being read, or the one that brought a held set

    # Notes what a message's header says; its time becomes that of samples unless it is absurd.
    cdef void open_message(
        self, uint32_t version, uint32_t domain, uint32_t sequence, uint32_t uptime_ms, int64_t export_ns,
    ) noexcept nogil
    cdef void set_time(self) noexcept nogil
    # `count` rows with what the message says of all of them; the index of the first, or -1: out of memory or rows.
    cdef int64_t open_rows(self, int64_t count, int32_t codec) noexcept nogil
    # Gives the bit of the column.
    cdef uint64_t fill_ethertype(self, int64_t row, uint16_t ethertype, int64_t count) noexcept nogil
    cdef void close_rows(self, int64_t count) noexcept nogil
    # Window-only rows for the interfaces that each flow names.
    cdef int contribute_rows(self, int64_t row, int64_t count) noexcept nogil
