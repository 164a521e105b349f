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
from libc.string cimport memset

from framecodec.rack cimport (
    BAD_LENGTH, CODEC_SFLOW, METRIC_DATAGRAMS_LOST, ROWS_LIMIT, TRAILING_BYTES, TRUNCATED, UNIT_DATAGRAMS, UNKNOWN_VERSION,
    be32, be64,
)
from framecodec.rack_text cimport put_detail
from framecodec.records cimport FLOW_PACKETS, FLOW_RECEIVED, QUALITY_TIME_SUBSTITUTED
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
        cdef int64_t first_row
        cdef uint32_t kind, count
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
        if size < 8 or (kind == 1 and size < 12) or (kind == 2 and size < 24):
            self.speak_as_sender()
            return self.reject(TRUNCATED, 0, size, b"sFlow header is cut")
        at = 8
        if kind == 1:
            self.speak_as_address(0, <uint64_t> 0xFFFF << 32 | be32(p + 8))
            at = 12
        elif kind == 2:
            self.speak_as_address(be64(p + 8), be64(p + 16))
            at = 24
        else:
            self.speak_as_sender()
        if kind > 2:
            put_detail(detail, sizeof(detail), b"agent address of type %llu", kind, 0)
            return self.reject(BAD_LENGTH, 4, size, detail)
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
        first_row = self.flows.length
        self.mask = <uint64_t> 1 << FLOW_PACKETS | (<uint64_t> 1 << FLOW_RECEIVED if self.has_received else 0)
        status = self.read_samples(at, count)
        self.complete_rows(first_row)
        return status

    cdef int read_samples(self, int64_t at, uint32_t count) noexcept nogil:
        cdef const uint8_t* p = self.start
        cdef int64_t size = self.size_bytes
        cdef int64_t end
        cdef uint32_t index, length
        cdef char detail[96]
        cdef int status
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
    cdef inline int read_sample(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil:
        if tag == FLOW_SAMPLE or tag == FLOW_SAMPLE_EXPANDED or tag == DISCARDED_PACKET:
            return self.read_flow(tag, at, end, reach)
        if tag == COUNTER_SAMPLE or tag == COUNTER_SAMPLE_EXPANDED:
            return self.read_counter_sample(tag, at, end, reach)
        self.unknown_samples += 1
        return 0

    cdef int read_counter_sample(self, uint32_t tag, int64_t at, int64_t end, int64_t reach) noexcept nogil:
        cdef Sample sample
        cdef const uint8_t* p = self.start + at
        cdef int64_t header_bytes = 12 if tag == COUNTER_SAMPLE else 16
        if end - at < header_bytes:
            return self.reject(BAD_LENGTH, at - 8, end - at + 8, b"sample is shorter than its header")
        memset(&sample, 0, sizeof(Sample))
        sample.sequence, sample.records = be32(p), be32(p + header_bytes - 4)
        sample.at, sample.end, sample.reach = at + header_bytes, end, reach
        if tag == COUNTER_SAMPLE:
            sample.source_class, sample.source_index = p[4], be32(p + 4) & 0xFFFFFF
        else:
            sample.source_class, sample.source_index = be32(p + 4), be32(p + 8)
        return self.read_counters(&sample)
