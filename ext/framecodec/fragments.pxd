# IP fragments on their way to whole datagrams. See fragments.pyx.
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    FRAGMENT_KEY_BYTES = 37      # source 16, destination 16, identification 4, IP version 1
    DATAGRAM_BYTES_MAX = 65_536  # RFC 791 and RFC 8200: a 16-bit length
    FRAGMENT_SLOTS = 64

cdef enum Assembly:
    ASSEMBLY_WAITS               # more fragments are to come
    ASSEMBLY_COMPLETE            # data[0:total_bytes] is the IP payload
    ASSEMBLY_BROKEN              # overlap, wrong size or out of memory: report the slot and free it

cdef struct Slot:
    bint is_used
    bint has_first               # the fragment with the UDP header has come
    uint8_t key[FRAGMENT_KEY_BYTES]
    uint8_t* data                # DATAGRAM_BYTES_MAX bytes, owned by Fragments, kept when the slot is freed
    uint8_t units[8192]          # 1 for each 8 bytes that have come
    uint32_t received_bytes
    uint32_t end_bytes           # where the fragment that reaches farthest ends
    uint32_t total_bytes         # 0 until the last fragment has come
    int64_t received_ns          # of the newest fragment; -1 unknown
    int64_t first_received_ns    # of the oldest
    int64_t offset               # of the oldest fragment's payload in the file


@cython.final
cdef class Fragments:
    cdef Slot slots[FRAGMENT_SLOTS]

    # The slot of this datagram, or one to give it. If `is_used` is set and the key differs, or it is stale, report it,
    # then `open` it.
    cdef Slot* find(self, const uint8_t* key) noexcept nogil
    # The slot in use that was opened first; NULL when none is in use.
    cdef Slot* oldest(self) noexcept nogil
    cdef bint is_stale(self, const Slot* slot, int64_t received_ns) noexcept nogil
    cdef void open(self, Slot* slot, const uint8_t* key, int64_t received_ns, int64_t offset) noexcept nogil
    cdef Assembly put(
        self, Slot* slot, uint32_t at, bint more, const uint8_t* data, size_t size, int64_t received_ns,
    ) noexcept nogil
