# Which partition a frame goes to. See partitions.pyx.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from framecodec.frame_view cimport ADDRESS_BYTES

cdef extern from "endian.h" nogil:
    uint32_t htobe32(uint32_t)
    uint64_t htobe64(uint64_t)

# How a datagram tells which sources must stay in order, hence in one partition.
cdef enum KeyKind:
    KEY_LINK             # the whole link is one source
    KEY_SFLOW            # agent address and sub-agent, from the datagram
    KEY_NETFLOW          # sender and source id, observation domain or engine
    KEY_RACK             # one of these two, by content

# The bytes that name a source, as numbers in the order of memory: `size` of them, from the begin of `high` on.
#
# Numbers, because what is read from memory in other pieces than it was just written in has to wait for all writes before it,
# and those are of frames into batches that no cache holds: 40 ns a datagram.
cdef struct Key:
    uint64_t high               # an address of 16 bytes, IPv4 as ::ffff:a.b.c.d ...
    uint64_t low
    uint32_t rest               # ... and a number
    uint32_t size               # KEY_BYTES_MAX, ADDRESS_BYTES, or 0 for KEY_LINK

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


cdef inline uint32_t read_u32(const uint8_t* at) noexcept nogil:
    return (<uint32_t> at[0] << 24) | (<uint32_t> at[1] << 16) | (<uint32_t> at[2] << 8) | at[3]


cdef inline uint32_t in_memory_u32(const uint8_t* at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return value


cdef inline uint64_t in_memory_u64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return value


# The key of a datagram from the sender with the address (high, low). Inline, so that it never sees memory.
cdef inline Key key_of(KeyKind kind, uint64_t high, uint64_t low, const uint8_t* datagram, size_t size) noexcept nogil:
    cdef Key key
    cdef uint32_t version, address_type
    key.high, key.low, key.rest, key.size = high, low, 0, 0
    if kind == KEY_LINK:
        return key
    kind = kind_of(kind, datagram, size)
    key.size = KEY_BYTES_MAX
    if kind == KEY_SFLOW and size >= 12 and read_u32(datagram) == 5:
        # sFlow version 5, 5 "sFlow Datagram Format": version, address type, agent address, sub-agent id.
        address_type = read_u32(datagram + 4)
        if address_type == 1 and size >= 16:
            key.high, key.low = 0, htobe64(<uint64_t> 0xFFFF00000000ULL | read_u32(datagram + 8))
            key.rest = in_memory_u32(datagram + 12)
            return key
        if address_type == 2 and size >= 28:
            key.high, key.low = in_memory_u64(datagram + 8), in_memory_u64(datagram + 16)
            key.rest = in_memory_u32(datagram + 24)
            return key
    elif kind == KEY_NETFLOW and size >= 2:
        version = (<uint32_t> datagram[0] << 8) | datagram[1]
        if version == 9 and size >= 20:             # RFC 3954 5.1: source id
            key.rest = in_memory_u32(datagram + 16)
            return key
        if version == 10 and size >= 16:            # RFC 7011 3.1: observation domain
            key.rest = in_memory_u32(datagram + 12)
            return key
        if version == 5 and size >= 24:             # engine type and id (from memory)
            key.rest = htobe32((<uint32_t> datagram[20] << 8) | datagram[21])
            return key
    key.size = ADDRESS_BYTES                        # not what it should be: the decoder will say so; order by sender
    return key
