# Columns on their way into Arrow arrays. See rows_out.pyx.
from libc.stdint cimport int64_t, uint64_t

from framecodec.arrow cimport ArrowArray
from framecodec.column cimport Column

# `length` rows of `count` columns as a struct array, which owns their buffers from then on: those are NULL in the columns.
# Values that nobody needs stay. `names` has the Names of dictionary columns; `masks` is NULL where columns have marks.
cdef export_rows(
    Column* columns, int count, int64_t length, const uint64_t* masks, bint clears_late, list names, ArrowArray* array)
