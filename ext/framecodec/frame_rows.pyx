# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""The rows that a FrameDecoder writes: one a frame, one an event for windows, one a sample of a CLCW, one a reject.

Events and samples (model.SAMPLES) are what METRICS names, with the receive time, as frames have no time of their own; without
one, time 0 and the quality bit. Nothing here knows what a channel has lost: that is framecodec.frame_counts.
"""
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from framecodec.columns cimport Column, Names, Rows
from framecodec.frame_cutter cimport Frame
from framecodec.link_rows cimport add_entities, put_measure, put_reject
from framecodec.records cimport QUALITY_TIME_SUBSTITUTED
from framecodec.transfer cimport Header

from framecodec.records import REJECTS_FIELDS, SAMPLES_FIELDS

__all__ = ["FECF_NAMES", "FRAME_FIELDS", "METRICS", "REASONS", "FrameRows"]

cdef enum:
    OUT_OFFSET
    OUT_SCID
    OUT_VCID
    OUT_FRAME_COUNT
    OUT_LOST_BEFORE
    OUT_FECF
    OUT_CORRECTED
    OUT_RECEIVED
    OUT_SOURCE
    OUT_FRAME

# In the order of the column numbers above.
FRAME_FIELDS = (
    ("offset", "l", False), ("scid", "i", True), ("vcid", "i", True), ("frame_count", "l", True), ("lost_before", "l", False),
    ("fecf", "name", False), ("corrected_symbols", "i", False), ("received", "tsn:UTC", True), ("source", "name", False),
    ("frame", "z", False),                               # only with emit "payload"
)

# In the order of Fecf, Reason and Metric.
FECF_NAMES = ("ok", "bad", "absent")
REASONS = ("garbage", "truncated", "rs_uncorrectable", "bad_fecf", "frame_version", "not_packets", "partial_packet")
METRICS = (
    ("frames_rx", "frames"), ("frame_bytes", "bytes"), ("frames_lost", "frames"), ("corrected_symbols", "symbols"),
    ("fecf_errors", "frames"), ("rs_uncorrectable", "frames"), ("garbage_bytes", "bytes"), ("frames_refused", "frames"),
    ("master_frames_lost", "frames"), ("corrected_header_symbols", "symbols"), ("clcw_no_rf_available", None),
    ("clcw_no_bit_lock", None), ("clcw_lockout", None), ("clcw_wait", None), ("clcw_retransmit", None),
    ("clcw_farm_b_counter", None), ("clcw_report_value", None),
)


cdef class FrameRows:
    """For the frames of `spacecraft`; with `payload`, frame rows have the frame itself."""

    def __cinit__(self, str spacecraft, bint payload):
        self.spacecraft, self.has_payload = spacecraft, payload
        self.open()

    def open(self):
        """Fresh rows and dictionaries; the counts stay."""
        cdef Names metrics = Names(), kinds = Names(), units = Names(), reasons = Names(), checks = Names(), entities = Names()
        self.sources = Names()
        add_entities(entities, self.spacecraft)
        kinds.add("gauge")
        for number, (metric, unit) in enumerate(METRICS):
            metrics.add(metric)
            self.units[number] = -1 if unit is None else units.add(unit)
        for reason in REASONS:
            reasons.add(reason)
        for check in FECF_NAMES:
            checks.add(check)
        shared = {
            "entity": entities, "metric": metrics, "kind": kinds, "unit": units, "source": self.sources, "reason": reasons,
            "fecf": checks,
        }
        fields = FRAME_FIELDS if self.has_payload else FRAME_FIELDS[:OUT_FRAME]
        self.frames = Rows([(*field, shared.get(field[0])) for field in fields])
        self.derived = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS])
        self.samples = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS])
        self.rejects = Rows([(*field, shared.get(field[0])) for field in REJECTS_FIELDS])

    def counts(self) -> dict:
        """Rejects by reason, since the last reset."""
        return {reason: self.reject_counts[number] for number, reason in enumerate(REASONS) if self.reject_counts[number]}

    def reset_counts(self):
        memset(self.reject_counts, 0, sizeof(self.reject_counts))

    cdef int put_frame(self, const Header* header, const Frame* frame, int64_t lost, Fecf fecf) noexcept nogil:
        cdef int64_t row = self.frames.length
        cdef Column* out
        if self.frames.reserve(1) < 0:
            return -1
        out = self.frames.columns
        (<int64_t*> out[OUT_OFFSET].values)[row] = frame.offset
        if header != NULL:
            (<int32_t*> out[OUT_SCID].values)[row] = header.scid
            (<int32_t*> out[OUT_VCID].values)[row] = header.vcid
            out[OUT_SCID].valid[row] = out[OUT_VCID].valid[row] = 1
            if header.count >= 0:
                (<int64_t*> out[OUT_FRAME_COUNT].values)[row] = header.count
                out[OUT_FRAME_COUNT].valid[row] = 1
        (<int64_t*> out[OUT_LOST_BEFORE].values)[row] = lost
        (<int32_t*> out[OUT_FECF].values)[row] = fecf
        (<int32_t*> out[OUT_CORRECTED].values)[row] = frame.corrected
        if frame.received_ns >= 0:
            (<int64_t*> out[OUT_RECEIVED].values)[row] = frame.received_ns
            out[OUT_RECEIVED].valid[row] = 1
        (<int32_t*> out[OUT_SOURCE].values)[row] = frame.source
        if self.has_payload and self.frames.put_bytes(OUT_FRAME, frame.data, frame.size) < 0:
            return -1
        self.frames.next_row()
        return 0

    cdef int put_event(self, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source) noexcept nogil:
        return self.put(self.derived, entity, metric, value, received_ns, source)

    cdef int put_sample(self, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source) noexcept nogil:
        return self.put(self.samples, entity, metric, value, received_ns, source)

    cdef int put(
        self, Rows rows, int32_t entity, Metric metric, double value, int64_t received_ns, int32_t source,
    ) noexcept nogil:
        if received_ns >= 0:
            return put_measure(
                rows, entity, <int32_t> metric, self.units[<int> metric], value, received_ns, received_ns, source, 0,
            )
        return put_measure(
            rows, entity, <int32_t> metric, self.units[<int> metric], value, 0, -1, source, QUALITY_TIME_SUBSTITUTED,
        )

    cdef int reject(
        self, Reason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil:
        self.reject_counts[<int> reason] += 1
        return put_reject(self.rejects, <int32_t> reason, offset, size, received_ns, source, detail)
