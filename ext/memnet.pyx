"""A network in memory, so that a worker runs in virtual time from a script. Same contract as net.UdpNetwork.

Allocates as it likes: it stands where the kernel stands. Datagrams to a socket are taken in the order delivered.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memmove, memset
from mediaserver.ext.net cimport address_from_python, address_to_python
from mediaserver.ext.packet cimport Packet

cdef enum:
    SOCKETS_MAX = 65536


cdef int queue_push(MemoryQueue* q, int socket, const uint8_t* data, int size, const Address* peer,
                    int64_t at_ns) noexcept nogil:
    cdef MemoryDatagram* grown
    cdef MemoryDatagram* item
    if q.head + q.count == q.capacity:
        grown = <MemoryDatagram*>realloc(q.items, (q.capacity * 2 + 64) * sizeof(MemoryDatagram))
        if grown is NULL:
            return -1
        q.items = grown
        q.capacity = q.capacity * 2 + 64
    item = &q.items[q.head + q.count]
    item.data = <uint8_t*>malloc(size if size > 0 else 1)
    if item.data is NULL:
        return -1
    memcpy(item.data, data, size)
    item.socket = socket
    item.size = size
    item.peer = peer[0]
    item.at_ns = at_ns
    q.count += 1
    return 0


cdef void queue_pop(MemoryQueue* q) noexcept nogil:
    free(q.items[q.head].data)
    q.head += 1
    q.count -= 1
    if q.count == 0:
        q.head = 0


cdef int memory_watch(void* state, int socket, uint64_t tag) noexcept nogil:
    cdef MemoryState* s = <MemoryState*>state
    if not 0 <= socket < s.sockets:
        return -1
    s.tags[socket] = tag
    return 0


cdef void memory_unwatch(void* state, int socket) noexcept nogil:
    cdef MemoryState* s = <MemoryState*>state
    if 0 <= socket < s.sockets:
        s.tags[socket] = 0


cdef int memory_ready(void* state, uint64_t* tags, int capacity) noexcept nogil:
    """The socket of the oldest datagram only: order between sockets is then the order of delivery."""
    cdef MemoryState* s = <MemoryState*>state
    cdef uint64_t tag
    while s.inbound.count and capacity > 0:
        tag = s.tags[s.inbound.items[s.inbound.head].socket]
        if tag:
            tags[0] = tag
            return 1
        queue_pop(&s.inbound)
    return 0


cdef int memory_receive(void* state, int socket, Packet* packet, Address* source) noexcept nogil:
    cdef MemoryState* s = <MemoryState*>state
    cdef MemoryDatagram* item
    cdef int result = 1
    if s.inbound.count == 0:
        return 0
    item = &s.inbound.items[s.inbound.head]
    if item.socket != socket:
        return 0
    packet.arrival_ns = item.at_ns
    source[0] = item.peer
    if item.size > <int>sizeof(packet.data):
        result = -1
    else:
        memcpy(packet.data, item.data, item.size)
        packet.size = item.size
    queue_pop(&s.inbound)
    return result


cdef int memory_receive_many(void* state, int socket, Packet** packets, Address* sources, int count) noexcept nogil:
    cdef int got = 0
    cdef int one
    while got < count:
        one = memory_receive(state, socket, packets[got], &sources[got])
        if one == 0:
            break
        if one < 0:
            packets[got].size = 0
        got += 1
    return got


cdef int memory_read(void* state, int socket, uint8_t* data, int size) noexcept nogil:
    """The bytes of one delivery, or as many of them as there is room for; an empty delivery is the peer's goodbye."""
    cdef MemoryState* s = <MemoryState*>state
    cdef MemoryDatagram* item
    cdef int got
    if s.inbound.count == 0 or s.inbound.items[s.inbound.head].socket != socket:
        return 0
    item = &s.inbound.items[s.inbound.head]
    got = item.size if item.size < size else size
    memcpy(data, item.data, got)
    if got < item.size:
        item.size -= got
        memmove(item.data, item.data + got, item.size)
        return got
    queue_pop(&s.inbound)
    return got if got > 0 else -1


cdef int memory_write(void* state, int socket, const uint8_t* data, int size) noexcept nogil:
    cdef MemoryState* s = <MemoryState*>state
    cdef Address nobody
    memset(&nobody, 0, sizeof(nobody))
    if 0 <= s.write_room < size:
        size = s.write_room
    if s.write_room > 0:
        s.write_room -= size
    if size > 0:
        queue_push(&s.outbound, socket, data, size, &nobody, s.now_ns)
    return size


cdef int memory_send(void* state, int socket, const uint8_t* data, int size, const Address* to) noexcept nogil:
    cdef MemoryState* s = <MemoryState*>state
    if s.refuse_sends > 0:
        s.refuse_sends -= 1
        return -1
    return queue_push(&s.outbound, socket, data, size, to, s.now_ns)


cdef class MemoryNetwork:
    """deliver() puts datagrams before the worker; sent() takes what it has sent since the last call."""

    def __cinit__(self):
        memset(&self.state, 0, sizeof(MemoryState))
        self.state.sockets = SOCKETS_MAX
        self.state.write_room = -1
        self.state.tags = <uint64_t*>calloc(SOCKETS_MAX, sizeof(uint64_t))
        if self.state.tags is NULL:
            raise MemoryError
        self.net.state = &self.state
        self.net.watch = memory_watch
        self.net.unwatch = memory_unwatch
        self.net.ready = memory_ready
        self.net.receive = memory_receive
        self.net.receive_many = memory_receive_many
        self.net.read = memory_read
        self.net.write = memory_write
        self.net.send = memory_send

    def __dealloc__(self):
        while self.state.inbound.count:
            queue_pop(&self.state.inbound)
        while self.state.outbound.count:
            queue_pop(&self.state.outbound)
        free(self.state.inbound.items)
        free(self.state.outbound.items)
        free(self.state.tags)

    def deliver(self, int socket, bytes data, str host, int port, long long at_ns) -> None:
        cdef Address peer = address_from_python(host, port)
        if not 0 <= socket < SOCKETS_MAX:
            raise ValueError(f"socket {socket} is not 0..{SOCKETS_MAX - 1}")
        if queue_push(&self.state.inbound, socket, <const uint8_t*>data, len(data), &peer, at_ns) < 0:
            raise MemoryError

    def sent(self) -> list[tuple[int, bytes, tuple[str, int], int]]:
        cdef MemoryDatagram* item
        out = []
        while self.state.outbound.count:
            item = &self.state.outbound.items[self.state.outbound.head]
            out.append((item.socket, item.data[:item.size], address_to_python(&item.peer), item.at_ns))
            queue_pop(&self.state.outbound)
        return out

    def take_bytes(self, int count) -> None:
        self.state.write_room = count

    def refuse_sends(self, int count) -> None:
        self.state.refuse_sends = count

    @property
    def waiting(self) -> int:
        return self.state.inbound.count

    @property
    def watched(self) -> int:
        cdef int i
        cdef int count = 0
        for i in range(SOCKETS_MAX):
            count += self.state.tags[i] != 0
        return count
