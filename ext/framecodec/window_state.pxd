# The state of windows as bytes; window_state.pyx has the layout.
from framecodec.groups cimport Groups
from libc.stdint cimport int64_t, uint8_t, uint32_t


# All groups of one shard of `shards`; not `whole`: only what was touched since the last call, which is forgotten.
cdef object dump(Groups groups, int64_t size_ns, uint32_t shard, uint32_t shards, bint whole)
# 0, OUT_OF_MEMORY or BLOB_IS_BROKEN. `kept_ns`: how long after its begin a pane may change.
cdef int load(
    Groups groups, const uint8_t* data, size_t size, int64_t size_ns, int64_t kept_ns, int64_t now_ns
) noexcept nogil
