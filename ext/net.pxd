# What a worker needs of a network: eight functions and a state. UDP sockets under epoll here, memory in memnet.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.packet cimport Packet

cdef enum:
    ADDRESS_BYTES = 28                 # sockaddr_in6, the longer of the two we speak
    NETWORK_READY_MAX = 512            # sockets looked at in one round
    RECEIVE_BATCH_MAX = 32             # datagrams of a shared socket taken by one system call
    TAG_WAKE = 0                       # what ready() says when only the worker's wake-up was rung

cdef struct Address:                   # a sockaddr_in or sockaddr_in6 as the kernel gives and takes it
    uint32_t size                      # 16, 28; 0: none
    uint32_t via                       # 0: UDP; else the number of the TCP connection it is the other end of
    uint8_t raw[ADDRESS_BYTES]

cdef struct Network:
    void* state
    # Readiness of `socket` is reported by `tag`. 0, or -1.
    int (*watch)(void* state, int socket, uint64_t tag) noexcept nogil
    void (*unwatch)(void* state, int socket) noexcept nogil
    # Tags of the sockets that wait() found readable; at most capacity of them.
    int (*ready)(void* state, uint64_t* tags, int capacity) noexcept nogil
    # One datagram into packet (data, size, arrival_ns). 1; 0: drained; -1: one too long for a slot, dropped.
    int (*receive)(void* state, int socket, Packet* packet, Address* source) noexcept nogil
    # Up to count <= RECEIVE_BATCH_MAX datagrams into packets, as receive does. How many; one too long for a slot has
    # size 0.
    int (*receive_many)(void* state, int socket, Packet** packets, Address* sources, int count) noexcept nogil
    # Of a TCP connection: bytes read or taken, 0: none at present; -1: it is closed or broken. Never wait.
    int (*read)(void* state, int socket, uint8_t* data, int size) noexcept nogil
    int (*write)(void* state, int socket, const uint8_t* data, int size) noexcept nogil
    # 0, or -1: the system did not take it. Never waits.
    int (*send)(void* state, int socket, const uint8_t* data, int size, const Address* to) noexcept nogil

# Both addresses name the same host and port, and the same way there.
cdef bint address_equal(const Address* a, const Address* b) noexcept nogil
cdef bint address_same_host(const Address* a, const Address* b) noexcept nogil
cdef void address_set_port(Address* a, int port) noexcept nogil
cdef int address_port(const Address* a) noexcept nogil
# host: IPv4 or IPv6 literal. Raises ValueError.
cdef Address address_from_python(host, int port, uint32_t via=*) except *
cdef object address_to_python(const Address* a)

cdef struct UdpState:
    int32_t epoll
    int32_t timer                      # timerfd, absolute CLOCK_MONOTONIC
    int32_t wake                       # eventfd the control side writes
    int32_t ready_count
    int64_t timer_ns                   # what the timer is armed for
    uint64_t tags[NETWORK_READY_MAX]

cdef class UdpNetwork:
    cdef UdpState state
    cdef Network net

cdef int64_t monotonic_ns() noexcept nogil
# Sleeps until a socket is readable, the wake-up rings or deadline_ns; nap_ns > 0: first lets work gather for so long.
cdef void udp_wait(UdpState* state, int64_t deadline_ns, int64_t nap_ns) noexcept nogil
cdef void udp_wake(UdpState* state) noexcept nogil
