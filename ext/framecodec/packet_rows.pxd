# Samples, derived samples and rejects of packets. See packet_rows.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t

from framecodec.columns cimport Names, Rows
from framecodec.found_packets cimport Packet, Waste
from framecodec.melt cimport Melter
from framecodec.plan cimport Plan


@cython.final
cdef class PacketRows:
    cdef str entity
    cdef Plan plan                       # or None
    cdef Melter melter                   # or None
    cdef bint gives_samples
    cdef bint gives_derived
    cdef bint gives_raw
    cdef int64_t clock_limit_ns          # -1: none
    cdef Rows samples
    cdef Rows derived
    cdef Rows rejects
    cdef Names sources
    cdef int64_t reject_counts[5]
    cdef int32_t gaps_metric
    cdef int32_t packets_unit
    cdef int32_t delay_unit

    cdef open(self)
    # Names come from outside: open() before they fill the memory.
    cdef bint has_many_names(self)
    # The samples of one packet, and what it adds to windows. 0 or -1, as all that follow.
    cdef int write_samples(self, const Packet* packet, int32_t container, int64_t row, int64_t time_ns) noexcept nogil
    cdef int write_events(self, const Packet* packet, int64_t stamp, int quality) noexcept nogil
    # What the definition does not have, or the packet lacks.
    cdef int write_remarks(self, const Packet* packet, int32_t container, bint is_short) noexcept nogil
    cdef int write_waste(self, const Waste* waste) noexcept nogil
    cdef int write_reject(
        self, int reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil
    cdef hand_over(self, out)
    cdef dict rejects_by_reason(self)
    cdef void reset_totals(self) noexcept nogil
