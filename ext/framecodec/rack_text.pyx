# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Addresses and names of senders as text, always valid UTF-8: they go into Arrow strings as they are."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdio cimport snprintf

from framecodec.rack cimport be32, be64

__all__: list[str] = []

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    const char* inet_ntop(int family, const void* address, char* text, unsigned int size)


cdef void put_detail(char* out, size_t size, const char* form, uint64_t a, uint64_t b) noexcept nogil:
    snprintf(out, size, form, <unsigned long long> a, <unsigned long long> b)


cdef void write_address(const uint8_t* address, char* text) noexcept nogil:
    cdef uint64_t high = be64(address)
    if high == 0 and be32(address + 8) == 0xFFFF:
        inet_ntop(AF_INET, address + 12, text, 64)
    else:
        inet_ntop(AF_INET6, address, text, 64)


cdef void write_mac(const uint8_t* p, char* text) noexcept nogil:
    snprintf(
        text, 18, b"%02x:%02x:%02x:%02x:%02x:%02x", <unsigned int> p[0], <unsigned int> p[1], <unsigned int> p[2],
        <unsigned int> p[3], <unsigned int> p[4], <unsigned int> p[5],
    )


cdef int64_t utf8_prefix(const uint8_t* p, int64_t size) noexcept nogil:
    cdef int64_t at = 0
    cdef int64_t more, index
    while at < size:
        if 0x20 <= p[at] < 0x7F:
            at += 1
            continue
        if 0xC2 <= p[at] < 0xE0:
            more = 1
        elif 0xE0 <= p[at] < 0xF0:
            more = 2
        elif 0xF0 <= p[at] < 0xF5:
            more = 3
        else:
            return at
        if size - at <= more:
            return at
        for index in range(1, more + 1):
            if p[at + index] & 0xC0 != 0x80:
                return at
        # Overlong forms, surrogates and beyond U+10FFFF (RFC 3629 section 4).
        if (
            (p[at] == 0xE0 and p[at + 1] < 0xA0) or (p[at] == 0xED and p[at + 1] >= 0xA0)
            or (p[at] == 0xF0 and p[at + 1] < 0x90) or (p[at] == 0xF4 and p[at + 1] >= 0x90)
        ):
            return at
        at += more + 1
    return at
