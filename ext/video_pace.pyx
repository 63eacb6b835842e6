"""The budget and the queue of a leg's video: what waits are numbers, their packets are made when they leave."""

cdef enum:
    BURST_NS = 10000000                # saved up at the most
    BURST_BYTES_MIN = 3000


cdef void refill(Pacer* p, int64_t now_ns) noexcept nogil:
    cdef int64_t most = p.bps * BURST_NS // 1000000000 // 8
    cdef int64_t elapsed_ns = now_ns - p.filled_ns
    if most < BURST_BYTES_MIN:
        most = BURST_BYTES_MIN
    if elapsed_ns > 1000000000:
        elapsed_ns = 1000000000
    p.filled_ns = now_ns
    p.budget += p.bps * (elapsed_ns // 1000) // 8000000
    if p.budget > most:
        p.budget = most


cdef void pace_set(Pacer* p, int64_t bps, int64_t now_ns) noexcept nogil:
    if p.bps:
        refill(p, now_ns)
    p.bps = bps
    p.filled_ns = now_ns


cdef bint pace_open(Pacer* p, int64_t now_ns) noexcept nogil:
    if p.bps == 0:
        return p.head == p.tail
    if now_ns - p.filled_ns >= 1000000:
        refill(p, now_ns)
    return p.head == p.tail and p.budget > 0


cdef int pace_push(Pacer* p, int track, uint16_t out, int64_t now_ns) noexcept nogil:
    cdef PaceItem* item
    if <uint16_t>(p.tail - p.head) >= PACE_MAX:
        return -1
    item = &p.items[p.tail & (PACE_MAX - 1)]
    item.track = track
    item.out = out
    item.since_ns = now_ns
    p.tail += 1
    return 0


cdef PaceItem* pace_pop(Pacer* p, int64_t now_ns) noexcept nogil:
    cdef PaceItem* item
    if p.head == p.tail:
        return NULL
    if p.bps:
        refill(p, now_ns)
        if p.budget <= 0:
            return NULL
    item = &p.items[p.head & (PACE_MAX - 1)]
    p.head += 1
    return item
