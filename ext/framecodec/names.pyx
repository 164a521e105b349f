# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Names that repeat: equal strings, equal numbers.

    number = names.intern(text, size)           # 0, 1, 2, ... in order of appearance; -1 out of memory

Numbers stay valid as long as the Names lives, or until clear(). What leaves with a batch is a dictionary of the names used
there (rows_out.pyx); this module knows nothing of batches.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset

__all__ = ["Names"]

cdef enum:
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
