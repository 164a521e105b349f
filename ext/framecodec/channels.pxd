# Packets out of the frames of virtual channels. See channels.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.channel_modes cimport ChannelModes, PacketStream
from framecodec.frame_cutter cimport Frame
from framecodec.transfer cimport Header


cdef class Reassembler(ChannelModes):
    # The zone of a frame: 0 or -1. `is_gap`: frames before it are missing.
    cdef int feed(self, PacketStream* stream, const Header* header, const Frame* frame, bint is_gap) noexcept nogil
    # The end of the input.
    cdef int close(self) noexcept nogil
    cdef int read_packets(
        self, PacketStream* stream, const uint8_t* zone, int64_t size, int64_t at, const Frame* frame,
    ) noexcept nogil
    cdef int begin(
        self, PacketStream* stream, const uint8_t* data, int64_t size, int64_t total, const Frame* frame,
    ) noexcept nogil
    cdef int append(self, PacketStream* stream, const uint8_t* data, int64_t size) noexcept nogil
    cdef int complete(self, PacketStream* stream, const Frame* frame) noexcept nogil
    cdef int abandon(self, PacketStream* stream, const char* why) noexcept nogil
