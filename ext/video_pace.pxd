# Video leaves a leg no faster than its way can take it: a bounded queue of packets still to be made, and a budget.
from libc.stdint cimport int32_t, int64_t, uint16_t
from mediaserver.ext.context cimport Context

cdef enum:
    PACE_MAX = 512                     # packets waiting: half a second of 8 Mbit/s. A power of two
    PACE_STEP_NS = 5000000             # how often a queue is looked after
    PACE_WAIT_NS_MAX = 400000000       # older pictures are of no use: dropped, and a key frame asked for

cdef struct PaceItem:
    int32_t track                      # id in the leg
    uint16_t out                       # the viewer's sequence number
    int64_t since_ns

cdef struct Pacer:                     # zeroed is ready: no limit
    int64_t bps                        # 0: no limit
    int64_t budget                     # octets that may leave now; may be below zero
    int64_t filled_ns
    uint16_t head
    uint16_t tail
    PaceItem items[PACE_MAX]

cdef void pace_set(Pacer* p, int64_t bps, int64_t now_ns) noexcept nogil
# Whether a packet may leave at once: nothing waits and there is budget.
cdef bint pace_open(Pacer* p, int64_t now_ns) noexcept nogil
# 0; -1: full.
cdef int pace_push(Pacer* p, int track, uint16_t out, int64_t now_ns) noexcept nogil
# The next one to leave now, or NULL: none, or no budget.
cdef PaceItem* pace_pop(Pacer* p, int64_t now_ns) noexcept nogil
