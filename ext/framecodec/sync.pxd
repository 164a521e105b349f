# Where space packets begin and end in a stream of bytes. See sync.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from framecodec.arrivals cimport Arrivals
from framecodec.encapsulation cimport encapsulation_is_idle

cdef enum:
    APIDS = 2048
    IDLE_APID = 2047         # CCSDS 133.0-B-2 4.1.3.3.4.4

# A packet in the buffers that Sync was fed. `data` is valid until the buffers go.
cdef struct Packet:
    const uint8_t* data
    int64_t offset           # of its first byte: in the stream, or in the frame in which it begins (frames, datagrams)
    int64_t received_ns      # of the frame that completed it, -1 unknown
    uint32_t head            # its first four octets, most significant first: version, type, APID, sequence flags and count
    int32_t size
    int32_t source           # what the caller gave
    int32_t scid             # -1 unknown
    int32_t vcid
    int32_t parts            # packets that it was joined from; 1
    int32_t lost             # packets missing before it, -1: it was missing itself
    int64_t input_bytes      # of all parts

cdef enum WasteKind:
    WASTE_GARBAGE
    WASTE_TRUNCATED          # a packet that the end of the input cut
    WASTE_PARTIAL            # segments of a packet that is not whole

# Input given up.
cdef struct Waste:
    int64_t offset
    int64_t size
    int64_t received_ns
    int32_t source
    WasteKind kind

# Encapsulation packets: counted, and passed over.
cdef struct Passed:
    int64_t packets
    int64_t bytes
    int64_t idle_bytes       # those of idle ones among them

# What a step found out.
cdef enum Verdict:
    ACCEPT
    REJECT
    WAIT

# Growing arrays, owned by the Sync's user.
cdef struct Found:
    Packet* packets
    int64_t packet_count
    int64_t packet_capacity
    Waste* wastes
    int64_t waste_count
    int64_t waste_capacity
    Passed passed

# Counts an encapsulation packet.
cdef inline void pass_over(Passed* passed, const uint8_t* packet, int64_t size) noexcept nogil:
    passed.packets += 1
    passed.bytes += size
    if encapsulation_is_idle(packet):
        passed.idle_bytes += size


# What `head` says (133.0-B-2 4.1.3).
cdef inline int apid_of(uint32_t head) noexcept nogil:
    return (head >> 16) & 0x7FF


cdef inline int count_of(uint32_t head) noexcept nogil:
    return head & 0x3FFF


cdef inline int flags_of(uint32_t head) noexcept nogil:
    return (head >> 14) & 3


cdef void free_found(Found* found) noexcept nogil
cdef Packet* new_packet(Found* found) noexcept nogil
cdef Waste* new_waste(Found* found) noexcept nogil


@cython.final
cdef class Sync:
    cdef readonly int record_header
    cdef readonly bint uses_frames       # the ends of segments are hints
    cdef readonly bint is_locked
    cdef readonly int version            # of the packets
    cdef readonly int64_t position       # in the stream, of the first byte not yet decided on
    cdef int64_t needed                  # stream position up to which bytes must be there before anything can change
    cdef int64_t garbage_start
    cdef int64_t garbage_size
    cdef int64_t garbage_received_ns
    cdef bint has_encapsulation          # an encapsulation packet was accepted: others are believed more easily
    cdef uint8_t* known                  # 1 for an APID that the definition or an accepted packet has
    cdef int32_t known_count
    cdef int32_t* last                   # sequence count of each APID's last packet, -1 none
    cdef uint8_t* kept                   # undecided bytes, from `position` on
    cdef int64_t kept_size
    cdef int64_t kept_capacity
    cdef Arrivals arrivals               # of the undecided bytes and of the input at hand
    cdef const uint8_t* data             # the bytes at hand: position `base` on
    cdef int64_t base
    cdef int64_t end
    cdef bint is_final

    # Adds bytes that arrive next, as one segment. Call before run(); 0 or -1.
    cdef int add_segment(self, int64_t size, int64_t received_ns) noexcept nogil
    # Decides on everything that can be decided: `data` is what was kept and then the new bytes, from `position` on. 0; 1 when there
    # are `limit` packets in `found` and more to come: call again with what is left; -1 (memory).
    cdef int run(self, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, int64_t limit) noexcept nogil
    cdef int64_t run_chain(self, int64_t at, int32_t source, Found* found, int64_t limit) noexcept nogil
    cdef void place(
        self, int64_t at, int64_t after, int64_t* whole_from, int64_t* whole_to, int64_t* origin, int64_t* received_ns,
    ) noexcept nogil
    cdef int accept(self, int64_t at, int32_t source, Found* found) noexcept nogil
    cdef int close_garbage(self, int32_t source, Found* found) noexcept nogil
    cdef int waste(self, int64_t start, int64_t size, bint is_truncated, int32_t source, Found* found) noexcept nogil
    cdef bint is_whole_segment(self, int64_t at, int64_t size) noexcept nogil
    cdef Verdict other_version(self, int64_t at, int version) noexcept nogil
    cdef Verdict judge(self, int64_t at, int64_t size, bint is_known) noexcept nogil
    cdef Verdict judge_encapsulation(self, int64_t at) noexcept nogil
    cdef Verdict score(self, int64_t at, bint is_expected) noexcept nogil
    cdef int points_of(self, const uint8_t* header, int* apids, int* counts, int depth) noexcept nogil
    cdef int64_t better_inside(self, int64_t at, int64_t end) noexcept nogil
    cdef int keep(self, const uint8_t* data, int64_t size) noexcept nogil
    cdef void forget(self) noexcept nogil
