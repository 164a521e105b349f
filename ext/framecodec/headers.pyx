# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Sampled packet headers: Ethernet, VLAN tags, MPLS, IPv4, IPv6 with extension headers, TCP, UDP, SCTP, ICMP.

Used for sFlow raw headers and for the IPFIX element dataLinkFrameSection. Sources, from memory: IEEE 802.3 and 802.1Q,
RFC 3032 (MPLS), RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443. Tunnels are not opened: the outer packet is
what the exporter forwarded.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from framecodec.columns cimport Column, Rows
from framecodec.rack cimport be16, be32, put8, put16, put32, put_ipv4, put_ipv6, put_mac, is_set
from framecodec.records cimport (
    FLOW_DST_ADDR, FLOW_DST_MAC, FLOW_DST_PORT, FLOW_ETHERTYPE, FLOW_FLOW_LABEL, FLOW_FRAGMENT_ID, FLOW_FRAGMENT_OFFSET,
    FLOW_ICMP_CODE, FLOW_ICMP_TYPE, FLOW_MPLS_LABELS, FLOW_PROTOCOL, FLOW_SRC_ADDR, FLOW_SRC_MAC, FLOW_SRC_PORT,
    FLOW_TCP_FLAGS, FLOW_TOS, FLOW_TTL, FLOW_VLAN_ID,
)

__all__ = []

cdef enum:
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_MPLS = 0x8847
    ETHERTYPE_MPLS_MULTICAST = 0x8848
    # Below this the field is a length (IEEE 802.3 section 3.2.6).
    ETHERTYPE_MIN = 0x0600
    TAGS_MAX = 4
    EXTENSIONS_MAX = 8


cdef inline bint is_tag(uint16_t ethertype) noexcept nogil:
    # 802.1Q, 802.1ad and the two that QinQ used before it.
    return ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100 or ethertype == 0x9200


cdef uint64_t read_packet(
    Rows flows, int64_t row, uint64_t present, uint32_t protocol, const uint8_t* data, int64_t size, uint32_t* ip_bytes,
) noexcept nogil:
    cdef uint16_t ethertype = 0
    cdef int64_t at = 0
    if protocol == HEADER_ETHERNET:
        at = read_ethernet(flows.columns, row, &present, data, size, &ethertype)
        if at < 0:
            return present
    elif protocol == HEADER_PPP or protocol == HEADER_POS:
        if size >= 2 and be16(data) == 0xFF03:
            at = 2
        if size - at < 2:
            return present
        ethertype = ppp_ethertype(be16(data + at))
        at += 2
    elif protocol == HEADER_IPV4:
        ethertype = ETHERTYPE_IPV4
    elif protocol == HEADER_IPV6:
        ethertype = ETHERTYPE_IPV6
    elif protocol == HEADER_MPLS:
        ethertype = ETHERTYPE_MPLS
    if ethertype == ETHERTYPE_MPLS or ethertype == ETHERTYPE_MPLS_MULTICAST:
        at = read_mpls(flows, &present, data, size, at)
        if at >= size:
            return present
        # No field names the payload; its first four bits do (RFC 4928 section 3).
        if data[at] >> 4 == 4:
            ethertype = ETHERTYPE_IPV4
        elif data[at] >> 4 == 6:
            ethertype = ETHERTYPE_IPV6
    if ethertype != ETHERTYPE_IPV4 and ethertype != ETHERTYPE_IPV6:
        return present
    if protocol != HEADER_ETHERNET:
        present |= put16(flows.columns, FLOW_ETHERTYPE, row, ethertype)
    if ethertype == ETHERTYPE_IPV4:
        return present | read_ipv4(flows.columns, row, data + at, size - at, ip_bytes)
    return present | read_ipv6(flows.columns, row, data + at, size - at, ip_bytes)


# The offset behind the EtherType, or -1 where there is none.
cdef inline int64_t read_ethernet(
    Column* columns, int64_t row, uint64_t* present, const uint8_t* data, int64_t size, uint16_t* ethertype,
) noexcept nogil:
    cdef int64_t at = 14
    cdef int tags = 0
    if size < 14:
        if size >= 6:
            present[0] |= put_mac(columns, FLOW_DST_MAC, row, data)
        if size >= 12:
            present[0] |= put_mac(columns, FLOW_SRC_MAC, row, data + 6)
        return -1
    present[0] |= put_mac(columns, FLOW_DST_MAC, row, data) | put_mac(columns, FLOW_SRC_MAC, row, data + 6)
    ethertype[0] = be16(data + 12)
    while is_tag(ethertype[0]):
        if size - at < 4 or tags == TAGS_MAX:
            return -1
        if not is_set(present[0], FLOW_VLAN_ID):
            present[0] |= put16(columns, FLOW_VLAN_ID, row, be16(data + at) & 0x0FFF)
        ethertype[0] = be16(data + at + 2)
        at += 4
        tags += 1
    if ethertype[0] < ETHERTYPE_MIN:
        # LLC with SNAP and the zero OUI carries an EtherType, RFC 1042; other LLC is not IP.
        if size - at < 8 or be32(data + at) != 0xAAAA0300U or be16(data + at + 4) != 0:
            return -1
        ethertype[0] = be16(data + at + 6)
        at += 8
    present[0] |= put16(columns, FLOW_ETHERTYPE, row, ethertype[0])
    return at


cdef inline uint16_t ppp_ethertype(uint16_t protocol) noexcept nogil:
    if protocol == 0x0021:
        return ETHERTYPE_IPV4
    if protocol == 0x0057:
        return ETHERTYPE_IPV6
    if protocol == 0x0281:
        return ETHERTYPE_MPLS
    return 0


# The offset behind the label stack; `size` when the stack does not end within it.
cdef int64_t read_mpls(Rows flows, uint64_t* present, const uint8_t* data, int64_t size, int64_t at) noexcept nogil:
    cdef uint32_t labels[MPLS_LABELS_MAX]
    cdef size_t count = 0
    cdef bint is_bottom = False
    while not is_bottom and size - at >= 4 and count < MPLS_LABELS_MAX:
        labels[count] = be32(data + at) >> 12
        is_bottom = data[at + 2] & 1
        count += 1
        at += 4
    if count and not is_set(present[0], FLOW_MPLS_LABELS) and flows.put_list(FLOW_MPLS_LABELS, labels, count) == 0:
        present[0] |= <uint64_t> 1 << FLOW_MPLS_LABELS
    return at if is_bottom else size


# The columns written. `length` becomes that of the packet where it says so.
cdef inline uint64_t read_ipv4(
    Column* columns, int64_t row, const uint8_t* data, int64_t size, uint32_t* length
) noexcept nogil:
    cdef uint64_t present
    cdef int64_t header_bytes
    cdef uint16_t fragment
    if size < 20 or data[0] >> 4 != 4:
        return 0
    header_bytes = 4 * (data[0] & 15)
    if be16(data + 2):                    # 0 where the sender's network card cuts segments
        length[0] = be16(data + 2)
    fragment = be16(data + 6)
    present = put8(columns, FLOW_TOS, row, data[1])
    present |= put32(columns, FLOW_FRAGMENT_ID, row, be16(data + 4))
    present |= put16(columns, FLOW_FRAGMENT_OFFSET, row, fragment & 0x1FFF)
    present |= put8(columns, FLOW_TTL, row, data[8])
    present |= put8(columns, FLOW_PROTOCOL, row, data[9])
    present |= put_ipv4(columns, FLOW_SRC_ADDR, row, data + 12)
    present |= put_ipv4(columns, FLOW_DST_ADDR, row, data + 16)
    if fragment & 0x1FFF == 0 and header_bytes >= 20 and size > header_bytes:
        present |= read_transport(columns, row, data[9], data + header_bytes, size - header_bytes)
    return present


cdef uint64_t read_ipv6(Column* columns, int64_t row, const uint8_t* data, int64_t size, uint32_t* length) noexcept nogil:
    cdef uint64_t present
    cdef uint32_t first
    cdef uint8_t next_header
    cdef int64_t at = 40
    if size < 40 or data[0] >> 4 != 6:
        return 0
    first = be32(data)
    present = put8(columns, FLOW_TOS, row, (first >> 20) & 0xFF)
    present |= put32(columns, FLOW_FLOW_LABEL, row, first & 0xFFFFF)
    present |= put8(columns, FLOW_TTL, row, data[7])
    present |= put_ipv6(columns, FLOW_SRC_ADDR, row, data + 8)
    present |= put_ipv6(columns, FLOW_DST_ADDR, row, data + 24)
    next_header = data[6]
    # 0 in the length field of a jumbogram (RFC 2675): the caller then uses the frame's length.
    if be16(data + 4):
        length[0] = be16(data + 4) + 40
    for _ in range(EXTENSIONS_MAX):
        if next_header == 44:
            # Fragment header, RFC 8200 section 4.5.
            if size - at < 8:
                break
            present |= put16(columns, FLOW_FRAGMENT_OFFSET, row, be16(data + at + 2) >> 3)
            present |= put32(columns, FLOW_FRAGMENT_ID, row, be32(data + at + 4))
            next_header = data[at]
            if be16(data + at + 2) >> 3:
                return present | put8(columns, FLOW_PROTOCOL, row, next_header)
            at += 8
        elif next_header == 0 or next_header == 43 or next_header == 60 or next_header == 135 or next_header == 51:
            if size - at < 8:
                break
            next_header, at = data[at], at + (
                # Authentication header: 4-octet units minus 2 (RFC 4302 section 2.2); the others: 8-octet units minus 1.
                4 * (2 + <int64_t> data[at + 1]) if next_header == 51 else 8 * (1 + <int64_t> data[at + 1])
            )
        else:
            break
    present |= put8(columns, FLOW_PROTOCOL, row, next_header)
    if at < size:
        present |= read_transport(columns, row, next_header, data + at, size - at)
    return present


cdef inline uint64_t read_transport(
    Column* columns, int64_t row, uint8_t protocol, const uint8_t* data, int64_t size,
) noexcept nogil:
    cdef uint64_t present = 0
    # TCP, UDP, DCCP, SCTP and UDP-Lite begin with the two ports.
    if protocol == 6 or protocol == 17 or protocol == 33 or protocol == 132 or protocol == 136:
        if size >= 2:
            present |= put16(columns, FLOW_SRC_PORT, row, be16(data))
        if size >= 4:
            present |= put16(columns, FLOW_DST_PORT, row, be16(data + 2))
        if protocol == 6 and size >= 14:
            present |= put16(columns, FLOW_TCP_FLAGS, row, data[13])
    elif protocol == 1 or protocol == 58:
        present |= put8(columns, FLOW_ICMP_TYPE, row, data[0])
        if size >= 2:
            present |= put8(columns, FLOW_ICMP_CODE, row, data[1])
    return present
