# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Whether a space packet (CCSDS 133.0-B-2) begins at a place of a damaged stream: what the headers from there on are worth.

A packet is believed if the next one begins where it ends. Where that fails, candidates are scored along the chain of up to
four headers that they lead to: version number, APIDs that are known (from the definition, from accepted packets, from the
chain itself), sequence counts that go on, and the chain's arrival at the end of the input. Encapsulation packets are judged
by the same scores.

Verdicts depend on the bytes alone: WAIT where too few are there, and then `needed` says how many must be. This module does not
move on in the stream: that is framecodec.sync.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc

from framecodec.arrivals cimport Arrival, arrival_of
from framecodec.bits cimport load_be32
from framecodec.encapsulation cimport ENCAPSULATION, encapsulation_size
from framecodec.found_packets cimport APIDS, HEADER_BYTES, IDLE_APID, apid_of, count_of, packet_size

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


cdef class HeaderChains:
    """What is known of one stream. `apids` are those that the definition knows; `record_header` bytes precede each packet."""

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

    def __dealloc__(self):
        free(self.known)
        free(self.last)
        free(self.arrivals.items)

    cdef void forget_known(self) noexcept nogil:
        cdef int apid
        for apid in range(APIDS):
            self.last[apid] = -1
        self.version = 0
        self.has_encapsulation = False
        self.needed = 0
        self.arrivals.count = self.arrivals.at = 0

    cdef bint is_whole_segment(self, int64_t at, int64_t size) noexcept nogil:
        cdef Arrival* arrival
        if not self.uses_frames:
            return False
        arrival = arrival_of(&self.arrivals, at)
        return arrival.start == at and arrival.end == at + size

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
            if header[0] >> 5 != version or (depth and (
                apid_of(load_be32(header)) != apid
                or count_of(load_be32(header)) != (count + 1) & (SEQUENCE_COUNTS - 1)
            )):
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
