# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""A record batch of model.FRAMES as decoders read it: pointers into its columns, through the Arrow C data interface.

    frames = FrameInput(batch)           # a pyarrow.RecordBatch, kept alive as long as this is

A sixth column `offset` (int64) is where each frame lies in its file. The batch may be a slice.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t

from framecodec.arrow cimport ArrowArray, ArrowSchema, is_name
from framecodec.records cimport FRAME_FRAME, FRAME_RECEIVED_NS, FRAME_SOURCE

__all__ = ["FrameInput"]

FORMATS = {FRAME_RECEIVED_NS: b"l", FRAME_SOURCE: b"name", FRAME_FRAME: b"z"}
cdef enum:
    FRAME_OFFSET = FRAME_FRAME + 1


cdef class FrameInput:
    """`frames` is a batch of model.FRAMES; TypeError for any other."""

    def __cinit__(self, frames):
        self.capsules = frames.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(self.capsules[0], "arrow_schema")
        cdef const ArrowArray* array = <const ArrowArray*> PyCapsule_GetPointer(self.capsules[1], "arrow_array")
        cdef const ArrowArray* column
        check_columns(schema, FORMATS)
        self.array, self.length = array, array.length
        column = array.children[FRAME_SOURCE]
        self.ids = <const int32_t*> column.buffers[1] + column.offset + array.offset
        column = array.children[FRAME_FRAME]
        self.ends = <const int32_t*> column.buffers[1] + column.offset + array.offset
        self.data = <const uint8_t*> column.buffers[2]
        self.offsets = NULL
        if array.n_children > FRAME_OFFSET and schema.children[FRAME_OFFSET].name == b"offset":
            check_columns(schema, {FRAME_OFFSET: b"l"})
            column = array.children[FRAME_OFFSET]
            self.offsets = <const int64_t*> column.buffers[1] + column.offset + array.offset

    cdef int64_t next_sender(self, int64_t first) noexcept nogil:
        cdef int64_t row = first
        while row < self.length and self.ids[row] == self.ids[first]:
            row += 1
        return row

    cdef str source(self, int64_t row):
        return dictionary_name(self.array.children[FRAME_SOURCE], self.ids[row])

    cdef int64_t received_ns(self, int64_t row) noexcept nogil:
        return long_at(self.array.children[FRAME_RECEIVED_NS], self.array.offset + row)


cdef check_columns(const ArrowSchema* schema, dict formats):
    cdef int number
    cdef const ArrowSchema* column
    if schema.n_children <= max(formats):
        raise TypeError(f"a batch of {schema.n_children} columns, {max(formats) + 1} are needed")
    for number, form in formats.items():
        column = schema.children[number]
        if form == b"name" and not is_name(column):
            raise TypeError(f"column {number} is '{column.format.decode()}', it should be a dictionary of strings")
        if form != b"name" and column.format != form:
            raise TypeError(f"column {number} is '{column.format.decode()}', it should be '{form.decode()}'")


cdef inline bint is_there(const ArrowArray* column, int64_t place) noexcept nogil:
    cdef const uint8_t* valid = <const uint8_t*> column.buffers[0]
    return valid == NULL or (valid[place >> 3] >> (place & 7)) & 1


cdef int64_t long_at(const ArrowArray* column, int64_t row) noexcept nogil:
    row += column.offset
    return (<const int64_t*> column.buffers[1])[row] if is_there(column, row) else -1


cdef int32_t int_at(const ArrowArray* column, int64_t row) noexcept nogil:
    row += column.offset
    return (<const int32_t*> column.buffers[1])[row] if is_there(column, row) else -1


cdef str dictionary_name(const ArrowArray* column, int32_t number):
    cdef const int32_t* ends = <const int32_t*> column.dictionary.buffers[1] + column.dictionary.offset
    cdef const char* text = <const char*> column.dictionary.buffers[2]
    return text[ends[number]:ends[number + 1]].decode("utf-8", "replace")
