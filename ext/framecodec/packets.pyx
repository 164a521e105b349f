# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""CCSDS space packets (133.0-B-2): bytes to packet rows, values, samples, and what was lost.

    decoder = SpacePacketDecoder(definition, spacecraft="JPSS-1", link="jpss1", boundaries="stream")
    out = decoder.decode(frames)              # a FRAMES batch; or decode_bytes(data), or decode_packets(batch)
    out = decoder.finish()                    # the end of a file

`out` is a `Decoded` with lists of record batches:

- `samples` (model.SAMPLES): one row a value; entity the spacecraft, metric the parameter's XTCE path; and `sequence_gaps` with
  the size of each gap.
- `derived` (model.SAMPLES), for windows only: `packets_rx` 1 a packet, `packets_lost` the size of the gap before a packet, -1
  for one of a gap that comes late after all; `one_way_delay_ms` the receive time minus the packet's own, where both are known
  and the clock is to be believed; `packet_gaps` the size of each gap in a virtual channel. The last two are of
  `<spacecraft>/vc/<id>` for packets that came in frames. Windows then do not depend on how the input was cut.
- `rejects` (model.REJECTS): `garbage` and `truncated` tile the input together with the packets; `no_container` and
  `short_for_definition` are remarks of size 0 about a packet.
- `packets`: a row each, `packet_table.FIELDS`, and with `payload` in `emit` the packet itself in a column of that name.
  `container` is an index into definition.containers, null where none matched.
- `containers`: (container index, batch of `packet`, `raw`, `values`); `packet` is the row in this call's `packets`. A null in
  `raw` means that the packet does not have the parameter; a null in `values` beside a raw value, that it has no label or lies
  outside its calibration.

`boundaries` says what the frames are. `stream`: pieces of a byte stream, cut anywhere. `frames`: a byte stream too, but a frame
that is exactly a packet is believed at once (TCP collectors, replay). `datagrams`: every frame is closed in itself (UDP). In
the last two, offsets count from the frame's beginning, plus the `offset` column of the batch if it has one.

With `join_segments`, packets with sequence flags 01, 00 .. 10 (4.1.3.4.2) become one that has the first one's header, flags 11
and all data fields one after another; `size_bytes` is the input that it took. A group with a hole becomes a `partial_packet`.

A sample's time is the packet's own, if `time_code` (a streams.timecodes.TimeCode, for packets with a secondary header) or the
definition says which it is and it is within `clock_limit_ns` of the receive time (or no receive time is known); else the
receive time with quality bit 1; with neither, 0 and that bit.

Encapsulation packets (CCSDS 133.1-B-3) are passed over by their length: no row, but counted in `counts`, so that the octets of
packets, rejects and encapsulation packets together are those of the input.

Sequence gaps are counted modulo 2**14 for each spacecraft id, virtual channel and APID (idle packets, 2047, too: without `idle`
not); the same count again is no loss, and a packet up to 63 counts late is taken as reordered by the network. Nothing here
knows Kafka, files or the time of day.
"""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

import json

from framecodec.found_packets cimport IDLE_APID, Found, Packet, Passed, apid_of, free_found
from framecodec.frame_input cimport FrameInput
from framecodec.layouts cimport NO_CONTAINER
from framecodec.packet_input cimport PacketInput
from framecodec.packet_rows cimport PacketRows
from framecodec.packet_table cimport PacketTable
from framecodec.plan cimport Plan
from framecodec.segments cimport Joiner
from framecodec.sequences cimport Sequences
from framecodec.sync cimport Sync
from framecodec.timecodes cimport NO_TIME, read_code, set_code

__all__ = ["Decoded", "SpacePacketDecoder"]

cdef enum:
    SOURCES_MAX = 1024
    # Packets that are found, counted, decoded and written before the next ones are looked for: they stay in the cache.
    SLICE_PACKETS = 512
    # Of new bytes, looked at to decide on what was kept: mostly enough. If not, 32 times as much.
    HEAD_BYTES = 2048
    SCRATCH_ITEM_BYTES = 41
    SECONDARY_HEADER = 8         # in the first octet (133.0-B-2 4.1.3.3.3)

EMITTED = ("samples", "derived", "packets", "values", "payload")
EMITTED_BY_DEFAULT = ("samples", "derived", "packets", "values")


class Decoded:
    """What came out of some input; every list holds pyarrow.RecordBatch, `containers` pairs of (container index, batch)."""

    def __init__(self):
        self.samples, self.derived, self.flows, self.rejects, self.packets, self.containers = [], [], [], [], [], []


@cython.final
cdef class SpacePacketDecoder:
    """`emit` names what is built (EMITTED); `parameters` those to compute, all if None. See the module for the rest.

    ValueError for an unknown word, or a parameter that the definition does not have.
    """

    def __cinit__(
        self, definition=None, *, spacecraft="", link="", boundaries="frames", emit=EMITTED_BY_DEFAULT, parameters=None,
        clock_limit_ns=86_400_000_000_000, bint idle=True, int record_header_bytes=0, bint join_segments=False,
        bint raw=False, time_code=None,
    ):
        unknown = set(emit) - set(EMITTED)
        if unknown or boundaries not in ("stream", "frames", "datagrams"):
            raise ValueError(f"emit {sorted(unknown)} or boundaries '{boundaries}' is not known")
        self.definition = definition
        self.boundaries = <Boundaries> ("stream", "frames", "datagrams").index(boundaries)
        self.record_header, self.keeps_idle = record_header_bytes, idle
        self.emits_samples, self.emits_derived = "samples" in emit, "derived" in emit
        self.emits_packets, self.emits_values = "packets" in emit or "payload" in emit, "values" in emit
        if definition is not None:
            # Without samples and values only the packet's time is needed.
            wanted = parameters if self.emits_samples or self.emits_values else ()
            self.plan = Plan(definition, wanted)
            self.has_plan = True
        if time_code is not None:
            set_code(&self.code, time_code)
            self.has_code = True
        self.has_times = self.has_code or (self.has_plan and self.plan.has_times)
        self.syncs, self.sequences, self.slices = {}, Sequences(), 1
        if join_segments:
            self.joiner, self.is_joining = Joiner(), True
        self.rows = PacketRows(
            spacecraft or link, self.plan, self.emits_samples, self.emits_derived, raw,
            -1 if clock_limit_ns is None else clock_limit_ns,
        )
        self.packets = PacketTable(self.rows.sources, "payload" in emit)

    def __dealloc__(self):
        free(self.scratch.memory)

    # -- input ---------------------------------------------------------------------------------------------------------
    def decode(self, frames) -> Decoded:
        """Decode a batch of model.FRAMES (a pyarrow.RecordBatch), all of one link."""
        cdef FrameInput given = FrameInput(frames)
        cdef int64_t row = 0, first, at, packets, wastes
        cdef const int32_t* ends = given.ends
        cdef Found found
        cdef Sync sync
        cdef int32_t number
        cdef list buffers = []
        self.begin()
        memset(&found, 0, sizeof(Found))
        try:
            while row < given.length:
                first, row = row, given.next_sender(row)
                name = given.source(first)
                number = self.rows.sources.add(name)
                self.input_bytes += ends[row] - ends[first]
                if self.boundaries == BOUNDARIES_DATAGRAMS:
                    sync = self.sync_of("")
                    for at in range(first, row):
                        packets, wastes = found.packet_count, found.waste_count
                        sync.forget()
                        if (
                            sync.add_segment(ends[at + 1] - ends[at], given.received_ns(at)) < 0
                            or sync.run(given.data + ends[at], ends[at + 1] - ends[at], True, number, &found, INT64_MAX) < 0
                        ):
                            raise MemoryError
                        if given.offsets != NULL:
                            shift(&found, packets, wastes, given.offsets[at])
                    continue
                sync = self.sync_of(name)
                for at in range(first, row):
                    if sync.add_segment(ends[at + 1] - ends[at], given.received_ns(at)) < 0:
                        raise MemoryError
                self.run_sync(sync, given.data + ends[first], ends[row] - ends[first], False, number, &found, buffers)
            self.finish_input(&found)
        finally:
            free_found(&found)
        return self.hand_over()

    def decode_bytes(self, data, received_ns=None, str source="") -> Decoded:
        """The same for a piece of a byte stream (any buffer)."""
        cdef Py_buffer view
        cdef Found found
        cdef Sync sync
        cdef list buffers = []
        self.begin()
        memset(&found, 0, sizeof(Found))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.input_bytes += view.len
            sync = self.sync_of(source)
            if sync.add_segment(view.len, -1 if received_ns is None else received_ns) < 0:
                raise MemoryError
            self.run_sync(sync, <const uint8_t*> view.buf, view.len, False, self.rows.sources.add(source), &found, buffers)
            self.finish_input(&found)
        finally:
            PyBuffer_Release(&view)
            free_found(&found)
        return self.hand_over()

    def decode_packets(self, packets) -> Decoded:
        """Decode packets that are already cut: a batch of received_ns int64?, source dictionary, packet binary, offset int64,
        scid int32?, vcid int32?. A row that is not exactly one packet of version 0 is rejected as garbage or truncated."""
        cdef PacketInput given = PacketInput(packets)
        cdef Found found
        self.begin()
        memset(&found, 0, sizeof(Found))
        try:
            self.input_bytes += given.find(&found, self.rows.sources)
            self.finish_input(&found)
        finally:
            free_found(&found)
        return self.hand_over()

    def finish(self) -> Decoded:
        """The end of the input: what is undecided is decided, and everything but the counts is forgotten."""
        cdef Found found
        cdef Sync sync
        cdef list buffers = []
        self.begin()
        memset(&found, 0, sizeof(Found))
        try:
            for name, sync in self.syncs.items():
                self.run_sync(sync, NULL, 0, True, self.rows.sources.add(name), &found, buffers)
            self.is_final = True
            self.finish_input(&found)
        finally:
            free_found(&found)
        self.is_final = False
        self.syncs = {}
        self.sequences.forget()
        return self.hand_over()

    cdef Sync sync_of(self, str name):
        cdef Sync sync = self.syncs.get(name)
        if sync is None:
            if len(self.syncs) >= SOURCES_MAX:           # the one that has been silent longest goes, with what it left
                self.syncs.pop(next(iter(self.syncs)))
            apids = self.definition.apids if self.definition is not None else ()
            sync = Sync(apids, self.record_header, self.boundaries != BOUNDARIES_STREAM)
        else:
            del self.syncs[name]
        self.syncs[name] = sync
        return sync

    # `buffers` keeps what the packets in `found` point into until they are processed.
    cdef run_sync(
        self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers,
    ):
        cdef int64_t taken = 0, head = HEAD_BYTES
        cdef int64_t begin = sync.position + sync.kept_size
        # Only as much is copied as the kept bytes need to be decided on, mostly little; then the data is read where it lies.
        while sync.kept_size and sync.position < begin:
            head = min(head, size - taken)
            self.run_joined(sync, data + taken, head, is_final and taken + head == size, source, found, buffers)
            taken += head
            if taken == size:
                return
            head *= 32
        sync.kept_size = 0
        taken = sync.position - begin
        self.run_slices(sync, data + taken, size - taken, is_final, source, found)

    # The kept bytes and `data` in one piece.
    cdef run_joined(
        self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found, list buffers,
    ):
        cdef bytes joined = PyBytes_FromStringAndSize(NULL, sync.kept_size + size)
        cdef uint8_t* at = <uint8_t*> PyBytes_AS_STRING(joined)
        memcpy(at, sync.kept, sync.kept_size)
        if size:
            memcpy(at + sync.kept_size, data, size)
        buffers.append(joined)
        self.run_slices(sync, at, sync.kept_size + size, is_final, source, found)

    cdef run_slices(self, Sync sync, const uint8_t* data, int64_t size, bint is_final, int32_t source, Found* found):
        cdef int64_t begin = sync.position
        cdef int64_t done
        cdef int status
        with nogil:
            while True:
                done = sync.position - begin
                status = sync.run(data + done, size - done, is_final, source, found, SLICE_PACKETS)
                if status == 0:
                    done = sync.position - begin
                    status = sync.keep(data + done, size - done)
                    break
                if status > 0:
                    self.slices = (size - done) // (sync.position - begin - done) + 1
                    status = self.process(found)
                if status < 0:
                    break
        self.slices = 1
        if status < 0:
            raise MemoryError

    # -- output --------------------------------------------------------------------------------------------------------
    cdef begin(self):
        self.packet_rows = 0
        if self.rows.has_many_names():
            groups = (<Joiner> self.joiner).state(self.rows.sources) if self.joiner is not None else None
            self.rows.open()
            self.packets.sources = self.rows.sources
            if self.joiner is not None:
                (<Joiner> self.joiner).set_state(groups, self.rows.sources)

    cdef hand_over(self):
        out = Decoded()
        self.rows.hand_over(out)
        if len(self.packets):
            out.packets.append(self.packets.export().take())
        if self.plan is not None and self.emits_values:
            out.containers += [(index, batch.take()) for index, batch in self.plan.take()]
        elif self.plan is not None:
            self.plan.clear()
        return out

    # Decodes what was found and writes its rows; `found` is empty afterwards. 0 or -1.
    cdef int process(self, Found* found) noexcept nogil:
        cdef int64_t count, index
        cdef int status = self.sequences.count(found.packets, found.packet_count, self.keeps_idle)
        cdef Scratch* scratch = &self.scratch
        if status == 0 and self.is_joining:
            with gil:
                try:
                    (<Joiner> self.joiner).join(found, self.is_final)
                except MemoryError:
                    status = -1
        count = found.packet_count
        if status < 0 or fit(scratch, count) < 0:
            return -1
        self.number_packets(found, scratch.numbers)
        self.packets.slices = self.slices
        if self.has_plan:
            self.plan.slices = self.slices
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
            scratch.containers if self.has_plan else NULL,
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
        if time_ns == NO_TIME and self.has_plan and self.plan.has_times:
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

    cdef finish_input(self, Found* found):
        cdef int status
        with nogil:
            status = self.process(found)
        if status < 0:
            raise MemoryError

    cdef int write(
        self, Found* found, const int32_t* containers, const int64_t* rows, const uint8_t* shorts, const int64_t* times,
    ) noexcept nogil:
        cdef int64_t index
        cdef const Packet* packet
        if self.emits_samples or self.emits_derived:
            for index in range(found.packet_count):
                packet = &found.packets[index]
                if self.rows.write_samples(
                    packet, containers[index] if self.has_plan else NO_CONTAINER, rows[index] if self.has_plan else -1,
                    times[index],
                ) < 0:
                    return -1
        if self.has_plan:
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
    @property
    def counts(self) -> dict:
        """Totals since the start or the last reset_counts(), as `decode --summary` wants them."""
        totals = {
            "input_bytes": self.input_bytes, "links": self.sequences.links(),
            "rejects": self.rows.rejects_by_reason(),
        }
        if self.passed.packets:
            totals["encapsulation"] = {
                "packets": self.passed.packets, "bytes": self.passed.bytes, "idle_bytes": self.passed.idle_bytes,
            }
        return totals

    def reset_counts(self) -> None:
        self.input_bytes = 0
        self.rows.reset_totals()
        memset(&self.passed, 0, sizeof(Passed))
        self.sequences.reset_totals()

    def snapshot(self) -> bytes:
        """All state that later batches depend on."""
        cdef Sync sync
        state = {
            "version": 1, "sources": [[name, sync.state()] for name, sync in self.syncs.items()],
            "channels": self.sequences.state(),
        }
        if self.boundaries == BOUNDARIES_DATAGRAMS:
            state["sources"] = []
        if self.joiner is not None:
            state["groups"] = (<Joiner> self.joiner).state(self.rows.sources)
        return json.dumps(state, separators=(",", ":")).encode()

    def restore(self, state: bytes) -> None:
        """Go on where `snapshot` was taken. ValueError for a state of another version."""
        cdef Sync sync
        read = json.loads(state) if state else {"version": 1, "sources": [], "channels": []}
        if read["version"] != 1:
            raise ValueError(f"decoder state of version {read['version']}; this program writes 1")
        self.syncs = {}
        for name, inner in read["sources"]:
            sync = self.sync_of(name)
            sync.set_state(inner)
        if self.joiner is not None:
            (<Joiner> self.joiner).set_state(read.get("groups", []), self.rows.sources)
        self.sequences.set_state(read["channels"])


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


# Moves what one datagram gave (from `packets` and `wastes` on) to the datagram's place in the file.
cdef void shift(Found* found, int64_t packets, int64_t wastes, int64_t offset) noexcept nogil:
    cdef int64_t index
    for index in range(packets, found.packet_count):
        found.packets[index].offset += offset
    for index in range(wastes, found.waste_count):
        found.wastes[index].offset += offset
