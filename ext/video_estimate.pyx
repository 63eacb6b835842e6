"""Bandwidth by feedback: packets in groups, the trend of their delay, an adaptive threshold, a rate that follows.

Follows draft-ietf-rmcat-gcc-02: pre-filtering into groups (§5.2), over-use detection with an adaptive threshold (§5.4),
the rate controller's states (§5.5), the loss-based controller (§6). Where the draft estimates the delay gradient by a
Kalman filter this takes the slope of a least-squares line through the smoothed delay of the last groups: a gradient per
group is tiny when groups are 5 ms apart, a slope does not depend on how packets are grouped. Floating point, but the
same operations in the same order: the same input gives the same estimate.
"""

from libc.math cimport fabs, pow, sqrt
from libc.string cimport memset
from mediaserver.ext.video_rate cimport rate_add, rate_recent_bps

cdef enum:
    BURST_US = 5000
    OVERUSE_MS = 10
    FEEDBACK_LOST_NS = 1500000000      # without any for so long the way may be cut
    IDLE_NS = 1000000000               # with nothing sent for so long the way's queue is empty
    PROBE_NS = 15000000
    PROBE_WAIT_NS = 1000000000         # for its feedback
    PROBE_EVERY_NS = 100000000         # after one that found more
    PROBE_AGAIN_NS = 2000000000        # after one that did not
    PROBE_BYTES_MIN = 1500
    WINDOW_NS = 500000000
    WINDOW_PACKETS = 20

cdef double THRESHOLD_START = 12.5     # ms, §5.4 del_var_th(0)
cdef double THRESHOLD_MIN = 6.0
cdef double THRESHOLD_MAX = 600.0
cdef double THRESHOLD_UP = 0.01        # §5.4 K_u
cdef double THRESHOLD_DOWN = 0.00018   # K_d
cdef double TREND_GAIN = 4.0           # what makes a slope of 1 % over a full window reach the threshold's range
cdef double SMOOTHING = 0.9
cdef double BETA = 0.85                # §5.5
cdef double ETA = 1.08                 # increase per second far from the limit


cdef void estimate_init(Estimator* e, uint16_t first) noexcept nogil:
    memset(e, 0, sizeof(Estimator))
    e.next = first
    e.bps = ESTIMATE_START_BPS
    e.delay_bps = ESTIMATE_START_BPS
    e.loss_bps = ESTIMATE_BPS_MAX
    e.threshold = THRESHOLD_START
    e.state = RATE_INCREASE


cdef uint16_t estimate_sent(Estimator* e, int size, int64_t now_ns) noexcept nogil:
    cdef uint16_t number = e.next
    cdef SentNote* note = &e.sent[number & (ESTIMATE_SENT_MAX - 1)]
    note.number = number
    note.size = <uint16_t>size
    note.sent_ns = now_ns
    note.probe = 0
    e.last_sent_ns = now_ns
    if e.probe.number and e.probe.bytes_left > 0:
        note.probe = e.probe.number
        e.probe.bytes_left -= size
    e.next += 1
    return number


# --- delay

cdef double slope_of(const Estimator* e) noexcept nogil:
    cdef double mean_x = 0
    cdef double mean_y = 0
    cdef double above = 0
    cdef double below = 0
    cdef int i
    for i in range(e.trend_count):
        mean_x += e.trend_x[i]
        mean_y += e.trend_y[i]
    mean_x /= e.trend_count
    mean_y /= e.trend_count
    for i in range(e.trend_count):
        above += (e.trend_x[i] - mean_x) * (e.trend_y[i] - mean_y)
        below += (e.trend_x[i] - mean_x) * (e.trend_x[i] - mean_x)
    return above / below if below > 0 else 0


cdef void adapt_threshold(Estimator* e, double trend, int64_t now_us) noexcept nogil:
    cdef double distance = fabs(trend)
    cdef double elapsed_ms = (now_us - e.threshold_us) / 1000.0
    cdef double gain
    if e.threshold_us == 0:
        elapsed_ms = 0
    e.threshold_us = now_us
    if distance > e.threshold + 15.0:              # a sudden outlier is no reason to become deaf (§5.4)
        return
    if elapsed_ms > 100:
        elapsed_ms = 100
    gain = THRESHOLD_DOWN if distance < e.threshold else THRESHOLD_UP
    e.threshold += gain * (distance - e.threshold) * elapsed_ms
    if e.threshold < THRESHOLD_MIN:
        e.threshold = THRESHOLD_MIN
    if e.threshold > THRESHOLD_MAX:
        e.threshold = THRESHOLD_MAX


cdef void detect(Estimator* e, double slope, double sent_ms, int64_t now_us) noexcept nogil:
    cdef int count = e.groups if e.groups < 60 else 60
    cdef double trend = count * slope * TREND_GAIN
    if trend > e.threshold:
        e.over_ms += sent_ms if e.over_count else sent_ms / 2
        e.over_count += 1
        if e.over_ms > OVERUSE_MS and e.over_count > 1 and slope >= e.trend:
            e.over_ms = 0
            e.over_count = 0
            e.signal = DELAY_OVERUSE
    else:
        e.over_ms = 0
        e.over_count = 0
        e.signal = DELAY_UNDERUSE if trend < -e.threshold else DELAY_NORMAL
    e.trend = slope
    adapt_threshold(e, trend, now_us)


cdef void end_group(Estimator* e) noexcept nogil:
    cdef double sent_ms
    cdef double arrived_ms
    cdef int i
    if e.groups:
        sent_ms = (e.group.last_sent_us - e.before.last_sent_us) / 1000.0
        arrived_ms = (e.group.last_arrival_us - e.before.last_arrival_us) / 1000.0
        e.accumulated_ms += arrived_ms - sent_ms
        e.smoothed_ms = SMOOTHING * e.smoothed_ms + (1 - SMOOTHING) * e.accumulated_ms
        if e.trend_count == ESTIMATE_TREND_MAX:
            e.trend_count -= 1
            for i in range(e.trend_count):
                e.trend_x[i] = e.trend_x[i + 1]
                e.trend_y[i] = e.trend_y[i + 1]
        e.trend_x[e.trend_count] = <double>e.group.last_arrival_us / 1000.0
        e.trend_y[e.trend_count] = e.smoothed_ms
        e.trend_count += 1
        # The line is drawn through a full window only: a short one swings.
        detect(e, slope_of(e) if e.trend_count == ESTIMATE_TREND_MAX else e.trend, sent_ms, e.group.last_arrival_us)
    e.before = e.group
    e.groups += 1


cdef void take_arrival(Estimator* e, int64_t sent_us, int64_t arrival_us) noexcept nogil:
    cdef PacketGroup* g = &e.group
    cdef int64_t late_us
    if g.first_sent_us and sent_us < g.first_sent_us:
        return                                     # reordered into an earlier group: says nothing of the queue
    if g.first_sent_us:
        # Sent together, or queued together and let go together (§5.2).
        late_us = (arrival_us - g.last_arrival_us) - (sent_us - g.last_sent_us)
        if sent_us - g.first_sent_us <= BURST_US or (
                late_us < 0 and arrival_us - g.last_arrival_us <= BURST_US
                and arrival_us - g.first_arrival_us < 100000):
            g.last_sent_us = sent_us if sent_us > g.last_sent_us else g.last_sent_us
            g.last_arrival_us = arrival_us if arrival_us > g.last_arrival_us else g.last_arrival_us
            return
        end_group(e)
    g.first_sent_us = sent_us
    g.last_sent_us = sent_us
    g.first_arrival_us = arrival_us
    g.last_arrival_us = arrival_us


# --- rate

cdef void note_capacity(Estimator* e, double kbps) noexcept nogil:
    cdef double error
    if e.capacity_kbps == 0:
        e.capacity_kbps = kbps
        e.capacity_variance = 0.4 * kbps
    else:
        error = e.capacity_kbps - kbps
        e.capacity_kbps = 0.95 * e.capacity_kbps + 0.05 * kbps
        e.capacity_variance = 0.95 * e.capacity_variance + 0.05 * error * error / e.capacity_kbps
    if e.capacity_variance < 0.4:
        e.capacity_variance = 0.4
    if e.capacity_variance > 2.5 * e.capacity_kbps:
        e.capacity_variance = 2.5 * e.capacity_kbps


cdef double deviation(const Estimator* e) noexcept nogil:
    return sqrt(e.capacity_variance * e.capacity_kbps)


cdef void raise_rate(Estimator* e, int64_t acknowledged_bps, int64_t now_ns) noexcept nogil:
    cdef double elapsed_s = (now_ns - e.changed_ns) / 1e9 if e.changed_ns else 0
    cdef double response_s = e.round_trip_ns / 1e9 + 0.1
    cdef int64_t limit = acknowledged_bps * 3 // 2 + 10000
    cdef int64_t raised
    if elapsed_s > 1:
        elapsed_s = 1
    if e.capacity_kbps and acknowledged_bps / 1000.0 > e.capacity_kbps + 3 * deviation(e):
        e.capacity_kbps = 0                        # the old limit is gone
    if e.capacity_kbps:
        raised = e.delay_bps + <int64_t>(elapsed_s * 9600 / response_s)      # about a packet per response time
    else:
        raised = e.delay_bps + <int64_t>(e.delay_bps * (pow(ETA, elapsed_s) - 1)) + 1
    if raised > limit:                             # nothing is known of what has not been sent
        raised = limit if limit > e.delay_bps else e.delay_bps
    e.delay_bps = raised


cdef void lower_rate(Estimator* e, int64_t acknowledged_bps, int64_t now_ns) noexcept nogil:
    cdef int64_t lowered = <int64_t>(BETA * acknowledged_bps)
    cdef int64_t wait_ns = e.round_trip_ns if e.round_trip_ns < 200000000 else 200000000
    if e.decreased_ns and now_ns - e.decreased_ns < wait_ns and lowered > e.delay_bps // 2:
        return
    if e.capacity_kbps and acknowledged_bps / 1000.0 < e.capacity_kbps - 3 * deviation(e):
        e.capacity_kbps = 0
    if acknowledged_bps:
        note_capacity(e, acknowledged_bps / 1000.0)
    if lowered < e.delay_bps:
        e.delay_bps = lowered
    e.decreased_ns = now_ns


cdef void control_rate(Estimator* e, int64_t now_ns) noexcept nogil:
    """§5.5: over-use lowers, under-use waits until the queue is empty, else it rises."""
    cdef int64_t acknowledged_bps = rate_recent_bps(&e.acknowledged, now_ns)
    if e.signal == DELAY_OVERUSE:
        e.state = RATE_DECREASE
    elif e.signal == DELAY_UNDERUSE:
        e.state = RATE_HOLD
    elif e.state != RATE_INCREASE:
        e.state = RATE_INCREASE
        e.changed_ns = now_ns
    if e.state == RATE_DECREASE:
        lower_rate(e, acknowledged_bps, now_ns)
        e.state = RATE_HOLD
        e.signal = DELAY_NORMAL if e.over_count == 0 else e.signal
    elif e.state == RATE_INCREASE:
        raise_rate(e, acknowledged_bps, now_ns)
    e.changed_ns = now_ns


cdef void control_loss(Estimator* e, int64_t now_ns) noexcept nogil:
    """§6: below 2 % it may rise, above 10 % it falls by half the loss, between it stays."""
    cdef int total = e.window_received + e.window_lost
    if total < WINDOW_PACKETS or now_ns - e.window_ns < WINDOW_NS:
        return
    e.loss_fraction = <double>e.window_lost / total
    e.window_received = 0
    e.window_lost = 0
    e.window_ns = now_ns
    if e.loss_fraction > 0.10:
        if e.loss_bps > e.bps:
            e.loss_bps = e.bps
        e.loss_bps = <int64_t>(e.loss_bps * (1 - 0.5 * e.loss_fraction))
    elif e.loss_fraction < 0.02 and e.loss_bps < ESTIMATE_BPS_MAX:
        e.loss_bps = <int64_t>(e.loss_bps * 1.05) + 1000


cdef void conclude(Estimator* e) noexcept nogil:
    e.bps = e.delay_bps if e.delay_bps < e.loss_bps else e.loss_bps
    if e.bps < ESTIMATE_BPS_MIN:
        e.bps = ESTIMATE_BPS_MIN
    if e.bps > ESTIMATE_BPS_MAX:
        e.bps = ESTIMATE_BPS_MAX
    if e.delay_bps < ESTIMATE_BPS_MIN:
        e.delay_bps = ESTIMATE_BPS_MIN
    if e.loss_bps < ESTIMATE_BPS_MIN:
        e.loss_bps = ESTIMATE_BPS_MIN


# --- probes

cdef int64_t estimate_probe(Estimator* e, int64_t wanted_bps, int64_t now_ns) noexcept nogil:
    cdef Probe* p = &e.probe
    if p.number or e.feedback_ns == 0 or now_ns < e.probe_next_ns or e.signal != DELAY_NORMAL:
        return 0
    if wanted_bps <= e.bps or e.loss_fraction > 0.05:
        return 0
    memset(p, 0, sizeof(Probe))
    e.probes += 1
    p.number = e.probes
    p.bps = 2 * e.bps if 2 * e.bps < wanted_bps * 5 // 4 else wanted_bps * 5 // 4
    p.bytes_left = p.bps * PROBE_NS // 1000000000 // 8
    if p.bytes_left < PROBE_BYTES_MIN:
        p.bytes_left = PROBE_BYTES_MIN
    p.began_ns = now_ns
    return p.bps


cdef void take_probe(Estimator* e, const SentNote* note, int64_t arrival_us) noexcept nogil:
    cdef Probe* p = &e.probe
    cdef int64_t sent_us = note.sent_ns // 1000
    if p.packets == 0 or sent_us < p.first_sent_us:
        p.first_sent_us = sent_us
        p.first_size = note.size
    if p.packets == 0 or arrival_us < p.first_arrival_us:
        p.first_arrival_us = arrival_us
    if sent_us >= p.last_sent_us:
        p.last_sent_us = sent_us
        p.last_size = note.size
    if arrival_us > p.last_arrival_us:
        p.last_arrival_us = arrival_us
    p.bytes += note.size
    p.packets += 1


cdef void judge_probe(Estimator* e, int64_t now_ns) noexcept nogil:
    """Once all of it is acknowledged, or its time is up: how fast it went in and came out."""
    cdef Probe* p = &e.probe
    cdef int64_t whole = p.bps * PROBE_NS // 1000000000 // 8
    cdef int64_t sent_bps
    cdef int64_t came_bps
    cdef int64_t found = 0
    if p.number == 0:
        return
    if whole < PROBE_BYTES_MIN:
        whole = PROBE_BYTES_MIN
    if p.bytes * 10 < whole * 9 and now_ns - p.began_ns < PROBE_WAIT_NS:
        return
    if p.bytes * 10 >= whole * 8 and p.packets >= 4 and (
            p.last_sent_us > p.first_sent_us and p.last_arrival_us > p.first_arrival_us):
        sent_bps = (p.bytes - p.last_size) * 8000000 // (p.last_sent_us - p.first_sent_us)
        came_bps = (p.bytes - p.first_size) * 8000000 // (p.last_arrival_us - p.first_arrival_us)
        found = sent_bps if sent_bps < came_bps else came_bps
        if came_bps * 10 < sent_bps * 9:           # the way was full: a little less than what came through
            found = came_bps * 95 // 100
        if found > p.bps * 11 // 10:
            found = p.bps
    p.number = 0
    if found > e.bps * 11 // 10:
        e.delay_bps = found
        if e.loss_bps < found:
            e.loss_bps = found
        e.probe_next_ns = now_ns + PROBE_EVERY_NS
    else:
        e.probe_next_ns = now_ns + PROBE_AGAIN_NS


# --- feedback

cdef void estimate_feedback(Estimator* e, const TransportReport* report, int64_t now_ns) noexcept nogil:
    cdef SentNote* note
    cdef int64_t newest_ns = 0
    cdef uint16_t number
    cdef int i
    for i in range(report.count):
        number = <uint16_t>(report.first + i)
        note = &e.sent[number & (ESTIMATE_SENT_MAX - 1)]
        if note.number != number or note.sent_ns == 0 or note.sent_ns > now_ns:
            continue                               # never sent, or told before
        if not report.received[i]:
            e.window_lost += 1
            continue
        e.window_received += 1
        rate_add(&e.acknowledged, note.size, now_ns)
        if note.sent_ns > newest_ns:
            newest_ns = note.sent_ns
        take_arrival(e, note.sent_ns // 1000, report.at_us[i])
        if note.probe and note.probe == e.probe.number:
            take_probe(e, note, report.at_us[i])
        note.sent_ns = 0
    if newest_ns:
        e.round_trip_ns = now_ns - newest_ns if e.round_trip_ns == 0 else (
            (3 * e.round_trip_ns + now_ns - newest_ns) // 4)
    e.feedback_ns = now_ns
    control_rate(e, now_ns)
    judge_probe(e, now_ns)
    control_loss(e, now_ns)
    conclude(e)


cdef void forget_queue(Estimator* e) noexcept nogil:
    """Delay trend and loss begin anew: what they said of a queue says nothing once it has run empty."""
    e.groups = 0
    memset(&e.group, 0, sizeof(PacketGroup))
    e.accumulated_ms = 0
    e.smoothed_ms = 0
    e.trend_count = 0
    e.trend = 0
    e.over_ms = 0
    e.over_count = 0
    e.signal = DELAY_NORMAL
    e.loss_fraction = 0
    e.window_received = 0
    e.window_lost = 0


cdef void estimate_tick(Estimator* e, int64_t now_ns) noexcept nogil:
    if e.probe.number:
        judge_probe(e, now_ns)
        conclude(e)
    if e.feedback_ns == 0:
        return
    if e.last_sent_ns <= e.feedback_ns:            # paused or muted: no feedback is owed, and a probe may go
        if now_ns - e.feedback_ns > IDLE_NS:
            forget_queue(e)
    elif now_ns - e.feedback_ns > FEEDBACK_LOST_NS:
        e.delay_bps = e.delay_bps // 2             # and again after as long
        e.feedback_ns = now_ns
        conclude(e)


cdef class EstimatorForTest:
    """One estimator, told of packets and of their arrival."""

    cdef Estimator e

    def __init__(self, int first=0):
        estimate_init(&self.e, <uint16_t>first)

    def sent(self, int size, int64_t now_ns) -> int:
        return estimate_sent(&self.e, size, now_ns)

    def feedback(self, int first, arrivals_us, int64_t now_ns) -> int:
        """arrivals_us: by packet from number `first` on, None where it did not come. The new estimate."""
        cdef TransportReport report
        report.first = <uint16_t>first
        report.count = len(arrivals_us)
        for i, at_us in enumerate(arrivals_us):
            report.received[i] = at_us is not None
            report.at_us[i] = 0 if at_us is None else at_us
        estimate_feedback(&self.e, &report, now_ns)
        return self.e.bps

    def probe(self, int64_t wanted_bps, int64_t now_ns) -> int:
        return estimate_probe(&self.e, wanted_bps, now_ns)

    def tick(self, int64_t now_ns) -> None:
        estimate_tick(&self.e, now_ns)

    @property
    def bps(self) -> int:
        return self.e.bps

    @property
    def probe_bytes_left(self) -> int:
        return self.e.probe.bytes_left if self.e.probe.number else 0

    @property
    def loss_fraction(self) -> float:
        return self.e.loss_fraction
