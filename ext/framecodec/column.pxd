# One column of Rows, as its writer and its way out see it. See columns.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum Shape:
    SHAPE_FIXED          # item_bytes per row in `values`
    SHAPE_NAME           # int32 ids of a Names in `values`
    SHAPE_BYTES          # `ends` and `data`: binary or utf8
    SHAPE_LIST           # `ends` and `data` (items of item_bytes)
    SHAPE_MAP            # `ends`, `data` (keys of item_bytes) and `data2` (values of item2_bytes)


# All pointers are owned by the Rows until flush() hands them to Arrow.
cdef struct Column:
    Shape shape
    int item_bytes
    int item2_bytes
    bint nullable
    uint8_t* values
    uint8_t* valid       # one byte a row, 1 = present; a bitmap only when it leaves. NULL where the Rows have masks
    int32_t* ends        # capacity + 1 offsets, ends[0] = 0
    uint8_t* data
    int64_t data_used
    int64_t data_capacity    # octets of `data`, or of `values` where the shape has no `data`
    uint8_t* data2
    int64_t data2_used
    int64_t data2_capacity   # octets of `data2`, or of `valid` where the shape has no `data2`
