"""Makes a viewer's packet from the source's history and what was decided about it, and sends it.

Where the way's capacity is known, packets leave within a budget (video_pace); those that wait are made only when they
leave, from the history. Retransmissions follow RFC 4588 (own SSRC, own sequence numbers, the original one first in the
payload) where the peer agreed to RTX; else the same packet is sent again.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcpy, memset
from mediaserver.ext.outgoing cimport outgoing_rtp
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_write_header, write_be16
from mediaserver.ext.video_extensions cimport (
    ExtensionsOut,
    absolute_send_time,
    extensions_write,
)
from mediaserver.ext.video_estimate cimport estimate_sent
from mediaserver.ext.video_history cimport History, history_find
from mediaserver.ext.video_leg cimport video_due, video_leg_track
from mediaserver.ext.video_pace cimport (
    PACE_STEP_NS,
    PACE_WAIT_NS_MAX,
    PaceItem,
    pace_open,
    pace_pop,
    pace_push,
)
from mediaserver.ext.video_payload cimport payload_patch
from mediaserver.ext.video_rate cimport rate_add
from mediaserver.ext.video_track cimport NO_LAYER, SENT_MAX, Sink

cdef enum:
    NO_RTX = 255
    PADDING_BYTES = 224                # all that one octet can count, in whole words
    OUT_BYTES = 2048                   # header 12, extensions 340, RTX 2, HISTORY_BYTES, SRTP_TRAILER_MAX


cdef int rtx_type(const Track* viewer, const Sent* sent) noexcept nogil:
    cdef int i
    for i in range(viewer.setup.send_count):
        if viewer.setup.send[i].payload_type == sent.payload_type:
            return viewer.setup.send[i].rtx_payload_type
    return NO_RTX


cdef int write_extensions(Context* ctx, Track* viewer, const Sent* sent, const HistorySlot* slot, uint8_t* out,
                          uint8_t* descriptor) noexcept nogil:
    cdef ExtensionsOut what
    memset(&what, 0, sizeof(what))
    what.mid = viewer.setup.mid
    what.mid_size = viewer.setup.mid_size
    what.has_send_time = 1
    what.send_time = absolute_send_time(ctx.now_ns)
    what.has_transport_cc = viewer.setup.transport_cc
    what.transport_cc = (<VideoLeg*>viewer.leg.video).estimator.next
    if slot is not NULL and not sent.padding:
        what.has_orientation = slot.has_orientation
        what.orientation = slot.orientation
        if slot.descriptor_size >= 3:
            memcpy(descriptor, slot.data, slot.descriptor_size)
            write_be16(descriptor + 1, sent.descriptor_frame)
            what.descriptor = descriptor
            what.descriptor_size = slot.descriptor_size
    return extensions_write(out, &viewer.setup.extensions, &what)


cdef int leave(Context* ctx, Track* viewer, uint8_t* data, int size) noexcept nogil:
    """Out, and counted against the way's budget. Octets on the wire, or -1."""
    cdef VideoLeg* v = <VideoLeg*>viewer.leg.video
    cdef int wire = outgoing_rtp(ctx, viewer.leg, data, size)
    if wire < 0:
        return -1
    if viewer.setup.transport_cc and viewer.setup.extensions.transport_cc:
        estimate_sent(&v.estimator, wire, ctx.now_ns)
    rate_add(&viewer.sink.rate, wire, ctx.now_ns)
    rate_add(&v.video_rate, wire, ctx.now_ns)
    if v.pacer.bps:
        v.pacer.budget -= wire
    return wire


cdef int video_send(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot, bint again) noexcept nogil:
    cdef uint8_t data[OUT_BYTES]
    cdef uint8_t descriptor[256]
    cdef int rtx = rtx_type(viewer, sent) if again else NO_RTX
    cdef int payload = 0 if sent.padding else slot.size
    cdef int at = RTP_HEADER_BYTES
    cdef int block
    cdef int wire
    if rtx != NO_RTX:
        rtp_write_header(data, rtx, slot.marker, viewer.sink.rtx_sequence, sent.timestamp, viewer.rtx_ssrc)
        viewer.sink.rtx_sequence += 1
    else:
        rtp_write_header(data, sent.payload_type, slot.marker and not sent.padding, sent.out, sent.timestamp,
                         viewer.ssrc)
    block = write_extensions(ctx, viewer, sent, slot, data + at, descriptor)
    if block:
        data[0] |= 0x10
        at += block
    if rtx != NO_RTX:
        write_be16(data + at, sent.out)
        at += 2
    if payload:
        memcpy(data + at, slot.data + slot.descriptor_size, payload)
        payload_patch(data + at, &slot.facts, sent.picture, sent.tl0)
        at += payload
    else:
        data[0] |= 0x20                # padding only (RFC 3550 §5.1): one octet that counts itself
        data[at] = 1
        at += 1
    wire = leave(ctx, viewer, data, at)
    if wire < 0:
        return 0
    sent.sent_ns = ctx.now_ns
    viewer.sink.payload_type = sent.payload_type
    if again:
        viewer.sink.rtx_packets += 1
        viewer.sink.rtx_bytes += wire
    if rtx == NO_RTX:
        viewer.sink.packets += 1
        viewer.sink.payload_bytes += payload
    viewer.sink.bytes += wire
    return 1


cdef int video_dispatch(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot) noexcept nogil:
    cdef VideoLeg* v = <VideoLeg*>viewer.leg.video
    if pace_open(&v.pacer, ctx.now_ns):
        video_send(ctx, viewer, sent, slot, False)
        return 0
    if pace_push(&v.pacer, viewer.id, sent.out, ctx.now_ns) < 0:
        return -1
    video_due(ctx, v, ctx.now_ns + PACE_STEP_NS)
    return 0


cdef void begin_anew(Track* viewer, uint16_t first) noexcept nogil:
    """What waits from `first` on is given up, and so are its numbers: nothing after them has been sent."""
    cdef Sink* k = &viewer.sink
    cdef int count = <uint16_t>(k.sequence - first)
    cdef uint16_t out = first
    if count > SENT_MAX:
        return
    while out != k.sequence:
        k.sent[out & (SENT_MAX - 1)].layer = NO_LAYER
        out += 1
    k.dropped += count
    k.sequence = first
    if k.feeding and k.current != NO_LAYER and viewer.source is not NULL:
        viewer.source.streams[k.current].key_wanted = 1
    k.feeding = 0


cdef void video_drain(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef PaceItem* item
    cdef Track* viewer
    cdef Sent* sent
    cdef History* history
    cdef HistorySlot* slot
    while True:
        item = pace_pop(&v.pacer, ctx.now_ns)
        if item is NULL:
            break
        viewer = video_leg_track(v, item.track)
        if viewer is NULL or viewer.source is NULL:
            continue
        sent = &viewer.sink.sent[item.out & (SENT_MAX - 1)]
        if sent.layer < 0 or sent.out != item.out or sent.sent_ns:
            continue
        history = viewer.source.streams[sent.layer].history
        # Too old, or its source has been switched off: no history, nothing to make it from.
        if history is NULL or ctx.now_ns - item.since_ns > PACE_WAIT_NS_MAX:
            begin_anew(viewer, item.out)
            continue
        slot = history_find(history, sent.sequence)
        if slot is not NULL:
            video_send(ctx, viewer, sent, slot, False)
    if v.pacer.head != v.pacer.tail:
        video_due(ctx, v, ctx.now_ns + PACE_STEP_NS)


cdef int video_pad(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef uint8_t data[OUT_BYTES]
    cdef Sent sent
    cdef Track* viewer
    cdef int rtx
    cdef int at
    cdef int block
    cdef int i
    memset(&sent, 0, sizeof(sent))
    sent.padding = 1
    for i in range(v.track_count):
        viewer = v.tracks[i]
        if viewer.source is NULL or not viewer.sink.started or not viewer.setup.transport_cc:
            continue
        sent.payload_type = viewer.sink.payload_type
        rtx = rtx_type(viewer, &sent)
        if rtx == NO_RTX:
            continue
        rtp_write_header(data, rtx, 0, viewer.sink.rtx_sequence, viewer.sink.timestamp, viewer.rtx_ssrc)
        viewer.sink.rtx_sequence += 1
        block = write_extensions(ctx, viewer, &sent, NULL, data + RTP_HEADER_BYTES, NULL)
        data[0] |= 0x20 | (0x10 if block else 0)
        at = RTP_HEADER_BYTES + block
        memset(data + at, 0, PADDING_BYTES)
        data[at + PADDING_BYTES - 1] = PADDING_BYTES
        at = leave(ctx, viewer, data, at + PADDING_BYTES)
        if at > 0:
            viewer.sink.rtx_bytes += at
            viewer.sink.bytes += at
            return at
        return 0
    return 0
