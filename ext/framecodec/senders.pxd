# Who sends to a socket, what each may send and did. See senders.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.partitions cimport Key


# One sender of datagrams. What each datagram needs comes first: two lines of the cache.
cdef struct Sender:
    uint64_t address[2]         # 16 bytes, IPv4 as ::ffff:a.b.c.d
    uint64_t datagrams          # since the last `take`: taken, or refused ...
    uint64_t bytes_
    int32_t name                # for the rows, of Batches.sources
    int32_t partition           # of `key`
    Key key                     # of the last datagram: few senders speak for more than one agent or domain
    bint is_allowed
    int64_t skew_ns             # the largest, which is of the least delayed; NO_SKEW: none
    uint64_t limited            # ... or beyond the rate
    int64_t due_ns              # when the next datagram is due at the rate; it may come a second earlier


@cython.final
cdef class Senders:
    cdef Sender* senders
    cdef uint32_t* table            # open addressing: index into senders + 1, 0 = free
    cdef readonly uint32_t count
    cdef uint32_t capacity          # a power of two; the table has twice as many places
    cdef uint32_t count_max
    cdef uint32_t last              # index of the sender found last
    cdef int slot_shift             # what a hash is shifted by to be a place in `table`
    cdef uint64_t secrets[2]        # odd; what the two halves of an address are multiplied by
    cdef bytes networks             # allowed: 16 bytes of prefix, 1 byte of prefix length, each
    cdef const uint8_t* first_network   # borrowed from `networks`
    cdef int network_count
    cdef int64_t interval_ns        # between datagrams of a sender at the rate; 0: no limit
    cdef bint is_full               # `add` was refused

    # A new one, without a name; NULL when out of memory, or when there is no room: then is_full.
    cdef Sender* add(self, const uint64_t* address) noexcept nogil
    cdef bint is_allowed(self, const uint8_t* address) noexcept nogil
    # Whether a datagram of this time is within the rate, where there is one; counts it.
    cdef bint is_within_rate(self, Sender* sender, int64_t received_ns) noexcept nogil
    # The counts since the last call, as Receiver.take_sources returns them.
    cdef list take(self)
    # ValueError where counts were not taken, which `forget` would lose.
    cdef check_taken(self)
    cdef forget(self)


cdef extern from *:
    """
    static inline void fetch_sender_lines(const void* at) {
        __builtin_prefetch(at);
        __builtin_prefetch((const char*) at + 64);
    }
    """
    void fetch_sender_lines(const void* at) noexcept nogil


# Every octet of the address counts in the highest bits, which are the place. (In the bits taken before, the last two did
# not: all of 127.1.0.0/16 met in a few places, and a datagram of one of 10,000 senders took 4 us.) Secret factors, so that
# nobody can choose addresses that meet; multiplied twice, because evenly spaced ones stay so when multiplied once.
cdef inline uint32_t slot_of(Senders known, const uint64_t* address) noexcept nogil:
    cdef uint64_t mixed = address[0] * known.secrets[0] + address[1] * known.secrets[1]
    return <uint32_t> (((mixed ^ (mixed >> 32)) * <uint64_t> 0x9E3779B97F4A7C15ULL) >> known.slot_shift)


# The sender with this address, NULL when it is new. Valid until the next `add`.
cdef inline Sender* find_sender(Senders known, const uint64_t* address) noexcept nogil:
    cdef uint32_t mask = 2 * known.capacity - 1
    cdef uint32_t slot
    cdef Sender* sender = &known.senders[known.last]        # exporters send several datagrams in a row
    if known.count and sender.address[0] == address[0] and sender.address[1] == address[1]:
        return sender
    slot = slot_of(known, address)
    while known.table[slot]:
        sender = &known.senders[known.table[slot] - 1]
        if sender.address[0] == address[0] and sender.address[1] == address[1]:
            known.last = known.table[slot] - 1
            return sender
        slot = (slot + 1) & mask
    return NULL


# Begins to read what `find_sender` will need: of thousands of senders little is in the nearest cache.
cdef inline void fetch_sender(Senders known, const uint64_t* address) noexcept nogil:
    cdef uint32_t number = known.table[slot_of(known, address)]
    if number:
        fetch_sender_lines(&known.senders[number - 1])
