# Packet headers as sampled by an exporter, into a row of FLOWS. See headers.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t

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

# Writes what bytes[:size] tells about the packet into `row` (open, at rows.length); a header cut anywhere gives the
# fields before the cut. Returns the IP total length, 0 where there is none.
cdef uint32_t read_packet(
    Rows flows, int64_t row, uint32_t protocol, const uint8_t* bytes, int64_t size,
) noexcept nogil
