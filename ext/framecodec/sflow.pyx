# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""sFlow version 5 datagrams into rows of FLOWS, SAMPLES and REJECTS.

    decoder = SflowDecoder()
    out = decoder.decode(frames)                # a batch of streams.model.FRAMES, one datagram a row
    flows = pyarrow.record_batch(out.flows[0])

One flow row for each flow sample and each discarded packet, one sample row for each counter of a counter sample
(sflow_counters.py has the table), one `sequence_gaps` row where datagrams of an agent and sub-agent are missing. Unknown
records are skipped by their length and counted. sFlow has no wall clock: `time` is when the datagram was received, and
where that is unknown the agent's uptime counted from the epoch, with quality `time_substituted`.

The decoder is one object in storeys, each a file that knows those before it: rack (datagrams, rows, names), sflow_samples
(sources and records), sflow_flows, sflow_counter_records, and here the datagram.

Source: sFlow Version 5, sflow.org/sflow_version_5.txt (2004), sections in brackets; sflow_drops.txt for discarded packets.
All numbers are big-endian 32-bit words (XDR, RFC 4506).
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from framecodec.rack cimport (
    BAD_LENGTH, CODEC_SFLOW, METRIC_DATAGRAMS_LOST, ROWS_LIMIT, TRAILING_BYTES, TRUNCATED, UNIT_DATAGRAMS, UNKNOWN_VERSION,
    be32,
)
from framecodec.rack_text cimport put_detail
from framecodec.records cimport QUALITY_TIME_SUBSTITUTED
from framecodec.sflow_counter_records cimport SflowCounters
from framecodec.sflow_samples cimport (
    COUNTER_SAMPLE, COUNTER_SAMPLE_EXPANDED, DISCARDED_PACKET, FLOW_SAMPLE, FLOW_SAMPLE_EXPANDED, Sample,
)

__all__ = ["SflowDecoder"]


@cython.final
cdef class SflowDecoder(SflowCounters):
    """Decodes sFlow version 5; see the module. State: sequence numbers per agent, sub-agent and data source."""

    cdef int datagram(self) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t size = self.size_bytes
        cdef int64_t at = 4
        cdef int64_t end
        cdef uint8_t agent[16]
        cdef uint32_t kind, count, index, length
        cdef char detail[96]
        cdef int status
        if size < 4:
            self.speak_as_sender()
            return self.reject(TRUNCATED, 0, size, b"no sFlow header")
        if be32(p) != 5:
            self.speak_as_sender()
            put_detail(detail, sizeof(detail), b"sFlow version %llu", be32(p), 0)
            return self.reject(UNKNOWN_VERSION, 0, size, detail)
        # The agent's address: 1 IPv4, 2 IPv6, 0 unknown and then without octets.
        kind = be32(p + 4) if size >= 8 else 0
        memset(agent, 0, 16)
        if size < 8 or (kind == 1 and size < 12) or (kind == 2 and size < 24):
            self.speak_as_sender()
            return self.reject(TRUNCATED, 0, size, b"sFlow header is cut")
        at = 8
        if kind == 1:
            agent[10] = agent[11] = 0xFF
            memcpy(agent + 12, p + 8, 4)
            at = 12
        elif kind == 2:
            memcpy(agent, p + 8, 16)
            at = 24
        elif kind != 0:
            self.speak_as_sender()
            put_detail(detail, sizeof(detail), b"agent address of type %llu", kind, 0)
            return self.reject(BAD_LENGTH, 4, size, detail)
        if kind:
            self.speak_as_address(agent)
        else:
            self.speak_as_sender()
        if self.exporter < 0:
            self.out_of_memory = True
            return -1
        if size - at < 16:
            return self.reject(TRUNCATED, 0, size, b"sFlow header is cut")
        self.sub_agent = be32(p + at)
        self.sequence = be32(p + at + 4)
        self.uptime_ms = be32(p + at + 8)
        count = be32(p + at + 12)
        at += 16
        if not self.has_received:
            self.time_ns = 1_000_000 * <int64_t> self.uptime_ms
            self.time_quality = QUALITY_TIME_SUBSTITUTED
        if self.count_sequence(
            CODEC_SFLOW, self.sub_agent, self.sequence, self.uptime_ms, 1, METRIC_DATAGRAMS_LOST, UNIT_DATAGRAMS,
        ) < 0:
            return -1
        for index in range(count):
            if size - at < 8:
                put_detail(detail, sizeof(detail), b"sample %llu of %llu is missing", index + 1, count)
                return self.reject(TRUNCATED, at, size - at, detail)
            length = be32(p + at + 4)
            if <int64_t> length > size - at - 8:
                put_detail(detail, sizeof(detail), b"sample of %llu bytes, %llu are left", length, <uint64_t> (size - at - 8))
                return self.reject(TRUNCATED, at, size - at, detail)
            end = at + 8 + length
            # Where the last sample's length is too short, its records are what follows: sflowtool reads them so too.
            status = self.read_sample(be32(p + at), at + 8, end, size if index + 1 == count else end)
            if status < 0:
                if self.out_of_memory:
                    return -1
                put_detail(detail, sizeof(detail), b"more rows than a datagram can hold", 0, 0)
                return self.reject(ROWS_LIMIT, at, size - at, detail)
            if status == 1:
                return 0
            at = end
        if at < size:
            put_detail(detail, sizeof(detail), b"%llu bytes after %llu samples", <uint64_t> (size - at), count)
            return self.reject(TRAILING_BYTES, at, size - at, detail)
        return 0

    # One sample in [at, end); records may reach to `reach`. 0, -1 out of memory or rows, 1 when it ran to `reach`.
    cdef int read_sample(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil:
        cdef Sample sample
        cdef const uint8_t* p = self.start
        cdef int64_t header_bytes
        memset(&sample, 0, sizeof(Sample))
        if tag == FLOW_SAMPLE:
            header_bytes = 32
        elif tag == FLOW_SAMPLE_EXPANDED:
            header_bytes = 44
        elif tag == DISCARDED_PACKET:
            header_bytes = 32
        elif tag == COUNTER_SAMPLE:
            header_bytes = 12
        elif tag == COUNTER_SAMPLE_EXPANDED:
            header_bytes = 16
        else:
            self.unknown_samples += 1
            return 0
        if end - at < header_bytes:
            return self.reject(BAD_LENGTH, at - 8, end - at + 8, b"sample is shorter than its header")
        sample.sequence = be32(p + at)
        sample.at, sample.end, sample.reach = at + header_bytes, end, reach
        if tag == FLOW_SAMPLE or tag == COUNTER_SAMPLE:
            sample.source_class, sample.source_index = p[at + 4], be32(p + at + 4) & 0xFFFFFF
        else:
            sample.source_class, sample.source_index = be32(p + at + 4), be32(p + at + 8)
        sample.records = be32(p + at + header_bytes - 4)
        if tag == COUNTER_SAMPLE or tag == COUNTER_SAMPLE_EXPANDED:
            return self.read_counters(&sample)
        if tag == DISCARDED_PACKET:
            sample.drops = be32(p + at + 12)
            split_interface(be32(p + at + 16), &sample.in_form, &sample.in_value)
            split_interface(be32(p + at + 20), &sample.out_form, &sample.out_value)
            sample.reason = be32(p + at + 24)
        elif tag == FLOW_SAMPLE:
            sample.rate, sample.drops = be32(p + at + 8), be32(p + at + 16)
            split_interface(be32(p + at + 20), &sample.in_form, &sample.in_value)
            split_interface(be32(p + at + 24), &sample.out_form, &sample.out_value)
        else:
            sample.rate, sample.drops = be32(p + at + 12), be32(p + at + 20)
            sample.in_form, sample.in_value = be32(p + at + 24), be32(p + at + 28)
            sample.out_form, sample.out_value = be32(p + at + 32), be32(p + at + 36)
        return self.read_flow(&sample, tag == DISCARDED_PACKET)


# Compact interface: the two top bits are the format [5].
cdef inline void split_interface(uint32_t word, uint32_t* form, uint32_t* value) noexcept nogil:
    form[0] = word >> 30
    value[0] = word & 0x3FFFFFFF
