# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The values of one column in a Native block, from the buffers of an Arrow array.

For framecodec.native only: `resolve` a column of a batch, `measure` it, `write` it. Heads (name and type) and the number of
rows are the encoder's. Layouts: see native.pyx.
"""
from libc.stdint cimport uint16_t
from libc.string cimport memcmp, memset

cdef enum:
    LOW_CARDINALITY_VERSION = 1             # SharedDictionariesWithAdditionalKeys
    LOW_CARDINALITY_FLAGS = 0x200 | 0x400   # the keys stand in this block; the dictionary is new
    LOW_CARDINALITY_HEAD_BYTES = 4 * 8      # version, flags, number of keys, number of rows


cdef void resolve(const Column* column, const ArrowArray* batch, int index, bint may_be_absent, Source* source) noexcept nogil:
    cdef const ArrowArray* array = batch.children[index]
    cdef int64_t row
    source.array = array
    source.first = batch.offset + array.offset
    source.nulls = 0
    if array.buffers[0] != NULL and array.null_count != 0:
        for row in range(batch.length):
            source.nulls += not is_valid(<const uint8_t*> array.buffers[0], source.first + row)
    source.plain = column.nullable and source.nulls == 0 and column.form != FORM_NAME
    source.absent = may_be_absent and (
        source.nulls == batch.length if column.nullable else is_zero(column, source, batch.length)
    )


# Whether a column of one fixed-width buffer holds nothing but zeros.
cdef bint is_zero(const Column* column, const Source* source, int64_t rows) noexcept nogil:
    cdef int width = 8 if column.form == FORM_SECONDS else column.first.item_bytes
    cdef const uint8_t* values
    cdef int64_t size = rows * width
    if column.form != FORM_FIXED and column.form != FORM_SECONDS or source.nulls:
        return False
    values = <const uint8_t*> source.array.buffers[1] + source.first * width
    # Equal to itself one byte on, and the first byte is 0: memcmp looks at whole words.
    return values[0] == 0 and memcmp(values, values + 1, size - 1) == 0


cdef Status measure(const Column* column, const Source* source, int64_t rows, size_t* size) noexcept nogil:
    cdef const int32_t* ends
    cdef const ArrowArray* entries
    cdef int64_t items
    cdef size_t more = 0
    cdef Status status = OK
    size[0] = 0
    if column.form == FORM_NAME:
        return measure_names(column, source, rows, size)
    if column.form == FORM_LIST or column.form == FORM_MAP:
        ends = <const int32_t*> source.array.buffers[1] + source.first
        items = ends[rows] - ends[0]
        if not ascends(ends, rows):
            return BAD_OFFSETS
        size[0] = 8 * rows
        entries = source.array.children[0]
        if column.form == FORM_LIST:
            status = measure_leaf(&column.first, entries, entries.offset + ends[0], items, &more)
            size[0] += more
        else:
            status = measure_leaf(
                &column.first, entries.children[0], entries.offset + entries.children[0].offset + ends[0], items, &more
            )
            size[0] += more
            if status == OK:
                status = measure_leaf(
                    &column.second, entries.children[1], entries.offset + entries.children[1].offset + ends[0], items, &more
                )
                size[0] += more
        return status
    status = measure_leaf(&column.first, source.array, source.first, rows, size)
    if column.nullable and not source.plain:
        size[0] += rows
    return status


cdef Status measure_leaf(const Leaf* leaf, const ArrowArray* array, int64_t first, int64_t rows, size_t* size) noexcept nogil:
    cdef const int32_t* ends
    cdef int64_t row
    if leaf.form != FORM_STRING:
        size[0] = <size_t> rows * leaf.item_bytes
        return OK
    size[0] = 0
    if rows == 0:
        return OK
    ends = <const int32_t*> array.buffers[1] + first
    if not ascends(ends, rows):
        return BAD_OFFSETS
    for row in range(rows):
        size[0] += varint_bytes(ends[row + 1] - ends[row])
    size[0] += ends[rows] - ends[0]
    return OK


cdef Status measure_names(const Column* column, const Source* source, int64_t rows, size_t* size) noexcept nogil:
    cdef const ArrowArray* dictionary = source.array.dictionary
    cdef const int32_t* ids = <const int32_t*> source.array.buffers[1] + source.first
    cdef const uint8_t* valid = <const uint8_t*> source.array.buffers[0] if source.nulls else NULL
    cdef Leaf text
    cdef size_t keys_bytes
    cdef int64_t row
    cdef uint32_t highest = 0
    cdef Status status
    text.form = FORM_STRING
    for row in range(rows):
        # As unsigned, a negative id is too high as well.
        if <uint32_t> ids[row] > highest and is_valid(valid, source.first + row):
            highest = <uint32_t> ids[row]
    if rows > source.nulls and highest >= dictionary.length:
        return BAD_INDEX
    status = measure_leaf(&text, dictionary, dictionary.offset, dictionary.length, &keys_bytes)
    # Version, flags, number of keys, an empty key in front, the keys, number of rows, indices.
    size[0] = 8 + 8 + 8 + 1 + keys_bytes + 8 + <size_t> rows * index_bytes(dictionary.length + 1)
    return status


cdef inline bint ascends(const int32_t* ends, int64_t rows) noexcept nogil:
    cdef int64_t row
    cdef int32_t backwards = ends[0] < 0
    for row in range(rows):
        backwards |= ends[row + 1] < ends[row]
    return not backwards


cdef inline int index_bytes(int64_t keys) noexcept nogil:
    return 1 if keys <= 0x100 else 2 if keys <= 0x10000 else 4

# The number of the row that comes at `row`.
cdef inline int64_t nth(const uint32_t* order, int64_t row) noexcept nogil:
    return row if order == NULL else order[row]


cdef uint8_t* write(
    const Column* column, const Source* source, int64_t rows, const uint32_t* order, uint8_t* place
) noexcept nogil:
    cdef const uint8_t* valid
    cdef int64_t row
    if column.form == FORM_NAME:
        return write_names(column, source, rows, order, place)
    if column.form == FORM_LIST or column.form == FORM_MAP:
        return write_lists(column, source, rows, order, place)
    if column.nullable and not source.plain:
        valid = <const uint8_t*> source.array.buffers[0]
        for row in range(rows):
            place[row] = not is_valid(valid, source.first + nth(order, row))
        place += rows
    return write_leaf(&column.first, source.array, source.first, rows, order, place)


cdef uint8_t* write_lists(
    const Column* column, const Source* source, int64_t rows, const uint32_t* order, uint8_t* place
) noexcept nogil:
    cdef const int32_t* ends = <const int32_t*> source.array.buffers[1] + source.first
    cdef const ArrowArray* entries = source.array.children[0]
    cdef int64_t row, at
    cdef uint64_t end = 0
    for row in range(rows):
        at = nth(order, row)
        end += ends[at + 1] - ends[at]
        place = put_uint64(place, end)
    if column.form == FORM_LIST:
        return write_items(&column.first, entries, entries.offset, ends, rows, order, place)
    place = write_items(
        &column.first, entries.children[0], entries.offset + entries.children[0].offset, ends, rows, order, place
    )
    return write_items(
        &column.second, entries.children[1], entries.offset + entries.children[1].offset, ends, rows, order, place
    )


# The items of lists, or the keys or the values of maps; `first` is the item that ends count from.
cdef uint8_t* write_items(
    const Leaf* leaf, const ArrowArray* array, int64_t first, const int32_t* ends, int64_t rows,
    const uint32_t* order, uint8_t* place
) noexcept nogil:
    cdef int64_t row, at
    if order == NULL:
        return write_leaf(leaf, array, first + ends[0], ends[rows] - ends[0], NULL, place)
    for row in range(rows):
        at = order[row]
        place = write_leaf(leaf, array, first + ends[at], ends[at + 1] - ends[at], NULL, place)
    return place


cdef uint8_t* write_leaf(
    const Leaf* leaf, const ArrowArray* array, int64_t first, int64_t rows, const uint32_t* order, uint8_t* place
) noexcept nogil:
    cdef const int64_t* seconds
    cdef const int32_t* ends
    cdef const uint8_t* text
    cdef int64_t row, second, at
    cdef uint32_t held
    cdef size_t size
    if rows == 0:
        return place
    if leaf.form == FORM_FIXED:
        write_fixed(<const uint8_t*> array.buffers[1] + first * leaf.item_bytes, leaf.item_bytes, rows, order, place)
        return place + rows * leaf.item_bytes
    if leaf.form == FORM_SECONDS:
        seconds = <const int64_t*> array.buffers[1] + first
        for row in range(rows):
            second = seconds[nth(order, row)]
            held = 0 if second < 0 else <uint32_t> 0xFFFFFFFF if second > <int64_t> 0xFFFFFFFF else <uint32_t> second
            memcpy(place + 4 * row, &held, 4)
        return place + 4 * rows
    ends = <const int32_t*> array.buffers[1] + first
    text = <const uint8_t*> array.buffers[2]
    for row in range(rows):
        at = nth(order, row)
        size = ends[at + 1] - ends[at]
        place = put_varint(place, size)
        memcpy(place, text + ends[at], size)
        place += size
    return place


# Sizes that the compiler knows become single loads and stores.
cdef void write_fixed(const uint8_t* values, int width, int64_t rows, const uint32_t* order, uint8_t* place) noexcept nogil:
    cdef int64_t row
    if order == NULL:
        memcpy(place, values, rows * width)
    elif width == 8:
        for row in range(rows):
            memcpy(place + 8 * row, values + 8 * <int64_t> order[row], 8)
    elif width == 4:
        for row in range(rows):
            memcpy(place + 4 * row, values + 4 * <int64_t> order[row], 4)
    elif width == 2:
        for row in range(rows):
            memcpy(place + 2 * row, values + 2 * <int64_t> order[row], 2)
    elif width == 1:
        for row in range(rows):
            place[row] = values[order[row]]
    else:
        for row in range(rows):
            memcpy(place + width * row, values + width * <int64_t> order[row], width)


# Index 0 is an empty key: NULL in a nullable column, unused otherwise. So a row's index is its id + 1, or 0.
cdef uint8_t* write_names(
    const Column* column, const Source* source, int64_t rows, const uint32_t* order, uint8_t* place
) noexcept nogil:
    cdef const ArrowArray* dictionary = source.array.dictionary
    cdef const int32_t* ids = <const int32_t*> source.array.buffers[1] + source.first
    cdef const uint8_t* valid = <const uint8_t*> source.array.buffers[0] if source.nulls else NULL
    cdef int width = index_bytes(dictionary.length + 1)
    cdef int64_t row, at
    cdef uint32_t key
    cdef uint16_t short_key
    cdef Leaf text
    text.form = FORM_STRING
    place = put_low_cardinality(place, width, dictionary.length + 1)
    place = put_varint(place, 0)
    place = write_leaf(&text, dictionary, dictionary.offset, dictionary.length, NULL, place)
    place = put_uint64(place, rows)
    if valid != NULL:
        for row in range(rows):
            at = nth(order, row)
            key = <uint32_t> (ids[at] + 1) if is_valid(valid, source.first + at) else 0
            memcpy(place + width * row, &key, width)               # little-endian: its low bytes
    elif width == 1:
        for row in range(rows):
            place[row] = <uint8_t> (ids[nth(order, row)] + 1)
    elif width == 2:
        for row in range(rows):
            short_key = <uint16_t> (ids[nth(order, row)] + 1)
            memcpy(place + 2 * row, &short_key, 2)
    else:
        for row in range(rows):
            key = <uint32_t> (ids[nth(order, row)] + 1)
            memcpy(place + 4 * row, &key, 4)
    return place + width * rows


cdef uint8_t* put_low_cardinality(uint8_t* place, int width, int64_t keys) noexcept nogil:
    place = put_uint64(place, LOW_CARDINALITY_VERSION)
    place = put_uint64(place, LOW_CARDINALITY_FLAGS | (0 if width == 1 else 1 if width == 2 else 2))
    return put_uint64(place, keys)


cdef size_t constants_bytes(int64_t rows, int64_t run_count) noexcept nogil:
    return LOW_CARDINALITY_HEAD_BYTES + 8 * run_count + rows * index_bytes(run_count)


# LowCardinality(UInt64): a key for each run, and of each row the number of its run.
cdef uint8_t* write_constants(
    const Run* runs, int64_t run_count, bint of_offsets, int64_t rows,
    const uint32_t* order, const uint32_t* run_of, uint8_t* place
) noexcept nogil:
    cdef int width = index_bytes(run_count)
    cdef int64_t run, row
    place = put_low_cardinality(place, width, run_count)
    for run in range(run_count):
        place = put_uint64(place, runs[run].offset if of_offsets else runs[run].partition)
    place = put_uint64(place, rows)
    if run_count == 1:
        memset(place, 0, rows)
    else:
        for row in range(rows):
            memcpy(place + width * row, &run_of[nth(order, row)], width)
    return place + width * rows


cdef uint8_t* write_positions(
    const Run* runs, int64_t run_count, int64_t rows, const uint32_t* order, const uint32_t* run_of, uint8_t* place
) noexcept nogil:
    cdef int64_t row, at
    cdef const Run* run = runs
    cdef uint32_t position
    for row in range(rows):
        at = nth(order, row)
        if run_count > 1:
            run = &runs[run_of[at]]
        position = run.first_position + <uint32_t> (at - run.start)
        memcpy(place + 4 * row, &position, 4)
    return place + 4 * rows
