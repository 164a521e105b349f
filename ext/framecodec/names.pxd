# Names that repeat, by number. See names.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

cdef uint64_t hash_bytes(const uint8_t* text, size_t size) noexcept nogil


cdef class Names:
    cdef uint8_t* text            # all names, one after another
    cdef int64_t* starts          # count + 1 offsets into text
    cdef uint64_t* hashes
    cdef uint32_t* table          # open addressing, id + 1, 0 = free
    cdef uint64_t mask
    cdef int64_t text_capacity
    cdef uint32_t capacity
    cdef readonly uint32_t count
    cdef uint32_t* stamp          # export marks: the epoch in which an id was last seen ...
    cdef int32_t* local_id        # ... and its index in that export's dictionary
    cdef uint32_t epoch

    # The id of a name, -1 when out of memory.
    cdef int32_t intern(self, const uint8_t* text, size_t size) noexcept nogil
    cdef int grow(self, size_t text_bytes) noexcept nogil
    cdef void clear(self) noexcept nogil


# Another export begins: no id has been seen in it.
cdef inline void begin_epoch(Names names) noexcept nogil:
    names.epoch += 1
    if names.epoch == 0:               # 2^32 exports later: marks of the first ones, and of new names, would count
        memset(names.stamp, 0, names.capacity * sizeof(uint32_t))
        names.epoch = 1
