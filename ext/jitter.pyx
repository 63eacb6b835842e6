"""When each packet of one stream is due: reorder, repeats, loss, lateness, and what is still to come.

Owns sequence bookkeeping (in the spirit of RFC 3550 A.1) and the media clock that turns RTP time into nanoseconds; the
target delay is `ext.delay`'s. Holds no payload and no sample: `ext.player` plays by it, and a relayed leg runs it alone
(`jitter_observe`), so that both are judged by the same rules.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from mediaserver.ext.delay cimport delay_arrival, delay_init
from mediaserver.ext.xr cimport XR_DROPOUT_NS, xr_lost, xr_received, xr_stalled

cdef enum:
    REWIND_PACKETS = 32            # before anything was played an older packet may still become the first
    STRAY_PACKETS = 1000           # further behind than this is another numbering, not a late packet
    DROPOUT_PACKETS = 3000         # RFC 3550 A.1 MAX_DROPOUT: a longer jump is not loss
    VIRTUAL_FRAME_NS = 20000000
    VIRTUAL_SHRINK_NS = 5000000    # what the real playout's time stretching takes out in a packet's time
    VIRTUAL_STRETCH_NS = 10000000  # and puts in: a pitch period in speech, more in a pause
    VIRTUAL_EXCESS_NS = 25000000   # as in ext.player: above the target by this and a quarter of it
    VIRTUAL_FADED_NS = 120000000   # as in ext.player: what the frames after that are filled with is not concealment
    LOSS_STEP_Q16 = 256            # what one lost packet adds to the smoothed share
    LOSS_ON_Q16 = 655              # 1 %: hold one packet more, so that holes are filled from both sides (or by FEC)
    LOSS_OFF_Q16 = 197

cdef int64_t JUMP_NS = 2000000000  # media time this far off the arrival is a new clock, not a delay


cdef inline int was_seen(const JitterBuffer* j, uint16_t sequence) noexcept nogil:
    return <int> (j.seen[(sequence >> 6) & 1] >> (sequence & 63)) & 1


cdef inline void set_seen(JitterBuffer* j, uint16_t sequence) noexcept nogil:
    j.seen[(sequence >> 6) & 1] |= (<uint64_t> 1) << (sequence & 63)


cdef inline void clear_seen(JitterBuffer* j, uint16_t sequence) noexcept nogil:
    j.seen[(sequence >> 6) & 1] &= ~((<uint64_t> 1) << (sequence & 63))
    j.blank[(sequence >> 6) & 1] &= ~((<uint64_t> 1) << (sequence & 63))


cdef void jitter_init(JitterBuffer* j, int64_t min_ns, int64_t max_ns) noexcept nogil:
    memset(j, 0, sizeof(JitterBuffer))
    delay_init(&j.delay, min_ns, max_ns)
    j.delay_ns = j.delay.target_ns


cdef void jitter_restart(JitterBuffer* j) noexcept nogil:
    j.packets_overflow += j.waiting - j.waiting_blank
    j.waiting_blank = 0
    j.started = 0
    j.anchored = 0
    j.stray = 0
    j.waiting = 0
    j.passed = 0
    j.in_loss = 0
    j.starved_ns = 0
    j.seen[0] = j.seen[1] = 0
    j.blank[0] = j.blank[1] = 0


cdef void jitter_resync(JitterBuffer* j, uint16_t sequence) noexcept nogil:
    cdef int ahead = <int16_t> (sequence - j.next_sequence)
    cdef int32_t anchored = j.anchored
    if 0 < ahead < DROPOUT_PACKETS:
        count_lost(j, ahead - j.waiting)
    jitter_restart(j)
    j.anchored = anchored


cdef int64_t media_time(JitterBuffer* j, uint32_t timestamp, int32_t clock_hz, int64_t arrival_ns,
                        int newest) noexcept nogil:
    """RTP time as nanoseconds on one line that survives wraps, jumps and changes of the clock's rate."""
    cdef int64_t media = arrival_ns - j.delay.base_ns
    cdef int64_t counted, off
    if j.anchored and clock_hz == j.clock_hz:
        counted = j.media_clock_ns + <int64_t> <int32_t> (timestamp - j.media_timestamp) * 1000000000 / clock_hz
        off = media - counted
        if -JUMP_NS < off < JUMP_NS + j.delay.target_max_ns:
            media = counted
    if newest or not j.anchored:
        j.anchored = 1
        j.clock_hz = clock_hz
        j.media_timestamp = timestamp
        j.media_clock_ns = media
    return media


cdef void learn_packet_time(JitterBuffer* j, uint16_t sequence, int64_t media) noexcept nogil:
    cdef int64_t step
    if sequence == <uint16_t> (j.last_sequence + 1):
        step = media - j.last_media_ns
        if 0 < step <= 120000000 and (j.packet_ns == 0 or step < j.packet_ns or step == j.last_step_ns):
            j.packet_ns = step
        j.last_step_ns = step
    j.last_sequence = sequence
    j.last_media_ns = media


cdef JitterArrival arrive_stray(JitterBuffer* j, uint16_t sequence) noexcept nogil:
    if j.stray and sequence == j.stray_sequence:
        return ARRIVAL_RESYNC
    j.stray = 1
    j.stray_sequence = <uint16_t> (sequence + 1)
    return ARRIVAL_STRAY


cdef JitterArrival arrive_behind(JitterBuffer* j, uint16_t sequence, uint32_t timestamp, int32_t clock_hz,
                                 int64_t arrival_ns, int back) noexcept nogil:
    cdef int64_t media
    if <int16_t> (j.highest_sequence - sequence) >= JITTER_SLOTS or back > j.passed:
        if back > STRAY_PACKETS:
            return arrive_stray(j, sequence)
        j.packets_late += 1
        return ARRIVAL_LATE
    if was_seen(j, sequence):
        j.packets_duplicate += 1
        return ARRIVAL_DUPLICATE
    set_seen(j, sequence)
    media = media_time(j, timestamp, clock_hz, arrival_ns, 0)
    delay_arrival(&j.delay, arrival_ns - media, arrival_ns)
    j.packets_late += 1
    if j.packets_lost > 0:
        j.packets_lost -= 1          # it was judged when due; now we know that it was only late
    j.loss_q16 -= LOSS_STEP_Q16 if j.loss_q16 > LOSS_STEP_Q16 else j.loss_q16
    return ARRIVAL_LATE


cdef void reach(JitterBuffer* j, uint16_t sequence) noexcept nogil:
    while j.highest_sequence != sequence:
        j.highest_sequence = <uint16_t> (j.highest_sequence + 1)
        clear_seen(j, j.highest_sequence)


cdef inline void note_stall(JitterBuffer* j, uint16_t sequence, int64_t media, int64_t arrival_ns) noexcept nogil:
    """Nothing was there to be played for so long, and this goes on where that ended: a hole, though nothing is lost."""
    cdef int64_t stalled = arrival_ns - j.delay.base_ns - media - j.delay_ns
    cdef int64_t paused
    if stalled < XR_DROPOUT_NS or j.packet_ns <= 0:
        return
    paused = media - j.next_media_ns - <uint16_t> (sequence - j.next_sequence) * j.packet_ns
    if paused < j.packet_ns and stalled < JUMP_NS:
        xr_stalled(&j.xr, stalled)
        j.loss_events += 1
        j.loss_event_packets += <uint32_t> (stalled // j.packet_ns)


cdef JitterArrival jitter_arrive(JitterBuffer* j, uint16_t sequence, uint32_t timestamp, int32_t clock_hz,
                                 int64_t arrival_ns) noexcept nogil:
    cdef int ahead, newer, rewind = 0, fresh = 1
    cdef int64_t media
    if j.started:
        ahead = <int16_t> (sequence - j.next_sequence)
        newer = <int16_t> (sequence - j.highest_sequence)
        rewind = j.passed == 0 and -REWIND_PACKETS <= ahead < 0 and newer > REWIND_PACKETS - JITTER_SLOTS
        if ahead < 0 and not rewind:
            return arrive_behind(j, sequence, timestamp, clock_hz, arrival_ns, -ahead)
        if ahead >= JITTER_SLOTS:
            if newer <= JITTER_SLOTS / 2 and j.waiting:
                return ARRIVAL_FULL
            if arrive_stray(j, sequence) == ARRIVAL_STRAY:
                return ARRIVAL_STRAY
            return ARRIVAL_RESYNC
        fresh = newer > 0
        if not fresh and not rewind and was_seen(j, sequence):
            j.packets_duplicate += 1
            return ARRIVAL_DUPLICATE
    else:
        newer = 1
        j.highest_sequence = <uint16_t> (sequence - 1)
    media = media_time(j, timestamp, clock_hz, arrival_ns, fresh)
    if j.started and fresh and j.waiting == 0:
        note_stall(j, sequence, media, arrival_ns)
    j.delay.lost_q16 = <int32_t> j.loss_q16
    delay_arrival(&j.delay, arrival_ns - media, arrival_ns)
    learn_packet_time(j, sequence, media)
    if not j.started or rewind:
        j.started = 1
        j.next_sequence = sequence
        j.next_media_ns = media
    if fresh:
        reach(j, sequence)
    else:
        j.packets_reordered += 1
    j.stray = 0
    set_seen(j, sequence)
    j.media_ns[sequence % JITTER_SLOTS] = media
    j.waiting += 1
    j.packets_queued += 1
    return ARRIVAL_QUEUED


cdef void jitter_note(JitterBuffer* j, uint16_t sequence, int64_t arrival_ns) noexcept nogil:
    cdef int ahead = <int16_t> (sequence - j.next_sequence)
    if not j.started or ahead < 0 or ahead >= JITTER_SLOTS:
        return
    if <int16_t> (sequence - j.highest_sequence) > 0:
        reach(j, sequence)
    elif was_seen(j, sequence):
        return
    set_seen(j, sequence)
    j.blank[(sequence >> 6) & 1] |= (<uint64_t> 1) << (sequence & 63)
    j.media_ns[sequence % JITTER_SLOTS] = arrival_ns - j.delay.base_ns
    j.last_sequence = sequence
    j.waiting += 1
    j.waiting_blank += 1
    pass_blanks(j)


cdef void pass_blanks(JitterBuffer* j) noexcept nogil:
    while j.waiting and (j.blank[(j.next_sequence >> 6) & 1] >> (j.next_sequence & 63)) & 1:
        pass_by(j, 1)
        xr_received(&j.xr, j.packet_ns)
        j.waiting -= 1
        j.waiting_blank -= 1


cdef JitterNext jitter_next(const JitterBuffer* j, int32_t* missing, int64_t* media_ns) noexcept nogil:
    cdef uint16_t sequence = j.next_sequence
    cdef int32_t skipped = 0
    missing[0] = 0
    media_ns[0] = j.next_media_ns
    if j.waiting == 0:
        return NEXT_NONE
    while not was_seen(j, sequence) and skipped < JITTER_SLOTS:
        sequence = <uint16_t> (sequence + 1)
        skipped += 1
    missing[0] = skipped
    media_ns[0] = j.media_ns[sequence % JITTER_SLOTS]
    return NEXT_AFTER_LOSS if skipped else NEXT_HERE


cdef void pass_by(JitterBuffer* j, int32_t packets) noexcept nogil:
    j.next_sequence = <uint16_t> (j.next_sequence + packets)
    j.passed = j.passed + packets if j.passed + packets < JITTER_SLOTS else JITTER_SLOTS


cdef void jitter_played(JitterBuffer* j, int64_t duration_ns) noexcept nogil:
    j.next_media_ns = j.media_ns[j.next_sequence % JITTER_SLOTS] + duration_ns
    if duration_ns > 0:
        j.packet_ns = duration_ns
    pass_by(j, 1)
    j.waiting -= 1
    j.packets_played += 1
    xr_received(&j.xr, j.packet_ns)
    j.in_loss = 0
    j.loss_q16 -= j.loss_q16 >> 8
    if j.loss_q16 < LOSS_OFF_Q16:
        j.delay.lookahead_ns = 0
    pass_blanks(j)


cdef void count_lost(JitterBuffer* j, int32_t packets) noexcept nogil:
    cdef int32_t _
    if packets <= 0:
        return
    j.packets_lost += packets
    xr_lost(&j.xr, packets, j.packet_ns)
    j.loss_event_packets += packets
    if not j.in_loss:
        j.loss_events += 1
        j.in_loss = 1
    for _ in range(packets if packets < JITTER_SLOTS else JITTER_SLOTS):
        j.loss_q16 += (65536 - j.loss_q16) >> 8
    if j.loss_q16 > LOSS_ON_Q16:
        j.delay.lookahead_ns = j.packet_ns if j.packet_ns < 60000000 else 60000000


cdef void jitter_lost(JitterBuffer* j, int32_t missing) noexcept nogil:
    count_lost(j, missing)
    pass_by(j, missing)
    if j.waiting and was_seen(j, j.next_sequence):
        j.next_media_ns = j.media_ns[j.next_sequence % JITTER_SLOTS]
    else:
        j.next_media_ns += missing * j.packet_ns
    pass_blanks(j)


cdef int jitter_skip(JitterBuffer* j) noexcept nogil:
    cdef int here = j.waiting > 0 and was_seen(j, j.next_sequence)
    if not here:
        jitter_lost(j, 1)
        return 0
    j.next_media_ns = j.media_ns[j.next_sequence % JITTER_SLOTS] + j.packet_ns
    pass_by(j, 1)
    j.waiting -= 1
    j.packets_overflow += 1
    xr_lost(&j.xr, 1, j.packet_ns)
    pass_blanks(j)
    return 1


cdef int64_t jitter_slack_ns(const JitterBuffer* j, int64_t media_ns, int64_t now_ns) noexcept nogil:
    return now_ns - j.delay.base_ns - media_ns


cdef int64_t jitter_span_ns(const JitterBuffer* j) noexcept nogil:
    if j.waiting == 0:
        return 0
    return j.media_ns[j.highest_sequence % JITTER_SLOTS] + j.packet_ns - j.next_media_ns


cdef inline int64_t least(int64_t a, int64_t b) noexcept nogil:
    return a if a < b else b


cdef int64_t observe_due(JitterBuffer* j, int64_t now_ns) noexcept nogil:
    """Plays or gives up everything that was due by now_ns; returns nanoseconds concealed."""
    cdef int32_t missing
    cdef int64_t media, error, concealed = 0
    cdef JitterNext upcoming
    while True:
        upcoming = jitter_next(j, &missing, &media)
        if upcoming == NEXT_AFTER_LOSS:
            if j.delay.base_ns + j.next_media_ns + j.delay_ns > now_ns:
                return concealed
            concealed += least(missing * j.packet_ns, VIRTUAL_FADED_NS)
            jitter_lost(j, missing)
            continue
        if j.delay.base_ns + media + j.delay_ns > now_ns:
            return concealed
        if upcoming == NEXT_NONE:
            if j.starved_ns == 0:
                j.starved_ns = j.delay.base_ns + media + j.delay_ns
            return concealed
        jitter_played(j, j.packet_ns)
        error = j.delay_ns - j.delay.target_ns
        if error < 0:                                # a real one's pull half a frame before: below by 10 ms
            j.delay_ns += VIRTUAL_STRETCH_NS
            j.stretched_ns += VIRTUAL_STRETCH_NS
        elif error > VIRTUAL_EXCESS_NS and error > j.delay.target_ns // 4 and j.waiting:
            j.delay_ns -= VIRTUAL_SHRINK_NS
            j.compressed_ns += VIRTUAL_SHRINK_NS


cdef int64_t jitter_observe(JitterBuffer* j, uint16_t sequence, uint32_t timestamp, int32_t clock_hz,
                            int64_t arrival_ns) noexcept nogil:
    cdef int64_t concealed = 0, covered, gap
    cdef int first = not j.started
    cdef JitterArrival arrival
    if not first:
        concealed = observe_due(j, arrival_ns)
    arrival = jitter_arrive(j, sequence, timestamp, clock_hz, arrival_ns)
    if arrival == ARRIVAL_FULL:
        while arrival == ARRIVAL_FULL:
            jitter_skip(j)
            arrival = jitter_arrive(j, sequence, timestamp, clock_hz, arrival_ns)
    elif arrival == ARRIVAL_RESYNC:
        jitter_resync(j, sequence)
        first = 1
        arrival = jitter_arrive(j, sequence, timestamp, clock_hz, arrival_ns)
    if arrival != ARRIVAL_QUEUED:
        return concealed
    if first:
        j.delay_ns = j.delay.target_ns + VIRTUAL_FRAME_NS // 2     # played from the first pull after the target on
        j.starved_ns = 0
    elif j.starved_ns:
        covered = arrival_ns - j.starved_ns + VIRTUAL_FRAME_NS - 1
        covered -= covered % VIRTUAL_FRAME_NS
        gap = j.media_ns[sequence % JITTER_SLOTS] - j.next_media_ns
        gap = gap if gap > 0 else 0
        if covered > gap:                          # what is lost in between is counted when it is given up
            j.delay_ns += covered - gap
            concealed += least(covered - gap, VIRTUAL_FADED_NS)
        j.starved_ns = 0
    return concealed
