# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Frames in a stream of bytes that may be cut anywhere: the attached sync marker (CCSDS 131.0-B 9), and what is around a frame.

A CADU is the marker 1ACFFC1D and a block: the transfer frame, pseudo-randomized and with Reed-Solomon check symbols, or not.
Receivers lose bits, so a CADU may begin at any bit, and those that cannot tell the phase of the carrier invert all bits.

*Search*: the marker is looked for at every bit, in both polarities, with up to `marker_errors_max` wrong bits. *Verify*: one is
believed if the next marker is where it should be; or if it is exact and its block can be decoded, or it is exact and the input
ends there. *Lock*: from then on frames follow one another; a marker in its place is enough. *Flywheel*: where it is not there,
a marker between here and the next place wins (bits were lost or inserted); if there is none but the next one or two places
have theirs, noise has hit the marker and the block is taken without it. Otherwise search again.

That a block can be decoded is never enough by itself: the code is cyclic and the pseudo-random sequence nearly a codeword, so
blocks cut at the wrong place decode too. Every decision depends on the bytes alone, not on how they were cut: what cannot be
decided yet is kept, three CADUs at most. All input is a frame or waste with a reason, counted in whole bytes.
This module does not know what is in a frame. Clause numbers are cited from memory.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from framecodec.frame_cutter cimport MARKER_BITS, NO, WAIT, WASTE_GARBAGE, WASTE_RS, WASTE_TRUNCATED, YES, FrameCutter, Verdict
from framecodec.frame_streams cimport Stream

cdef extern from *:
    """
    static inline int fc_ones(uint32_t word) {
        word -= (word >> 1) & 0x55555555u;
        word = (word & 0x33333333u) + ((word >> 2) & 0x33333333u);
        return (int) ((((word + (word >> 4)) & 0x0F0F0F0Fu) * 0x01010101u) >> 24);
    }
    """
    int ones "fc_ones"(uint32_t word) noexcept nogil

cdef uint32_t MARKER = 0x1ACFFC1D    # 131.0-B 9.3.5


cdef inline bint has_zero_byte(uint32_t word) noexcept nogil:
    return ((word - 0x01010101u) & ~word & 0x80808080u) != 0


cdef class CaduCutter(FrameCutter):
    """Cuts frames also out of CADUs. The base of framecodec.frames.FrameDecoder."""

    cdef int run_marker(self) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef int64_t place
        cdef int status = 0, errors
        cdef Verdict verdict
        while stream.at < self.end:
            if stream.is_locked:
                verdict = self.expect_marker(&status)
                if status < 0:
                    return -1
                if verdict == WAIT:
                    return 0
                continue
            place = self.find_marker(stream.at, self.end - MARKER_BITS, &errors)
            if place < 0:
                # Its first bits may be there already.
                place = self.end if self.is_final else self.end - MARKER_BITS + 1
                return self.give_up(place - stream.at, WASTE_GARBAGE) if place > stream.at else 0
            verdict = self.believe(place, errors)
            if place > stream.at and self.give_up(place - stream.at, WASTE_GARBAGE) < 0:
                return -1
            if verdict == WAIT:
                return 0
            if verdict == YES:
                stream.is_locked = True
            elif self.give_up(1, WASTE_GARBAGE) < 0:
                return -1
        return 0

    # One frame in lock, or the loss of it. NO: the stream is where it was, or no longer locked.
    cdef Verdict expect_marker(self, int* status) noexcept nogil:
        cdef Stream* stream = self.stream
        cdef int64_t block = 8 * self.block_bytes
        cdef int64_t after = stream.at + block
        cdef int64_t found = -1, last
        cdef const uint8_t* frame
        cdef bint is_inverted
        cdef int ahead
        cdef Verdict verdict
        if stream.at + MARKER_BITS > self.end:
            return WAIT
        if self.marker_at(stream.at, &is_inverted) >= 0:
            if after > self.end:
                if not self.is_final:
                    return WAIT
                # The end of the input, unless bytes are missing here and another frame begins inside.
                verdict = self.look_ahead(stream.at + 1, self.end - MARKER_BITS, &found)
                if verdict != YES:
                    return WAIT
                status[0] = self.give_up(found - stream.at, WASTE_TRUNCATED)
                return YES
            frame = self.decode_at(stream.at, is_inverted)
            if frame != NULL:
                stream.is_inverted = is_inverted
                status[0] = self.accept(frame, self.frame_bytes, self.block_bytes, False)
                return YES
            if after + MARKER_BITS > self.end and not self.is_final:
                return WAIT
            if after + MARKER_BITS <= self.end and self.marker_at(after, &is_inverted) < 0:
                verdict = self.look_ahead(stream.at + 1, after - 1, &found)
                if verdict == WAIT:
                    return WAIT
                if verdict == YES:
                    status[0] = self.give_up(found - stream.at, WASTE_RS)
                    return YES
                stream.is_locked = False
            status[0] = self.give_up(block, WASTE_RS)
            return YES
        if after + MARKER_BITS > self.end and not self.is_final:
            return WAIT
        # Up to the place of the next marker, which is asked below.
        last = after - 1 if after < self.end - MARKER_BITS else self.end - MARKER_BITS
        verdict = self.look_ahead(stream.at + 1, last, &found)
        if verdict == WAIT:
            return WAIT
        if verdict == YES:
            status[0] = self.give_up(found - stream.at, WASTE_GARBAGE)
            return YES
        for ahead in range(1, self.flywheel_frames + 1):
            if stream.at + ahead * block + MARKER_BITS > self.end:
                if not self.is_final:
                    return WAIT
                break
            if self.marker_at(stream.at + ahead * block, &is_inverted) >= 0:
                frame = self.decode_at(stream.at, is_inverted)
                if frame == NULL:
                    status[0] = self.give_up(block, WASTE_RS)
                else:
                    status[0] = self.accept(frame, self.frame_bytes, self.block_bytes, False)
                return YES
        stream.is_locked = False
        return NO

    # Whether a marker that can be believed begins between the bits `first` and `last`.
    cdef Verdict look_ahead(self, int64_t first, int64_t last, int64_t* found) noexcept nogil:
        cdef int errors
        cdef Verdict verdict
        while True:
            found[0] = self.find_marker(first, last, &errors)
            if found[0] < 0:
                return NO
            verdict = self.believe(found[0], errors)
            if verdict != NO:
                return verdict
            first = found[0] + 1

    cdef Verdict believe(self, int64_t place, int errors) noexcept nogil:
        cdef int64_t after = place + 8 * self.block_bytes
        cdef bint is_inverted
        cdef const uint8_t* frame
        if after > self.end:
            return NO if self.is_final else WAIT
        if errors == 0:
            self.marker_at(place, &is_inverted)
            frame = self.decode_at(place, is_inverted)
            if frame != NULL and (self.code is not None or self.vouches(frame, self.frame_bytes)):
                return YES
        if after + MARKER_BITS > self.end:
            if not self.is_final:
                return WAIT
            return YES if errors == 0 and self.code is None else NO
        return YES if self.marker_at(after, &is_inverted) >= 0 else NO

    # How many bits of the marker at `bit` are wrong, -1 for too many. It must be there in full.
    cdef int marker_at(self, int64_t bit, bint* is_inverted) noexcept nogil:
        cdef const uint8_t* at = self.bytes + ((bit >> 3) - self.base)
        cdef int phase = <int> (bit & 7)
        cdef uint32_t word = (<uint32_t> at[0] << 24) | (<uint32_t> at[1] << 16) | (<uint32_t> at[2] << 8) | at[3]
        cdef int wrong
        if phase:
            word = (word << phase) | (at[4] >> (8 - phase))
        wrong = ones(word ^ MARKER)
        is_inverted[0] = wrong > MARKER_BITS // 2
        if is_inverted[0]:
            wrong = MARKER_BITS - wrong
        return wrong if wrong <= self.marker_errors_max else -1

    # The first bit from `bit` to `last` where a marker begins, -1 if there is none.
    cdef int64_t find_marker(self, int64_t bit, int64_t last, int* errors) noexcept nogil:
        cdef bint is_inverted
        cdef const uint8_t* at
        cdef uint64_t window
        cdef uint32_t word
        cdef int phase
        while bit <= last:
            at = self.bytes + ((bit >> 3) - self.base)
            # The fifth byte is there unless the marker ends the input at a whole byte.
            window = (<uint64_t> at[0] << 32) | (<uint64_t> at[1] << 24) | (<uint64_t> at[2] << 16) | (<uint64_t> at[3] << 8)
            if (bit & ~<int64_t> 7) + 40 <= self.end:
                window |= at[4]
            for phase in range(<int> (bit & 7), 8):
                word = (<uint32_t> (window >> (8 - phase))) ^ MARKER
                # Up to three wrong bits leave one of four bytes whole.
                if (has_zero_byte(word) or has_zero_byte(~word)) and (bit & ~<int64_t> 7) + phase <= last:
                    errors[0] = self.marker_at((bit & ~<int64_t> 7) + phase, &is_inverted)
                    if errors[0] >= 0:
                        return (bit & ~<int64_t> 7) + phase
            bit = (bit & ~<int64_t> 7) + 8
        return -1
