# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What packets mean to those who watch: samples, what goes to windows only, and rejects.

A sample's time is the packet's own where it is known and within `clock_limit_ns` of the receive time (or that is not known);
else the receive time with quality bit 1; with neither, 0 and that bit. What is a packet, and what it holds, is found elsewhere.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint16_t
from libc.stdio cimport snprintf
from libc.string cimport memset

from framecodec.columns cimport Names, Rows
from framecodec.found_packets cimport IDLE_APID, WASTE_GARBAGE, WASTE_TRUNCATED, Packet, Waste, apid_of, count_of
from framecodec.layouts cimport NO_CONTAINER
from framecodec.link_rows cimport add_entities, entity_of, put_measure, put_reject
from framecodec.melt cimport Melter
from framecodec.plan cimport Plan
from framecodec.records cimport QUALITY_TIME_SUBSTITUTED
from framecodec.timecodes cimport NO_TIME

from framecodec.records import REJECTS_FIELDS, SAMPLES_FIELDS

cdef enum:
    # The dictionary of senders starts anew with the next batch when it has more than this.
    SOURCE_NAMES_MAX = 65536

# The first ones are framecodec.sync's WasteKind.
cdef enum Reason:
    GARBAGE
    TRUNCATED
    PARTIAL_PACKET
    NO_SUCH_CONTAINER
    SHORT_FOR_DEFINITION

REASONS = ("garbage", "truncated", "partial_packet", "no_container", "short_for_definition")

# Of derived samples.
cdef enum Metric:
    PACKETS_RX
    PACKETS_LOST
    PACKET_GAPS
    ONE_WAY_DELAY

METRICS = ("packets_rx", "packets_lost", "packet_gaps", "one_way_delay_ms")


@cython.final
cdef class PacketRows:
    """Rows of a spacecraft, `entity`. `raw`: a sample of the raw value, too, where a parameter is calibrated."""

    def __cinit__(self, str entity, Plan plan, bint samples, bint derived, bint raw, int64_t clock_limit_ns):
        self.entity, self.plan, self.clock_limit_ns = entity, plan, clock_limit_ns
        self.gives_samples, self.gives_derived, self.gives_raw = samples, derived, raw
        self.open()

    # Fresh rows and dictionaries.
    cdef open(self):
        cdef Names entities = Names(), derived_metrics = Names(), kinds = Names(), units = Names(), reasons = Names()
        self.sources = Names()
        add_entities(entities, self.entity)
        if self.plan is not None and self.gives_samples:
            self.melter = Melter(self.plan, self.gives_raw)
            metrics, kinds, units, texts = self.melter.metrics, self.melter.kinds, self.melter.units, self.melter.texts
        else:
            metrics, texts = Names(), Names()
            kinds.add("gauge")
        for metric in METRICS:
            derived_metrics.add(metric)
        self.gaps_metric = metrics.add("sequence_gaps")
        self.packets_unit, self.delay_unit = units.add("packets"), units.add("ms")
        for reason in REASONS:
            reasons.add(reason)
        shared = {"entity": entities, "metric": metrics, "text": texts, "kind": kinds, "unit": units, "source": self.sources}
        self.samples = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS])
        shared["metric"] = derived_metrics
        self.derived = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS])
        names = {"source": self.sources, "reason": reasons}
        self.rejects = Rows([(*field, names.get(field[0])) for field in REJECTS_FIELDS])

    cdef bint has_many_names(self):
        return self.sources.count > SOURCE_NAMES_MAX or (self.melter is not None and self.melter.texts_are_many())

    # The samples of one packet, and what it adds to windows.
    cdef int write_samples(self, const Packet* packet, int32_t container, int64_t row, int64_t time_ns) noexcept nogil:
        cdef int64_t stamp = time_ns
        cdef int quality = 0
        if packet.received_ns >= 0 and (
            time_ns == NO_TIME or (
                self.clock_limit_ns >= 0
                and not packet.received_ns - self.clock_limit_ns <= time_ns <= packet.received_ns + self.clock_limit_ns
            )
        ):
            stamp, quality = packet.received_ns, QUALITY_TIME_SUBSTITUTED
        elif time_ns == NO_TIME:
            stamp, quality = 0, QUALITY_TIME_SUBSTITUTED
        if self.gives_derived:
            if self.write_events(packet, stamp, quality) < 0:
                return -1
            if quality == 0 and packet.received_ns >= 0 and put_measure(
                self.derived, entity_of(packet.vcid), ONE_WAY_DELAY, self.delay_unit, (packet.received_ns - time_ns) / 1e6,
                stamp, packet.received_ns, packet.source, 0,
            ) < 0:
                return -1
        if self.gives_samples:
            if packet.lost > 0 and put_measure(
                self.samples, 0, self.gaps_metric, self.packets_unit, packet.lost,
                stamp, packet.received_ns, packet.source, quality,
            ) < 0:
                return -1
            if container != NO_CONTAINER:
                return self.melter.melt(
                    self.samples, container, row, stamp, packet.received_ns, 0, packet.source, <uint16_t> quality,
                )
        return 0

    # That a packet came, and how many are missing before it.
    cdef int write_events(self, const Packet* packet, int64_t stamp, int quality) noexcept nogil:
        if put_measure(
            self.derived, 0, PACKETS_RX, self.packets_unit, packet.parts, stamp, packet.received_ns, packet.source, quality,
        ) < 0:
            return -1
        if packet.lost and put_measure(
            self.derived, 0, PACKETS_LOST, self.packets_unit, packet.lost, stamp, packet.received_ns, packet.source, quality,
        ) < 0:
            return -1
        if packet.lost > 0 and packet.vcid >= 0:
            return put_measure(
                self.derived, entity_of(packet.vcid), PACKET_GAPS, self.packets_unit, packet.lost,
                stamp, packet.received_ns, packet.source, quality,
            )
        return 0

    cdef int write_remarks(self, const Packet* packet, int32_t container, bint is_short) noexcept nogil:
        cdef int apid = apid_of(packet.head)
        cdef int count = count_of(packet.head)
        cdef char detail[96]
        if container == NO_CONTAINER and apid != IDLE_APID:
            snprintf(detail, sizeof(detail), "APID %d, count %d: no container of the definition fits", apid, count)
            if self.write_reject(NO_SUCH_CONTAINER, packet.offset, 0, packet.received_ns, packet.source, detail) < 0:
                return -1
        if is_short:
            snprintf(
                detail, sizeof(detail), "APID %d, count %d: the packet of %d bytes ends before its container does",
                apid, count, packet.size,
            )
            return self.write_reject(SHORT_FOR_DEFINITION, packet.offset, 0, packet.received_ns, packet.source, detail)
        return 0

    cdef int write_reject(
        self, int reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil:
        self.reject_counts[reason] += 1
        return put_reject(self.rejects, reason, offset, size, received_ns, source, detail)

    cdef int write_waste(self, const Waste* waste) noexcept nogil:
        return self.write_reject(
            waste.kind, waste.offset, waste.size, waste.received_ns, waste.source,
            "no packet begins here" if waste.kind == WASTE_GARBAGE
            else "the input ends inside a packet" if waste.kind == WASTE_TRUNCATED
            else "segments are missing",
        )

    # The rows as Arrow; rows of nothing are left out.
    cdef hand_over(self, out):
        for rows, batches in ((self.samples, out.samples), (self.derived, out.derived), (self.rejects, out.rejects)):
            if len(rows):
                batches.append(rows.flush().take())

    cdef dict rejects_by_reason(self):
        cdef int index
        return {reason: self.reject_counts[index] for index, reason in enumerate(REASONS) if self.reject_counts[index]}

    cdef void reset_totals(self) noexcept nogil:
        memset(self.reject_counts, 0, sizeof(self.reject_counts))
