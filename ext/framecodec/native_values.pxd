# The values of one column in a Native block. See native_values.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from framecodec.arrow cimport ArrowArray

cdef extern from "<sys/mman.h>" nogil:
    const int MADV_HUGEPAGE
    int madvise(void* address, size_t length, int advice)

cdef enum:
    HUGE_PAGE_BYTES = 2 << 20

cdef enum Form:
    FORM_FIXED           # item_bytes a value, as they are
    FORM_SECONDS         # int64 seconds as UInt32, held to its range
    FORM_STRING          # length and bytes
    FORM_NAME            # dictionary and indices
    FORM_LIST            # ends and items
    FORM_MAP             # ends, keys and values

cdef enum Status:
    OK
    BAD_INDEX            # a dictionary index that is not in the dictionary
    BAD_OFFSETS          # ends that go backwards

cdef struct Leaf:
    Form form
    int item_bytes

cdef struct Column:
    Form form
    bint nullable
    Leaf first           # the values; of a list its items, of a map its keys
    Leaf second          # of a map its values
    const uint8_t* head  # name and type, owned by BlockEncoder.heads
    size_t head_bytes
    const uint8_t* plain_head       # the same without Nullable()
    size_t plain_head_bytes

# One column of one batch, resolved: where its rows begin and what of it is sent.
cdef struct Source:
    const ArrowArray* array
    int64_t first        # first row, all offsets added
    int64_t nulls
    bint absent          # null or 0 in every row
    bint plain           # of a nullable column: no null, so no null map

# Rows of one Kafka record: where they begin, and their identity.
cdef struct Run:
    int64_t start
    uint32_t partition
    uint64_t offset
    uint32_t first_position

# Finds a column of the batch and counts its nulls (the producer may have left that to us: -1).
cdef void resolve(const Column* column, const ArrowArray* batch, int index, bint may_be_absent, Source* source) noexcept nogil

# The bytes that `write` will need, without the head.
cdef Status measure(const Column* column, const Source* source, int64_t rows, size_t* size) noexcept nogil

# Writes the rows in the order of the row numbers in `order`, or as they come where it is NULL; returns the end.
cdef uint8_t* write(
    const Column* column, const Source* source, int64_t rows, const uint32_t* order, uint8_t* place
) noexcept nogil

# The identity of rows: a dictionary of the runs' partitions, one of their offsets, and the positions. `run_of`: the number of
# each row's run, as the rows come; unused where there is one run only.
cdef size_t constants_bytes(int64_t rows, int64_t run_count) noexcept nogil
cdef uint8_t* write_constants(
    const Run* runs, int64_t run_count, bint of_offsets, int64_t rows,
    const uint32_t* order, const uint32_t* run_of, uint8_t* place
) noexcept nogil
cdef uint8_t* write_positions(
    const Run* runs, int64_t run_count, int64_t rows, const uint32_t* order, const uint32_t* run_of, uint8_t* place
) noexcept nogil


cdef inline int varint_bytes(uint64_t value) noexcept nogil:
    cdef int size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


# LEB128, as ClickHouse's writeVarUInt.
cdef inline uint8_t* put_varint(uint8_t* place, uint64_t value) noexcept nogil:
    while value >= 0x80:
        place[0] = <uint8_t> (value | 0x80)
        value >>= 7
        place += 1
    place[0] = <uint8_t> value
    return place + 1


cdef inline uint8_t* put_uint64(uint8_t* place, uint64_t value) noexcept nogil:
    memcpy(place, &value, 8)
    return place + 8


cdef inline bint is_valid(const uint8_t* bits, int64_t row) noexcept nogil:
    return bits == NULL or (bits[row >> 3] >> (row & 7)) & 1


# Asks for huge pages under memory that is about to be filled: in a block of 36 MB page faults were a quarter of encoding it.
cdef inline void advise_huge(void* memory, size_t size) noexcept nogil:
    cdef size_t first = (<size_t> memory + HUGE_PAGE_BYTES - 1) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    cdef size_t end = (<size_t> memory + size) // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    if first < end:
        madvise(<void*> first, end - first, MADV_HUGEPAGE)
