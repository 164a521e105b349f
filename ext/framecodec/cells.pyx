# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What one window of one metric counts: the cell.

Count, good, sum, sum of squares, extremes, first and last; of a gauge a DDSketch (1 % relative error), of a counter its
points in time order, from which its rise follows. A cell is C structs alone; windows.pyx owns them.
"""
from libc.math cimport ceil, fabs, log
from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

__all__ = ["sketch_key"]

cdef enum:
    # A window of 10 s holds one point a counter and poll; a sender of more is broken or hostile.
    POINTS_MAX = 65536
    KEYS_MAX = 65535

# DDSketch with 1 % relative error: gamma = 1.01 / 0.99, docs/architecture.md.
cdef double LOG_GAMMA = log(1.01 / 0.99)
cdef int SKETCH_OFFSET = 4096
cdef double SKETCH_ZERO = 1e-9
cdef double TWO_32 = 4294967296.0

# log2 of 1 + i/256 and the slope to the next entry: a logarithm good to 3e-6, for all but the last step of key_of.
cdef double[257] LOG2
for entry in range(257):
    LOG2[entry] = log(1.0 + entry / 256.0) / log(2.0)
cdef double KEYS_PER_OCTAVE = log(2.0) / LOG_GAMMA
# 34.7 keys an octave times 3e-6: closer than this to the edge of a bucket, the exact logarithm decides.
cdef double UNSURE = 0.001


cdef int16_t key_of(double value) noexcept nogil:
    cdef double size = fabs(value)
    cdef double key, edge, place
    cdef uint64_t bits
    cdef int64_t exponent
    cdef int entry
    if size < SKETCH_ZERO:
        return 0
    memcpy(&bits, &size, 8)
    exponent = <int64_t> (bits >> 52) - 1023
    entry = <int> (bits >> 44) & 0xFF
    place = <double> (bits & <uint64_t> 0xFFFFFFFFFFFULL) * (1.0 / <double> (1ULL << 44))
    key = (<double> exponent + LOG2[entry] + place * (LOG2[entry + 1] - LOG2[entry])) * KEYS_PER_OCTAVE
    edge = ceil(key)
    if edge - key < UNSURE or edge - key > 1.0 - UNSURE:
        edge = ceil(log(size) / LOG_GAMMA)
    edge += SKETCH_OFFSET
    if edge > 32767:                   # above 1e249: one bucket for all of them
        edge = 32767
    return <int16_t> edge if value > 0 else <int16_t> -edge


def sketch_key(double value) -> int:
    """The DDSketch bucket of a value: sign(v) * (ceil(ln|v| / ln(1.01/0.99)) + 4096), 0 below 1e-9."""
    return key_of(value)


cdef inline bint is_good(Objective* objective, double value) noexcept nogil:
    if objective.comparison == COMPARE_NONE:
        return True
    if objective.comparison == COMPARE_LE:
        return value <= objective.threshold
    if objective.comparison == COMPARE_LT:
        return value < objective.threshold
    if objective.comparison == COMPARE_GE:
        return value >= objective.threshold
    if objective.comparison == COMPARE_GT:
        return value > objective.threshold
    return value == objective.threshold


cdef void free_cell(Cell* cell) noexcept nogil:
    free(cell.keys)
    free(cell.counts)
    free(cell.points)


cdef void free_pane(Pane* pane) noexcept nogil:
    cdef uint32_t number
    for number in range(pane.cell_count):
        free_cell(&pane.cells[number])
    free(pane.cells)
    free(pane.index_of)
    free(pane)


cdef int count_key(Cell* cell, int16_t key, uint32_t count) noexcept nogil:
    cdef uint32_t low = 0
    cdef uint32_t high = cell.key_count
    cdef uint32_t middle, capacity
    cdef void* moved
    while low < high:
        middle = (low + high) >> 1
        if cell.keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    if low < cell.key_count and cell.keys[low] == key:
        cell.counts[low] += count
        return 0
    if cell.key_count == cell.key_capacity:
        if cell.key_capacity == KEYS_MAX:
            return 0                   # cannot happen: there are 65,535 keys
        capacity = 2 * <uint32_t> cell.key_capacity if cell.key_capacity else 8
        if capacity > KEYS_MAX:
            capacity = KEYS_MAX
        moved = realloc(cell.keys, capacity * sizeof(int16_t))
        if moved == NULL:
            return OUT_OF_MEMORY
        cell.keys = <int16_t*> moved
        moved = realloc(cell.counts, capacity * sizeof(uint32_t))
        if moved == NULL:
            return OUT_OF_MEMORY
        cell.counts = <uint32_t*> moved
        cell.key_capacity = <uint16_t> capacity
    memmove(cell.keys + low + 1, cell.keys + low, (cell.key_count - low) * sizeof(int16_t))
    memmove(cell.counts + low + 1, cell.counts + low, (cell.key_count - low) * sizeof(uint32_t))
    cell.keys[low] = key
    cell.counts[low] = count
    cell.key_count += 1
    return 0


# Most windows hold few samples, so keys wait unsorted in the cell itself and are sorted in when it is full or read.
cdef int settle_keys(Cell* cell) noexcept nogil:
    cdef int number
    for number in range(cell.recent_count):
        if count_key(cell, cell.recent[number], 1) < 0:
            return OUT_OF_MEMORY
    cell.recent_count = 0
    return 0


cdef int add_point(Cell* cell, int64_t time_ns, double value) noexcept nogil:
    cdef uint32_t place = cell.point_count
    cdef uint32_t capacity
    cdef void* moved
    if place == cell.point_capacity:
        if place >= POINTS_MAX:
            return 0
        capacity = 2 * cell.point_capacity if cell.point_capacity else 2
        moved = realloc(cell.points, capacity * sizeof(Point))
        if moved == NULL:
            return OUT_OF_MEMORY
        cell.points = <Point*> moved
        cell.point_capacity = capacity
    while place > 0 and cell.points[place - 1].time_ns > time_ns:
        place -= 1
    memmove(cell.points + place + 1, cell.points + place, (cell.point_count - place) * sizeof(Point))
    cell.points[place].time_ns = time_ns
    cell.points[place].value = value
    cell.point_count += 1
    return 0


cdef int add_value(Cell* cell, Series* series, int64_t time_ns, double value) noexcept nogil:
    cell.cnt += 1
    cell.good += is_good(&series.objective, value)
    cell.vsum += value
    cell.vsumsq += value * value
    if value < cell.vmin:
        cell.vmin = value
    if value > cell.vmax:
        cell.vmax = value
    if time_ns < cell.first.time_ns:
        cell.first.time_ns = time_ns
        cell.first.value = value
    if time_ns >= cell.last.time_ns:
        cell.last.time_ns = time_ns
        cell.last.value = value
    if series.is_counter:              # a sketch of a counter's standings answers no question
        return add_point(cell, time_ns, value)
    if cell.recent_count == RECENT_KEYS and settle_keys(cell) < 0:
        return OUT_OF_MEMORY
    cell.recent[cell.recent_count] = key_of(value)
    cell.recent_count += 1
    return 0


# How far a counter rose from one standing to the next. RFC 2863 3.1.6 (from memory): 32-bit counters wrap.
cdef double rise(Series* series, double before, double after, uint32_t* resets) noexcept nogil:
    if after >= before:
        return after - before
    if not series.is_wide and before < TWO_32 and after + TWO_32 - before < TWO_32 / 2:
        return after + TWO_32 - before
    resets[0] += 1
    return after
