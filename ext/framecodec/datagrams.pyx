# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Datagrams from a bound UDP socket into `Batches`, without the GIL.

    receiver = Receiver(sock.fileno(), batches, allow=["10.0.0.0/8"])
    while running:
        receiver.receive(wait_ns)                     # returns after that time, or when a batch is full
        for partition, memory_bytes, batch in batches.seal(time.monotonic_ns()): ...

One recvmmsg call brings up to 64 datagrams with their kernel receive time (SO_TIMESTAMPNS) and the socket's drop counter
(SO_RXQ_OVFL); each is copied once, into the batch of its partition. Every datagram is either in a batch or counted:
`datagrams` = rows + `refused` + `limited`; what never came to us is in `kernel_drops`. Linux only.

The socket stays its owner's, who sets the options (`streams/collectors/udp.py`). One thread at a time.
"""
from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

import os

from framecodec.batches cimport Batches
from framecodec.partitions cimport KEY_LINK, KEY_NETFLOW, Key, KeyKind, key_of, kind_of, partition_of_key, read_u32
from framecodec.priorities cimport Priorities
from framecodec.recvmmsg cimport (
    ADDRESS_TEXT_BYTES, CLOCK_MONOTONIC, CLOCK_REALTIME, Buffers, address_text, clock_ns, datagram_at, datagram_bytes,
    datagram_received_ns, datagram_sender, nap, point_headers, receive_datagrams, set_lengths, socket_drops, wait_readable,
)
from framecodec.senders cimport Sender, Senders, fetch_sender, find_sender

from framecodec.partitions import partition_of

__all__ = ["Receiver", "partition_of"]

SOURCES_MAX = 65_536

cdef enum:
    # Of so many senders most of what is known is still in the nearest cache.
    FEW_SENDERS = 128

cdef enum Ended:
    ENDED_BY_TIME = 0
    ENDED_BY_FULL_BATCH = 1

cdef int64_t SECOND_NS = 1_000_000_000
# After the first datagram others are let come, or at 40,000 a second we would wake up for every second one: 19,000 times, and
# for nearly twice the CPU time. A batch waits a hundred times longer, and the smallest receive buffer of Linux holds twice
# what comes meanwhile at 300,000 a second.
cdef int64_t GATHER_NS = 500_000


cdef class Receiver:
    """Receives from the bound UDP socket `fd` into `batches`.

    `allow` are networks ("10.0.0.0/8", "2001:db8::/32"); None or empty allows every sender. `rate` is how many datagrams a
    second each sender may send, on average, and that many more at once; 0 is any number. `priorities` is told of every
    datagram. `sources_max` bounds the memory for senders: at that number `receive` returns and `has_too_many_sources` is
    set; then seal everything, `take_sources` and `forget_sources`.
    """

    def __cinit__(
        self, fd: int, Batches batches not None, *, allow=(), rate: int = 0, Priorities priorities=None,
        sources_max: int = SOURCES_MAX,
    ):
        if fd < 0 or sources_max < 1 or rate < 0:
            raise ValueError(f"fd {fd} must be open, sources_max {sources_max} at least 1, rate {rate} at least 0")
        self.fd, self.batches, self.priorities = fd, batches, priorities
        self.senders = Senders(allow, rate, sources_max)
        self.buffers = calloc(1, sizeof(Buffers))
        if self.buffers == NULL:
            raise MemoryError
        point_headers(<Buffers*> self.buffers)
        self.kernel_drops_seen = socket_drops(fd)

    def __dealloc__(self):
        free(self.buffers)

    @property
    def has_too_many_sources(self) -> bool:
        """No room for another sender: seal everything, `take_sources`, `forget_sources`."""
        return self.senders.is_full

    def receive(self, int64_t wait_ns) -> bool:
        """Receive for `wait_ns`, or half a millisecond more; True when a batch became full before that: seal and go on.

        The same where `has_too_many_sources`. 0 asks the kernel once. Below 0 it is not asked: only what an earlier call
        brought and a full batch left is taken. Rows are dated by CLOCK_MONOTONIC, which is `time.monotonic_ns()`. Raises
        OSError when the socket fails.
        """
        cdef int ended
        with nogil:
            ended = self.run(wait_ns)
        if ended == -ENOMEM:
            raise MemoryError
        if ended < 0:
            raise OSError(-ended, os.strerror(-ended))
        return ended == ENDED_BY_FULL_BATCH

    def read_kernel_drops(self) -> int:
        """Datagrams that the kernel dropped at this socket so far (buffer full, bad checksum), also since the last arrival."""
        cdef uint32_t drops = socket_drops(self.fd)
        if drops:
            self.see_kernel_drops(drops)
        return self.kernel_drops

    def take_sources(self) -> list:
        """What came since the last call, of every sender that sent something: a list of
        (address, is_allowed, datagrams, bytes, limited, skew_ns).

        `datagrams` and `bytes` were taken (or refused, where `is_allowed` is False), `limited` were beyond `rate`. `skew_ns`
        is the device's time minus the receive time, of the datagram least delayed; None where no datagram has a time.
        """
        return self.senders.take()

    def forget_sources(self) -> None:
        """Forget all senders. ValueError while rows are pending or counts were not taken."""
        self.senders.check_taken()
        self.batches.forget_sources()
        self.senders.forget()

    # One of Ended, or a negative errno.
    cdef int run(self, int64_t wait_ns) noexcept nogil:
        cdef int64_t now_ns = clock_ns(CLOCK_MONOTONIC)
        cdef int64_t until_ns = now_ns + wait_ns
        cdef int status
        while True:
            while self.taken < self.arrived:        # first what a full batch left behind
                status = self.take(self.taken, now_ns)
                if status:
                    return status
                self.taken += 1
                if self.batches.is_full:
                    return ENDED_BY_FULL_BATCH
            if now_ns > until_ns:
                return ENDED_BY_TIME
            status = self.receive_more()
            if status > 0:
                now_ns = clock_ns(CLOCK_MONOTONIC)
            elif errno == EAGAIN:
                now_ns = clock_ns(CLOCK_MONOTONIC)
                if now_ns >= until_ns:
                    return ENDED_BY_TIME
                status = wait_readable(self.fd, until_ns - now_ns)
                if status < 0 and errno != EINTR:
                    return -errno
                if status > 0:
                    nap(GATHER_NS)
            elif errno != EINTR:
                return -errno

    # How many datagrams came, or what recvmmsg returned.
    cdef int receive_more(self) noexcept nogil:
        cdef Buffers* buffers = <Buffers*> self.buffers
        cdef uint64_t address[2]
        cdef int came, index
        set_lengths(buffers, self.arrived)
        self.taken = self.arrived = 0
        came = receive_datagrams(self.fd, buffers)
        if came > 0:
            self.arrived = came
        if self.senders.count > FEW_SENDERS:
            for index in range(came):
                datagram_sender(buffers, index, address)
                fetch_sender(self.senders, address)
        return came

    # 0, or what `run` shall return: then the datagram was not taken.
    cdef int take(self, int index, int64_t now_ns) noexcept nogil:
        cdef Buffers* buffers = <Buffers*> self.buffers
        cdef const uint8_t* datagram = datagram_at(buffers, index)
        cdef size_t size = datagram_bytes(buffers, index)
        cdef uint64_t address[2]
        cdef int32_t partition = self.batches.link_partition
        cdef int64_t device_ns
        cdef uint32_t drops = 0
        cdef int has_drops
        cdef int64_t received_ns = datagram_received_ns(buffers, index, &drops, &has_drops)
        cdef Sender* sender
        if has_drops:
            self.see_kernel_drops(drops)
        datagram_sender(buffers, index, address)
        sender = find_sender(self.senders, address)
        if sender == NULL:
            sender = self.add_sender(address)
            if sender == NULL:
                return ENDED_BY_FULL_BATCH if self.senders.is_full else -ENOMEM
        self.datagrams += 1
        self.bytes_received += size
        if received_ns < 0:
            received_ns = clock_ns(CLOCK_REALTIME)
        if sender.is_allowed:
            if self.senders.interval_ns and not self.senders.is_within_rate(sender, received_ns):
                sender.limited += 1
                self.limited += 1
                return 0
            if self.batches.key_kind != KEY_LINK:
                partition = self.partition_of_datagram(sender, datagram, size)
                device_ns = device_time_ns(self.batches.key_kind, datagram, size)
                if device_ns >= 0 and device_ns - received_ns > sender.skew_ns:
                    sender.skew_ns = device_ns - received_ns
                if self.priorities is not None:
                    self.priorities.note(<const uint8_t*> address, datagram, size)
            if self.batches.put(partition, received_ns, sender.name, datagram, size, now_ns) < 0:
                return -ENOMEM
        else:
            self.refused += 1
            self.refused_bytes += size
        sender.datagrams += 1
        sender.bytes_ += size
        return 0

    cdef int32_t partition_of_datagram(self, Sender* sender, const uint8_t* datagram, size_t size) noexcept nogil:
        cdef Key key = key_of(self.batches.key_kind, sender.address[0], sender.address[1], datagram, size)
        if (
            key.low != sender.key.low or key.high != sender.key.high or key.rest != sender.key.rest
            or key.size != sender.key.size
        ):
            sender.key.high, sender.key.low, sender.key.rest, sender.key.size = key.high, key.low, key.rest, key.size
            sender.partition = partition_of_key(<const uint8_t*> &sender.key, key.size, self.batches.partitions)
        return sender.partition

    # NULL: out of memory, or no room for another one.
    cdef Sender* add_sender(self, const uint64_t* address) noexcept nogil:
        cdef char text[ADDRESS_TEXT_BYTES]
        cdef int32_t name = 0
        cdef Sender* sender
        if self.senders.is_allowed(<const uint8_t*> address):
            name = self.batches.sources.intern(<const uint8_t*> text, address_text(address, text))
            if name < 0:
                return NULL
        sender = self.senders.add(address)
        if sender != NULL:
            sender.name = name
        return sender

    cdef void see_kernel_drops(self, uint32_t counter) noexcept nogil:
        cdef uint32_t more = counter - self.kernel_drops_seen   # modulo 2^32
        # Datagrams carry the counter as it was when they were queued, so an older value than the one read last may follow.
        if <int32_t> more > 0:
            self.kernel_drops += more
            self.kernel_drops_seen = counter


cdef int64_t device_time_ns(KeyKind kind, const uint8_t* datagram, size_t size) noexcept nogil:
    """The exporter's clock in a NetFlow or IPFIX header; -1 where there is none (sFlow has only its uptime)."""
    if size < 16 or kind_of(kind, datagram, size) != KEY_NETFLOW or datagram[0]:
        return -1
    if datagram[1] == 9:                                # RFC 3954 5.1: seconds
        return <int64_t> read_u32(datagram + 8) * SECOND_NS
    if datagram[1] == 10:                               # RFC 7011 3.1: seconds
        return <int64_t> read_u32(datagram + 4) * SECOND_NS
    if datagram[1] == 5:                                # seconds, nanoseconds (from memory)
        return <int64_t> read_u32(datagram + 8) * SECOND_NS + read_u32(datagram + 12)
    return -1
