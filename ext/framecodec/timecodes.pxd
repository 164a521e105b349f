# CCSDS time codes and the leap seconds between TAI, GPS, TT and UTC. See timecodes.pyx.
from libc.stdint cimport int64_t, uint8_t

cdef enum Scale:
    SCALE_UTC            # seconds of POSIX: leap seconds not counted
    SCALE_TAI
    SCALE_GPS
    SCALE_TT

cdef enum CodeKind:
    CODE_CDS
    CODE_CUC
    CODE_CCS_DAY         # calendar segmented, day of year
    CODE_CCS_MONTH       # calendar segmented, month and day
    CODE_EXPLICIT        # whichever its P-field says

cdef extern from *:
    """
    #define FRAMECODEC_NO_TIME INT64_MIN
    """
    const int64_t NO_TIME "FRAMECODEC_NO_TIME"

# A time code at a fixed place: `bit` must be a multiple of 8 for CUC and CCS.
cdef struct Code:
    CodeKind kind
    int64_t bit
    int day_bits         # CDS: 16 or 24
    int sub_bits         # CDS: 0, 16 (us) or 32 (ps)
    int basic_bytes      # CUC: 1..7 of seconds
    int fraction_bytes   # CUC: 0..10; CCS: 0..6 pairs of decimal digits
    int64_t epoch_ns     # reading of `scale` since 1970 at the epoch
    Scale scale

# From a streams.timecodes.TimeCode; ValueError for widths that no code has.
cdef int set_code(Code* code, source) except -1

# A reading of `scale`, in ns since 1970-01-01 of that scale, as UTC ns; NO_TIME stays, and is what does not fit.
cdef int64_t to_utc(int64_t reading_ns, Scale scale) noexcept nogil

# The time that `code` finds in the packet, UTC ns; NO_TIME where the packet is too short or the code makes no sense.
cdef int64_t read_code(const Code* code, const uint8_t* packet, int64_t size_bytes) noexcept nogil
