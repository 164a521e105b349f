# Nested output columns that grow. See trees.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

# A scalar column: the raw value and, unless that is the same, the calibrated one. Its blocks are counted: blocks.pyx.
cdef struct Cells:
    int domain
    int raw_bytes            # bytes an item; 0: `ends` and `data`
    int value_bytes          # the same for the value; -1: the value is the raw value
    bint is_optional         # `valid` counts
    bint is_total            # so is the value: `value_valid` does not count unless tracks_valid
    bint is_fixed            # written for every item, column by column: nothing is cleared beforehand
    uint8_t* raw
    uint8_t* valid           # one byte an item, 1 = the parameter is there
    int32_t* ends
    uint8_t* data
    int64_t data_used
    int64_t data_capacity
    int64_t filled           # items whose `ends` are written
    uint8_t* value
    uint8_t* value_valid     # 1 = it has a value: no label, no calibrated value otherwise
    int32_t* value_ends
    uint8_t* value_data
    int64_t value_data_used
    int64_t value_data_capacity
    int64_t value_filled

# Items that belong together: 0 has one a packet, every other one is the inside of a list.
cdef struct Domain:
    int parent
    int64_t length
    int64_t capacity
    int64_t expected         # how many there will be, about
    int64_t current          # the item being written
    int32_t* ends            # of the list, one more than the parent has items
    int64_t filled


@cython.final
cdef class Tree:
    cdef Cells* cells
    cdef readonly int cell_count
    cdef Domain* domains
    cdef readonly int domain_count
    cdef readonly list columns   # streams.definitions.model.Column
    cdef readonly list formats   # (raw format, value format or "", labels or None) of each cells
    cdef list field_numbers  # of each cells, in the definition
    cdef int64_t* packets    # which packet each item of domain 0 is
    cdef bint has_gaps       # some packet was too short: every column may lack values
    cdef bint tracks_valid   # `valid` counts in columns that are not optional

    # Appends `count` items with nothing in them; the number of the first, or -1 when out of memory.
    cdef int64_t add(self, int domain, int64_t count) noexcept nogil
    # Appends an item to the list `domain` in its parent's current item; 0 or -1.
    cdef int item(self, int domain) noexcept nogil
    # `count` of them at once; the number of the first, or -1.
    cdef int64_t items(self, int domain, int64_t count) noexcept nogil
    # Writes bytes into the current item.
    cdef int put_raw(self, int cell, const uint8_t* data, int64_t size) noexcept nogil
    cdef int put_value(self, int cell, const uint8_t* data, int64_t size) noexcept nogil
    cdef void fill_list(self, int domain, int64_t owner) noexcept nogil
    cdef int reserve(self, int domain, int64_t capacity) noexcept nogil
    # From now on some value may be missing: all that was written so far is there.
    cdef void track(self) noexcept nogil
    # Nothing more is written: columns of bytes and lists are complete, and every buffer is there. 0 or -1.
    cdef int close(self) noexcept nogil
    cdef void clear(self) noexcept nogil


# Tree.items, for the next item of the parent where there is room: nearly always.
cdef inline int64_t next_items(Tree tree, int domain, int64_t count) noexcept nogil:
    cdef Domain* inside = &tree.domains[domain]
    cdef int64_t owner = tree.domains[inside.parent].current
    cdef int64_t begin = inside.length
    if inside.filled != owner or owner == 0 or begin + count > inside.capacity:
        return tree.items(domain, count)
    inside.length, inside.current, inside.filled = begin + count, begin + count - 1, owner + 1
    inside.ends[owner + 1] = <int32_t> (begin + count)
    return begin
