# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Counter samples of sFlow into samples, one for each counter, as the table sflow_counters.py lays them out.

The third storey of the sFlow decoder. Lists whose number of entries the record tells (lanes of optics, priorities of flow
control, host adapters) are read by functions of their own.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from framecodec.rack cimport (
    BAD_LENGTH, COUNTER, ENTITY_ADAPTER, ENTITY_GPU, ENTITY_HOST, ENTITY_INTERFACE, ENTITY_LANE, ENTITY_QUEUE, ENTITY_VLAN,
    Kind, METRIC_UP, NO_UNIT, STATE, be16, be32, be64,
)
from framecodec.rack_text cimport utf8_prefix, write_mac
from framecodec.sflow_flows cimport SflowFlows
from framecodec.sflow_samples cimport (
    COUNTER_SAMPLE, Records, Sample, close_records, entity_class, follow_source, next_record, open_records,
)

from framecodec.sflow_counters import LANE, RECORDS

__all__ = ["SflowCounters"]

cdef enum:
    RECORDS_MAX = 48
    LANE_BYTES = 40
    TEXT_MAX_BYTES = 255

FIELD_TYPES = ("u32", "u64", "f32", "i32", "u8", "percent", "skip32", "mac", "hex8", "uuid", "string")
PLACES = ("interface", "source", "vlan", "host", "queue", "gpu")
KIND_NUMBERS = {"gauge": 0, "counter": 1, "state": 2, "text": 3}


cdef class SflowCounters(SflowFlows):
    """Base of the sFlow decoder: counters."""

    def __cinit__(self, **others):
        cdef Record* record
        self.records = <Record*> calloc(RECORDS_MAX, sizeof(Record))
        if self.records == NULL:
            raise MemoryError
        assert len(RECORDS) <= RECORDS_MAX
        for (enterprise, form), (place, fields) in RECORDS.items():
            assert len(fields) <= FIELDS_MAX
            record = &self.records[self.record_count]
            record.tag = <uint32_t> (enterprise << 12 | form)
            record.place = <Place> <int> PLACES.index(place)
            record.count = len(fields)
            for index, field in enumerate(fields):
                record.fields[index] = self.compile(field)
            self.record_count += 1
        self.lane_fields = len(LANE)
        for index, field in enumerate(LANE):
            self.lane[index] = self.compile(field)
        self.metric_mac = self.metrics.add("mac_address")
        self.unit_frames = self.units.add("frames")
        for direction, name in enumerate(("pfc_requests", "pfc_indications")):
            for priority in range(8):
                self.metric_pfc[direction][priority] = self.metrics.add(f"{name}_{priority}")
            self.metric_pfc[direction][8] = self.metrics.add(name)

    def __dealloc__(self):
        free(self.records)

    cdef Field compile(self, field) except *:
        cdef Field compiled
        metric, form, kind, unit = field
        compiled.form = <FieldType> <int> FIELD_TYPES.index(form)
        compiled.kind = <Kind> <int> KIND_NUMBERS[kind]
        compiled.metric = self.metrics.add(metric)
        compiled.unit = NO_UNIT if unit is None else self.units.add(unit)
        return compiled

    cdef int read_counters(self, const Sample* sample) noexcept nogil:
        cdef Records records
        if follow_source(self, sample, COUNTER_SAMPLE) < 0:
            return -1
        open_records(sample, &records)
        while next_record(self.start, sample, &records):
            if self.read_counter_record(sample, records.tag, self.start + records.body, records.size) < 0:
                return -1
        return close_records(self, sample, &records)

    cdef int read_counter_record(self, const Sample* sample, uint32_t tag, const uint8_t* p, int64_t size) noexcept nogil:
        cdef const Record* record = NULL
        cdef int index
        cdef int32_t entity
        for index in range(self.record_count):
            if self.records[index].tag == tag:
                record = &self.records[index]
                break
        if record == NULL:
            if tag == 2001:
                return self.read_adapters(p, size)
            if tag == 11:
                return self.read_pfc(sample, p, size)
            if not is_skipped_counter_record(tag):
                self.unknown_records += 1
            return 0
        if size < 4:
            return self.reject(BAD_LENGTH, p - self.start - 8, 0, b"record without a field")
        if record.place == PLACE_INTERFACE:
            entity = self.entity(ENTITY_INTERFACE, be32(p), 0)
        elif record.place == PLACE_VLAN:
            entity = self.entity(ENTITY_VLAN, be32(p), 0)
        elif record.place == PLACE_HOST:
            entity = self.entity(ENTITY_HOST, 0, 0)
        elif record.place == PLACE_QUEUE:
            entity = self.entity(ENTITY_QUEUE, sample.source_index, be32(p))
        elif record.place == PLACE_GPU:
            entity = self.entity(ENTITY_GPU, 0, 0)
        else:
            entity = self.entity(entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        if self.read_fields(entity, record.fields, record.count, p, size) < 0:
            return -1
        if tag == 1 and size >= 88 and be32(p + 20) != 0xFFFFFFFFU:
            # ifStatus: bit 0 ifAdminStatus, bit 1 ifOperStatus.
            if self.sample(entity, METRIC_UP, (be32(p + 20) >> 1) & 1, STATE, NO_UNIT) < 0:
                return -1
        if tag == 10:
            return self.read_lanes(sample, p, size)
        return 0

    cdef int read_fields(
        self, int32_t entity, const Field* fields, int count, const uint8_t* p, int64_t size,
    ) noexcept nogil:
        cdef int index
        cdef int64_t at = 0
        cdef uint32_t word
        cdef uint64_t wide
        cdef double value
        cdef float single
        cdef const Field* field
        for index in range(count):
            field = &fields[index]
            if field.form == U64:
                if size - at < 8:
                    return 0
                wide = be64(p + at)
                at += 8
                if wide == <uint64_t> 0xFFFFFFFFFFFFFFFFULL:
                    continue
                value = <double> wide
            elif field.form == U8:
                if size - at < 1:
                    return 0
                value = p[at]
                at += 1
            elif field.form <= SKIP32:
                if size - at < 4:
                    return 0
                word = be32(p + at)
                at += 4
                if field.form == SKIP32 or word == 0xFFFFFFFFU:
                    continue
                if field.form == U32:
                    value = word
                elif field.form == I32:
                    value = <int32_t> word
                elif field.form == PERCENT:
                    value = word / 100.0
                else:
                    # -1.0 is "unknown" of the load averages (host structures, the only ones with floats).
                    memcpy(&single, &word, 4)
                    value = single
                    if value == -1.0:
                        continue
            else:
                at = self.read_text(entity, field, p, size, at)
                if at < 0:
                    return 0 if at == -2 else -1
                continue
            if self.sample(entity, field.metric, value, field.kind, field.unit) < 0:
                return -1
        return 0

    cdef int64_t read_text(
        self, int32_t entity, const Field* field, const uint8_t* p, int64_t size, int64_t at,
    ) noexcept nogil:
        cdef char text[64]
        cdef uint32_t length
        cdef int64_t kept
        if field.form == STRING:
            if size - at < 4:
                return -2
            length = be32(p + at)
            at += 4
            if length > size - at:
                if self.reject(BAD_LENGTH, p - self.start - 8, 0, b"text is longer than its record") < 0:
                    return -1
                return -2
            kept = length if length <= TEXT_MAX_BYTES else TEXT_MAX_BYTES
            if kept and self.text_sample(entity, field.metric, p + at, utf8_prefix(p + at, kept)) < 0:
                return -1
            at += (<int64_t> length + 3) & ~<int64_t> 3
            return at if at <= size else size
        length = 16 if field.form == UUID else 8
        if size - at < length:
            return -2
        if field.form == MAC:
            write_mac(p + at, text)
        elif field.form == HEX8:
            snprintf(text, sizeof(text), b"%016llx", <unsigned long long> be64(p + at))
        else:
            snprintf(
                text, sizeof(text), b"%08x-%04x-%04x-%04x-%04x%08x", be32(p + at), <unsigned int> be16(p + at + 4),
                <unsigned int> be16(p + at + 6), <unsigned int> be16(p + at + 8), <unsigned int> be16(p + at + 10),
                be32(p + at + 12),
            )
        if self.text_sample(entity, field.metric, <const uint8_t*> text, 36 if field.form == UUID else (
            17 if field.form == MAC else 16
        )) < 0:
            return -1
        return at + length

    cdef int read_lanes(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil:
        cdef uint32_t count, index
        cdef int32_t entity
        if size < 20:
            return 0
        count = be32(p + 16)
        if count > (size - 20) // LANE_BYTES:
            if self.reject(BAD_LENGTH, p - self.start - 8, 0, b"fewer lanes than the record says") < 0:
                return -1
            count = <uint32_t> ((size - 20) // LANE_BYTES)
        for index in range(count):
            p += LANE_BYTES if index else 20
            entity = self.entity(ENTITY_LANE, sample.source_index, be32(p))
            if entity < 0 or self.read_fields(entity, self.lane, self.lane_fields, p + 4, LANE_BYTES - 4) < 0:
                return -1
        return 0

    cdef int read_pfc(self, const Sample* sample, const uint8_t* p, int64_t size) noexcept nogil:
        cdef int width = 8 if size == 16 or size == 128 or size == 136 else 4
        cdef int count = 1 if size == 8 or size == 16 else 8
        cdef int64_t at = 0
        cdef int direction, priority
        cdef uint64_t value
        cdef int32_t entity, metric
        if size != 8 and size != 16 and size != 64 and size != 72 and size != 128 and size != 136:
            self.unknown_records += 1
            return 0
        entity = self.entity(entity_class(sample.source_class), sample.source_index, 0)
        if entity < 0:
            return -1
        for direction in range(2):
            if size == 72 or size == 136:
                at += 4
            for priority in range(count):
                value = be64(p + at) if width == 8 else be32(p + at)
                at += width
                if value == (<uint64_t> 0xFFFFFFFFFFFFFFFFULL if width == 8 else <uint64_t> 0xFFFFFFFFU):
                    continue
                metric = self.metric_pfc[direction][priority if count > 1 else 8]
                if self.sample(entity, metric, <double> value, COUNTER, self.unit_frames) < 0:
                    return -1
        return 0

    cdef int read_adapters(self, const uint8_t* p, int64_t size) noexcept nogil:
        cdef uint32_t count, addresses
        cdef int64_t at = 4
        cdef int32_t entity
        cdef char text[64]
        if size < 4:
            return self.reject(BAD_LENGTH, p - self.start - 8, 0, b"record without a field")
        count = be32(p)
        for _ in range(count):
            if size - at < 8:
                return self.reject(BAD_LENGTH, p - self.start - 8, 0, b"fewer adapters than the record says")
            addresses = be32(p + at + 4)
            entity = self.entity(ENTITY_ADAPTER, be32(p + at), 0)
            if entity < 0:
                return -1
            at += 8
            for _ in range(addresses):
                if size - at < 8:
                    return self.reject(BAD_LENGTH, p - self.start - 8, 0, b"fewer addresses than the record says")
                write_mac(p + at, text)
                if self.text_sample(entity, self.metric_mac, <const uint8_t*> text, 17) < 0:
                    return -1
                at += 8
        return 0


# Known records without counters of ours, see the end of sflow_counters.py's docstring.
cdef inline bint is_skipped_counter_record(uint32_t tag) noexcept nogil:
    return tag == 6 or tag == 8 or tag == 9 or tag == 1002 or 2105 <= tag <= 2106 or 2200 <= tag <= 2207 or 3000 <= tag <= 3003
