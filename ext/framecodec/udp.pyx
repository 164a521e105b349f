# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""UDP datagrams out of captured packets: link, IP and UDP headers. Used by framecodec.pcap.

Links: Ethernet with VLAN tags, Linux cooked v1 and v2, raw IP, BSD null and loopback
(https://www.tcpdump.org/linktypes.html). Layouts of these headers, IP (RFC 791, 8200) and UDP (RFC 768) are from memory.

What is not UDP, or not for the wanted port, is passed over and counted; what is UDP but cut short or contradicts itself is
a reject. Knows nothing of files, but is told where in one a packet lies.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset, strlen

from framecodec.bits cimport load_be16
from framecodec.columns cimport Names, Rows
from framecodec.fragments cimport (
    ASSEMBLY_BROKEN, ASSEMBLY_WAITS, FRAGMENT_KEY_BYTES, Assembly, Fragments, Slot,
)
from framecodec.link_rows cimport put_reject
from framecodec.records cimport FRAME_FRAME, FRAME_RECEIVED_NS, FRAME_SOURCE

from framecodec.records import FRAMES_FIELDS, REJECTS_FIELDS

cdef extern from "arpa/inet.h" nogil:
    const char* inet_ntop(int family, const void* address, char* text, uint32_t size)
    int AF_INET
    int AF_INET6

cdef enum:
    FRAME_OFFSET = 5                 # our column after those of FRAMES
    UDP_HEADER_BYTES = 8
    IP_PROTOCOL_UDP = 17
    # Enough for any sensible stack of headers; each is also bounded by the packet's end.
    EXTENSION_HEADERS_MAX = 16
    SENDERS_MAX = 1 << 20

cdef enum LinkType:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_RAW_BSD = 12
    LINK_RAW_OPENBSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_SLL2 = 276

cdef enum EtherType:
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_VLAN = 0x8100
    ETHERTYPE_QINQ = 0x88A8
    ETHERTYPE_QINQ_OLD = 0x9100

REASONS = ("truncated", "bad_length", "fragment")       # in the order of Reason


@cython.final
cdef class UdpReader:
    """The datagrams of one link, as rows of FRAMES with a column `offset` more. `port` 0 takes those to any port."""

    def __cinit__(self, link: str, codec: str, *, port: int = 0):
        if not 0 <= port <= 65_535:
            raise ValueError(f"port is {port}, must be 0 to 65535")
        self.port = port
        self.senders, self.addresses, self.fragments = Names(), Names(), Fragments()
        links, codecs, reasons = Names(), Names(), Names()
        links.add(link)
        codecs.add(codec)
        self.intern_sender(NULL)
        for reason in REASONS:
            reasons.add(reason)
        self.frames = Rows([
            (*field, {"source": self.senders, "link": links, "codec": codecs}.get(field[0]))
            for field in (*FRAMES_FIELDS, ("offset", "l", False))
        ])
        self.rejects = Rows([
            (*field, {"source": self.senders, "reason": reasons}.get(field[0])) for field in REJECTS_FIELDS
        ])

    def take(self):
        """(frames, rejects) since the last call, each a Batch for `pyarrow.record_batch`."""
        taken = self.frames.flush(), self.rejects.flush()
        # A capture of spoofed senders must not fill the memory with their names; open fragments hold addresses, not ids.
        if self.addresses.count > SENDERS_MAX:
            self.addresses.clear()
            self.senders.clear()
            self.intern_sender(NULL)
        return taken

    cdef PacketStatus finish(self) noexcept nogil:
        cdef Slot* slot = self.fragments.oldest()
        cdef PacketStatus status = PACKET_OK
        while status == PACKET_OK and slot != NULL:
            status = self.give_up(slot, b"fragments are missing")
            slot = self.fragments.oldest()
        return status

    cdef PacketStatus take_packet(
        self, const uint8_t* at, size_t size, int32_t link_type, int64_t offset, int64_t time_ns,
    ) noexcept nogil:
        cdef uint32_t kind = 0
        cdef size_t place = 0
        if link_type == LINK_ETHERNET:
            place = 14
            kind = load_be16(at + 12) if size >= place else 0
        elif link_type == LINK_SLL:
            place = 16
            kind = load_be16(at + 14) if size >= place else 0
        elif link_type == LINK_SLL2:
            place = 20
            kind = load_be16(at) if size >= place else 0
        elif link_type == LINK_NULL or link_type == LINK_LOOP:
            # The address family in the byte order of the machine that captured, or in network order; IPv6's number
            # differs between systems, so IP's own version decides.
            place = 4
            kind = ip_version(at + 4) if size > place else 0
        elif link_type in (LINK_RAW, LINK_RAW_BSD, LINK_RAW_OPENBSD, LINK_IPV4, LINK_IPV6):
            kind = ip_version(at) if size else 0
        else:
            return PACKET_BAD_LINK
        while kind in (ETHERTYPE_VLAN, ETHERTYPE_QINQ, ETHERTYPE_QINQ_OLD) and size >= place + 4:
            kind = load_be16(at + place + 2)
            place += 4
        if kind == ETHERTYPE_IPV4:
            return self.take_ipv4(at + place, size - place, offset + <int64_t> place, time_ns)
        if kind == ETHERTYPE_IPV6:
            return self.take_ipv6(at + place, size - place, offset + <int64_t> place, time_ns)
        self.passed += 1
        return PACKET_OK

    cdef PacketStatus take_ipv4(self, const uint8_t* at, size_t size, int64_t offset, int64_t time_ns) noexcept nogil:
        cdef size_t header, total
        cdef uint16_t fragment
        cdef uint8_t key[FRAGMENT_KEY_BYTES]
        if size < 20 or at[9] != IP_PROTOCOL_UDP:
            self.passed += 1
            return PACKET_OK
        header = 4 * <size_t> (at[0] & 15)
        total = load_be16(at + 2)
        if total == 0:                                           # segmentation offload: the card would have filled it in
            total = size
        memset(key, 0, FRAGMENT_KEY_BYTES)
        mapped(at + 12, key)
        mapped(at + 16, key + 16)
        if header < 20 or total < header:
            return self.reject_packet(REASON_BAD_LENGTH, time_ns, key, offset, size, b"lengths in the IPv4 header")
        if size < header:
            return self.reject_packet(REASON_TRUNCATED, time_ns, key, offset, size, b"the capture ends inside the IPv4 header")
        fragment = load_be16(at + 6)
        if fragment & 0x3FFF:                                    # more fragments, or not the first
            memcpy(key + 32, at + 4, 2)
            key[36] = 4
            return self.take_fragment(
                key, 8 * <uint32_t> (fragment & 0x1FFF), fragment & 0x2000, at + header, total - header,
                min(size, total) - header, offset + <int64_t> header, time_ns,
            )
        return self.take_udp(key, at + header, total - header, min(size, total) - header, offset + <int64_t> header, time_ns)

    cdef PacketStatus take_ipv6(self, const uint8_t* at, size_t size, int64_t offset, int64_t time_ns) noexcept nogil:
        cdef size_t place = 40
        cdef size_t total
        cdef uint8_t following
        cdef uint32_t fragment
        cdef uint8_t key[FRAGMENT_KEY_BYTES]
        if size < 40:
            self.passed += 1
            return PACKET_OK
        total = 40 + <size_t> load_be16(at + 4)
        if total == 40:                                          # a jumbogram or segmentation offload
            total = size
        memset(key, 0, FRAGMENT_KEY_BYTES)
        memcpy(key, at + 8, 32)
        following = at[6]
        for _ in range(EXTENSION_HEADERS_MAX):
            if following == IP_PROTOCOL_UDP:
                if place > total:
                    return self.reject_packet(REASON_BAD_LENGTH, time_ns, key, offset, size, b"lengths in the IPv6 headers")
                if place > size:
                    return self.reject_packet(
                        REASON_TRUNCATED, time_ns, key, offset, size, b"the capture ends inside the IPv6 headers"
                    )
                return self.take_udp(
                    key, at + place, total - place, min(size, total) - place, offset + <int64_t> place, time_ns
                )
            if following not in (0, 43, 44, 51, 60) or place + 8 > min(size, total):
                break
            if following == 44:                                  # RFC 8200 4.5
                fragment = load_be16(at + place + 2)
                if (fragment & 0xFFF9) and at[place] == IP_PROTOCOL_UDP:
                    memcpy(key + 32, at + place + 4, 4)
                    key[36] = 6
                    place += 8
                    return self.take_fragment(
                        key, fragment & 0xFFF8, fragment & 1, at + place, total - place, min(size, total) - place,
                        offset + <int64_t> place, time_ns,
                    )
                if fragment & 0xFFF8:
                    break                                        # a later fragment of something else
                following = at[place]
                place += 8
            elif following == 51:                                # RFC 4302 2.2: in 4 bytes, minus 2
                following = at[place]
                place += 4 * (<size_t> at[place + 1] + 2)
            else:                                                # in 8 bytes, minus 1
                following = at[place]
                place += 8 * (<size_t> at[place + 1] + 1)
        self.passed += 1
        return PACKET_OK

    cdef PacketStatus take_fragment(
        self, const uint8_t* key, uint32_t place, bint more, const uint8_t* at, size_t total, size_t size, int64_t offset,
        int64_t time_ns,
    ) noexcept nogil:
        cdef Slot* slot = self.fragments.find(key)
        cdef Assembly assembly
        cdef PacketStatus status = PACKET_OK
        if size < total:
            return self.reject_packet(REASON_TRUNCATED, time_ns, key, offset, size, b"the capture ends inside a fragment")
        if slot.is_used:
            if not same_key(slot.key, key):
                status = self.give_up(slot, b"too many incomplete datagrams")
            elif self.fragments.is_stale(slot, time_ns):
                status = self.give_up(slot, b"fragments are missing")
            if status != PACKET_OK:
                return status
        if not slot.is_used:
            self.fragments.open(slot, key, time_ns, offset)
        assembly = self.fragments.put(slot, place, more, at, size, time_ns)
        if assembly == ASSEMBLY_BROKEN:
            slot.received_bytes += <uint32_t> size
            return self.give_up(slot, b"fragments contradict each other")
        if assembly == ASSEMBLY_WAITS:
            return PACKET_OK
        slot.is_used = False
        return self.take_udp(key, slot.data, slot.total_bytes, slot.total_bytes, slot.offset, slot.first_received_ns)

    # Frees a slot whose datagram will not become whole. Where a port is wanted, only a first fragment tells it.
    cdef PacketStatus give_up(self, Slot* slot, const char* detail) noexcept nogil:
        slot.is_used = False
        if self.port and not (slot.has_first and load_be16(slot.data + 2) == self.port):
            self.passed += 1
            return PACKET_OK
        return self.reject_packet(
            REASON_FRAGMENT, slot.first_received_ns, slot.key, slot.offset, slot.received_bytes, detail
        )

    # The datagram of `total` bytes, of which `size` are here. RFC 768.
    cdef PacketStatus take_udp(
        self, const uint8_t* sender, const uint8_t* at, size_t total, size_t size, int64_t offset, int64_t time_ns,
    ) noexcept nogil:
        cdef size_t length
        cdef int32_t source
        if size < UDP_HEADER_BYTES:
            if self.port and (size < 4 or load_be16(at + 2) != self.port):
                self.passed += 1
                return PACKET_OK
            return self.reject_packet(
                REASON_TRUNCATED if size < total else REASON_BAD_LENGTH, time_ns, sender, offset, size,
                b"no room for a UDP header"
            )
        if self.port and load_be16(at + 2) != self.port:
            self.passed += 1
            return PACKET_OK
        length = load_be16(at + 4)
        if length == 0:
            length = total
        if length < UDP_HEADER_BYTES or length > total:
            return self.reject_packet(REASON_BAD_LENGTH, time_ns, sender, offset, size, b"the length in the UDP header")
        if length > size:
            return self.reject_packet(REASON_TRUNCATED, time_ns, sender, offset, size, b"the capture ends inside the datagram")
        source = self.intern_sender(sender)
        if source < 0 or self.frames.reserve(1) < 0:
            return PACKET_NO_MEMORY
        if self.frames.put_bytes(FRAME_FRAME, at + UDP_HEADER_BYTES, length - UDP_HEADER_BYTES) < 0:
            return PACKET_NO_MEMORY
        if time_ns >= 0:
            (<int64_t*> self.frames.columns[FRAME_RECEIVED_NS].values)[self.frames.length] = time_ns
            self.frames.columns[FRAME_RECEIVED_NS].valid[self.frames.length] = 1
        (<int32_t*> self.frames.columns[FRAME_SOURCE].values)[self.frames.length] = source
        (<int64_t*> self.frames.columns[FRAME_OFFSET].values)[self.frames.length] = offset + UDP_HEADER_BYTES
        self.frames.next_row()
        self.datagrams += 1
        return PACKET_OK

    # The number of a sender's address (16 bytes); NULL is the empty name, number 0.
    cdef int32_t intern_sender(self, const uint8_t* address) noexcept nogil:
        cdef char text[64]
        cdef uint32_t known = self.addresses.count
        cdef int32_t number
        text[0] = 0
        if address == NULL:
            number = self.addresses.intern(<const uint8_t*> text, 0)
        else:
            number = self.addresses.intern(address, 16)
        if number < 0 or self.addresses.count == known:
            return number
        if address != NULL:
            if is_mapped(address):
                inet_ntop(AF_INET, address + 12, text, sizeof(text))
            else:
                inet_ntop(AF_INET6, address, text, sizeof(text))
        return self.senders.intern(<const uint8_t*> text, strlen(text))

    cdef PacketStatus reject_packet(
        self, Reason reason, int64_t time_ns, const uint8_t* sender, int64_t offset, size_t size, const char* detail,
    ) noexcept nogil:
        cdef int32_t source = self.intern_sender(sender)
        return PACKET_NO_MEMORY if source < 0 else self.reject(reason, time_ns, source, offset, size, detail)

    cdef PacketStatus reject(
        self, Reason reason, int64_t time_ns, int32_t source, int64_t offset, size_t size, const char* detail,
    ) noexcept nogil:
        if put_reject(self.rejects, <int32_t> reason, offset, <int64_t> size, time_ns, source, detail) < 0:
            return PACKET_NO_MEMORY
        return PACKET_OK


cdef inline uint32_t ip_version(const uint8_t* at) noexcept nogil:
    if at[0] >> 4 == 4:
        return ETHERTYPE_IPV4
    return ETHERTYPE_IPV6 if at[0] >> 4 == 6 else 0


cdef inline void mapped(const uint8_t* address, uint8_t* into) noexcept nogil:
    into[10] = into[11] = 0xFF
    memcpy(into + 12, address, 4)


cdef inline bint is_mapped(const uint8_t* address) noexcept nogil:
    cdef int index
    for index in range(10):
        if address[index]:
            return False
    return address[10] == 0xFF and address[11] == 0xFF


cdef inline bint same_key(const uint8_t* one, const uint8_t* other) noexcept nogil:
    cdef int index
    for index in range(FRAGMENT_KEY_BYTES):
        if one[index] != other[index]:
            return False
    return True
