# Trees on their way out to an Arrow library. See tree_out.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.arrow_out cimport Batch, Block, Layout
from framecodec.trees cimport Cells, Tree

# The bits of `valid` as a counted block, NULL if all are there, and how many are not.
cdef const void* bitmap(const uint8_t* valid, int64_t length, int64_t* null_count) except? NULL


# The strings of a dictionary, in counted blocks that many batches share.
cdef class Labels:
    cdef int32_t* ends
    cdef uint8_t* text
    cdef int64_t count

    cdef append_to(self, Block* block, ArrowArray* array)


cdef class TreeLayout(Layout):
    cdef Tree tree
    cdef list labels         # Labels or None for each of the tree's cells
    cdef int array_count     # structs and pointers that a batch takes
    cdef int pointer_count

    cdef count(self, column)
    cdef Batch take_out(self)
    cdef export_column(self, column, bint is_value, ArrowSchema* schema)
    cdef ArrowArray* column_array(self, Block* block, column, bint is_value, int64_t length) except NULL
    cdef ArrowArray* scalar_array(self, Block* block, int cell, bint is_value, int64_t length) except NULL
