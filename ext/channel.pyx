"""Bounded rings with one producer and one consumer: how commands enter a worker and everything else leaves it.

Owns the rings' memory and the order of loads and stores. What messages mean is the worker's and the engine's business.
"""

from libc.stdlib cimport calloc
from mediaserver.ext.atomic cimport load_acquire_32, load_relaxed_32, store_release_32


cdef int command_ring_init(CommandRing* ring, uint32_t size) noexcept nogil:
    ring.items = <Command*>calloc(size, sizeof(Command))
    ring.size = size
    ring.head = 0
    ring.tail = 0
    return 0 if ring.items is not NULL else -1


cdef int message_ring_init(MessageRing* ring, uint32_t size) noexcept nogil:
    ring.items = <Message*>calloc(size, sizeof(Message))
    ring.size = size
    ring.head = 0
    ring.tail = 0
    return 0 if ring.items is not NULL else -1


cdef int command_push(CommandRing* ring, const Command* command) noexcept nogil:
    cdef uint32_t tail = load_relaxed_32(&ring.tail)
    if tail - load_acquire_32(&ring.head) >= ring.size:
        return -1
    ring.items[tail & (ring.size - 1)] = command[0]
    store_release_32(&ring.tail, tail + 1)
    return 0


cdef int message_push(MessageRing* ring, const Message* message) noexcept nogil:
    cdef uint32_t tail = load_relaxed_32(&ring.tail)
    if tail - load_acquire_32(&ring.head) >= ring.size:
        return -1
    ring.items[tail & (ring.size - 1)] = message[0]
    store_release_32(&ring.tail, tail + 1)
    return 0


cdef int command_pop(CommandRing* ring, Command* command) noexcept nogil:
    cdef uint32_t head = load_relaxed_32(&ring.head)
    if head == load_acquire_32(&ring.tail):
        return 0
    command[0] = ring.items[head & (ring.size - 1)]
    store_release_32(&ring.head, head + 1)
    return 1


cdef int message_pop(MessageRing* ring, Message* message) noexcept nogil:
    cdef uint32_t head = load_relaxed_32(&ring.head)
    if head == load_acquire_32(&ring.tail):
        return 0
    message[0] = ring.items[head & (ring.size - 1)]
    store_release_32(&ring.head, head + 1)
    return 1
