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
from libc.string cimport memcpy, memset

import json

from framecodec.found_packets cimport Found, free_found
from framecodec.frame_input cimport FrameInput
from framecodec.packet_input cimport PacketInput
from framecodec.packet_slices cimport PacketSlices
from framecodec.sync cimport Sync

__all__ = ["Decoded", "SpacePacketDecoder"]

cdef enum:
    SOURCES_MAX = 1024
    # Packets that are found, counted, decoded and written before the next ones are looked for: they stay in the cache.
    SLICE_PACKETS = 512
    # Of new bytes, looked at to decide on what was kept: mostly enough. If not, 32 times as much.
    HEAD_BYTES = 2048

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
        self.record_header, self.syncs = record_header_bytes, {}
        self.slices = PacketSlices(
            definition, spacecraft or link, emit, parameters, clock_limit_ns, idle, join_segments, raw, time_code,
        )

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
        self.slices.begin()
        memset(&found, 0, sizeof(Found))
        try:
            while row < given.length:
                first, row = row, given.next_sender(row)
                name = given.source(first)
                number = self.slices.rows.sources.add(name)
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
            self.finish_input(&found, False)
        finally:
            free_found(&found)
        return self.hand_over()

    def decode_bytes(self, data, received_ns=None, str source="") -> Decoded:
        """The same for a piece of a byte stream (any buffer)."""
        cdef Py_buffer view
        cdef Found found
        cdef Sync sync
        cdef list buffers = []
        self.slices.begin()
        memset(&found, 0, sizeof(Found))
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.input_bytes += view.len
            sync = self.sync_of(source)
            if sync.add_segment(view.len, -1 if received_ns is None else received_ns) < 0:
                raise MemoryError
            number = self.slices.rows.sources.add(source)
            self.run_sync(sync, <const uint8_t*> view.buf, view.len, False, number, &found, buffers)
            self.finish_input(&found, False)
        finally:
            PyBuffer_Release(&view)
            free_found(&found)
        return self.hand_over()

    def decode_packets(self, packets) -> Decoded:
        """Decode packets that are already cut: a batch of received_ns int64?, source dictionary, packet binary, offset int64,
        scid int32?, vcid int32?. A row that is not exactly one packet of version 0 is rejected as garbage or truncated."""
        cdef PacketInput given = PacketInput(packets)
        cdef Found found
        self.slices.begin()
        memset(&found, 0, sizeof(Found))
        try:
            self.input_bytes += given.find(&found, self.slices.rows.sources)
            self.finish_input(&found, False)
        finally:
            free_found(&found)
        return self.hand_over()

    def finish(self) -> Decoded:
        """The end of the input: what is undecided is decided, and everything but the counts is forgotten."""
        cdef Found found
        cdef Sync sync
        cdef list buffers = []
        self.slices.begin()
        memset(&found, 0, sizeof(Found))
        try:
            for name, sync in self.syncs.items():
                self.run_sync(sync, NULL, 0, True, self.slices.rows.sources.add(name), &found, buffers)
            self.finish_input(&found, True)
        finally:
            free_found(&found)
        self.syncs = {}
        self.slices.forget()
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
                    self.slices.expected = (size - done) // (sync.position - begin - done) + 1
                    status = self.slices.process(found, False)
                if status < 0:
                    break
        self.slices.expected = 1
        if status < 0:
            raise MemoryError

    # What the last slice left.
    cdef finish_input(self, Found* found, bint is_final):
        cdef int status
        with nogil:
            status = self.slices.process(found, is_final)
        if status < 0:
            raise MemoryError

    # Everything that was decoded since the input began.
    cdef hand_over(self):
        out = Decoded()
        self.slices.hand_over(out)
        return out

    # -- counts and state ----------------------------------------------------------------------------------------------
    @property
    def counts(self) -> dict:
        """Totals since the start or the last reset_counts(), as `decode --summary` wants them."""
        return {"input_bytes": self.input_bytes, **self.slices.totals()}

    def reset_counts(self) -> None:
        self.input_bytes = 0
        self.slices.reset_totals()

    def snapshot(self) -> bytes:
        """All state that later batches depend on."""
        cdef Sync sync
        sources = [[name, sync.state()] for name, sync in self.syncs.items()] if self.boundaries != BOUNDARIES_DATAGRAMS else []
        state = {"version": 1, "sources": sources, **self.slices.state()}
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
        self.slices.set_state(read)


# Moves what one datagram gave (from `packets` and `wastes` on) to the datagram's place in the file.
cdef void shift(Found* found, int64_t packets, int64_t wastes, int64_t offset) noexcept nogil:
    cdef int64_t index
    for index in range(packets, found.packet_count):
        found.packets[index].offset += offset
    for index in range(wastes, found.waste_count):
        found.wastes[index].offset += offset
