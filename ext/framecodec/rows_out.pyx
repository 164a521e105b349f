# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Columns of Rows into the structs of Arrow (https://arrow.apache.org/docs/format/CDataInterface.html), mostly without a copy.

Used by columns.Rows.flush. What is present arrives as marks, a byte a cell, or as masks, a word a row, and leaves as bitmaps;
columns that are all present have none, and columns without a value share their zeros. The numbers of dictionary columns
become indices of a dictionary that holds only what these rows use.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memset

from framecodec.arrow cimport ArrowArray
from framecodec.arrow_out cimport Block, ZEROS, ZEROS_BYTES, append_child, new_array, new_block, pack_bits
from framecodec.column cimport SHAPE_BYTES, SHAPE_FIXED, SHAPE_LIST, SHAPE_NAME, Column
from framecodec.names cimport Names, begin_epoch

cdef extern from *:
    """
    /* Cells whose mark is 0 become 0; without a branch, so several at a time. */
    #define FC_CLEAR(NAME, CELL)                                                                              \\
        static void NAME(CELL* restrict cells, const uint8_t* restrict marks, int64_t length) {               \\
            for (int64_t i = 0; i < length; i++) cells[i] &= (CELL)-(CELL)marks[i];                           \\
        }
    FC_CLEAR(fc_clear8, uint8_t)
    FC_CLEAR(fc_clear16, uint16_t)
    FC_CLEAR(fc_clear32, uint32_t)
    FC_CLEAR(fc_clear64, uint64_t)
    """
    void clear8 "fc_clear8"(uint8_t* cells, const uint8_t* marks, int64_t length) noexcept nogil
    void clear16 "fc_clear16"(uint16_t* cells, const uint8_t* marks, int64_t length) noexcept nogil
    void clear32 "fc_clear32"(uint32_t* cells, const uint8_t* marks, int64_t length) noexcept nogil
    void clear64 "fc_clear64"(uint64_t* cells, const uint8_t* marks, int64_t length) noexcept nogil

__all__: list[str] = []

# What is present in rows with masks.
cdef struct Masks:
    const uint64_t* words        # NULL: the columns have marks
    uint64_t some                # columns present in some row,
    uint64_t every               # and in every one
    uint8_t* marks               # room for those of one column


cdef export_rows(
    Column* columns, int count, int64_t length, const uint64_t* words, bint clears_late, list names, ArrowArray* array,
):
    cdef Masks masks
    cdef Block* block = new_block(1 + 4 * count, 1 + 12 * count)
    array[0] = new_array(block, length, 1, count)[0]
    masks.words, masks.some, masks.every, masks.marks = words, 0, 0, NULL
    try:
        if words != NULL and length:
            look(&masks, length)
            masks.marks = <uint8_t*> malloc(length)
            if masks.marks == NULL:
                raise MemoryError
        for index in range(count):
            export_column(&columns[index], index, length, &masks, clears_late, names[index], block, array)
    finally:
        free(masks.marks)


cdef export_column(
    Column* column, int index, int64_t length, const Masks* masks, bint clears_late, names, Block* block, ArrowArray* array,
):
    cdef int64_t null_count = 0
    cdef const uint8_t* marks = NULL
    cdef bint is_one, is_fixed = column.shape == SHAPE_FIXED or column.shape == SHAPE_NAME
    cdef ArrowArray* child = new_array(block, length, 3 if column.shape == SHAPE_BYTES else 2, 0 if is_fixed else 1)
    append_child(array, child)
    if column.nullable and length:
        marks = mixed_marks(column, index, length, masks, &null_count)
        if marks != NULL or null_count:
            child.buffers[0] = bitmap(marks, length, &null_count)
        child.null_count = null_count
    if not is_fixed:
        export_items(column, block, child)
        return
    if column.shape == SHAPE_NAME:
        child.dictionary = new_array(block, 0, 3, 0)
        # Cells that nobody will clear may stay with the column only where the next rows overwrite them all.
        is_one = (
            clears_late and not column.nullable and length * 4 <= ZEROS_BYTES
            and is_constant(<int32_t*> column.values, length)
        )
        export_dictionary(column, 1 if is_one else length if null_count < length else 0, marks, <Names> names, child.dictionary)
        if is_one:
            child.buffers[1] = ZEROS
            return
    if length and null_count == length and length * column.item_bytes <= ZEROS_BYTES:
        child.buffers[1] = ZEROS
        return
    if clears_late and null_count:
        clear_nulls(column, marks, length)
    child.buffers[1] = column.values
    column.values = NULL


# Bytes, lists and maps: their ends, and what is between them.
cdef export_items(Column* column, Block* block, ArrowArray* child):
    cdef ArrowArray* entries
    cdef int64_t items = column.data_used // column.item_bytes
    child.buffers[1] = take_ends(column)
    if column.shape == SHAPE_BYTES:
        child.buffers[2] = take_data(&column.data)
        return
    entries = new_array(block, items, 2 if column.shape == SHAPE_LIST else 1, 2)
    append_child(child, entries)
    if column.shape == SHAPE_LIST:
        entries.buffers[1] = take_data(&column.data)
        return
    append_child(entries, new_array(block, items, 2, 0))
    entries.children[0].buffers[1] = take_data(&column.data)
    append_child(entries, new_array(block, items, 2, 0))
    entries.children[1].buffers[1] = take_data(&column.data2)


# Turns ids of the long-lived Names into indices of a dictionary that holds only what these rows use, so that a batch
# costs what it holds and not what the process has seen.
cdef export_dictionary(Column* column, int64_t length, const uint8_t* marks, Names names, ArrowArray* dictionary):
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
        begin_epoch(names)
        for row in range(length):
            if marks != NULL and not marks[row]:
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


# One exporter, one codec: the common case, and then all indices are 0. Without a way out of the loop it goes several at a time.
cdef inline bint is_constant(const int32_t* ids, int64_t length) noexcept nogil:
    cdef int32_t difference = 0
    cdef int64_t row
    for row in range(length):
        difference |= ids[row] ^ ids[0]
    return length > 0 and difference == 0


cdef void clear_nulls(Column* column, const uint8_t* marks, int64_t length) noexcept nogil:
    cdef int64_t row
    if marks == NULL:                     # none is present
        memset(column.values, 0, length * column.item_bytes)
    elif column.item_bytes == 1:
        clear8(column.values, marks, length)
    elif column.item_bytes == 2:
        clear16(<uint16_t*> column.values, marks, length)
    elif column.item_bytes == 4:
        clear32(<uint32_t*> column.values, marks, length)
    elif column.item_bytes == 8:
        clear64(<uint64_t*> column.values, marks, length)
    else:
        for row in range(length):
            if not marks[row]:
                memset(column.values + row * column.item_bytes, 0, column.item_bytes)


cdef void look(Masks* masks, int64_t length) noexcept nogil:
    cdef int64_t row
    cdef uint64_t some = 0
    cdef uint64_t every = ~<uint64_t> 0
    for row in range(length):
        some |= masks.words[row]
        every &= masks.words[row]
    masks.some, masks.every = some, every


# The marks of a column that has both kinds of cells; otherwise NULL, and how many are null: none or all.
cdef const uint8_t* mixed_marks(
    const Column* column, int index, int64_t length, const Masks* masks, int64_t* null_count,
) noexcept nogil:
    cdef int64_t row
    cdef const uint64_t* words = masks.words
    cdef uint8_t* marks = masks.marks
    if words == NULL:
        if memchr(column.valid, 1 - column.valid[0], length) != NULL:
            return column.valid
        null_count[0] = 0 if column.valid[0] else length
        return NULL
    if masks.every >> index & 1 or not masks.some >> index & 1:
        null_count[0] = 0 if masks.every >> index & 1 else length
        return NULL
    for row in range(length):
        marks[row] = <uint8_t> (words[row] >> index & 1)
    return marks


cdef const void* bitmap(const uint8_t* marks, int64_t length, int64_t* null_count) except? NULL:
    cdef uint8_t* bits
    if marks == NULL and (length + 7) // 8 <= ZEROS_BYTES:
        return ZEROS
    bits = <uint8_t*> calloc((length + 7) // 8, 1)
    if bits == NULL:
        raise MemoryError
    if marks != NULL:
        null_count[0] = length - pack_bits(marks, length, bits)
    return bits


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
