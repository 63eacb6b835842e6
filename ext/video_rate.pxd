# Bits per second over the last second, in tenths.
from libc.stdint cimport int32_t, int64_t, uint32_t

cdef enum:
    RATE_SLOTS = 10
    RATE_SLOT_NS = 100000000

cdef struct RateMeter:                 # zeroed is ready
    int64_t slot                       # now_ns // RATE_SLOT_NS of the newest
    int64_t since_slot                 # of the first bytes ever: a young meter divides by its age
    uint32_t bytes[RATE_SLOTS]

cdef inline void rate_move(RateMeter* m, int64_t now_ns) noexcept nogil:
    cdef int64_t slot = now_ns // RATE_SLOT_NS
    cdef int i
    if slot - m.slot >= RATE_SLOTS:
        for i in range(RATE_SLOTS):
            m.bytes[i] = 0
        m.slot = slot
    while m.slot < slot:
        m.slot += 1
        m.bytes[m.slot % RATE_SLOTS] = 0

cdef inline void rate_add(RateMeter* m, int bytes_, int64_t now_ns) noexcept nogil:
    if m.since_slot == 0:
        m.since_slot = now_ns // RATE_SLOT_NS
    rate_move(m, now_ns)
    m.bytes[m.slot % RATE_SLOTS] += bytes_

cdef inline int64_t rate_bps(RateMeter* m, int64_t now_ns) noexcept nogil:
    cdef int64_t total = 0
    cdef int64_t slots
    cdef int i
    rate_move(m, now_ns)
    for i in range(RATE_SLOTS):
        total += m.bytes[i]
    slots = m.slot - m.since_slot + 1
    if slots > RATE_SLOTS or m.since_slot == 0:
        slots = RATE_SLOTS
    elif slots < 3:                    # a single frame is no rate
        slots = 3
    return total * 8 * 10 // slots

# Of the last four whole tenths: quick to follow, deaf to what has only just begun.
cdef inline int64_t rate_recent_bps(RateMeter* m, int64_t now_ns) noexcept nogil:
    cdef int64_t total = 0
    cdef int64_t slots = 4
    cdef int64_t slot
    rate_move(m, now_ns)
    if m.since_slot and m.slot - m.since_slot < slots:
        slots = m.slot - m.since_slot
    if slots < 1:
        return 0
    slot = m.slot - slots
    while slot < m.slot:
        total += m.bytes[slot % RATE_SLOTS]
        slot += 1
    return total * 80 // slots
