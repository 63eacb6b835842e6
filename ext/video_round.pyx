"""The clockwork of video: layers chosen, packets and key frames asked for, reports, statistics published."""

from mediaserver.ext.video_allocate cimport NO_LIMIT, video_allocate
from mediaserver.ext.video_leg cimport video_leg_publish
from mediaserver.ext.video_report cimport video_ask, video_report
from mediaserver.ext.video_source cimport video_source_tick
from mediaserver.ext.video_track cimport Track, track_publish

cdef enum:
    PUBLISH_TICKS = 5                  # statistics are at most 100 ms old, as a leg's


cdef void run_leg(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef int i
    v.due_ns = 0
    for i in range(v.track_count):
        if v.tracks[i].setup.receives:
            video_ask(ctx, v, v.tracks[i])


cdef void tick_leg(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef bint publish = (ctx.tick_number + <unsigned long long>v.index) % PUBLISH_TICKS == 0
    cdef Track* t
    cdef int i
    video_allocate(ctx, v, NO_LIMIT)
    run_leg(ctx, v)
    for i in range(v.track_count):
        t = v.tracks[i]
        video_source_tick(ctx, v, t)
        video_report(ctx, v, t, False)
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
