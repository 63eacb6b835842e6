"""The pool of packet slots a worker lives on. One allocation at start, none later; packet.pxd takes and gives back."""

from libc.stdlib cimport calloc, free


cdef int packet_pool_init(PacketPool* pool, int capacity) noexcept nogil:
    """0, or -1 without memory."""
    cdef int i
    pool.slots = NULL
    pool.free_list = NULL
    pool.capacity = 0
    pool.free_count = 0
    if capacity < 1:
        return -1
    pool.slots = <Packet*>calloc(capacity, sizeof(Packet))
    if pool.slots is NULL:
        return -1
    pool.capacity = capacity
    for i in range(capacity - 1, -1, -1):
        packet_release(pool, &pool.slots[i])
    return 0


cdef void packet_pool_free(PacketPool* pool) noexcept nogil:
    free(pool.slots)
    pool.slots = NULL
    pool.free_list = NULL
    pool.capacity = 0
    pool.free_count = 0
