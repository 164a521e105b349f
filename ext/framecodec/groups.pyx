# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What windows are kept of: which entities share a clock, which series they have, and the panes of cells in memory.

Entities below one root (the part of an entity's name before the first `/`: an exporter, a spacecraft) form a group. A series
is one metric of one entity; a pane holds the cells of a group in one window. windows.pyx decides when panes close; here is
only where things are. Pointers into a group stay valid until its next series, those into a pane until its next cell.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memmove, memset

from framecodec.cells cimport (
    COMPARE_EQ, COMPARE_GE, COMPARE_GT, COMPARE_LE, COMPARE_LT, COMPARE_NONE, OUT_OF_MEMORY, Cell, Objective, Pane, Series,
    free_pane,
)
from framecodec.columns cimport Names

COMPARISONS = {"le": COMPARE_LE, "lt": COMPARE_LT, "ge": COMPARE_GE, "gt": COMPARE_GT, "eq": COMPARE_EQ}


cdef bint ends_with(Names names, int32_t name, const char* ending, int size) noexcept nogil:
    cdef int64_t end = names.starts[name + 1]
    cdef int index
    if end - names.starts[name] < size:
        return False
    for index in range(size):
        if names.text[end - size + index] != <uint8_t> ending[index]:
            return False
    return True


cdef inline uint64_t mix(uint64_t key) noexcept nogil:
    key *= <uint64_t> 0x9E3779B97F4A7C15ULL
    return key ^ (key >> 29)


cdef int grow(void** items, uint32_t* capacity, uint32_t least, size_t item_bytes) noexcept nogil:
    cdef uint32_t wanted = 2 * capacity[0] if capacity[0] else least
    cdef void* moved = realloc(items[0], wanted * item_bytes)
    if moved == NULL:
        return OUT_OF_MEMORY
    items[0] = moved
    capacity[0] = wanted
    return 0


cdef void free_group(Group* group) noexcept nogil:
    cdef uint32_t number
    for number in range(group.pane_count):
        free_pane(group.panes[number])
    free(group.panes)
    free(group.series)
    free(group)


cdef class Groups:
    """All groups of one Windower. `objectives`: metric -> (`le lt ge gt eq`, threshold)."""

    def __cinit__(self, objectives):
        self.names = Names()
        self.series_mask = 1023
        self.series_keys = <uint64_t*> calloc(self.series_mask + 1, sizeof(uint64_t))
        self.series_values = <uint32_t*> malloc((self.series_mask + 1) * sizeof(uint32_t))
        if self.series_keys == NULL or self.series_values == NULL or self.grow_names() < 0:
            raise MemoryError
        for metric, (comparison, threshold) in objectives.items():
            number = self.names.add(metric)
            if self.grow_names() < 0:
                raise MemoryError
            self.objective_of[number].comparison = COMPARISONS[comparison]
            self.objective_of[number].threshold = threshold

    def __dealloc__(self):
        cdef uint32_t number
        for number in range(self.count):
            free_group(self.items[number])
        free(self.items)
        free(self.group_of)
        free(self.objective_of)
        free(self.series_keys)
        free(self.series_values)

    cdef int grow_names(self) noexcept nogil:
        cdef uint32_t capacity = self.name_capacity if self.name_capacity else 256
        cdef uint32_t number
        cdef void* moved
        if self.names.count < self.name_capacity:
            return 0
        while capacity <= self.names.count:
            capacity *= 2
        moved = realloc(self.group_of, capacity * sizeof(int32_t))
        if moved == NULL:
            return OUT_OF_MEMORY
        self.group_of = <int32_t*> moved
        moved = realloc(self.objective_of, capacity * sizeof(Objective))
        if moved == NULL:
            return OUT_OF_MEMORY
        self.objective_of = <Objective*> moved
        for number in range(self.name_capacity, capacity):
            self.group_of[number] = -1
            self.objective_of[number].comparison = COMPARE_NONE
            self.objective_of[number].threshold = 0
        self.name_capacity = capacity
        return 0

    # The group of an entity is named after its root; group_of[root] and group_of[entity] both remember it.
    cdef Group* group_of_entity(self, int32_t entity) noexcept nogil:
        cdef Group* group
        cdef int32_t root
        cdef int64_t start, size
        cdef const void* slash
        if self.group_of[entity] >= 0:
            return self.items[self.group_of[entity]]
        start = self.names.starts[entity]
        size = self.names.starts[entity + 1] - start
        slash = memchr(self.names.text + start, b"/", size)
        root = entity
        if slash != NULL:
            size = <const uint8_t*> slash - (self.names.text + start)
            # intern() may move the text that it is given, so room is made first.
            if self.names.grow(size) < 0:
                return NULL
            root = self.names.intern(self.names.text + start, size)
            if root < 0 or self.grow_names() < 0:
                return NULL
        if self.group_of[root] < 0:
            if self.count == self.capacity and grow(<void**> &self.items, &self.capacity, 64, sizeof(Group*)) < 0:
                return NULL
            group = <Group*> calloc(1, sizeof(Group))
            if group == NULL:
                return NULL
            group.name = root
            group.number = self.count
            group.max_time_ns = group.watermark_ns = INT64_MIN
            self.items[self.count] = group
            self.group_of[root] = <int32_t> self.count
            self.count += 1
        self.group_of[entity] = self.group_of[root]
        return self.items[self.group_of[root]]

    cdef int grow_series_table(self) noexcept nogil:
        cdef uint64_t mask = 2 * self.series_mask + 1
        cdef uint64_t slot, place
        cdef uint64_t* keys = <uint64_t*> calloc(mask + 1, sizeof(uint64_t))
        cdef uint32_t* values = <uint32_t*> malloc((mask + 1) * sizeof(uint32_t))
        if keys == NULL or values == NULL:
            free(keys)
            free(values)
            return OUT_OF_MEMORY
        for slot in range(self.series_mask + 1):
            if self.series_keys[slot]:
                place = mix(self.series_keys[slot]) & mask
                while keys[place]:
                    place = (place + 1) & mask
                keys[place] = self.series_keys[slot]
                values[place] = self.series_values[slot]
        free(self.series_keys)
        free(self.series_values)
        self.series_keys, self.series_values, self.series_mask = keys, values, mask
        return 0

    # The number of a series within its group, -1 when out of memory.
    cdef int64_t series_of(self, Group* group, int32_t entity, int32_t metric, bint is_counter) noexcept nogil:
        cdef uint64_t key = ((<uint64_t> entity << 32) | <uint64_t> metric) + 1
        cdef uint64_t slot = mix(key) & self.series_mask
        cdef Series* series
        while self.series_keys[slot]:
            if self.series_keys[slot] == key:
                return self.series_values[slot]
            slot = (slot + 1) & self.series_mask
        if 2 * (self.series_total + 1) > self.series_mask:
            if self.grow_series_table() < 0:
                return -1
            slot = mix(key) & self.series_mask
            while self.series_keys[slot]:
                slot = (slot + 1) & self.series_mask
        if group.series_count == group.series_capacity:
            if grow(<void**> &group.series, &group.series_capacity, 8, sizeof(Series)) < 0:
                return -1
        series = &group.series[group.series_count]
        memset(series, 0, sizeof(Series))
        series.entity = entity
        series.metric = metric
        series.is_counter = is_counter
        # Octet counters are 64 bits wide in every source that we decode; all others may wrap at 32.
        series.is_wide = ends_with(self.names, metric, b"octets", 6) or ends_with(self.names, metric, b"bytes", 5)
        series.objective = self.objective_of[metric]
        self.series_keys[slot] = key
        self.series_values[slot] = group.series_count
        self.series_total += 1
        group.series_count += 1
        return group.series_count - 1

    cdef Pane* pane_of(self, Group* group, int64_t bucket_ns) noexcept nogil:
        cdef uint32_t place = group.pane_count
        cdef Pane* pane
        while place > 0 and group.panes[place - 1].bucket_ns > bucket_ns:
            place -= 1
        if place > 0 and group.panes[place - 1].bucket_ns == bucket_ns:
            return group.panes[place - 1]
        if group.pane_count == group.pane_capacity:
            if grow(<void**> &group.panes, &group.pane_capacity, 4, sizeof(Pane*)) < 0:
                return NULL
        pane = <Pane*> calloc(1, sizeof(Pane))
        if pane == NULL:
            return NULL
        pane.bucket_ns = bucket_ns
        memmove(group.panes + place + 1, group.panes + place, (group.pane_count - place) * sizeof(Pane*))
        group.panes[place] = pane
        group.pane_count += 1
        return pane

    # The cell of a series in a pane, marked as changed.
    cdef Cell* cell_of(self, Group* group, Pane* pane, uint32_t series) noexcept nogil:
        cdef uint32_t capacity
        cdef Cell* cell
        cdef void* moved
        if series >= pane.index_capacity:
            capacity = group.series_capacity
            moved = realloc(pane.index_of, capacity * sizeof(int32_t))
            if moved == NULL:
                return NULL
            pane.index_of = <int32_t*> moved
            memset(pane.index_of + pane.index_capacity, 0xFF, (capacity - pane.index_capacity) * sizeof(int32_t))
            pane.index_capacity = capacity
        if pane.index_of[series] >= 0:
            cell = &pane.cells[pane.index_of[series]]
        else:
            if pane.cell_count == pane.cell_capacity:
                if grow(<void**> &pane.cells, &pane.cell_capacity, 8, sizeof(Cell)) < 0:
                    return NULL
            cell = &pane.cells[pane.cell_count]
            memset(cell, 0, sizeof(Cell))
            cell.series = series
            cell.vmin = 1.7976931348623157e308
            cell.vmax = -1.7976931348623157e308
            cell.first.time_ns = INT64_MAX
            cell.last.time_ns = INT64_MIN
            pane.index_of[series] = <int32_t> pane.cell_count
            pane.cell_count += 1
        if not cell.marks & CELL_TOUCHED:
            self.touched_cells += 1
        cell.marks = CELL_TOUCHED | CELL_CHANGED
        pane.is_touched = True
        group.is_touched = True
        return cell

    # Frees the panes that can change no more: all that began `kept_ns` or more before the group's watermark.
    cdef void expire(self, Group* group, int64_t kept_ns) noexcept nogil:
        cdef uint32_t expired = 0
        cdef uint32_t number
        cdef Pane* pane
        cdef Cell* cell
        cdef Series* series
        while expired < group.pane_count:
            pane = group.panes[expired]
            if pane.bucket_ns + kept_ns > group.watermark_ns:
                break
            for number in range(pane.cell_count):
                cell = &pane.cells[number]
                series = &group.series[cell.series]
                if series.is_counter and cell.point_count:
                    series.previous = cell.points[cell.point_count - 1]
                    series.has_previous = True
            free_pane(pane)
            expired += 1
        if expired:
            memmove(group.panes, group.panes + expired, (group.pane_count - expired) * sizeof(Pane*))
            group.pane_count -= expired
            group.current = NULL
