# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The state of windows as bytes: names, series and cells, little-endian; windows.pyx has the layout of a whole blob.

Writing goes on after memory ran out and says so at the end (`failed`); reading never passes the end it was given.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport realloc
from libc.string cimport memcpy

from framecodec.cells cimport OUT_OF_MEMORY, Cell, Point, Series, settle_keys
from framecodec.columns cimport Names


cdef void put(Bytes* out, const void* data, size_t size) noexcept nogil:
    cdef size_t capacity = out.capacity if out.capacity else 4096
    cdef void* moved
    while capacity < out.used + size:
        capacity *= 2
    if capacity != out.capacity:
        moved = realloc(out.data, capacity)
        if moved == NULL:
            out.failed = True
            return
        out.data = <uint8_t*> moved
        out.capacity = capacity
    if size:                           # memcpy may not be handed NULL, not even for nothing
        memcpy(out.data + out.used, data, size)
        out.used += size

cdef void put_u32(Bytes* out, uint32_t value) noexcept nogil:
    put(out, &value, 4)

cdef void put_i64(Bytes* out, int64_t value) noexcept nogil:
    put(out, &value, 8)

# A name keeps its number of this process in the blob; write_names lists the marked ones with their text.
cdef uint32_t mark_name(Names names, int32_t name) noexcept nogil:
    names.stamp[name] = names.epoch
    return <uint32_t> name

cdef int write_names(Names names, Bytes* body, Bytes* out) noexcept nogil:
    cdef uint32_t number
    cdef uint16_t size
    for number in range(names.count):
        if names.stamp[number] != names.epoch:
            continue
        size = <uint16_t> (names.starts[number + 1] - names.starts[number])
        put_u32(out, number)
        put(out, &size, 2)
        put(out, names.text + names.starts[number], size)
    return OUT_OF_MEMORY if body.failed or out.failed else 0

cdef void put_series(Bytes* out, Names names, Series* series) noexcept nogil:
    cdef uint8_t flags = (SERIES_IS_COUNTER if series.is_counter else 0) | (SERIES_IS_WIDE if series.is_wide else 0)
    put_u32(out, mark_name(names, series.entity))
    put_u32(out, mark_name(names, series.metric))
    put(out, &flags, 1)

cdef int put_cell(Bytes* out, Names names, int64_t bucket_ns, Series* series, Cell* cell) noexcept nogil:
    if settle_keys(cell) < 0:
        return OUT_OF_MEMORY
    put_i64(out, bucket_ns)
    put_series(out, names, series)
    put(out, &cell.cnt, 8)
    put(out, &cell.good, 8)
    put(out, &cell.vsum, 4 * sizeof(double))         # vsum vsumsq vmin vmax
    put(out, &cell.first, 2 * sizeof(Point))         # first last
    put(out, &cell.key_count, 2)
    put(out, &cell.point_count, 4)
    put(out, cell.keys, cell.key_count * sizeof(int16_t))
    put(out, cell.counts, cell.key_count * sizeof(uint32_t))
    put(out, cell.points, cell.point_count * sizeof(Point))
    return OUT_OF_MEMORY if out.failed else 0

cdef bint get(Cursor* at, void* target, size_t size) noexcept nogil:
    if <size_t> (at.end - at.data) < size:
        return False
    if size:
        memcpy(target, at.data, size)
        at.data += size
    return True

cdef int read_cell(Cursor* at, Cell* cell) noexcept nogil:
    cdef uint16_t key_count
    cdef uint32_t point_count
    cdef void* keys
    cdef void* counts
    cdef void* points
    if (
        not get(at, &cell.cnt, 8) or not get(at, &cell.good, 8) or not get(at, &cell.vsum, 4 * sizeof(double))
        or not get(at, &cell.first, 2 * sizeof(Point)) or not get(at, &key_count, 2) or not get(at, &point_count, 4)
        or <size_t> (at.end - at.data) < key_count * <size_t> 6 + point_count * sizeof(Point)
    ):
        return BLOB_IS_BROKEN
    keys = realloc(cell.keys, key_count * sizeof(int16_t) + 1)
    if keys == NULL:
        return OUT_OF_MEMORY
    cell.keys = <int16_t*> keys
    counts = realloc(cell.counts, key_count * sizeof(uint32_t) + 1)
    if counts == NULL:
        return OUT_OF_MEMORY
    cell.counts = <uint32_t*> counts
    points = realloc(cell.points, point_count * sizeof(Point) + 1)
    if points == NULL:
        return OUT_OF_MEMORY
    cell.points = <Point*> points
    cell.recent_count = 0
    cell.key_count = cell.key_capacity = key_count
    cell.point_count = cell.point_capacity = point_count
    get(at, cell.keys, key_count * sizeof(int16_t))
    get(at, cell.counts, key_count * sizeof(uint32_t))
    get(at, cell.points, point_count * sizeof(Point))
    return 0
