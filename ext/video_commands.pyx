"""Track commands of the control plane. Allocates and frees nothing, as ext/commands."""

from mediaserver.ext.channel cimport (
    OP_ASK_KEY_FRAME,
    OP_CLOSE_TRACK,
    OP_CLOSE_TRACK_TAP,
    OP_CONNECT_TRACK,
    OP_LIMIT_TRACK,
    OP_OPEN_TRACK,
    OP_OPEN_TRACK_TAP,
    OP_SET_TRACK,
    STATUS_FULL,
    STATUS_OK,
    STATUS_REFUSED,
    STATUS_STALE_HANDLE,
)
from mediaserver.ext.state cimport worker_leg
from mediaserver.ext.tap cimport Tap
from mediaserver.ext.video_leg cimport (
    video_due,
    video_leg_add,
    video_leg_changed,
    video_leg_enter,
    video_leg_leave,
    video_leg_remove,
    video_leg_track,
)
from mediaserver.ext.video_report cimport video_report
from mediaserver.ext.video_tap cimport video_tap_close, video_tap_open
from mediaserver.ext.video_track cimport (
    LAYERS_MAX,
    NO_LAYER,
    TrackChange,
    track_connect,
    track_publish,
    track_set,
)


cdef int open_track(Worker* w, Leg* leg, TrackOpening* opening) noexcept nogil:
    if leg.video is NULL:
        video_leg_enter(&w.ctx, opening.video, leg)
        opening.video = NULL
    if video_leg_add(<VideoLeg*>leg.video, opening.track) < 0:
        return STATUS_FULL
    opening.track.report_next_ns = w.ctx.now_ns
    opening.track = NULL
    return STATUS_OK


cdef void want_key_frames(Worker* w, Track* source, int layer) noexcept nogil:
    """layer: NO_LAYER asks all that come."""
    cdef int i
    for i in range(LAYERS_MAX):
        if source.streams[i].ssrc and (layer == NO_LAYER or layer == i):
            source.streams[i].key_wanted = 2
    if not source.setup.pli and not source.setup.fir:
        source.streams[0].key_wanted = 2           # by signalling: that needs no packet of its first
    video_due(&w.ctx, <VideoLeg*>source.leg.video, w.ctx.now_ns)


cdef int connect(Worker* w, const Command* c, Track* sink) noexcept nogil:
    cdef Leg* leg
    cdef Track* source = NULL
    if c.other:
        leg = worker_leg(w, c.other)
        if leg is NULL:
            return STATUS_STALE_HANDLE
        source = video_leg_track(<VideoLeg*>leg.video, c.flag)
        if source is NULL:
            return STATUS_STALE_HANDLE
    track_connect(sink, source)
    if source is not NULL:
        want_key_frames(w, source, sink.sink.pinned)
    return STATUS_OK


cdef void limit(Track* t, const TrackLimits* limits) noexcept nogil:
    t.sink.priority = limits.priority
    t.sink.pinned = limits.pinned
    t.sink.bps_max = limits.bps_max
    if limits.paused and not t.sink.paused:
        t.sink.feeding = 0                         # it comes back with a key frame
        t.sink.current = NO_LAYER
        t.sink.target = NO_LAYER
        t.sink.chosen_ns = 0
    t.sink.paused = limits.paused


cdef int tap_command(Worker* w, const Command* c, Track* t) noexcept nogil:
    if c.operation == OP_CLOSE_TRACK_TAP:
        if video_tap_close(t, <Tap*>c.data) < 0:
            return STATUS_STALE_HANDLE
        w.ctx.counters.taps -= 1
        return STATUS_OK
    if video_tap_open(t, <Tap*>c.data) < 0:
        return STATUS_FULL
    w.ctx.counters.taps += 1
    want_key_frames(w, t, NO_LAYER)    # nothing before one can be shown
    return STATUS_OK


cdef int video_command(Worker* w, const Command* c, Leg* leg, Message* reply) noexcept nogil:
    cdef VideoLeg* v
    cdef Track* t
    if c.operation == OP_OPEN_TRACK:
        return open_track(w, leg, <TrackOpening*>c.data)
    v = <VideoLeg*>leg.video
    t = video_leg_track(v, <int>c.value)
    if t is NULL:
        return STATUS_STALE_HANDLE
    if c.operation == OP_CLOSE_TRACK:
        video_report(&w.ctx, v, t, True)
        track_publish(t, w.ctx.now_ns)
        video_leg_remove(v, t)
        w.ctx.counters.taps -= t.tapped
        reply.data = t
    elif c.operation == OP_SET_TRACK:
        track_set(t, <TrackChange*>c.data)
        video_leg_changed(v, t)
    elif c.operation == OP_CONNECT_TRACK:
        return connect(w, c, t)
    elif c.operation == OP_LIMIT_TRACK:
        limit(t, <TrackLimits*>c.data)
    elif c.operation == OP_ASK_KEY_FRAME:
        want_key_frames(w, t, NO_LAYER)
    elif c.operation == OP_OPEN_TRACK_TAP or c.operation == OP_CLOSE_TRACK_TAP:
        return tap_command(w, c, t)
    else:
        return STATUS_REFUSED
    return STATUS_OK


cdef void video_take_out(Worker* w, Leg* leg) noexcept nogil:
    if leg.video is not NULL:
        video_leg_leave(&w.ctx, <VideoLeg*>leg.video)


cdef void video_take_in(Worker* w, Leg* leg) noexcept nogil:
    if leg.video is not NULL:
        video_leg_enter(&w.ctx, <VideoLeg*>leg.video, leg)
