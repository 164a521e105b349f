# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""CCSDS time codes (301.0-B-4) and leap seconds: spacecraft clocks to int64 UTC nanoseconds.

    to_utc_ns(reading_ns, "gps")
    decode("cds", packet, bit=48, day_bits=16, sub_bits=16)

UTC is counted as POSIX does, leap seconds left out: the second 23:59:60 has the number of the 00:00:00 after it. Before 1972
TAI and UTC are taken as equal; no clock that we read had been built. A time outside 1677 to 2262 is no time.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint64_t

from framecodec.bits cimport read_bits

from streams.timecodes import TimeCode

cdef extern from *:
    """
    #define FRAMECODEC_NS INT64_C(1000000000)
    /* TT = TAI + 32.184 s, GPS = TAI - 19 s (IERS Conventions 2010, 10.1; IS-GPS-200, 3.3.4; from memory). */
    #define FRAMECODEC_TT_AHEAD_NS INT64_C(32184000000)
    #define FRAMECODEC_GPS_BEHIND_NS INT64_C(19000000000)
    #define FRAMECODEC_FROM_1958_NS INT64_C(-378691200000000000)
    /* Two days before the end of int64: what is added is less, a day with a leap second and what scales differ by. */
    #define FRAMECODEC_SECONDS_MAX (INT64_MAX / FRAMECODEC_NS - 2 * 86400)
    """
    const int64_t NS "FRAMECODEC_NS"
    const int64_t TT_AHEAD_NS "FRAMECODEC_TT_AHEAD_NS"
    const int64_t GPS_BEHIND_NS "FRAMECODEC_GPS_BEHIND_NS"
    const int64_t SECONDS_MAX "FRAMECODEC_SECONDS_MAX"
    const int64_t FROM_1958_NS "FRAMECODEC_FROM_1958_NS"

cdef enum:
    DAY_SECONDS = 86400
    LEAPS = 28

# TAI - UTC in whole seconds from each of these days (POSIX) on: IERS Bulletin C to 71; none is announced after 2017.
cdef int64_t[LEAPS] leap_seconds = [
    63072000, 78796800, 94694400, 126230400, 157766400, 189302400, 220924800, 252460800, 283996800, 315532800, 362793600,
    394329600, 425865600, 489024000, 567993600, 631152000, 662688000, 709948800, 741484800, 773020800, 820454400, 867715200,
    915148800, 1136073600, 1230768000, 1341100800, 1435708800, 1483228800,
]

SCALES = ("utc", "tai", "gps", "tt")
CODES = ("cds", "cuc", "ccs_day", "ccs_month", "explicit")
# 1958-01-01, the epoch of CDS and CUC unless an agency defines its own (301.0-B-4 3.2.2, 3.3.2).
EPOCH_1958_NS = FROM_1958_NS


cdef int64_t to_utc(int64_t reading_ns, Scale scale) noexcept nogil:
    cdef int64_t seconds
    cdef int index
    if scale == SCALE_UTC or reading_ns == NO_TIME:
        return reading_ns
    if scale == SCALE_GPS:
        if reading_ns > INT64_MAX - GPS_BEHIND_NS:
            return NO_TIME
        reading_ns += GPS_BEHIND_NS
    elif scale == SCALE_TT:
        if reading_ns <= INT64_MIN + TT_AHEAD_NS:
            return NO_TIME
        reading_ns -= TT_AHEAD_NS
    seconds = reading_ns // NS
    if reading_ns < 0 and seconds * NS != reading_ns:
        seconds -= 1
    index = LEAPS - 1
    while index >= 0 and seconds < leap_seconds[index] + 10 + index:
        index -= 1
    return reading_ns if index < 0 else reading_ns - (10 + index) * NS


# seconds * NS + ns with the limits of int64.
cdef inline int64_t with_seconds(int64_t seconds, int64_t ns, int64_t epoch_ns, Scale scale) noexcept nogil:
    if seconds < 0 or seconds > SECONDS_MAX - (epoch_ns // NS if epoch_ns > 0 else 0):
        return NO_TIME
    return to_utc(epoch_ns + seconds * NS + ns, scale)


cdef int64_t read_cds(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil:
    cdef int64_t at = code.bit
    cdef int64_t days, millisecond, sub = 0
    if at + code.day_bits + 32 + code.sub_bits > 8 * size_bytes:
        return NO_TIME
    days = <int64_t> read_bits(packet, size_bytes, at, code.day_bits)
    millisecond = <int64_t> read_bits(packet, size_bytes, at + code.day_bits, 32)
    # 3.3.2.2: the count runs to 86,399,999, with a leap second to 86,400,999.
    if millisecond >= 86401000:
        return NO_TIME
    if code.sub_bits == 16:
        sub = <int64_t> read_bits(packet, size_bytes, at + code.day_bits + 32, 16) * 1000
    elif code.sub_bits == 32:
        sub = <int64_t> read_bits(packet, size_bytes, at + code.day_bits + 32, 32) // 1000
    return with_seconds(days * DAY_SECONDS, millisecond * 1000000 + sub, code.epoch_ns, code.scale)


cdef int64_t read_cuc(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil:
    cdef int64_t at = code.bit >> 3
    cdef int64_t seconds = 0
    cdef uint64_t fraction = 0
    cdef int index
    cdef int used = code.fraction_bytes if code.fraction_bytes < 4 else 4
    if at + code.basic_bytes + code.fraction_bytes > size_bytes:
        return NO_TIME
    for index in range(code.basic_bytes):
        seconds = (seconds << 8) | packet[at + index]
    for index in range(used):                       # 2**-32 s is below a nanosecond; more octets change nothing
        fraction = (fraction << 8) | packet[at + code.basic_bytes + index]
    fraction <<= 8 * (4 - used)
    return with_seconds(seconds, <int64_t> ((fraction * NS) >> 32), code.epoch_ns, code.scale)


cdef inline int two_digits(uint8_t octet) noexcept nogil:
    return (octet >> 4) * 10 + (octet & 15) if (octet >> 4) < 10 and (octet & 15) < 10 else -1


cdef int64_t days_from_civil(int64_t year, int64_t month, int64_t day) noexcept nogil:
    # Days since 1970-01-01 of the Gregorian calendar, counting years from March so that the leap day comes last.
    cdef int64_t era, year_of_era, day_of_year
    if month <= 2:
        year -= 1
    era = year // 400
    year_of_era = year - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef int64_t read_ccs(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil:
    cdef int64_t at = code.bit >> 3
    cdef int digits[13]
    cdef int index
    cdef int64_t year, days, ns = 0, scale = 100000000
    if at + 7 + code.fraction_bytes > size_bytes or code.fraction_bytes > 6:
        return NO_TIME
    for index in range(7 + code.fraction_bytes):
        digits[index] = two_digits(packet[at + index])
        if digits[index] < 0:
            return NO_TIME
    year = digits[0] * 100 + digits[1]
    if year < 1678 or year > 2261 or digits[4] > 23 or digits[5] > 59 or digits[6] > 60:
        return NO_TIME
    if code.kind == CODE_CCS_MONTH:
        if not 1 <= digits[2] <= 12 or not 1 <= digits[3] <= 31:
            return NO_TIME
        days = days_from_civil(year, digits[2], digits[3])
    else:
        days = digits[2] * 100 + digits[3]
        if not 1 <= days <= 366:
            return NO_TIME
        days += days_from_civil(year, 1, 1) - 1
    for index in range(code.fraction_bytes):
        if index < 4:
            ns += digits[7 + index] * (scale // 10)
            scale //= 100
        elif index == 4:
            ns += digits[7 + index] // 10
    return (days * DAY_SECONDS + digits[4] * 3600 + digits[5] * 60 + digits[6]) * NS + ns


# A code after its P-field: 3.2.2 (CUC, one or two octets), 3.3.2 (CDS), 3.4.2 (CCS). `code` has an agency's epoch and scale.
cdef int64_t read_explicit(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil:
    cdef int64_t at = code.bit >> 3
    cdef Code said = code[0]
    cdef int field, more
    if at >= size_bytes:
        return NO_TIME
    field = packet[at]
    said.bit = 8 * (at + 1)
    if (field >> 4 & 7) in (1, 2):
        said.kind = CODE_CUC
        said.basic_bytes, said.fraction_bytes = 1 + (field >> 2 & 3), field & 3
        if field & 0x80:
            if at + 1 >= size_bytes or packet[at + 1] & 0x80:      # a third octet is not defined
                return NO_TIME
            more = packet[at + 1]
            said.basic_bytes += more >> 5 & 3
            said.fraction_bytes += more >> 2 & 7
            said.bit += 8
        if (field >> 4 & 7) == 1:
            said.epoch_ns, said.scale = FROM_1958_NS, SCALE_TAI
        return read_cuc(&said, packet, size_bytes)
    if field & 0x80:                                               # the other codes have P-fields of one octet
        return NO_TIME
    if (field >> 4 & 7) == 4 and (field & 3) != 3:
        said.day_bits, said.sub_bits = 24 if field & 4 else 16, 16 * (field & 3)
        if not field & 8:
            said.epoch_ns, said.scale = FROM_1958_NS, SCALE_UTC
        return read_cds(&said, packet, size_bytes)
    if (field >> 4 & 7) == 5 and (field & 7) != 7:
        said.kind = CODE_CCS_DAY if field & 8 else CODE_CCS_MONTH
        said.fraction_bytes = field & 7
        return read_ccs(&said, packet, size_bytes)
    return NO_TIME


cdef int64_t read_code(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil:
    if code.kind == CODE_EXPLICIT:
        return read_explicit(code, packet, size_bytes)
    if code.kind == CODE_CDS:
        return read_cds(code, packet, size_bytes)
    if code.kind == CODE_CUC:
        return read_cuc(code, packet, size_bytes)
    return read_ccs(code, packet, size_bytes)


cdef int set_code(Code* code, source) except -1:
    code.kind = <CodeKind> <int> CODES.index(source.kind)
    code.bit, code.day_bits, code.sub_bits = source.bit, source.day_bits, source.submillisecond_bits
    code.basic_bytes, code.fraction_bytes = source.basic_bytes, source.fraction_bytes
    code.epoch_ns, code.scale = source.epoch_ns, <Scale> <int> SCALES.index(source.scale)
    if not (
        code.day_bits in (16, 24) and code.sub_bits in (0, 16, 32)
        and 1 <= code.basic_bytes <= 7 and 0 <= code.fraction_bytes <= 10
    ):
        raise ValueError(f"no {source.kind} has the widths of {source}")
    if code.bit < 0 or (code.kind != CODE_CDS and code.bit % 8):
        raise ValueError(f"a {source.kind} cannot begin at bit {code.bit}")
    return 0


def to_utc_ns(int64_t reading_ns, scale: str = "tai") -> int:
    """UTC ns since 1970 of a clock that reads `reading_ns` since 1970-01-01 of its own scale: utc, tai, gps or tt.

    OverflowError where that is no int64.
    """
    cdef int64_t found = to_utc(reading_ns, <Scale> <int> SCALES.index(scale))
    if found == NO_TIME:
        raise OverflowError(f"{reading_ns} ns of {scale} is no time in UTC")
    return found


def decode(
    kind: str, const uint8_t[::1] packet not None, *, int64_t bit=0, int day_bits=16, int sub_bits=16, int basic_bytes=4,
    int fraction_bytes=2, int64_t epoch_ns=EPOCH_1958_NS, scale: str | None = None,
) -> int | None:
    """UTC ns of the time code at `bit`, or None where there is none.

    - cds: `day_bits` 16 or 24, then ms of day in 32, then `sub_bits` 0, 16 (us) or 32 (ps); `scale` is utc unless given;
    - cuc: `basic_bytes` 1 to 7 of seconds, `fraction_bytes` 0 to 10 of their binary fraction; `scale` is tai unless given;
    - ccs_day, ccs_month: BCD calendar time with `fraction_bytes` pairs of decimals; always UTC;
    - explicit: the code that the P-field at `bit` says; `epoch_ns` and `scale` are those of an agency's epoch.
    ValueError for other widths, or a CUC or CCS that does not begin with an octet.
    """
    cdef Code code
    set_code(&code, TimeCode(
        bit, day_bits, sub_bits, epoch_ns, scale or ("tai" if kind in ("cuc", "explicit") else "utc"), kind,
        basic_bytes, fraction_bytes,
    ))
    found = read_code(&code, &packet[0] if packet.shape[0] else NULL, packet.shape[0])
    return None if found == NO_TIME else found
