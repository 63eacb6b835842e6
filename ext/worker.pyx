"""The media worker: commands, reception, ticks and housekeeping of all its legs in one step function.

Owns the tables of legs and bridges and the order of work within a round. Allocates at start only; what commands bring
along was allocated by the control side and goes back to it. Runs no Python and takes no lock.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.ext.atomic cimport exchange_32, fence_release, load_acquire_32, store_relaxed_32, store_release_32
from mediaserver.ext.bridge cimport leg_decide
from mediaserver.ext.channel cimport Command, command_pop, command_ring_init, message_ring_init
from mediaserver.ext.commands cimport run_command
from mediaserver.ext.context cimport TICK_MS
from mediaserver.ext.datagram cimport datagram_ring_init
from mediaserver.ext.gate cimport gate_flush, gate_receive, is_gate_tag
from mediaserver.ext.leg cimport Leg, leg_ahead, leg_housekeep, leg_housekeep_ahead, leg_receive
from mediaserver.ext.net cimport NETWORK_READY_MAX, Address, monotonic_ns, udp_wait
from mediaserver.ext.packet cimport Packet, packet_pool_free, packet_pool_init, packet_release, packet_take
from mediaserver.ext.port cimport Port, port_free, port_new
from mediaserver.ext.state cimport CONNS_PER_WORKER_MAX, Slot, worker_leg
from mediaserver.ext.tick cimport tick_all
from mediaserver.ext.video_round cimport video_run, video_tick
from posix.time cimport clock_gettime, timespec
from posix.unistd cimport write

cdef extern from "<time.h>" nogil:
    int CLOCK_THREAD_CPUTIME_ID

cdef extern from "<sys/prctl.h>" nogil:
    int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
    int PR_SET_TIMERSLACK

cdef enum:
    TIMER_SLACK_NS = 1000              # the default of 50 us would lengthen every nap of an ordinary thread
    TICK_NS = TICK_MS * 1000000
    IDLE_NS = 1000000000               # a worker without legs still looks up once a second
    BUSY_EVENTS = 6                    # a round that found so many sockets ready lets the next one gather
    MANY_EVENTS = 24                   # a port gives up 32 in a round: what gathers shall not overflow its socket
    NAP_NS = 250000
    NAP_LONG_NS = 1000000              # while nothing is forwarded
    FORWARDING_NS = 1000000000         # so long after something was forwarded the next is waited for
    DATAGRAMS_WAITING = 256            # limits.LEG_DATAGRAMS_WAITING_MAX; 400 KB


cdef int worker_init(Worker* w, Network* net, int legs_max, int bridges_max, int pool_size,
                     uint32_t queue_size) noexcept nogil:
    cdef uint32_t out_size = 4 * queue_size
    memset(w, 0, sizeof(Worker))
    w.bell = -1
    w.legs_max = legs_max
    w.bridges_max = bridges_max
    w.ctx.net = net
    w.legs = <Slot*>calloc(legs_max, sizeof(Slot))
    w.live = <Leg**>calloc(legs_max, sizeof(void*))
    w.bridges = <Slot*>calloc(bridges_max, sizeof(Slot))
    w.ctx.ticking_legs = <void**>calloc(legs_max, sizeof(void*))
    w.ctx.ticking_bridges = <void**>calloc(bridges_max, sizeof(void*))
    w.ctx.conns = <void**>calloc(CONNS_PER_WORKER_MAX, sizeof(void*))
    w.ctx.conns_max = CONNS_PER_WORKER_MAX
    w.stranger_port = port_new(-1, 0)
    w.ctx.tick_number = 1              # a leg's "last tick" of 0 is never this one
    if w.legs is NULL or w.live is NULL or w.bridges is NULL:
        return -1
    w.ctx.video_legs = <void**>calloc(legs_max, sizeof(void*))
    if w.ctx.ticking_legs is NULL or w.ctx.ticking_bridges is NULL or w.ctx.video_legs is NULL:
        return -1
    if w.ctx.conns is NULL or w.stranger_port is NULL:
        return -1
    if packet_pool_init(&w.ctx.pool, pool_size + 1) < 0 or command_ring_init(&w.commands, queue_size) < 0:
        return -1
    # Replies outstanding: one per command in the queue, one per play on each leg; notes: one per thing.
    while out_size < queue_size + 4 * <uint32_t>legs_max + <uint32_t>bridges_max + CONNS_PER_WORKER_MAX:
        out_size *= 2
    if message_ring_init(&w.ctx.replies, out_size) < 0 or message_ring_init(&w.ctx.changes, out_size) < 0:
        return -1
    if message_ring_init(&w.ctx.events, queue_size) < 0:
        return -1
    if datagram_ring_init(&w.ctx.datagrams, DATAGRAMS_WAITING) < 0:
        return -1
    w.ctx.scratch = packet_take(&w.ctx.pool)
    w.ctx.counters.pool_size = pool_size
    return 0


cdef void worker_free(Worker* w) noexcept nogil:
    packet_pool_free(&w.ctx.pool)
    free(w.legs)
    free(w.live)
    free(w.bridges)
    free(w.ctx.ticking_legs)
    free(w.ctx.ticking_bridges)
    free(w.ctx.conns)
    port_free(<Port*>w.stranger_port)
    free(w.ctx.video_legs)
    free(w.commands.items)
    free(w.ctx.replies.items)
    free(w.ctx.changes.items)
    free(w.ctx.events.items)
    free(w.ctx.datagrams.items)


cdef bint run_commands(Worker* w) noexcept nogil:
    """Whether some are left for the next round."""
    cdef Command c
    cdef int _
    for _ in range(COMMANDS_PER_ROUND_MAX):
        if not command_pop(&w.commands, &c):
            return False
        run_command(w, &c)
    return True


cdef int receive_ready(Worker* w) noexcept nogil:
    """One datagram of each socket that has some. Returns how many were looked at."""
    cdef uint64_t tags[NETWORK_READY_MAX]
    cdef Leg* legs[NETWORK_READY_MAX]
    cdef Address source
    cdef Packet* packet = NULL
    cdef Leg* leg
    cdef int seen = 0
    cdef int count
    cdef int got
    cdef int i
    while seen < NETWORK_READY_MAX:
        count = w.ctx.net.ready(w.ctx.net.state, tags, NETWORK_READY_MAX)
        if count == 0:
            break
        seen += count
        for i in range(count):
            legs[i] = worker_leg(w, tags[i] >> 1)      # NULL for a port or a connection: theirs are of other kinds
        for i in range(count):
            leg_ahead(legs, i, count)
            leg = legs[i]
            if leg is NULL:
                if is_gate_tag(tags[i]):
                    seen += gate_receive(w, tags[i])
                continue
            if packet is NULL:
                packet = packet_take(&w.ctx.pool)
            got = w.ctx.net.receive(w.ctx.net.state, leg.rtcp_socket if tags[i] & 1 else leg.rtp_socket,
                                    packet if packet is not NULL else w.ctx.scratch, &source)
            if got == 0:
                continue
            if got < 0 or packet is NULL:      # too long, or no slot free: read and dropped, or it would come again
                w.ctx.counters.packets_received += 1
                w.ctx.counters.packets_overflow += 1
                leg.packets_overflow += 1
                continue
            if leg_receive(&w.ctx, leg, packet, &source, tags[i] & 1 and not leg.by_ice):
                packet = NULL
            if leg.decide_due:
                leg_decide(&w.ctx, leg)
    if packet is not NULL:
        packet_release(&w.ctx.pool, packet)
    return seen


cdef void publish_counters(Worker* w) noexcept nogil:
    cdef uint32_t sequence = w.counters_sequence
    cdef timespec used
    w.ctx.counters.pool_free = w.ctx.pool.free_count
    if w.bell >= 0:
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used)
        w.ctx.counters.cpu_ns = <int64_t>used.tv_sec * 1000000000 + used.tv_nsec
    store_relaxed_32(&w.counters_sequence, sequence + 1)
    fence_release()
    w.counters = w.ctx.counters
    store_release_32(&w.counters_sequence, sequence + 2)


cdef void tick(Worker* w) noexcept nogil:
    cdef int i
    w.ctx.tick_number += 1
    w.ctx.tick_ns = w.tick_next_ns
    tick_all(&w.ctx)
    video_tick(&w.ctx)
    i = <int>(w.ctx.tick_number % HOUSEKEEPING_TICKS)
    while i < w.live_count:
        if i + HOUSEKEEPING_TICKS < w.live_count:
            leg_housekeep_ahead(w.live[i + HOUSEKEEPING_TICKS])
        leg_housekeep(&w.ctx, w.live[i])
        i += HOUSEKEEPING_TICKS
    if w.ctx.conns_count:
        gate_flush(w)
    w.ctx.counters.ticks += 1


cdef void run_ticks(Worker* w, int64_t now_ns) noexcept nogil:
    cdef int64_t late_ns = now_ns - w.tick_next_ns
    cdef int64_t skipped
    if late_ns > TICK_LATE_NS:
        w.ctx.counters.ticks_late += 1
    if late_ns > <int64_t>w.ctx.counters.tick_lateness_ns_max:
        w.ctx.counters.tick_lateness_ns_max = late_ns
    skipped = late_ns // TICK_NS - TICKS_CAUGHT_UP_MAX
    if skipped > 0:
        w.tick_next_ns += skipped * TICK_NS
        w.ctx.tick_number += skipped
    while w.tick_next_ns and now_ns >= w.tick_next_ns:
        tick(w)
        w.tick_next_ns += TICK_NS


cdef void ring_bell(Worker* w) noexcept nogil:
    cdef uint64_t one = 1
    w.ctx.spoke = 0
    if w.bell >= 0 and exchange_32(&w.bell_rung, 1) == 0:
        write(w.bell, &one, sizeof(one))


cdef int64_t pace(const Worker* w, int64_t now_ns, int seen) noexcept nogil:
    """How long the next round is let gather before it is looked at: a thread woken for each packet costs more than the
    packet. Who is only decoded has a jitter buffer; what is passed on at once waits less, and only when there is much.
    """
    cdef int64_t left_ns = w.tick_next_ns - now_ns
    if seen == 0:
        return 0
    if seen >= MANY_EVENTS or now_ns - w.forwarded_ns < FORWARDING_NS:
        return NAP_NS if seen >= BUSY_EVENTS else 0
    return NAP_LONG_NS if left_ns > NAP_LONG_NS else (left_ns if left_ns > 0 else 0)


cdef int64_t worker_step(Worker* w, int64_t now_ns) noexcept nogil:
    cdef bint more
    cdef uint64_t sent
    cdef int seen
    w.ctx.now_ns = now_ns
    w.ctx.counters.rounds += 1
    more = run_commands(w)
    sent = w.ctx.counters.packets_sent
    seen = receive_ready(w)
    if w.ctx.counters.packets_sent != sent:
        w.forwarded_ns = now_ns
    if w.tick_next_ns and now_ns >= w.tick_next_ns:
        run_ticks(w, now_ns)
        publish_counters(w)
    elif not w.tick_next_ns:
        publish_counters(w)
    if w.ctx.video_due_ns and now_ns >= w.ctx.video_due_ns:
        video_run(&w.ctx)
    if w.ctx.spoke:
        ring_bell(w)
    w.pace_ns = pace(w, now_ns, seen)
    if more:
        return now_ns
    if w.ctx.video_due_ns and w.ctx.video_due_ns < w.tick_next_ns:
        return w.ctx.video_due_ns
    return w.tick_next_ns if w.tick_next_ns else now_ns + IDLE_NS


cdef void worker_run(Worker* w, UdpState* udp) noexcept nogil:
    cdef int64_t deadline_ns
    prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0)
    while not load_acquire_32(&w.stop):
        deadline_ns = worker_step(w, monotonic_ns())
        udp_wait(udp, deadline_ns, w.pace_ns)
