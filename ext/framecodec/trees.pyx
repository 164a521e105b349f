# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Nested columns of raw and calibrated values, growing.

A `Tree` is the output of one layout (streams.definitions.model.Layout): structs are aggregates, lists are arrays, repeats
and parameters that occur twice. Scalars are written into `Cells`, by item number of their domain; structs exist only in
the schema. Domain 0 has one item a packet and is made for a whole batch at once (`add`), the others grow item by item. All
memory is counted blocks (framecodec.blocks); how it leaves is framecodec.tree_out's business.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from framecodec.blocks cimport drop_block, grow

cdef enum:
    FIRST_ITEMS = 64
    FIRST_DATA_BYTES = 1024
    FIRST_DATA_BYTES_MAX = 4194304
    # Arrow's offsets are int32; no batch of ours comes near them.
    DATA_BYTES_MAX = 0x7FFFFFFF

ITEM_BYTES = {"c": 1, "C": 1, "s": 2, "S": 2, "i": 4, "I": 4, "f": 4, "l": 8, "L": 8, "g": 8, "u": 0, "z": 0,
              "label": 4, "tsn:UTC": 8, "": -1}


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
            drop_block(cells.raw)
            drop_block(cells.valid)
            drop_block(cells.ends)
            drop_block(cells.data)
            drop_block(cells.value)
            drop_block(cells.value_valid)
            drop_block(cells.value_ends)
            drop_block(cells.value_data)
            cells.raw = cells.valid = cells.data = cells.value = cells.value_valid = cells.value_data = NULL
            cells.ends = cells.value_ends = NULL
            cells.data_used = cells.data_capacity = cells.filled = 0
            cells.value_data_used = cells.value_data_capacity = cells.value_filled = 0
        for index in range(self.domain_count):
            drop_block(self.domains[index].ends)
            self.domains[index].ends = NULL
            self.domains[index].expected = max(
                self.domains[index].length, self.domains[index].expected - (self.domains[index].expected >> 6),
            )
            self.domains[index].length = self.domains[index].capacity = self.domains[index].filled = 0
        drop_block(self.packets)
        self.packets = NULL
        self.has_gaps = self.tracks_valid = False

    cdef int reserve(self, int domain, int64_t wanted) noexcept nogil:
        cdef Domain* items = &self.domains[domain]
        cdef Cells* cells
        # Of packets the caller knows about how many are to come, of lists there are usually about as many items as last time.
        cdef int64_t capacity = items.capacity if items.capacity else max(
            FIRST_ITEMS, items.expected + (items.expected >> 3 if domain else 0),
        )
        cdef int64_t before = items.capacity
        cdef int index
        if wanted <= items.capacity:
            return 0
        while capacity < wanted:
            capacity *= 2
        capacity = min(capacity, DATA_BYTES_MAX)
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

    cdef int close(self) noexcept nogil:
        cdef int index
        cdef Cells* cells
        cdef int64_t last
        for index in range(self.domain_count):
            if self.reserve(index, 1) < 0:
                return -1
        for index in range(self.cell_count):
            cells = &self.cells[index]
            last = self.domains[cells.domain].length - 1
            if cells.raw_bytes == 0:
                fill_ends(cells.ends, &cells.filled, last, cells.data_used)
                if cells.data == NULL and open_data(&cells.data, &cells.data_capacity, 0) < 0:
                    return -1
            if cells.value_bytes == 0:
                fill_ends(cells.value_ends, &cells.value_filled, last, cells.value_data_used)
                if cells.value_data == NULL and open_data(&cells.value_data, &cells.value_data_capacity, 0) < 0:
                    return -1
        for index in range(1, self.domain_count):
            self.fill_list(index, self.domains[self.domains[index].parent].length - 1)
        return 0


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
