# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Space packets (CCSDS 133.0-B-2) in a stream of bytes that may be cut anywhere and damaged anywhere.

A packet is believed if the next one begins where it ends. Where that fails, candidates are scored by the headers that they lead
to (framecodec.header_chains). A packet whose successor is not where it should be is kept unless a better chain begins inside
it. So three bytes too many cost no packet, or the one hit.

The version number is 000 unless a stream begins with at least three packets of one APID that agree on another one (some test
equipment writes 001): then that is the version here. Encapsulation packets (CCSDS 133.1-B-3, version 111) may stand between
space packets: they are passed over by their length and counted, if what follows them is believed by the same scores.

Every decision depends on the bytes alone, not on how they were cut: what cannot be decided yet is kept (four packets at
most) until enough bytes are there. Frames are a hint in one case: one that is exactly a packet is believed at once, so that
a live link does not lag by a packet. Every byte ends in a packet, in one that was passed over, or in a `Waste`.
"""
cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free

from framecodec.arrivals cimport Arrival, Arrivals, add_arrival, arrival_of, drop_arrivals, keep_bytes
from framecodec.bits cimport load_be32
from framecodec.encapsulation cimport ENCAPSULATION, encapsulation_size
from framecodec.found_packets cimport (
    APIDS, HEADER_BYTES, WASTE_GARBAGE, WASTE_TRUNCATED, Found, Packet, Waste, apid_of, count_of, new_packet, new_packets,
    new_waste, packet_size, pass_over,
)
from framecodec.header_chains cimport ACCEPT, REJECT, WAIT, HeaderChains, Verdict

cdef extern from *:
    """
    /* `value`, through a branch on its being `guess`: the processor goes on with the guess while the value is being loaded.
       Packets of a channel are mostly of one size, and where the next header stands otherwise waits for this one's. */
    static inline int64_t framecodec_likely(int64_t value, int64_t guess) {
        if (__builtin_expect(value == guess, 1)) { __asm__ volatile("" : "+r"(guess)); return guess; }
        return value;
    }
    """
    int64_t likely "framecodec_likely"(int64_t value, int64_t guess) noexcept nogil

cdef enum:
    VERSION_AND_APID = 0xE7FF0000

# What take() gives instead of a place.
cdef enum:
    NO_MEMORY = -1
    NOTHING_HERE = -2


@cython.final
cdef class Sync(HeaderChains):
    """The state of one stream; arguments as in HeaderChains."""

    def __cinit__(self, *args, **options):
        self.forget()

    def __dealloc__(self):
        free(self.kept)

    cdef void forget(self) noexcept nogil:
        self.forget_known()
        self.is_locked = True            # a stream begins with a packet until it turns out otherwise
        self.position = self.garbage_size = self.kept_size = 0

    cdef int add_segment(self, int64_t size, int64_t received_ns) noexcept nogil:
        cdef Arrivals* arrivals = &self.arrivals
        cdef int64_t start = arrivals.items[arrivals.count - 1].end if arrivals.count else self.position + self.kept_size
        return add_arrival(arrivals, start, size, 0, received_ns)

    # `at`, `end` and `base` are positions in the stream; bytes are there from base to end.
    cdef int run(
        self, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, int64_t limit,
    ) noexcept nogil:
        cdef int64_t at = self.position, after
        cdef Verdict verdict
        self.data, self.base, self.end, self.is_final = data, at, at + size, is_final
        if not is_final and self.end < self.needed:
            return 0
        while at < self.end and found.packet_count < limit:
            if self.is_locked:
                if self.garbage_size == 0:
                    at = self.run_chain(at, source, found, limit)
                    if at < 0:
                        return -1
                    if found.packet_count >= limit or at >= self.end:
                        break
                after = self.take(at, source, found)
                if after == NO_MEMORY:
                    return -1
                if after == at:
                    break
                if after != NOTHING_HERE:
                    at = after
                    continue
                self.is_locked = False
            else:
                verdict = self.search(at)
                if verdict == WAIT:
                    break
                if verdict == ACCEPT:
                    self.is_locked = True
                    continue
            if self.garbage_size == 0:
                self.garbage_start = at
                self.garbage_received_ns = arrival_of(&self.arrivals, at).received_ns if self.arrivals.count else -1
            self.garbage_size += 1
            at += 1
        if is_final and at >= self.end and self.close_garbage(source, found) < 0:
            return -1
        self.position = at
        drop_arrivals(&self.arrivals, at)
        return 1 if found.packet_count >= limit and at < self.end else 0

    # Out of lock: whether a chain that can be believed begins here.
    cdef Verdict search(self, int64_t at) noexcept nogil:
        cdef const uint8_t* here = self.data + (at - self.base) + self.record_header
        if self.end - at < self.record_header + HEADER_BYTES:
            if self.is_final:
                return REJECT
            self.needed = at + self.record_header + HEADER_BYTES
            return WAIT
        if here[0] >> 5 != self.version or (self.known_count and not self.known[apid_of(load_be32(here))]):
            return REJECT
        return self.score(at, False)

    # In lock, where something must begin.
    cdef int64_t take(self, int64_t at, int32_t source, Found* found) noexcept nogil:
        cdef int64_t left = self.end - at - self.record_header
        if left > 0 and self.data[at - self.base + self.record_header] >> 5 == ENCAPSULATION:
            return self.take_encapsulation(at, source, found)
        if left < HEADER_BYTES:
            return self.take_remainder(at, source, found)
        return self.take_packet(at, source, found)

    cdef int64_t take_encapsulation(self, int64_t at, int32_t source, Found* found) noexcept nogil:
        cdef const uint8_t* here = self.data + (at - self.base) + self.record_header
        cdef int64_t left = self.end - at - self.record_header
        cdef int64_t size
        cdef Verdict verdict = self.judge_encapsulation(at)
        if verdict == WAIT:
            return at
        if verdict == REJECT:
            return NOTHING_HERE
        if self.close_garbage(source, found) < 0:
            return NO_MEMORY
        size = encapsulation_size(here, left)
        if size == 0 or size > left:                         # cut by the end of the input
            return self.end if self.waste(at, self.end - at, True, source, found) == 0 else NO_MEMORY
        pass_over(&found.passed, here, size)
        self.has_encapsulation = True
        return at + self.record_header + size

    # Less than a header, perhaps two octets: at the end of the input what is left of a packet, if it begins like one.
    cdef int64_t take_remainder(self, int64_t at, int32_t source, Found* found) noexcept nogil:
        cdef const uint8_t* here = self.data + (at - self.base) + self.record_header
        cdef int64_t left = self.end - at - self.record_header
        cdef bint is_truncated
        if not self.is_final:
            self.needed = at + self.record_header + HEADER_BYTES
            return at
        is_truncated = left < 1 or (
            here[0] >> 5 == self.version
            and (left < 2 or self.known_count == 0 or self.known[(here[0] & 7) << 8 | here[1]])
        )
        if self.close_garbage(source, found) < 0 or self.waste(at, self.end - at, is_truncated, source, found) < 0:
            return NO_MEMORY
        return self.end

    cdef int64_t take_packet(self, int64_t at, int32_t source, Found* found) noexcept nogil:
        cdef const uint8_t* here = self.data + (at - self.base) + self.record_header
        cdef int64_t after = at + self.record_header + packet_size(here)
        cdef Verdict verdict = REJECT
        if here[0] >> 5 != self.version and at == 0:
            verdict = self.other_version(at, here[0] >> 5)
            if verdict == WAIT:
                return at
        if here[0] >> 5 == self.version:
            verdict = self.judge(at, packet_size(here), self.known[apid_of(load_be32(here))])
            if verdict == WAIT:
                return at
        if verdict == REJECT:
            return NOTHING_HERE
        if after > self.end:                                 # only at the end of the input: nothing better inside
            if self.close_garbage(source, found) < 0 or self.waste(at, self.end - at, True, source, found) < 0:
                return NO_MEMORY
            return self.end
        return after if self.accept(at, source, found) == 0 else NO_MEMORY

    # The undamaged case, as fast as it can be: known packets that lead to known packets. Returns where it no longer holds.
    cdef int64_t run_chain(self, int64_t at, int32_t source, Found* found, int64_t limit) noexcept nogil:
        cdef int64_t header = self.record_header
        cdef int64_t last = self.end - header - HEADER_BYTES
        cdef int64_t size = 0, after, count, whole_from = 0, whole_to = -1, received_ns = -1, origin = 0
        cdef const uint8_t* here
        cdef const uint8_t* known = self.known
        cdef uint32_t version = self.version
        cdef uint32_t head, following
        cdef Packet* packet
        if at > last:
            return at
        here = self.data + (at - self.base) + header
        head = load_be32(here)
        if head >> 29 != version or not known[apid_of(head)]:
            return at
        # Room for all that there can be; a packet has 7 octets at least.
        count = min(limit - found.packet_count, (self.end - at) // (header + HEADER_BYTES + 1) + 1)
        packet = new_packets(found, count)
        if packet == NULL:
            return -1
        while count > 0:
            size = likely(packet_size(here), size)
            after = at + header + size
            if after > last:
                break
            following = load_be32(here + header + size)
            if ((following ^ head) & VERSION_AND_APID) and (following >> 29 != version or not known[apid_of(following)]):
                break
            if at < whole_from or after > whole_to:          # not inside what the packets before arrived in
                self.place(at, after, &whole_from, &whole_to, &origin, &received_ns)
            packet.data, packet.head, packet.size, packet.source = here, head, <int32_t> size, source
            packet.offset, packet.received_ns = at + header - origin, received_ns
            packet.parts, packet.lost, packet.scid, packet.vcid = 1, 0, -1, -1
            self.last[apid_of(head)] = count_of(head)
            packet += 1
            count -= 1
            at, here, head = after, here + header + size, following
        found.packet_count = packet - found.packets
        return at

    # Where offsets begin, and the receive time: of a packet at [at, after), and of all others in [whole_from, whole_to).
    cdef void place(
        self, int64_t at, int64_t after, int64_t* whole_from, int64_t* whole_to, int64_t* origin, int64_t* received_ns,
    ) noexcept nogil:
        cdef Arrival* arrival
        if self.arrivals.count == 0:
            whole_from[0], whole_to[0] = 0, INT64_MAX
            return
        origin[0] = arrival_of(&self.arrivals, at).start if self.uses_frames else 0
        arrival = arrival_of(&self.arrivals, after - 1)
        received_ns[0] = arrival.received_ns
        whole_from[0], whole_to[0] = arrival.start, arrival.end
        if at < arrival.start:                               # it began in an earlier one: this is true of it alone
            whole_from[0], whole_to[0] = at, after

    cdef int accept(self, int64_t at, int32_t source, Found* found) noexcept nogil:
        cdef const uint8_t* header = self.data + (at - self.base) + self.record_header
        cdef Packet* packet
        cdef Arrival* arrival
        cdef int apid = apid_of(load_be32(header))
        if self.close_garbage(source, found) < 0:
            return -1
        packet = new_packet(found)
        if packet == NULL:
            return -1
        packet.data, packet.head = header, load_be32(header)
        packet.size = <int32_t> packet_size(header)
        packet.source = source
        packet.offset = at + self.record_header
        packet.received_ns = -1
        if self.arrivals.count:
            if self.uses_frames:
                packet.offset -= arrival_of(&self.arrivals, at).start
            arrival = arrival_of(&self.arrivals, at + self.record_header + packet.size - 1)
            packet.received_ns = arrival.received_ns
        if not self.known[apid]:
            self.known[apid] = 1
            self.known_count += 1
        self.last[apid] = count_of(load_be32(header))
        return 0

    cdef int close_garbage(self, int32_t source, Found* found) noexcept nogil:
        cdef int64_t size = self.garbage_size
        if size == 0:
            return 0
        self.garbage_size = 0
        return self.waste(self.garbage_start, size, False, source, found)

    cdef int waste(self, int64_t start, int64_t size, bint is_truncated, int32_t source, Found* found) noexcept nogil:
        cdef Waste* waste = new_waste(found)
        if waste == NULL:
            return -1
        waste.offset, waste.size, waste.source = start, size, source
        waste.kind = WASTE_TRUNCATED if is_truncated else WASTE_GARBAGE
        waste.received_ns = self.garbage_received_ns if not is_truncated else -1
        if self.arrivals.count and start >= self.arrivals.items[0].start:
            if self.uses_frames:
                waste.offset -= arrival_of(&self.arrivals, start).start
            waste.received_ns = arrival_of(&self.arrivals, start).received_ns
        elif self.uses_frames:
            waste.offset = 0                                 # its frame is long gone
        return 0

    def state(self) -> dict:
        """Everything that must survive, as JSON can hold it."""
        return {
            "version": self.version, "locked": bool(self.is_locked), "position": self.position, "needed": self.needed,
            "garbage_start": self.garbage_start, "garbage_size": self.garbage_size,
            "garbage_received_ns": self.garbage_received_ns,
            "encapsulation": bool(self.has_encapsulation),
            "known": [apid for apid in range(APIDS) if self.known[apid]],
            "last": {str(apid): self.last[apid] for apid in range(APIDS) if self.last[apid] >= 0},
            "kept": (<bytes> (<char*> self.kept)[:self.kept_size]).hex() if self.kept_size else "",
            "segments": [
                [self.arrivals.items[index].start, self.arrivals.items[index].end, self.arrivals.items[index].received_ns]
                for index in range(self.arrivals.count)
            ],
        }

    def set_state(self, state: dict) -> None:
        """Go on where `state` was taken."""
        cdef bytes kept = bytes.fromhex(state["kept"])
        self.forget()
        self.version = state["version"]
        self.is_locked, self.position, self.needed = state["locked"], state["position"], state["needed"]
        self.garbage_start, self.garbage_size = state["garbage_start"], state["garbage_size"]
        self.garbage_received_ns = state["garbage_received_ns"]
        self.has_encapsulation = state.get("encapsulation", False)
        for apid in state["known"]:
            if not self.known[apid]:
                self.known[apid] = 1
                self.known_count += 1
        for apid, count in state["last"].items():
            self.last[int(apid)] = count
        if self.keep(<const uint8_t*> <char*> kept, len(kept)) < 0:
            raise MemoryError
        for start, end, received_ns in state["segments"]:
            if add_arrival(&self.arrivals, start, end - start, 0, received_ns) < 0:
                raise MemoryError

    # Remember the undecided bytes.
    cdef int keep(self, const uint8_t* data, int64_t size) noexcept nogil:
        return keep_bytes(&self.kept, &self.kept_size, &self.kept_capacity, data, size)
