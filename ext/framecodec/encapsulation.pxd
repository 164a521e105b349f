# Encapsulation packets (CCSDS 133.1-B-3): where they end, and whether they are fill. What they carry is nobody's business here.
from libc.stdint cimport int64_t, uint8_t

cdef enum:
    ENCAPSULATION = 7        # 4.1.2.2: the packet version number 111


# How long the packet at `data` is: 0 if its header is not whole in `available` octets (at least 1), -1 if it is no such packet.
cdef inline int64_t encapsulation_size(const uint8_t* data, int64_t available) noexcept nogil:
    cdef int length_of_length = data[0] & 3                  # 4.1.2.4: a header of 1, 2, 4 or 8 octets
    cdef int64_t size
    if data[0] >> 5 != ENCAPSULATION:
        return -1
    if length_of_length == 0:                                # without a length it is one octet, and can only be idle
        return 1 if encapsulation_is_idle(data) else -1
    if available < 1 << length_of_length:
        return 0
    if length_of_length == 1:
        size = data[1]
    elif length_of_length == 2:
        size = (<int64_t> data[2] << 8) | data[3]
    else:
        size = (<int64_t> data[4] << 24) | (<int64_t> data[5] << 16) | (<int64_t> data[6] << 8) | data[7]
    return size if size >= 1 << length_of_length else -1     # the length counts the header, too


cdef inline bint encapsulation_is_idle(const uint8_t* data) noexcept nogil:
    return ((data[0] >> 2) & 7) == 0                         # 4.1.2.3.3: protocol id 000
