# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Event-time windows: samples in any order in, closed windows out, and a state that survives as bytes.

    windower = Windower(size_ns, lateness_ns, allowed_lateness_ns, idle_timeout_ns, objectives)
    late = windower.add(samples)                    # row numbers that came too late
    windower.advance(now_ns)                        # when all samples of a record are in: moves the watermarks
    windows = pyarrow.record_batch(windower.close(now_ns, rev))
    delta = windower.delta()                        # what changed since the last delta
    shard = windower.snapshot(3, 16)                # everything, a sixteenth at a time

Times are int64 ns, windows are [start, start + size). Samples of all entities below one root (the part of the entity's
name before the first `/`: an exporter, a spacecraft) form a *group* with one watermark: its highest event time minus
`lateness_ns`. A window closes when its group's watermark passes its end. Late samples change a closed window until
`allowed_lateness_ns` after its end, and it is emitted again with full totals. A group without samples for
`idle_timeout_ns` of wall clock closes all that it has.

All decisions depend on the batches, their order and the times handed in, so a replay of the same batches repeats them.

This module never asks what time it is, and does not know Kafka, checkpoints or what the metrics mean.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcpy, memmove, memset

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.blobs cimport (
    BLOB_IS_BROKEN, SERIES_IS_COUNTER, Bytes, Cursor, get, mark_name, put, put_cell, put_i64, put_series, put_u32, read_cell,
    write_names,
)
from framecodec.cells cimport (
    COMPARE_EQ, COMPARE_GE, COMPARE_GT, COMPARE_LE, COMPARE_LT, COMPARE_NONE, OUT_OF_MEMORY, Cell, Comparison, Objective, Pane,
    Point, Series, add_value, free_pane, rise, settle_keys,
)
from framecodec.columns cimport Names, Rows
from framecodec.records cimport (
    SAMPLE_ENTITY, SAMPLE_KIND, SAMPLE_METRIC, SAMPLE_TIME, SAMPLE_VALUE, WINDOW_BUCKET, WINDOW_CNT, WINDOW_ENTITY,
    WINDOW_EXPECTED, WINDOW_GOOD, WINDOW_INCREASE, WINDOW_LAST_TIME, WINDOW_METRIC, WINDOW_RESETS, WINDOW_REV, WINDOW_SK,
    WINDOW_VFIRST, WINDOW_VLAST, WINDOW_VMAX, WINDOW_VMIN, WINDOW_VSUM, WINDOW_VSUMSQ,
)

from framecodec.records import WINDOWS_FIELDS

__all__ = ["Windower"]

cdef enum:
    FIRST_CELLS = 8
    BLOB_MAGIC = 0x3157424F            # "OBW1"

COMPARISONS = {"le": COMPARE_LE, "lt": COMPARE_LT, "ge": COMPARE_GE, "gt": COMPARE_GT, "eq": COMPARE_EQ}


cdef inline int64_t floor_to(int64_t time_ns, int64_t size_ns) noexcept nogil:
    cdef int64_t remainder = time_ns % size_ns
    return time_ns - remainder - (size_ns if remainder < 0 else 0)


# --- groups, series, panes -------------------------------------------------------------------------------------------

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


cdef void free_group(Group* group) noexcept nogil:
    cdef uint32_t number
    for number in range(group.pane_count):
        free_pane(group.panes[number])
    free(group.panes)
    free(group.series)
    free(group)


cdef class Windower:
    """Windows of `size_ns` (whole seconds). `objectives`: metric -> (`le lt ge gt eq`, threshold) for the column `good`."""

    def __cinit__(
        self, int64_t size_ns, int64_t lateness_ns, int64_t allowed_lateness_ns, int64_t idle_timeout_ns, objectives=None,
    ):
        if size_ns <= 0 or size_ns % 1_000_000_000:
            raise ValueError(f"a window is a whole number of seconds, not {size_ns} ns")
        self.size_ns = size_ns
        self.lateness_ns = lateness_ns
        self.allowed_lateness_ns = allowed_lateness_ns
        self.idle_timeout_ns = idle_timeout_ns
        self.names = Names()
        self.objectives = dict(objectives or {})
        self.series_mask = 1023
        self.turn = 1
        self.series_keys = <uint64_t*> calloc(self.series_mask + 1, sizeof(uint64_t))
        self.series_values = <uint32_t*> malloc((self.series_mask + 1) * sizeof(uint32_t))
        if self.series_keys == NULL or self.series_values == NULL or self.grow_names() < 0:
            raise MemoryError
        for metric, (comparison, threshold) in self.objectives.items():
            number = self.names.add(metric)
            if self.grow_names() < 0:
                raise MemoryError
            self.objective_of[number].comparison = COMPARISONS[comparison]
            self.objective_of[number].threshold = threshold

    def __dealloc__(self):
        cdef uint32_t number
        for number in range(self.group_count):
            free_group(self.groups[number])
        free(self.groups)
        free(self.group_of)
        free(self.objective_of)
        free(self.series_keys)
        free(self.series_values)
        free(self.stirred)

    def __len__(self):
        """Open and kept cells: windows in memory."""
        cdef uint32_t number, pane
        cdef uint64_t cells = 0
        for number in range(self.group_count):
            for pane in range(self.groups[number].pane_count):
                cells += self.groups[number].panes[pane].cell_count
        return cells

    def watermarks(self) -> dict[str, int]:
        """Watermark by group, int64 ns."""
        cdef uint32_t number
        return {self.names.name(self.groups[number].name): self.groups[number].watermark_ns for number in range(self.group_count)}

    def min_watermark_ns(self) -> int | None:
        """The lowest watermark of the groups that have a window open; None where nothing is open.

        A group that fell silent and was closed for it holds nothing back, so it does not count.
        """
        cdef uint32_t number
        cdef int64_t lowest = INT64_MAX
        cdef Group* group
        for number in range(self.group_count):
            group = self.groups[number]
            if group.watermark_ns == INT64_MIN or not group.pane_count:
                continue
            if group.panes[group.pane_count - 1].bucket_ns + self.size_ns > group.watermark_ns:
                lowest = min(lowest, group.watermark_ns)
        return None if lowest == INT64_MAX else lowest

    def add(self, samples) -> list[int]:
        """Counts a batch of SAMPLES (anything with `__arrow_c_array__`) in. The watermarks stay until `advance`.

        Returns the row numbers of samples later than the allowed lateness; they are in no window. Rows without a value
        are passed over; rows whose value is not finite are counted in `not_finite` and passed over.
        """
        cdef ArrowArray* array
        cdef int64_t* late_rows = NULL
        cdef int64_t late_count = 0
        cdef int status
        schema_capsule, array_capsule = samples.__arrow_c_array__()
        check_samples(<ArrowSchema*> PyCapsule_GetPointer(schema_capsule, "arrow_schema"))
        array = <ArrowArray*> PyCapsule_GetPointer(array_capsule, "arrow_array")
        late_rows = <int64_t*> malloc((array.length + 1) * sizeof(int64_t))
        if late_rows == NULL:
            raise MemoryError
        try:
            with nogil:
                status = add_rows(self, array, late_rows, &late_count)
            if status < 0:
                raise MemoryError
            self.late += late_count
            return [late_rows[row] for row in range(late_count)]
        finally:
            free(late_rows)

    def advance(self, int64_t now_ns) -> None:
        """Moves the watermarks of the groups that got samples since the last call, which were seen at `now_ns`.

        Call it when everything that came together is added: between two batches of one record nothing may become late.
        """
        cdef uint32_t index
        cdef Group* group
        for index in range(self.stirred_count):
            group = self.groups[self.stirred[index]]
            group.last_seen_ns = now_ns
            if group.max_time_ns != INT64_MIN and group.max_time_ns - self.lateness_ns > group.watermark_ns:
                group.watermark_ns = group.max_time_ns - self.lateness_ns
                group.is_touched = True
            group.current = NULL             # its window may be too old now; the next sample asks again
        self.stirred_count = 0
        self.turn += 1

    def close(self, int64_t now_ns, uint64_t rev):
        """Closes idle groups by the wall clock `now_ns` and returns what is closed and new or changed, as a `Batch` of WINDOWS.

        `rev` must not fall from call to call; it is written into every row.
        """
        cdef Rows rows = Rows([
            (*field, self.names) if field[1] == "name" else field for field in WINDOWS_FIELDS
        ])
        cdef uint32_t number
        cdef Group* group
        cdef int64_t last_end_ns
        cdef int status = 0
        with nogil:
            for number in range(self.group_count):
                group = self.groups[number]
                if group.pane_count and now_ns - group.last_seen_ns >= self.idle_timeout_ns:
                    last_end_ns = group.panes[group.pane_count - 1].bucket_ns + self.size_ns
                    if group.watermark_ns < last_end_ns:
                        group.watermark_ns = last_end_ns
                        group.is_touched = True
                if group.is_touched:
                    status = self.close_group(group, rows, rev)
                    if status < 0:
                        break
        if status < 0:
            raise MemoryError
        return rows.flush()

    def delta(self) -> bytes:
        """What changed since the last call, complete for every touched cell. Call it after `close`."""
        return self.dump(0, 1, False)

    def snapshot(self, uint32_t shard, uint32_t shards) -> bytes:
        """All groups of one shard of `shards`, by a stable hash of the group's name."""
        return self.dump(shard, shards, True)

    def load(self, const uint8_t[::1] blob not None, int64_t now_ns) -> None:
        """Takes in a delta or a snapshot; what it holds replaces what is here. Load in the order in which they were made.

        Raises ValueError for bytes that are neither.
        """
        cdef int status
        cdef size_t size = blob.shape[0]
        cdef const uint8_t* data = &blob[0] if size else NULL
        with nogil:
            status = self.load_blob(data, size, now_ns)
        if status == OUT_OF_MEMORY:
            raise MemoryError
        if status < 0:
            raise ValueError("these bytes are no window state of this version")

    # --- inside -----------------------------------------------------------------------------------------------------

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

    cdef int stir(self, Group* group) noexcept nogil:
        cdef uint32_t capacity
        cdef void* moved
        if self.stirred_count == self.stirred_capacity:
            capacity = 2 * self.stirred_capacity if self.stirred_capacity else 64
            moved = realloc(self.stirred, capacity * sizeof(uint32_t))
            if moved == NULL:
                return OUT_OF_MEMORY
            self.stirred = <uint32_t*> moved
            self.stirred_capacity = capacity
        self.stirred[self.stirred_count] = group.number
        self.stirred_count += 1
        group.turn = self.turn
        return 0

    # The group of an entity is named after its root; group_of[root] and group_of[entity] both remember it.
    cdef Group* group_of_entity(self, int32_t entity) noexcept nogil:
        cdef Group* group
        cdef int32_t root
        cdef int64_t start, size
        cdef const void* slash
        cdef uint32_t capacity
        cdef void* moved
        if self.group_of[entity] >= 0:
            return self.groups[self.group_of[entity]]
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
            if self.group_count == self.group_capacity:
                capacity = 2 * self.group_capacity if self.group_capacity else 64
                moved = realloc(self.groups, capacity * sizeof(Group*))
                if moved == NULL:
                    return NULL
                self.groups = <Group**> moved
                self.group_capacity = capacity
            group = <Group*> calloc(1, sizeof(Group))
            if group == NULL:
                return NULL
            group.name = root
            group.number = self.group_count
            group.max_time_ns = group.watermark_ns = INT64_MIN
            self.groups[self.group_count] = group
            self.group_of[root] = <int32_t> self.group_count
            self.group_count += 1
        self.group_of[entity] = self.group_of[root]
        return self.groups[self.group_of[root]]

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
        cdef uint32_t capacity
        cdef void* moved
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
            capacity = 2 * group.series_capacity if group.series_capacity else 8
            moved = realloc(group.series, capacity * sizeof(Series))
            if moved == NULL:
                return -1
            group.series = <Series*> moved
            group.series_capacity = capacity
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
        cdef uint32_t capacity
        cdef Pane* pane
        cdef void* moved
        while place > 0 and group.panes[place - 1].bucket_ns > bucket_ns:
            place -= 1
        if place > 0 and group.panes[place - 1].bucket_ns == bucket_ns:
            return group.panes[place - 1]
        if group.pane_count == group.pane_capacity:
            capacity = 2 * group.pane_capacity if group.pane_capacity else 4
            moved = realloc(group.panes, capacity * sizeof(Pane*))
            if moved == NULL:
                return NULL
            group.panes = <Pane**> moved
            group.pane_capacity = capacity
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
                capacity = 2 * pane.cell_capacity if pane.cell_capacity else FIRST_CELLS
                moved = realloc(pane.cells, capacity * sizeof(Cell))
                if moved == NULL:
                    return NULL
                pane.cells = <Cell*> moved
                pane.cell_capacity = capacity
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

    # Emits changed cells of closed panes, oldest first, then forgets panes that can change no more.
    cdef int close_group(self, Group* group, Rows rows, uint64_t rev) noexcept nogil:
        cdef uint32_t pane_number, cell_number
        cdef int64_t later
        cdef Pane* pane
        cdef Pane* after
        cdef Cell* cell
        for pane_number in range(group.pane_count):
            pane = group.panes[pane_number]
            if pane.bucket_ns + self.size_ns > group.watermark_ns:
                break
            if not pane.is_touched:
                continue
            for cell_number in range(pane.cell_count):
                cell = &pane.cells[cell_number]
                if not cell.marks & CELL_CHANGED:
                    continue
                if emit(self, rows, group, pane_number, cell, rev) < 0:
                    return OUT_OF_MEMORY
                cell.marks &= ~CELL_CHANGED
                if not group.series[cell.series].is_counter:
                    continue
                # The next window's increase starts from this one's last point.
                for later in range(pane_number + 1, group.pane_count):
                    after = group.panes[later]
                    if cell.series < after.index_capacity and after.index_of[cell.series] >= 0:
                        self.cell_of(group, after, cell.series)
                        break
        self.expire(group)
        return 0

    cdef void expire(self, Group* group) noexcept nogil:
        cdef uint32_t expired = 0
        cdef uint32_t number
        cdef Pane* pane
        cdef Cell* cell
        cdef Series* series
        while expired < group.pane_count:
            pane = group.panes[expired]
            if pane.bucket_ns + self.size_ns + self.allowed_lateness_ns > group.watermark_ns:
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

    # --- state as bytes ---------------------------------------------------------------------------------------------
    #
    # u32 magic, u32 bytes of names, names (u32 number, u16 size, text), then groups until the end:
    #   u32 name, i64 max_time, i64 watermark, u32 series, u32 cells,
    #   series (u32 entity, u32 metric, u8 flags, i64 time, f64 value): last points of expired panes, snapshots only
    #   cells (i64 bucket, u32 entity, u32 metric, u8 flags, u64 cnt good, f64 sum sumsq min max, point first last,
    #          u16 keys, u32 points, keys (i16, u32), points (i64, f64))
    # Numbers are little-endian.

    cdef object dump(self, uint32_t shard, uint32_t shards, bint whole):
        cdef Bytes body
        cdef Bytes names
        cdef uint32_t number
        cdef Group* group
        cdef int status = 0
        cdef uint32_t magic = BLOB_MAGIC
        cdef uint32_t names_bytes
        memset(&body, 0, sizeof(Bytes))
        memset(&names, 0, sizeof(Bytes))
        self.names.epoch += 1
        try:
            with nogil:
                for number in range(self.group_count):
                    group = self.groups[number]
                    if whole and self.names.hashes[group.name] % shards != shard:
                        continue
                    if not whole and not group.is_touched:
                        continue
                    status = self.write_group(&body, group, whole)
                    if status < 0:
                        break
                if status == 0 and not whole:
                    self.touched_cells = 0
                if status == 0:
                    status = write_names(self.names, &body, &names)
            if status < 0:
                raise MemoryError
            names_bytes = <uint32_t> names.used
            blob = PyBytes_FromStringAndSize(NULL, 8 + names.used + body.used)
            target = <uint8_t*> PyBytes_AS_STRING(blob)
            memcpy(target, &magic, 4)
            memcpy(target + 4, &names_bytes, 4)
            if body.used:                      # and so are names: NULL while there is no group
                memcpy(target + 8, names.data, names.used)
                memcpy(target + 8 + names.used, body.data, body.used)
            return blob
        finally:
            free(body.data)
            free(names.data)

    cdef int write_group(self, Bytes* out, Group* group, bint whole) noexcept nogil:
        cdef uint32_t number, cell_number
        cdef uint32_t series_written = 0
        cdef uint32_t cells_written = 0
        cdef size_t counts_at
        cdef Series* series
        cdef Pane* pane
        cdef Cell* cell
        put_u32(out, mark_name(self.names, group.name))
        put_i64(out, group.max_time_ns)
        put_i64(out, group.watermark_ns)
        counts_at = out.used
        put_u32(out, 0)
        put_u32(out, 0)
        if whole:
            for number in range(group.series_count):
                series = &group.series[number]
                if series.has_previous:
                    put_series(out, self.names, series)
                    put(out, &series.previous, sizeof(Point))
                    series_written += 1
        for number in range(group.pane_count):
            pane = group.panes[number]
            if not whole and not pane.is_touched:
                continue
            for cell_number in range(pane.cell_count):
                cell = &pane.cells[cell_number]
                if not whole and not cell.marks & CELL_TOUCHED:
                    continue
                if put_cell(out, self.names, pane.bucket_ns, &group.series[cell.series], cell) < 0:
                    return OUT_OF_MEMORY
                cells_written += 1
                if not whole:
                    cell.marks &= ~CELL_TOUCHED
            if not whole:
                pane.is_touched = pane.bucket_ns + self.size_ns > group.watermark_ns
        if not whole:
            group.is_touched = False
        if out.failed:
            return OUT_OF_MEMORY
        memcpy(out.data + counts_at, &series_written, 4)
        memcpy(out.data + counts_at + 4, &cells_written, 4)
        return 0

    cdef int load_blob(self, const uint8_t* data, size_t size, int64_t now_ns) noexcept nogil:
        cdef Cursor at
        cdef int32_t* ids = NULL
        cdef uint32_t id_count = 0
        cdef int status = 0
        at.data = data
        at.end = data + size
        status = read_names(self, &at, &ids, &id_count)
        while status == 0 and at.data < at.end:
            status = read_group(self, &at, ids, id_count, now_ns)
        free(ids)
        return status


# --- adding a batch --------------------------------------------------------------------------------------------------

cdef struct Column:
    const uint8_t* valid
    const void* values
    int64_t offset

cdef inline Column column_of(ArrowArray* array, int number) noexcept nogil:
    cdef ArrowArray* child = array.children[number]
    cdef Column column
    column.valid = <const uint8_t*> child.buffers[0] if child.null_count != 0 else NULL
    column.values = child.buffers[1]
    column.offset = child.offset + array.offset
    return column

# The number in `names` of each entry of a dictionary column; NULL when out of memory.
cdef int32_t* intern_dictionary(Names names, ArrowArray* dictionary) noexcept nogil:
    cdef const int32_t* ends = <const int32_t*> dictionary.buffers[1]
    cdef const uint8_t* text = <const uint8_t*> dictionary.buffers[2]
    cdef int32_t* ids = <int32_t*> malloc((dictionary.length + 1) * sizeof(int32_t))
    cdef int64_t entry
    if ids == NULL:
        return NULL
    for entry in range(dictionary.length):
        ids[entry] = names.intern(
            text + ends[dictionary.offset + entry],
            ends[dictionary.offset + entry + 1] - ends[dictionary.offset + entry],
        )
        if ids[entry] < 0:
            free(ids)
            return NULL
    return ids

cdef int64_t find_entry(ArrowArray* dictionary, const char* word, int size) noexcept nogil:
    cdef const int32_t* ends = <const int32_t*> dictionary.buffers[1]
    cdef const char* text = <const char*> dictionary.buffers[2]
    cdef int64_t entry
    cdef int index
    for entry in range(dictionary.offset, dictionary.offset + dictionary.length):
        if ends[entry + 1] - ends[entry] != size:
            continue
        index = 0
        while index < size and text[ends[entry] + index] == word[index]:
            index += 1
        if index == size:
            return entry - dictionary.offset
    return -1

cdef int add_rows(Windower self, ArrowArray* array, int64_t* late_rows, int64_t* late_count) noexcept nogil:
    cdef Column times = column_of(array, SAMPLE_TIME)
    cdef Column entities = column_of(array, SAMPLE_ENTITY)
    cdef Column metrics = column_of(array, SAMPLE_METRIC)
    cdef Column values = column_of(array, SAMPLE_VALUE)
    cdef Column kinds = column_of(array, SAMPLE_KIND)
    cdef ArrowArray* entity_names = array.children[SAMPLE_ENTITY].dictionary
    cdef ArrowArray* metric_names = array.children[SAMPLE_METRIC].dictionary
    cdef int32_t counter_kind = <int32_t> find_entry(array.children[SAMPLE_KIND].dictionary, b"counter", 7)
    cdef int64_t metric_count = metric_names.length
    cdef int64_t pairs = entity_names.length * metric_count
    cdef int32_t* entity_ids = intern_dictionary(self.names, entity_names)
    cdef int32_t* metric_ids = intern_dictionary(self.names, metric_names)
    # Number of the series + 1 by (entity, metric) of this batch, so that most rows need no hashing.
    cdef uint32_t* known = <uint32_t*> calloc(pairs + 1, sizeof(uint32_t)) if pairs <= 4 * array.length + 65536 else NULL
    cdef Group** groups = <Group**> malloc((entity_names.length + 1) * sizeof(Group*))
    cdef int status = OUT_OF_MEMORY
    cdef int64_t row, series, time_ns, bucket_ns
    cdef int32_t entity, metric
    cdef double value
    cdef Group* group
    cdef Pane* pane
    cdef Cell* cell
    if entity_ids != NULL and metric_ids != NULL and groups != NULL and self.grow_names() == 0:
        status = 0
        for row in range(entity_names.length):
            groups[row] = self.group_of_entity(entity_ids[row])
            if groups[row] == NULL:
                status = OUT_OF_MEMORY
                break
    if status == 0:
        for row in range(array.length):
            if values.valid != NULL and not (values.valid[(row + values.offset) >> 3] >> ((row + values.offset) & 7)) & 1:
                continue
            value = (<const double*> values.values)[row + values.offset]
            if not isfinite(value):
                self.not_finite += 1
                continue
            entity = (<const int32_t*> entities.values)[row + entities.offset]
            metric = (<const int32_t*> metrics.values)[row + metrics.offset]
            time_ns = (<const int64_t*> times.values)[row + times.offset]
            group = groups[entity]
            if group.turn != self.turn and self.stir(group) < 0:
                status = OUT_OF_MEMORY
                break
            pane = group.current
            if pane == NULL or time_ns < pane.bucket_ns or time_ns - pane.bucket_ns >= self.size_ns:
                bucket_ns = floor_to(time_ns, self.size_ns)
                # The watermark is that of the records before, so that the order of rows within one does not matter.
                if group.watermark_ns != INT64_MIN and bucket_ns + self.size_ns + self.allowed_lateness_ns <= group.watermark_ns:
                    late_rows[late_count[0]] = row
                    late_count[0] += 1
                    continue
                pane = self.pane_of(group, bucket_ns)
                if pane == NULL:
                    status = OUT_OF_MEMORY
                    break
                group.current = pane
            if time_ns > group.max_time_ns:
                group.max_time_ns = time_ns
            series = <int64_t> known[entity * metric_count + metric] - 1 if known != NULL else -1
            if series < 0:
                series = self.series_of(
                    group, entity_ids[entity], metric_ids[metric],
                    (<const int32_t*> kinds.values)[row + kinds.offset] == counter_kind,
                )
                if series < 0:
                    status = OUT_OF_MEMORY
                    break
                if known != NULL:
                    known[entity * metric_count + metric] = <uint32_t> series + 1
            cell = self.cell_of(group, pane, <uint32_t> series)
            if cell == NULL or add_value(cell, &group.series[series], time_ns, value) < 0:
                status = OUT_OF_MEMORY
                break
    free(entity_ids)
    free(metric_ids)
    free(known)
    free(groups)
    return status


# --- emitting --------------------------------------------------------------------------------------------------------

cdef int emit(Windower self, Rows rows, Group* group, uint32_t pane_number, Cell* cell, uint64_t rev) noexcept nogil:
    cdef Series* series = &group.series[cell.series]
    cdef Pane* pane = group.panes[pane_number]
    cdef Pane* before
    cdef Cell* earlier
    cdef Point base
    cdef bint has_base = False
    cdef int64_t number
    cdef double increase = 0
    cdef uint32_t resets = 0
    cdef int64_t row = rows.length
    if settle_keys(cell) < 0 or rows.reserve(1) < 0:
        return OUT_OF_MEMORY
    if series.is_counter and cell.point_count:
        for number in range(<int64_t> pane_number - 1, -1, -1):
            before = group.panes[number]
            if cell.series < before.index_capacity and before.index_of[cell.series] >= 0:
                earlier = &before.cells[before.index_of[cell.series]]
                if earlier.point_count:
                    base = earlier.points[earlier.point_count - 1]
                    has_base = True
                    break
        if not has_base and series.has_previous:
            base = series.previous
            has_base = True
        if has_base:
            increase = rise(series, base.value, cell.points[0].value, &resets)
        for number in range(1, cell.point_count):
            increase += rise(series, cell.points[number - 1].value, cell.points[number].value, &resets)
    (<int64_t*> rows.columns[WINDOW_BUCKET].values)[row] = pane.bucket_ns // 1_000_000_000
    (<int32_t*> rows.columns[WINDOW_ENTITY].values)[row] = series.entity
    (<int32_t*> rows.columns[WINDOW_METRIC].values)[row] = series.metric
    (<uint64_t*> rows.columns[WINDOW_REV].values)[row] = rev
    (<uint64_t*> rows.columns[WINDOW_CNT].values)[row] = cell.cnt
    (<uint64_t*> rows.columns[WINDOW_GOOD].values)[row] = cell.good
    (<uint64_t*> rows.columns[WINDOW_EXPECTED].values)[row] = 0
    (<double*> rows.columns[WINDOW_VSUM].values)[row] = cell.vsum
    (<double*> rows.columns[WINDOW_VSUMSQ].values)[row] = cell.vsumsq
    (<double*> rows.columns[WINDOW_VMIN].values)[row] = cell.vmin
    (<double*> rows.columns[WINDOW_VMAX].values)[row] = cell.vmax
    (<double*> rows.columns[WINDOW_VFIRST].values)[row] = cell.first.value
    (<double*> rows.columns[WINDOW_VLAST].values)[row] = cell.last.value
    (<int64_t*> rows.columns[WINDOW_LAST_TIME].values)[row] = cell.last.time_ns
    (<double*> rows.columns[WINDOW_INCREASE].values)[row] = increase
    (<uint32_t*> rows.columns[WINDOW_RESETS].values)[row] = resets
    if rows.put_map(WINDOW_SK, cell.keys, cell.counts, cell.key_count) < 0:
        return OUT_OF_MEMORY
    rows.next_row()
    return 0


# --- writing and reading state ---------------------------------------------------------------------------------------


# ids[number in the blob] = number here.
cdef int read_names(Windower self, Cursor* at, int32_t** ids, uint32_t* id_count) noexcept nogil:
    cdef uint32_t magic, names_bytes, number
    cdef uint16_t size
    cdef const uint8_t* end
    cdef void* moved
    if not get(at, &magic, 4) or magic != BLOB_MAGIC or not get(at, &names_bytes, 4):
        return BLOB_IS_BROKEN
    if <size_t> (at.end - at.data) < names_bytes:
        return BLOB_IS_BROKEN
    end = at.data + names_bytes
    while at.data < end:
        if not get(at, &number, 4) or not get(at, &size, 2) or at.end - at.data < size or number > 0x7FFFFFF0:
            return BLOB_IS_BROKEN
        if number >= id_count[0]:
            moved = realloc(ids[0], (<size_t> number + 1) * 2 * sizeof(int32_t))
            if moved == NULL:
                return OUT_OF_MEMORY
            ids[0] = <int32_t*> moved
            memset(ids[0] + id_count[0], 0xFF, ((<size_t> number + 1) * 2 - id_count[0]) * sizeof(int32_t))
            id_count[0] = 2 * (number + 1)
        ids[0][number] = self.names.intern(at.data, size)
        if ids[0][number] < 0 or self.grow_names() < 0:
            return OUT_OF_MEMORY
        at.data += size
    return 0

cdef int get_name(Cursor* at, const int32_t* ids, uint32_t id_count, int32_t* name) noexcept nogil:
    cdef uint32_t number
    if not get(at, &number, 4) or number >= id_count or ids[number] < 0:
        return BLOB_IS_BROKEN
    name[0] = ids[number]
    return 0

cdef int64_t get_series(Windower self, Cursor* at, Group* group, const int32_t* ids, uint32_t id_count) noexcept nogil:
    cdef int32_t entity, metric
    cdef uint8_t flags
    cdef int64_t series
    if get_name(at, ids, id_count, &entity) < 0 or get_name(at, ids, id_count, &metric) < 0 or not get(at, &flags, 1):
        return BLOB_IS_BROKEN
    if self.group_of_entity(entity) != group:
        return BLOB_IS_BROKEN
    series = self.series_of(group, entity, metric, flags & SERIES_IS_COUNTER)
    if series < 0:
        return OUT_OF_MEMORY
    return series

cdef int read_group(Windower self, Cursor* at, const int32_t* ids, uint32_t id_count, int64_t now_ns) noexcept nogil:
    cdef int32_t name
    cdef uint32_t series_count, cell_count, number, cell_number
    cdef int64_t series, bucket_ns
    cdef Group* group
    cdef Pane* pane
    cdef Cell* cell
    if get_name(at, ids, id_count, &name) < 0:
        return BLOB_IS_BROKEN
    group = self.group_of_entity(name)
    if group == NULL:
        return OUT_OF_MEMORY
    if (
        not get(at, &group.max_time_ns, 8) or not get(at, &group.watermark_ns, 8)
        or not get(at, &series_count, 4) or not get(at, &cell_count, 4)
    ):
        return BLOB_IS_BROKEN
    group.last_seen_ns = now_ns
    for number in range(series_count):
        series = get_series(self, at, group, ids, id_count)
        if series < 0:
            return <int> series
        if not get(at, &group.series[series].previous, sizeof(Point)):
            return BLOB_IS_BROKEN
        group.series[series].has_previous = True
    for number in range(cell_count):
        if not get(at, &bucket_ns, 8):
            return BLOB_IS_BROKEN
        series = get_series(self, at, group, ids, id_count)
        if series < 0:
            return <int> series
        pane = self.pane_of(group, bucket_ns)
        if pane == NULL:
            return OUT_OF_MEMORY
        cell = self.cell_of(group, pane, <uint32_t> series)
        if cell == NULL:
            return OUT_OF_MEMORY
        if read_cell(at, cell) < 0:
            return BLOB_IS_BROKEN
        # What is closed was emitted in the transaction that wrote this blob; what is open was not.
        cell.marks = 0 if bucket_ns + self.size_ns <= group.watermark_ns else CELL_CHANGED
    for number in range(group.pane_count):
        pane = group.panes[number]
        pane.is_touched = pane.bucket_ns + self.size_ns > group.watermark_ns
        if not pane.is_touched:
            # Cells that an older blob left open were emitted when this one closed their pane.
            for cell_number in range(pane.cell_count):
                pane.cells[cell_number].marks = 0
    self.expire(group)
    group.is_touched = False
    self.touched_cells = 0
    return 0


cdef check_samples(ArrowSchema* schema):
    """ValueError unless the struct has the columns of SAMPLES where this module reads them."""
    cdef int number
    wanted = (
        (SAMPLE_TIME, b"time", b"tsn:UTC"), (SAMPLE_ENTITY, b"entity", b"i"), (SAMPLE_METRIC, b"metric", b"i"),
        (SAMPLE_VALUE, b"value", b"g"), (SAMPLE_KIND, b"kind", b"i"),
    )
    for number, name, form in wanted:
        if number >= schema.n_children or schema.children[number].name != name or schema.children[number].format != form:
            raise ValueError(f"not a batch of SAMPLES: column {number} is not {name.decode()} ({form.decode()})")
