# The headers of transfer frames. See transfer.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef enum FrameKind:
    KIND_BY_VERSION = -1
    KIND_TM
    KIND_AOS
    KIND_USLP

# What the managed parameters of a link say about its frames.
cdef struct Layout:
    FrameKind kind
    int fecf_bytes           # 0, 2 or 4
    int ocf                  # 1 and 0: there is one, there is none; -1: as the header says, and none in AOS frames
    int insert_zone_bytes    # AOS and USLP
    bint has_header_check    # AOS frame header error control

# Special values of first_header.
cdef enum:
    STARTS_NONE = -1         # the data go on from the frame before, no packet begins
    STARTS_IDLE = -2         # only idle data
    STARTS_OTHER = -3        # the header says that these are no packets

cdef struct Header:
    FrameKind kind
    int32_t scid
    int32_t vcid
    int32_t map_id           # USLP, else 0
    int32_t lane             # frames with separate counts: USLP expedited 1, all others 0
    int32_t master_count     # TM master channel frame count, -1 none
    int64_t count            # of the virtual channel; -1: the frame has none
    uint64_t count_mask      # modulus - 1
    int64_t data_start       # the packet zone: frame[data_start:data_end]
    int64_t data_end
    int64_t ocf              # where the operational control field is; -1: there is none
    int64_t first_header     # where in the zone the first packet begins, or STARTS_*
    bint is_fresh            # no packet of the frame before goes on in it
    bint is_closed           # none of its packets goes on in the next frame

# NULL, or what is wrong with the frame.
cdef const char* read_header(const uint8_t* frame, int64_t size, const Layout* layout, Header* header) noexcept nogil
