"""UDP sockets under epoll, and addresses in the kernel's own form.

Owns the readiness set, the timer that bounds a wait and the wake-up bell; sockets themselves are opened and closed by
the control side. Level-triggered: one datagram is read per readiness, so that no call is spent on hearing "none left".
"""

import socket as python_socket

from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcmp, memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, itimerspec, timespec
from posix.unistd cimport close, read, write

cdef extern from "<sys/socket.h>" nogil:
    ctypedef uint32_t socklen_t
    cdef struct sockaddr:
        pass
    ssize_t recvfrom(int fd, void* buffer, size_t size, int flags, sockaddr* source, socklen_t* source_size)
    ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* to, socklen_t to_size)
    cdef struct iovec:
        void* iov_base
        size_t iov_len
    cdef struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        void* msg_control
        size_t msg_controllen
        int msg_flags
    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, timespec* timeout)
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL
    int MSG_TRUNC
    int AF_INET
    int AF_INET6

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int operation, int fd, epoll_event* event)
    int epoll_wait(int epoll, epoll_event* events, int capacity, int timeout_ms)
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    int EPOLL_CTL_DEL
    int EPOLLIN

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    int EFD_NONBLOCK
    int EFD_CLOEXEC

cdef extern from "<sys/timerfd.h>" nogil:
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* new_value, itimerspec* old_value)
    int TFD_NONBLOCK
    int TFD_CLOEXEC
    int TFD_TIMER_ABSTIME

cdef extern from "<time.h>" nogil:
    int clock_nanosleep(int clock, int flags, const timespec* wanted, timespec* left)

cdef enum:
    TAG_TIMER = 1                 # never a leg's: those carry a generation of at least 1 in higher bits
    FAMILY_AT = 0                 # sockaddr_in: family, port, address 4; sockaddr_in6: family, port, flow 4, address 16
    PORT_AT = 2
    ADDRESS4_AT = 4
    ADDRESS6_AT = 8
    SIZE4 = 16
    SIZE6 = 28


cdef int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef bint address_same_host(const Address* a, const Address* b) noexcept nogil:
    if a.size != b.size:
        return False
    if a.size == SIZE4:
        return memcmp(a.raw + ADDRESS4_AT, b.raw + ADDRESS4_AT, 4) == 0
    return a.size == SIZE6 and memcmp(a.raw + ADDRESS6_AT, b.raw + ADDRESS6_AT, 16) == 0


cdef bint address_equal(const Address* a, const Address* b) noexcept nogil:
    return (a.raw[PORT_AT] == b.raw[PORT_AT] and a.raw[PORT_AT + 1] == b.raw[PORT_AT + 1] and a.via == b.via
            and address_same_host(a, b))


cdef void address_set_port(Address* a, int port) noexcept nogil:
    a.raw[PORT_AT] = <uint8_t>(port >> 8)
    a.raw[PORT_AT + 1] = <uint8_t>port


cdef int address_port(const Address* a) noexcept nogil:
    return (a.raw[PORT_AT] << 8) | a.raw[PORT_AT + 1]


cdef Address address_from_python(host, int port, uint32_t via=0) except *:
    cdef Address a
    cdef uint16_t family
    cdef bytes packed
    memset(&a, 0, sizeof(Address))
    a.via = via
    if not 0 <= port <= 65535:
        raise ValueError(f"port {port} is not 0..65535")
    try:
        if ":" in host:
            packed = python_socket.inet_pton(python_socket.AF_INET6, host.partition("%")[0])
            family = AF_INET6
            a.size = SIZE6
            memcpy(a.raw + ADDRESS6_AT, <const uint8_t*>packed, 16)
        else:
            packed = python_socket.inet_pton(python_socket.AF_INET, host)
            family = AF_INET
            a.size = SIZE4
            memcpy(a.raw + ADDRESS4_AT, <const uint8_t*>packed, 4)
    except OSError:
        raise ValueError(f"{host!r} is not an IPv4 or IPv6 literal") from None
    memcpy(a.raw + FAMILY_AT, &family, 2)
    address_set_port(&a, port)
    return a


cdef object address_to_python(const Address* a):
    """(host, port), for a TCP connection (host, port, via), or None for no address."""
    if a.size == SIZE4:
        host = python_socket.inet_ntop(python_socket.AF_INET, a.raw[ADDRESS4_AT:ADDRESS4_AT + 4])
    elif a.size == SIZE6:
        host = python_socket.inet_ntop(python_socket.AF_INET6, a.raw[ADDRESS6_AT:ADDRESS6_AT + 16])
    else:
        return None
    return (host, address_port(a), a.via) if a.via else (host, address_port(a))


cdef int udp_watch(void* state, int fd, uint64_t tag) noexcept nogil:
    cdef epoll_event event
    event.events = EPOLLIN
    event.data.u64 = tag
    return epoll_ctl((<UdpState*>state).epoll, EPOLL_CTL_ADD, fd, &event)


cdef void udp_unwatch(void* state, int fd) noexcept nogil:
    cdef epoll_event event
    epoll_ctl((<UdpState*>state).epoll, EPOLL_CTL_DEL, fd, &event)


cdef int udp_ready(void* state, uint64_t* tags, int capacity) noexcept nogil:
    cdef UdpState* s = <UdpState*>state
    cdef int count = s.ready_count if s.ready_count < capacity else capacity
    memcpy(tags, s.tags, count * sizeof(uint64_t))
    s.ready_count = 0
    return count


cdef int udp_receive(void* state, int fd, Packet* packet, Address* source) noexcept nogil:
    cdef socklen_t source_size = ADDRESS_BYTES
    cdef ssize_t got = recvfrom(fd, packet.data, sizeof(packet.data), MSG_DONTWAIT | MSG_TRUNC, <sockaddr*>source.raw,
                                &source_size)
    if got < 0:
        return 0
    packet.arrival_ns = monotonic_ns()
    if got > <ssize_t>sizeof(packet.data):
        return -1
    source.size = source_size
    source.via = 0
    packet.size = <uint16_t>got
    return 1


cdef int udp_receive_many(void* state, int fd, Packet** packets, Address* sources, int count) noexcept nogil:
    cdef mmsghdr messages[RECEIVE_BATCH_MAX]
    cdef iovec parts[RECEIVE_BATCH_MAX]
    cdef int64_t now_ns
    cdef int got
    cdef int i
    for i in range(count):
        parts[i].iov_base = packets[i].data
        parts[i].iov_len = sizeof(packets[i].data)
        memset(&messages[i], 0, sizeof(mmsghdr))
        messages[i].msg_hdr.msg_name = sources[i].raw
        messages[i].msg_hdr.msg_namelen = ADDRESS_BYTES
        messages[i].msg_hdr.msg_iov = &parts[i]
        messages[i].msg_hdr.msg_iovlen = 1
    got = recvmmsg(fd, messages, count, MSG_DONTWAIT, NULL)
    if got <= 0:
        return 0
    now_ns = monotonic_ns()
    for i in range(got):
        packets[i].arrival_ns = now_ns
        packets[i].size = 0 if messages[i].msg_hdr.msg_flags & MSG_TRUNC else <uint16_t>messages[i].msg_len
        sources[i].size = messages[i].msg_hdr.msg_namelen
        sources[i].via = 0
    return got


cdef inline int taken(ssize_t got) noexcept nogil:
    if got >= 0:
        return <int>got
    return 0 if errno == EAGAIN or errno == EINTR else -1


cdef int tcp_read(void* state, int fd, uint8_t* data, int size) noexcept nogil:
    cdef ssize_t got = recv(fd, data, size, MSG_DONTWAIT)
    return -1 if got == 0 else taken(got)


cdef int tcp_write(void* state, int fd, const uint8_t* data, int size) noexcept nogil:
    return taken(send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL))


cdef int udp_send(void* state, int fd, const uint8_t* data, int size, const Address* to) noexcept nogil:
    return 0 if sendto(fd, data, size, MSG_DONTWAIT, <const sockaddr*>to.raw, to.size) == size else -1


cdef void udp_wake(UdpState* s) noexcept nogil:
    cdef uint64_t one = 1
    write(s.wake, &one, sizeof(one))


cdef void arm_timer(UdpState* s, int64_t deadline_ns) noexcept nogil:
    cdef itimerspec when
    memset(&when, 0, sizeof(when))
    when.it_value.tv_sec = deadline_ns // 1000000000
    when.it_value.tv_nsec = deadline_ns % 1000000000
    timerfd_settime(s.timer, TFD_TIMER_ABSTIME, &when, NULL)
    s.timer_ns = deadline_ns


cdef void udp_wait(UdpState* s, int64_t deadline_ns, int64_t nap_ns) noexcept nogil:
    cdef epoll_event events[NETWORK_READY_MAX]
    cdef timespec pause
    cdef uint64_t ignored
    cdef int got
    cdef int i
    if deadline_ns != s.timer_ns:
        arm_timer(s, deadline_ns)
    if nap_ns > 0:
        pause.tv_sec = 0
        pause.tv_nsec = nap_ns
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL)
    s.ready_count = 0
    got = epoll_wait(s.epoll, events, NETWORK_READY_MAX, -1)
    if got < 0 and errno != EINTR:
        return
    for i in range(got):
        if events[i].data.u64 == TAG_TIMER:
            continue
        if events[i].data.u64 == TAG_WAKE:
            read(s.wake, &ignored, sizeof(ignored))
            continue
        s.tags[s.ready_count] = events[i].data.u64
        s.ready_count += 1


cdef class UdpNetwork:
    """epoll, a timer and a bell; one worker thread waits on it."""

    def __cinit__(self):
        cdef epoll_event event
        memset(&self.state, 0, sizeof(UdpState))
        self.state.epoll = epoll_create1(EPOLL_CLOEXEC)
        self.state.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)
        self.state.wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self.state.epoll < 0 or self.state.timer < 0 or self.state.wake < 0:
            raise OSError("the system gives no more descriptors for a media worker (epoll, timerfd, eventfd)")
        event.events = EPOLLIN
        event.data.u64 = TAG_TIMER
        epoll_ctl(self.state.epoll, EPOLL_CTL_ADD, self.state.timer, &event)
        event.data.u64 = TAG_WAKE
        epoll_ctl(self.state.epoll, EPOLL_CTL_ADD, self.state.wake, &event)
        self.net.state = &self.state
        self.net.watch = udp_watch
        self.net.unwatch = udp_unwatch
        self.net.ready = udp_ready
        self.net.receive = udp_receive
        self.net.receive_many = udp_receive_many
        self.net.read = tcp_read
        self.net.write = tcp_write
        self.net.send = udp_send

    def __dealloc__(self):
        for fd in (self.state.epoll, self.state.timer, self.state.wake):
            if fd > 0:
                close(fd)
