# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What sFlow and NetFlow decoding share: datagrams in, rows out, names and sequence numbers kept between batches.

A subclass gives `datagram()`, which reads `start[:size_bytes]` and writes rows; `decode(frames)` here walks a FRAMES
batch without the GIL and hands the rows over as Arrow:

    out = SflowDecoder().decode(frames)
    flows = [pyarrow.record_batch(batch) for batch in out.flows]

All state is keyed by who speaks (the sFlow agent, the NetFlow sender) and is bounded: a Table forgets its less recently
used half when it is full. Nothing here knows Kafka, files or the time of day.
"""
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strcmp, strlen

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.columns cimport Column, Names, Rows, hash_bytes
from framecodec.records cimport (
    REJECT_DETAIL, REJECT_OFFSET, REJECT_REASON, REJECT_SIZE_BYTES, REJECT_SOURCE, REJECT_TIME, SAMPLE_ENTITY, SAMPLE_KIND,
    SAMPLE_METRIC, SAMPLE_QUALITY, SAMPLE_RECEIVED, SAMPLE_SOURCE, SAMPLE_TEXT, SAMPLE_TIME, SAMPLE_UNIT, SAMPLE_VALUE,
)

from framecodec.rack_text cimport utf8_prefix, write_address
from framecodec.state_table cimport Slot, Table, follow, look

from framecodec.records import FLOWS_FIELDS, REJECTS_FIELDS, SAMPLES_FIELDS

cdef extern from *:
    """
    /* Path words of EntityClass, and the word before a sub-index. */
    static const char* const fc_entity_words[] = {
        "if", "vlan", "physical", "logical", "host", "domain", "if", "if", "host/adapter", "vrf", "", "host/gpu"};
    static const char* const fc_entity_sub_words[] = {"", "", "", "", "", "", "lane", "queue", "", "", "", ""};
    """
    const char** ENTITY_WORDS "fc_entity_words"
    const char** ENTITY_SUB_WORDS "fc_entity_sub_words"

cdef extern from "<arpa/inet.h>" nogil:
    int AF_INET, AF_INET6
    int inet_pton(int family, const char* text, void* address)

__all__ = ["CODECS", "KINDS", "REASONS", "Decoded", "RackDecoder"]

cdef enum:
    # A 65,507-byte datagram of the smallest flow samples holds 1,637 rows, one of interface counters 13,000; only a frame
    # that no network carried can hold more.
    ROWS_MAX = 16384
    # Names are forgotten together when there are this many (about 100 MB), which real fleets never reach.
    NAMES_MAX = 1 << 20

REASONS = (
    "truncated", "bad_length", "template_unknown", "bad_template", "record_size_0", "reserved_set", "unknown_version",
    "trailing_bytes", "rows_limit",
)
KINDS = ("gauge", "counter", "state", "text")
CODECS = ("sflow", "netflow5", "netflow9", "ipfix")
SHARED_METRICS = (
    "up", "drops", "sample_gaps", "sequence_gaps", "sequence_resets", "datagrams_received", "datagrams_lost", "flows_lost",
    "flow_in_bytes", "flow_in_packets", "flow_out_bytes", "flow_out_packets", "discarded_packets", "flow_dropped_packets",
    "discard_drops",
)
SHARED_UNITS = ("bytes", "packets", "datagrams", "flows", "samples")

SNAPSHOT_MAGIC = b"orbrack1"


cdef class Decoded:
    """What one call gave: lists of `columns.Batch`, empty where there is nothing; each batch can be taken once."""


cdef class RackDecoder:
    """Base of the rack decoders. `derive=False` leaves the window-only contributions out."""

    def __cinit__(self, *, bint derive=True, **others):
        kinds, codecs, reasons = Names(), Names(), Names()
        self.entities, self.exporters, self.texts, self.metrics, self.units = Names(), Names(), Names(), Names(), Names()
        for names, words in (
            (kinds, KINDS), (codecs, CODECS), (reasons, REASONS), (self.metrics, SHARED_METRICS), (self.units, SHARED_UNITS),
        ):
            for word in words:
                (<Names> names).add(word)
        shared = {
            "entity": self.entities, "metric": self.metrics, "text": self.texts, "kind": kinds, "unit": self.units,
            "source": self.exporters, "exporter": self.exporters, "codec": codecs, "reason": reasons,
        }
        self.samples = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS], clears_late=True, has_masks=True)
        self.derived = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS], clears_late=True, has_masks=True)
        self.flows = Rows([(*field, shared.get(field[0])) for field in FLOWS_FIELDS], clears_late=True, has_masks=True)
        self.rejects = Rows([(*field, shared.get(field[0])) for field in REJECTS_FIELDS])
        self.entity_ids = Table(NAMES_MAX)
        self.sequences = Table()
        self.derive = derive
        self.exporter = -1

    def decode(self, frames) -> Decoded:
        """Decodes a FRAMES batch of datagrams, one a row.

        Anything wrong with a datagram becomes a row of `rejects` (reasons: `REASONS`); `offset` there counts from the
        start of the datagram, or of the file where `frames` has a sixth column `offset` (int64: where in the file the
        datagram begins). TypeError when `frames` is not a record batch of `streams.model.FRAMES`.
        """
        capsules = frames.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsules[0], "arrow_schema")
        cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsules[1], "arrow_array")
        check_frames(schema)
        if self.entities.count > NAMES_MAX or self.exporters.count > NAMES_MAX or self.texts.count > NAMES_MAX:
            # No row is open between batches, so no id is in use.
            self.entities.clear()
            self.exporters.clear()
            self.texts.clear()
            self.entity_ids.clear()
            self.exporter = -1
        with nogil:
            self.make_room()
            self.walk(array)
        return self.hand_over()

    def finish(self) -> Decoded:
        """What the end of the input decides; nothing for a codec without held input."""
        return self.hand_over()

    def counters(self) -> dict[str, int]:
        """Totals since the start that no row shows: records and samples of unknown type, state lines forgotten."""
        return {
            "unknown_records": self.unknown_records,
            "unknown_samples": self.unknown_samples,
            "forgotten_sequences": self.sequences.forgotten,
        }

    def snapshot(self) -> bytes:
        """All state that outlives a batch, for `restore` of a decoder of this class on a machine of this byte order."""
        return SNAPSHOT_MAGIC + self.sequences.dump()

    def restore(self, data: bytes) -> None:
        """Takes the state of a `snapshot`; ValueError for anything else."""
        if data[:8] != SNAPSHOT_MAGIC:
            raise ValueError("not a snapshot of a rack decoder")
        self.sequences.load(<const uint8_t*> PyBytes_AS_STRING(data) + 8, len(data) - 8)

    # Batches of one link are alike, and growing copies.
    cdef void make_room(self) noexcept nogil:
        if (
            self.samples.reserve(self.usual_rows[0]) < 0 or self.derived.reserve(self.usual_rows[1]) < 0
            or self.flows.reserve(self.usual_rows[2]) < 0
        ):
            self.out_of_memory = True

    cdef void walk(self, ArrowArray* array) noexcept nogil:
        cdef int64_t row, index
        cdef ArrowArray* received = array.children[0]
        cdef ArrowArray* source = array.children[1]
        cdef ArrowArray* frame = array.children[4]
        cdef const uint8_t* received_valid = <const uint8_t*> received.buffers[0]
        cdef const int64_t* received_ns = <const int64_t*> received.buffers[1]
        cdef const int32_t* source_ids = <const int32_t*> source.buffers[1]
        cdef const int32_t* source_ends = <const int32_t*> source.dictionary.buffers[1]
        cdef const uint8_t* source_data = <const uint8_t*> source.dictionary.buffers[2]
        cdef const int32_t* ends = <const int32_t*> frame.buffers[1]
        cdef const uint8_t* data = <const uint8_t*> frame.buffers[2]
        cdef const int64_t* offsets = NULL
        cdef int32_t source_id, last_source = -1
        if array.n_children > 5:
            offsets = <const int64_t*> array.children[5].buffers[1] + array.children[5].offset
        for row in range(array.length):
            index = row + array.offset
            self.has_received = received_valid == NULL or (
                received_valid[(index + received.offset) >> 3] >> ((index + received.offset) & 7)
            ) & 1
            self.received_ns = received_ns[index + received.offset] if self.has_received else 0
            self.time_ns, self.time_quality = self.received_ns, 0
            source_id = source_ids[index + source.offset] + <int32_t> source.dictionary.offset
            if source_id != last_source:
                self.source_text = source_data + source_ends[source_id]
                self.source_size = source_ends[source_id + 1] - source_ends[source_id]
                last_source = source_id
                self.source_changed = True
            self.start = data + ends[index + frame.offset]
            self.size_bytes = ends[index + frame.offset + 1] - ends[index + frame.offset]
            self.frame_offset = offsets[index] if offsets != NULL else 0
            self.rows_left = ROWS_MAX
            self.frames += 1
            self.input_bytes += self.size_bytes
            if self.datagram() < 0 and self.out_of_memory:
                return

    cdef Decoded hand_over(self):
        cdef Decoded out = Decoded.__new__(Decoded)
        out.frames, out.input_bytes = self.frames, self.input_bytes
        self.frames = self.input_bytes = 0
        self.usual_rows[0] = usual(self.usual_rows[0], self.samples.length)
        self.usual_rows[1] = usual(self.usual_rows[1], self.derived.length)
        self.usual_rows[2] = usual(self.usual_rows[2], self.flows.length)
        out.samples = [self.samples.flush()] if self.samples.length else []
        out.derived = [self.derived.flush()] if self.derived.length else []
        out.flows = [self.flows.flush()] if self.flows.length else []
        out.rejects = [self.rejects.flush()] if self.rejects.length else []
        if self.out_of_memory:
            self.out_of_memory = False
            raise MemoryError
        return out

    cdef int datagram(self) noexcept nogil:
        return 0

    cdef void speak_as_sender(self) noexcept nogil:
        cdef char text[64]
        cdef uint8_t address[16]
        memset(address, 0, 16)
        if self.source_size < 64:
            memcpy(text, self.source_text, self.source_size)
            text[self.source_size] = 0
            if inet_pton(AF_INET, text, address + 12) == 1:
                address[10] = address[11] = 0xFF
            elif inet_pton(AF_INET6, text, address) != 1:
                # Not an address: a name from a configuration or a file. 64 bits of hash tell those apart.
                self.address_high = <uint64_t> 0xFF00000000000000ULL
                self.address_low = hash_bytes(self.source_text, self.source_size)
                self.exporter = self.exporters.intern(self.source_text, self.source_size)
                return
        self.address_high, self.address_low = be64(address), be64(address + 8)
        self.exporter = self.exporters.intern(self.source_text, self.source_size)

    cdef void speak_as_address(self, uint64_t high, uint64_t low) noexcept nogil:
        cdef bint is_new
        cdef Slot* slot
        cdef uint8_t address[16]
        cdef char text[64]
        if high == self.address_high and low == self.address_low and self.exporter >= 0:
            return
        self.address_high, self.address_low = high, low
        slot = look(self.entity_ids, high, low, <uint64_t> ENTITY_EXPORTER << 32, 1, &is_new)
        if slot != NULL and not is_new:
            self.exporter = <int32_t> slot.number
            return
        write_be64(address, high)
        write_be64(address + 8, low)
        write_address(address, text)
        self.exporter = self.exporters.intern(<const uint8_t*> text, strlen(text))
        if slot != NULL:
            slot.number = <uint32_t> self.exporter

    cdef int32_t entity(self, EntityClass kind, uint32_t index, uint32_t sub_index) noexcept nogil:
        cdef bint is_new
        cdef Slot* slot = look(
            self.entity_ids, self.address_high, self.address_low,
            (<uint64_t> kind << 32) | index, <uint64_t> sub_index << 32, &is_new,
        )
        cdef char text[160]
        cdef int64_t size
        if slot == NULL or self.exporter < 0:
            self.out_of_memory = True
            return -1
        if not is_new:
            return <int32_t> slot.number
        size = self.exporters.starts[self.exporter + 1] - self.exporters.starts[self.exporter]
        if size > 64:
            size = utf8_prefix(self.exporters.text + self.exporters.starts[self.exporter], 64)
        memcpy(text, self.exporters.text + self.exporters.starts[self.exporter], size)
        if kind == ENTITY_HOST or kind == ENTITY_GPU:
            snprintf(text + size, 96, b"/%s", ENTITY_WORDS[<int> kind])
        elif kind == ENTITY_EXPORTER:
            text[size] = 0
        elif ENTITY_SUB_WORDS[<int> kind][0] == 0:
            snprintf(text + size, 96, b"/%s/%u", ENTITY_WORDS[<int> kind], index)
        else:
            snprintf(text + size, 96, b"/%s/%u/%s/%u", ENTITY_WORDS[<int> kind], index, ENTITY_SUB_WORDS[<int> kind], sub_index)
        slot.number = <uint32_t> self.entities.intern(<const uint8_t*> text, strlen(text))
        return <int32_t> slot.number

    cdef int sample(self, int32_t entity, int32_t metric, double value, Kind kind, int32_t unit) noexcept nogil:
        if self.rows_left <= 0:
            return -1
        self.rows_left -= 1
        return write_sample(self, self.samples, entity, metric, value, kind, unit, self.time_quality)

    cdef int text_sample(self, int32_t entity, int32_t metric, const uint8_t* text, int64_t size) noexcept nogil:
        cdef int64_t row = self.samples.length
        cdef int32_t name = self.texts.intern(text, size)
        cdef uint64_t* mask
        if self.rows_left <= 0:
            return -1
        if name < 0:
            self.out_of_memory = True
            return -1
        if write_sample(self, self.samples, entity, metric, 0, TEXT, NO_UNIT, self.time_quality) < 0:
            return -1
        mask = &self.samples.masks[row]
        mask[0] = (mask[0] & ~(<uint64_t> 1 << SAMPLE_VALUE)) | put32(self.samples.columns, SAMPLE_TEXT, row, <uint32_t> name)
        self.rows_left -= 1
        return 0

    cdef int contribute(self, int32_t entity, int32_t metric, double value, int32_t unit, uint16_t quality) noexcept nogil:
        if not self.derive:
            return 0
        return write_sample(self, self.derived, entity, metric, value, GAUGE, unit, self.time_quality | quality)

    cdef int reject(self, Reason reason, int64_t offset, int64_t size, const char* detail) noexcept nogil:
        cdef int64_t row = self.rejects.length
        if self.rejects.reserve(1) < 0 or self.rejects.put_bytes(REJECT_DETAIL, <const uint8_t*> detail, strlen(detail)) < 0:
            self.out_of_memory = True
            return -1
        if self.has_received:
            put64(self.rejects.columns, REJECT_TIME, row, <uint64_t> self.received_ns)
            self.rejects.columns[REJECT_TIME].valid[row] = 1
        (<int32_t*> self.rejects.columns[REJECT_SOURCE].values)[row] = self.exporter
        (<int32_t*> self.rejects.columns[REJECT_REASON].values)[row] = <int32_t> reason
        (<int64_t*> self.rejects.columns[REJECT_OFFSET].values)[row] = self.frame_offset + offset
        (<int64_t*> self.rejects.columns[REJECT_SIZE_BYTES].values)[row] = size
        self.rejects.next_row()
        return 0

    cdef int count_sequence(
        self, uint32_t protocol, uint32_t domain, uint32_t sequence, uint32_t uptime_ms, uint32_t step, int32_t lost_metric,
        int32_t unit,
    ) noexcept nogil:
        cdef bint is_new
        cdef Slot* slot = look(
            self.sequences, self.address_high, self.address_low, (<uint64_t> 1 << 63) | domain, protocol, &is_new,
        )
        cdef int64_t lost
        cdef int32_t entity
        if slot == NULL:
            self.out_of_memory = True
            return -1
        lost = follow(slot, is_new or slot.extra, sequence, uptime_ms, step)
        slot.extra = 0
        if lost <= 0 and lost != -2 and not self.derive:
            return 0
        entity = self.entity(ENTITY_DOMAIN, domain, 0)
        if entity < 0:
            return -1
        if self.contribute(entity, METRIC_DATAGRAMS_RECEIVED, 1, UNIT_DATAGRAMS, 0) < 0:
            return -1
        if lost > 0:
            if self.sample(entity, METRIC_SEQUENCE_GAPS, <double> lost, GAUGE, unit) < 0:
                return -1
            return self.contribute(entity, lost_metric, <double> lost, unit, 0)
        if lost == -2:
            return self.sample(entity, METRIC_SEQUENCE_RESETS, 1, GAUGE, NO_UNIT)
        return 0

    cdef void advance_sequence(
        self, uint32_t protocol, uint32_t domain, uint32_t sequence, uint32_t step, bint is_known,
    ) noexcept nogil:
        cdef bint is_new
        cdef Slot* slot = look(
            self.sequences, self.address_high, self.address_low, (<uint64_t> 1 << 63) | domain, protocol, &is_new,
        )
        if slot != NULL and slot.number == sequence:
            slot.number += step
            slot.extra = not is_known


cdef inline void write_be64(uint8_t* cell, uint64_t value) noexcept nogil:
    cdef int index
    for index in range(8):
        cell[index] = <uint8_t> (value >> (56 - 8 * index))


# An eighth more than lately: follows a larger batch at once, smaller ones slowly.
cdef inline int64_t usual(int64_t before, int64_t now) noexcept nogil:
    now += now >> 3
    before -= before >> 3
    return now if now > before else before


cdef inline int write_sample(
    RackDecoder self, Rows rows, int32_t entity, int32_t metric, double value, Kind kind, int32_t unit, uint16_t quality,
) noexcept nogil:
    cdef int64_t row = rows.length
    cdef uint64_t present = 0
    cdef Column* columns
    if row == rows.capacity and rows.reserve(1) < 0:
        self.out_of_memory = True
        return -1
    columns = rows.columns
    (<int64_t*> columns[SAMPLE_TIME].values)[row] = self.time_ns
    if self.has_received:
        present |= put64(columns, SAMPLE_RECEIVED, row, <uint64_t> self.received_ns)
    (<int32_t*> columns[SAMPLE_ENTITY].values)[row] = entity
    (<int32_t*> columns[SAMPLE_METRIC].values)[row] = metric
    (<double*> columns[SAMPLE_VALUE].values)[row] = value
    present |= <uint64_t> 1 << SAMPLE_VALUE
    (<int32_t*> columns[SAMPLE_KIND].values)[row] = <int32_t> kind
    if unit >= 0:
        present |= put32(columns, SAMPLE_UNIT, row, <uint32_t> unit)
    (<int32_t*> columns[SAMPLE_SOURCE].values)[row] = self.exporter
    (<uint16_t*> columns[SAMPLE_QUALITY].values)[row] = quality
    rows.masks[row] = present
    rows.length = row + 1
    return 0


cdef check_frames(ArrowSchema* schema):
    cdef const char** formats = [b"l", b"i", b"i", b"i", b"z", b"l"]
    cdef int index
    if schema.n_children not in (5, 6):
        raise TypeError(f"expected a batch of FRAMES with 5 columns, got {schema.n_children}")
    for index in range(schema.n_children):
        if strcmp(schema.children[index].format, formats[index]) != 0:
            found = (<bytes> schema.children[index].format).decode()
            raise TypeError(f"expected a batch of FRAMES, got Arrow format {found!r} in column {index}")
    if schema.children[1].dictionary == NULL or strcmp(schema.children[1].dictionary.format, b"u") != 0:
        raise TypeError("expected a batch of FRAMES, got a source column that is no dictionary of strings")
