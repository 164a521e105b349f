# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Rows that grow column by column.

A decoder asks for room, writes into the columns by row index and closes the row:

    if rows.reserve(1) < 0: return OUT_OF_MEMORY
    (<int64_t*>rows.columns[TIME].values)[rows.length] = time_ns
    rows.columns[RECEIVED].valid[rows.length] = 1
    rows.next_row()

Afterwards, with the GIL, `pyarrow.record_batch(rows.flush())` takes the buffers over without a copy (rows_out.pyx).

`reserve` clears what it adds: values are 0 and nullable cells are null until written. Rows with masks keep what is present as
one word a row instead of one byte a cell: writers of wide rows gather it in a register and store it once,

    rows.masks[row] = present                   # bit n: column n; garbage until written
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

cimport framecodec.arrow_out as arrow_out
from framecodec.arrow_out cimport Layout
from framecodec.column cimport SHAPE_BYTES, SHAPE_FIXED, SHAPE_LIST, SHAPE_MAP, SHAPE_NAME, Column
from framecodec.rows_out cimport export_rows

from framecodec.arrow_out import Batch

__all__ = ["Batch", "Names", "Rows"]
globals()["Names"] = Names               # a cimport alone is no attribute of the module

cdef extern from *:
    """
    #include <stdlib.h>
    #ifdef __GLIBC__
    #include <malloc.h>
    static void fc_keep_freed_memory(int mmap_bytes, int trim_bytes) {
        mallopt(M_MMAP_THRESHOLD, mmap_bytes);
        mallopt(M_TRIM_THRESHOLD, trim_bytes);
    }
    #else
    static void fc_keep_freed_memory(int mmap_bytes, int trim_bytes) {}
    #endif
    """
    void keep_freed_memory "fc_keep_freed_memory"(int mmap_bytes, int trim_bytes) nogil

# Batches of some megabytes come and go hundreds of times a second. By default glibc gives each back to the kernel and takes
# it anew, page by page: two thirds of a NetFlow decoder's time (benchmarks/bench_rack.py). 32 MiB is the most it allows.
keep_freed_memory(32 << 20, 128 << 20)

cdef enum:
    FIRST_CAPACITY_ROWS = 256
    MASK_BITS = 64


# What each Arrow format of the model needs; the format strings are those of the C data interface.
FIXED_BYTES = {
    "c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "l": 8, "L": 8, "f": 4, "g": 8,
    "tsn:UTC": 8, "tss:UTC": 8, "w:16": 16, "w:6": 6,
}


cdef class Rows:
    """Rows of the given `fields`: (name, format, nullable, names) with an Arrow format string, or `name` for a
    dictionary of strings, `list:I` for a list of uint32, `map:s,I` for a map of int16 to uint32. `names` is the `Names`
    of a dictionary column; it may be shared, and None makes a new one. `clears_late` saves the clearing of cells that
    will be written anyway: for writers that write every cell of a required column and whole cells of the others.
    `has_masks`: see the module; at most 64 columns."""

    def __cinit__(self, fields, bint clears_late=False, bint has_masks=False):
        cdef Column* column
        self.clears_late, self.has_masks = clears_late, has_masks
        if has_masks and len(fields) > MASK_BITS:
            raise ValueError(f"masks have {MASK_BITS} bits, not {len(fields)}")
        self.columns = <Column*> calloc(len(fields), sizeof(Column))
        if self.columns == NULL:
            raise MemoryError
        self.column_count = len(fields)          # not before: __dealloc__ looks into so many
        self.layout = Layout(fields)
        self.names = []
        for index, field in enumerate(fields):
            column = &self.columns[index]
            form = field[1]
            column.nullable = field[2]
            names = None
            if form == "name":
                column.shape, column.item_bytes = SHAPE_NAME, 4
                names = field[3] if len(field) > 3 and field[3] is not None else Names()
            elif form in ("z", "u"):
                column.shape, column.item_bytes = SHAPE_BYTES, 1
            elif form.startswith("list:"):
                column.shape, column.item_bytes = SHAPE_LIST, FIXED_BYTES[form[5:]]
            elif form.startswith("map:"):
                key, value = form[4:].split(",")
                column.shape, column.item_bytes, column.item2_bytes = SHAPE_MAP, FIXED_BYTES[key], FIXED_BYTES[value]
            else:
                column.shape, column.item_bytes = SHAPE_FIXED, FIXED_BYTES[form]
            self.names.append(names)

    def __dealloc__(self):
        self.release()
        free(self.columns)

    def __len__(self):
        return self.length

    def column_names(self, int index) -> Names:
        """The `Names` behind a dictionary column."""
        return self.names[index]

    cdef void release(self) noexcept nogil:
        cdef int index
        cdef Column* column
        for index in range(self.column_count):
            column = &self.columns[index]
            free(column.values)
            free(column.valid)
            free(column.ends)
            free(column.data)
            free(column.data2)
            column.values = column.valid = column.data = column.data2 = NULL
            column.ends = NULL
            column.data_used = column.data_capacity = column.data2_used = column.data2_capacity = 0
        free(self.masks)
        self.masks = NULL
        self.length = self.capacity = 0

    cdef int reserve(self, int64_t count) noexcept nogil:
        cdef int64_t capacity = self.capacity
        cdef int index
        cdef int64_t wanted
        cdef Column* column
        cdef void* moved
        if self.length + count <= capacity:
            return 0
        if capacity == 0:
            capacity = FIRST_CAPACITY_ROWS if count < FIRST_CAPACITY_ROWS else count
        while capacity < self.length + count:
            capacity *= 2
        if self.has_masks:
            moved = realloc(self.masks, capacity * sizeof(uint64_t))
            if moved == NULL:
                return -1
            self.masks = <uint64_t*> moved
        for index in range(self.column_count):
            column = &self.columns[index]
            if column.nullable and not self.has_masks:
                # What is kept of an earlier batch is clear; a map keeps nothing.
                wanted = self.capacity if column.shape == SHAPE_MAP else column.data2_capacity
                if wanted < capacity:
                    moved = realloc(column.valid, capacity)
                    if moved == NULL:
                        return -1
                    column.valid = <uint8_t*> moved
                    memset(column.valid + wanted, 0, capacity - wanted)
                    if column.shape != SHAPE_MAP:
                        column.data2_capacity = capacity
            if column.shape == SHAPE_FIXED or column.shape == SHAPE_NAME:
                wanted = capacity * column.item_bytes
                if column.data_capacity >= wanted:
                    continue
                if self.capacity == 0:
                    free(column.values)
                    column.data_capacity = 0
                    column.values = <uint8_t*> (malloc(wanted) if self.clears_late else calloc(capacity, column.item_bytes))
                    if column.values == NULL:
                        return -1
                else:
                    moved = realloc(column.values, wanted)
                    if moved == NULL:
                        return -1
                    column.values = <uint8_t*> moved
                if self.capacity and not self.clears_late:
                    memset(column.values + column.data_capacity, 0, wanted - column.data_capacity)
                column.data_capacity = wanted
            else:
                moved = realloc(column.ends, (capacity + 1) * sizeof(int32_t))
                if moved == NULL:
                    return -1
                column.ends = <int32_t*> moved
                if self.capacity == 0:
                    column.ends[0] = 0
        self.capacity = capacity
        return 0

    cdef int put_bytes(self, int index, const uint8_t* data, size_t size) noexcept nogil:
        cdef Column* column = &self.columns[index]
        if append(&column.data, &column.data_used, &column.data_capacity, data, size) < 0:
            return -1
        mark(self, index)
        return 0

    cdef int put_list(self, int index, const void* items, size_t count) noexcept nogil:
        cdef Column* column = &self.columns[index]
        if append(
            &column.data, &column.data_used, &column.data_capacity, <const uint8_t*> items, count * column.item_bytes,
        ) < 0:
            return -1
        mark(self, index)
        return 0

    cdef int put_map(self, int index, const void* keys, const void* values, size_t count) noexcept nogil:
        cdef Column* column = &self.columns[index]
        if append(
            &column.data, &column.data_used, &column.data_capacity, <const uint8_t*> keys, count * column.item_bytes,
        ) < 0:
            return -1
        if append(
            &column.data2, &column.data2_used, &column.data2_capacity, <const uint8_t*> values, count * column.item2_bytes,
        ) < 0:
            return -1
        mark(self, index)
        return 0

    cdef void next_row(self) noexcept nogil:
        cdef int index
        cdef Column* column
        for index in range(self.column_count):
            column = &self.columns[index]
            if column.ends != NULL:
                column.ends[self.length + 1] = <int32_t> (column.data_used // column.item_bytes)
        self.length += 1

    def flush(self) -> Batch:
        """All rows as a `Batch`; afterwards there are none here. Names stay, so ids stay valid."""
        cdef arrow_out.Batch batch = arrow_out.Batch.__new__(arrow_out.Batch)
        batch.length, batch.layout = self.length, self.layout
        try:
            export_rows(
                self.columns, self.column_count, self.length, self.masks if self.has_masks else NULL, self.clears_late,
                self.names, &batch.array,
            )
        except MemoryError:
            self.release()
            raise
        restart(self)
        return batch


# The cell of row `length` is there; masks are their writer's.
cdef inline void mark(Rows rows, int column) noexcept nogil:
    if rows.columns[column].nullable and not rows.has_masks:
        rows.columns[column].valid[rows.length] = 1


# After a flush: marks, and values that nobody wrote, stay for the next rows.
cdef void restart(Rows rows) noexcept nogil:
    cdef int index
    cdef Column* column
    for index in range(rows.column_count):
        column = &rows.columns[index]
        free(column.ends)
        free(column.data)
        free(column.data2)
        column.ends = NULL
        column.data = column.data2 = NULL
        column.data_used = column.data2_used = 0
        if column.values == NULL:
            column.data_capacity = 0
        if column.shape == SHAPE_MAP:
            free(column.valid)
            column.valid = NULL
            column.data2_capacity = 0
        elif column.valid != NULL and column.values == NULL:   # else nobody wrote here, it is clear
            memset(column.valid, 0, rows.length)
    rows.length = rows.capacity = 0


cdef int append(uint8_t** data, int64_t* used, int64_t* capacity, const uint8_t* more, size_t size) noexcept nogil:
    cdef int64_t wanted = capacity[0] if capacity[0] else 1024
    cdef void* moved
    # int32 offsets: an Arrow binary column ends at 2 GiB, and no batch of ours comes near it.
    if <uint64_t> used[0] + size > 0x7FFFFFFF:
        return -1
    while wanted < used[0] + <int64_t> size:
        wanted *= 2
    if wanted != capacity[0]:
        moved = realloc(data[0], wanted)
        if moved == NULL:
            return -1
        data[0] = <uint8_t*> moved
        capacity[0] = wanted
    if size:                              # memcpy may not be handed NULL, not even for nothing
        memcpy(data[0] + used[0], more, size)
    used[0] += <int64_t> size
    return 0
