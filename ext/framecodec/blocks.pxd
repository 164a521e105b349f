# Counted blocks of memory. See blocks.pyx.
from libc.stdint cimport int64_t

# A block of at least `size` bytes with one user, which has what `data` held; `data`, a block of one user or NULL, is gone.
# NULL (memory).
cdef void* resized(void* data, int64_t size) noexcept nogil
# The same in place; 0 or -1.
cdef int grow(void** data, int64_t size) noexcept nogil
# One with one user, of zeros.
cdef void* zeroed_block(int64_t size) noexcept nogil
# One user more, one less; NULL is fine for drop_block.
cdef void use_block(void* data) noexcept nogil
cdef void drop_block(void* data) noexcept nogil
# Zeros for whoever needs some and will not write: one block, used by all. With the GIL.
cdef void* shared_zeros(int64_t size) except? NULL
