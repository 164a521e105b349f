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
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport isfinite
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.cells cimport OUT_OF_MEMORY, Cell, Pane, Point, Series, add_value, rise, settle_keys
from framecodec.columns cimport Rows
from framecodec.groups cimport CELL_CHANGED, Group, Groups, grow
from framecodec.records cimport (
    WINDOW_BUCKET, WINDOW_CNT, WINDOW_ENTITY, WINDOW_EXPECTED, WINDOW_GOOD, WINDOW_INCREASE, WINDOW_LAST_TIME, WINDOW_METRIC,
    WINDOW_RESETS, WINDOW_REV, WINDOW_SK, WINDOW_VFIRST, WINDOW_VLAST, WINDOW_VMAX, WINDOW_VMIN, WINDOW_VSUM, WINDOW_VSUMSQ,
)
from framecodec.sample_columns cimport SampleColumns, check_samples, close_samples, is_valid, open_samples
from framecodec.window_state cimport dump, load

from framecodec.records import WINDOWS_FIELDS

__all__ = ["Windower"]


cdef inline int64_t floor_to(int64_t time_ns, int64_t size_ns) noexcept nogil:
    cdef int64_t remainder = time_ns % size_ns
    return time_ns - remainder - (size_ns if remainder < 0 else 0)


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
        self.groups = Groups(dict(objectives or {}))
        self.turn = 1

    def __dealloc__(self):
        free(self.stirred)

    @property
    def touched_cells(self) -> int:
        """Cells that differ from the last delta."""
        return self.groups.touched_cells

    def __len__(self):
        """Open and kept cells: windows in memory."""
        cdef uint32_t number, pane
        cdef uint64_t cells = 0
        for number in range(self.groups.count):
            for pane in range(self.groups.items[number].pane_count):
                cells += self.groups.items[number].panes[pane].cell_count
        return cells

    def watermarks(self) -> dict[str, int]:
        """Watermark by group, int64 ns."""
        cdef uint32_t number
        cdef Groups groups = self.groups
        return {
            groups.names.name(groups.items[number].name): groups.items[number].watermark_ns
            for number in range(groups.count)
        }

    def min_watermark_ns(self) -> int | None:
        """The lowest watermark of the groups that have a window open; None where nothing is open.

        A group that fell silent and was closed for it holds nothing back, so it does not count.
        """
        cdef uint32_t number
        cdef int64_t lowest = INT64_MAX
        cdef Group* group
        for number in range(self.groups.count):
            group = self.groups.items[number]
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
        cdef SampleColumns columns
        cdef int64_t* late_rows = NULL
        cdef int64_t late_count = 0
        cdef ArrowArray* array
        cdef int status
        schema_capsule, array_capsule = samples.__arrow_c_array__()
        check_samples(<ArrowSchema*> PyCapsule_GetPointer(schema_capsule, "arrow_schema"))
        array = <ArrowArray*> PyCapsule_GetPointer(array_capsule, "arrow_array")
        late_rows = <int64_t*> malloc((array.length + 1) * sizeof(int64_t))
        if late_rows == NULL:
            raise MemoryError
        try:
            with nogil:
                status = open_samples(&columns, array, self.groups)
                if status == 0:
                    status = add_rows(self, &columns, late_rows, &late_count)
                close_samples(&columns)
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
            group = self.groups.items[self.stirred[index]]
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
            (*field, self.groups.names) if field[1] == "name" else field for field in WINDOWS_FIELDS
        ])
        cdef uint32_t number
        cdef Group* group
        cdef int64_t last_end_ns
        cdef int status = 0
        with nogil:
            for number in range(self.groups.count):
                group = self.groups.items[number]
                if group.pane_count and now_ns - group.last_seen_ns >= self.idle_timeout_ns:
                    last_end_ns = group.panes[group.pane_count - 1].bucket_ns + self.size_ns
                    if group.watermark_ns < last_end_ns:
                        group.watermark_ns = last_end_ns
                        group.is_touched = True
                if group.is_touched:
                    status = close_group(self, group, rows, rev)
                    if status < 0:
                        break
        if status < 0:
            raise MemoryError
        return rows.flush()

    def delta(self) -> bytes:
        """What changed since the last call, complete for every touched cell. Call it after `close`."""
        return dump(self.groups, self.size_ns, 0, 1, False)

    def snapshot(self, uint32_t shard, uint32_t shards) -> bytes:
        """All groups of one shard of `shards`, by a stable hash of the group's name."""
        return dump(self.groups, self.size_ns, shard, shards, True)

    def load(self, const uint8_t[::1] blob not None, int64_t now_ns) -> None:
        """Takes in a delta or a snapshot; what it holds replaces what is here. Load in the order in which they were made.

        Raises ValueError for bytes that are neither.
        """
        cdef int status
        cdef size_t size = blob.shape[0]
        cdef const uint8_t* data = &blob[0] if size else NULL
        with nogil:
            status = load(self.groups, data, size, self.size_ns, self.size_ns + self.allowed_lateness_ns, now_ns)
        if status == OUT_OF_MEMORY:
            raise MemoryError
        if status < 0:
            raise ValueError("these bytes are no window state of this version")

    # --- inside -----------------------------------------------------------------------------------------------------

    cdef bint is_late(self, Group* group, int64_t time_ns) noexcept nogil:
        cdef int64_t end_ns = floor_to(time_ns, self.size_ns) + self.size_ns
        return group.watermark_ns != INT64_MIN and end_ns + self.allowed_lateness_ns <= group.watermark_ns

    cdef int stir(self, Group* group) noexcept nogil:
        if self.stirred_count == self.stirred_capacity:
            if grow(<void**> &self.stirred, &self.stirred_capacity, 64, sizeof(uint32_t)) < 0:
                return OUT_OF_MEMORY
        self.stirred[self.stirred_count] = group.number
        self.stirred_count += 1
        group.turn = self.turn
        return 0


# --- adding a batch --------------------------------------------------------------------------------------------------

cdef int add_rows(Windower windower, SampleColumns* samples, int64_t* late_rows, int64_t* late_count) noexcept nogil:
    cdef int64_t row, series, pair, time_ns
    cdef int32_t entity, metric
    cdef double value
    cdef Group* group
    cdef Pane* pane
    cdef Cell* cell
    for row in range(samples.length):
        if not is_valid(&samples.values, row):
            continue
        value = (<const double*> samples.values.values)[row]
        if not isfinite(value):
            windower.not_finite += 1
            continue
        entity = (<const int32_t*> samples.entities.values)[row]
        metric = (<const int32_t*> samples.metrics.values)[row]
        time_ns = (<const int64_t*> samples.times.values)[row]
        group = samples.groups[entity]
        if group.turn != windower.turn and windower.stir(group) < 0:
            return OUT_OF_MEMORY
        pane = group.current
        if pane == NULL or time_ns < pane.bucket_ns or time_ns - pane.bucket_ns >= windower.size_ns:
            # The watermark is that of the records before, so that the order of rows within one does not matter.
            if windower.is_late(group, time_ns):
                late_rows[late_count[0]] = row
                late_count[0] += 1
                continue
            pane = windower.groups.pane_of(group, floor_to(time_ns, windower.size_ns))
            if pane == NULL:
                return OUT_OF_MEMORY
            group.current = pane
        if time_ns > group.max_time_ns:
            group.max_time_ns = time_ns
        pair = entity * samples.metric_count + metric
        series = <int64_t> samples.known[pair] - 1 if samples.known != NULL else -1
        if series < 0:
            series = windower.groups.series_of(
                group, samples.entity_ids[entity], samples.metric_ids[metric],
                (<const int32_t*> samples.kinds.values)[row] == samples.counter_kind,
            )
            if series < 0:
                return OUT_OF_MEMORY
            if samples.known != NULL:
                samples.known[pair] = <uint32_t> series + 1
        cell = windower.groups.cell_of(group, pane, <uint32_t> series)
        if cell == NULL or add_value(cell, &group.series[series], time_ns, value) < 0:
            return OUT_OF_MEMORY
    return 0


# --- emitting --------------------------------------------------------------------------------------------------------

# Emits changed cells of closed panes, oldest first, then forgets panes that can change no more.
cdef int close_group(Windower windower, Group* group, Rows rows, uint64_t rev) noexcept nogil:
    cdef uint32_t pane_number, cell_number
    cdef int64_t later
    cdef Pane* pane
    cdef Pane* after
    cdef Cell* cell
    for pane_number in range(group.pane_count):
        pane = group.panes[pane_number]
        if pane.bucket_ns + windower.size_ns > group.watermark_ns:
            break
        if not pane.is_touched:
            continue
        for cell_number in range(pane.cell_count):
            cell = &pane.cells[cell_number]
            if not cell.marks & CELL_CHANGED:
                continue
            if emit(rows, group, pane_number, cell, rev) < 0:
                return OUT_OF_MEMORY
            cell.marks &= ~CELL_CHANGED
            if not group.series[cell.series].is_counter:
                continue
            # The next window's increase starts from this one's last point.
            for later in range(pane_number + 1, group.pane_count):
                after = group.panes[later]
                if cell.series < after.index_capacity and after.index_of[cell.series] >= 0:
                    windower.groups.cell_of(group, after, cell.series)
                    break
    windower.groups.expire(group, windower.size_ns + windower.allowed_lateness_ns)
    return 0

cdef int emit(Rows rows, Group* group, uint32_t pane_number, Cell* cell, uint64_t rev) noexcept nogil:
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
