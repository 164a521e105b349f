# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Received frames and their senders, row by row, out of the buffers of a batch of FRAMES.

For the few who look into frames before they are decoded: which partition they go to, which are worth more than others.
Nothing is copied; everything is checked when a view is made, so that reading a row needs no check.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, uint8_t

import ipaddress

__all__ = ["FrameView", "address_bytes"]

cdef enum:
    IDS = 0
    ENDS = 1
    DATA = 2


def address_bytes(text: str) -> bytes | None:
    """An IPv4 or IPv6 address as 16 bytes, IPv4 as ::ffff:a.b.c.d; None for anything else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


@cython.final
cdef class FrameView:
    """`sender_ids` are int32 indices into `senders`, one a row; `ends` are rows + 1 int32 offsets into `data` (the buffers of
    an Arrow dictionary and an Arrow binary array, not sliced). ValueError when they do not fit together.
    """

    def __cinit__(self, senders: list[str], sender_ids, ends, data):
        cdef Py_ssize_t row
        cdef const int32_t* ids
        cdef const int32_t* offsets
        cdef int32_t sender_count = <int32_t> len(senders)
        found = [address_bytes(sender) for sender in senders]
        self.addresses = b"".join(address or b"\0" * ADDRESS_BYTES for address in found)
        self.known = bytes(address is not None for address in found)
        self.first_address = <const uint8_t*> <char*> self.addresses
        self.first_known = <const uint8_t*> <char*> self.known
        for buffer in (sender_ids, ends, data):
            PyObject_GetBuffer(buffer, &self.views[self.view_count], PyBUF_SIMPLE)
            self.view_count += 1
        self.rows = self.views[IDS].len // 4
        if self.views[ENDS].len < 4 * (self.rows + 1):
            raise ValueError(f"{self.rows} senders but {self.views[ENDS].len // 4} offsets")
        ids, offsets = <const int32_t*> self.views[IDS].buf, <const int32_t*> self.views[ENDS].buf
        for row in range(self.rows):
            if not 0 <= ids[row] < sender_count or not 0 <= offsets[row] <= offsets[row + 1] <= self.views[DATA].len:
                raise ValueError(f"row {row} is outside its buffers")

    def __dealloc__(self):
        cdef int index
        for index in range(self.view_count):
            PyBuffer_Release(&self.views[index])

    cdef const uint8_t* sender(self, Py_ssize_t row) noexcept nogil:
        return self.first_address + ADDRESS_BYTES * (<const int32_t*> self.views[IDS].buf)[row]

    cdef bint has_address(self, Py_ssize_t row) noexcept nogil:
        return self.first_known[(<const int32_t*> self.views[IDS].buf)[row]]

    cdef const uint8_t* frame(self, Py_ssize_t row) noexcept nogil:
        return <const uint8_t*> self.views[DATA].buf + (<const int32_t*> self.views[ENDS].buf)[row]

    cdef size_t size(self, Py_ssize_t row) noexcept nogil:
        cdef const int32_t* offsets = <const int32_t*> self.views[ENDS].buf
        return <size_t> (offsets[row + 1] - offsets[row])
