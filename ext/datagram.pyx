"""STUN and DTLS datagrams on their way from a worker to Python, in the order they came (RFC 7983 tells them apart).

Owns the ring's memory and the order of loads and stores. What the datagrams mean is the control plane's business.
"""

from libc.stdlib cimport calloc
from libc.string cimport memcpy
from mediaserver.ext.atomic cimport load_acquire_32, load_relaxed_32, store_release_32


cdef int datagram_ring_init(DatagramRing* ring, uint32_t size) noexcept nogil:
    ring.items = <Datagram*>calloc(size, sizeof(Datagram))
    ring.size = size
    ring.head = 0
    ring.tail = 0
    return 0 if ring.items is not NULL else -1


cdef int datagram_push(DatagramRing* ring, uint64_t handle, const uint8_t* data, int size,
                       const Address* source) noexcept nogil:
    cdef uint32_t tail = load_relaxed_32(&ring.tail)
    cdef Datagram* item
    if size > DATAGRAM_BYTES_MAX or tail - load_acquire_32(&ring.head) >= ring.size:
        return -1
    item = &ring.items[tail & (ring.size - 1)]
    item.handle = handle
    item.source = source[0]
    item.size = <uint16_t>size
    memcpy(item.data, data, size)
    store_release_32(&ring.tail, tail + 1)
    return 0


cdef const Datagram* datagram_peek(const DatagramRing* ring) noexcept nogil:
    cdef uint32_t head = load_relaxed_32(&ring.head)
    if head == load_acquire_32(&ring.tail):
        return NULL
    return &ring.items[head & (ring.size - 1)]


cdef void datagram_done(DatagramRing* ring) noexcept nogil:
    store_release_32(&ring.head, load_relaxed_32(&ring.head) + 1)
