# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Which partition a frame goes to: that of its source, by a hash that never changes.

    partition = partition_of(source_key("sflow", "racks", "10.0.0.1", datagram), partitions=8)
    numbers = partitions_of("sflow", "racks", senders, sender_ids, ends, data, partitions=8)     # of whole batches

So a source keeps its order and its decoder state in one place, whoever sends: collectors, replay, simulator.

Datagrams are not understood here beyond the few header fields that name a source.
"""
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from framecodec.frame_view cimport FrameView

from framecodec.frame_view import address_bytes

__all__ = ["KEY_KINDS", "address_bytes", "partition_of", "partitions_of", "source_key"]

KEY_KINDS = {"sflow": KEY_SFLOW, "netflow": KEY_NETFLOW, "rack": KEY_RACK}


cdef const uint8_t* MAPPED = b"\0\0\0\0\0\0\0\0\0\0\xff\xff"
cdef enum:
    MAPPED_BYTES = 12


cdef inline uint64_t fnv1a(uint64_t state, const uint8_t* octets, size_t size) noexcept nogil:
    cdef size_t index
    for index in range(size):
        state = (state ^ octets[index]) * <uint64_t> 0x100000001B3ULL
    return state


cdef uint64_t EMPTY_STATE = <uint64_t> 0xCBF29CE484222325ULL
cdef uint64_t MAPPED_STATE = fnv1a(EMPTY_STATE, MAPPED, MAPPED_BYTES)


cdef int32_t partition_of_key(const uint8_t* key, size_t size, int32_t partitions) noexcept nogil:
    cdef uint64_t state
    # Each octet waits for the one before it, and nearly all keys begin with the same twelve.
    if size > MAPPED_BYTES and memcmp(key, MAPPED, MAPPED_BYTES) == 0:
        state = fnv1a(MAPPED_STATE, key + MAPPED_BYTES, size - MAPPED_BYTES)
    else:
        state = fnv1a(EMPTY_STATE, key, size)
    # Folded, because the lowest bits of FNV-1a only know the lowest bits of the key: exporters at .8, .16, .24 would
    # all meet in one of 8 partitions.
    return <int32_t> (<uint32_t> (state ^ (state >> 32)) % <uint32_t> partitions)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition, 0 to partitions - 1, of the source that `key` names: FNV-1a 64, xor-folded to 32 bits, modulo.

    Constants and folding are those of http://www.isthe.com/chongo/tech/comp/fnv/. The result is part of what is stored
    (decoder state lives by partition): it never changes for a given number of partitions. ValueError when that is < 1.
    """
    if partitions < 1 or partitions > 0x7FFFFFFF:
        raise ValueError(f"partitions is {partitions}, must be 1 or more")
    return partition_of_key(<const uint8_t*> <char*> key, <size_t> len(key), partitions)


def source_key(codec: str, link: str, sender: str, frame: bytes) -> bytes:
    """The bytes that name the source of a frame, for `partition_of`.

    - sflow: agent address (16 bytes, IPv4 as ::ffff:a.b.c.d) and sub-agent (4 bytes), read from the datagram;
    - netflow: sender (16 bytes) and 4 bytes: v9 source id, IPFIX observation domain, v5 engine type * 256 + id;
    - rack: one of these two, by content;
    - all three, with a header that cannot be read: the sender alone;
    - every other codec, or a sender that is no address: the link's name in UTF-8.
    """
    cdef Key key
    cdef const uint8_t* address_at
    address = address_bytes(sender)
    if address is None:
        return link.encode()
    address_at = <const uint8_t*> <char*> address
    key = key_of(KEY_KINDS.get(codec, KEY_LINK), in_memory_u64(address_at), in_memory_u64(address_at + 8),
                 <const uint8_t*> <char*> frame, <size_t> len(frame))
    return (<const char*> &key)[:key.size] if key.size else link.encode()


def partitions_of(codec: str, link: str, senders: list[str], sender_ids, ends, data, partitions: int) -> bytearray:
    """The partitions of many frames, as int32 in a bytearray; row by row the same as `source_key` and `partition_of`.

    The buffers are those of a `FrameView`. ValueError when they do not fit together.
    """
    cdef int32_t shared = partition_of(link.encode(), partitions)
    cdef KeyKind kind = KEY_KINDS.get(codec, KEY_LINK)
    cdef FrameView view = FrameView(senders, sender_ids, ends, data)
    cdef int32_t partition_count = partitions
    cdef int32_t* found
    cdef Py_ssize_t row
    cdef const uint8_t* sender
    cdef Key key
    result = bytearray(4 * view.rows)
    found = <int32_t*> <char*> result
    for row in range(view.rows):
        found[row] = shared
        if kind != KEY_LINK and view.has_address(row):
            sender = view.sender(row)
            key = key_of(kind, in_memory_u64(sender), in_memory_u64(sender + 8), view.frame(row), view.size(row))
            found[row] = partition_of_key(<const uint8_t*> &key, key.size, partition_count)
    return result
