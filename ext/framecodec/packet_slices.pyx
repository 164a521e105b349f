# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What becomes of packets that were found, a slice at a time: counted, joined, decoded, and written as rows.

    slices = PacketSlices(definition, "JPSS-1", emit, ...)
    slices.begin()
    slices.process(&found, False)        # without the GIL, as often as there are slices
    slices.hand_over(out)

A slice is some hundred packets, which stay in the cache from one step to the next. How packets are found, in streams, frames or
datagrams, is not known here: that is framecodec.packets, whose docstring says what the rows mean.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from framecodec.found_packets cimport IDLE_APID, Found, Packet, Passed, apid_of
from framecodec.layouts cimport NO_CONTAINER
from framecodec.packet_rows cimport PacketRows
from framecodec.packet_table cimport PacketTable
from framecodec.plan cimport Plan
from framecodec.segments cimport Joiner
from framecodec.sequences cimport Sequences
from framecodec.timecodes cimport NO_TIME, read_code, set_code

__all__: list[str] = []

cdef enum:
    SCRATCH_ITEM_BYTES = 41
    SECONDARY_HEADER = 8         # in the first octet (133.0-B-2 4.1.3.3.3)


@cython.final
cdef class PacketSlices:
    """Arguments as SpacePacketDecoder has them; `entity` is the spacecraft's."""

    def __cinit__(
        self, definition, entity, emit, parameters, clock_limit_ns, bint idle, bint join_segments, bint raw, time_code,
    ):
        self.keeps_idle = idle
        self.emits_samples, self.emits_derived = "samples" in emit, "derived" in emit
        self.emits_packets, self.emits_values = "packets" in emit or "payload" in emit, "values" in emit
        if definition is not None:
            # Without samples and values only the packet's time is needed.
            self.plan = Plan(definition, parameters if self.emits_samples or self.emits_values else ())
        if time_code is not None:
            set_code(&self.code, time_code)
            self.has_code = True
        self.has_times = self.has_code or (self.plan is not None and self.plan.has_times)
        self.sequences, self.expected = Sequences(), 1
        if join_segments:
            self.joiner = Joiner()
        self.rows = PacketRows(
            entity, self.plan, self.emits_samples, self.emits_derived, raw, -1 if clock_limit_ns is None else clock_limit_ns,
        )
        self.packets = PacketTable(self.rows.sources, "payload" in emit)

    def __dealloc__(self):
        free(self.scratch.memory)

    cdef begin(self):
        self.packet_rows = 0
        if self.rows.has_many_names():
            groups = self.joiner.state(self.rows.sources) if self.joiner is not None else None
            self.rows.open()
            self.packets.sources = self.rows.sources
            if self.joiner is not None:
                self.joiner.set_state(groups, self.rows.sources)

    cdef hand_over(self, out):
        self.rows.hand_over(out)
        if len(self.packets):
            out.packets.append(self.packets.export().take())
        if self.plan is not None and self.emits_values:
            out.containers += [(index, batch.take()) for index, batch in self.plan.take()]
        elif self.plan is not None:
            self.plan.clear()

    cdef int process(self, Found* found, bint is_final) noexcept nogil:
        cdef int64_t count, index
        cdef int status = self.sequences.count(found.packets, found.packet_count, self.keeps_idle)
        cdef Scratch* scratch = &self.scratch
        if status == 0 and self.joiner is not None:
            with gil:
                try:
                    self.joiner.join(found, is_final)
                except MemoryError:
                    status = -1
        count = found.packet_count
        if status < 0 or fit(scratch, count) < 0:
            return -1
        self.number_packets(found, scratch.numbers)
        self.packets.slices = self.expected
        if self.plan is not None:
            self.plan.slices = self.expected
            for index in range(count):
                scratch.packets[index] = found.packets[index].data
                # Idle packets carry nothing (4.1.3.3.4.4): an empty packet is no container.
                scratch.sizes[index] = 0 if is_idle(&found.packets[index]) else found.packets[index].size
            if self.plan.decode_packets(
                scratch.packets, scratch.sizes, count, scratch.containers, scratch.rows, scratch.shorts, scratch.numbers,
            ) < 0:
                return -1
        if self.emits_samples or self.emits_derived or (self.emits_packets and self.has_times):
            for index in range(count):
                scratch.times[index] = self.time_of(&found.packets[index], scratch.containers[index], scratch.rows[index])
        if self.emits_packets and self.packets.append(
            found.packets, count, scratch.numbers, scratch.times if self.has_times else NULL,
            scratch.containers if self.plan is not None else NULL,
        ) < 0:
            return -1
        if self.write(found, scratch.containers, scratch.rows, scratch.shorts, scratch.times) < 0:
            return -1
        self.passed.packets += found.passed.packets
        self.passed.bytes += found.passed.bytes
        self.passed.idle_bytes += found.passed.idle_bytes
        memset(&found.passed, 0, sizeof(Passed))
        found.packet_count = found.waste_count = 0
        return 0

    # A packet's own time: as the link says, else as the definition says.
    cdef int64_t time_of(self, const Packet* packet, int32_t container, int64_t row) noexcept nogil:
        cdef int64_t time_ns = NO_TIME
        if self.has_code and packet.data[0] & SECONDARY_HEADER:
            time_ns = read_code(&self.code, packet.data, packet.size)
        if time_ns == NO_TIME and self.plan is not None and self.plan.has_times:
            time_ns = self.plan.time_of(container, row, packet.data, packet.size)
        return time_ns

    # The row that each packet gets in this call's packets, -1 for one that gets none.
    cdef void number_packets(self, Found* found, int64_t* numbers) noexcept nogil:
        cdef int64_t index
        for index in range(found.packet_count):
            if not self.keeps_idle and is_idle(&found.packets[index]):
                numbers[index] = -1
                continue
            numbers[index] = self.packet_rows
            self.packet_rows += 1

    cdef int write(
        self, Found* found, const int32_t* containers, const int64_t* rows, const uint8_t* shorts, const int64_t* times,
    ) noexcept nogil:
        cdef int64_t index
        cdef const Packet* packet
        if self.emits_samples or self.emits_derived:
            for index in range(found.packet_count):
                packet = &found.packets[index]
                if self.rows.write_samples(
                    packet, containers[index] if self.plan is not None else NO_CONTAINER,
                    rows[index] if self.plan is not None else -1, times[index],
                ) < 0:
                    return -1
        if self.plan is not None:
            for index in range(found.packet_count):
                if (shorts[index] or containers[index] == NO_CONTAINER) and self.rows.write_remarks(
                    &found.packets[index], containers[index], shorts[index],
                ) < 0:
                    return -1
        for index in range(found.waste_count):
            if self.rows.write_waste(&found.wastes[index]) < 0:
                return -1
        return 0

    # -- counts and state ----------------------------------------------------------------------------------------------
    cdef forget(self):
        self.sequences.forget()

    cdef dict totals(self):
        totals = {"links": self.sequences.links(), "rejects": self.rows.rejects_by_reason()}
        if self.passed.packets:
            totals["encapsulation"] = {
                "packets": self.passed.packets, "bytes": self.passed.bytes, "idle_bytes": self.passed.idle_bytes,
            }
        return totals

    cdef reset_totals(self):
        self.rows.reset_totals()
        memset(&self.passed, 0, sizeof(Passed))
        self.sequences.reset_totals()

    cdef dict state(self):
        state = {"channels": self.sequences.state()}
        if self.joiner is not None:
            state["groups"] = self.joiner.state(self.rows.sources)
        return state

    cdef set_state(self, dict state):
        if self.joiner is not None:
            self.joiner.set_state(state.get("groups", []), self.rows.sources)
        self.sequences.set_state(state["channels"])


# Room for `count` packets, in one piece of memory; 0 or -1.
cdef int fit(Scratch* scratch, int64_t count) noexcept nogil:
    cdef int64_t capacity = 2 * count + 16
    cdef uint8_t* memory
    if scratch.memory != NULL and count <= scratch.capacity:
        return 0
    free(scratch.memory)
    memory = scratch.memory = <uint8_t*> malloc(capacity * SCRATCH_ITEM_BYTES)
    if memory == NULL:
        return -1
    scratch.capacity = capacity
    scratch.packets, scratch.rows = <const uint8_t**> memory, <int64_t*> (memory + 8 * capacity)
    scratch.numbers, scratch.times = <int64_t*> (memory + 16 * capacity), <int64_t*> (memory + 24 * capacity)
    scratch.sizes, scratch.containers = <int32_t*> (memory + 32 * capacity), <int32_t*> (memory + 36 * capacity)
    scratch.shorts = memory + 40 * capacity
    return 0


cdef inline bint is_idle(const Packet* packet) noexcept nogil:
    return apid_of(packet.head) == IDLE_APID
