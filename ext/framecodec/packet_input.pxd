# Packets that are cut already. See packet_input.pyx.
from libc.stdint cimport int64_t

from framecodec.arrow cimport ArrowArray
from framecodec.columns cimport Names
from framecodec.found_packets cimport Found


cdef class PacketInput:
    cdef object capsules                 # they own what the pointer below points into, and packets in Found do
    cdef const ArrowArray* array

    # Adds every row to `found`, under the ids that `sources` gives to senders; the octets of all.
    cdef int64_t find(self, Found* found, Names sources) except -1
