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
cimport cython
from libc.errno cimport EAGAIN, EINTR, ENOMEM, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

import ipaddress
import os

from framecodec.batches cimport (
    KEY_BYTES_MAX, KEY_LINK, KEY_NETFLOW, Batches, KeyKind, kind_of, partition_of_key, write_key,
)
from framecodec.priorities cimport Priorities

from framecodec.batches import address_bytes, partition_of

__all__ = ["Receiver", "partition_of"]

SOURCES_MAX = 65_536

cdef extern from *:
    """
    #include <errno.h>
    #include <netinet/in.h>
    #include <arpa/inet.h>
    #include <poll.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <linux/sock_diag.h>

    enum { DATAGRAMS_A_CALL = 64, CONTROL_BYTES = 64 };
    /* An IPv4 or IPv6 datagram is never longer than 65535 bytes, so none is ever cut. One cache line more, because 64
       buffers at a power of two apart would share the same few sets of the cache. */
    enum { DATAGRAM_STRIDE = 65536 + 64 };

    struct Buffers {
        struct mmsghdr messages[DATAGRAMS_A_CALL];
        struct iovec vectors[DATAGRAMS_A_CALL];
        struct sockaddr_in6 senders[DATAGRAMS_A_CALL];      /* large enough for sockaddr_in too */
        uint8_t control[DATAGRAMS_A_CALL][CONTROL_BYTES];   /* SO_TIMESTAMPNS takes 32, SO_RXQ_OVFL 24 bytes */
        uint8_t data[DATAGRAMS_A_CALL][DATAGRAM_STRIDE];    /* touched as far as datagrams are long */
    };

    static int64_t clock_ns(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }

    static void point_headers(struct Buffers* buffers) {
        for (int i = 0; i < DATAGRAMS_A_CALL; i++) {
            struct msghdr* header = &buffers->messages[i].msg_hdr;
            buffers->vectors[i].iov_base = buffers->data[i];
            buffers->vectors[i].iov_len = DATAGRAM_STRIDE;
            header->msg_name = &buffers->senders[i];
            header->msg_iov = &buffers->vectors[i];
            header->msg_iovlen = 1;
            header->msg_control = buffers->control[i];
        }
    }

    /* The kernel writes the two lengths of the headers it used, so they are set again before each call. */
    static void set_lengths(struct Buffers* buffers, int used) {
        for (int i = 0; i < used; i++) {
            buffers->messages[i].msg_hdr.msg_namelen = sizeof buffers->senders[i];
            buffers->messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
        }
    }

    static int receive_datagrams(int fd, struct Buffers* buffers) {
        return recvmmsg(fd, buffers->messages, DATAGRAMS_A_CALL, MSG_DONTWAIT, NULL);
    }

    static const uint8_t* datagram_at(struct Buffers* buffers, int index) { return buffers->data[index]; }

    static int wait_readable(int fd, int64_t wait_ns) {
        struct pollfd poll_fd = { fd, POLLIN, 0 };
        struct timespec wait = { wait_ns / 1000000000, wait_ns % 1000000000 };
        return ppoll(&poll_fd, 1, &wait, NULL);
    }

    static int64_t message_received_ns(struct msghdr* header, uint32_t* drops, int* has_drops) {
        int64_t received_ns = -1;
        *has_drops = 0;
        for (struct cmsghdr* part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
            if (part->cmsg_level != SOL_SOCKET) continue;
            if (part->cmsg_type == SO_TIMESTAMPNS) {
                struct timespec at;
                memcpy(&at, CMSG_DATA(part), sizeof at);
                received_ns = at.tv_sec * 1000000000LL + at.tv_nsec;
            } else if (part->cmsg_type == SO_RXQ_OVFL) {
                memcpy(drops, CMSG_DATA(part), sizeof *drops);
                *has_drops = 1;
            }
        }
        return received_ns;
    }

    static void message_sender(struct msghdr* header, uint8_t* address) {
        const struct sockaddr_in* v4 = header->msg_name;
        const struct sockaddr_in6* v6 = header->msg_name;
        if (v4->sin_family == AF_INET) {
            memcpy(address, "\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\xff\\xff", 12);
            memcpy(address + 12, &v4->sin_addr, 4);
        } else {
            memcpy(address, &v6->sin6_addr, 16);
        }
    }

    static int address_text(const uint8_t* address, char* text) {
        static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
        int is_v4 = memcmp(address, mapped, 12) == 0;
        inet_ntop(is_v4 ? AF_INET : AF_INET6, is_v4 ? address + 12 : address, text, INET6_ADDRSTRLEN);
        return (int) strlen(text);
    }

    /* Drops so far, 0 when the kernel does not say (before 4.12). */
    static uint32_t socket_drops(int fd) {
        uint32_t memory[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof memory;
        if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0) return 0;
        return memory[SK_MEMINFO_DROPS];
    }
    """
    ctypedef int clockid_t
    clockid_t CLOCK_MONOTONIC
    clockid_t CLOCK_REALTIME
    struct msghdr:
        pass
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct Buffers:
        mmsghdr messages[64]        # DATAGRAMS_A_CALL
    const uint8_t* datagram_at(Buffers* buffers, int index) noexcept nogil
    int64_t clock_ns(clockid_t) noexcept nogil
    enum: DATAGRAMS_A_CALL
    void point_headers(Buffers* buffers) noexcept nogil
    void set_lengths(Buffers* buffers, int used) noexcept nogil
    int receive_datagrams(int fd, Buffers* buffers) noexcept nogil
    int wait_readable(int fd, int64_t wait_ns) noexcept nogil
    int64_t message_received_ns(msghdr* header, uint32_t* drops, int* has_drops) noexcept nogil
    void message_sender(msghdr* header, uint8_t* address) noexcept nogil
    int address_text(const uint8_t* address, char* text) noexcept nogil
    uint32_t socket_drops(int fd) noexcept nogil

cdef enum:
    FIRST_SOURCES = 256
    TEXT_BYTES = 46             # INET6_ADDRSTRLEN
    NETWORK_BYTES = 17

cdef int64_t SECOND_NS = 1_000_000_000
cdef int64_t NO_SKEW = -0x8000000000000000

cdef enum Ended:
    ENDED_BY_TIME = 0
    ENDED_BY_FULL_BATCH = 1


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
        self.fd, self.batches, self.sources_max, self.priorities = fd, batches, sources_max, priorities
        self.interval_ns = SECOND_NS // rate if rate else 0
        self.networks = b"".join(network_bytes(network) for network in allow or ())
        self.first_network = <const uint8_t*> <char*> self.networks
        self.network_count = len(self.networks) // NETWORK_BYTES
        self.buffers = calloc(1, sizeof(Buffers))
        self.source_capacity = FIRST_SOURCES
        self.sources = <Source*> calloc(self.source_capacity, sizeof(Source))
        self.table = <uint32_t*> calloc(2 * self.source_capacity, sizeof(uint32_t))
        if self.buffers == NULL or self.sources == NULL or self.table == NULL:
            raise MemoryError
        point_headers(<Buffers*> self.buffers)
        set_lengths(<Buffers*> self.buffers, DATAGRAMS_A_CALL)
        self.kernel_drops_seen = socket_drops(fd)

    def __dealloc__(self):
        free(self.buffers)
        free(self.sources)
        free(self.table)

    def receive(self, int64_t wait_ns) -> bool:
        """Receive for `wait_ns`; True when a batch became full (or `has_too_many_sources`) before that: seal and go on.

        0 asks the kernel once. Below 0 it is not asked: only what an earlier call brought and a full batch left is taken.
        Rows are dated by CLOCK_MONOTONIC, which is `time.monotonic_ns()`. Raises OSError when the socket fails.
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
        cdef uint32_t index
        cdef Source* source
        cdef char text[TEXT_BYTES]
        taken = []
        for index in range(self.source_count):
            source = &self.sources[index]
            if source.datagrams or source.limited:
                size = address_text(source.address, text)
                skew_ns = None if source.skew_ns == NO_SKEW else source.skew_ns
                taken.append((
                    text[:size].decode(), bool(source.is_allowed), source.datagrams, source.bytes_, source.limited, skew_ns,
                ))
                source.datagrams = source.bytes_ = source.limited = 0
                source.skew_ns = NO_SKEW
        return taken

    def forget_sources(self) -> None:
        """Forget all senders. ValueError while rows are pending or counts were not taken."""
        cdef uint32_t index
        for index in range(self.source_count):
            if self.sources[index].datagrams or self.sources[index].limited:
                raise ValueError("take_sources() first, or these counts are lost")
        self.batches.forget_sources()
        memset(self.table, 0, 2 * self.source_capacity * sizeof(uint32_t))
        self.source_count = 0
        self.has_too_many_sources = False

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
                if wait_readable(self.fd, until_ns - now_ns) < 0 and errno != EINTR:
                    return -errno
            elif errno != EINTR:
                return -errno

    # How many datagrams came, or what recvmmsg returned.
    cdef int receive_more(self) noexcept nogil:
        cdef int came
        set_lengths(<Buffers*> self.buffers, self.arrived)
        self.taken = self.arrived = 0
        came = receive_datagrams(self.fd, <Buffers*> self.buffers)
        if came > 0:
            self.arrived = came
        return came

    # 0, or what `run` shall return: then the datagram was not taken.
    cdef int take(self, int index, int64_t now_ns) noexcept nogil:
        cdef Buffers* buffers = <Buffers*> self.buffers
        cdef mmsghdr* message = &buffers.messages[index]
        cdef const uint8_t* datagram = datagram_at(buffers, index)
        cdef uint8_t address[16]
        cdef int32_t partition = self.batches.link_partition
        cdef int64_t device_ns
        cdef uint32_t drops = 0
        cdef int has_drops
        cdef int64_t received_ns = message_received_ns(&message.msg_hdr, &drops, &has_drops)
        cdef Source* source
        if has_drops:
            self.see_kernel_drops(drops)
        message_sender(&message.msg_hdr, address)
        source = self.find_source(address)
        if source == NULL:
            source = self.add_source(address)
            if source == NULL:
                return ENDED_BY_FULL_BATCH if self.has_too_many_sources else -ENOMEM
        self.datagrams += 1
        self.bytes_received += message.msg_len
        if received_ns < 0:
            received_ns = clock_ns(CLOCK_REALTIME)
        if source.is_allowed:
            if self.interval_ns and not self.is_within_rate(source, received_ns):
                source.limited += 1
                self.limited += 1
                return 0
            if self.batches.key_kind != KEY_LINK:
                partition = self.partition_of_datagram(source, address, datagram, message.msg_len)
                device_ns = device_time_ns(self.batches.key_kind, datagram, message.msg_len)
                if device_ns >= 0 and device_ns - received_ns > source.skew_ns:
                    source.skew_ns = device_ns - received_ns
                if self.priorities is not None:
                    self.priorities.note(address, datagram, message.msg_len)
            if self.batches.put(partition, received_ns, source.name, datagram, message.msg_len, now_ns) < 0:
                return -ENOMEM
        else:
            self.refused += 1
            self.refused_bytes += message.msg_len
        source.datagrams += 1
        source.bytes_ += message.msg_len
        return 0

    cdef int32_t partition_of_datagram(
        self, Source* source, const uint8_t* address, const uint8_t* datagram, size_t size,
    ) noexcept nogil:
        cdef uint8_t key[KEY_BYTES_MAX]
        cdef size_t key_bytes = write_key(self.batches.key_kind, address, datagram, size, key)
        if key_bytes != source.key_bytes or memcmp(key, source.key, key_bytes):
            source.key_bytes = key_bytes
            memcpy(source.key, key, key_bytes)
            source.partition = partition_of_key(key, key_bytes, self.batches.partitions)
        return source.partition

    # The time of a datagram is the kernel's: what waited because we were slow did not come too fast.
    cdef bint is_within_rate(self, Source* source, int64_t received_ns) noexcept nogil:
        cdef int64_t ahead_ns = source.due_ns - received_ns
        if ahead_ns > SECOND_NS and ahead_ns <= 2 * SECOND_NS + self.interval_ns:
            return False
        if ahead_ns < 0 or ahead_ns > SECOND_NS:        # it paused, or the clock was set back
            source.due_ns = received_ns
        source.due_ns += self.interval_ns
        return True

    cdef Source* find_source(self, const uint8_t* address) noexcept nogil:
        cdef uint32_t mask = 2 * self.source_capacity - 1
        cdef uint32_t slot = address_hash(address) & mask
        while self.table[slot]:
            if memcmp(self.sources[self.table[slot] - 1].address, address, ADDRESS_BYTES) == 0:
                return &self.sources[self.table[slot] - 1]
            slot = (slot + 1) & mask
        return NULL

    # NULL: out of memory, or has_too_many_sources.
    cdef Source* add_source(self, const uint8_t* address) noexcept nogil:
        cdef char text[TEXT_BYTES]
        cdef uint32_t slot
        cdef uint32_t mask
        cdef uint32_t index
        cdef Source* source
        cdef void* moved
        if self.source_count >= self.sources_max:
            self.has_too_many_sources = True
            return NULL
        if self.source_count == self.source_capacity:
            moved = realloc(self.sources, 2 * <size_t> self.source_capacity * sizeof(Source))
            if moved == NULL:
                return NULL
            self.sources = <Source*> moved
            moved = calloc(4 * <size_t> self.source_capacity, sizeof(uint32_t))
            if moved == NULL:
                return NULL
            free(self.table)
            self.table = <uint32_t*> moved
            self.source_capacity *= 2
            mask = 2 * self.source_capacity - 1
            for index in range(self.source_count):
                slot = address_hash(self.sources[index].address) & mask
                while self.table[slot]:
                    slot = (slot + 1) & mask
                self.table[slot] = index + 1
        source = &self.sources[self.source_count]
        memset(source, 0, sizeof(Source))
        memcpy(source.address, address, ADDRESS_BYTES)
        source.is_allowed = self.is_allowed(address)
        source.skew_ns = NO_SKEW
        if source.is_allowed:
            source.name = self.batches.sources.intern(<const uint8_t*> text, address_text(address, text))
            if source.name < 0:
                return NULL
        mask = 2 * self.source_capacity - 1
        slot = address_hash(address) & mask
        while self.table[slot]:
            slot = (slot + 1) & mask
        self.source_count += 1
        self.table[slot] = self.source_count
        return source

    cdef bint is_allowed(self, const uint8_t* address) noexcept nogil:
        cdef const uint8_t* network = self.first_network
        cdef int index, whole, rest
        if self.network_count == 0:
            return True
        for index in range(self.network_count):
            whole, rest = network[ADDRESS_BYTES] >> 3, network[ADDRESS_BYTES] & 7
            if memcmp(network, address, whole) == 0 and (
                rest == 0 or ((network[whole] ^ address[whole]) >> (8 - rest)) == 0
            ):
                return True
            network += NETWORK_BYTES
        return False

    cdef void see_kernel_drops(self, uint32_t counter) noexcept nogil:
        cdef uint32_t more = counter - self.kernel_drops_seen   # modulo 2^32
        # Datagrams carry the counter as it was when they were queued, so an older value than the one read last may follow.
        if <int32_t> more > 0:
            self.kernel_drops += more
            self.kernel_drops_seen = counter


cdef inline int64_t read_u32(const uint8_t* at) noexcept nogil:
    return (<int64_t> at[0] << 24) | (at[1] << 16) | (at[2] << 8) | at[3]


cdef int64_t device_time_ns(KeyKind kind, const uint8_t* datagram, size_t size) noexcept nogil:
    """The exporter's clock in a NetFlow or IPFIX header; -1 where there is none (sFlow has only its uptime)."""
    if size < 16 or kind_of(kind, datagram, size) != KEY_NETFLOW or datagram[0]:
        return -1
    if datagram[1] == 9:                                # RFC 3954 5.1: seconds
        return read_u32(datagram + 8) * SECOND_NS
    if datagram[1] == 10:                               # RFC 7011 3.1: seconds
        return read_u32(datagram + 4) * SECOND_NS
    if datagram[1] == 5:                                # seconds, nanoseconds (from memory)
        return read_u32(datagram + 8) * SECOND_NS + read_u32(datagram + 12)
    return -1


cdef inline uint32_t address_hash(const uint8_t* address) noexcept nogil:
    cdef uint64_t high, low
    memcpy(&high, address, 8)
    memcpy(&low, address + 8, 8)
    low = (low ^ (high * <uint64_t> 0x9E3779B97F4A7C15ULL)) * <uint64_t> 0x9E3779B97F4A7C15ULL
    return <uint32_t> (low >> 32)


cdef network_bytes(text):
    """Prefix and prefix length as 17 bytes; an IPv4 network becomes the same under ::ffff:0:0/96."""
    network = ipaddress.ip_network(str(text))
    length = network.prefixlen + (96 if network.version == 4 else 0)
    return address_bytes(str(network.network_address)) + bytes([length])
