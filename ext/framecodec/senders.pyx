# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Who sends to a socket: found by address, allowed by network, held to a rate, counted. Used by framecodec.datagrams.

Knows neither datagrams nor sockets; time is that of the datagrams. Memory is bounded by `count_max`.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

import ipaddress
import os

from framecodec.frame_view cimport ADDRESS_BYTES
from framecodec.recvmmsg cimport ADDRESS_TEXT_BYTES, address_text

from framecodec.frame_view import address_bytes

__all__: list[str] = []

cdef enum:
    FIRST_SENDERS = 256
    FIRST_SHIFT = 9                 # a table of 512 places
    NETWORK_BYTES = 17

cdef int64_t SECOND_NS = 1_000_000_000
cdef int64_t NO_SKEW = -0x8000000000000000


@cython.final
cdef class Senders:
    """Those of one socket. `allow` are networks, None or empty is every one; `rate` datagrams a second, 0 is any number."""

    def __cinit__(self, allow, rate: int, count_max: int):
        self.count_max = count_max
        self.interval_ns = SECOND_NS // rate if rate else 0
        self.networks = b"".join(network_bytes(network) for network in allow or ())
        self.first_network = <const uint8_t*> <char*> self.networks
        self.network_count = len(self.networks) // NETWORK_BYTES
        self.capacity = FIRST_SENDERS
        self.slot_shift = 64 - FIRST_SHIFT
        for half in range(2):
            self.secrets[half] = int.from_bytes(os.urandom(8), "little") | 1
        self.senders = <Sender*> calloc(self.capacity, sizeof(Sender))
        self.table = <uint32_t*> calloc(2 * self.capacity, sizeof(uint32_t))
        if self.senders == NULL or self.table == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.senders)
        free(self.table)

    def longest_search(self) -> int:
        """How many places of the table are looked at for the sender that is found last. A few, whoever sends."""
        cdef uint32_t mask = 2 * self.capacity - 1
        cdef uint32_t slot
        longest = 0
        for slot in range(mask + 1):
            if self.table[slot]:
                longest = max(longest, ((slot - slot_of(self, self.senders[self.table[slot] - 1].address)) & mask) + 1)
        return longest

    cdef list take(self):
        cdef uint32_t index
        cdef Sender* sender
        cdef char text[ADDRESS_TEXT_BYTES]
        taken = []
        for index in range(self.count):
            sender = &self.senders[index]
            if sender.datagrams or sender.limited:
                size = address_text(sender.address, text)
                skew_ns = None if sender.skew_ns == NO_SKEW else sender.skew_ns
                taken.append((
                    text[:size].decode(), bool(sender.is_allowed), sender.datagrams, sender.bytes_, sender.limited, skew_ns,
                ))
                sender.datagrams = sender.bytes_ = sender.limited = 0
                sender.skew_ns = NO_SKEW
        return taken

    cdef check_taken(self):
        cdef uint32_t index
        for index in range(self.count):
            if self.senders[index].datagrams or self.senders[index].limited:
                raise ValueError("take_sources() first, or these counts are lost")

    cdef forget(self):
        memset(self.table, 0, 2 * <size_t> self.capacity * sizeof(uint32_t))
        self.count = self.last = 0
        self.is_full = False

    cdef Sender* add(self, const uint64_t* address) noexcept nogil:
        cdef Sender* sender
        if self.count >= self.count_max:
            self.is_full = True
            return NULL
        if self.count == self.capacity and grow(self) < 0:
            return NULL
        sender = &self.senders[self.count]
        memset(sender, 0, sizeof(Sender))
        memcpy(sender.address, address, ADDRESS_BYTES)
        sender.is_allowed = self.is_allowed(<const uint8_t*> address)
        sender.skew_ns = NO_SKEW
        self.last = self.count
        self.count += 1
        enter(self, self.last)
        return sender

    cdef bint is_allowed(self, const uint8_t* address) noexcept nogil:
        cdef const uint8_t* network = self.first_network
        cdef int whole, rest
        if self.network_count == 0:
            return True
        for _ in range(self.network_count):
            whole, rest = network[ADDRESS_BYTES] >> 3, network[ADDRESS_BYTES] & 7
            if memcmp(network, address, whole) == 0 and (
                rest == 0 or ((network[whole] ^ address[whole]) >> (8 - rest)) == 0
            ):
                return True
            network += NETWORK_BYTES
        return False

    # The time of a datagram is the kernel's: what waited because we were slow did not come too fast.
    cdef bint is_within_rate(self, Sender* sender, int64_t received_ns) noexcept nogil:
        cdef int64_t ahead_ns = sender.due_ns - received_ns
        if ahead_ns > SECOND_NS and ahead_ns <= 2 * SECOND_NS + self.interval_ns:
            return False
        if ahead_ns < 0 or ahead_ns > SECOND_NS:        # it paused, or the clock was set back
            sender.due_ns = received_ns
        sender.due_ns += self.interval_ns
        return True


# Twice the room; 0 or -1 (memory).
cdef int grow(Senders found) noexcept nogil:
    cdef uint32_t index
    cdef void* moved = realloc(found.senders, 2 * <size_t> found.capacity * sizeof(Sender))
    if moved == NULL:
        return -1
    found.senders = <Sender*> moved
    moved = calloc(4 * <size_t> found.capacity, sizeof(uint32_t))
    if moved == NULL:
        return -1
    free(found.table)
    found.table = <uint32_t*> moved
    found.capacity *= 2
    found.slot_shift -= 1
    for index in range(found.count):
        enter(found, index)
    return 0


cdef void enter(Senders found, uint32_t index) noexcept nogil:
    cdef uint32_t mask = 2 * found.capacity - 1
    cdef uint32_t slot = slot_of(found, found.senders[index].address)
    while found.table[slot]:
        slot = (slot + 1) & mask
    found.table[slot] = index + 1


cdef network_bytes(text):
    """Prefix and prefix length as 17 bytes; an IPv4 network becomes the same under ::ffff:0:0/96."""
    network = ipaddress.ip_network(str(text))
    length = network.prefixlen + (96 if network.version == 4 else 0)
    return address_bytes(str(network.network_address)) + bytes([length])
