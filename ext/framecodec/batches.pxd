# Frames on their way into sealed batches, one growing batch a partition. See batches.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.columns cimport Names, Rows
from framecodec.frame_view cimport ADDRESS_BYTES


# How a datagram tells which sources must stay in order, hence in one partition.
cdef enum KeyKind:
    KEY_LINK             # the whole link is one source
    KEY_SFLOW            # agent address and sub-agent, from the datagram
    KEY_NETFLOW          # sender and source id, observation domain or engine
    KEY_RACK             # one of these two, by content

cdef enum:
    KEY_BYTES_MAX = 20

# FNV-1a 64, xor-folded to 32 bits, modulo `partitions` (> 0).
cdef int32_t partition_of_key(const uint8_t* key, size_t size, int32_t partitions) noexcept nogil

# KEY_RACK resolved: sFlow where the datagram begins as sFlow version 5 does, else NetFlow. Other kinds stay.
cdef inline KeyKind kind_of(KeyKind kind, const uint8_t* datagram, size_t size) noexcept nogil:
    if kind != KEY_RACK:
        return kind
    if size >= 4 and datagram[0] == 0 and datagram[1] == 0 and datagram[2] == 0 and datagram[3] == 5:
        return KEY_SFLOW
    return KEY_NETFLOW

# Writes the key of a datagram from `sender` (16 bytes) into `key` (KEY_BYTES_MAX); returns its size, 0 for KEY_LINK.
cdef size_t write_key(
    KeyKind kind, const uint8_t* sender, const uint8_t* datagram, size_t size, uint8_t* key,
) noexcept nogil


@cython.final
cdef class Batches:
    cdef list rows                  # Rows of each partition; owns what `open` borrows
    cdef void** open                # the same Rows, borrowed, for use without the GIL
    cdef int64_t* opened_ns         # when the first row came
    cdef int64_t* expected_bytes    # how large the previous batch of this partition was
    cdef readonly Names sources
    cdef readonly int32_t partitions
    cdef readonly int32_t link_partition
    cdef readonly KeyKind key_kind
    cdef int64_t bytes_max
    cdef int64_t rows_max
    cdef int64_t age_max_ns
    cdef readonly int64_t pending_rows
    cdef bint is_full               # some partition reached bytes_max or rows_max: seal before the next put

    # Appends one frame; 0, or -1 when out of memory. received_ns < 0 is null.
    cdef int put(
        self, int32_t partition, int64_t received_ns, int32_t source, const uint8_t* frame, size_t size, int64_t now_ns,
    ) noexcept nogil
    cdef int64_t size_of(self, Rows rows) noexcept nogil
