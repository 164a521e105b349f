# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Nested columns of raw and calibrated values, and how they leave as Arrow.

A `Tree` is the output of one layout (streams.definitions.model.Layout): structs are aggregates, lists are arrays, repeats
and parameters that occur twice. Scalars are written into `Cells`, by item number of their domain; structs exist only in
the schema. Domain 0 has one item a packet and is made for a whole batch at once (`add`), the others grow item by item.

`export` gives a `TreeBatch` for `pyarrow.record_batch`, with the columns `packet`, `raw` and `values`, and leaves the tree
empty. Buffers that `raw` and `values` share (most parameters are not calibrated) are not copied: every buffer begins with
a count of its users (16 bytes before the data, with its size), and Arrow's release callbacks count it down, from whatever thread.
"""
cimport cython
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strdup

from framecodec.arrow cimport ArrowArray, ArrowSchema

cdef extern from *:
    """
    /* Before the data of each block: how many use it, and how much it holds (negative: malloc's, exactly that much). Large blocks come
       in powers of two and are kept when nobody uses them any more, up to FRAMECODEC_IDLE_MAX bytes, because fresh pages cost more
       than writing to them: 1.6 us for 4 KiB on the machine of benchmarks/bench_satellite.py, half of all the time. Any thread may
       give blocks back, so the lists have a lock. */
    typedef struct { int64_t users; int64_t capacity; } framecodec_block;
    #define FRAMECODEC_LARGE 32768
    #define FRAMECODEC_IDLE_MAX (INT64_C(64) << 20)
    #define FRAMECODEC_CLASSES 27
    static void* framecodec_idle[FRAMECODEC_CLASSES];
    static int64_t framecodec_idle_bytes;
    static char framecodec_lock;
    static void framecodec_acquire(void) { while (__atomic_test_and_set(&framecodec_lock, __ATOMIC_ACQUIRE)) {} }
    static void framecodec_release(void) { __atomic_clear(&framecodec_lock, __ATOMIC_RELEASE); }
    static framecodec_block* framecodec_header(void* data) { return (framecodec_block*)((char*)data - sizeof(framecodec_block)); }
    static void framecodec_use(void* data) { __atomic_add_fetch(&framecodec_header(data)->users, 1, __ATOMIC_RELAXED); }
    static int framecodec_class(int64_t size) { int order = 15; while (order < 63 && (INT64_C(1) << order) < size) order++; return order; }
    static void framecodec_drop(void* data) {
        framecodec_block* block;
        int order;
        if (!data) return;
        block = framecodec_header(data);
        if (__atomic_sub_fetch(&block->users, 1, __ATOMIC_ACQ_REL)) return;
        order = block->capacity > 0 ? framecodec_class(block->capacity) : FRAMECODEC_CLASSES;
        if (order < FRAMECODEC_CLASSES) {
            framecodec_acquire();
            if (framecodec_idle_bytes + block->capacity <= FRAMECODEC_IDLE_MAX) {
                *(void**)data = framecodec_idle[order];
                framecodec_idle[order] = data;
                framecodec_idle_bytes += block->capacity;
                block = NULL;
            }
            framecodec_release();
        }
        if (block) free(block);
    }
    static void* framecodec_new(int64_t size) {
        framecodec_block* block;
        void* data = NULL;
        int order = size >= FRAMECODEC_LARGE ? framecodec_class(size) : FRAMECODEC_CLASSES;
        if (order < FRAMECODEC_CLASSES) {
            size = INT64_C(1) << order;
            framecodec_acquire();
            if ((data = framecodec_idle[order]) != NULL) {
                framecodec_idle[order] = *(void**)data;
                framecodec_idle_bytes -= size;
            }
            framecodec_release();
        }
        if (data) block = framecodec_header(data);
        else if (!(block = (framecodec_block*)malloc(sizeof(framecodec_block) + (size_t)size))) return NULL;
        block->users = 1;
        block->capacity = order < FRAMECODEC_CLASSES ? size : -size;
        return block + 1;
    }
    static void* framecodec_resize(void* data, int64_t size) {
        int64_t held = 0;
        void* moved;
        if (data) {
            held = framecodec_header(data)->capacity;
            if (held < 0) held = -held;
            if (size <= held) return data;
        }
        if (!(moved = framecodec_new(size))) return NULL;
        if (data) { memcpy(moved, data, (size_t)held); framecodec_drop(data); }
        return moved;
    }
    """
    void framecodec_use(void* data) nogil
    void framecodec_drop(void* data) nogil
    void* framecodec_resize(void* data, int64_t size) nogil

cdef enum:
    COUNT_BYTES = 16
    FIRST_ITEMS = 64
    FIRST_DATA_BYTES = 1024
    FIRST_DATA_BYTES_MAX = 4194304
    # Arrow's offsets are int32; no batch of ours comes near them.
    DATA_BYTES_MAX = 0x7FFFFFFF

ITEM_BYTES = {"c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "l": 8, "L": 8, "g": 8, "u": 0, "z": 0,
              "label": 4, "tsn:UTC": 8, "": -1}


# A block of `size` bytes with one user; the old one, of one user, moves along. NULL when out of memory.
cdef void* resized(void* data, int64_t size) noexcept nogil:
    return framecodec_resize(data, size)


cdef void* zeroed_block(int64_t size) noexcept nogil:
    cdef char* block = <char*> calloc(1, size + COUNT_BYTES)
    if block == NULL:
        return NULL
    (<int64_t*> block)[0], (<int64_t*> block)[1] = 1, -size
    return block + COUNT_BYTES


cdef void* common_zeros = NULL
cdef int64_t common_zeros_bytes = 0


# Zeros for whoever needs some and will not write: one block, used by all. With the GIL.
cdef const void* shared_zeros(int64_t size) except? NULL:
    global common_zeros, common_zeros_bytes
    if common_zeros == NULL or size > common_zeros_bytes:
        framecodec_drop(common_zeros)
        common_zeros_bytes = 2 * size + 4096
        common_zeros = zeroed_block(common_zeros_bytes)
    return used(common_zeros)


cdef void drop_block(void* data) noexcept nogil:
    framecodec_drop(data)


cdef inline int grow(void** data, int64_t size) noexcept nogil:
    cdef void* moved = resized(data[0], size)
    if moved == NULL:
        return -1
    data[0] = moved
    return 0


@cython.final
cdef class Tree:
    """The columns of one layout. `formats`: for each scalar its raw Arrow format, value format or "", and labels or None."""

    def __cinit__(self, columns, scalars, domains, formats, fixed=(), total=()):
        cdef int index
        self.columns, self.formats = list(columns), list(formats)
        self.field_numbers = [field for field, _, _ in scalars]
        self.cell_count, self.domain_count = len(scalars), len(domains)
        self.cells = <Cells*> calloc(self.cell_count + 1, sizeof(Cells))
        self.domains = <Domain*> calloc(self.domain_count, sizeof(Domain))
        if self.cells == NULL or self.domains == NULL:
            raise MemoryError
        for index, (_, domain, optional) in enumerate(scalars):
            raw, value, _ = formats[index]
            self.cells[index].domain = domain
            self.cells[index].is_optional = optional
            self.cells[index].is_fixed, self.cells[index].is_total = index in fixed, index in total
            self.cells[index].raw_bytes = ITEM_BYTES[raw]
            self.cells[index].value_bytes = ITEM_BYTES[value]
        for index, parent in enumerate(domains):
            self.domains[index].parent = parent

    def __dealloc__(self):
        self.clear()
        free(self.cells)
        free(self.domains)

    def __len__(self):
        return self.domains[0].length

    cdef void clear(self) noexcept nogil:
        cdef int index
        cdef Cells* cells
        for index in range(self.cell_count):
            cells = &self.cells[index]
            framecodec_drop(cells.raw)
            framecodec_drop(cells.valid)
            framecodec_drop(cells.ends)
            framecodec_drop(cells.data)
            framecodec_drop(cells.value)
            framecodec_drop(cells.value_valid)
            framecodec_drop(cells.value_ends)
            framecodec_drop(cells.value_data)
            cells.raw = cells.valid = cells.data = cells.value = cells.value_valid = cells.value_data = NULL
            cells.ends = cells.value_ends = NULL
            cells.data_used = cells.data_capacity = cells.filled = 0
            cells.value_data_used = cells.value_data_capacity = cells.value_filled = 0
        for index in range(self.domain_count):
            framecodec_drop(self.domains[index].ends)
            self.domains[index].ends = NULL
            self.domains[index].expected = max(self.domains[index].length, self.domains[index].expected // 8 * 7)
            self.domains[index].length = self.domains[index].capacity = self.domains[index].filled = 0
        framecodec_drop(self.packets)
        self.packets = NULL
        self.has_gaps = self.tracks_valid = False

    cdef int reserve(self, int domain, int64_t wanted) noexcept nogil:
        cdef Domain* items = &self.domains[domain]
        cdef Cells* cells
        # Of packets the caller knows about how many are to come, of lists there are usually about as many items as last time.
        cdef int64_t capacity = items.capacity if items.capacity else max(FIRST_ITEMS, items.expected)
        cdef int64_t before = items.capacity
        cdef int index
        if wanted <= items.capacity:
            return 0
        while capacity < wanted:
            capacity *= 2
        for index in range(self.cell_count):
            cells = &self.cells[index]
            if cells.domain != domain:
                continue
            if grow(<void**> &cells.valid, capacity) < 0:
                return -1
            if not cells.is_fixed:
                memset(cells.valid + before, 0, capacity - before)
            if cells.raw_bytes:
                if grow(<void**> &cells.raw, capacity * cells.raw_bytes) < 0:
                    return -1
                if not cells.is_fixed:
                    memset(cells.raw + before * cells.raw_bytes, 0, (capacity - before) * cells.raw_bytes)
            elif grow(<void**> &cells.ends, (capacity + 1) * sizeof(int32_t)) < 0:
                return -1
            if cells.value_bytes < 0:
                continue
            if grow(<void**> &cells.value_valid, capacity) < 0:
                return -1
            if not cells.is_total:
                memset(cells.value_valid + before, 0, capacity - before)
            if cells.value_bytes:
                if grow(<void**> &cells.value, capacity * cells.value_bytes) < 0:
                    return -1
                if not cells.is_total:
                    memset(cells.value + before * cells.value_bytes, 0, (capacity - before) * cells.value_bytes)
            elif grow(<void**> &cells.value_ends, (capacity + 1) * sizeof(int32_t)) < 0:
                return -1
        for index in range(1, self.domain_count):
            if self.domains[index].parent == domain:
                if grow(<void**> &self.domains[index].ends, (capacity + 1) * sizeof(int32_t)) < 0:
                    return -1
        if domain == 0 and grow(<void**> &self.packets, capacity * sizeof(int64_t)) < 0:
            return -1
        items.capacity = capacity
        return 0

    cdef void track(self) noexcept nogil:
        cdef int index
        self.has_gaps = True
        if self.tracks_valid:
            return
        self.tracks_valid = True
        for index in range(self.cell_count):
            if self.cells[index].is_fixed and self.cells[index].valid != NULL:
                memset(self.cells[index].valid, 1, self.domains[self.cells[index].domain].length)
                if self.cells[index].is_total:
                    memset(self.cells[index].value_valid, 1, self.domains[0].length)

    cdef int64_t add(self, int domain, int64_t count) noexcept nogil:
        cdef int64_t begin = self.domains[domain].length
        if begin + count > DATA_BYTES_MAX or self.reserve(domain, begin + count) < 0:
            return -1
        self.domains[domain].length = begin + count
        return begin

    cdef int64_t items(self, int domain, int64_t count) noexcept nogil:
        cdef Domain* inside = &self.domains[domain]
        cdef int64_t owner = self.domains[inside.parent].current
        cdef int64_t begin
        if inside.filled <= owner:
            self.fill_list(domain, owner)
        begin = self.add(domain, count)
        if begin < 0:
            return -1
        inside.current = inside.length - 1
        inside.ends[owner + 1] = <int32_t> inside.length
        return begin

    cdef int item(self, int domain) noexcept nogil:
        return -1 if self.items(domain, 1) < 0 else 0

    # `ends` of the list up to item `owner` of the parent: everything before it that got nothing is empty.
    cdef void fill_list(self, int domain, int64_t owner) noexcept nogil:
        cdef Domain* inside = &self.domains[domain]
        cdef int64_t row
        inside.ends[0] = 0
        for row in range(inside.filled, owner + 1):
            inside.ends[row + 1] = <int32_t> inside.length
        inside.filled = owner + 1

    cdef int put_raw(self, int cell, const uint8_t* data, int64_t size) noexcept nogil:
        cdef Cells* cells = &self.cells[cell]
        cdef int64_t row = self.domains[cells.domain].current
        fill_ends(cells.ends, &cells.filled, row, cells.data_used)
        if cells.data == NULL and open_data(&cells.data, &cells.data_capacity, size * self.domains[cells.domain].capacity) < 0:
            return -1
        if append(&cells.data, &cells.data_used, &cells.data_capacity, data, size) < 0:
            return -1
        cells.ends[row + 1] = <int32_t> cells.data_used
        cells.valid[row] = 1
        return 0

    cdef int put_value(self, int cell, const uint8_t* data, int64_t size) noexcept nogil:
        cdef Cells* cells = &self.cells[cell]
        cdef int64_t row = self.domains[cells.domain].current
        fill_ends(cells.value_ends, &cells.value_filled, row, cells.value_data_used)
        if append(&cells.value_data, &cells.value_data_used, &cells.value_data_capacity, data, size) < 0:
            return -1
        cells.value_ends[row + 1] = <int32_t> cells.value_data_used
        cells.value_valid[row] = 1
        return 0

    def export(self) -> TreeBatch:
        """Everything as one batch of `packet`, `raw` and `values`; the tree is empty afterwards."""
        cdef TreeBatch batch = TreeBatch.__new__(TreeBatch)
        cdef int64_t length = self.domains[0].length
        cdef int index
        cdef Cells* cells
        if self.reserve(0, 1) < 0:
            raise MemoryError
        for index in range(1, self.domain_count):
            if self.reserve(index, 1) < 0:
                raise MemoryError
        for index in range(self.cell_count):
            cells = &self.cells[index]
            if cells.raw_bytes == 0:
                fill_ends(cells.ends, &cells.filled, self.domains[cells.domain].length - 1, cells.data_used)
                if grow_if_null(&cells.data) < 0:
                    raise MemoryError
            if cells.value_bytes == 0:
                fill_ends(cells.value_ends, &cells.value_filled, self.domains[cells.domain].length - 1, cells.value_data_used)
                if grow_if_null(&cells.value_data) < 0:
                    raise MemoryError
        for index in range(1, self.domain_count):
            self.fill_list(index, self.domains[self.domains[index].parent].length - 1)
        try:
            new_schema(&batch.schema, b"+s", b"", 0, 3)
            new_schema(batch.schema.children[0], b"l", b"packet", 0, 0)
            new_array(&batch.array, length, 1, 3)
            new_array(batch.array.children[0], length, 2, 0)
            batch.array.children[0].buffers[1] = used(self.packets)
            for index, name in enumerate((b"raw", b"values")):
                new_schema(batch.schema.children[1 + index], b"+s", name, 0, len(self.columns))
                new_array(batch.array.children[1 + index], length, 1, len(self.columns))
                for number, column in enumerate(self.columns):
                    export_column(
                        self, column, index == 1, length, batch.schema.children[1 + index].children[number],
                        batch.array.children[1 + index].children[number])
        finally:
            self.clear()
        batch.length = length
        return batch


@cython.final
cdef class TreeBatch:
    """A record batch on its way to an Arrow library: `pyarrow.record_batch(batch)`. It can be taken once."""

    def __cinit__(self):
        memset(&self.schema, 0, sizeof(ArrowSchema))
        memset(&self.array, 0, sizeof(ArrowArray))

    def __dealloc__(self):
        if self.schema.release != NULL:
            self.schema.release(&self.schema)
        if self.array.release != NULL:
            self.array.release(&self.array)

    def __len__(self):
        return self.length

    def __arrow_c_array__(self, requested_schema=None):
        """Capsules of the Arrow PyCapsule interface; ValueError when the batch was taken before."""
        if self.array.release == NULL:
            raise ValueError("this batch was taken before")
        schema = <ArrowSchema*> malloc(sizeof(ArrowSchema))
        array = <ArrowArray*> malloc(sizeof(ArrowArray))
        if schema == NULL or array == NULL:
            free(schema)
            free(array)
            raise MemoryError
        memcpy(schema, &self.schema, sizeof(ArrowSchema))
        memcpy(array, &self.array, sizeof(ArrowArray))
        self.schema.release = NULL
        self.array.release = NULL
        return (
            PyCapsule_New(schema, "arrow_schema", drop_schema_capsule),
            PyCapsule_New(array, "arrow_array", drop_array_capsule),
        )


# One column, raw or calibrated, of `length` items. `scalar` numbers the scalars of the tree in order.
cdef export_column(Tree tree, column, bint is_value, int64_t length, ArrowSchema* schema, ArrowArray* array):
    cdef int domain = column.list_domain
    cdef bytes name = column.name.encode()
    if column.scalar >= 0:
        export_scalar(tree, column.scalar, is_value, length, name, schema, array)
    elif domain >= 0:
        new_schema(schema, b"+l", name, ARROW_FLAG_NULLABLE, 1)
        new_array(array, length, 2, 1)
        array.buffers[1] = used(tree.domains[domain].ends)
        export_column(tree, column.members[0], is_value, tree.domains[domain].length, schema.children[0], array.children[0])
    else:
        new_schema(schema, b"+s", name, ARROW_FLAG_NULLABLE, len(column.members))
        new_array(array, length, 1, len(column.members))
        for number, member in enumerate(column.members):
            export_column(tree, member, is_value, length, schema.children[number], array.children[number])


cdef export_scalar(Tree tree, int cell, bint is_value, int64_t length, bytes name, ArrowSchema* schema, ArrowArray* array):
    cdef Cells* cells = &tree.cells[cell]
    raw, value, labels = tree.formats[cell]
    if is_value and cells.value_bytes >= 0:
        form = "i" if value == "label" else value
        new_schema(schema, form.encode(), name, ARROW_FLAG_NULLABLE, 0)
        new_array(array, length, 2 if cells.value_bytes else 3, 0)
        if not cells.is_total or tree.has_gaps:
            array.buffers[0] = bitmap(cells.value_valid, length, &array.null_count)
        array.buffers[1] = used(cells.value if cells.value_bytes else cells.value_ends)
        if cells.value_bytes == 0:
            array.buffers[2] = used(cells.value_data)
        if value == "label":
            export_labels(labels, schema, array)
        return
    new_schema(schema, raw.encode(), name, ARROW_FLAG_NULLABLE, 0)
    new_array(array, length, 2 if cells.raw_bytes else 3, 0)
    if cells.is_optional or tree.has_gaps:
        array.buffers[0] = bitmap(cells.valid, length, &array.null_count)
    array.buffers[1] = used(cells.raw if cells.raw_bytes else cells.ends)
    if cells.raw_bytes == 0:
        array.buffers[2] = used(cells.data)


cdef inline void fill_ends(int32_t* ends, int64_t* filled, int64_t row, int64_t data_used) noexcept nogil:
    cdef int64_t index
    ends[0] = 0
    for index in range(filled[0], row + 1):
        ends[index + 1] = <int32_t> data_used
    if row + 1 > filled[0]:
        filled[0] = row + 1


cdef int append(uint8_t** data, int64_t* data_used, int64_t* capacity, const uint8_t* more, int64_t size) noexcept nogil:
    cdef int64_t wanted = capacity[0] if capacity[0] else 1024
    if data_used[0] + size > DATA_BYTES_MAX:
        return -1
    while wanted < data_used[0] + size:
        wanted *= 2
    if wanted != capacity[0]:
        if grow(<void**> data, wanted) < 0:
            return -1
        capacity[0] = wanted
    memcpy(data[0] + data_used[0], more, size)
    data_used[0] += size
    return 0


# The first of a column's data: as much as there will be if all items are like this one.
cdef int open_data(uint8_t** data, int64_t* capacity, int64_t size) noexcept nogil:
    capacity[0] = min(max(size, FIRST_DATA_BYTES), FIRST_DATA_BYTES_MAX)
    return grow(<void**> data, capacity[0])


cdef int grow_if_null(uint8_t** data) noexcept:
    return 0 if data[0] != NULL else grow(<void**> data, 8)


cdef const void* used(void* data) except? NULL:
    if data == NULL:
        raise MemoryError
    framecodec_use(data)
    return data


cdef const void* bitmap(const uint8_t* valid, int64_t length, int64_t* null_count) except? NULL:
    cdef uint8_t* bits
    cdef int64_t row, present = 0
    for row in range(length):
        present += valid[row] != 0
    null_count[0] = length - present
    if present == length:
        return NULL
    bits = <uint8_t*> resized(NULL, (length + 7) // 8)
    if bits == NULL:
        raise MemoryError
    memset(bits, 0, (length + 7) // 8)
    for row in range(length):
        if valid[row]:
            bits[row >> 3] |= <uint8_t> (1 << (row & 7))
    return bits


cdef export_labels(labels, ArrowSchema* schema, ArrowArray* array):
    cdef int32_t* ends
    cdef uint8_t* text
    cdef int32_t at = 0
    cdef bytes encoded
    words = [label.encode() for label in labels]
    schema.dictionary = <ArrowSchema*> calloc(1, sizeof(ArrowSchema))
    array.dictionary = <ArrowArray*> calloc(1, sizeof(ArrowArray))
    if schema.dictionary == NULL or array.dictionary == NULL:
        raise MemoryError
    new_schema(schema.dictionary, b"u", b"", 0, 0)
    new_array(array.dictionary, len(words), 3, 0)
    ends = <int32_t*> resized(NULL, (len(words) + 1) * sizeof(int32_t))
    array.dictionary.buffers[1] = ends
    text = <uint8_t*> resized(NULL, sum(map(len, words)) + 1)
    array.dictionary.buffers[2] = text
    if ends == NULL or text == NULL:
        raise MemoryError
    ends[0] = 0
    for index, encoded in enumerate(words):
        memcpy(text + at, <char*> encoded, len(encoded))
        at += <int32_t> len(encoded)
        ends[index + 1] = at


cdef new_schema(ArrowSchema* schema, bytes form, bytes name, int64_t flags, int64_t children):
    cdef int64_t index
    memset(schema, 0, sizeof(ArrowSchema))
    schema.release = release_schema
    schema.format = strdup(form)
    schema.name = strdup(name)
    schema.flags = flags
    if schema.format == NULL or schema.name == NULL:
        raise MemoryError
    if children:
        schema.children = <ArrowSchema**> calloc(children, sizeof(ArrowSchema*))
        if schema.children == NULL:
            raise MemoryError
        for index in range(children):
            schema.children[index] = <ArrowSchema*> calloc(1, sizeof(ArrowSchema))
            if schema.children[index] == NULL:
                raise MemoryError
            schema.n_children += 1


cdef new_array(ArrowArray* array, int64_t length, int64_t buffers, int64_t children):
    cdef int64_t index
    memset(array, 0, sizeof(ArrowArray))
    array.release = release_array
    array.length = length
    array.buffers = <const void**> calloc(buffers, sizeof(void*))
    if array.buffers == NULL:
        raise MemoryError
    array.n_buffers = buffers
    if children:
        array.children = <ArrowArray**> calloc(children, sizeof(ArrowArray*))
        if array.children == NULL:
            raise MemoryError
        for index in range(children):
            array.children[index] = <ArrowArray*> calloc(1, sizeof(ArrowArray))
            if array.children[index] == NULL:
                raise MemoryError
            array.n_children += 1


cdef void release_schema(ArrowSchema* schema) noexcept:
    cdef int64_t index
    free(<void*> schema.format)
    free(<void*> schema.name)
    for index in range(schema.n_children):
        if schema.children[index].release != NULL:
            schema.children[index].release(schema.children[index])
        free(schema.children[index])
    free(schema.children)
    if schema.dictionary != NULL:
        if schema.dictionary.release != NULL:
            schema.dictionary.release(schema.dictionary)
        free(schema.dictionary)
    schema.release = NULL


cdef void release_array(ArrowArray* array) noexcept:
    cdef int64_t index
    for index in range(array.n_buffers):
        framecodec_drop(<void*> array.buffers[index])
    free(array.buffers)
    for index in range(array.n_children):
        if array.children[index].release != NULL:
            array.children[index].release(array.children[index])
        free(array.children[index])
    free(array.children)
    if array.dictionary != NULL:
        if array.dictionary.release != NULL:
            array.dictionary.release(array.dictionary)
        free(array.dictionary)
    array.release = NULL


cdef void drop_schema_capsule(object capsule) noexcept:
    cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release != NULL:
        schema.release(schema)
    free(schema)


cdef void drop_array_capsule(object capsule) noexcept:
    cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release != NULL:
        array.release(array)
    free(array)
