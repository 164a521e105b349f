# What all sFlow samples have: a source, a sequence number, records. See sflow_samples.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from framecodec.rack cimport (
    ENTITY_INTERFACE, ENTITY_LOGICAL, ENTITY_PHYSICAL, ENTITY_VLAN, EntityClass, METRIC_DISCARD_DROPS, METRIC_DROPS,
    RackDecoder, be32,
)
from framecodec.state_table cimport Slot, follow, look

# Sample formats of enterprise 0 [5].
cdef enum SampleFormat:
    FLOW_SAMPLE = 1
    COUNTER_SAMPLE = 2
    FLOW_SAMPLE_EXPANDED = 3
    COUNTER_SAMPLE_EXPANDED = 4
    DISCARDED_PACKET = 5

cdef enum:
    NO_METRIC = -1

# What a sample says before its records.
cdef struct Sample:
    uint32_t sequence
    uint32_t source_class
    uint32_t source_index
    uint32_t rate
    uint32_t drops
    uint32_t in_form
    uint32_t in_value
    uint32_t out_form
    uint32_t out_value
    uint32_t reason
    uint32_t records
    uint32_t frame_bytes         # from the packet record, 0 when there is none
    uint32_t ip_bytes
    int64_t at                   # where the records begin
    int64_t end                  # of the sample as it says,
    int64_t reach                # and how far its records may go: those of the last sample, to the datagram's end

# A walk over the records of a sample.
cdef struct Records:
    int64_t at                   # of the next one
    int64_t limit
    uint32_t index
    uint32_t tag                 # enterprise << 12 | format
    int64_t body                 # of the one found, in the datagram,
    uint32_t size                # and its octets


cdef class SflowSamples(RackDecoder):
    cdef uint32_t sub_agent
    cdef uint32_t sequence
    cdef uint32_t uptime_ms

    # Tells gaps in a data source's sequence (`lost` as `follow` gives it), and its drops as `drops_metric` unless that is
    # NO_METRIC. 0, or -1.
    cdef int tell_source(self, const Sample* sample, int64_t lost, int32_t drops_metric) noexcept nogil
    # Tells a walk that ended `left` octets before the end, and before the sample's count. 0, or -1 out of memory.
    cdef int reject_short(self, const Sample* sample, int64_t at, int64_t left, uint32_t index) noexcept nogil
    # Tells what follows the last record that the sample counts. 0, or -1 out of memory.
    cdef int reject_rest(self, const Sample* sample, int64_t at) noexcept nogil
    # Tells a sample that was longer than it said: to `at`. 1: nothing is behind it; -1 out of memory.
    cdef int reject_long(self, const Sample* sample, int64_t at) noexcept nogil


# Follows sequence and drops of a data source. `stream` tells its flow, counter and discard samples apart. 0, or -1.
cdef inline int follow_source(SflowSamples self, const Sample* sample, uint64_t stream) noexcept nogil:
    cdef bint is_new
    cdef int64_t lost
    cdef int32_t drops_metric = NO_METRIC
    cdef Slot* slot = look(
        self.sequences, self.address_high, self.address_low, (stream << 40) | (<uint64_t> (sample.source_class & 0xFF) << 32)
        | sample.source_index, self.sub_agent, &is_new,
    )
    if slot == NULL:
        self.out_of_memory = True
        return -1
    lost = follow(slot, is_new, sample.sequence, self.uptime_ms, 1)
    if stream != COUNTER_SAMPLE and (is_new or slot.extra != sample.drops) and lost != -1:
        # What was not sampled, and what was not told of discarded packets: two counters of one data source.
        drops_metric = METRIC_DISCARD_DROPS if stream == DISCARDED_PACKET else METRIC_DROPS
        slot.extra = sample.drops
    return self.tell_source(sample, lost, drops_metric) if lost > 0 or drops_metric != NO_METRIC else 0


cdef inline void open_records(const Sample* sample, Records* records) noexcept nogil:
    records.at, records.limit, records.index = sample.at, sample.end, 0


# The next record of the sample; False at the last one's end, and where a record does not fit.
cdef inline bint next_record(const uint8_t* datagram, const Sample* sample, Records* records) noexcept nogil:
    cdef int64_t left = records.limit - records.at
    if records.index == sample.records or left < 8:
        return False
    records.tag, records.size = be32(datagram + records.at), be32(datagram + records.at + 4)
    if records.size > left - 8:
        if <int64_t> records.size > sample.reach - records.at - 8:
            return False
        records.limit = sample.reach
    records.index += 1
    records.body = records.at + 8
    records.at = records.body + ((<int64_t> records.size + 3) & ~<int64_t> 3)
    if records.at > records.limit:
        records.at = records.limit           # some exporters leave the last record's padding out
    return True


# After the walk: 0 as it should be; 1 when it ran to `reach`, beyond the sample's end; -1 out of memory.
cdef inline int close_records(SflowSamples self, const Sample* sample, const Records* records) noexcept nogil:
    if records.index != sample.records:
        return self.reject_short(sample, records.at, records.limit - records.at, records.index)
    if records.at < sample.end and self.reject_rest(sample, records.at) < 0:
        return -1
    return 0 if records.limit == sample.end else self.reject_long(sample, records.at)


cdef inline EntityClass entity_class(uint32_t source_class) noexcept nogil:
    if source_class == 0:
        return ENTITY_INTERFACE
    if source_class == 1:
        return ENTITY_VLAN
    return ENTITY_PHYSICAL if source_class == 2 else ENTITY_LOGICAL
