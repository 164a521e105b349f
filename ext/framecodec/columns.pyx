# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Rows that grow column by column, names that repeat, and how both leave as Arrow.

A decoder asks for room, writes into the columns by row index and closes the row:

    if rows.reserve(1) < 0: return OUT_OF_MEMORY
    (<int64_t*>rows.columns[TIME].values)[rows.length] = time_ns
    rows.columns[RECEIVED].valid[rows.length] = 1
    rows.next_row()

Afterwards, with the GIL, `pyarrow.record_batch(rows.flush())` takes the buffers over without a copy (arrow_out.pyx).

`reserve` clears what it adds: values are 0 and nullable cells are null until written.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from framecodec.arrow cimport ArrowArray
cimport framecodec.arrow_out as arrow_out
from framecodec.arrow_out cimport Block, Layout, ZEROS, ZEROS_BYTES, append_child, new_array, new_block, pack_bits

from framecodec.arrow_out import Batch

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
    FIRST_NAMES = 64


# FNV-1a over eight bytes at a time with a final mix: names are short, and quality matters less than a predictable cost.
cdef uint64_t hash_bytes(const uint8_t* text, size_t size) noexcept nogil:
    cdef uint64_t state = <uint64_t> 0xCBF29CE484222325ULL ^ size
    cdef uint64_t word
    while size >= 8:
        memcpy(&word, text, 8)
        state = (state ^ word) * <uint64_t> 0x9E3779B97F4A7C15ULL
        state ^= state >> 32
        text += 8
        size -= 8
    word = 0
    memcpy(&word, text, size)
    state = (state ^ word) * <uint64_t> 0x9E3779B97F4A7C15ULL
    return state ^ (state >> 29)


cdef class Names:
    """Strings by number: `intern` gives equal names equal ids, 0, 1, 2, ... in order of appearance."""

    def __cinit__(self):
        self.capacity = FIRST_NAMES
        self.text_capacity = 32 * FIRST_NAMES
        self.mask = 4 * FIRST_NAMES - 1
        self.text = <uint8_t*> malloc(self.text_capacity)
        self.starts = <int64_t*> calloc(self.capacity + 1, sizeof(int64_t))
        self.hashes = <uint64_t*> malloc(self.capacity * sizeof(uint64_t))
        self.table = <uint32_t*> calloc(self.mask + 1, sizeof(uint32_t))
        self.stamp = <uint32_t*> calloc(self.capacity, sizeof(uint32_t))
        self.local_id = <int32_t*> malloc(self.capacity * sizeof(int32_t))
        if not (self.text and self.starts and self.hashes and self.table and self.stamp and self.local_id):
            raise MemoryError
        self.count = 0
        self.epoch = 0

    def __dealloc__(self):
        free(self.text)
        free(self.starts)
        free(self.hashes)
        free(self.table)
        free(self.stamp)
        free(self.local_id)

    def __len__(self):
        return self.count

    def add(self, name: str) -> int:
        """The id of `name`."""
        cdef bytes encoded = name.encode()
        cdef int32_t found = self.intern(<const uint8_t*> <char*> encoded, len(encoded))
        if found < 0:
            raise MemoryError
        return found

    def name(self, uint32_t number) -> str:
        """The name with this id; IndexError where there is none."""
        if number >= self.count:
            raise IndexError(number)
        return self.text[self.starts[number]:self.starts[number + 1]].decode("utf-8", "replace")

    cdef void clear(self) noexcept nogil:
        memset(self.table, 0, (self.mask + 1) * sizeof(uint32_t))
        memset(self.stamp, 0, self.capacity * sizeof(uint32_t))
        self.count = 0
        self.epoch = 0

    cdef int grow(self, size_t text_bytes) noexcept nogil:
        cdef uint64_t slot
        cdef uint32_t number
        cdef uint32_t capacity = self.capacity
        cdef void* moved
        while self.starts[self.count] + <int64_t> text_bytes > self.text_capacity:
            moved = realloc(self.text, 2 * self.text_capacity)
            if moved == NULL:
                return -1
            self.text = <uint8_t*> moved
            self.text_capacity *= 2
        if self.count < capacity:
            return 0
        moved = realloc(self.starts, (2 * <size_t> capacity + 1) * sizeof(int64_t))
        if moved == NULL:
            return -1
        self.starts = <int64_t*> moved
        moved = realloc(self.hashes, 2 * <size_t> capacity * sizeof(uint64_t))
        if moved == NULL:
            return -1
        self.hashes = <uint64_t*> moved
        moved = realloc(self.stamp, 2 * <size_t> capacity * sizeof(uint32_t))
        if moved == NULL:
            return -1
        self.stamp = <uint32_t*> moved
        memset(self.stamp + capacity, 0, capacity * sizeof(uint32_t))
        moved = realloc(self.local_id, 2 * <size_t> capacity * sizeof(int32_t))
        if moved == NULL:
            return -1
        self.local_id = <int32_t*> moved
        moved = calloc(8 * <size_t> capacity, sizeof(uint32_t))
        if moved == NULL:
            return -1
        free(self.table)
        self.table = <uint32_t*> moved
        self.capacity = 2 * capacity
        self.mask = 8 * <uint64_t> capacity - 1
        for number in range(self.count):
            slot = self.hashes[number] & self.mask
            while self.table[slot]:
                slot = (slot + 1) & self.mask
            self.table[slot] = number + 1
        return 0

    cdef int32_t intern(self, const uint8_t* text, size_t size) noexcept nogil:
        cdef uint64_t hashed = hash_bytes(text, size)
        cdef uint64_t slot = hashed & self.mask
        cdef uint32_t number
        while self.table[slot]:
            number = self.table[slot] - 1
            if (
                self.hashes[number] == hashed
                and self.starts[number + 1] - self.starts[number] == <int64_t> size
                and memcmp(self.text + self.starts[number], text, size) == 0
            ):
                return <int32_t> number
            slot = (slot + 1) & self.mask
        if self.count == self.capacity or self.starts[self.count] + <int64_t> size > self.text_capacity:
            if self.grow(size) < 0:
                return -1
            slot = hashed & self.mask
            while self.table[slot]:
                slot = (slot + 1) & self.mask
        number = self.count
        memcpy(self.text + self.starts[number], text, size)
        self.starts[number + 1] = self.starts[number] + <int64_t> size
        self.hashes[number] = hashed
        self.stamp[number] = 0
        self.table[slot] = number + 1
        self.count = number + 1
        return <int32_t> number


# What each Arrow format of the model needs; the format strings are those of the C data interface.
FIXED_BYTES = {
    "c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "l": 8, "L": 8, "f": 4, "g": 8,
    "tsn:UTC": 8, "tss:UTC": 8, "w:16": 16, "w:6": 6,
}


cdef class Rows:
    """Rows of the given `fields`: (name, format, nullable, names) with an Arrow format string, or `name` for a
    dictionary of strings, `list:I` for a list of uint32, `map:s,I` for a map of int16 to uint32. `names` is the `Names`
    of a dictionary column; it may be shared, and None makes a new one. `clears_late` saves the clearing of cells that
    will be written anyway: for writers that write every cell of a required column and whole cells of the others."""

    def __cinit__(self, fields, bint clears_late=False):
        cdef Column* column
        self.clears_late = clears_late
        self.column_count = len(fields)
        self.columns = <Column*> calloc(self.column_count, sizeof(Column))
        if self.columns == NULL:
            raise MemoryError
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
        for index in range(self.column_count):
            column = &self.columns[index]
            if column.nullable:
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
        if column.nullable:
            column.valid[self.length] = 1
        return 0

    cdef int put_list(self, int index, const void* items, size_t count) noexcept nogil:
        cdef Column* column = &self.columns[index]
        if append(&column.data, &column.data_used, &column.data_capacity, <const uint8_t*> items, count * column.item_bytes) < 0:
            return -1
        if column.nullable:
            column.valid[self.length] = 1
        return 0

    cdef int put_map(self, int index, const void* keys, const void* values, size_t count) noexcept nogil:
        cdef Column* column = &self.columns[index]
        if append(&column.data, &column.data_used, &column.data_capacity, <const uint8_t*> keys, count * column.item_bytes) < 0:
            return -1
        if append(&column.data2, &column.data2_used, &column.data2_capacity, <const uint8_t*> values, count * column.item2_bytes) < 0:
            return -1
        if column.nullable:
            column.valid[self.length] = 1
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
            export_array(self, &batch.array)
        except MemoryError:
            self.release()
            raise
        restart(self)
        return batch


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
        elif column.nullable and column.valid != NULL and column.values == NULL:   # else nobody wrote here, it is clear
            memset(column.valid, 0, rows.length)
    rows.length = rows.capacity = 0


cdef export_array(Rows rows, ArrowArray* array):
    cdef Column* column
    cdef ArrowArray* child
    cdef ArrowArray* entries
    cdef int64_t items
    cdef Block* block = new_block(1 + 4 * rows.column_count, 1 + 12 * rows.column_count)
    array[0] = new_array(block, rows.length, 1, rows.column_count)[0]
    for index in range(rows.column_count):
        column = &rows.columns[index]
        if column.shape == SHAPE_FIXED or column.shape == SHAPE_NAME:
            child = new_array(block, rows.length, 2, 0)
            append_child(array, child)
            if column.nullable and rows.length:
                child.buffers[0] = bitmap(column.valid, rows.length, &child.null_count)
            if column.shape == SHAPE_NAME:
                child.dictionary = new_array(block, 0, 3, 0)
                export_dictionary(rows, column, <Names> rows.names[index], child.dictionary)
            if rows.length and child.null_count == rows.length and rows.length * column.item_bytes <= ZEROS_BYTES:
                child.buffers[1] = ZEROS
                continue
            if rows.clears_late and child.null_count:
                clear_nulls(column, rows.length)
            child.buffers[1] = column.values
            column.values = NULL
            continue
        if column.shape == SHAPE_BYTES:
            child = new_array(block, rows.length, 3, 0)
            append_child(array, child)
            child.buffers[1] = take_ends(column)
            child.buffers[2] = take_data(&column.data)
        else:
            child = new_array(block, rows.length, 2, 1)
            append_child(array, child)
            child.buffers[1] = take_ends(column)
            items = column.data_used // column.item_bytes
            entries = new_array(block, items, 2 if column.shape == SHAPE_LIST else 1, 2)
            append_child(child, entries)
            if column.shape == SHAPE_LIST:
                entries.buffers[1] = take_data(&column.data)
            else:
                append_child(entries, new_array(block, items, 2, 0))
                entries.children[0].buffers[1] = take_data(&column.data)
                append_child(entries, new_array(block, items, 2, 0))
                entries.children[1].buffers[1] = take_data(&column.data2)
        if column.nullable and rows.length:
            child.buffers[0] = bitmap(column.valid, rows.length, &child.null_count)


# Turns ids of the long-lived Names into indices of a dictionary that holds only what these rows use, so that a batch
# costs what it holds and not what the process has seen.
cdef export_dictionary(Rows rows, Column* column, Names names, ArrowArray* dictionary):
    cdef int32_t* ids = <int32_t*> column.values
    cdef int32_t* order = NULL
    cdef int32_t used = 0
    cdef int64_t row, bytes_used = 0
    cdef int32_t number, last = -1, last_local = 0
    cdef int32_t* ends
    cdef uint8_t* text
    order = <int32_t*> malloc((<size_t> names.count + 1) * sizeof(int32_t))
    if order == NULL:
        raise MemoryError
    try:
        names.epoch += 1
        for row in range(rows.length):
            if column.nullable and not column.valid[row]:
                continue
            number = ids[row]
            if number == last:               # most names come in runs
                ids[row] = last_local
                continue
            if names.stamp[number] != names.epoch:
                names.stamp[number] = names.epoch
                names.local_id[number] = used
                order[used] = number
                used += 1
                bytes_used += names.starts[number + 1] - names.starts[number]
            last, last_local = number, names.local_id[number]
            ids[row] = last_local
        dictionary.length = used
        ends = <int32_t*> malloc((<size_t> used + 1) * sizeof(int32_t))
        dictionary.buffers[1] = ends
        text = <uint8_t*> malloc(bytes_used + 1)
        dictionary.buffers[2] = text
        if ends == NULL or text == NULL:
            raise MemoryError
        ends[0] = 0
        for row in range(used):
            number = order[row]
            bytes_used = names.starts[number + 1] - names.starts[number]
            memcpy(text + ends[row], names.text + names.starts[number], bytes_used)
            ends[row + 1] = ends[row] + <int32_t> bytes_used
    finally:
        free(order)


cdef void clear_nulls(Column* column, int64_t length) noexcept nogil:
    cdef int64_t row
    cdef int32_t* words = <int32_t*> column.values
    if column.item_bytes == 4:
        for row in range(length):
            words[row] = words[row] if column.valid[row] else 0
        return
    for row in range(length):
        if not column.valid[row]:
            memset(column.values + row * column.item_bytes, 0, column.item_bytes)


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


cdef const void* take_ends(Column* column) except? NULL:
    cdef void* ends = column.ends
    column.ends = NULL
    if ends == NULL:                      # no row: Arrow still wants the first offset
        ends = calloc(1, sizeof(int32_t))
        if ends == NULL:
            raise MemoryError
    return ends


cdef const void* take_data(uint8_t** data) except? NULL:
    cdef void* taken = data[0]
    data[0] = NULL
    if taken == NULL:
        taken = malloc(1)
        if taken == NULL:
            raise MemoryError
    return taken


# Cells are 0 or 1. Most columns are all of one kind, which memchr sees fastest; the others go eight cells at a time: the
# products gather the lowest bits of eight bytes in the highest byte, as a sum or side by side with the first one lowest.
cdef const void* bitmap(const uint8_t* valid, int64_t length, int64_t* null_count) except? NULL:
    cdef uint8_t* bits
    cdef int64_t present = 0
    if valid[0] and memchr(valid, 0, length) == NULL:
        null_count[0] = 0
        return NULL
    bits = <uint8_t*> calloc((length + 7) // 8, 1)
    if bits == NULL:
        raise MemoryError
    if valid[0] or memchr(valid, 1, length) != NULL:
        present = pack_bits(valid, length, bits)
    null_count[0] = length - present
    return bits
