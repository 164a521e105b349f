# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Headers of transfer frames: TM (CCSDS 132.0-B), AOS (732.0-B) and USLP (732.1-B).

`read_header` says whose frame it is, its count, and which bytes are the packet zone and where the first packet in it begins. It
reads nothing beyond the frame's end and keeps nothing. Where a frame does not say what it has (frame error control, the insert
zone, the operational control field of AOS), the link's `Layout` does. The clauses are cited from memory.

    word 0        TM   version 2 = 0, spacecraft 10, channel 3, OCF 1      AOS  version 2 = 1, spacecraft 8, channel 6
                  USLP version 4 = 12, spacecraft 16, direction 1, channel 6, MAP 4, end of header 1
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    TM_HEADER_BYTES = 6                  # 132.0-B 4.1.2
    AOS_HEADER_BYTES = 6                 # 732.0-B 4.1.2
    USLP_HEADER_BYTES = 7                # 732.1-B 4.1.2, without the frame count
    USLP_TRUNCATED_BYTES = 4
    OCF_BYTES = 4
    ONLY_IDLE_CHANNEL = 63               # 732.0-B 4.1.2.3, 732.1-B 4.1.2.5
    # 132.0-B 4.1.2.7.6, 732.0-B 4.1.4.2.3: the first header pointer
    POINTER_NONE = 0x7FF
    POINTER_IDLE = 0x7FE
    # 732.1-B 4.1.4.2: construction rules (1 to 3 are for data that are no packets) and protocol identifiers
    RULE_SPANNING = 0                    # packets go on in the next frame; there is a first header pointer
    RULE_STARTING = 4                    # the first segment of one packet
    RULE_CONTINUING = 5
    RULE_LAST = 6
    RULE_COMPLETE = 7                    # nothing but whole packets
    PROTOCOL_PACKETS = 0
    PROTOCOL_IDLE = 31


cdef const char* read_header(const uint8_t* frame, int64_t size, const Layout* layout, Header* header) noexcept nogil:
    cdef FrameKind kind = layout.kind
    cdef const char* wrong
    cdef int version
    if size < USLP_TRUNCATED_BYTES + 1:
        return "the frame is too short for a header"
    version = frame[0] >> 6
    if kind == KIND_BY_VERSION:
        if frame[0] >> 4 == 12:
            kind = KIND_USLP
        elif version < 2:
            kind = KIND_AOS if version else KIND_TM
        else:
            return "the version number is that of no transfer frame"
    elif kind == KIND_TM and version != 0:
        return "the version number is not that of TM (0)"
    elif kind == KIND_AOS and version != 1:
        return "the version number is not that of AOS (1)"
    elif kind == KIND_USLP and frame[0] >> 4 != 12:
        return "the version number is not that of USLP (12)"
    header.kind, header.map_id, header.lane, header.master_count = kind, 0, 0, -1
    header.is_fresh = header.is_closed = False
    header.data_end = size - layout.fecf_bytes
    header.ocf = -1
    if kind == KIND_TM:
        wrong = read_tm(frame, size, layout, header)
    elif kind == KIND_AOS:
        wrong = read_aos(frame, size, layout, header)
    else:
        wrong = read_uslp(frame, size, layout, header)
    if wrong == NULL and header.data_start > header.data_end:
        return "the frame is too short for what it must hold"
    return wrong


# The operational control field is the last of the data.
cdef inline void leave_ocf(Header* header) noexcept nogil:
    header.data_end -= OCF_BYTES
    header.ocf = header.data_end


cdef const char* read_tm(const uint8_t* frame, int64_t size, const Layout* layout, Header* header) noexcept nogil:
    cdef int pointer
    if size < TM_HEADER_BYTES:
        return "the frame is too short for a header"
    header.scid = ((frame[0] & 0x3F) << 4) | (frame[1] >> 4)
    header.vcid = (frame[1] >> 1) & 7
    header.master_count, header.count, header.count_mask = frame[2], frame[3], 0xFF
    header.data_start = TM_HEADER_BYTES
    if frame[1] & 1 if layout.ocf < 0 else layout.ocf:
        leave_ocf(header)
    if frame[4] >> 7:                                    # 4.1.3: the secondary header's length, minus one
        if header.data_start >= header.data_end:
            return "the frame is too short for what it must hold"
        header.data_start += (frame[TM_HEADER_BYTES] & 0x3F) + 1
    pointer = ((frame[4] & 7) << 8) | frame[5]
    if (frame[4] >> 6) & 1:                              # 4.1.2.7.3: data without octet synchronization are no packets
        header.first_header = STARTS_OTHER
    elif pointer == POINTER_IDLE:
        header.first_header = STARTS_IDLE
    else:
        header.first_header = STARTS_NONE if pointer == POINTER_NONE else pointer
    return NULL


cdef const char* read_aos(const uint8_t* frame, int64_t size, const Layout* layout, Header* header) noexcept nogil:
    cdef int pointer
    if size < AOS_HEADER_BYTES:
        return "the frame is too short for a header"
    header.scid = ((frame[0] & 0x3F) << 2) | (frame[1] >> 6)
    header.vcid = frame[1] & 0x3F
    header.count, header.count_mask = (<int64_t> frame[2] << 16) | (frame[3] << 8) | frame[4], 0xFFFFFF
    header.data_start = AOS_HEADER_BYTES + 2 * layout.has_header_check + layout.insert_zone_bytes
    if layout.ocf > 0:
        leave_ocf(header)
    if header.vcid == ONLY_IDLE_CHANNEL:
        header.first_header = STARTS_IDLE
        return NULL
    # Octet 5 is the signaling field: the replay flag, whether the count's cycle is used, the cycle. The count alone is taken.
    header.data_start += 2                               # 4.1.4.2: the M_PDU header
    if header.data_start > header.data_end:
        return "the frame is too short for what it must hold"
    pointer = ((frame[header.data_start - 2] & 7) << 8) | frame[header.data_start - 1]
    header.first_header = STARTS_NONE if pointer == POINTER_NONE else STARTS_IDLE if pointer == POINTER_IDLE else pointer
    return NULL


cdef const char* read_uslp(const uint8_t* frame, int64_t size, const Layout* layout, Header* header) noexcept nogil:
    cdef int count_bytes, index, rule, protocol, pointer
    cdef bint is_control = False
    header.scid = ((frame[0] & 0xF) << 12) | (frame[1] << 4) | (frame[2] >> 4)
    header.vcid = ((frame[2] & 7) << 3) | (frame[3] >> 5)
    header.map_id = (frame[3] >> 1) & 0xF
    header.count, header.count_mask = -1, 0
    if frame[3] & 1:                                     # 4.1.2.1: truncated, neither counted nor checked
        header.data_start, header.data_end = USLP_TRUNCATED_BYTES, size
    else:
        if size < USLP_HEADER_BYTES:
            return "the frame is too short for a header"
        count_bytes, header.lane, is_control = frame[6] & 7, frame[6] >> 7, (frame[6] >> 6) & 1
        header.data_start = USLP_HEADER_BYTES + count_bytes
        if ((<int64_t> frame[4] << 8) | frame[5]) + 1 != size:
            return "the frame's length is not what its header says"
        if header.data_start + layout.insert_zone_bytes >= header.data_end:
            return "the frame is too short for what it must hold"
        if count_bytes:
            header.count = 0
            for index in range(count_bytes):
                header.count = (header.count << 8) | frame[USLP_HEADER_BYTES + index]
            header.count_mask = (<uint64_t> 1 << (8 * count_bytes)) - 1
        if (frame[6] >> 3) & 1 if layout.ocf < 0 else layout.ocf:
            leave_ocf(header)
        header.data_start += layout.insert_zone_bytes
    if header.data_start >= header.data_end:
        return "the frame is too short for what it must hold"
    rule, protocol = frame[header.data_start] >> 5, frame[header.data_start] & 0x1F
    header.data_start += 1
    # 4.1.2.8.2: protocol control information (COP-1 commands) says nothing of what else the channel carries.
    if protocol == PROTOCOL_IDLE or header.vcid == ONLY_IDLE_CHANNEL or is_control:
        header.first_header = STARTS_IDLE
    elif protocol != PROTOCOL_PACKETS or RULE_SPANNING < rule < RULE_STARTING:
        header.first_header = STARTS_OTHER
    elif rule == RULE_SPANNING:
        header.data_start += 2
        if header.data_start > header.data_end:
            return "the frame is too short for what it must hold"
        pointer = (frame[header.data_start - 2] << 8) | frame[header.data_start - 1]
        header.first_header = STARTS_NONE if pointer == 0xFFFF else pointer
    else:
        header.is_fresh = rule == RULE_STARTING or rule == RULE_COMPLETE
        header.is_closed = rule == RULE_LAST or rule == RULE_COMPLETE
        header.first_header = 0 if header.is_fresh else STARTS_NONE
    return NULL
