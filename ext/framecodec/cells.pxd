# What one window of one metric counts; cells.pyx says how.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef enum:
    RECENT_KEYS = 12

cdef enum:
    CELL_OK = 0
    OUT_OF_MEMORY = -1

cdef enum Comparison:
    COMPARE_NONE         # no objective: every sample is good
    COMPARE_LE
    COMPARE_LT
    COMPARE_GE
    COMPARE_GT
    COMPARE_EQ

cdef struct Objective:
    Comparison comparison
    double threshold

cdef struct Point:
    int64_t time_ns
    double value

# One metric of one entity.
cdef struct Series:
    int32_t entity
    int32_t metric
    bint is_counter
    bint is_wide         # a 64-bit counter: a fall is a reset, never a wrap
    bint has_previous
    Point previous       # the last point of all expired panes
    Objective objective

# One metric of one entity in one pane. keys/counts: sorted DDSketch. points: a counter's samples in time order.
cdef struct Cell:
    uint32_t series
    uint8_t marks
    uint8_t recent_count
    uint16_t key_count
    uint16_t key_capacity
    int16_t[RECENT_KEYS] recent
    uint64_t cnt
    uint64_t good
    double vsum
    double vsumsq
    double vmin
    double vmax
    Point first
    Point last
    int16_t* keys
    uint32_t* counts
    Point* points
    uint32_t point_count
    uint32_t point_capacity

# All cells of one group in [bucket_ns, bucket_ns + size). index_of[series] is the cell's number or -1.
cdef struct Pane:
    int64_t bucket_ns
    bint is_touched
    Cell* cells
    uint32_t cell_count
    uint32_t cell_capacity
    int32_t* index_of
    uint32_t index_capacity


cdef int16_t key_of(double value) noexcept nogil
cdef void free_pane(Pane* pane) noexcept nogil
# Sorts the keys that wait in the cell into its sketch.
cdef int settle_keys(Cell* cell) noexcept nogil
cdef int add_value(Cell* cell, Series* series, int64_t time_ns, double value) noexcept nogil
cdef double rise(Series* series, double before, double after, uint32_t* resets) noexcept nogil
