# Bytes that grow and bytes that are read between explicit ends: the state of windows, little-endian.
from framecodec.cells cimport Cell, Series
from framecodec.columns cimport Names
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef enum:
    BLOB_IS_BROKEN = -2
    SERIES_IS_COUNTER = 1
    SERIES_IS_WIDE = 2

# `data` is owned by whoever frees it; `failed` when memory ran out.
cdef struct Bytes:
    uint8_t* data
    size_t used
    size_t capacity
    bint failed

# Borrowed: valid while the blob is held.
cdef struct Cursor:
    const uint8_t* data
    const uint8_t* end


cdef void put(Bytes* out, const void* data, size_t size) noexcept nogil
cdef void put_u32(Bytes* out, uint32_t value) noexcept nogil
cdef void put_i64(Bytes* out, int64_t value) noexcept nogil
cdef uint32_t mark_name(Names names, int32_t name) noexcept nogil
cdef int write_names(Names names, Bytes* body, Bytes* out) noexcept nogil
cdef void put_series(Bytes* out, Names names, Series* series) noexcept nogil
cdef int put_cell(Bytes* out, Names names, int64_t bucket_ns, Series* series, Cell* cell) noexcept nogil
# False at the end of the blob; the cursor then stays.
cdef bint get(Cursor* at, void* target, size_t size) noexcept nogil
cdef int read_cell(Cursor* at, Cell* cell) noexcept nogil
