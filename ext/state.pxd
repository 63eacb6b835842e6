# The struct that is a media worker, and how a handle is looked up in it. worker.pyx steps it, commands.pyx changes it.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from mediaserver.ext.bridge cimport Bridge
from mediaserver.ext.channel cimport CommandRing
from mediaserver.ext.context cimport Context, Counters
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.port cimport Port

cdef enum:
    PORTS_PER_WORKER_MAX = 16          # one for each local address that browsers reach us by
    CONNS_PER_WORKER_MAX = 1024        # 70 KB each, when its buffers are used

cdef struct Slot:
    void* thing                        # Leg*, Bridge* or Tap*; NULL: closed
    uint64_t handle                    # generation << 16 | index, of what is or was there

cdef struct Worker:
    Context ctx
    CommandRing commands
    Slot* legs                         # by index
    Slot* bridges
    Slot ports[PORTS_PER_WORKER_MAX]   # Port*
    void* stranger_port                # Port*: bounds what strangers' TCP connections ask of Python
    int32_t legs_max
    int32_t bridges_max
    Leg** live                         # dense list for housekeeping; Leg.index is the place in it
    int32_t live_count
    int64_t tick_next_ns               # on the absolute 20 ms grid; 0: no legs, no ticks
    int32_t bell                       # eventfd the control side listens to; -1: it asks by itself
    uint32_t bell_rung
    uint32_t stop
    int64_t pace_ns                    # present nap between rounds
    int64_t forwarded_ns               # when a packet was last sent on as it came
    uint32_t counters_sequence         # seqlock of the published counters
    Counters counters

cdef inline void* thing_of(const Slot* table, int size, uint64_t handle) noexcept nogil:
    cdef int index = <int>(handle & 0xFFFF)
    if index >= size or table[index].handle != handle:
        return NULL
    return table[index].thing

# NULL: closed, or never opened.
cdef inline Leg* worker_leg(const Worker* w, uint64_t handle) noexcept nogil:
    return <Leg*>thing_of(w.legs, w.legs_max, handle)

cdef inline Port* worker_port(const Worker* w, uint64_t handle) noexcept nogil:
    return <Port*>thing_of(w.ports, PORTS_PER_WORKER_MAX, handle)

cdef inline Bridge* worker_bridge(const Worker* w, uint64_t handle) noexcept nogil:
    return <Bridge*>thing_of(w.bridges, w.bridges_max, handle)
