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
- `derived` (model.SAMPLES), for windows only: `frames_rx`, `frame_bytes`, `frames_lost`, `corrected_symbols`, `fecf_errors`,
  `corrected_header_symbols` of `<spacecraft>/vc/<id>`; `rs_uncorrectable`, `garbage_bytes`, `frames_refused`,
  `master_frames_lost` of the spacecraft. One row an event, so that windows do not depend on how the input was cut. Frames have
  no time of their own: the receive time is taken.
- `samples` (model.SAMPLES): what the operational control fields say of the telecommand link, see framecodec.clcw.
- `rejects` (model.REJECTS): `garbage`, `truncated`, `rs_uncorrectable` and `frame_version` are input without a frame row, so
  that their sizes and the frames' add up to the input; `bad_fecf`, `not_packets` and `partial_packet` are remarks of size 0.

What the link does not say about its frames may be left to them: with `fecf` None, the first frame tells whether it ends in a
right CRC; with `ocf` None, the flag in the header counts. The frames of `uncounted` channels are not counted on: see
framecodec.frame_counts. The rest of the options is as `orbitrack decode` has it.

`boundaries` is as in framecodec.packets: `stream` (offsets in the stream), `frames` (a stream, offsets in the frame of the
batch), `datagrams` (every frame of the batch closed in itself). The layers below: framecodec.cadu and framecodec.frame_cutter
find frames, framecodec.coding decodes them, framecodec.transfer reads headers, framecodec.frame_counts compares their counts,
framecodec.channels makes packets, framecodec.frame_rows writes all other rows.
"""
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, strlen

import json

from framecodec.cadu cimport CaduCutter
from framecodec.channel_modes cimport REMARK_PARTIAL, Remark
from framecodec.channels cimport Reassembler
from framecodec.clcw cimport CommandReports
from framecodec.coding cimport crc16, crc32
from framecodec.frame_counts cimport NO_MEMORY, TOO_MANY, Continuity, FrameCounts
from framecodec.frame_cutter cimport WASTE_GARBAGE, WASTE_RS, WASTE_TRUNCATED, Frame, WasteReason
from framecodec.frame_input cimport FrameInput
from framecodec.frame_rows cimport (
    BAD_FECF, CORRECTED_HEADER_SYMBOLS, CORRECTED_SYMBOLS, FECF_ABSENT, FECF_BAD, FECF_ERRORS, FECF_OK, FRAME_BYTES,
    FRAME_VERSION, FRAMES_LOST, FRAMES_REFUSED, FRAMES_RX, GARBAGE_BYTES, MASTER_FRAMES_LOST, NOT_PACKETS, PARTIAL_PACKET,
    RS_ERRORS, FrameRows, Reason,
)
from framecodec.frame_streams cimport Stream, StreamOwner, add_segment, forget
from framecodec.header_check cimport HEADER_CHECK_BYTES, HEADER_UNCORRECTABLE, HeaderCheck
from framecodec.link_rows cimport entity_of
from framecodec.transfer cimport KIND_BY_VERSION, KIND_USLP, FrameKind, Header, read_header

from framecodec.coding import ReedSolomon

__all__ = ["DecodedFrames", "FrameDecoder"]

cdef enum:
    NO_CHANNEL = -1                      # events of the spacecraft
    FRAME_BYTES_MIN = 7                  # a header and something in it
    FRAME_BYTES_MAX = 65536              # 732.1-B 4.1.2.7; TM and AOS frames are shorter
    SOURCES_MAX = 1024
    # The dictionary of senders starts anew with the next batch when it has more than this.
    SOURCE_NAMES_MAX = 65536

cdef const char* HEX_DIGITS = "0123456789abcdef"

EMITTED = ("samples", "derived", "frames", "packets", "payload")
CODES = {"255,223": 32, "255,239": 16}


class DecodedFrames:
    """What came out of some input; every list holds pyarrow.RecordBatch."""

    def __init__(self):
        self.samples, self.derived, self.flows, self.rejects, self.frames, self.packets = [], [], [], [], [], []


cdef class FrameDecoder(CaduCutter):
    """`kind` is tm, aos, uslp or cadu; see the module for the rest. ValueError for options that do not fit together."""

    def __cinit__(
        self, str kind, frame_length=None, *, fecf=None, ocf=None, int insert_zone=0, bint header_check=False, vc_mode=None,
        uncounted=(), randomized=None, rs=None, int interleave=1, str rs_basis="dual", str spacecraft="", str link="",
        str boundaries="frames", emit=EMITTED[:4], int marker_errors=3, int flywheel=2, truncated_length=None,
    ):
        kinds = ("tm", "aos", "uslp", "cadu")
        unknown = set(emit) - set(EMITTED)
        if kind not in kinds or unknown or boundaries not in ("stream", "frames", "datagrams"):
            raise ValueError(f"kind '{kind}', emit {sorted(unknown)} or boundaries '{boundaries}' is not known")
        if not 0 <= marker_errors <= 3 or not 0 <= flywheel <= 16:
            raise ValueError(
                f"{marker_errors} wrong bits in a marker or {flywheel} frames without one; up to 3 and 16 can be borne"
            )
        self.kind, self.boundaries = kind, boundaries
        self.layout.kind = KIND_BY_VERSION if kind == "cadu" else <FrameKind> <int> kinds.index(kind)
        self.layout.ocf = -1 if ocf is None else 1 if ocf else 0
        self.layout.insert_zone_bytes, self.layout.has_header_check = insert_zone, header_check
        self.fecf = -1 if fecf is None else 1 if fecf else 0
        self.emits_samples, self.emits_derived = "samples" in emit, "derived" in emit
        self.emits_frames, self.emits_packets = "frames" in emit, "packets" in emit
        rs = rs or ("255,223" if kind == "cadu" else "none")
        if rs != "none" and rs not in CODES:
            raise ValueError(f"no Reed-Solomon code '{rs}'; there are {', '.join(CODES)} and none")
        code = ReedSolomon(CODES[rs], interleave, rs_basis) if rs != "none" else None
        if frame_length is None and code is not None:
            frame_length = code.data_bytes
        if frame_length is None and kind != "uslp":
            raise ValueError(f"{kind} frames are told apart by their length only: frame_length must be given")
        if truncated_length is not None and (
            kind != "uslp" or frame_length is not None or not 5 <= truncated_length <= FRAME_BYTES_MAX
        ):
            raise ValueError(
                f"truncated_length {truncated_length} is of truncated USLP frames (5 bytes or more) among others of any length"
            )
        if not 0 <= insert_zone <= FRAME_BYTES_MAX:
            raise ValueError(f"insert_zone {insert_zone}: it has 0 bytes or more, and frames have up to {FRAME_BYTES_MAX:,}")
        if frame_length is not None and not FRAME_BYTES_MIN <= frame_length <= FRAME_BYTES_MAX:
            raise ValueError(f"frame_length {frame_length}: frames have {FRAME_BYTES_MIN} to {FRAME_BYTES_MAX:,} bytes")
        is_randomized = kind == "cadu" if randomized is None else bool(randomized)
        if frame_length is None and is_randomized:
            raise ValueError("randomized USLP frames do not show their length: frame_length must be given")
        cutting = "marker" if kind == "cadu" else "uslp" if frame_length is None else "length"
        self.set_coding(cutting, frame_length or 0, code, is_randomized, marker_errors, flywheel, truncated_length or 0)
        if header_check:
            if kind not in ("aos", "cadu") or frame_length < HEADER_CHECK_BYTES:
                raise ValueError(f"{kind} frames of {frame_length} bytes have no header error control; AOS frames can have it")
            self.header_check = HeaderCheck()
            self.repaired = <uint8_t*> malloc(frame_length)
            if self.repaired == NULL:
                raise MemoryError
        self.owners = {}
        self.rows = FrameRows(spacecraft or link, "payload" in emit)
        self.channels, self.commands = FrameCounts(uncounted), CommandReports()
        self.reassembler = Reassembler(self.rows.sources, vc_mode)
        self.start()

    def __dealloc__(self):
        free(self.joined)
        free(self.repaired)

    # As if nothing had been seen; the counts stay.
    def start(self) -> None:
        self.is_fecf_known = self.fecf == 0
        self.layout.fecf_bytes = 0
        self.channels.forget()
        self.commands.forget()
        self.reassembler.forget()

    # -- input ---------------------------------------------------------------------------------------------------------
    def decode(self, frames) -> DecodedFrames:
        """Decode a batch of model.FRAMES (a pyarrow.RecordBatch) of one link; a sixth column, `offset`, is added to offsets."""
        cdef FrameInput batch = FrameInput(frames)
        cdef const int32_t* ends = batch.ends
        cdef int64_t row = 0, first, at, offset
        cdef int32_t number
        cdef StreamOwner owner
        cdef bint is_closed = self.boundaries == "datagrams", is_stream = self.boundaries == "stream"
        self.begin()
        while row < batch.length:
            first, row = row, batch.next_sender(row)
            name = batch.source(first)
            number = self.rows.sources.add(name)
            owner = self.owner_of("" if is_closed else name)
            for at in range(first, row):
                offset = batch.offsets[at] if batch.offsets != NULL else owner.stream.received_bytes if is_stream else 0
                if is_closed:
                    forget(&owner.stream)
                if add_segment(&owner.stream, ends[at + 1] - ends[at], offset, batch.received_ns(at)) < 0:
                    raise MemoryError
                if is_closed:
                    self.run_stream(&owner.stream, batch.data + ends[at], ends[at + 1] - ends[at], True, number)
            if not is_closed:
                self.run_stream(&owner.stream, batch.data + ends[first], ends[row] - ends[first], False, number)
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
            self.run_stream(&owner.stream, <const uint8_t*> view.buf, view.len, False, self.rows.sources.add(source))
        finally:
            PyBuffer_Release(&view)
        return self.hand_over()

    def finish(self) -> DecodedFrames:
        """The end of the input: what is undecided is decided, and everything but the counts is forgotten."""
        cdef StreamOwner owner
        self.begin()
        for name, owner in self.owners.items():
            self.run_stream(&owner.stream, NULL, 0, True, self.rows.sources.add(name))
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

    cdef int repair(self, Frame* frame) noexcept nogil:
        cdef int errors = self.header_check.correct(frame.data, self.repaired)
        if errors > 0:
            memcpy(self.repaired + HEADER_CHECK_BYTES, frame.data + HEADER_CHECK_BYTES, frame.size - HEADER_CHECK_BYTES)
            frame.data = self.repaired
        return errors

    cdef void learn_fecf(self, const Frame* frame) noexcept nogil:
        self.is_fecf_known = True
        if frame.data[0] >> 4 == 12 and crc32(frame.data, frame.size) == 0:
            self.layout.fecf_bytes = 4
        elif self.fecf > 0 or crc16(frame.data, frame.size) == 0:
            self.layout.fecf_bytes = 2

    cdef int on_frame(self, const Frame* cut) noexcept nogil:
        cdef Frame frame = cut[0]
        cdef Header header
        cdef const char* wrong = NULL
        cdef bint is_uslp, is_truncated, has_fecf
        cdef int channel = 0, stream = 0, header_errors = 0
        if self.header_check is not None:
            header_errors = self.repair(&frame)
        is_uslp = self.layout.kind == KIND_USLP or (self.layout.kind == KIND_BY_VERSION and frame.data[0] >> 4 == 12)
        is_truncated = is_uslp and frame.data[3] & 1         # such a USLP frame has no frame error control
        if not self.is_fecf_known and not is_truncated:
            self.learn_fecf(&frame)
        has_fecf = self.layout.fecf_bytes > 0 and not is_truncated
        if header_errors == HEADER_UNCORRECTABLE:
            wrong = "the header has more wrong symbols than its error control can correct"
        else:
            wrong = read_header(frame.data, frame.size, &self.layout, &header)
        if has_fecf and not frame.is_checked and not self.check_frame(frame.data, frame.size):
            return self.refuse_bad(&header if wrong == NULL else NULL, &frame)
        if wrong == NULL:
            channel = self.channels.channel_of(header.scid, header.vcid)
            stream = self.reassembler.stream_of(header.scid, header.vcid, header.map_id) if channel >= 0 else channel
            if stream == NO_MEMORY:
                return -1
            if stream == TOO_MANY:
                wrong = "more than 1,024 virtual channels"
        if wrong != NULL:
            if self.emits_derived and self.rows.put_event(
                entity_of(NO_CHANNEL), FRAMES_REFUSED, 1, frame.received_ns, frame.source,
            ) < 0:
                return -1
            return self.rows.reject(FRAME_VERSION, frame.offset, frame.block_bytes, frame.received_ns, frame.source, wrong)
        if header_errors and self.emits_derived and self.rows.put_event(
            entity_of(header.vcid), CORRECTED_HEADER_SYMBOLS, header_errors, frame.received_ns, frame.source,
        ) < 0:
            return -1
        return self.take_frame(&header, &frame, has_fecf, channel, stream)

    cdef int refuse_bad(self, const Header* header, const Frame* frame) noexcept nogil:
        cdef int32_t entity = entity_of(NO_CHANNEL)
        self.frame_total += 1
        if header != NULL and self.channels.note_bad(header):
            entity = entity_of(header.vcid)
        if self.emits_frames and self.rows.put_frame(header, frame, 0, FECF_BAD) < 0:
            return -1
        if self.emits_derived and self.rows.put_event(entity, FECF_ERRORS, 1, frame.received_ns, frame.source) < 0:
            return -1
        return self.rows.reject(BAD_FECF, frame.offset, 0, frame.received_ns, frame.source, "the frame's CRC is wrong")

    cdef int take_frame(self, const Header* header, const Frame* frame, bint has_fecf, int channel, int stream) noexcept nogil:
        cdef Continuity found
        cdef int32_t entity = entity_of(header.vcid)
        cdef int64_t received_ns = frame.received_ns
        cdef int32_t source = frame.source
        self.frame_total += 1
        if self.channels.note(channel, header, frame, &found) < 0:
            return -1
        if self.emits_frames and self.rows.put_frame(header, frame, found.lost, FECF_OK if has_fecf else FECF_ABSENT) < 0:
            return -1
        if self.emits_derived and (
            self.rows.put_event(entity, FRAMES_RX, 1, received_ns, source) < 0
            or self.rows.put_event(entity, FRAME_BYTES, <double> frame.size, received_ns, source) < 0
            or (found.lost and self.rows.put_event(entity, FRAMES_LOST, <double> found.lost, received_ns, source) < 0)
            or (frame.corrected and self.rows.put_event(entity, CORRECTED_SYMBOLS, frame.corrected, received_ns, source) < 0)
            or (
                found.master_lost
                and self.rows.put_event(
                    entity_of(NO_CHANNEL), MASTER_FRAMES_LOST, <double> found.master_lost, received_ns, source,
                ) < 0
            )
        ):
            return -1
        if found.is_repeated:
            return 0
        if self.emits_samples and header.ocf >= 0:
            if self.commands.note(header.scid, frame.data + header.ocf, received_ns, source, self.rows) < 0:
                return -1
        if not self.emits_packets:
            return 0
        if self.reassembler.feed(&self.reassembler.streams[stream], header, frame, found.lost > 0) < 0:
            return -1
        return self.take_remarks() if self.reassembler.remark_count else 0

    cdef int on_waste(
        self, WasteReason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const uint8_t* octets,
    ) noexcept nogil:
        cdef const char* detail = "no frame begins here"
        if reason == WASTE_RS:
            detail = self.describe_uncorrectable(octets, size)
        elif reason == WASTE_TRUNCATED:
            detail = "a frame that is not whole"
        if self.emits_derived:
            if reason == WASTE_RS and self.rows.put_event(entity_of(NO_CHANNEL), RS_ERRORS, 1, received_ns, source) < 0:
                return -1
            if reason == WASTE_GARBAGE and self.rows.put_event(
                entity_of(NO_CHANNEL), GARBAGE_BYTES, <double> size, received_ns, source,
            ) < 0:
                return -1
        return self.rows.reject(<Reason> <int> reason, offset, size, received_ns, source, detail)

    # Whoever has a better decoder, or a second recording of the same pass, needs what was received.
    cdef const char* describe_uncorrectable(self, const uint8_t* octets, int64_t size) noexcept nogil:
        cdef const char* text = "a codeword has more wrong symbols than can be corrected; received: "
        cdef size_t at = strlen(text)
        cdef int64_t index
        cdef int64_t kept = min(size + (1 if self.stream.at & 7 else 0), CADU_BYTES_MAX)
        memcpy(self.uncorrectable, text, at)
        for index in range(kept):
            self.uncorrectable[at] = HEX_DIGITS[octets[index] >> 4]
            self.uncorrectable[at + 1] = HEX_DIGITS[octets[index] & 15]
            at += 2
        self.uncorrectable[at] = 0
        return self.uncorrectable

    cdef int take_remarks(self) noexcept nogil:
        cdef int64_t index
        cdef const Remark* remark
        cdef Reason reason
        for index in range(self.reassembler.remark_count):
            remark = &self.reassembler.remarks[index]
            reason = PARTIAL_PACKET if remark.reason == REMARK_PARTIAL else NOT_PACKETS
            if self.rows.reject(reason, remark.offset, 0, remark.received_ns, remark.source, remark.detail) < 0:
                return -1
        self.reassembler.remark_count = 0
        return 0

    # -- output --------------------------------------------------------------------------------------------------------
    def begin(self):
        if self.rows.sources.count <= SOURCE_NAMES_MAX:
            return
        state = self.reassembler.state(self.rows.sources)
        self.rows.open()
        self.reassembler.open_rows(self.rows.sources)
        self.reassembler.set_state(state, self.rows.sources)

    def hand_over(self):
        """The rows as Arrow; rows of nothing are left out."""
        import pyarrow
        out = DecodedFrames()
        for rows, batches in (
            (self.rows.samples, out.samples), (self.rows.derived, out.derived), (self.rows.rejects, out.rejects),
            (self.rows.frames, out.frames), (self.reassembler.packets, out.packets),
        ):
            if len(rows):
                batches.append(pyarrow.record_batch(rows.flush()))
        return out

    # -- counts and state ----------------------------------------------------------------------------------------------
    @property
    def counts(self) -> dict:
        """Totals since the start or the last reset_counts(), as `decode --summary` wants them."""
        return {
            "input_bytes": self.input_bytes, "frames": self.frame_total, "block_bytes": self.block_bytes,
            "links": self.channels.links(), "masters": self.channels.master_links(), "rejects": self.rows.counts(),
        }

    @property
    def accounts(self) -> list:
        """Where the bytes of the packet zones of each virtual channel went since the input began: they add up to data_bytes."""
        return self.reassembler.accounts()

    def reset_counts(self) -> None:
        self.input_bytes = self.frame_total = 0
        self.rows.reset_counts()
        self.channels.reset_counts()

    def snapshot(self) -> bytes:
        """All state that later batches depend on."""
        cdef StreamOwner owner
        channels, masters = self.channels.state()
        state = {
            "version": 1, "fecf": [bool(self.is_fecf_known), self.layout.fecf_bytes], "channels": channels, "masters": masters,
            "streams": [[name, owner.state()] for name, owner in self.owners.items()] if self.boundaries != "datagrams" else [],
            "packets": self.reassembler.state(self.rows.sources), "commands": self.commands.state(),
        }
        return json.dumps(state, separators=(",", ":")).encode()

    def restore(self, state: bytes) -> None:
        """Go on where `snapshot` was taken. ValueError for a state of another version."""
        cdef StreamOwner owner
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
        self.channels.set_state(read["channels"], read["masters"])
        self.reassembler.set_state(read["packets"], self.rows.sources)
        self.commands.set_state(read.get("commands", []))    # older states have none
