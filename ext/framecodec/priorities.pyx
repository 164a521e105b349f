# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Which datagrams to give up first when there is no room for all.

A flow sample is one of many; a counter, a template or an option is worth all the flows that it explains. So a datagram is
*vital* when it shows anything but flows:

| codec   | flows only                                          | vital                                              |
|---------|-----------------------------------------------------|----------------------------------------------------|
| sflow   | flow samples (formats 1 and 3, sFlow version 5, 5)  | counter samples, discarded packets, other formats  |
| netflow | data sets, every datagram of version 5              | templates, options templates and their data sets   |
| others  |                                                     | everything                                         |

What cannot be read is not vital: garbage must not take the place of counters.

    priorities = Priorities("netflow")                     # one a link; the receiver calls `note` for every datagram
    mask = priorities.vital(senders, ids, ends, data)      # one byte a row

To know the data sets of options, template ids that were announced as options templates are marked in a table of 65,536
hashes. Two that meet there make flows vital that are none, which costs a little room.
"""
cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from framecodec.frame_view cimport ADDRESS_BYTES, FrameView
from framecodec.partitions cimport KEY_LINK, KEY_SFLOW, kind_of

from framecodec.frame_view import address_bytes
from framecodec.partitions import KEY_KINDS

__all__ = ["Priorities"]

cdef enum:
    MARKS = 65_536
    # sFlow version 5, 5: sample_data formats of enterprise 0.
    SFLOW_FLOW_SAMPLE = 1
    SFLOW_FLOW_SAMPLE_EXPANDED = 3
    # RFC 3954 5.2, 6.1: set ids of version 9.
    V9_HEADER_BYTES = 20
    V9_OPTIONS_TEMPLATE_SET = 1
    # RFC 7011 3.1, 3.3.2: and of IPFIX.
    IPFIX_HEADER_BYTES = 16
    IPFIX_OPTIONS_TEMPLATE_SET = 3
    DATA_SETS = 256


cdef inline uint32_t read_u16(const uint8_t* at) noexcept nogil:
    return (<uint32_t> at[0] << 8) | at[1]


cdef inline uint32_t read_u32(const uint8_t* at) noexcept nogil:
    return (read_u16(at) << 16) | read_u16(at + 2)


@cython.final
cdef class Priorities:
    """Knows what is vital on one link of this codec."""

    def __cinit__(self, codec: str):
        self.kind = KEY_KINDS.get(codec, KEY_LINK)
        self.is_options = <uint8_t*> calloc(MARKS, 1)
        if self.is_options == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.is_options)

    def note_frame(self, sender: str, frame: bytes) -> None:
        """What the receiver does with every datagram: remember the options templates in it."""
        cdef bytes address = address_bytes(sender) or b"\0" * ADDRESS_BYTES
        self.note(<const uint8_t*> <char*> address, <const uint8_t*> <char*> frame, <size_t> len(frame))

    def vital(self, senders: list[str], sender_ids, ends, data) -> bytearray:
        """One byte a row: 1 where a frame is vital. The buffers are those of a `FrameView`."""
        cdef FrameView view = FrameView(senders, sender_ids, ends, data)
        cdef uint8_t* found
        cdef Py_ssize_t row
        mask = bytearray(view.rows)
        found = <uint8_t*> <char*> mask
        for row in range(view.rows):
            found[row] = self.is_vital(view.sender(row), view.frame(row), view.size(row))
        return mask

    cdef void note(self, const uint8_t* sender, const uint8_t* datagram, size_t size) noexcept nogil:
        if self.kind != KEY_LINK and kind_of(self.kind, datagram, size) != KEY_SFLOW:
            see_sets(self.is_options, sender, datagram, size, True)

    cdef bint is_vital(self, const uint8_t* sender, const uint8_t* datagram, size_t size) noexcept nogil:
        if self.kind == KEY_LINK:
            return True
        if kind_of(self.kind, datagram, size) == KEY_SFLOW:
            return has_other_samples(datagram, size)
        return see_sets(self.is_options, sender, datagram, size, False)


cdef bint has_other_samples(const uint8_t* datagram, size_t size) noexcept nogil:
    """sFlow version 5, 5: whether some sample is no flow sample."""
    cdef size_t at
    cdef uint32_t form
    if size < 12 or read_u32(datagram) != 5:
        return False
    at = 40 if read_u32(datagram + 4) == 2 else 28      # an agent address of 16 or 4 bytes; then four numbers
    while at + 8 <= size:
        form = read_u32(datagram + at)
        if form != SFLOW_FLOW_SAMPLE and form != SFLOW_FLOW_SAMPLE_EXPANDED:
            return True
        # Subtract, never add: the length may be anything.
        if read_u32(datagram + at + 4) > size - at - 8:
            return False
        at += 8 + read_u32(datagram + at + 4)
    return False


cdef bint see_sets(
    uint8_t* is_options, const uint8_t* sender, const uint8_t* datagram, size_t size, bint only_mark,
) noexcept nogil:
    """Walks the sets of a v9 or IPFIX message: marks options templates, or says whether some set is vital."""
    cdef uint32_t version, set_id, set_bytes, domain, options_set
    cdef size_t at
    if size < V9_HEADER_BYTES:
        return False
    version = read_u16(datagram)
    if version == 9:
        at, domain, options_set = V9_HEADER_BYTES, read_u32(datagram + 16), V9_OPTIONS_TEMPLATE_SET
    elif version == 10:
        at, domain, options_set = IPFIX_HEADER_BYTES, read_u32(datagram + 12), IPFIX_OPTIONS_TEMPLATE_SET
    else:
        return False
    while at + 4 <= size:
        set_id, set_bytes = read_u16(datagram + at), read_u16(datagram + at + 2)
        if set_bytes < 4 or set_bytes > size - at:
            return False
        if set_id < DATA_SETS:
            if not only_mark:
                return True
            if set_id == options_set:
                mark_options(is_options, sender, domain, datagram + at + 4, set_bytes - 4, version == 9)
        elif not only_mark and is_options[place_of(sender, domain, set_id)]:
            return True
        at += set_bytes
    return False


cdef void mark_options(
    uint8_t* is_options, const uint8_t* sender, uint32_t domain, const uint8_t* records, size_t size, bint is_v9,
) noexcept nogil:
    cdef size_t at = 0
    cdef uint32_t template_id, fields
    while at + 6 <= size:
        template_id = read_u16(records + at)
        if is_v9:                                       # RFC 3954 6.1: bytes of scopes, bytes of options
            is_options[place_of(sender, domain, template_id)] = 1
            at += 6 + read_u16(records + at + 2) + read_u16(records + at + 4)
            continue
        fields = read_u16(records + at + 2)             # RFC 7011 3.4.2.2: fields, of which scopes
        if fields == 0:                                 # a withdrawal
            at += 4
            continue
        is_options[place_of(sender, domain, template_id)] = 1
        at += 6
        for _ in range(fields):
            if at + 4 > size:
                return
            at += 8 if records[at] & 0x80 else 4        # 3.2: an enterprise number follows


cdef inline size_t place_of(const uint8_t* sender, uint32_t domain, uint32_t template_id) noexcept nogil:
    cdef uint64_t high, low
    memcpy(&high, sender, 8)
    memcpy(&low, sender + 8, 8)
    low = (low ^ (high * <uint64_t> 0x9E3779B97F4A7C15ULL)) * <uint64_t> 0x9E3779B97F4A7C15ULL
    low = (low ^ (<uint64_t> domain << 16) ^ template_id) * <uint64_t> 0x9E3779B97F4A7C15ULL
    return <size_t> (low >> 48)
