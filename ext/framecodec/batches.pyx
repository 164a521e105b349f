# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Frames into batches of FRAMES, one growing batch a partition.

A collector puts frames in (the UDP receiver from C, others by `add` and `PacketCutter`) and takes sealed batches out:

    batches = Batches("racks", "sflow", partitions=8)
    batches.add(frames, "10.0.0.1", received_ns, now_ns)
    for partition, memory_bytes, batch in batches.seal(now_ns):
        send(topic, partition, pyarrow.record_batch(batch))

A batch is sealed when it reached `bytes_max` or `rows_max`, or when its first row is `age_max_ns` old. Which partition a
frame goes to, framecodec.partitions says. Time is handed in. One thread at a time.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from framecodec.columns cimport Column, Names, Rows
from framecodec.partitions cimport KEY_LINK, Key, KeyKind, key_of, partition_of_key
from framecodec.records cimport FRAME_CODEC, FRAME_FRAME, FRAME_LINK, FRAME_RECEIVED_NS, FRAME_SOURCE

from framecodec.partitions import KEY_KINDS, address_bytes, partition_of, partitions_of, source_key
from framecodec.records import FRAMES_FIELDS

__all__ = [
    "AGE_MAX_NS", "BYTES_MAX", "KEY_KINDS", "ROWS_MAX", "Batches", "PacketCutter", "address_bytes", "partition_of",
    "partitions_of", "source_key",
]

BYTES_MAX = 256 * 1024
ROWS_MAX = 16_384
AGE_MAX_NS = 50_000_000

cdef enum:
    # received_ns 8, three dictionary indices 12, frame offset 4: what a row costs in the Kafka value beside its frame.
    ROW_BYTES = 24
    # Two of those are allocated a byte at a time as well: the validity of received_ns.
    ROW_MEMORY_BYTES = 25
    FIRST_BYTES = 1024
    # A batch gets room for one part in so many more than the last one had: the last frame makes full batches differ by its
    # size.
    SPARE_SHARE = 16
    OFFSET_MAX = 0x7FFFFFFF
    # CCSDS 133.0-B-2 4.1.3: the primary header.
    PACKET_HEADER_BYTES = 6
    PACKET_BYTES_MAX = PACKET_HEADER_BYTES + 65536


@cython.final
cdef class Batches:
    """Growing batches of one link, one for each of `partitions`."""

    def __cinit__(
        self, link: str, codec: str, partitions: int, *, bytes_max: int = BYTES_MAX, rows_max: int = ROWS_MAX,
        age_max_ns: int = AGE_MAX_NS,
    ):
        if min(bytes_max, rows_max) < 1 or age_max_ns < 0:
            raise ValueError(f"bytes_max {bytes_max} and rows_max {rows_max} must be at least 1, age_max_ns {age_max_ns} 0")
        self.link_partition = partition_of(link.encode(), partitions)
        self.partitions = partitions
        self.key_kind = KEY_KINDS.get(codec, KEY_LINK)
        self.bytes_max, self.rows_max, self.age_max_ns = bytes_max, rows_max, age_max_ns
        self.open = <OpenBatch*> calloc(self.partitions, sizeof(OpenBatch))
        if self.open == NULL:
            raise MemoryError
        self.sources = Names()
        links, codecs = Names(), Names()
        links.add(link)                 # both get id 0, which is what Rows.reserve writes
        codecs.add(codec)
        dictionaries = {FRAME_SOURCE: self.sources, FRAME_LINK: links, FRAME_CODEC: codecs}
        fields = [(*field, dictionaries.get(index)) for index, field in enumerate(FRAMES_FIELDS)]
        self.rows = [Rows(fields) for _ in range(partitions)]
        for index, rows in enumerate(self.rows):
            self.open[index].rows = <void*> rows

    def __dealloc__(self):
        free(self.open)

    cdef int put(
        self, int32_t partition, int64_t received_ns, int32_t source, const uint8_t* frame, size_t size, int64_t now_ns,
    ) noexcept nogil:
        cdef OpenBatch* batch = &self.open[partition]
        if (<Rows> batch.rows).length == 0:
            batch.opened_ns = now_ns
            if make_room(<Rows> batch.rows, batch) < 0:
                return -1
        if append_frame(<Rows> batch.rows, received_ns, source, frame, size) < 0:
            return -1
        self.pending_rows += 1
        if (<Rows> batch.rows).length >= self.rows_max or size_of(<Rows> batch.rows) >= self.bytes_max:
            self.is_full = True
        return 0

    def add(self, frames: list[bytes], source: str, received_ns: int | None, now_ns: int) -> list:
        """Put frames of one sender (an address, or the link's name) in; returns what that filled, as `seal` does.

        Nothing is kept of the arguments. `received_ns` None is unknown.
        """
        cdef int32_t number = self.sources.add(source)
        cdef int64_t stamp = -1 if received_ns is None else received_ns
        cdef bytes address = address_bytes(source) or b""
        cdef KeyKind kind = self.key_kind if address else KEY_LINK
        cdef uint64_t[2] sender = [0, 0]
        cdef Key key
        cdef bytes frame
        cdef int32_t partition
        memcpy(sender, <const char*> address, <size_t> len(address))
        sealed = []
        for frame in frames:
            key = key_of(kind, sender[0], sender[1], <const uint8_t*> <char*> frame, <size_t> len(frame))
            partition = self.link_partition
            if key.size:
                partition = partition_of_key(<const uint8_t*> &key, key.size, self.partitions)
            if self.put(partition, stamp, number, <const uint8_t*> <char*> frame, <size_t> len(frame), now_ns) < 0:
                raise MemoryError
            if self.is_full:
                sealed += self.seal(now_ns)
        return sealed

    def seal(self, int64_t now_ns, bint everything=False) -> list:
        """Take out the batches that are full or old (or all): a list of (partition, memory_bytes, Batch).

        `memory_bytes` is what the batch holds until it is freed; a Batch is taken over by `pyarrow.record_batch(batch)`.
        """
        cdef Rows rows
        cdef int32_t partition
        cdef int64_t size, memory
        sealed = []
        if self.pending_rows == 0:
            return sealed
        for partition in range(self.partitions):
            rows = <Rows> self.open[partition].rows
            if rows.length == 0:
                continue
            size = size_of(rows)
            if (
                everything or size >= self.bytes_max or rows.length >= self.rows_max
                or now_ns - self.open[partition].opened_ns >= self.age_max_ns
            ):
                self.open[partition].expected_bytes = column_of(rows, FRAME_FRAME).data_used
                self.open[partition].expected_rows = rows.length
                self.pending_rows -= rows.length
                memory = column_of(rows, FRAME_FRAME).data_capacity + rows.capacity * ROW_MEMORY_BYTES
                sealed.append((partition, memory, rows.flush()))
        self.is_full = False
        return sealed

    def next_seal_ns(self) -> int | None:
        """When the oldest row will be `age_max_ns` old; None when there is no row."""
        cdef int32_t partition
        due = None
        if self.pending_rows == 0:
            return None
        for partition in range(self.partitions):
            due_ns = self.open[partition].opened_ns + self.age_max_ns
            if (<Rows> self.open[partition].rows).length and (due is None or due_ns < due):
                due = due_ns
        return due

    def forget_sources(self) -> None:
        """Start the numbering of senders anew, so that millions of them cannot fill the memory. Needs all rows sealed."""
        if self.pending_rows:
            raise ValueError(f"{self.pending_rows} rows still refer to their senders; seal(everything=True) first")
        self.sources.clear()


@cython.final
cdef class PacketCutter:
    """A byte stream of CCSDS space packets, cut into one frame a packet (CCSDS 133.0-B-2 4.1.3.5: length field + 7 octets).

    The cut is a convenience for those who read the frames; no byte is ever dropped here. Where a packet should begin and
    the version number (4.1.3.2) is not 000, all that was received goes on as one frame as it is, and cutting begins anew
    with the next bytes: to find the packets in there is the decoder's job, for which the frames of a link, one after
    another, are the stream. `finish` gives up the remainder of a connection that ended inside a packet the same way.
    """

    cdef uint8_t* kept              # the begin of a packet whose end has not come, PACKET_BYTES_MAX bytes at most
    cdef size_t kept_bytes
    cdef Batches batches
    cdef int32_t source
    cdef readonly uint64_t packets      # frames that are whole packets
    cdef readonly uint64_t frames       # all frames
    cdef readonly uint64_t uncut_bytes  # in the frames that are none

    def __cinit__(self, batches: Batches, source: str):
        self.kept = <uint8_t*> malloc(PACKET_BYTES_MAX)
        if self.kept == NULL:
            raise MemoryError
        self.batches = batches
        self.source = batches.sources.add(source)

    def __dealloc__(self):
        free(self.kept)

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait for the rest of their packet."""
        return self.kept_bytes

    def feed(self, data, int64_t received_ns, int64_t now_ns) -> list:
        """Cut `data` (any buffer); returns the batches that this filled, as `Batches.seal` does."""
        cdef Py_buffer view
        cdef const uint8_t* at
        cdef size_t left, wanted, taken
        sealed = []
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            at = <const uint8_t*> view.buf
            left = <size_t> view.len
            while left:
                if self.kept_bytes == 0:                # whole packets go on without being copied here
                    wanted = packet_bytes(at, left)
                    if wanted == 0 and not (at[0] >> 5):
                        wanted = left + 1               # not even the length field: keep
                    elif wanted == 0:
                        wanted = left
                        self.uncut_bytes += left
                    else:
                        self.packets += wanted <= left
                    if wanted <= left:
                        self.pass_on(at, wanted, received_ns, now_ns, sealed)
                        at += wanted
                        left -= wanted
                        continue
                # Complete the header first, then the packet.
                wanted = packet_bytes(self.kept, self.kept_bytes)
                taken = min(left, (wanted if wanted else <size_t> PACKET_HEADER_BYTES) - self.kept_bytes)
                memcpy(self.kept + self.kept_bytes, at, taken)
                self.kept_bytes += taken
                at += taken
                left -= taken
                if self.kept_bytes == packet_bytes(self.kept, self.kept_bytes):
                    self.packets += 1
                    self.pass_on_kept(received_ns, now_ns, sealed)
        finally:
            PyBuffer_Release(&view)
        return sealed

    def finish(self, int64_t received_ns, int64_t now_ns) -> list:
        """The connection ended: what is kept goes on as it is."""
        sealed = []
        self.uncut_bytes += self.kept_bytes
        if self.kept_bytes:
            self.pass_on_kept(received_ns, now_ns, sealed)
        return sealed

    cdef pass_on_kept(self, int64_t received_ns, int64_t now_ns, list sealed):
        cdef size_t size = self.kept_bytes
        self.kept_bytes = 0
        self.pass_on(self.kept, size, received_ns, now_ns, sealed)

    cdef pass_on(self, const uint8_t* frame, size_t size, int64_t received_ns, int64_t now_ns, list sealed):
        if self.batches.put(self.batches.link_partition, received_ns, self.source, frame, size, now_ns) < 0:
            raise MemoryError
        self.frames += 1
        if self.batches.is_full:
            sealed += self.batches.seal(now_ns)


cdef extern from *:
    """
    /* The next frame of this partition will be written here, some frames of others later: a batch is larger than what the
       nearest cache holds of it by then. Reading ahead beyond the end of memory has no effect. */
    static inline void fetch_for_writing(const void* at, size_t size) {
        for (size_t ahead = 0; ahead < size; ahead += 64) __builtin_prefetch((const char*) at + ahead, 1);
    }
    """
    void fetch_for_writing(const void* at, size_t size) noexcept nogil


cdef inline Column* column_of(Rows rows, int number) noexcept nogil:
    return &rows.columns[number]


cdef inline int64_t size_of(Rows rows) noexcept nogil:
    return column_of(rows, FRAME_FRAME).data_used + ROW_BYTES * rows.length


# Room for about as much as the last batch held: no growing at full rate, and a quiet partition holds little. 0 or -1 (memory).
cdef int make_room(Rows rows, OpenBatch* batch) noexcept nogil:
    cdef Column* frames = column_of(rows, FRAME_FRAME)
    cdef int64_t wanted = batch.expected_bytes + batch.expected_bytes // SPARE_SHARE + FIRST_BYTES
    if frames.data == NULL:
        wanted = min(wanted, <int64_t> OFFSET_MAX)
        frames.data = <uint8_t*> malloc(wanted)
        if frames.data == NULL:
            return -1
        frames.data_capacity = wanted
    return rows.reserve(batch.expected_rows + batch.expected_rows // SPARE_SHARE + 1)


# What Rows.put_bytes and Rows.next_row do, for these columns. 0 or -1 (memory).
cdef int append_frame(Rows rows, int64_t received_ns, int32_t source, const uint8_t* frame, size_t size) noexcept nogil:
    cdef Column* frames = column_of(rows, FRAME_FRAME)
    cdef Column* received = column_of(rows, FRAME_RECEIVED_NS)
    cdef int64_t row = rows.length
    if row == rows.capacity and rows.reserve(1) < 0:
        return -1
    if <int64_t> size <= frames.data_capacity - frames.data_used:
        memcpy(frames.data + frames.data_used, frame, size)
        frames.data_used += <int64_t> size
    elif rows.put_bytes(FRAME_FRAME, frame, size) < 0:
        return -1
    fetch_for_writing(frames.data + frames.data_used, size)
    frames.ends[row + 1] = <int32_t> frames.data_used
    (<int32_t*> column_of(rows, FRAME_SOURCE).values)[row] = source
    if received_ns >= 0:
        (<int64_t*> received.values)[row] = received_ns
        received.valid[row] = 1
    rows.length = row + 1
    return 0


cdef inline size_t packet_bytes(const uint8_t* header, size_t size) noexcept nogil:
    """The size of the packet that begins here; 0 when its header is not complete or its version number is not 000."""
    if size < PACKET_HEADER_BYTES or header[0] >> 5:
        return 0
    return PACKET_HEADER_BYTES + 1 + ((<size_t> header[4] << 8) | header[5])
