# Packet headers as sampled by an exporter, into a row of FLOWS. See headers.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from framecodec.columns cimport Rows

cdef enum:
    MPLS_LABELS_MAX = 16

# sFlow header_protocol numbers that are read (sFlow version 5, section 5.3); others give no fields.
cdef enum HeaderProtocol:
    HEADER_ETHERNET = 1
    HEADER_PPP = 7
    HEADER_IPV4 = 11
    HEADER_IPV6 = 12
    HEADER_MPLS = 13
    HEADER_POS = 14                  # PPP over SONET, RFC 2615: PPP in the framing of RFC 1662

cdef inline bint is_read_protocol(uint32_t protocol) noexcept nogil:
    return (
        protocol == HEADER_ETHERNET or protocol == HEADER_PPP or HEADER_IPV4 <= protocol <= HEADER_POS
    )


# Writes what bytes[:size] tells about the packet into `row` (open, at rows.length); a header cut anywhere gives the
# fields before the cut. Returns `present`, the row's mask, with the columns written. ip_bytes[0] becomes the IP total length
# where there is one.
cdef uint64_t read_packet(
    Rows flows, int64_t row, uint64_t present, uint32_t protocol, const uint8_t* bytes, int64_t size, uint32_t* ip_bytes,
) noexcept nogil
