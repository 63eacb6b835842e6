# What everything inside one worker shares: packet pool, network, the time of this round, counters, the way out.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.channel cimport Message, MessageRing
from mediaserver.ext.datagram cimport DatagramRing
from mediaserver.ext.net cimport Network
from mediaserver.ext.packet cimport Packet, PacketPool

cdef enum:
    TICK_MS = 20
    TICK_SAMPLES_MAX = 960             # 20 ms at 48 kHz

cdef struct Counters:                  # published with the worker's snapshot
    uint64_t packets_received
    uint64_t packets_sent
    uint64_t packets_unroutable
    uint64_t packets_stranger          # these six: sums over all legs, closed ones included
    uint64_t packets_bad
    uint64_t packets_auth_failed
    uint64_t packets_overflow
    uint64_t rtcp_received
    uint64_t rtcp_sent
    uint64_t send_errors
    uint64_t ticks
    uint64_t ticks_late
    uint64_t tick_lateness_ns_max
    uint64_t commands
    uint64_t events_dropped
    uint64_t encodes                   # calls of an encoder
    uint64_t encodes_shared            # packets sent with a payload another listener's encoder made
    uint64_t rounds
    int64_t legs
    int64_t bridges
    int64_t taps
    int64_t pool_free
    int64_t pool_size
    int64_t cpu_ns

cdef struct Context:
    PacketPool pool
    Network* net
    int64_t now_ns                     # monotonic, of this round
    int64_t wall_offset_ns             # wall clock - monotonic, as of start: NTP times in RTCP
    int64_t silence_ns                 # nothing valid for so long is an event
    uint64_t random_state
    Counters counters
    MessageRing replies                # never overflows: see worker.pyx
    MessageRing events                 # ordered; full: counted and dropped
    MessageRing changes                # at most one note per thing
    DatagramRing datagrams             # ordered; full: counted among events_dropped
    uint64_t tick_number
    int64_t tick_ns                    # of the tick under way, on the grid
    void** ticking_legs                # Leg*: those with something of their own to do each tick
    void** ticking_bridges             # Bridge*: those that mix
    void** conns                       # Conn*: TCP connections by the place in their number
    int32_t conns_max
    int32_t conns_count
    int32_t ticking_legs_count
    int32_t ticking_bridges_count
    void** video_legs                  # VideoLeg*: those with video (ext/video_leg.pxd)
    int32_t video_count
    int64_t video_due_ns               # the earliest of theirs before the next tick; 0: none
    int32_t spoke                      # something was put out in this round: ring the bell
    Packet* scratch                    # what we make ourselves is made here

cdef uint32_t context_random(Context* ctx) noexcept nogil
cdef void context_reply(Context* ctx, const Message* message) noexcept nogil
cdef void context_event(Context* ctx, const Message* message) noexcept nogil
# The thing's change bits went from none to some: one note. kind: CHANGED_…
cdef void context_changed(Context* ctx, int kind, uint64_t handle) noexcept nogil
