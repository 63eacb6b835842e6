"""The clockwork of video: bandwidth shared, packets and key frames asked for, probes, reports, statistics published.

Sound is never held back: what it takes of a leg's way is taken off before video gets its share.
"""

from libc.stdint cimport int64_t
from mediaserver.ext.video_allocate cimport NO_LIMIT, video_allocate
from mediaserver.ext.video_estimate cimport estimate_probe, estimate_tick
from mediaserver.ext.video_leg cimport video_due, video_leg_publish
from mediaserver.ext.video_pace cimport PACE_STEP_NS, pace_set
from mediaserver.ext.video_rate cimport rate_bps
from mediaserver.ext.video_report cimport UNCAPPED_BPS, video_ask, video_cap, video_report, video_tell_arrivals
from mediaserver.ext.video_send cimport video_drain, video_pad
from mediaserver.ext.video_source cimport video_source_tick
from mediaserver.ext.video_track cimport Track, track_publish

cdef enum:
    PUBLISH_TICKS = 5                  # statistics are at most 100 ms old, as a leg's
    REMB_AGE_NS_MAX = 2000000000       # older ones say nothing of now
    BUDGET_BPS_MIN = 10000


cdef int64_t estimate_of(Context* ctx, VideoLeg* v) noexcept nogil:
    """What the way to this leg carries, all together; 0: nothing to learn it from."""
    if v.estimator.feedback_ns:
        return v.estimator.bps
    if v.remb_bps and ctx.now_ns - v.remb_ns < REMB_AGE_NS_MAX:
        return v.remb_bps
    return 0


cdef int64_t budget_of(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef int64_t estimate = estimate_of(ctx, v)
    if estimate == 0:
        return NO_LIMIT
    estimate -= rate_bps(&v.audio_rate, ctx.now_ns)
    return estimate if estimate > BUDGET_BPS_MIN else BUDGET_BPS_MIN


cdef void pad(Context* ctx, VideoLeg* v) noexcept nogil:
    """The next part of a probe: a third of it every 5 ms."""
    cdef int64_t part = v.estimator.probe.bps * PACE_STEP_NS // 1000000000 // 8
    cdef int sent
    if v.estimator.probe.number == 0 or v.estimator.probe.bytes_left <= 0:
        return
    while part > 0 and v.estimator.probe.bytes_left > 0:
        sent = video_pad(ctx, v)
        if sent == 0:
            v.estimator.probe.bytes_left = 0       # nobody has RTX: nothing to probe with
            return
        part -= sent
    video_due(ctx, v, ctx.now_ns + PACE_STEP_NS)


cdef void run_leg(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef int i
    v.due_ns = 0
    video_drain(ctx, v)
    pad(ctx, v)
    video_tell_arrivals(ctx, v)
    for i in range(v.track_count):
        if v.tracks[i].setup.receives:
            video_ask(ctx, v, v.tracks[i])


cdef void share_bandwidth(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef int64_t estimate
    cdef int64_t wanted
    estimate_tick(&v.estimator, ctx.now_ns)
    estimate = estimate_of(ctx, v)
    v.allotted_bps = budget_of(ctx, v)
    wanted = video_allocate(ctx, v, v.allotted_bps)
    # Pictures come in bursts of their own: two and a half times the rate lets a key frame pass soon. What does not fit
    # at all gets no such room, or it would fill the way's queue and delay the sound.
    pace_set(&v.pacer, (estimate * 6 // 5 if v.misfit else estimate * 5 // 2), ctx.now_ns)
    if estimate:
        estimate_probe(&v.estimator, wanted * 5 // 4 + rate_bps(&v.audio_rate, ctx.now_ns), ctx.now_ns)


cdef int64_t cap_of(Track* source) noexcept nogil:
    """What the best of its viewers could take, where it is one stream that cannot be thinned out for the others."""
    cdef Track* viewer = source.viewers
    cdef VideoLeg* v
    cdef int64_t best = 0
    cdef int64_t share
    if source.setup.rid_count > 1 or viewer is NULL:
        return UNCAPPED_BPS
    while viewer is not NULL:
        v = <VideoLeg*>viewer.leg.video
        share = UNCAPPED_BPS
        if v.allotted_bps > 0:
            share = v.allotted_bps // (v.sinks if v.sinks > 0 else 1)
        if viewer.setup.bandwidth_bps_max and viewer.setup.bandwidth_bps_max < share:
            share = viewer.setup.bandwidth_bps_max
        if viewer.sink.bps_max and viewer.sink.bps_max < share:
            share = viewer.sink.bps_max
        if viewer.setup.sends and not viewer.sink.paused and share > best:
            best = share
        viewer = viewer.next_viewer
    return best or UNCAPPED_BPS


cdef void tick_leg(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef bint publish = (ctx.tick_number + <unsigned long long>v.index) % PUBLISH_TICKS == 0
    cdef Track* t
    cdef int i
    share_bandwidth(ctx, v)
    run_leg(ctx, v)
    for i in range(v.track_count):
        t = v.tracks[i]
        video_source_tick(ctx, v, t)
        video_report(ctx, v, t, False)
        if t.setup.remb and t.setup.receives:
            video_cap(ctx, v, t, cap_of(t))
        if publish:
            track_publish(t, ctx.now_ns)
    if publish:
        video_leg_publish(v, ctx.now_ns)


cdef void video_tick(Context* ctx) noexcept nogil:
    cdef int i
    for i in range(ctx.video_count):
        tick_leg(ctx, <VideoLeg*>ctx.video_legs[i])


cdef void video_run(Context* ctx) noexcept nogil:
    cdef VideoLeg* v
    cdef int i
    ctx.video_due_ns = 0
    for i in range(ctx.video_count):
        v = <VideoLeg*>ctx.video_legs[i]
        if v.due_ns == 0:
            continue
        if v.due_ns <= ctx.now_ns:
            run_leg(ctx, v)
        if v.due_ns and (ctx.video_due_ns == 0 or v.due_ns < ctx.video_due_ns):
            ctx.video_due_ns = v.due_ns


cdef void video_goodbye(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef int i
    for i in range(v.track_count):
        video_report(ctx, v, v.tracks[i], True)
