# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Transfer frames: bytes to frame rows, packets, and what was lost. TM, AOS and USLP, bare or in CADUs.

    decoder = FrameDecoder("cadu", rs="255,223", interleave=4, spacecraft="SNPP", link="viirs")
    out = decoder.decode(frames)              # a FRAMES batch; or decode_bytes(data)
    out = decoder.finish()                    # the end of a file
    packets.decode_packets(batch)             # framecodec.packets, for each batch of out.packets

`out` is a `DecodedFrames` with lists of record batches:

- `frames`: a row each, FRAME_FIELDS, also for those whose frame error control is wrong. `lost_before` is by how much the
  virtual channel's count went ahead; a frame that comes twice is no loss.
- `packets`: received_ns source packet offset scid vcid, for SpacePacketDecoder.decode_packets. `offset` is that of the frame or
  CADU in which the packet begins.
- `derived` (model.SAMPLES), for windows only: `frames_rx`, `frame_bytes`, `frames_lost`, `corrected_symbols`, `fecf_errors` of
  `<spacecraft>/vc/<id>`; `rs_uncorrectable`, `garbage_bytes`, `frames_refused`, `master_frames_lost` of the spacecraft. One row
  an event, so that windows do not depend on how the input was cut. Frames have no time of their own: the receive time is taken.
- `rejects` (model.REJECTS): `garbage`, `truncated`, `rs_uncorrectable` and `frame_version` are input without a frame row, so
  that their sizes and the frames' add up to the input; `bad_fecf`, `not_packets` and `partial_packet` are remarks of size 0.

What the link does not say about its frames may be left to them: with `fecf` None, the first frame tells whether it ends in a
right CRC; with `ocf` None, the flag in the header counts. The rest of the options is as `orbitrack decode` has it.

`boundaries` is as in framecodec.packets: `stream` (offsets in the stream), `frames` (a stream, offsets in the frame of the
batch), `datagrams` (every frame of the batch closed in itself). The layers below: framecodec.cadu finds frames,
framecodec.coding decodes them, framecodec.transfer reads headers, framecodec.channels makes packets.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen

import json

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.cadu cimport (
    CUT_BY_USLP, WASTE_GARBAGE, WASTE_RS, WASTE_TRUNCATED, Frame, FrameCutter, Stream, StreamOwner, WasteReason, add_segment, forget,
)
from framecodec.channels cimport REMARK_PARTIAL, Reassembler, Remark
from framecodec.coding cimport crc16, crc32
from framecodec.columns cimport Column, Names, Rows
from framecodec.records cimport (
    QUALITY_TIME_SUBSTITUTED, REJECT_DETAIL, REJECT_OFFSET, REJECT_REASON, REJECT_SIZE_BYTES, REJECT_SOURCE, REJECT_TIME, SAMPLE_ENTITY,
    SAMPLE_KIND, SAMPLE_METRIC, SAMPLE_QUALITY, SAMPLE_RECEIVED, SAMPLE_SOURCE, SAMPLE_TIME, SAMPLE_UNIT, SAMPLE_VALUE,
)
from framecodec.transfer cimport KIND_AOS, KIND_BY_VERSION, KIND_TM, KIND_USLP, FrameKind, Header, Layout, read_header

from framecodec.coding import ReedSolomon
from framecodec.records import REJECTS_FIELDS, SAMPLES_FIELDS

__all__ = ["DecodedFrames", "FrameDecoder"]

cdef enum:
    FRAME_BYTES_MIN = 7                  # a header and something in it
    FRAME_BYTES_MAX = 65536              # 732.1-B 4.1.2.7; TM and AOS frames are shorter
    CHANNELS_MAX = 1024
    SOURCES_MAX = 1024
    SOURCE_NAMES_MAX = 65536

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

cdef enum Fecf:
    FECF_OK
    FECF_BAD
    FECF_ABSENT

FECF_NAMES = ("ok", "bad", "absent")

# The first ones are framecodec.cadu's WasteReason.
cdef enum Reason:
    GARBAGE
    TRUNCATED
    RS_UNCORRECTABLE
    BAD_FECF
    FRAME_VERSION
    NOT_PACKETS
    PARTIAL_PACKET

REASONS = ("garbage", "truncated", "rs_uncorrectable", "bad_fecf", "frame_version", "not_packets", "partial_packet")

cdef enum Metric:
    FRAMES_RX
    FRAME_BYTES
    FRAMES_LOST
    CORRECTED_SYMBOLS
    FECF_ERRORS
    RS_ERRORS
    GARBAGE_BYTES
    FRAMES_REFUSED
    MASTER_FRAMES_LOST

# (name, unit), in the order of the numbers above.
METRICS = (
    ("frames_rx", "frames"), ("frame_bytes", "bytes"), ("frames_lost", "frames"), ("corrected_symbols", "symbols"),
    ("fecf_errors", "frames"), ("rs_uncorrectable", "frames"), ("garbage_bytes", "bytes"), ("frames_refused", "frames"),
    ("master_frames_lost", "frames"),
)
EMITTED = ("derived", "frames", "packets", "payload")
CODES = {"255,223": 32, "255,239": 16}


class DecodedFrames:
    """What came out of some input; every list holds pyarrow.RecordBatch."""

    def __init__(self):
        self.samples, self.derived, self.flows, self.rejects, self.frames, self.packets = [], [], [], [], [], []


cdef class FrameDecoder(FrameCutter):
    """`kind` is tm, aos, uslp or cadu; see the module for the rest. ValueError for options that do not fit together."""

    def __cinit__(
        self, str kind, frame_length=None, *, fecf=None, ocf=None, int insert_zone=0, bint header_check=False, vc_mode=None,
        randomized=None, rs=None, int interleave=1, str rs_basis="dual", str spacecraft="", str link="", str boundaries="frames",
        emit=EMITTED[:3], int marker_errors=3, int flywheel=2,
    ):
        kinds = ("tm", "aos", "uslp", "cadu")
        unknown = set(emit) - set(EMITTED)
        if kind not in kinds or unknown or boundaries not in ("stream", "frames", "datagrams"):
            raise ValueError(f"kind '{kind}', emit {sorted(unknown)} or boundaries '{boundaries}' is not known")
        if not 0 <= marker_errors <= 3 or not 0 <= flywheel <= 16:
            raise ValueError(f"{marker_errors} wrong bits in a marker or {flywheel} frames without one; up to 3 and 16 can be borne")
        self.kind, self.boundaries, self.spacecraft = kind, boundaries, spacecraft or link
        self.layout.kind = KIND_BY_VERSION if kind == "cadu" else <FrameKind> <int> kinds.index(kind)
        self.layout.ocf = -1 if ocf is None else 1 if ocf else 0
        self.layout.insert_zone_bytes, self.layout.has_header_check = insert_zone, header_check
        self.fecf = -1 if fecf is None else 1 if fecf else 0
        self.emits_frames, self.emits_payload = "frames" in emit, "payload" in emit
        self.emits_derived, self.emits_packets = "derived" in emit, "packets" in emit
        rs = rs or ("255,223" if kind == "cadu" else "none")
        if rs != "none" and rs not in CODES:
            raise ValueError(f"no Reed-Solomon code '{rs}'; there are {', '.join(CODES)} and none")
        code = ReedSolomon(CODES[rs], interleave, rs_basis) if rs != "none" else None
        if frame_length is None and code is not None:
            frame_length = code.data_bytes
        if frame_length is None and kind != "uslp":
            raise ValueError(f"{kind} frames are told apart by their length only: frame_length must be given")
        if frame_length is not None and not FRAME_BYTES_MIN <= frame_length <= FRAME_BYTES_MAX:
            raise ValueError(f"frame_length {frame_length}: frames have {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX:,} bytes")
        is_randomized = kind == "cadu" if randomized is None else bool(randomized)
        if frame_length is None and is_randomized:
            raise ValueError("randomized USLP frames do not show their length: frame_length must be given")
        cutting = "marker" if kind == "cadu" else "uslp" if frame_length is None else "length"
        self.set_coding(cutting, frame_length or 0, code, is_randomized, marker_errors, flywheel)
        self.owners = {}
        self.open_rows()
        self.reassembler = Reassembler(self.sources, vc_mode)
        self.start()

    def __dealloc__(self):
        cdef int index
        for index in range(self.channel_count):
            free(self.channels[index].last_frame)
        free(self.channels)
        free(self.masters)
        free(self.joined)

    # As if nothing had been seen; the counts stay.
    def start(self) -> None:
        cdef int index
        self.is_fecf_known = self.fecf == 0
        self.layout.fecf_bytes = 0
        for index in range(self.channel_count):
            self.channels[index].last_count[0] = self.channels[index].last_count[1] = -1
            self.channels[index].last_size = 0
        for index in range(self.master_count):
            self.masters[index].last_count = -1
        self.reassembler.forget()

    # Fresh rows and dictionaries.
    def open_rows(self) -> None:
        cdef Names metrics = Names(), kinds = Names(), units = Names(), reasons = Names(), checks = Names(), entities = Names()
        self.sources = Names()
        entities.add(self.spacecraft)
        kinds.add("gauge")
        for metric, unit in METRICS:
            metrics.add(metric)
        for unit in ("frames", "bytes", "symbols"):
            units.add(unit)
        for reason in REASONS:
            reasons.add(reason)
        for check in FECF_NAMES:
            checks.add(check)
        shared = {
            "entity": entities, "metric": metrics, "kind": kinds, "unit": units, "source": self.sources, "reason": reasons,
            "fecf": checks,
        }
        self.derived = Rows([(*field, shared.get(field[0])) for field in SAMPLES_FIELDS])
        self.rejects = Rows([(*field, shared.get(field[0])) for field in REJECTS_FIELDS])
        self.frame_rows = Rows([(*field, shared.get(field[0])) for field in FRAME_FIELDS[:OUT_FRAME + self.emits_payload]])

    # -- input ---------------------------------------------------------------------------------------------------------
    def decode(self, frames) -> DecodedFrames:
        """Decode a batch of model.FRAMES (a pyarrow.RecordBatch), all of one link; a sixth column `offset` is added to offsets."""
        capsules = frames.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsules[0], "arrow_schema")
        cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsules[1], "arrow_array")
        if schema.n_children < 5 or any(schema.children[index].format != form for index, form in ((0, b"l"), (1, b"i"), (4, b"z"))):
            raise TypeError("a batch of model.FRAMES is needed")
        cdef ArrowArray* received = array.children[0]
        cdef ArrowArray* source = array.children[1]
        cdef ArrowArray* frame = array.children[4]
        cdef const int32_t* ids = <const int32_t*> source.buffers[1] + source.offset + array.offset
        cdef const int32_t* ends = <const int32_t*> frame.buffers[1] + frame.offset + array.offset
        cdef const uint8_t* data = <const uint8_t*> frame.buffers[2]
        cdef const int64_t* offsets = NULL
        cdef int64_t row = 0, first, at, offset, received_ns
        cdef int32_t number
        cdef StreamOwner owner
        if array.n_children > 5 and schema.children[5].name == b"offset":
            offsets = <const int64_t*> array.children[5].buffers[1] + array.children[5].offset + array.offset
        self.begin()
        while row < array.length:
            first = row
            while row < array.length and ids[row] == ids[first]:
                row += 1
            name = dictionary_name(source, ids[first])
            number = self.sources.add(name)
            owner = self.owner_of("" if self.boundaries == "datagrams" else name)
            for at in range(first, row):
                offset = offsets[at] if offsets != NULL else owner.stream.received_bytes if self.boundaries == "stream" else 0
                received_ns = received_at(received, array.offset + at)
                if self.boundaries == "datagrams":
                    forget(&owner.stream)
                if add_segment(&owner.stream, ends[at + 1] - ends[at], offset, received_ns) < 0:
                    raise MemoryError
                if self.boundaries == "datagrams":
                    self.run_stream(&owner.stream, data + ends[at], ends[at + 1] - ends[at], True, number)
            if self.boundaries != "datagrams":
                self.run_stream(&owner.stream, data + ends[first], ends[row] - ends[first], False, number)
        return self.hand_over()

    def decode_bytes(self, data, received_ns=None, str source="") -> DecodedFrames:
        """The same for a piece of a byte stream (any buffer)."""
        cdef Py_buffer view
        cdef StreamOwner owner = self.owner_of(source)
        self.begin()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if add_segment(
                &owner.stream, view.len, owner.stream.received_bytes if self.boundaries == "stream" else 0,
                -1 if received_ns is None else received_ns,
            ) < 0:
                raise MemoryError
            self.run_stream(&owner.stream, <const uint8_t*> view.buf, view.len, False, self.sources.add(source))
        finally:
            PyBuffer_Release(&view)
        return self.hand_over()

    def finish(self) -> DecodedFrames:
        """The end of the input: what is undecided is decided, and everything but the counts is forgotten."""
        cdef StreamOwner owner
        self.begin()
        for name, owner in self.owners.items():
            self.run_stream(&owner.stream, NULL, 0, True, self.sources.add(name))
        if self.reassembler.close() < 0 or self.take_remarks() < 0:
            raise MemoryError
        self.owners = {}
        out = self.hand_over()
        self.start()
        return out

    cdef StreamOwner owner_of(self, str name):
        cdef StreamOwner owner = self.owners.pop(name, None)
        if owner is None:
            if len(self.owners) >= SOURCES_MAX:          # the one that has been silent longest goes, with what it left
                self.owners.pop(next(iter(self.owners)))
            owner = StreamOwner()
        self.owners[name] = owner
        return owner

    cdef run_stream(self, Stream* stream, const uint8_t* data, int64_t size, bint is_final, int32_t source):
        cdef void* moved
        cdef int64_t total = stream.kept_size + size
        cdef int status
        self.input_bytes += size
        if stream.kept_size:
            if total > self.joined_capacity:
                moved = realloc(self.joined, 2 * total)
                if moved == NULL:
                    raise MemoryError
                self.joined, self.joined_capacity = <uint8_t*> moved, 2 * total
            memcpy(self.joined, stream.kept, stream.kept_size)
            if size:
                memcpy(self.joined + stream.kept_size, data, size)
            data = self.joined
        with nogil:
            status = self.run(stream, data, total, is_final, source)
        if status < 0:
            raise MemoryError

    # -- what the cutter finds -----------------------------------------------------------------------------------------
    cdef bint check_frame(self, const uint8_t* frame, int64_t size) noexcept nogil:
        if self.layout.fecf_bytes == 4:
            return crc32(frame, size) == 0
        return crc16(frame, size) == 0

    cdef bint vouches(self, const uint8_t* frame, int64_t size) noexcept nogil:
        if self.is_fecf_known:
            return self.layout.fecf_bytes > 0 and self.check_frame(frame, size)
        return crc16(frame, size) == 0 or (frame[0] >> 4 == 12 and crc32(frame, size) == 0)

    cdef bint can_vouch(self) noexcept nogil:
        return self.is_fecf_known and self.layout.fecf_bytes > 0

    cdef int on_frame(self, const Frame* frame) noexcept nogil:
        cdef Header header
        cdef const char* wrong
        cdef VirtualChannel* channel = NULL
        cdef MasterChannel* master
        cdef bint is_repeated, is_uslp
        cdef int64_t lost
        cdef int index, check = FECF_ABSENT
        if not self.is_fecf_known:
            self.is_fecf_known = True
            if frame.data[0] >> 4 == 12 and crc32(frame.data, frame.size) == 0:
                self.layout.fecf_bytes = 4
            elif self.fecf > 0 or crc16(frame.data, frame.size) == 0:
                self.layout.fecf_bytes = 2
        is_uslp = self.layout.kind == KIND_USLP or (self.layout.kind == KIND_BY_VERSION and frame.data[0] >> 4 == 12)
        # A truncated USLP frame has no frame error control.
        if self.layout.fecf_bytes and not (is_uslp and frame.data[3] & 1):
            check = FECF_OK if frame.is_checked or self.check_frame(frame.data, frame.size) else FECF_BAD
        wrong = read_header(frame.data, frame.size, &self.layout, &header)
        if check == FECF_BAD:
            self.frame_total += 1
            if wrong == NULL:
                for index in range(self.channel_count):      # only one that good frames have shown
                    if self.channels[index].scid == header.scid and self.channels[index].vcid == header.vcid:
                        channel = &self.channels[index]
                        channel.fecf_errors += 1
            if self.emits_frames and self.write_frame(&header if wrong == NULL else NULL, frame, 0, check) < 0:
                return -1
            if self.emits_derived and self.write_derived(
                channel.entity if channel != NULL else 0, FECF_ERRORS, 1, frame.received_ns, frame.source,
            ) < 0:
                return -1
            return self.write_reject(BAD_FECF, frame.offset, 0, frame.received_ns, frame.source, "the frame's CRC is wrong")
        if wrong == NULL:
            channel = self.channel_of(header.scid, header.vcid)
            if channel == NULL:
                return -1
            index = self.reassembler.stream_of(header.scid, header.vcid, header.map_id) if channel.entity >= 0 else -2
            if index == -1:
                return -1
            if index < 0:
                wrong = "more than 1,024 virtual channels"
        if wrong != NULL:
            if self.emits_derived and self.write_derived(0, FRAMES_REFUSED, 1, frame.received_ns, frame.source) < 0:
                return -1
            return self.write_reject(FRAME_VERSION, frame.offset, frame.block_bytes, frame.received_ns, frame.source, wrong)
        is_repeated = (
            header.count >= 0 and header.count == channel.last_count[header.lane] and channel.last_size == frame.size
            and memcmp(channel.last_frame, frame.data, frame.size) == 0
        )
        lost = self.note_count(channel, &header)
        self.frame_total += 1
        channel.frames += 1
        channel.lost += lost
        channel.bytes += frame.size
        channel.repeated += is_repeated
        channel.corrected += frame.corrected
        if self.keep_frame(channel, frame.data, frame.size) < 0:
            return -1
        if self.emits_frames and self.write_frame(&header, frame, lost, check) < 0:
            return -1
        if self.emits_derived:
            if (
                self.write_derived(channel.entity, FRAMES_RX, 1, frame.received_ns, frame.source) < 0
                or self.write_derived(channel.entity, FRAME_BYTES, <double> frame.size, frame.received_ns, frame.source) < 0
            ):
                return -1
            if lost and self.write_derived(channel.entity, FRAMES_LOST, <double> lost, frame.received_ns, frame.source) < 0:
                return -1
            if frame.corrected and self.write_derived(
                channel.entity, CORRECTED_SYMBOLS, frame.corrected, frame.received_ns, frame.source,
            ) < 0:
                return -1
        if header.master_count >= 0:
            master = self.master_of(header.scid)
            if master == NULL:
                return -1
            index = (header.master_count - master.last_count - 1) & 0xFF if master.last_count >= 0 and not is_repeated else 0
            master.last_count = header.master_count
            master.lost += index
            if index and self.emits_derived and self.write_derived(0, MASTER_FRAMES_LOST, index, frame.received_ns, frame.source) < 0:
                return -1
        if is_repeated or not self.emits_packets:
            return 0
        index = self.reassembler.stream_of(header.scid, header.vcid, header.map_id)
        if self.reassembler.feed(&self.reassembler.streams[index], &header, frame, lost > 0) < 0:
            return -1
        return self.take_remarks() if self.reassembler.remark_count else 0

    cdef int on_waste(
        self, WasteReason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source,
    ) noexcept nogil:
        cdef const char* detail = "no frame begins here"
        if reason == WASTE_RS:
            detail = "a codeword has more wrong symbols than can be corrected"
        elif reason == WASTE_TRUNCATED:
            detail = "a frame that is not whole"
        if self.emits_derived:
            if reason == WASTE_RS and self.write_derived(0, RS_ERRORS, 1, received_ns, source) < 0:
                return -1
            if reason == WASTE_GARBAGE and self.write_derived(0, GARBAGE_BYTES, <double> size, received_ns, source) < 0:
                return -1
        return self.write_reject(<int> reason, offset, size, received_ns, source, detail)

    # How many frames are missing before this one, by the channel's count.
    cdef int64_t note_count(self, VirtualChannel* channel, const Header* header) noexcept nogil:
        cdef int64_t last = channel.last_count[header.lane]
        if header.count < 0:
            return 0
        channel.last_count[header.lane] = header.count
        if last < 0 or last == header.count:
            return 0
        return <int64_t> (<uint64_t> (header.count - last - 1) & header.count_mask)

    cdef int keep_frame(self, VirtualChannel* channel, const uint8_t* frame, int64_t size) noexcept nogil:
        cdef void* moved
        if size > channel.last_capacity:
            moved = realloc(channel.last_frame, size)
            if moved == NULL:
                return -1
            channel.last_frame, channel.last_capacity = <uint8_t*> moved, size
        if size:                                 # memcpy may not be handed NULL, not even for nothing
            memcpy(channel.last_frame, frame, size)
        channel.last_size = size
        return 0

    # A new channel's name is made with the GIL: once in the life of a channel. entity -1: there are too many.
    cdef VirtualChannel* channel_of(self, int32_t scid, int32_t vcid) noexcept nogil:
        cdef int index
        cdef void* moved
        cdef VirtualChannel* channel
        cdef char name[64]
        for index in range(self.channel_count):
            if self.channels[index].scid == scid and self.channels[index].vcid == vcid:
                return &self.channels[index]
        if self.channel_count == self.channel_capacity:
            moved = realloc(self.channels, (2 * self.channel_capacity + 8) * sizeof(VirtualChannel))
            if moved == NULL:
                return NULL
            self.channels, self.channel_capacity = <VirtualChannel*> moved, 2 * self.channel_capacity + 8
        channel = &self.channels[self.channel_count]
        memset(channel, 0, sizeof(VirtualChannel))
        channel.scid, channel.vcid, channel.entity = scid, vcid, -1
        channel.last_count[0] = channel.last_count[1] = -1
        if self.channel_count >= CHANNELS_MAX:
            return channel                                   # a slot that is not kept
        with gil:
            channel.entity = (<Names> self.derived.names[SAMPLE_ENTITY]).add(f"{self.spacecraft}/vc/{vcid}")
        self.channel_count += 1
        return channel

    cdef MasterChannel* master_of(self, int32_t scid) noexcept nogil:
        cdef int index
        cdef void* moved
        for index in range(self.master_count):
            if self.masters[index].scid == scid:
                return &self.masters[index]
        if self.master_count == self.master_capacity:
            moved = realloc(self.masters, (2 * self.master_capacity + 8) * sizeof(MasterChannel))
            if moved == NULL:
                return NULL
            self.masters, self.master_capacity = <MasterChannel*> moved, 2 * self.master_capacity + 8
        self.masters[self.master_count].scid, self.masters[self.master_count].last_count = scid, -1
        self.masters[self.master_count].lost = 0
        self.master_count += 1
        return &self.masters[self.master_count - 1]

    # -- output --------------------------------------------------------------------------------------------------------
    def begin(self):
        cdef int index
        if self.sources.count <= SOURCE_NAMES_MAX:
            return
        old, state = self.sources, self.reassembler.state(self.sources)
        self.open_rows()
        self.reassembler.open_rows(self.sources)
        self.reassembler.set_state(state, self.sources)
        for index in range(self.channel_count):
            name = f"{self.spacecraft}/vc/{self.channels[index].vcid}"
            self.channels[index].entity = (<Names> self.derived.names[SAMPLE_ENTITY]).add(name)

    def hand_over(self):
        """The rows as Arrow; rows of nothing are left out."""
        import pyarrow
        out = DecodedFrames()
        for rows, batches in (
            (self.derived, out.derived), (self.rejects, out.rejects), (self.frame_rows, out.frames),
            (self.reassembler.packets, out.packets),
        ):
            if len(rows):
                batches.append(pyarrow.record_batch(rows.flush()))
        return out

    cdef int take_remarks(self) noexcept nogil:
        cdef int64_t index
        cdef Remark* remark
        for index in range(self.reassembler.remark_count):
            remark = &self.reassembler.remarks[index]
            if self.write_reject(
                PARTIAL_PACKET if remark.reason == REMARK_PARTIAL else NOT_PACKETS, remark.offset, 0, remark.received_ns,
                remark.source, remark.detail,
            ) < 0:
                return -1
        self.reassembler.remark_count = 0
        return 0

    cdef int write_frame(self, const Header* header, const Frame* frame, int64_t lost, int fecf) noexcept nogil:
        cdef int64_t row = self.frame_rows.length
        cdef Column* out
        if self.frame_rows.reserve(1) < 0:
            return -1
        out = self.frame_rows.columns
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
        if self.emits_payload and self.frame_rows.put_bytes(OUT_FRAME, frame.data, frame.size) < 0:
            return -1
        self.frame_rows.next_row()
        return 0

    cdef int write_derived(self, int32_t entity, int metric, double value, int64_t received_ns, int32_t source) noexcept nogil:
        cdef int64_t row = self.derived.length
        cdef int32_t unit
        cdef Column* out
        if self.derived.reserve(1) < 0:
            return -1
        out = self.derived.columns
        if received_ns >= 0:
            (<int64_t*> out[SAMPLE_TIME].values)[row] = received_ns
            (<int64_t*> out[SAMPLE_RECEIVED].values)[row] = received_ns
            out[SAMPLE_RECEIVED].valid[row] = 1
        else:
            (<uint16_t*> out[SAMPLE_QUALITY].values)[row] = QUALITY_TIME_SUBSTITUTED
        (<int32_t*> out[SAMPLE_ENTITY].values)[row] = entity
        (<int32_t*> out[SAMPLE_METRIC].values)[row] = metric
        (<double*> out[SAMPLE_VALUE].values)[row] = value
        out[SAMPLE_VALUE].valid[row] = 1
        (<int32_t*> out[SAMPLE_KIND].values)[row] = 0
        # The units are frames, bytes, symbols, in this order.
        unit = 1 if metric == FRAME_BYTES or metric == GARBAGE_BYTES else 2 if metric == CORRECTED_SYMBOLS else 0
        (<int32_t*> out[SAMPLE_UNIT].values)[row] = unit
        out[SAMPLE_UNIT].valid[row] = 1
        (<int32_t*> out[SAMPLE_SOURCE].values)[row] = source
        self.derived.length += 1
        return 0

    cdef int write_reject(
        self, int reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const char* detail,
    ) noexcept nogil:
        cdef int64_t row = self.rejects.length
        cdef Column* out
        self.reject_counts[reason] += 1
        if self.rejects.reserve(1) < 0:
            return -1
        out = self.rejects.columns
        if received_ns >= 0:
            (<int64_t*> out[REJECT_TIME].values)[row] = received_ns
            out[REJECT_TIME].valid[row] = 1
        (<int32_t*> out[REJECT_SOURCE].values)[row] = source
        (<int32_t*> out[REJECT_REASON].values)[row] = reason
        (<int64_t*> out[REJECT_OFFSET].values)[row] = offset
        (<int64_t*> out[REJECT_SIZE_BYTES].values)[row] = size
        if self.rejects.put_bytes(REJECT_DETAIL, <const uint8_t*> detail, strlen(detail)) < 0:
            return -1
        self.rejects.next_row()
        return 0

    # -- counts and state ----------------------------------------------------------------------------------------------
    @property
    def counts(self) -> dict:
        """Totals since the start or the last reset_counts(), as `decode --summary` wants them."""
        cdef int index
        links = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            if channel.frames or channel.fecf_errors:
                links.append({
                    "scid": channel.scid, "vcid": channel.vcid, "frames": channel.frames, "lost_frames": channel.lost,
                    "frame_bytes": channel.bytes, "repeated_frames": channel.repeated, "corrected_symbols": channel.corrected,
                    "fecf_errors": channel.fecf_errors, "apids": {},
                })
        masters = [{"scid": self.masters[index].scid, "lost_frames": self.masters[index].lost} for index in range(self.master_count)]
        return {
            "input_bytes": self.input_bytes, "frames": self.frame_total, "block_bytes": self.block_bytes, "links": links, "masters": masters,
            "rejects": {reason: self.reject_counts[index] for index, reason in enumerate(REASONS) if self.reject_counts[index]},
        }

    @property
    def accounts(self) -> list:
        """Where the bytes of the packet zones of each virtual channel went since the input began: they add up to data_bytes."""
        return self.reassembler.accounts()

    def reset_counts(self) -> None:
        cdef int index
        self.input_bytes = self.frame_total = 0
        memset(self.reject_counts, 0, sizeof(self.reject_counts))
        for index in range(self.channel_count):
            channel = &self.channels[index]
            channel.frames = channel.lost = channel.bytes = channel.repeated = channel.corrected = channel.fecf_errors = 0
        for index in range(self.master_count):
            self.masters[index].lost = 0

    def snapshot(self) -> bytes:
        """All state that later batches depend on."""
        cdef int index
        cdef StreamOwner owner
        channels = []
        for index in range(self.channel_count):
            channel = &self.channels[index]
            last = (<bytes> (<char*> channel.last_frame)[:channel.last_size]).hex() if channel.last_size else ""
            channels.append([channel.scid, channel.vcid, [channel.last_count[0], channel.last_count[1]], last])
        state = {
            "version": 1, "fecf": [bool(self.is_fecf_known), self.layout.fecf_bytes], "channels": channels,
            "masters": [[self.masters[index].scid, self.masters[index].last_count] for index in range(self.master_count)],
            "streams": [[name, owner.state()] for name, owner in self.owners.items()] if self.boundaries != "datagrams" else [],
            "packets": self.reassembler.state(self.sources),
        }
        return json.dumps(state, separators=(",", ":")).encode()

    def restore(self, state: bytes) -> None:
        """Go on where `snapshot` was taken. ValueError for a state of another version."""
        cdef VirtualChannel* channel
        cdef MasterChannel* master
        cdef StreamOwner owner
        cdef bytes last
        self.owners = {}
        self.start()
        if not state:
            return
        read = json.loads(state)
        if read["version"] != 1:
            raise ValueError(f"decoder state of version {read['version']}; this program writes 1")
        self.is_fecf_known, self.layout.fecf_bytes = read["fecf"]
        for name, inner in read["streams"]:
            owner = self.owner_of(name)
            owner.set_state(inner)
        for scid, vcid, counts, frame in read["channels"]:
            channel = self.channel_of(scid, vcid)
            last = bytes.fromhex(frame)
            if channel == NULL or self.keep_frame(channel, <const uint8_t*> <char*> last, len(last)) < 0:
                raise MemoryError
            channel.last_count[0], channel.last_count[1] = counts
        for scid, count in read["masters"]:
            master = self.master_of(scid)
            if master == NULL:
                raise MemoryError
            master.last_count = count
        self.reassembler.set_state(read["packets"], self.sources)


cdef inline int64_t received_at(const ArrowArray* column, int64_t row) noexcept nogil:
    cdef const uint8_t* valid = <const uint8_t*> column.buffers[0]
    row += column.offset
    if valid != NULL and not (valid[row >> 3] >> (row & 7)) & 1:
        return -1
    return (<const int64_t*> column.buffers[1])[row]


cdef str dictionary_name(const ArrowArray* column, int32_t index):
    cdef const int32_t* ends = <const int32_t*> column.dictionary.buffers[1] + column.dictionary.offset
    cdef const char* text = <const char*> column.dictionary.buffers[2]
    return text[ends[index]:ends[index + 1]].decode("utf-8", "replace")
