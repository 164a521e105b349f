# Datagrams out of the kernel: up to 64 a call, with sender, receive time and drop counter. Linux only. Used by datagrams.pyx.
#
# Not used, because then a train of datagrams that the kernel joined and had to drop counts as one drop (tried on Linux 6.18:
# 10,000 sent, 3,650 came, "127 dropped"): UDP_GRO.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <endian.h>
    #include <errno.h>
    #include <netinet/in.h>
    #include <poll.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <linux/sock_diag.h>

    enum { DATAGRAMS_A_CALL = 64, CONTROL_BYTES = 64 };
    /* 16 to 64 a call are equally fast (bench_collect.py), 8 are 10 % slower.
       An IPv4 or IPv6 datagram is never longer than 65535 bytes, so none is ever cut. One cache line more, because
       buffers at a power of two apart would share the same few sets of the cache. */
    enum { DATAGRAM_STRIDE = 65536 + 64 };

    struct Buffers {
        struct mmsghdr messages[DATAGRAMS_A_CALL];
        struct iovec vectors[DATAGRAMS_A_CALL];
        struct sockaddr_in6 senders[DATAGRAMS_A_CALL];      /* large enough for sockaddr_in too */
        uint8_t control[DATAGRAMS_A_CALL][CONTROL_BYTES];   /* SO_TIMESTAMPNS takes 32, SO_RXQ_OVFL 24 bytes */
        uint8_t data[DATAGRAMS_A_CALL][DATAGRAM_STRIDE];    /* touched as far as datagrams are long */
    };

    static inline int64_t clock_ns(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }

    /* The kernel writes the two lengths of the headers it used, so they are set again before each call. */
    static void set_lengths(struct Buffers* buffers, int used) {
        for (int i = 0; i < used; i++) {
            buffers->messages[i].msg_hdr.msg_namelen = sizeof buffers->senders[i];
            buffers->messages[i].msg_hdr.msg_controllen = CONTROL_BYTES;
        }
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
        set_lengths(buffers, DATAGRAMS_A_CALL);
    }

    static int receive_datagrams(int fd, struct Buffers* buffers) {
        return recvmmsg(fd, buffers->messages, DATAGRAMS_A_CALL, MSG_DONTWAIT, NULL);
    }

    static int wait_readable(int fd, int64_t wait_ns) {
        struct pollfd poll_fd = { fd, POLLIN, 0 };
        struct timespec wait = { wait_ns / 1000000000, wait_ns % 1000000000 };
        return ppoll(&poll_fd, 1, &wait, NULL);
    }

    static void nap(int64_t nap_ns) {
        struct timespec wait = { nap_ns / 1000000000, nap_ns % 1000000000 };
        nanosleep(&wait, NULL);
    }

    static inline const uint8_t* datagram_at(const struct Buffers* buffers, int index) { return buffers->data[index]; }

    static inline size_t datagram_bytes(const struct Buffers* buffers, int index) { return buffers->messages[index].msg_len; }

    static inline int64_t time_in(const struct cmsghdr* part) {
        struct timespec at;
        memcpy(&at, CMSG_DATA(part), sizeof at);
        return at.tv_sec * 1000000000LL + at.tv_nsec;
    }

    static inline int has_time(const struct cmsghdr* part) {
        return part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS
            && part->cmsg_len == CMSG_LEN(sizeof(struct timespec));
    }

    /* The receive time, -1 without one. `drops` is set where there is the socket's counter, which is once it dropped any. */
    static inline int64_t datagram_received_ns(struct Buffers* buffers, int index, uint32_t* drops, int* has_drops) {
        struct msghdr* header = &buffers->messages[index].msg_hdr;
        int64_t received_ns = -1;
        *has_drops = 0;
        /* Nothing but the time: nearly always. */
        if (header->msg_controllen == CMSG_SPACE(sizeof(struct timespec)) && has_time(header->msg_control))
            return time_in(header->msg_control);
        for (struct cmsghdr* part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
            if (has_time(part)) {
                received_ns = time_in(part);
            } else if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_RXQ_OVFL) {
                memcpy(drops, CMSG_DATA(part), sizeof *drops);
                *has_drops = 1;
            }
        }
        return received_ns;
    }

    /* The 16 bytes of an address as two numbers, which are compared and hashed faster than memory that was just written. */
    static inline void datagram_sender(const struct Buffers* buffers, int index, uint64_t address[2]) {
        const struct sockaddr_in6* sender = &buffers->senders[index];
        if (sender->sin6_family == AF_INET) {
            address[0] = 0;
            address[1] = htobe64(0xffff00000000ULL | ntohl(((const struct sockaddr_in*) sender)->sin_addr.s_addr));
        } else {
            memcpy(address, &sender->sin6_addr, 16);
        }
    }

    static int address_text(const uint64_t address[2], char* text) {
        int is_v4 = address[0] == 0 && be64toh(address[1]) >> 32 == 0xffff;
        inet_ntop(is_v4 ? AF_INET : AF_INET6, (const uint8_t*) address + (is_v4 ? 12 : 0), text, INET6_ADDRSTRLEN);
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
    struct Buffers:
        pass
    int64_t clock_ns(clockid_t) noexcept nogil
    void point_headers(Buffers* buffers) noexcept nogil
    void set_lengths(Buffers* buffers, int used) noexcept nogil
    # How many came, or -1 and errno; EAGAIN when none waits.
    int receive_datagrams(int fd, Buffers* buffers) noexcept nogil
    int wait_readable(int fd, int64_t wait_ns) noexcept nogil
    void nap(int64_t nap_ns) noexcept nogil
    # What the last call brought; `index` from 0. Addresses are of 16 bytes, IPv4 as ::ffff:a.b.c.d.
    const uint8_t* datagram_at(const Buffers* buffers, int index) noexcept nogil
    size_t datagram_bytes(const Buffers* buffers, int index) noexcept nogil
    int64_t datagram_received_ns(Buffers* buffers, int index, uint32_t* drops, int* has_drops) noexcept nogil
    void datagram_sender(const Buffers* buffers, int index, uint64_t* address) noexcept nogil
    # `text` has room for ADDRESS_TEXT_BYTES; returns its length.
    int address_text(const uint64_t* address, char* text) noexcept nogil
    uint32_t socket_drops(int fd) noexcept nogil

cdef enum:
    ADDRESS_TEXT_BYTES = 46             # INET6_ADDRSTRLEN
