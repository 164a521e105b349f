# Groups, series and panes; groups.pyx says what they are.
from framecodec.cells cimport Cell, Objective, Pane, Series
from framecodec.columns cimport Names
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef enum:
    CELL_TOUCHED = 1     # differs from the last checkpoint
    CELL_CHANGED = 2     # differs from what was last emitted

# Entities that share a clock: all below one exporter or spacecraft. panes ascend by bucket.
cdef struct Group:
    int32_t name
    int64_t max_time_ns
    int64_t watermark_ns
    int64_t last_seen_ns         # wall clock
    uint32_t number
    uint64_t turn                # of the last sample
    bint is_touched
    Series* series
    uint32_t series_count
    uint32_t series_capacity
    Pane** panes
    uint32_t pane_count
    uint32_t pane_capacity
    Pane* current


# Room for twice as many items, or for the first `least`; 0 or OUT_OF_MEMORY.
cdef int grow(void** items, uint32_t* capacity, uint32_t least, size_t item_bytes) noexcept nogil


cdef class Groups:
    cdef Names names
    cdef Group** items
    cdef uint32_t count
    cdef uint32_t capacity
    cdef int32_t* group_of           # by name id: the group's number or -1
    cdef Objective* objective_of     # by name id
    cdef uint32_t name_capacity
    cdef uint64_t* series_keys       # open addressing: (entity << 32 | metric) + 1
    cdef uint32_t* series_values     # number within the group
    cdef uint64_t series_mask
    cdef uint64_t series_total
    cdef uint64_t touched_cells

    cdef int grow_names(self) noexcept nogil
    cdef Group* group_of_entity(self, int32_t entity) noexcept nogil
    cdef int64_t series_of(self, Group* group, int32_t entity, int32_t metric, bint is_counter) noexcept nogil
    cdef int grow_series_table(self) noexcept nogil
    cdef Pane* pane_of(self, Group* group, int64_t bucket_ns) noexcept nogil
    cdef Cell* cell_of(self, Group* group, Pane* pane, uint32_t series) noexcept nogil
    cdef void expire(self, Group* group, int64_t kept_ns) noexcept nogil
