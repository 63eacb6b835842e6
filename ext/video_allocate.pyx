"""Sharing a leg's bandwidth among its viewers: everybody something first, then the better layers by priority.

A choice is a simulcast layer, or the lowest one with temporal layers left out. Choices upward need HEADROOM more than
they cost, so that the sum does not swing around the limit; a viewer that does not get even its cheapest choice is
paused, and says so by LayerChanged. A layer that its sender drops is left within a second, also where a viewer asked
for this one: it gets the next lower one that lives, else the next higher, until the layer asked for is back.
"""

from libc.stdint cimport int32_t
from mediaserver.ext.video_leg cimport TRACKS_PER_LEG_MAX, video_due
from mediaserver.ext.video_rate cimport rate_bps
from mediaserver.ext.video_track cimport (
    LAYERS_MAX,
    NO_LAYER,
    TEMPORAL_MAX,
    TRACK_LAYER,
    Sink,
    Track,
    VideoStream,
    track_layer_lives,
    track_note,
)

cdef enum:
    CHOICES_MAX = LAYERS_MAX + TEMPORAL_MAX
    HEADROOM_PERCENT = 115
    RISE_NS = 2000000000               # after a step down a step up waits so long
    GRACE_NS = 1000000000              # what does not fit goes on so long: it may be a passing burst
    LONG_GRACE_NS = 2000000000         # and so long where its sender was asked for less

cdef struct Choice:
    int32_t layer
    int32_t temporal
    int64_t bps

cdef struct Share:
    Track* track
    int32_t count
    int32_t taken                      # -1: none
    Choice choices[CHOICES_MAX]


cdef int instead_of(Context* ctx, const Track* source, int layer) noexcept nogil:
    """The layer asked for, or while it is not sent the one that stands in for it: the next lower, else the next higher.
    NO_LAYER: nothing comes."""
    cdef int i
    for i in range(layer, NO_LAYER, -1):
        if track_layer_lives(source, i, ctx.now_ns):
            return i
    for i in range(layer + 1, LAYERS_MAX):
        if track_layer_lives(source, i, ctx.now_ns):
            return i
    return NO_LAYER


cdef void add_choice(Share* share, int layer, int temporal, int64_t bps) noexcept nogil:
    cdef Choice* c = &share.choices[share.count]
    c.layer = layer
    c.temporal = temporal
    c.bps = bps
    share.count += 1


cdef void list_choices(Context* ctx, Share* share) noexcept nogil:
    """Cheapest first. A source that sends nothing now leaves none."""
    cdef Track* source = share.track.source
    cdef const Sink* k = &share.track.sink
    cdef VideoStream* s
    cdef int64_t bps
    cdef int only = NO_LAYER
    cdef int i
    cdef int temporal
    share.count = 0
    share.taken = -1
    if k.pinned != NO_LAYER:
        only = instead_of(ctx, source, k.pinned)
    for i in range(LAYERS_MAX):
        s = &source.streams[i]
        if not track_layer_lives(source, i, ctx.now_ns) or (only != NO_LAYER and only != i):
            continue
        if share.count == 0:
            bps = 0
            for temporal in range(s.temporal_layers - 1):
                bps += rate_bps(&s.temporal_rates[temporal], ctx.now_ns)
                add_choice(share, i, temporal, bps)
        add_choice(share, i, TEMPORAL_MAX - 1, rate_bps(&s.rate, ctx.now_ns))


cdef bint allowed(const Share* share, int choice, int64_t left_bps) noexcept nogil:
    """Whether it may have this choice of left_bps, which includes what it has now."""
    cdef const Sink* k = &share.track.sink
    cdef const Choice* c = &share.choices[choice]
    cdef int64_t limit = k.bps_max
    cdef int64_t cost = c.bps
    if share.track.setup.bandwidth_bps_max and (limit == 0 or share.track.setup.bandwidth_bps_max < limit):
        limit = share.track.setup.bandwidth_bps_max
    if c.layer > k.target or (c.layer == k.target and c.temporal > k.target_temporal):
        cost = cost * HEADROOM_PERCENT // 100
    if limit and choice > 0 and cost > limit:
        return False
    return left_bps < 0 or cost <= left_bps


cdef int list_shares(Context* ctx, VideoLeg* v, Share* shares) noexcept nogil:
    """Those who watch something, highest priority first."""
    cdef Share moved
    cdef Track* t
    cdef int count = 0
    cdef int i
    cdef int k
    for i in range(v.track_count):
        t = v.tracks[i]
        if t.source is NULL or not t.setup.sends or t.sink.paused:
            continue
        shares[count].track = t
        list_choices(ctx, &shares[count])
        count += 1
    for i in range(1, count):
        moved = shares[i]
        k = i
        while k > 0 and shares[k - 1].track.sink.priority < moved.track.sink.priority:
            shares[k] = shares[k - 1]
            k -= 1
        shares[k] = moved
    return count


cdef int64_t share_out(Share* shares, int count, int64_t left_bps) noexcept nogil:
    """Everybody the cheapest; then, priority by priority, a step for each in turn while it fits."""
    cdef bint rose
    cdef int first = 0
    cdef int end
    cdef int i
    cdef int64_t had
    for i in range(count):
        if shares[i].count and allowed(&shares[i], 0, left_bps):
            shares[i].taken = 0
            if left_bps >= 0:
                left_bps -= shares[i].choices[0].bps if shares[i].choices[0].bps < left_bps else left_bps
    while first < count:
        end = first
        while end < count and shares[end].track.sink.priority == shares[first].track.sink.priority:
            end += 1
        rose = True
        while rose:
            rose = False
            for i in range(first, end):
                if shares[i].taken < 0 or shares[i].taken + 1 >= shares[i].count:
                    continue
                had = shares[i].choices[shares[i].taken].bps
                if not allowed(&shares[i], shares[i].taken + 1, left_bps + had if left_bps >= 0 else left_bps):
                    continue
                shares[i].taken += 1
                if left_bps >= 0:
                    left_bps -= shares[i].choices[shares[i].taken].bps - had
                    left_bps = left_bps if left_bps > 0 else 0
                rose = True
        first = end
    return left_bps


cdef void aim(Context* ctx, Track* t, int layer, int temporal) noexcept nogil:
    cdef Sink* k = &t.sink
    cdef bint down = layer < k.target or (layer == k.target and temporal < k.target_temporal)
    k.target_temporal = temporal
    if layer == k.target:
        return
    if (not down and k.target != NO_LAYER and ctx.now_ns - k.chosen_ns < RISE_NS
            and track_layer_lives(t.source, k.target, ctx.now_ns)):
        return
    k.target = layer
    k.chosen_ns = ctx.now_ns
    if layer == NO_LAYER:
        k.feeding = 0
        k.current = NO_LAYER
        if t.told_layer != NO_LAYER:
            t.told_layer = NO_LAYER
            track_note(ctx, t, TRACK_LAYER)
    elif layer != k.current:
        t.source.streams[layer].key_wanted = 1
        video_due(ctx, <VideoLeg*>t.source.leg.video, ctx.now_ns)


cdef void settle(Context* ctx, Share* share) noexcept nogil:
    cdef Sink* k = &share.track.sink
    if share.count == 0:
        return                                     # nothing comes: what was chosen stays chosen
    if share.taken >= 0:
        k.misfit_ns = 0
        aim(ctx, share.track, share.choices[share.taken].layer, share.choices[share.taken].temporal)
        return
    if k.misfit_ns == 0:
        k.misfit_ns = ctx.now_ns
    if k.target == NO_LAYER or ctx.now_ns - k.misfit_ns >= (
            LONG_GRACE_NS if share.track.source.setup.remb else GRACE_NS):
        k.chosen_ns = k.chosen_ns or ctx.now_ns
        aim(ctx, share.track, NO_LAYER, TEMPORAL_MAX - 1)
    else:                                          # for the moment the cheapest of what it has
        aim(ctx, share.track, share.choices[0].layer, share.choices[0].temporal)


cdef int64_t video_allocate(Context* ctx, VideoLeg* v, int64_t budget_bps) noexcept nogil:
    cdef Share shares[TRACKS_PER_LEG_MAX]
    cdef int count = list_shares(ctx, v, shares)
    cdef int64_t wanted = 0
    cdef int i
    share_out(shares, count, budget_bps)
    v.sinks = count
    v.misfit = 0
    for i in range(count):
        settle(ctx, &shares[i])
        if shares[i].count and shares[i].taken < 0:
            v.misfit = 1
        if shares[i].count:
            wanted += shares[i].choices[shares[i].count - 1].bps
    return wanted
