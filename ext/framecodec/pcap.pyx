# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""UDP datagrams out of capture files, fed in pieces of any size.

    reader = CaptureReader("racks", "sflow", port=6343)
    reader.feed(piece)                                   # CaptureError: from here on this is no capture
    frames, rejects = reader.take()                      # for pyarrow.record_batch; frames have a column `offset` more
    reader.finish()

Formats: pcap (draft-ietf-opsawg-pcap) with micro- and nanoseconds in both byte orders, pcapng (draft-ietf-opsawg-pcapng);
layouts from memory of these documents.

Frames are UDP payloads: `offset` is the place of the payload's first byte in the file, `received_ns` the capture's time,
`source` the sender's address. Nothing is known here of what is inside a packet (framecodec.udp), nor of files.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove, memset

from framecodec.bits cimport load_be16, load_be32
from framecodec.udp cimport PACKET_BAD_LINK, PACKET_NO_MEMORY, PACKET_OK, REASON_TRUNCATED, UdpReader, PacketStatus

cdef enum:
    # libpcap's own bound on a record (MAXIMUM_SNAPLEN) is 256 KiB; more means that the file is damaged.
    RECORD_BYTES_MAX = 1 << 20
    INTERFACES_MAX = 65_536

# The year 2255: later has no int64 in nanoseconds. Not an enum: that would be unsigned.
cdef int64_t SECONDS_MAX = 9_000_000_000

cdef enum Form:
    FORM_UNKNOWN
    FORM_PCAP
    FORM_PCAPNG

cdef enum Status:
    OK
    NEED_MORE
    OUT_OF_MEMORY
    BAD_MAGIC
    BAD_RECORD
    BAD_LINK_TYPE

# The first four bytes of a file, read as if big-endian.
cdef enum Magic:
    MAGIC_US_BIG = 0xA1B2C3D4
    MAGIC_NS_BIG = 0xA1B23C4D
    MAGIC_US_LITTLE = 0xD4C3B2A1
    MAGIC_NS_LITTLE = 0x4D3CB2A1

cdef enum Block:
    BLOCK_INTERFACE = 1
    BLOCK_PACKET_OLD = 2
    BLOCK_PACKET_SIMPLE = 3
    BLOCK_PACKET = 6
    BLOCK_SECTION = 0x0A0D0D0A

cdef struct Interface:
    int32_t link_type
    uint32_t snap_bytes
    uint8_t resolution       # if_tsresol: a power of 10, or of 2 with the highest bit set
    int64_t offset_s         # if_tsoffset


class CaptureError(ValueError):
    """From `offset` on the file is not a capture that we can read."""

    def __init__(self, what: str, offset: int) -> None:
        self.offset = offset
        super().__init__(what)


def is_capture(first: bytes) -> bool:
    """Whether the first bytes of a file (4 are enough) are those of a pcap or pcapng."""
    return int.from_bytes(first[:4], "big") in (MAGIC_US_BIG, MAGIC_NS_BIG, MAGIC_US_LITTLE, MAGIC_NS_LITTLE, BLOCK_SECTION)


cdef inline uint16_t le16(const uint8_t* at) noexcept nogil:
    return <uint16_t> ((at[1] << 8) | at[0])


cdef inline uint32_t le32(const uint8_t* at) noexcept nogil:
    return (<uint32_t> at[3] << 24) | (<uint32_t> at[2] << 16) | (<uint32_t> at[1] << 8) | at[0]


@cython.final
cdef class CaptureReader:
    """Reads one capture file. `port` 0 takes datagrams to any port."""

    cdef UdpReader udp
    cdef uint8_t* kept               # what of the input is not parsed yet
    cdef size_t kept_bytes
    cdef size_t kept_capacity
    cdef int64_t position            # of kept[0] in the file
    cdef uint64_t skip_bytes         # of a block that is of no interest
    cdef Form form
    cdef bint is_big_endian
    cdef bint is_ns
    cdef Interface* interfaces
    cdef int32_t interface_count
    cdef int32_t interface_capacity
    cdef int32_t wrong_link_type
    cdef uint64_t records            # packets of any kind
    cdef uint64_t input_bytes

    def __cinit__(self, link: str, codec: str, *, port: int = 0):
        self.udp = UdpReader(link, codec, port=port)

    def __dealloc__(self):
        free(self.kept)
        free(self.interfaces)

    def feed(self, data) -> None:
        """Take the next bytes of the file. CaptureError when they cannot follow; what came before stays."""
        cdef Py_buffer view
        cdef Status status
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.input_bytes += view.len
            with nogil:
                status = self.keep(<const uint8_t*> view.buf, <size_t> view.len)
                if status == OK:
                    status = self.parse()
        finally:
            PyBuffer_Release(&view)
        if status == OUT_OF_MEMORY:
            raise MemoryError
        if status == BAD_MAGIC:
            raise CaptureError("neither pcap nor pcapng", self.position)
        if status == BAD_LINK_TYPE:
            raise CaptureError(f"link type {self.wrong_link_type} is not read", self.position)
        if status == BAD_RECORD:
            raise CaptureError("a record that cannot be", self.position)

    def finish(self) -> None:
        """The file ended: an incomplete record and incomplete fragments become rejects."""
        cdef PacketStatus status = PACKET_OK
        with nogil:
            if self.kept_bytes or self.skip_bytes:
                status = self.udp.reject(
                    REASON_TRUNCATED, -1, 0, self.position, self.kept_bytes, b"the file ends inside a record"
                )
                self.position += self.kept_bytes
                self.kept_bytes = self.skip_bytes = 0
            if status == PACKET_OK:
                status = self.udp.finish()
        if status == PACKET_NO_MEMORY:
            raise MemoryError

    def take(self):
        """(frames, rejects) since the last call, each a Batch for `pyarrow.record_batch`."""
        return self.udp.take()

    @property
    def counts(self) -> dict[str, int]:
        """Since the start: packets of any kind, datagrams that became frames, packets of no interest, bytes."""
        return {
            "records": self.records, "datagrams": self.udp.datagrams, "passed": self.udp.passed,
            "input_bytes": self.input_bytes,
        }

    cdef Status keep(self, const uint8_t* data, size_t size) noexcept nogil:
        cdef size_t wanted = self.kept_bytes + size
        cdef void* moved
        if wanted > self.kept_capacity:
            moved = realloc(self.kept, wanted + wanted // 2)
            if moved == NULL:
                return OUT_OF_MEMORY
            self.kept = <uint8_t*> moved
            self.kept_capacity = wanted + wanted // 2
        if size:                                             # memcpy may not be handed NULL, not even for nothing
            memcpy(self.kept + self.kept_bytes, data, size)
        self.kept_bytes = wanted
        return OK

    # Parses records as long as they are complete, then moves the rest to the front.
    cdef Status parse(self) noexcept nogil:
        cdef size_t at = 0
        cdef size_t used
        cdef Status status = OK
        while status == OK:
            if self.skip_bytes:
                used = min(self.skip_bytes, self.kept_bytes - at)
                self.skip_bytes -= used
                status = OK if self.skip_bytes == 0 else NEED_MORE
            elif self.form == FORM_UNKNOWN:
                status = self.parse_magic(self.kept + at, self.kept_bytes - at, &used)
            elif self.form == FORM_PCAP:
                status = self.parse_record(self.kept + at, self.kept_bytes - at, &used)
            else:
                status = self.parse_block(self.kept + at, self.kept_bytes - at, &used)
            if status == OK or self.skip_bytes:
                at += used
                self.position += used
        if at:
            memmove(self.kept, self.kept + at, self.kept_bytes - at)
            self.kept_bytes -= at
        return OK if status == NEED_MORE else status

    cdef Status parse_magic(self, const uint8_t* at, size_t size, size_t* used) noexcept nogil:
        cdef uint32_t magic
        cdef Interface interface
        if size < 4:
            return NEED_MORE
        magic = load_be32(at)
        if magic == BLOCK_SECTION:
            self.form = FORM_PCAPNG
            used[0] = 0
            return OK
        if magic not in (MAGIC_US_BIG, MAGIC_NS_BIG, MAGIC_US_LITTLE, MAGIC_NS_LITTLE):
            return BAD_MAGIC
        if size < 24:
            return NEED_MORE
        self.is_big_endian = magic in (MAGIC_US_BIG, MAGIC_NS_BIG)
        self.is_ns = magic in (MAGIC_NS_BIG, MAGIC_NS_LITTLE)
        self.form = FORM_PCAP
        memset(&interface, 0, sizeof(interface))
        interface.link_type = self.u32(at + 20) & 0xFFFF         # above: the length of a frame check sequence
        used[0] = 24
        return self.add_interface(&interface)

    cdef Status parse_record(self, const uint8_t* at, size_t size, size_t* used) noexcept nogil:
        cdef uint32_t captured
        if size < 16:
            return NEED_MORE
        captured = self.u32(at + 8)
        if captured > RECORD_BYTES_MAX or self.u32(at + 4) >= 1_000_000_000:
            return BAD_RECORD
        used[0] = 16 + captured
        if size < used[0]:
            return NEED_MORE
        return self.take_packet(
            at + 16, captured, &self.interfaces[0], self.position + 16,
            <int64_t> self.u32(at) * 1_000_000_000 + <int64_t> self.u32(at + 4) * (1 if self.is_ns else 1000),
        )

    cdef Status parse_block(self, const uint8_t* at, size_t size, size_t* used) noexcept nogil:
        cdef uint32_t kind, length, captured, number
        cdef int64_t time_ns = -1
        if size < 12:
            return NEED_MORE
        kind = self.u32(at)
        if kind == BLOCK_SECTION:
            if load_be32(at + 8) == 0x1A2B3C4D:
                self.is_big_endian = True
            elif le32(at + 8) == 0x1A2B3C4D:
                self.is_big_endian = False
            else:
                return BAD_RECORD
            self.interface_count = 0
        length = self.u32(at + 4)
        if length < 12 or length % 4:
            return BAD_RECORD
        used[0] = length
        if kind not in (BLOCK_INTERFACE, BLOCK_PACKET, BLOCK_PACKET_SIMPLE, BLOCK_PACKET_OLD):
            self.skip_bytes = length
            used[0] = 0
            return OK
        if length > RECORD_BYTES_MAX:
            return BAD_RECORD
        if size < length:
            return NEED_MORE
        if self.u32(at + length - 4) != length:
            return BAD_RECORD
        if kind == BLOCK_INTERFACE:
            return self.parse_interface(at, length)
        if kind == BLOCK_PACKET_SIMPLE:
            if length < 16 or self.interface_count == 0:
                return BAD_RECORD
            captured = min(self.u32(at + 8), length - 16)
            if self.interfaces[0].snap_bytes:
                captured = min(captured, self.interfaces[0].snap_bytes)
            return self.take_packet(at + 12, captured, &self.interfaces[0], self.position + 12, -1)
        if length < 32:
            return BAD_RECORD
        number = self.u32(at + 8) if kind == BLOCK_PACKET else self.u16(at + 8)
        captured = self.u32(at + 20)
        if number >= <uint32_t> self.interface_count or captured > length - 32:
            return BAD_RECORD
        time_ns = capture_time_ns(
            (<uint64_t> self.u32(at + 12) << 32) | self.u32(at + 16), &self.interfaces[number]
        )
        return self.take_packet(at + 28, captured, &self.interfaces[number], self.position + 28, time_ns)

    cdef Status parse_interface(self, const uint8_t* at, uint32_t length) noexcept nogil:
        cdef Interface interface
        cdef uint32_t place = 16
        cdef uint16_t code, size
        if length < 20:
            return BAD_RECORD
        memset(&interface, 0, sizeof(interface))
        interface.link_type = self.u16(at + 8)
        interface.snap_bytes = self.u32(at + 12)
        interface.resolution = 6
        while place + 4 <= length - 4:
            code, size = self.u16(at + place), self.u16(at + place + 2)
            if code == 0 or place + 4 + size > length - 4:
                break
            if code == 9 and size >= 1:                          # if_tsresol
                interface.resolution = at[place + 4]
            elif code == 14 and size >= 8:                       # if_tsoffset
                interface.offset_s = <int64_t> (
                    (<uint64_t> self.u32(at + place + 4) << 32) | self.u32(at + place + 8) if self.is_big_endian
                    else (<uint64_t> self.u32(at + place + 8) << 32) | self.u32(at + place + 4)
                )
            place += 4 + ((size + 3) & ~3)
        return self.add_interface(&interface)

    cdef Status add_interface(self, const Interface* interface) noexcept nogil:
        cdef void* moved
        if self.interface_count == INTERFACES_MAX:
            return BAD_RECORD
        if self.interface_count == self.interface_capacity:
            moved = realloc(self.interfaces, (2 * self.interface_capacity + 4) * sizeof(Interface))
            if moved == NULL:
                return OUT_OF_MEMORY
            self.interfaces = <Interface*> moved
            self.interface_capacity = 2 * self.interface_capacity + 4
        self.interfaces[self.interface_count] = interface[0]
        self.interface_count += 1
        return OK

    cdef Status take_packet(
        self, const uint8_t* at, size_t size, const Interface* interface, int64_t offset, int64_t time_ns,
    ) noexcept nogil:
        cdef PacketStatus status = self.udp.take_packet(at, size, interface.link_type, offset, time_ns)
        self.records += 1
        if status == PACKET_BAD_LINK:
            self.wrong_link_type = interface.link_type
            return BAD_LINK_TYPE
        return OUT_OF_MEMORY if status == PACKET_NO_MEMORY else OK

    cdef inline uint16_t u16(self, const uint8_t* at) noexcept nogil:
        return load_be16(at) if self.is_big_endian else le16(at)

    cdef inline uint32_t u32(self, const uint8_t* at) noexcept nogil:
        return load_be32(at) if self.is_big_endian else le32(at)


# A pcapng time stamp as Unix nanoseconds; -1 where it does not fit.
cdef int64_t capture_time_ns(uint64_t stamp, const Interface* interface) noexcept nogil:
    cdef uint64_t seconds, fraction, unit = 1
    cdef int power = interface.resolution & 0x7F
    if interface.resolution & 0x80:
        if power > 63:
            return -1
        seconds = stamp >> power
        fraction = stamp & ((<uint64_t> 1 << power) - 1)
        if power > 32:
            fraction >>= power - 32
            power = 32
        fraction = fraction * 1_000_000_000 >> power
    else:
        if power > 19:
            return -1
        for _ in range(power):
            unit *= 10
        seconds = stamp // unit
        fraction = stamp % unit
        fraction = fraction * (1_000_000_000 // unit) if power <= 9 else fraction // (unit // 1_000_000_000)
    if seconds > <uint64_t> SECONDS_MAX or interface.offset_s > SECONDS_MAX or interface.offset_s < -SECONDS_MAX:
        return -1
    seconds += <uint64_t> interface.offset_s
    if <int64_t> seconds < 0 or <int64_t> seconds > SECONDS_MAX:
        return -1
    return <int64_t> (seconds * 1_000_000_000 + fraction)
