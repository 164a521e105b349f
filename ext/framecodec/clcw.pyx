# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Communications link control words: what a spacecraft says, in each frame, of the telecommands it receives.

A report (CCSDS 232.0-B 4.2.1, from memory) is about one virtual channel of the telecommand link, which it names; the frame that
carries it may be of any channel, and reports of several take turns in one. So samples are of the telecommand channel. One is
written when its value differs from the last one, and all seven with the first report in each ten seconds of receive time: every
window has one, and a link with a thousand frames a second has no more. Without a receive time only changes are told.

An operational control field that is no such word (another type or version, or not about COP-1, as the zeros that idle frames of
some spacecraft carry) is passed over.

    0 type  1-2 version  3-5 status  6-7 COP in effect  8-13 virtual channel  14-15 spare
    16 no RF available  17 no bit lock  18 lockout  19 wait  20 retransmit  21-22 FARM-B counter  23 spare  24-31 report value
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from framecodec.bits cimport load_be32
from framecodec.frame_rows cimport (
    CLCW_FARM_B_COUNTER, CLCW_LOCKOUT, CLCW_NO_BIT_LOCK, CLCW_NO_RF_AVAILABLE, CLCW_REPORT_VALUE, CLCW_RETRANSMIT, CLCW_WAIT,
    FrameRows, Metric,
)
from framecodec.link_rows cimport entity_of

__all__ = ["CommandReports"]

cdef enum:
    FIELDS = 7
    # Type 0, version 0, COP-1: of the first octet, without the status field, which is for agencies to use.
    COP_MASK = 0xE3
    COP_1 = 0x01

cdef extern from *:
    """
    #define FRAMECODEC_TOLD_NS INT64_C(10000000000)      /* the length of a window: streams.model */
    """
    const int64_t TOLD_NS "FRAMECODEC_TOLD_NS"

cdef struct Field:
    Metric metric
    int shift                            # from the least significant bit
    uint32_t mask

cdef Field fields[FIELDS]
fields[0] = Field(CLCW_NO_RF_AVAILABLE, 15, 1)
fields[1] = Field(CLCW_NO_BIT_LOCK, 14, 1)
fields[2] = Field(CLCW_LOCKOUT, 13, 1)
fields[3] = Field(CLCW_WAIT, 12, 1)
fields[4] = Field(CLCW_RETRANSMIT, 11, 1)
fields[5] = Field(CLCW_FARM_B_COUNTER, 9, 3)
fields[6] = Field(CLCW_REPORT_VALUE, 0, 0xFF)


cdef class CommandReports:
    """The last report of each telecommand channel of each spacecraft; nothing has been seen."""

    def __dealloc__(self):
        free(self.spacecraft)

    def forget(self):
        self.spacecraft_count = 0

    cdef int note(self, int32_t scid, const uint8_t* field, int64_t received_ns, int32_t source, FrameRows rows) noexcept nogil:
        cdef uint32_t word = load_be32(field), value
        cdef int vcid = (word >> 18) & (TELECOMMAND_CHANNELS - 1)
        cdef int64_t interval = received_ns // TOLD_NS if received_ns >= 0 else -1
        cdef Spacecraft* spacecraft
        cdef Report* last
        cdef bint is_due
        cdef int index
        if field[0] & COP_MASK != COP_1:
            return 0
        spacecraft = self.spacecraft_of(scid)
        if spacecraft == NULL:
            return -1
        last = &spacecraft.reports[vcid]
        is_due = not last.is_known or interval != last.interval
        if not is_due and word == last.word:
            return 0
        for index in range(FIELDS):
            value = (word >> fields[index].shift) & fields[index].mask
            if is_due or value != (last.word >> fields[index].shift) & fields[index].mask:
                if rows.put_sample(entity_of(vcid), fields[index].metric, value, received_ns, source) < 0:
                    return -1
        last.word, last.interval, last.is_known = word, interval, True
        return 0

    cdef Spacecraft* spacecraft_of(self, int32_t scid) noexcept nogil:
        cdef int index
        cdef void* moved
        for index in range(self.spacecraft_count):           # their number is bounded by that of virtual channels
            if self.spacecraft[index].scid == scid:
                return &self.spacecraft[index]
        if self.spacecraft_count == self.spacecraft_capacity:
            moved = realloc(self.spacecraft, (2 * self.spacecraft_capacity + 1) * sizeof(Spacecraft))
            if moved == NULL:
                return NULL
            self.spacecraft, self.spacecraft_capacity = <Spacecraft*> moved, 2 * self.spacecraft_capacity + 1
        memset(&self.spacecraft[self.spacecraft_count], 0, sizeof(Spacecraft))
        self.spacecraft[self.spacecraft_count].scid = scid
        self.spacecraft_count += 1
        return &self.spacecraft[self.spacecraft_count - 1]

    def state(self) -> list:
        """[spacecraft id, virtual channel, word, interval] of each report, as JSON can hold it."""
        cdef int index, vcid
        found = []
        for index in range(self.spacecraft_count):
            for vcid in range(TELECOMMAND_CHANNELS):
                if self.spacecraft[index].reports[vcid].is_known:
                    found.append([
                        self.spacecraft[index].scid, vcid, self.spacecraft[index].reports[vcid].word,
                        self.spacecraft[index].reports[vcid].interval,
                    ])
        return found

    def set_state(self, list reports):
        """Go on where `state` was taken."""
        cdef Spacecraft* spacecraft
        cdef int vcid
        self.forget()
        for scid, vcid, word, interval in reports:
            spacecraft = self.spacecraft_of(scid)
            if spacecraft == NULL:
                raise MemoryError
            spacecraft.reports[vcid].word, spacecraft.reports[vcid].interval = word, interval
            spacecraft.reports[vcid].is_known = True
