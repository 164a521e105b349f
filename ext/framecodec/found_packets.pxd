# Packets as they were found, and what was given up between them. See found_packets.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from framecodec.encapsulation cimport encapsulation_is_idle

cdef enum:
    HEADER_BYTES = 6         # 133.0-B-2 4.1.3
    APIDS = 2048
    IDLE_APID = 2047         # CCSDS 133.0-B-2 4.1.3.3.4.4

# A packet in the input. `data` is valid until the buffers go.
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

# Growing arrays, owned by who asks for packets.
cdef struct Found:
    Packet* packets
    int64_t packet_count
    int64_t packet_capacity
    Waste* wastes
    int64_t waste_count
    int64_t waste_capacity
    Passed passed

# Of the packet with this header, in octets.
cdef inline int64_t packet_size(const uint8_t* header) noexcept nogil:
    # 4.1.3.5: the length field counts the octets after the header, minus one.
    return HEADER_BYTES + 1 + ((<int64_t> header[4] << 8) | header[5])


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
# Room for `count` more packets; the place of the first, or NULL. They count when the caller says so.
cdef Packet* new_packets(Found* found, int64_t count) noexcept nogil
cdef Packet* new_packet(Found* found) noexcept nogil
cdef Waste* new_waste(Found* found) noexcept nogil
