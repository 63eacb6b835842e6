"""The tracks of one leg and the SSRCs they are known by: a bounded open-addressing table, learnt from authenticated or
pinned packets only."""

from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.ext.atomic cimport fence_release, store_relaxed_32, store_release_32
from mediaserver.ext.video_estimate cimport estimate_init
from mediaserver.ext.video_rate cimport rate_add, rate_bps
from mediaserver.ext.video_track cimport LAYERS_MAX, track_disconnect, track_free


cdef VideoLeg* video_leg_new() noexcept nogil:
    cdef VideoLeg* v = <VideoLeg*>calloc(1, sizeof(VideoLeg))
    if v is not NULL:
        v.index = -1
        estimate_init(&v.estimator, 1)
    return v


cdef void video_leg_free(VideoLeg* v) noexcept nogil:
    cdef int i
    if v is NULL:
        return
    for i in range(v.track_count):
        track_free(v.tracks[i])
    free(v)


cdef void video_leg_enter(Context* ctx, VideoLeg* v, Leg* leg) noexcept nogil:
    cdef int i
    v.leg = leg
    leg.video = v
    for i in range(v.track_count):
        v.tracks[i].leg = leg
    v.index = ctx.video_count
    ctx.video_legs[ctx.video_count] = v
    ctx.video_count += 1


cdef void video_leg_leave(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef VideoLeg* last
    cdef int i
    for i in range(v.track_count):
        track_disconnect(v.tracks[i])
    if v.index < 0:
        return
    ctx.video_count -= 1
    last = <VideoLeg*>ctx.video_legs[ctx.video_count]
    ctx.video_legs[v.index] = last
    last.index = v.index
    v.index = -1
    v.due_ns = 0


cdef int video_leg_add(VideoLeg* v, Track* t) noexcept nogil:
    if v.track_count == TRACKS_PER_LEG_MAX:
        return -1
    t.place = v.track_count
    t.leg = v.leg
    v.tracks[t.place] = t
    v.ssrcs[t.place] = t.ssrc
    v.rtx_ssrcs[t.place] = t.rtx_ssrc
    v.track_count += 1
    return 0


cdef void forget_track(VideoLeg* v, int place, int moved_from) noexcept nogil:
    """What was learnt of the track at `place` is forgotten; the one at moved_from (-1: none) is at `place` now."""
    cdef SsrcEntry kept[SSRC_SLOTS]
    cdef int count = 0
    cdef int i
    for i in range(SSRC_SLOTS):
        if v.ssrc_table[i].taken and v.ssrc_table[i].place != place:
            kept[count] = v.ssrc_table[i]
            count += 1
    memset(v.ssrc_table, 0, sizeof(v.ssrc_table))
    v.ssrc_count = 0
    for i in range(count):
        ssrc_learn(v, kept[i].ssrc, place if kept[i].place == moved_from else kept[i].place, kept[i].layer, kept[i].rtx)


cdef void video_leg_remove(VideoLeg* v, Track* t) noexcept nogil:
    cdef int last = v.track_count - 1
    track_disconnect(t)
    forget_track(v, t.place, last if last != t.place else -1)
    v.tracks[t.place] = v.tracks[last]
    v.tracks[t.place].place = t.place
    v.ssrcs[t.place] = v.ssrcs[last]
    v.rtx_ssrcs[t.place] = v.rtx_ssrcs[last]
    v.track_count = last
    t.leg = NULL


cdef Track* video_leg_track(const VideoLeg* v, int id) noexcept nogil:
    cdef int i
    if v is NULL:
        return NULL
    for i in range(v.track_count):
        if v.tracks[i].id == id:
            return v.tracks[i]
    return NULL


cdef void video_leg_changed(VideoLeg* v, Track* t) noexcept nogil:
    cdef const ExtensionNumbers* n = &t.setup.extensions
    cdef int i
    # The numbers are the transport's (RFC 8843 §9.2): each track that names one names the same.
    v.extensions.mid = n.mid or v.extensions.mid
    v.extensions.rid = n.rid or v.extensions.rid
    v.extensions.repaired_rid = n.repaired_rid or v.extensions.repaired_rid
    v.extensions.abs_send_time = n.abs_send_time or v.extensions.abs_send_time
    v.extensions.transport_cc = n.transport_cc or v.extensions.transport_cc
    v.extensions.audio_level = n.audio_level or v.extensions.audio_level
    v.extensions.video_orientation = n.video_orientation or v.extensions.video_orientation
    v.extensions.dependency_descriptor = n.dependency_descriptor or v.extensions.dependency_descriptor
    forget_track(v, t.place, -1)
    for i in range(LAYERS_MAX):
        if t.streams[i].ssrc:
            ssrc_learn(v, t.streams[i].ssrc, t.place, i, False)
        if t.streams[i].rtx_ssrc:
            ssrc_learn(v, t.streams[i].rtx_ssrc, t.place, i, True)
    for i in range(t.setup.ssrc_count):
        if ssrc_find(v, t.setup.ssrcs[i]) is NULL:
            ssrc_learn(v, t.setup.ssrcs[i], t.place, i, False)
        if t.setup.rtx_ssrcs[i] and ssrc_find(v, t.setup.rtx_ssrcs[i]) is NULL:
            ssrc_learn(v, t.setup.rtx_ssrcs[i], t.place, i, True)


cdef void video_leg_publish(VideoLeg* v, int64_t now_ns) noexcept nogil:
    cdef uint32_t sequence = v.snapshot_sequence
    cdef BandwidthSnapshot* s = &v.snapshot
    rate_add(&v.audio_rate, <int>(v.leg.sender.bytes_wire - v.audio_bytes_before), now_ns)
    v.audio_bytes_before = v.leg.sender.bytes_wire
    store_relaxed_32(&v.snapshot_sequence, sequence + 1)
    fence_release()
    s.audio_bps = rate_bps(&v.audio_rate, now_ns)
    s.video_bps = rate_bps(&v.video_rate, now_ns)
    s.allotted_bps = v.allotted_bps
    s.estimate_bps = v.estimator.bps if v.estimator.feedback_ns else v.remb_bps
    s.loss_fraction = v.estimator.loss_fraction
    s.round_trip_ns = v.estimator.round_trip_ns or v.leg.round_trip_ns
    store_release_32(&v.snapshot_sequence, sequence + 2)


cdef inline int slot_of(uint32_t ssrc) noexcept nogil:
    return <int>((ssrc * <uint32_t>2654435761) >> 25)          # the top seven bits: SSRC_SLOTS


cdef SsrcEntry* ssrc_find(VideoLeg* v, uint32_t ssrc) noexcept nogil:
    cdef int at = slot_of(ssrc)
    while v.ssrc_table[at].taken:
        if v.ssrc_table[at].ssrc == ssrc:
            return &v.ssrc_table[at]
        at = (at + 1) & (SSRC_SLOTS - 1)
    return NULL


cdef SsrcEntry* ssrc_learn(VideoLeg* v, uint32_t ssrc, int place, int layer, bint rtx) noexcept nogil:
    cdef int at = slot_of(ssrc)
    cdef SsrcEntry* entry
    if v.ssrc_count == SSRCS_MAX:
        return NULL
    while v.ssrc_table[at].taken:
        at = (at + 1) & (SSRC_SLOTS - 1)
    entry = &v.ssrc_table[at]
    entry.taken = 1
    entry.ssrc = ssrc
    entry.place = <uint8_t>place
    entry.layer = <uint8_t>layer
    entry.rtx = rtx
    v.ssrc_count += 1
    return entry


cdef void ssrc_forget(VideoLeg* v, uint32_t ssrc) noexcept nogil:
    """Takes one out and moves up what probed past it."""
    cdef SsrcEntry* entry = ssrc_find(v, ssrc)
    cdef SsrcEntry moved
    cdef int at
    if entry is NULL:
        return
    at = <int>(entry - v.ssrc_table)
    entry.taken = 0
    v.ssrc_count -= 1
    at = (at + 1) & (SSRC_SLOTS - 1)
    while v.ssrc_table[at].taken:
        moved = v.ssrc_table[at]
        v.ssrc_table[at].taken = 0
        v.ssrc_count -= 1
        ssrc_learn(v, moved.ssrc, moved.place, moved.layer, moved.rtx)
        at = (at + 1) & (SSRC_SLOTS - 1)


cdef void video_due(Context* ctx, VideoLeg* v, int64_t when_ns) noexcept nogil:
    if v.due_ns == 0 or when_ns < v.due_ns:
        v.due_ns = when_ns
    if ctx.video_due_ns == 0 or when_ns < ctx.video_due_ns:
        ctx.video_due_ns = when_ns
