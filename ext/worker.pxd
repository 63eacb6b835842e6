# A media worker: one struct and one function. Production drives it from a thread with the real clock and UDP; tests
# call the same function with a virtual clock and a network in memory.
from libc.stdint cimport int64_t, uint32_t
from mediaserver.ext.net cimport Network, UdpState
from mediaserver.ext.state cimport Worker

cdef enum:
    HOUSEKEEPING_TICKS = 5             # each leg's statistics are published every 100 ms, a fifth of them per tick
    COMMANDS_PER_ROUND_MAX = 256       # more of them wait one round, so that media does not
    TICKS_CAUGHT_UP_MAX = 3            # after a longer stall media time jumps: a burst would only fill jitter buffers
    TICK_LATE_NS = 5000000

# 0, or -1 without memory; worker_free cleans up either way. queue_size: a power of two.
cdef int worker_init(Worker* w, Network* net, int legs_max, int bridges_max, int pool_size,
                     uint32_t queue_size) noexcept nogil
cdef void worker_free(Worker* w) noexcept nogil
# Everything that is due at now_ns; returns when it must be called again at the latest.
cdef int64_t worker_step(Worker* w, int64_t now_ns) noexcept nogil
# The thread's life: until worker.stop is set and the bell of `udp` rings.
cdef void worker_run(Worker* w, UdpState* udp) noexcept nogil
