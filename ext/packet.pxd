# A received or to-be-sent datagram in a preallocated slot, and the pool of them. One worker owns a pool: no locks.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef enum:
    PACKET_BYTES = 1600        # Ethernet MTU and room for SRTP's tag; longer datagrams are counted and dropped

cdef struct Packet:
    Packet* next               # free list, or a queue of whoever owns it
    int64_t arrival_ns         # monotonic, when the worker took it from the socket
    uint32_t timestamp         # RTP header fields in host order, valid after rtp_parse
    uint32_t ssrc
    uint16_t sequence
    uint8_t payload_type
    uint8_t marker
    uint16_t size              # datagram bytes
    uint16_t payload_offset
    uint16_t payload_size
    uint8_t data[PACKET_BYTES]

cdef struct PacketPool:
    Packet* slots
    Packet* free_list
    int32_t capacity
    int32_t free_count

cdef inline Packet* packet_take(PacketPool* pool) noexcept nogil:
    """NULL when the pool is empty: the caller counts a drop."""
    cdef Packet* packet = pool.free_list
    if packet is not NULL:
        pool.free_list = packet.next
        pool.free_count -= 1
        packet.next = NULL
    return packet

cdef inline void packet_release(PacketPool* pool, Packet* packet) noexcept nogil:
    packet.next = pool.free_list
    pool.free_list = packet
    pool.free_count += 1

cdef int packet_pool_init(PacketPool* pool, int capacity) noexcept nogil
cdef void packet_pool_free(PacketPool* pool) noexcept nogil
