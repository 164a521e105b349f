# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Frames one after another in a stream of bytes that may be cut anywhere, and what is common to all ways of finding them.

Without a marker (files of frames as receivers write them) frames follow one another by their length; of USLP frames of variable
length each says its own, but for truncated ones, which have the length agreed on. Where frames have an error control of their
own and bytes went missing between them, the next two that are right show the place. Frames behind markers: framecodec.cadu.

A block is the transfer frame, pseudo-randomized and with Reed-Solomon check symbols, or not. Every decision depends on the
bytes alone, not on how they were cut: what cannot be decided yet is kept. All input is a frame or waste with a reason, counted
in whole bytes. This module does not know what is in a frame. Clause numbers are cited from memory.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from framecodec.arrivals cimport Arrival, arrival_of
from framecodec.coding cimport randomize
from framecodec.frame_streams cimport Stream, keep
from framecodec.locator cimport UNCORRECTABLE

cdef enum:
    USLP_HEADER_BYTES = 7            # 732.1-B 4.1.2, without the frame count
    USLP_TRUNCATED_BYTES = 4
    SEARCH_EVERY_FRAMES = 16


cdef class FrameCutter:
    """Cuts frames out of streams; those behind a marker are framecodec.cadu's. By itself it drops what it finds."""

    def __cinit__(self, *args, **options):
        pass

    def __dealloc__(self):
        free(self.scratch)

    # `frame_bytes` is the transfer frame's length after decoding, 0 for USLP frames that say their own.
    def set_coding(
        self, cutting, int64_t frame_bytes, code, bint is_randomized, int marker_errors_max, int flywheel_frames,
        int64_t truncated_bytes=0,
    ):
        self.cutting = <Cutting> ("marker", "length", "uslp").index(cutting)
        self.frame_bytes, self.code, self.is_randomized = frame_bytes, code, is_randomized
        self.marker_errors_max, self.flywheel_frames, self.truncated_bytes = marker_errors_max, flywheel_frames, truncated_bytes
        self.block_bytes = frame_bytes
        if self.code is not None:
            self.code.check_size(frame_bytes)
            self.block_bytes += self.code.interleave * self.code.parity_bytes
        if self.cutting == CUT_BY_MARKER:
            self.block_bytes += MARKER_BITS // 8
        self.scratch = <uint8_t*> malloc(self.block_bytes + 8)
        if self.scratch == NULL:
            raise MemoryError

    cdef int on_frame(self, const Frame* frame) noexcept nogil:
        return 0

    cdef int on_waste(
        self, WasteReason reason, int64_t offset, int64_t size, int64_t received_ns, int32_t source, const uint8_t* octets,
    ) noexcept nogil:
        return 0

    cdef bint vouches(self, const uint8_t* frame, int64_t size) noexcept nogil:
        return False

    cdef bint can_vouch(self) noexcept nogil:
        return False

    cdef int run_marker(self) noexcept nogil:
        return 0

    cdef int run(self, Stream* stream, const uint8_t* data, int64_t size, bint is_final, int32_t source) noexcept nogil:
        cdef int status
        cdef int64_t left
        self.stream, self.bytes, self.base, self.source = stream, data, stream.at >> 3, source
        self.end, self.is_final = (self.base + size) * 8, is_final
        if self.cutting == CUT_BY_MARKER:
            status = self.run_marker()
        elif self.cutting == CUT_BY_LENGTH:
            status = self.run_length()
        else:
            status = self.run_uslp()
        if status == 0 and is_final:
            left = self.end - stream.at
            if left > 0:
                status = self.give_up(left, WASTE_TRUNCATED if stream.is_locked else WASTE_GARBAGE)
            if status == 0:
                status = self.close_garbage()
        if status == 0:
            status = keep(stream, data + ((stream.at >> 3) - self.base), size - ((stream.at >> 3) - self.base))
        return status

    # -- frames one after another --------------------------------------------------------------------------------------
    cdef int run_length(self) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef int64_t block = 8 * self.block_bytes
        cdef int64_t found = -1
        cdef const uint8_t* frame
        cdef bint is_good
        cdef Verdict verdict
        stream.is_locked = True
        while stream.at + block <= self.end:
            frame = self.decode_at(stream.at, False)
            is_good = frame != NULL and self.can_vouch() and self.vouches(frame, self.frame_bytes)
            if not is_good and self.can_vouch():
                verdict = self.find_again(&found)
                if verdict == WAIT:
                    return 0
                if verdict == YES:
                    if self.give_up(found - stream.at, WASTE_GARBAGE) < 0:
                        return -1
                    continue
                frame = self.decode_at(stream.at, False)
            stream.misses = 0 if is_good else stream.misses + 1
            if frame == NULL:
                if self.give_up(block, WASTE_RS) < 0:
                    return -1
            elif self.accept(frame, self.frame_bytes, self.block_bytes, is_good) < 0:
                return -1
        return 0

    # The frame at hand does not prove itself. If the next one does not either, bytes may be missing or too many: is there a
    # place before it where two do? It costs a check for each byte, so of frames that never do only the first, second, fourth
    # and eighth ask for it, and then every sixteenth.
    cdef Verdict find_again(self, int64_t* found) noexcept nogil:
        cdef int64_t block = 8 * self.block_bytes
        cdef int64_t first = self.stream.at
        cdef int64_t place
        cdef int64_t misses = self.stream.misses + 1
        if misses & (misses - 1) and misses % SEARCH_EVERY_FRAMES:
            return NO
        if first + 2 * block > self.end:
            return NO if self.is_final else WAIT
        if self.is_good_at(first + block):
            return NO
        if first + 3 * block > self.end and not self.is_final:
            return WAIT
        place = first + 8
        while place < first + block and place + 2 * block <= self.end:
            if self.is_good_at(place) and self.is_good_at(place + block):
                found[0] = place
                return YES
            place += 8
        return NO

    cdef bint is_good_at(self, int64_t bit) noexcept nogil:
        cdef const uint8_t* frame = self.decode_at(bit, False)
        return frame != NULL and self.vouches(frame, self.frame_bytes)

    # A header of version 12 is believed where the last frame ended if something like one follows, or its check is right.
    cdef int run_uslp(self) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef const uint8_t* frame
        cdef int64_t left, size
        while stream.at < self.end:
            left = (self.end - stream.at) >> 3
            frame = self.bytes + ((stream.at >> 3) - self.base)
            size = self.uslp_size(frame, left)
            if size < 0 and (not self.is_final or stream.is_locked):
                return 0
            if size > 0:
                if left < size + 1 and not self.is_final:
                    return 0
                if left >= size and (left == size or frame[size] >> 4 == 12 or self.vouches(frame, size)):
                    stream.is_locked = True
                    if self.accept(frame, size, size, False) < 0:
                        return -1
                    continue
                if left < size and stream.is_locked:
                    return 0
            stream.is_locked = False
            if self.give_up(8, WASTE_GARBAGE) < 0:
                return -1
        return 0

    # The size of the frame that begins here: 0 if none does, -1 if too little of its header is there.
    cdef int64_t uslp_size(self, const uint8_t* frame, int64_t left) noexcept nogil:
        cdef int64_t size
        if frame[0] >> 4 != 12:
            return 0
        if left >= USLP_TRUNCATED_BYTES and frame[3] & 1:    # a truncated frame: its header ends here and says no length
            return self.truncated_bytes
        if left < USLP_HEADER_BYTES:
            return -1
        size = ((<int64_t> frame[4] << 8) | frame[5]) + 1
        return size if size >= USLP_HEADER_BYTES + (frame[6] & 7) else 0

    # -- frames and waste ----------------------------------------------------------------------------------------------
    # The frame of the block at `bit`, in scratch or in the input; NULL if it cannot be corrected. It must be there in full.
    cdef const uint8_t* decode_at(self, int64_t bit, bint is_inverted) noexcept nogil:
        cdef int64_t size = self.block_bytes, index
        cdef const uint8_t* at
        cdef uint8_t flip = 0xFF if is_inverted else 0
        cdef int phase
        self.corrected = 0
        if self.cutting == CUT_BY_MARKER:
            bit += MARKER_BITS
            size -= MARKER_BITS // 8
        phase = <int> (bit & 7)
        at = self.bytes + ((bit >> 3) - self.base)
        if phase:
            for index in range(size):
                self.scratch[index] = <uint8_t> ((at[index] << phase) | (at[index + 1] >> (8 - phase))) ^ flip
            at = self.scratch
        elif flip:
            for index in range(size):
                self.scratch[index] = at[index] ^ flip
            at = self.scratch
        if self.is_randomized:
            randomize(at, self.scratch, size)
            at = self.scratch
        if self.code is not None:
            if at != self.scratch:
                memcpy(self.scratch, at, size)
                at = self.scratch
            self.corrected = self.code.decode_block(self.scratch, size)
            if self.corrected == UNCORRECTABLE:
                return NULL
        return at

    cdef int accept(self, const uint8_t* data, int64_t frame_bytes, int64_t block_bytes, bint is_checked) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef Frame frame
        cdef Arrival* arrival
        if self.close_garbage() < 0:
            return -1
        arrival = arrival_of(&stream.arrivals, stream.at >> 3)
        frame.data, frame.size, frame.block_bytes = data, frame_bytes, block_bytes
        frame.source, frame.corrected = self.source, self.corrected
        frame.is_checked = is_checked
        frame.offset = arrival.offset + (stream.at >> 3) - arrival.start
        stream.at += 8 * block_bytes
        frame.received_ns = arrival_of(&stream.arrivals, (stream.at - 1) >> 3).received_ns
        return self.on_frame(&frame)

    # Input without a frame. Garbage is reported when it ends, all else at once.
    cdef int give_up(self, int64_t bits, WasteReason reason) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef Arrival* arrival
        cdef int64_t first = stream.at >> 3
        cdef const uint8_t* octets = self.bytes + (first - self.base) if reason == WASTE_RS else NULL
        if reason != WASTE_GARBAGE and self.close_garbage() < 0:
            return -1
        arrival = arrival_of(&stream.arrivals, first)
        if reason == WASTE_GARBAGE:
            if stream.garbage_bits == 0:
                stream.garbage_start = stream.at
                stream.garbage_offset = arrival.offset + first - arrival.start
                stream.garbage_received_ns = arrival.received_ns
            stream.garbage_bits += bits
            stream.at += bits
            return 0
        stream.at += bits
        return self.on_waste(
            reason, arrival.offset + first - arrival.start, (stream.at >> 3) - first, arrival.received_ns, self.source, octets,
        )

    # Bytes are counted where they begin: a slip of bits may be waste of no byte, and all sizes add up to the input's.
    cdef int close_garbage(self) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef int64_t size = ((stream.garbage_start + stream.garbage_bits) >> 3) - (stream.garbage_start >> 3)
        if stream.garbage_bits == 0:
            return 0
        stream.garbage_bits = 0
        if size == 0:
            return 0
        return self.on_waste(WASTE_GARBAGE, stream.garbage_offset, size, stream.garbage_received_ns, self.source, NULL)
