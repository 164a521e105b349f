# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""One sender's stream of frames: the bytes not decided on yet, when they arrived, and what is known of where frames begin.

Bits are counted from the beginning of the stream. Who decides is framecodec.frame_cutter.
"""
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free

from framecodec.arrivals cimport Arrivals, add_arrival, drop_arrivals, keep_bytes


cdef void forget(Stream* stream) noexcept nogil:
    stream.at = stream.received_bytes = 0
    stream.is_locked = stream.is_inverted = False
    stream.misses = stream.garbage_bits = stream.garbage_start = stream.garbage_offset = 0
    stream.garbage_received_ns = -1
    stream.kept_size = stream.arrivals.count = stream.arrivals.at = 0


cdef int add_segment(Stream* stream, int64_t size, int64_t offset, int64_t received_ns) noexcept nogil:
    if add_arrival(&stream.arrivals, stream.received_bytes, size, offset, received_ns) < 0:
        return -1
    stream.received_bytes += size
    return 0


cdef int keep(Stream* stream, const uint8_t* data, int64_t size) noexcept nogil:
    drop_arrivals(&stream.arrivals, stream.at >> 3)
    return keep_bytes(&stream.kept, &stream.kept_size, &stream.kept_capacity, data, size)


cdef class StreamOwner:
    """One sender's stream, with its memory."""

    def __cinit__(self):
        forget(&self.stream)

    def __dealloc__(self):
        free(self.stream.kept)
        free(self.stream.arrivals.items)

    def state(self) -> dict:
        """Everything that must survive, as JSON can hold it."""
        cdef Stream* stream = &self.stream
        cdef Arrivals* arrivals = &stream.arrivals
        cdef int64_t index
        return {
            "at": stream.at, "locked": bool(stream.is_locked), "inverted": bool(stream.is_inverted),
            "received": stream.received_bytes, "misses": stream.misses,
            "garbage": [stream.garbage_bits, stream.garbage_start, stream.garbage_offset, stream.garbage_received_ns],
            "kept": (<bytes> (<char*> stream.kept)[:stream.kept_size]).hex() if stream.kept_size else "",
            "segments": [
                [
                    arrivals.items[index].start, arrivals.items[index].end, arrivals.items[index].offset,
                    arrivals.items[index].received_ns,
                ]
                for index in range(arrivals.count)
            ],
        }

    def set_state(self, state: dict) -> None:
        """Go on where `state` was taken."""
        cdef Stream* stream = &self.stream
        cdef bytes kept = bytes.fromhex(state["kept"])
        forget(stream)
        for start, end, offset, received_ns in state["segments"]:
            stream.received_bytes = start
            if add_segment(stream, end - start, offset, received_ns) < 0:
                raise MemoryError
        stream.at, stream.is_locked, stream.is_inverted = state["at"], state["locked"], state["inverted"]
        stream.received_bytes, stream.misses = state["received"], state["misses"]
        stream.garbage_bits, stream.garbage_start, stream.garbage_offset, stream.garbage_received_ns = state["garbage"]
        if keep(stream, <const uint8_t*> <char*> kept, len(kept)) < 0:
            raise MemoryError
