"""Selective forwarding to one viewer: layer choice at key frames, temporal layers left out, numbers kept in order.

The outgoing stream has one SSRC whose sequence numbers, timestamps, VP8/VP9 picture ids, TL0PICIDX and dependency
descriptor frame numbers go on without a gap over every change of source and layer. A packet that comes late keeps the
number that was left for it; where it turns out that it should have been left out, an empty packet fills its number.
How each packet was made is remembered, so that it can be made again for a NACK.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset
from mediaserver.ext.video_history cimport history_find
from mediaserver.ext.video_send cimport video_dispatch, video_send
from mediaserver.ext.video_track cimport (
    NO_LAYER,
    SENT_MAX,
    SKIPS_MAX,
    TRACK_LAYER,
    Sent,
    Sink,
    track_note,
    track_taken_ns,
)

cdef enum:
    VIDEO_CLOCK_HZ = 90000
    FRAME_UNITS = 3000                 # a thirtieth of a second: between two feeds whose clocks say nothing better
    SWITCH_UNITS_MAX = 10 * VIDEO_CLOCK_HZ
    RESEND_NS_MIN = 10000000           # two NACKs for one packet closer than this are one


cdef inline int picture_mask(int bits) noexcept nogil:
    return 0x7FFF if bits == 15 else 0x7F


cdef bint begins(VideoStream* s, const HistorySlot* slot) noexcept nogil:
    """Whether a feed can start with this packet: the very first one of a key frame."""
    cdef const HistorySlot* before
    if not slot.facts.key:
        return False
    if slot.facts.start:
        return True
    # H.264 does not mark the first packet: the one before it belongs to another frame. Unknown after loss: then a
    # parameter set may be missing, and the next key frame is better.
    before = history_find(s.history, <uint16_t>(slot.sequence - 1))
    if before is NULL:
        return s.packets == 1
    return before.timestamp != slot.timestamp


cdef uint32_t start_timestamp(Track* viewer, VideoStream* s, const HistorySlot* slot,
                              VideoStream* left) noexcept nogil:
    """The outgoing timestamp of a feed's first frame: as much later as it was taken later, by the sender's own clock
    where both streams have reported, else by arrival."""
    cdef Sink* k = &viewer.sink
    cdef int64_t now_taken = 0
    cdef int64_t last_taken = 0
    cdef int64_t units
    if not k.started:
        return k.timestamp
    if left is not NULL and left is not s:
        now_taken = track_taken_ns(s, slot.timestamp)
        last_taken = track_taken_ns(left, k.timestamp - k.timestamp_delta)
    if now_taken and last_taken:
        units = (now_taken - last_taken) * VIDEO_CLOCK_HZ // 1000000000
    else:
        units = (slot.arrival_ns - k.timestamp_ns) * VIDEO_CLOCK_HZ // 1000000000
    if units < 1 or units > SWITCH_UNITS_MAX:
        units = (slot.arrival_ns - k.timestamp_ns) * VIDEO_CLOCK_HZ // 1000000000
    return k.timestamp + <uint32_t>(units if units > FRAME_UNITS // 2 else FRAME_UNITS)


cdef void start_feed(Context* ctx, Track* viewer, VideoStream* s, HistorySlot* slot) noexcept nogil:
    cdef Sink* k = &viewer.sink
    cdef VideoStream* left = NULL
    cdef uint16_t descriptor_frame
    if k.current != NO_LAYER:
        left = &viewer.source.streams[k.current]
    k.timestamp_delta = start_timestamp(viewer, s, slot, left) - slot.timestamp
    k.feeding = 1
    k.in_first = slot.sequence
    k.in_highest = <uint16_t>(slot.sequence - 1)
    k.in_count = 0
    k.sequence_delta = <uint16_t>(k.sequence - slot.sequence)
    k.picture_delta = <uint16_t>(k.picture + 1 - slot.facts.picture) if k.started else 0
    k.picture_highest = slot.facts.picture
    k.pictures_skipped = 0
    k.tl0_delta = <uint8_t>(k.tl0 + 1 - slot.facts.tl0) if k.started else 0
    descriptor_frame = read_frame(slot)
    k.descriptor_delta = <uint16_t>(k.descriptor_frame + 1 - descriptor_frame) if k.started else 0
    k.frame_timestamp = slot.timestamp - 1
    k.frame_skipped = 0
    k.current_temporal = k.target_temporal
    memset(k.skipped, 0, sizeof(k.skipped))
    if k.current != s.layer or viewer.told_layer != s.layer:
        k.current = s.layer
        viewer.told_layer = s.layer
        track_note(ctx, viewer, TRACK_LAYER)


cdef uint16_t read_frame(const HistorySlot* slot) noexcept nogil:
    """AV1 RTP specification A.8.1: the mandatory descriptor fields are one octet and a 16-bit frame number."""
    if slot.descriptor_size < 3:
        return 0
    return <uint16_t>((slot.data[1] << 8) | slot.data[2])


cdef bint unwanted(Sink* k, const HistorySlot* slot) noexcept nogil:
    """Whether the packet's temporal layer is left out. A layer comes back only where it can be decoded from."""
    if k.target_temporal < k.current_temporal:
        if slot.timestamp != k.frame_timestamp:
            k.current_temporal = k.target_temporal
    elif k.target_temporal > k.current_temporal and slot.timestamp != k.frame_timestamp:
        if slot.facts.key:
            k.current_temporal = k.target_temporal
        elif slot.facts.sync and k.current_temporal < slot.facts.temporal <= k.target_temporal:
            k.current_temporal = slot.facts.temporal
    return slot.facts.temporal > k.current_temporal


cdef void skip_picture(Sink* k, const HistorySlot* slot) noexcept nogil:
    """The frame is left out: the ids after it close up."""
    cdef int step
    if not slot.facts.picture_bits or (k.frame_skipped and slot.timestamp == k.frame_timestamp):
        return
    step = (slot.facts.picture - k.picture_highest) & picture_mask(slot.facts.picture_bits)
    if step == 0 or step > picture_mask(slot.facts.picture_bits) // 2:
        return
    k.pictures_skipped = (k.pictures_skipped << step if step < 64 else 0) | 1
    k.picture_highest = slot.facts.picture
    k.picture_delta -= 1


cdef uint16_t place_picture(Sink* k, const HistorySlot* slot) noexcept nogil:
    """The outgoing picture id; a late frame gets the one from before the ids closed up."""
    cdef int mask = picture_mask(slot.facts.picture_bits)
    cdef int step = (slot.facts.picture - k.picture_highest) & mask
    cdef int skipped = 0
    cdef int i
    if not slot.facts.picture_bits:
        return 0
    if step <= mask // 2:
        if step:
            k.pictures_skipped = k.pictures_skipped << step if step < 64 else 0
            k.picture_highest = slot.facts.picture
    else:
        for i in range(mask + 1 - step):
            if i < 64 and (k.pictures_skipped >> i) & 1:
                skipped += 1
    return <uint16_t>(slot.facts.picture + k.picture_delta + skipped)


cdef int place_sequence(Sink* k, const HistorySlot* slot, bint leave_out, bint* filler) noexcept nogil:
    """The outgoing sequence number; -1: the packet is not sent at all."""
    cdef int step = <int16_t>(slot.sequence - k.in_highest)
    cdef int added = 0
    cdef uint16_t at
    if step > 0:
        if step >= SKIPS_MAX:
            memset(k.skipped, 0, sizeof(k.skipped))
        else:
            at = <uint16_t>(k.in_highest + 1)
            while at != slot.sequence:
                k.skipped[at & (SKIPS_MAX - 1)] = 0
                at += 1
        k.in_highest = slot.sequence
        k.in_count += 1
        k.skipped[slot.sequence & (SKIPS_MAX - 1)] = leave_out
        if leave_out:
            k.sequence_delta -= 1
            return -1
        k.sequence = <uint16_t>(slot.sequence + k.sequence_delta + 1)
        return <uint16_t>(slot.sequence + k.sequence_delta)
    if step <= -SKIPS_MAX or (k.in_count < 0x4000 and <int16_t>(slot.sequence - k.in_first) < 0):
        return -1
    if k.skipped[slot.sequence & (SKIPS_MAX - 1)]:
        return -1
    at = <uint16_t>(slot.sequence + 1)
    while at != <uint16_t>(k.in_highest + 1):
        added += k.skipped[at & (SKIPS_MAX - 1)]
        at += 1
    filler[0] = leave_out
    return <uint16_t>(slot.sequence + k.sequence_delta + added)


cdef void pass_on(Context* ctx, Track* viewer, VideoStream* s, HistorySlot* slot, int payload_type) noexcept nogil:
    cdef Sink* k = &viewer.sink
    cdef bint newer = <int>(slot.timestamp - k.frame_timestamp) > 0
    cdef bint leave_out = slot.size == 0 or unwanted(k, slot)
    cdef bint filler = False
    cdef Sent* sent
    cdef int out = place_sequence(k, slot, leave_out, &filler)
    if leave_out and slot.size and out < 0:
        k.dropped += 1
        skip_picture(k, slot)
    if newer:
        k.frame_timestamp = slot.timestamp
        k.frame_skipped = leave_out
    if out < 0:
        return
    sent = &k.sent[out & (SENT_MAX - 1)]
    sent.out = <uint16_t>out
    sent.sequence = slot.sequence
    sent.layer = <signed char>s.layer
    sent.payload_type = <uint8_t>payload_type
    sent.padding = filler
    sent.timestamp = slot.timestamp + k.timestamp_delta
    if not filler:
        sent.picture = place_picture(k, slot)
        sent.tl0 = <uint8_t>(slot.facts.tl0 + k.tl0_delta)
        sent.descriptor_frame = <uint16_t>(read_frame(slot) + k.descriptor_delta)
        if newer or not k.started:
            k.picture = sent.picture
            k.tl0 = sent.tl0
            k.descriptor_frame = sent.descriptor_frame
    if not k.started or <int>(sent.timestamp - k.timestamp) > 0:
        k.timestamp = sent.timestamp
        k.timestamp_ns = slot.arrival_ns
        k.frames += 1
    k.started = 1
    sent.sent_ns = 0
    if video_dispatch(ctx, viewer, sent, slot) < 0:
        k.dropped += 1
        k.feeding = 0                              # the rest of the picture is of no use: it begins anew
        k.sequence = <uint16_t>out if <int16_t>(slot.sequence - k.in_highest) >= 0 else k.sequence
        sent.layer = NO_LAYER
        s.key_wanted = 1


cdef inline bint can_send(const Track* viewer) noexcept nogil:
    return viewer.setup.sends and viewer.leg.negotiated and viewer.leg.destination.size != 0


cdef void video_forward(Context* ctx, Track* viewer, VideoStream* s, HistorySlot* slot, int format) noexcept nogil:
    cdef Sink* k = &viewer.sink
    cdef int at = k.format_at[format] - 1
    if at < 0 or k.paused or not can_send(viewer):
        k.dropped += 1
        return
    if k.target == NO_LAYER and k.chosen_ns == 0 and (k.pinned == NO_LAYER or k.pinned == s.layer):
        k.target = s.layer                         # the very first: what comes is what there is
    if k.feeding and s.layer == k.current:
        if s.layer != k.target and k.target == NO_LAYER:
            k.dropped += 1
            return
    elif s.layer == k.target:
        if not begins(s, slot):
            k.dropped += 1
            if not s.key_pending and (s.key_came_ns == 0 or slot.timestamp != s.key_timestamp):
                s.key_wanted = 1
            return
        start_feed(ctx, viewer, s, slot)
    else:
        k.dropped += 1
        return
    pass_on(ctx, viewer, s, slot, viewer.setup.send[at].payload_type)


cdef int video_send_again(Context* ctx, Track* viewer, uint16_t sequence) noexcept nogil:
    cdef Sink* k = &viewer.sink
    cdef Sent* sent = &k.sent[sequence & (SENT_MAX - 1)]
    cdef HistorySlot* slot
    cdef VideoStream* s
    cdef int64_t wait_ns = viewer.round_trip_ns // 2
    if sent.layer < 0 or sent.out != sequence or viewer.source is NULL or sent.sent_ns == 0:
        return 0                                   # never made, or still waiting to leave
    s = &viewer.source.streams[sent.layer]
    if s.history is NULL or ctx.now_ns - sent.sent_ns < (wait_ns if wait_ns > RESEND_NS_MIN else RESEND_NS_MIN):
        return 0
    slot = history_find(s.history, sent.sequence)
    if slot is NULL:
        return 0
    return video_send(ctx, viewer, sent, slot, True)
