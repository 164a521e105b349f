# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The order of rows by the key of their table, found by counting instead of comparing.

    order = RowOrder(["bucket", "entity", "metric"], [(("bucket",), 3600), (("metric",), None), (("entity",), None)])
    numbers = order.find(batch)              # uint32 row numbers as bytes, or None where the rows are in order already

A table sorts every block that it is given, by comparing strings; a block in the order of its key is taken as it is. We
know names as numbers, so a stable radix sort of numbers does it at a fifth of the cost (benchmarks/bench_store.py). An
order that is not quite the table's costs time and nothing else: the table looks before it believes.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pycapsule cimport PyCapsule_GetPointer
from framecodec.arrow cimport ArrowArray, ArrowSchema, is_name
from framecodec.native_values cimport advise_huge, is_valid
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport memcmp, memset

cdef enum:
    KEYS_MAX = 8
    COLUMNS_MAX = 4              # that stand in for one another in one key
    DIGIT_BITS_MAX = 16

# A key is a dictionary column (unit 0), or the first of `columns` that is not null, divided by `unit`.
cdef struct Key:
    int columns[COLUMNS_MAX]
    int column_count
    int64_t unit

# One name of a dictionary; `bytes` is borrowed from it.
cdef struct Word:
    const uint8_t* bytes
    int32_t size
    int32_t id


cdef class RowOrder:
    """Finds the order of batches with these `columns` by `keys`, the leading one first.

    A key is (columns, unit): with the unit None, one column of dictionary<int32, utf8> without nulls, in the order of its
    bytes; otherwise columns of int64 or timestamps, of which the first that is not null counts (0 where all are), as
    multiples of `unit`.
    """

    cdef Key keys[KEYS_MAX]
    cdef int key_count
    cdef int column_count

    def __cinit__(self, columns, keys):
        columns, keys = list(columns), list(keys)
        if not 0 < len(keys) <= KEYS_MAX or any(not 0 < len(names) <= COLUMNS_MAX for names, _ in keys):
            raise ValueError(f"expected 1 to {KEYS_MAX} keys of 1 to {COLUMNS_MAX} columns, got {keys}")
        self.key_count, self.column_count = len(keys), len(columns)
        for index, (names, unit) in enumerate(keys):
            self.keys[index].column_count = len(names)
            self.keys[index].unit = 0 if unit is None else unit
            for number, name in enumerate(names):
                self.keys[index].columns[number] = columns.index(name)

    def find(self, batch) -> bytes | None:
        """Row numbers in order, four bytes each; rows with equal keys keep theirs. None where the rows are in order.

        `batch`: an object with `__arrow_c_array__`, whose offsets do not go backwards. TypeError where it has other columns.
        """
        schema_capsule, array_capsule = batch.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(schema_capsule, "arrow_schema")
        cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(array_capsule, "arrow_array")
        cdef int64_t row, rows = array.length
        cdef int index, failed = 0
        cdef uint64_t* codes
        cdef uint32_t* order
        cdef uint32_t* other
        if schema.n_children != self.column_count:
            raise TypeError(f"expected {self.column_count} columns, got {schema.n_children}")
        for index in range(self.key_count):
            check_key(&self.keys[index], schema)
        if not 1 < rows <= 0xFFFFFFFF:
            return None
        found = PyBytes_FromStringAndSize(NULL, 4 * rows)
        codes = <uint64_t*> malloc(rows * sizeof(uint64_t))
        other = <uint32_t*> malloc(rows * sizeof(uint32_t))
        try:
            if codes == NULL or other == NULL:
                raise MemoryError
            order = <uint32_t*> PyBytes_AS_STRING(found)
            with nogil:
                advise_huge(codes, rows * sizeof(uint64_t))
                advise_huge(other, rows * sizeof(uint32_t))
                advise_huge(order, rows * sizeof(uint32_t))
                for row in range(rows):
                    order[row] = <uint32_t> row
                # The last key first: each sort keeps the order of those before it.
                for index in range(self.key_count - 1, -1, -1):
                    failed |= make_codes(&self.keys[index], array, codes)
                    failed |= sort(codes, rows, order, other)
                    if failed:
                        break
            if failed:
                raise MemoryError
        finally:
            free(codes)
            free(other)
        return None if ascends(order, rows) else found


cdef check_key(const Key* key, const ArrowSchema* schema):
    cdef int number
    cdef const ArrowSchema* column
    for number in range(key.column_count):
        column = schema.children[key.columns[number]]
        form = column.format.decode()
        if key.unit == 0 and not is_name(column):
            raise TypeError(f"key '{column.name.decode()}': expected dictionary<int32, utf8>, got Arrow format {form}")
        if key.unit != 0 and form != "l" and not form.startswith("ts"):
            raise TypeError(f"key '{column.name.decode()}': expected int64 or a timestamp, got Arrow format {form}")


# Numbers from 0 that are ordered as the keys of the rows are; -1 without memory.
cdef int make_codes(const Key* key, const ArrowArray* batch, uint64_t* codes) noexcept nogil:
    cdef const ArrowArray* column
    cdef const int64_t* values
    cdef const uint8_t* valid
    cdef int64_t row, value, first, lowest
    cdef int64_t* numbers = <int64_t*> codes
    cdef int number
    if key.unit == 0:
        return rank_names(batch.children[key.columns[0]], batch.offset, batch.length, codes)
    memset(codes, 0, batch.length * sizeof(uint64_t))
    # The first column last: what it holds stands over the others.
    for number in range(key.column_count - 1, -1, -1):
        column = batch.children[key.columns[number]]
        first = batch.offset + column.offset
        values = <const int64_t*> column.buffers[1] + first
        valid = <const uint8_t*> column.buffers[0]
        for row in range(batch.length):
            if is_valid(valid, first + row):
                numbers[row] = values[row]
    lowest = numbers[0]
    for row in range(batch.length):
        value = numbers[row]
        if key.unit > 1:
            value = value // key.unit - (value % key.unit < 0)         # C division; the floor is wanted
            numbers[row] = value
        lowest = min(lowest, value)
    for row in range(batch.length):
        codes[row] -= <uint64_t> lowest
    return 0


cdef int rank_names(const ArrowArray* column, int64_t batch_offset, int64_t rows, uint64_t* codes) noexcept nogil:
    cdef const ArrowArray* dictionary = column.dictionary
    cdef const int32_t* ids = <const int32_t*> column.buffers[1] + batch_offset + column.offset
    cdef const int32_t* ends
    cdef int64_t row, count = dictionary.length
    cdef uint32_t rank = 0
    cdef Word* words
    cdef uint32_t* ranks
    memset(codes, 0, rows * sizeof(uint64_t))
    if count == 0:
        return 0
    ends = <const int32_t*> dictionary.buffers[1] + dictionary.offset
    words = <Word*> malloc(count * sizeof(Word))
    ranks = <uint32_t*> malloc(count * sizeof(uint32_t))
    if words == NULL or ranks == NULL:
        free(words)
        free(ranks)
        return -1
    for row in range(count):
        words[row].bytes = <const uint8_t*> dictionary.buffers[2] + ends[row]
        words[row].size = ends[row + 1] - ends[row]
        words[row].id = <int32_t> row
    qsort(words, count, sizeof(Word), compare_words)
    for row in range(count):
        # A name that stands twice has one rank.
        rank += row > 0 and compare_words(&words[row - 1], &words[row]) != 0
        ranks[words[row].id] = rank
    for row in range(rows):
        # Whoever encodes them refuses an id outside the dictionary.
        if <uint32_t> ids[row] < <uint64_t> count:
            codes[row] = ranks[ids[row]]
    free(words)
    free(ranks)
    return 0


# As ClickHouse compares strings: unsigned bytes, and the shorter first.
cdef int compare_words(const void* left, const void* right) noexcept nogil:
    cdef const Word* a = <const Word*> left
    cdef const Word* b = <const Word*> right
    cdef int32_t common = min(a.size, b.size)
    cdef int sign = memcmp(a.bytes, b.bytes, common) if common else 0
    return sign if sign else (a.size > b.size) - (a.size < b.size)


cdef bint ascends(const uint32_t* order, int64_t rows) noexcept nogil:
    cdef int64_t row
    for row in range(1, rows):
        if order[row] < order[row - 1]:
            return False
    return True


# Brings `order` into the order of the codes, stably; `other` is as long. -1 without memory.
cdef int sort(const uint64_t* codes, int64_t rows, uint32_t* order, uint32_t* other) noexcept nogil:
    cdef uint64_t highest = 0, code, last = 0
    cdef int64_t row
    cdef int bits = 0, width, shift = 0, digits
    cdef bint is_sorted = True
    cdef uint32_t* counts
    cdef uint32_t* source = order
    cdef uint32_t* target = other
    for row in range(rows):
        code = codes[order[row]]
        highest = max(highest, code)
        is_sorted &= code >= last
        last = code
    if is_sorted:
        return 0
    while highest >> bits:
        bits += 1
        if bits == 64:
            break
    # No more buckets than rows, or making them would cost more than the rows.
    width = 4
    while width < DIGIT_BITS_MAX and (<int64_t> 1 << (width + 1)) <= rows:
        width += 1
    digits = (bits + width - 1) // width
    width = (bits + digits - 1) // digits
    counts = <uint32_t*> calloc(<size_t> 1 << width, sizeof(uint32_t))
    if counts == NULL:
        return -1
    while shift < bits:
        deal(codes, rows, shift, width, counts, source, target)
        source, target = target, source
        shift += width
    free(counts)
    if source != order:
        for row in range(rows):
            order[row] = source[row]
    return 0


# One pass: the rows of `source` into `target`, by one digit of their codes.
cdef void deal(
    const uint64_t* codes, int64_t rows, int shift, int width, uint32_t* counts, const uint32_t* source, uint32_t* target
) noexcept nogil:
    cdef uint64_t mask = (<uint64_t> 1 << width) - 1
    cdef uint32_t place = 0, count
    cdef int64_t row, digit
    memset(counts, 0, (<size_t> 1 << width) * sizeof(uint32_t))
    for row in range(rows):
        counts[(codes[row] >> shift) & mask] += 1
    for digit in range(<int64_t> mask + 1):
        count = counts[digit]
        counts[digit] = place
        place += count
    for row in range(rows):
        digit = (codes[source[row]] >> shift) & mask
        target[counts[digit]] = source[row]
        counts[digit] += 1
