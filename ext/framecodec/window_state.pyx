# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A Windower's groups as bytes, and back: deltas with what was touched, and snapshots of a share of the groups.

Little-endian:

    u32 magic, u32 bytes of names, names (u32 number, u16 size, text), then groups until the end:
      u32 name, i64 max_time, i64 watermark, u32 series, u32 cells,
      series (u32 entity, u32 metric, u8 flags, i64 time, f64 value): last points of expired panes, snapshots only
      cells (i64 bucket, u32 entity, u32 metric, u8 flags, u64 cnt good, f64 sum sumsq min max, point first last,
             u16 keys, u32 points, keys (i16, u32), points (i64, f64))

What a blob holds replaces what is there; blobs are loaded in the order in which they were made.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from framecodec.blobs cimport (
    BLOB_IS_BROKEN, SERIES_IS_COUNTER, Bytes, Cursor, get, mark_name, put, put_cell, put_i64, put_series, put_u32, read_cell,
    write_names,
)
from framecodec.cells cimport OUT_OF_MEMORY, Cell, Pane, Point, Series
from framecodec.groups cimport CELL_CHANGED, CELL_TOUCHED, Group, Groups
from framecodec.names cimport Names, begin_epoch

cdef enum:
    BLOB_MAGIC = 0x3157424F            # "OBW1"


# --- writing ---------------------------------------------------------------------------------------------------------

cdef object dump(Groups groups, int64_t size_ns, uint32_t shard, uint32_t shards, bint whole):
    cdef Bytes body
    cdef Bytes names
    cdef uint32_t number
    cdef Group* group
    cdef int status = 0
    cdef uint32_t magic = BLOB_MAGIC
    cdef uint32_t names_bytes
    memset(&body, 0, sizeof(Bytes))
    memset(&names, 0, sizeof(Bytes))
    begin_epoch(groups.names)
    try:
        with nogil:
            for number in range(groups.count):
                group = groups.items[number]
                if whole and groups.names.hashes[group.name] % shards != shard:
                    continue
                if not whole and not group.is_touched:
                    continue
                status = write_group(&body, groups.names, group, size_ns, whole)
                if status < 0:
                    break
            if status == 0 and not whole:
                groups.touched_cells = 0
            if status == 0:
                status = write_names(groups.names, &body, &names)
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

cdef int write_group(Bytes* out, Names names, Group* group, int64_t size_ns, bint whole) noexcept nogil:
    cdef uint32_t number, cell_number
    cdef uint32_t series_written = 0
    cdef uint32_t cells_written = 0
    cdef size_t counts_at
    cdef Series* series
    cdef Pane* pane
    cdef Cell* cell
    put_u32(out, mark_name(names, group.name))
    put_i64(out, group.max_time_ns)
    put_i64(out, group.watermark_ns)
    counts_at = out.used
    put_u32(out, 0)
    put_u32(out, 0)
    if whole:
        for number in range(group.series_count):
            series = &group.series[number]
            if series.has_previous:
                put_series(out, names, series)
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
            if put_cell(out, names, pane.bucket_ns, &group.series[cell.series], cell) < 0:
                return OUT_OF_MEMORY
            cells_written += 1
            if not whole:
                cell.marks &= ~CELL_TOUCHED
        if not whole:
            pane.is_touched = pane.bucket_ns + size_ns > group.watermark_ns
    if not whole:
        group.is_touched = False
    if out.failed:
        return OUT_OF_MEMORY
    memcpy(out.data + counts_at, &series_written, 4)
    memcpy(out.data + counts_at + 4, &cells_written, 4)
    return 0


# --- reading ---------------------------------------------------------------------------------------------------------

cdef int load(
    Groups groups, const uint8_t* data, size_t size, int64_t size_ns, int64_t kept_ns, int64_t now_ns
) noexcept nogil:
    cdef Cursor at
    cdef int32_t* ids = NULL
    cdef uint32_t id_count = 0
    cdef int status = 0
    at.data = data
    at.end = data + size
    status = read_names(groups, &at, &ids, &id_count)
    while status == 0 and at.data < at.end:
        status = read_group(groups, &at, ids, id_count, size_ns, kept_ns, now_ns)
    free(ids)
    return status

# ids[number in the blob] = number here.
cdef int read_names(Groups groups, Cursor* at, int32_t** ids, uint32_t* id_count) noexcept nogil:
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
        ids[0][number] = groups.names.intern(at.data, size)
        if ids[0][number] < 0 or groups.grow_names() < 0:
            return OUT_OF_MEMORY
        at.data += size
    return 0

cdef int get_name(Cursor* at, const int32_t* ids, uint32_t id_count, int32_t* name) noexcept nogil:
    cdef uint32_t number
    if not get(at, &number, 4) or number >= id_count or ids[number] < 0:
        return BLOB_IS_BROKEN
    name[0] = ids[number]
    return 0

cdef int64_t get_series(Groups groups, Cursor* at, Group* group, const int32_t* ids, uint32_t id_count) noexcept nogil:
    cdef int32_t entity, metric
    cdef uint8_t flags
    cdef int64_t series
    if get_name(at, ids, id_count, &entity) < 0 or get_name(at, ids, id_count, &metric) < 0 or not get(at, &flags, 1):
        return BLOB_IS_BROKEN
    if groups.group_of_entity(entity) != group:
        return BLOB_IS_BROKEN
    series = groups.series_of(group, entity, metric, flags & SERIES_IS_COUNTER)
    if series < 0:
        return OUT_OF_MEMORY
    return series

cdef int read_group(
    Groups groups, Cursor* at, const int32_t* ids, uint32_t id_count, int64_t size_ns, int64_t kept_ns, int64_t now_ns
) noexcept nogil:
    cdef int32_t name
    cdef uint32_t series_count, cell_count, number, cell_number
    cdef int status
    cdef int64_t series, bucket_ns
    cdef Group* group
    cdef Pane* pane
    cdef Cell* cell
    if get_name(at, ids, id_count, &name) < 0:
        return BLOB_IS_BROKEN
    group = groups.group_of_entity(name)
    if group == NULL:
        return OUT_OF_MEMORY
    if (
        not get(at, &group.max_time_ns, 8) or not get(at, &group.watermark_ns, 8)
        or not get(at, &series_count, 4) or not get(at, &cell_count, 4)
    ):
        return BLOB_IS_BROKEN
    group.last_seen_ns = now_ns
    for _ in range(series_count):
        series = get_series(groups, at, group, ids, id_count)
        if series < 0:
            return <int> series
        if not get(at, &group.series[series].previous, sizeof(Point)):
            return BLOB_IS_BROKEN
        group.series[series].has_previous = True
    for _ in range(cell_count):
        if not get(at, &bucket_ns, 8):
            return BLOB_IS_BROKEN
        series = get_series(groups, at, group, ids, id_count)
        if series < 0:
            return <int> series
        pane = groups.pane_of(group, bucket_ns)
        if pane == NULL:
            return OUT_OF_MEMORY
        cell = groups.cell_of(group, pane, <uint32_t> series)
        if cell == NULL:
            return OUT_OF_MEMORY
        status = read_cell(at, cell)
        if status < 0:
            return status
        # What is closed was emitted in the transaction that wrote this blob; what is open was not.
        cell.marks = 0 if bucket_ns + size_ns <= group.watermark_ns else CELL_CHANGED
    for number in range(group.pane_count):
        pane = group.panes[number]
        pane.is_touched = pane.bucket_ns + size_ns > group.watermark_ns
        if not pane.is_touched:
            # Cells that an older blob left open were emitted when this one closed their pane.
            for cell_number in range(pane.cell_count):
                pane.cells[cell_number].marks = 0
    groups.expire(group, kept_ns)
    group.is_touched = False
    groups.touched_cells = 0
    return 0
