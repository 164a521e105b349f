# Values to SAMPLES. See melt.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t

from framecodec.columns cimport Names, Rows
from framecodec.plan cimport Plan
from framecodec.trees cimport Tree

# One scalar column of one container, ready to become samples.
cdef struct ColumnC:
    int cell
    int metric               # ids of Names
    int raw_metric           # of the value before calibration, -1: not wanted, or there is no other
    int unit                 # -1 none
    int kind
    int making
    int raw_kind             # 0 unsigned, 1 signed, 2 float, 3 text; 4 is left out
    int labels               # start in label_ids
    int depth                # lists around it
    int lists[8]             # their domains, outermost first

cdef class Melter:
    cdef Plan plan
    cdef ColumnC* columns
    cdef int* starts         # columns of container n: starts[n] to starts[n + 1]
    cdef int rows_each       # samples of a value: 2 with raw ones
    cdef int32_t* label_ids
    cdef readonly Names metrics
    cdef readonly Names units
    cdef readonly Names kinds
    cdef readonly Names texts
    cdef int64_t texts_base  # texts that belong to the definition

    # Appends the samples of one packet; 0 or -1.
    cdef int melt(
        self, Rows rows, int32_t container, int64_t row, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil
    cdef void write(
        self, Rows rows, const ColumnC* column, int metric, bint has_value, double value, int32_t text, int64_t time_ns,
        int64_t received_ns, int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil
    cdef int put(
        self, Rows rows, Tree tree, const ColumnC* column, int64_t item, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil
    cdef int melt_column(
        self, Rows rows, Tree tree, const ColumnC* column, int64_t row, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil
