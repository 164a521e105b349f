# Event-time windows; windows.pyx says what they mean.
from framecodec.blobs cimport Bytes
from framecodec.cells cimport Cell, Objective, Pane, Series
from framecodec.columns cimport Names, Rows
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t


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


cdef class Windower:
    cdef readonly int64_t size_ns
    cdef readonly int64_t lateness_ns
    cdef readonly int64_t allowed_lateness_ns
    cdef readonly int64_t idle_timeout_ns
    cdef Names names
    cdef dict objectives
    cdef Group** groups
    cdef uint32_t group_count
    cdef uint32_t group_capacity
    cdef int32_t* group_of           # by name id: the group's number or -1
    cdef Objective* objective_of     # by name id
    cdef uint32_t name_capacity
    cdef uint64_t* series_keys       # open addressing: (entity << 32 | metric) + 1
    cdef uint32_t* series_values     # number within the group
    cdef uint64_t series_mask
    cdef uint64_t series_total
    cdef uint64_t turn               # of advance(); groups carry the one in which they last got a sample
    cdef uint32_t* stirred           # numbers of the groups that got samples since advance()
    cdef uint32_t stirred_count
    cdef uint32_t stirred_capacity
    cdef readonly uint64_t touched_cells
    cdef readonly uint64_t not_finite
    cdef readonly uint64_t late

    cdef int stir(self, Group* group) noexcept nogil
    cdef Group* group_of_entity(self, int32_t entity) noexcept nogil
    cdef int64_t series_of(self, Group* group, int32_t entity, int32_t metric, bint is_counter) noexcept nogil
    cdef int grow_series_table(self) noexcept nogil
    cdef int grow_names(self) noexcept nogil
    cdef Pane* pane_of(self, Group* group, int64_t bucket_ns) noexcept nogil
    cdef Cell* cell_of(self, Group* group, Pane* pane, uint32_t series) noexcept nogil
    cdef int close_group(self, Group* group, Rows rows, uint64_t rev) noexcept nogil
    cdef void expire(self, Group* group) noexcept nogil
    cdef int load_blob(self, const uint8_t* data, size_t size, int64_t now_ns) noexcept nogil
    cdef int write_group(self, Bytes* out, Group* group, bint whole) noexcept nogil
    cdef object dump(self, uint32_t shard, uint32_t shards, bint whole)
