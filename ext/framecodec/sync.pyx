# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Space packets (CCSDS 133.0-B-2) in a stream of bytes that may be cut anywhere and damaged anywhere.

A packet is believed if the next one begins where it ends. Where that fails, candidates are scored along the chain of up to
four headers that they lead to: version number, APIDs that are known (from the definition, from accepted packets, from the
chain itself), sequence counts that go on, and the chain's arrival at the end of the input. A packet whose successor is not
where it should be is kept unless a better chain begins inside it. So three bytes too many cost no packet, or the one hit.

The version number is 000 unless a stream begins with at least three packets of one APID that agree on another one (some
test equipment writes 001): then that is the version here. Encapsulation packets (CCSDS 133.1-B-3, version 111) may stand between space
packets: they are passed over by their length and counted, if what follows them is believed by the same scores.

Every decision depends on the bytes alone, not on how they were cut: what cannot be decided yet is kept (four packets at
most) until enough bytes are there. Frames are a hint in one case: one that is exactly a packet is believed at once, so that
a live link does not lag by a packet. Every byte ends in a packet, in one that was passed
over, or in a `Waste`.
"""
cimport cython
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from framecodec.arrivals cimport Arrival, Arrivals, add_arrival, arrival_of, drop_arrivals, keep_bytes
from framecodec.bits cimport load_be32
from framecodec.encapsulation cimport ENCAPSULATION, encapsulation_size
from framecodec.found_packets cimport (
    APIDS, HEADER_BYTES, IDLE_APID, WASTE_GARBAGE, WASTE_TRUNCATED, Found, Packet, Waste, apid_of, count_of, new_packet, new_packets, new_waste,
    packet_size, pass_over,
)

cdef extern from *:
    """
    /* `value`, through a branch on its being `guess`: the processor goes on with the guess while the value is still being loaded.
       Packets of a channel are mostly of one size, and where the next header stands otherwise waits for this one's. */
    static inline int64_t framecodec_likely(int64_t value, int64_t guess) {
        if (__builtin_expect(value == guess, 1)) { __asm__ volatile("" : "+r"(guess)); return guess; }
        return value;
    }
    """
    int64_t likely "framecodec_likely"(int64_t value, int64_t guess) noexcept nogil

cdef enum:
    SEQUENCE_COUNTS = 16384      # 4.1.3.4.3
    CHAIN_PACKETS = 4
    # Scores. A candidate without history needs two known packets with counts that go on, or four unknown ones in a chain
    # that was expected here; random bytes have version 0 in one of 8 places, a given APID in one of 16,384.
    BELIEVED = 8
    SUCCESSORS = 3               # of which by what follows: one known packet, three unknown ones, or the end of the input
    EXPECTED = 4                 # it begins where an accepted packet ended
    IS_VERSION_0 = 1
    APID_KNOWN = 2
    COUNT_GOES_ON = 2
    COUNT_STANDS_STILL = -3      # the same APID again with the same count: runs of zeros look like that
    ENDS_WITH_INPUT = 4
    ENDS_WITH_FRAME = 6
    IS_BROKEN = -4
    PASSES_END = -2
    COUNT_AHEAD_MAX = 1024
    # The length of an encapsulation packet may say 4 GiB, and all of it would have to be kept until what follows is seen.
    ENCAPSULATION_BYTES_MAX = 1 << 20

cdef enum:
    VERSION_AND_APID = 0xE7FF0000


@cython.final
cdef class Sync:
    """The state of one stream. `apids` are those that the definition knows; `record_header` bytes precede each packet."""

    def __cinit__(self, apids=(), int record_header=0, bint uses_frames=False):
        if not 0 <= record_header <= 65536:
            raise ValueError(f"a record header of {record_header} bytes")
        self.record_header, self.uses_frames = record_header, uses_frames
        self.known = <uint8_t*> calloc(APIDS, 1)
        self.last = <int32_t*> malloc(APIDS * sizeof(int32_t))
        if self.known == NULL or self.last == NULL:
            raise MemoryError
        for apid in apids:
            if 0 <= apid < APIDS and not self.known[apid]:
                self.known[apid] = 1
                self.known_count += 1
        self.known[IDLE_APID] = 1
        self.forget()

    def __dealloc__(self):
        free(self.known)
        free(self.last)
        free(self.kept)
        free(self.arrivals.items)

    cdef void forget(self) noexcept nogil:
        cdef int apid
        for apid in range(APIDS):
            self.last[apid] = -1
        self.version = 0
        self.has_encapsulation = False
        self.is_locked = True            # a stream begins with a packet until it turns out otherwise
        self.position = self.needed = 0
        self.garbage_size = 0
        self.kept_size = 0
        self.arrivals.count = self.arrivals.at = 0

    cdef int add_segment(self, int64_t size, int64_t received_ns) noexcept nogil:
        cdef Arrivals* arrivals = &self.arrivals
        cdef int64_t start = arrivals.items[arrivals.count - 1].end if arrivals.count else self.position + self.kept_size
        return add_arrival(arrivals, start, size, 0, received_ns)

    cdef bint is_whole_segment(self, int64_t at, int64_t size) noexcept nogil:
        cdef Arrival* arrival
        if not self.uses_frames:
            return False
        arrival = arrival_of(&self.arrivals, at)
        return arrival.start == at and arrival.end == at + size

    # `at`, `end` and `base` are positions in the stream; bytes are there from base to end.
    cdef int run(self, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, int64_t limit) noexcept nogil:
        cdef int64_t at = self.position
        cdef int64_t header = self.record_header
        cdef int64_t inside, after
        cdef const uint8_t* here
        cdef Verdict verdict
        self.data, self.base, self.end, self.is_final = data, at, at + size, is_final
        if not is_final and self.end < self.needed:
            return 0
        while at < self.end:
            if found.packet_count >= limit:
                break
            if self.is_locked:
                if self.garbage_size == 0:
                    at = self.run_chain(at, source, found, limit)
                    if at < 0:
                        return -1
                    if found.packet_count >= limit or at >= self.end:
                        break
                if self.end - at > header and data[at - self.base + header] >> 5 == ENCAPSULATION:
                    verdict = self.judge_encapsulation(at)
                    if verdict == WAIT:
                        break
                    here = data + (at - self.base) + header
                    inside = encapsulation_size(here, self.end - at - header)
                    if verdict == REJECT:
                        self.is_locked = False
                        continue
                    if self.close_garbage(source, found) < 0:
                        return -1
                    if inside == 0 or inside > self.end - at - header:     # cut by the end of the input
                        if self.waste(at, self.end - at, True, source, found) < 0:
                            return -1
                        at = self.end
                        break
                    pass_over(&found.passed, here, inside)
                    self.has_encapsulation = True
                    at += header + inside
                    continue
                if self.end - at < header + HEADER_BYTES:
                    if not is_final:
                        self.needed = at + header + HEADER_BYTES
                        break
                    if self.close_garbage(source, found) < 0:
                        return -1
                    # Less than a header, perhaps two octets: what is left of a packet if it begins like one.
                    here = data + (at - self.base) + header
                    inside = self.end - at - header
                    if self.waste(at, self.end - at, inside < 1 or (here[0] >> 5 == self.version and (inside < 2 or self.known_count == 0 or self.known[(here[0] & 7) << 8 | here[1]])), source, found) < 0:
                        return -1
                    at = self.end
                    break
                here = data + (at - self.base) + header
                after = at + header + packet_size(here)
                verdict = REJECT
                if here[0] >> 5 != self.version and at == 0:
                    verdict = self.other_version(at, here[0] >> 5)
                    if verdict == WAIT:
                        break
                if here[0] >> 5 == self.version:
                    verdict = self.judge(at, packet_size(here), self.known[apid_of(load_be32(here))])
                    if verdict == WAIT:
                        break
                if verdict == ACCEPT:
                    if after > self.end:                     # only at the end of the input: nothing better inside
                        if self.close_garbage(source, found) < 0 or self.waste(at, self.end - at, True, source, found) < 0:
                            return -1
                        at = self.end
                        break
                    if self.accept(at, source, found) < 0:
                        return -1
                    at = after
                    continue
                self.is_locked = False
                inside = -1
            else:
                verdict = REJECT
                if self.end - at >= header + HEADER_BYTES:
                    here = data + (at - self.base) + header
                    if here[0] >> 5 == self.version and (self.known_count == 0 or self.known[apid_of(load_be32(here))]):
                        verdict = self.score(at, False)
                elif not is_final:
                    self.needed = at + header + HEADER_BYTES
                    break
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

    # What holds for a packet at [at, after), and for all others in [whole_from, whole_to): where offsets begin, and the receive time.
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

    # Whether the stream begins with packets that agree on another version: three of one APID, counts going on.
    cdef Verdict other_version(self, int64_t at, int version) noexcept nogil:
        cdef int64_t place = at
        cdef const uint8_t* header
        cdef int depth, apid = -1, count = -1
        for depth in range(3):
            if place + self.record_header + HEADER_BYTES > self.end:
                self.needed = place + self.record_header + HEADER_BYTES
                return REJECT if self.is_final else WAIT
            header = self.data + (place - self.base) + self.record_header
            if header[0] >> 5 != version or (depth and (apid_of(load_be32(header)) != apid or count_of(load_be32(header)) != (count + 1) & (SEQUENCE_COUNTS - 1))):
                return REJECT
            apid, count = apid_of(load_be32(header)), count_of(load_be32(header))
            place += self.record_header + packet_size(header)
        self.version = version
        return ACCEPT

    # A packet of `size` octets at the expected place `at`: ACCEPT (also one that the end of the input cuts), REJECT or WAIT.
    cdef Verdict judge(self, int64_t at, int64_t size, bint is_known) noexcept nogil:
        cdef const uint8_t* following
        cdef int64_t after = at + self.record_header + size
        cdef Verdict verdict
        cdef int64_t inside
        if self.is_whole_segment(at, after - at):
            return ACCEPT
        if after + self.record_header + HEADER_BYTES <= self.end:
            following = self.data + (after - self.base) + self.record_header
            if is_known and following[0] >> 5 == self.version and self.known[apid_of(load_be32(following))]:
                return ACCEPT
        elif not self.is_final:
            self.needed = after + self.record_header + HEADER_BYTES
            return WAIT
        elif after == self.end:
            return ACCEPT
        verdict = self.score(at, True)
        if verdict == WAIT or verdict == ACCEPT:
            return verdict
        if not is_known and after <= self.end:
            return REJECT
        inside = self.better_inside(at, after if after < self.end else self.end)
        if inside == -1:
            return WAIT
        return REJECT if inside else ACCEPT

    # The same for what begins like an encapsulation packet.
    cdef Verdict judge_encapsulation(self, int64_t at) noexcept nogil:
        cdef int64_t place = at + self.record_header
        cdef const uint8_t* header = self.data + (place - self.base)
        cdef int64_t size = encapsulation_size(header, self.end - place)
        cdef int64_t inside
        if size == 0:
            if self.is_final:
                return ACCEPT if self.has_encapsulation else REJECT
            self.needed = place + (1 << (header[0] & 3))
            return WAIT
        if size < 0 or size > ENCAPSULATION_BYTES_MAX:
            return REJECT
        # The first one is three bits and a length that may lead anywhere: not if known packets are on the way.
        if not self.has_encapsulation and not self.is_whole_segment(at, self.record_header + size):
            inside = self.better_inside(at, min(place + size, self.end))
            if inside:
                return WAIT if inside < 0 else REJECT
        return self.judge(at, size, self.has_encapsulation)

    # Whether a chain that can be believed begins between `at` and `end`: its place, 0 for none, -1 for not known yet.
    cdef int64_t better_inside(self, int64_t at, int64_t end) noexcept nogil:
        cdef int64_t place
        cdef const uint8_t* header
        cdef Verdict verdict
        for place in range(at + 1, end):
            if place + self.record_header + HEADER_BYTES > self.end:
                break
            header = self.data + (place - self.base) + self.record_header
            if header[0] >> 5 != self.version or (self.known_count and not self.known[apid_of(load_be32(header))]):
                continue
            verdict = self.score(place, False)
            if verdict == WAIT:
                return -1
            if verdict == ACCEPT:
                return place
        return 0

    # Walks the chain of headers from `at`: ACCEPT as soon as it can be believed, and not for its first header alone.
    cdef Verdict score(self, int64_t at, bint is_expected) noexcept nogil:
        cdef int apids[CHAIN_PACKETS]
        cdef int counts[CHAIN_PACKETS]
        cdef int own = EXPECTED if is_expected else 0
        cdef int total = 0
        cdef int depth, points
        cdef bint is_encapsulation
        cdef int64_t place = at
        cdef int64_t size
        cdef const uint8_t* header
        for depth in range(CHAIN_PACKETS):
            header = self.data + (place - self.base) + self.record_header
            is_encapsulation = place + self.record_header < self.end and header[0] >> 5 == ENCAPSULATION
            size = 0
            if is_encapsulation:
                size = encapsulation_size(header, self.end - place - self.record_header)
            elif place + self.record_header + HEADER_BYTES <= self.end:
                size = packet_size(header) if header[0] >> 5 == self.version else -1
            if size == 0:                                    # not enough there to tell
                if not self.is_final:
                    self.needed = place + self.record_header + (1 << (header[0] & 3) if is_encapsulation else HEADER_BYTES)
                    return WAIT
                total += ENDS_WITH_INPUT if place == self.end else PASSES_END
                break
            if size < 0 or size > ENCAPSULATION_BYTES_MAX:
                total += IS_BROKEN
                break
            points = IS_VERSION_0
            apids[depth] = counts[depth] = -1
            if is_encapsulation:
                if self.has_encapsulation or size == 1:      # the idle octet is eight bits that must be right
                    points += APID_KNOWN
            else:
                points += self.points_of(header, apids, counts, depth)
            if self.is_whole_segment(place, self.record_header + size):
                points += ENDS_WITH_FRAME
                if depth == 0 and own + points >= BELIEVED:
                    return ACCEPT
            if depth == 0:
                own += points
            else:
                total += points
            place += self.record_header + size
            if own + total >= BELIEVED and total >= SUCCESSORS:
                return ACCEPT
        return ACCEPT if own + total >= BELIEVED and total >= SUCCESSORS else REJECT

    # What the APID and the count of a chain's header at `depth` are worth; notes them for the headers after it.
    cdef int points_of(self, const uint8_t* header, int* apids, int* counts, int depth) noexcept nogil:
        cdef int apid = apid_of(load_be32(header))
        cdef int last = self.last[apid]
        cdef int points = 0
        cdef int index, ahead
        cdef bint is_in_chain = False
        for index in range(depth):
            if apids[index] == apid:
                last = counts[index]
                is_in_chain = True
        if self.known[apid] or is_in_chain:
            points += APID_KNOWN
        if last >= 0:
            ahead = (count_of(load_be32(header)) - last) & (SEQUENCE_COUNTS - 1)
            if 1 <= ahead <= COUNT_AHEAD_MAX:
                points += COUNT_GOES_ON
            elif ahead == 0 and is_in_chain:
                points += COUNT_STANDS_STILL
        apids[depth], counts[depth] = apid, count_of(load_be32(header))
        return points

    def state(self) -> dict:
        """Everything that must survive, as JSON can hold it."""
        return {
            "version": self.version, "locked": bool(self.is_locked), "position": self.position, "needed": self.needed, "garbage_start": self.garbage_start,
            "garbage_size": self.garbage_size, "garbage_received_ns": self.garbage_received_ns,
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
