# Text in packets to UTF-8. See text.pyx.
from libc.stdint cimport int64_t, uint8_t

# Converts `size` bytes; `out` has room for 3 * size. Returns the bytes written. What is no character becomes U+FFFD.
cdef int64_t to_utf8(int charset, const uint8_t* data, int64_t size, uint8_t* out) noexcept nogil
