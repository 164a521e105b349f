# Addresses and names as text. See rack_text.pyx.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef void put_detail(char* out, size_t size, const char* form, uint64_t a, uint64_t b) noexcept nogil

# `text` has room for 64; RFC 5952 form, IPv4-mapped as IPv4.
cdef void write_address(const uint8_t* address, char* text) noexcept nogil

# `text` has room for 18: aa:bb:cc:dd:ee:ff.
cdef void write_mac(const uint8_t* address, char* text) noexcept nogil

# How much of bytes[:size] is well-formed UTF-8 without control characters.
cdef int64_t utf8_prefix(const uint8_t* bytes, int64_t size) noexcept nogil
