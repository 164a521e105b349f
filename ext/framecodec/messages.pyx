# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""IPFIX messages out of a byte stream: over TCP they stand one after another, each with its length (RFC 7011 10.4).

    cutter = MessageCutter()
    messages = cutter.feed(data)        # the whole ones; the begin of the next is kept
    if cutter.is_lost: ...              # what followed was no message: close the connection, and begin with a new cutter

The messages are not looked into.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

__all__ = ["MessageCutter"]

cdef enum:
    HEADER_BYTES = 16
    VERSION = 10


cdef class MessageCutter:
    """One connection's stream. A message has at most 65,535 octets, so no more is ever kept."""

    cdef bytes kept                     # the begin of a message whose end has not come
    cdef readonly bint is_lost

    def __cinit__(self):
        self.kept = b""

    @property
    def pending_bytes(self) -> int:
        """Octets that wait for the rest of their message."""
        return len(self.kept)

    def finish(self) -> bytes:
        """The connection ended: what was kept, the begin of a message."""
        kept, self.kept = self.kept, b""
        return kept

    def feed(self, data) -> list:
        """The messages that `data` (any buffer) completes, as bytes.

        Where one should begin and version and length are none of IPFIX, the rest is given as if it were one, so that it is
        rejected with a reason, and `is_lost` is set: nothing after it can be told apart [9.1 has the connection closed].
        """
        cdef Py_buffer view
        cdef const uint8_t* octets
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t size
        cdef list messages = []
        joined = self.kept + bytes(data) if self.kept else data
        PyObject_GetBuffer(joined, &view, PyBUF_SIMPLE)
        try:
            octets = <const uint8_t*> view.buf
            while view.len - at >= 4 and not self.is_lost:
                size = (octets[at + 2] << 8) | octets[at + 3]
                if ((octets[at] << 8) | octets[at + 1]) != VERSION or size < HEADER_BYTES:
                    self.is_lost = True
                    size = view.len - at
                elif size > view.len - at:
                    break
                messages.append(PyBytes_FromStringAndSize(<const char*> octets + at, size))
                at += size
            self.kept = PyBytes_FromStringAndSize(<const char*> octets + at, view.len - at)
        finally:
            PyBuffer_Release(&view)
        return messages
