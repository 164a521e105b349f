# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The rows of packets: one a packet, written column by column, because there are millions of them.

Columns that are mostly the same (no spacecraft id, no receive time, nothing lost, one source) get memory when the first row
differs; until then they leave as zeros or nulls that nobody has touched. `export` gives a framecodec.arrow_out.Batch.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memcpy, memset

cimport cython

from framecodec.arrow cimport ArrowArray
from framecodec.arrow_out cimport Batch, Block, Layout, append_child, new_array, new_block
from framecodec.blocks cimport drop_block, resized, shared_zeros, zeroed_block
from framecodec.columns cimport Names
from framecodec.found_packets cimport Packet, apid_of, count_of, flags_of
from framecodec.timecodes cimport NO_TIME
from framecodec.tree_out cimport Labels, bitmap

cdef enum:
    FIRST_ROWS = 256
    DATA_BYTES_MAX = 0x7FFFFFFF

# (name, Arrow format, bytes, nullable), in the order of the column numbers.
FIELDS = (
    ("offset", "l", 8, False), ("scid", "i", 4, True), ("vcid", "i", 4, True), ("apid", "S", 2, False),
    ("packet_type", "C", 1, False), ("sequence_flags", "C", 1, False), ("sequence_count", "S", 2, False),
    ("size_bytes", "i", 4, False), ("time", "tsn:UTC", 8, True), ("received", "tsn:UTC", 8, True),
    ("source", "name", 4, False), ("lost_before", "i", 4, False), ("container", "i", 4, True),
)


@cython.final
cdef class PacketTable:
    """Packets whose `source` is an id of `sources`; with `payload`, their bytes too."""

    def __cinit__(self, Names sources, bint payload=False):
        self.sources, self.has_payload, self.slices = sources, payload, 1
        self.layout = Layout(
            [(name, form, nullable) for name, form, _, nullable in FIELDS] + ([("payload", "z", False)] if payload else [])
        )
        for number, (_, _, size, nullable) in enumerate(FIELDS):
            self.columns[number].item_bytes, self.columns[number].is_nullable = size, nullable

    def __dealloc__(self):
        self.clear()

    def __len__(self):
        return self.length

    cdef void clear(self) noexcept nogil:
        cdef int number
        for number in range(PACKET_COLUMNS):
            drop_block(self.columns[number].values)
            drop_block(self.columns[number].valid)
            self.columns[number].values = self.columns[number].valid = NULL
            self.columns[number].present = 0
        drop_block(self.ends)
        drop_block(self.data)
        self.ends, self.data = NULL, NULL
        self.length = self.capacity = self.data_used = self.data_capacity = 0

    # Memory for a column that was all zeros, or all null.
    cdef int open_column(self, int number) noexcept nogil:
        cdef PacketColumn* column = &self.columns[number]
        if column.values == NULL:
            column.values = <uint8_t*> zeroed_block(self.capacity * column.item_bytes)
            if column.is_nullable:
                column.valid = <uint8_t*> zeroed_block(self.capacity)
        return -1 if column.values == NULL or (column.is_nullable and column.valid == NULL) else 0

    cdef int room(self, int64_t rows) noexcept nogil:
        cdef int64_t capacity = self.capacity if self.capacity else max(FIRST_ROWS, rows * self.slices)
        cdef int number
        cdef PacketColumn* column
        cdef void* moved
        if self.length + rows <= self.capacity:
            return 0
        while capacity < self.length + rows:
            capacity *= 2
        for number in range(PACKET_COLUMNS):
            column = &self.columns[number]
            # These are written for every row.
            if column.values == NULL and number not in (
                PACKET_OFFSET, PACKET_APID, PACKET_TYPE, PACKET_SEQUENCE_FLAGS, PACKET_SEQUENCE_COUNT, PACKET_SIZE_BYTES,
            ):
                continue
            moved = resized(column.values, capacity * column.item_bytes)
            if moved == NULL:
                return -1
            column.values = <uint8_t*> moved
            if column.is_nullable:
                moved = resized(column.valid, capacity)
                if moved == NULL:
                    return -1
                column.valid = <uint8_t*> moved
                memset(column.valid + self.capacity, 0, capacity - self.capacity)
            if column.is_nullable or number in (PACKET_SOURCE, PACKET_LOST_BEFORE):
                memset(column.values + self.capacity * column.item_bytes, 0, (capacity - self.capacity) * column.item_bytes)
        if self.has_payload:
            moved = resized(self.ends, (capacity + 1) * sizeof(int32_t))
            if moved == NULL:
                return -1
            self.ends = <int32_t*> moved
            if self.capacity == 0:
                self.ends[0] = 0
        self.capacity = capacity
        return 0

    cdef int append(
        self, const Packet* packets, int64_t count, const int64_t* numbers, const int64_t* times, const int32_t* containers,
    ) noexcept nogil:
        cdef int64_t index, begin = self.length, row = self.length
        cdef const Packet* packet
        cdef bint has_extras = False
        cdef int64_t* offset
        cdef int32_t* size
        cdef uint16_t* apid
        cdef uint16_t* sequence
        cdef uint8_t* kind
        cdef uint8_t* flags
        if self.room(count) < 0:
            return -1
        offset, size = <int64_t*> self.columns[PACKET_OFFSET].values, <int32_t*> self.columns[PACKET_SIZE_BYTES].values
        apid, sequence = <uint16_t*> self.columns[PACKET_APID].values, <uint16_t*> self.columns[PACKET_SEQUENCE_COUNT].values
        kind, flags = self.columns[PACKET_TYPE].values, self.columns[PACKET_SEQUENCE_FLAGS].values
        for index in range(count):                   # one that is left out is written, too, and then overwritten
            packet = &packets[index]
            offset[row] = packet.offset
            size[row] = <int32_t> packet.input_bytes
            apid[row] = <uint16_t> apid_of(packet.head)
            kind[row] = (packet.head >> 28) & 1
            flags[row] = <uint8_t> flags_of(packet.head)
            sequence[row] = <uint16_t> count_of(packet.head)
            has_extras |= packet.scid >= 0 or packet.received_ns >= 0 or packet.lost != 0 or packet.source != 0
            row += numbers[index] >= 0
        self.length = row
        row = begin
        if has_extras:
            for index in range(count):
                if numbers[index] >= 0:
                    if self.extra(row, &packets[index]) < 0:
                        return -1
                    row += 1
        if times != NULL and self.put_times(begin, numbers, times, count) < 0:
            return -1
        if containers != NULL and self.put_containers(begin, numbers, containers, count) < 0:
            return -1
        return self.put_payloads(begin, packets, count, numbers) if self.has_payload else 0

    cdef int put_times(self, int64_t row, const int64_t* numbers, const int64_t* times, int64_t count) noexcept nogil:
        cdef PacketColumn* column = &self.columns[PACKET_TIME]
        cdef int64_t index
        if self.open_column(PACKET_TIME) < 0:
            return -1
        for index in range(count):
            if numbers[index] >= 0:
                (<int64_t*> column.values)[row] = times[index] if times[index] != NO_TIME else 0
                column.valid[row] = times[index] != NO_TIME
                column.present += column.valid[row]
                row += 1
        return 0

    cdef int put_containers(self, int64_t row, const int64_t* numbers, const int32_t* containers, int64_t count) noexcept nogil:
        cdef PacketColumn* column = &self.columns[PACKET_CONTAINER]
        cdef int64_t index
        if self.open_column(PACKET_CONTAINER) < 0:
            return -1
        for index in range(count):
            if numbers[index] >= 0:
                (<int32_t*> column.values)[row] = max(containers[index], 0)
                column.valid[row] = containers[index] >= 0
                column.present += column.valid[row]
                row += 1
        return 0

    cdef int put_payloads(self, int64_t row, const Packet* packets, int64_t count, const int64_t* numbers) noexcept nogil:
        cdef int64_t index, used
        cdef void* moved
        for index in range(count):
            if numbers[index] < 0:
                continue
            used = self.data_used + packets[index].size
            if used > DATA_BYTES_MAX:
                return -1
            if used > self.data_capacity:
                moved = resized(self.data, 2 * used)
                if moved == NULL:
                    return -1
                self.data, self.data_capacity = <uint8_t*> moved, 2 * used
            memcpy(self.data + self.data_used, packets[index].data, packets[index].size)
            self.data_used = used
            row += 1
            self.ends[row] = <int32_t> used
        return 0

    # What packets of a file usually do not have.
    cdef int extra(self, int64_t row, const Packet* packet) noexcept nogil:
        if packet.scid >= 0 and self.put_number(PACKET_SCID, row, packet.scid) < 0:
            return -1
        if packet.vcid >= 0 and self.put_number(PACKET_VCID, row, packet.vcid) < 0:
            return -1
        if packet.lost and self.put_number(PACKET_LOST_BEFORE, row, packet.lost) < 0:
            return -1
        if packet.source and self.put_number(PACKET_SOURCE, row, packet.source) < 0:
            return -1
        if packet.received_ns >= 0:
            if self.open_column(PACKET_RECEIVED) < 0:
                return -1
            (<int64_t*> self.columns[PACKET_RECEIVED].values)[row] = packet.received_ns
            self.columns[PACKET_RECEIVED].valid[row] = 1
            self.columns[PACKET_RECEIVED].present += 1
        return 0

    cdef int put_number(self, int number, int64_t row, int32_t value) noexcept nogil:
        cdef PacketColumn* column = &self.columns[number]
        if self.open_column(number) < 0:
            return -1
        (<int32_t*> column.values)[row] = value
        if column.is_nullable:
            column.valid[row] = 1
            column.present += 1
        return 0

    def export(self) -> Batch:
        """All rows as a batch; afterwards there are none here."""
        cdef Batch batch = Batch.__new__(Batch)
        cdef Block* block = new_block(PACKET_COLUMNS + 3, 3 * PACKET_COLUMNS + 8)
        cdef PacketColumn* column
        cdef ArrowArray* array
        cdef int number
        block.drop = drop_block
        batch.array = new_array(block, self.length, 1, PACKET_COLUMNS + self.has_payload)[0]
        batch.length, batch.layout = self.length, self.layout
        self.slices = 1
        if self.room(1) < 0:
            raise MemoryError
        for number in range(PACKET_COLUMNS):
            column = &self.columns[number]
            array = new_array(block, self.length, 2, 0)
            append_child(&batch.array, array)
            if column.is_nullable and column.values == NULL:
                array.buffers[0], array.null_count = shared_zeros((self.length + 7) // 8), self.length
            elif column.is_nullable and column.present < self.length:
                array.buffers[0] = bitmap(column.valid, self.length, &array.null_count)
            array.buffers[1] = column.values if column.values != NULL else shared_zeros(self.length * column.item_bytes)
            column.values = NULL
            if number == PACKET_SOURCE:              # the whole dictionary: there are few senders
                (<Labels> Labels([self.sources.name(index) for index in range(self.sources.count)])).append_to(block, array)
        if self.has_payload:
            array = new_array(block, self.length, 3, 0)
            append_child(&batch.array, array)
            array.buffers[1], self.ends = self.ends, NULL
            array.buffers[2] = self.data if self.data != NULL else zeroed_block(8)
            self.data = NULL
        self.clear()
        return batch
