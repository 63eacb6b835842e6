"""Reception of video: demultiplexing, retransmissions put back, gaps noted, history kept, viewers served.

Demultiplexing follows RFC 8843 §9.2: an SSRC already known; else MID, RID and repaired RID of the packet (RFC 8852);
else the only track that takes its payload type. What was learnt is kept in a bounded table. RTX is undone by RFC 4588.
"""

from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy
from mediaserver.ext.rtp cimport (
    SOURCE_NEW,
    SOURCE_STALE,
    ReceiverVerdict,
    read_be16,
    rtp_receiver_step,
    rtp_receiver_time,
)
from mediaserver.ext.video_arrivals cimport arrivals_note
from mediaserver.ext.video_extensions cimport Extensions, extensions_parse
from mediaserver.ext.video_forward cimport video_forward
from mediaserver.ext.video_history cimport HISTORY_BYTES, HistorySlot, history_clear, history_find, history_slot
from mediaserver.ext.video_leg cimport SsrcEntry, ssrc_find, ssrc_forget, ssrc_learn, video_due
from mediaserver.ext.video_nack cimport NACK_REORDER_NS, nack_add, nack_remove
from mediaserver.ext.video_payload cimport PayloadFacts, payload_parse
from mediaserver.ext.video_rate cimport rate_add
from mediaserver.ext.video_tap cimport video_tap
from mediaserver.ext.video_track cimport (
    TEMPORAL_MAX,
    TRACK_ACTIVE,
    VideoFormat,
    track_note,
    track_reset_stream,
)

cdef enum:
    VIDEO_CLOCK_HZ = 90000
    INACTIVE_NS = 1000000000


cdef int layer_named(const Track* t, const Packet* packet, int at, int size) noexcept nogil:
    """The layer of a RID, or -1."""
    cdef int i
    for i in range(t.setup.rid_count):
        if size == t.setup.rid_sizes[i] and memcmp(packet.data + at, t.setup.rids[i], size) == 0:
            return i
    return -1


cdef Track* track_named(const VideoLeg* v, const Packet* packet, const Extensions* e) noexcept nogil:
    """By MID; without one the only track that takes the payload type. NULL: none."""
    cdef Track* found = NULL
    cdef Track* t
    cdef int i
    for i in range(v.track_count):
        t = v.tracks[i]
        if e.mid_size:
            if t.setup.mid_size == e.mid_size and memcmp(t.setup.mid, packet.data + e.mid_at, e.mid_size) == 0:
                return t
        elif t.setup.receives and (
                t.setup.receive_at[packet.payload_type] or t.setup.rtx_at[packet.payload_type]):
            if found is not NULL:
                return NULL
            found = t
    return found


cdef SsrcEntry* learn(VideoLeg* v, const Packet* packet, const Extensions* e) noexcept nogil:
    cdef Track* t = track_named(v, packet, e)
    cdef int layer = 0
    cdef bint rtx
    if t is NULL:
        return NULL
    rtx = t.setup.rtx_at[packet.payload_type] != 0
    if not rtx and not t.setup.receive_at[packet.payload_type]:
        return NULL
    if t.setup.rid_count:
        layer = -1
        if rtx and e.repaired_rid_size:
            layer = layer_named(t, packet, e.repaired_rid_at, e.repaired_rid_size)
        elif not rtx and e.rid_size:
            layer = layer_named(t, packet, e.rid_at, e.rid_size)
        if layer < 0:
            return NULL
    elif t.setup.ssrc_count > 1:
        return NULL                                # simulcast by a=ssrc: only what was declared
    return ssrc_learn(v, packet.ssrc, t.place, layer, rtx)


cdef void begin_again(Track* t, VideoStream* s) noexcept nogil:
    """Its viewers go on from a key frame of the new stream: how the old numbers became theirs says nothing of these."""
    cdef Track* viewer = t.viewers
    while viewer is not NULL:
        if viewer.sink.current == s.layer:
            viewer.sink.feeding = 0
        viewer = viewer.next_viewer
    s.key_pending = 0


cdef void bind(VideoLeg* v, Track* t, VideoStream* s, uint32_t ssrc) noexcept nogil:
    """The layer is this SSRC from now on: the sender began anew, and nothing of the old numbers means anything."""
    cdef uint32_t rtx_ssrc = s.rtx_ssrc
    if s.ssrc:
        ssrc_forget(v, s.ssrc)
        track_reset_stream(s)
        begin_again(t, s)
        s.rtx_ssrc = rtx_ssrc
    s.ssrc = ssrc


cdef int restore(VideoStream* s, Track* t, Packet* packet) noexcept nogil:
    """A retransmission becomes the packet it repeats. -1: it is padding, or repeats nothing we know."""
    cdef int at = t.setup.rtx_at[packet.payload_type] - 1
    if at < 0 or packet.payload_size < 2 or s.ssrc == 0:
        return -1
    packet.sequence = read_be16(packet.data + packet.payload_offset)
    packet.payload_offset += 2
    packet.payload_size -= 2
    packet.payload_type = t.setup.receive[at].payload_type
    packet.ssrc = s.ssrc
    return 0


cdef void note_gap(Context* ctx, VideoLeg* v, Track* t, VideoStream* s, uint16_t highest_before,
                   const Packet* packet) noexcept nogil:
    """What lies between this packet and the newest one before it is missing."""
    cdef int step = <int16_t>(packet.sequence - highest_before)
    if step > 1 and t.setup.nack:
        if nack_add(&s.nack, <uint16_t>(highest_before + 1), packet.sequence, packet.arrival_ns) > 0:
            s.key_wanted = 1
        video_due(ctx, v, packet.arrival_ns + NACK_REORDER_NS)


cdef void note_frame(Track* t, VideoStream* s, const HistorySlot* slot) noexcept nogil:
    cdef bint newer = not s.frame_known or <int>(slot.timestamp - s.frame_timestamp) > 0
    cdef int64_t age_ns
    if newer:
        t.frames_received += 1
        s.frame_timestamp = slot.timestamp
        s.frame_known = 1
        # How taken and arrival hang together without a sender report: by the quickest packet of late. Half a thousandth
        # of its age is for a sender whose clock is slow, whose packets would seem later and later.
        age_ns = slot.arrival_ns - s.arrival_ns
        if s.arrival_ns == 0 or age_ns - age_ns // 2000 <= (
                <long long>(<int>(slot.timestamp - s.arrival_timestamp)) * 1000000000 // VIDEO_CLOCK_HZ + 1000000):
            s.arrival_ns = slot.arrival_ns
            s.arrival_timestamp = slot.timestamp
    if slot.facts.key and (s.key_came_ns == 0 or slot.timestamp != s.key_timestamp):
        t.key_frames_received += 1
        s.key_timestamp = slot.timestamp
        s.key_came_ns = slot.arrival_ns
        s.key_wanted = 0
        s.key_pending = 0
        s.temporal_layers = 1
    if slot.facts.temporal >= s.temporal_layers and slot.facts.temporal < TEMPORAL_MAX:
        s.temporal_layers = slot.facts.temporal + 1


cdef HistorySlot* keep(VideoStream* s, const Packet* packet, const Extensions* e,
                       const PayloadFacts* facts) noexcept nogil:
    """The packet in the stream's history. NULL: it is too long for it."""
    cdef HistorySlot* slot
    cdef int descriptor = e.descriptor_size
    if packet.payload_size + descriptor > HISTORY_BYTES:
        return NULL
    slot = history_slot(s.history, packet.sequence)
    slot.filled = 1
    slot.sequence = packet.sequence
    slot.marker = packet.marker
    slot.payload_type = packet.payload_type
    slot.timestamp = packet.timestamp
    slot.arrival_ns = packet.arrival_ns
    slot.has_orientation = e.has_orientation
    slot.orientation = e.orientation
    slot.descriptor_size = <uint8_t>descriptor
    slot.size = packet.payload_size
    slot.facts = facts[0]
    if descriptor:
        memcpy(slot.data, packet.data + e.descriptor_at, descriptor)
    memcpy(slot.data + descriptor, packet.data + packet.payload_offset, packet.payload_size)
    return slot


cdef int bad(Context* ctx, Track* t) noexcept nogil:
    t.packets_bad += 1
    ctx.counters.packets_bad += 1
    return 0


cdef int take(Context* ctx, VideoLeg* v, Track* t, VideoStream* s, Packet* packet, const Extensions* e,
              bint repaired) noexcept nogil:
    cdef const VideoFormat* format
    cdef PayloadFacts facts
    cdef HistorySlot* slot
    cdef ReceiverVerdict verdict
    cdef Track* viewer
    cdef uint16_t highest
    cdef int at = t.setup.receive_at[packet.payload_type] - 1
    if at < 0 or s.history is NULL:
        return bad(ctx, t)
    format = &t.setup.receive[at]
    facts.key = 0
    if packet.payload_size and payload_parse(format.codec, packet.data + packet.payload_offset, packet.payload_size,
                                             &facts) < 0:
        return bad(ctx, t)
    if s.receiver.started and history_find(s.history, packet.sequence) is not NULL and s.receiver.ssrc == packet.ssrc:
        return 0                                   # came before, by itself or by RTX
    highest = s.receiver.sequence_max
    if s.receiver.started and s.receiver.ssrc == packet.ssrc and nack_remove(&s.nack, packet.sequence):
        if repaired:
            s.recovered += 1
        else:
            s.receiver.received += 1               # asked for, or merely late: it cannot be told
    elif repaired:
        return 0                                   # nobody misses it: a probe for bandwidth
    else:
        verdict = rtp_receiver_step(&s.receiver, packet)
        if verdict == SOURCE_STALE:
            return bad(ctx, t)
        if verdict == SOURCE_NEW:
            history_clear(s.history)
            s.nack.count = 0
            s.frame_known = 0
            begin_again(t, s)
        else:
            note_gap(ctx, v, t, s, highest, packet)
        rtp_receiver_time(&s.receiver, packet.timestamp, packet.arrival_ns, VIDEO_CLOCK_HZ)
    s.packets += 1
    s.heard_ns = packet.arrival_ns
    s.codec = format.codec
    s.payload_type = packet.payload_type
    rate_add(&s.rate, packet.payload_size, packet.arrival_ns)
    slot = keep(s, packet, e, &facts)
    if slot is NULL:
        ctx.counters.packets_overflow += 1
        return bad(ctx, t)
    if packet.payload_size:
        rate_add(&s.temporal_rates[facts.temporal & (TEMPORAL_MAX - 1)], packet.payload_size, packet.arrival_ns)
        note_frame(t, s, slot)
    viewer = t.viewers
    while viewer is not NULL:
        video_forward(ctx, viewer, s, slot, at)
        viewer = viewer.next_viewer
    if t.tapped:
        video_tap(ctx, v, t, s, packet, repaired)
    return 0


cdef int video_receive(Context* ctx, VideoLeg* v, Packet* packet, int wire_bytes) noexcept nogil:
    cdef Extensions e
    cdef SsrcEntry* entry
    cdef Track* t
    cdef VideoStream* s
    cdef bint repaired
    if extensions_parse(packet, &v.extensions, &e) < 0:
        return -1
    if e.has_transport_cc:
        arrivals_note(&v.arrivals, e.transport_cc, packet.arrival_ns)
        v.arrivals_ssrc = packet.ssrc
    entry = ssrc_find(v, packet.ssrc)
    if entry is NULL:
        entry = learn(v, packet, &e)
        if entry is NULL:
            return -1
    t = v.tracks[entry.place]
    s = &t.streams[entry.layer]
    repaired = entry.rtx
    if not t.setup.receives:
        return -1
    t.packets_received += 1
    t.bytes_received += wire_bytes
    t.heard_ns = packet.arrival_ns
    rate_add(&t.rate, wire_bytes, packet.arrival_ns)
    if not t.active:
        t.active = 1
        track_note(ctx, t, TRACK_ACTIVE)
    if repaired:
        s.rtx_ssrc = packet.ssrc
        if restore(s, t, packet) < 0:
            return 0
    elif s.ssrc != packet.ssrc:
        bind(v, t, s, packet.ssrc)
    return take(ctx, v, t, s, packet, &e, repaired)


cdef void video_overhear(VideoLeg* v, const Packet* packet) noexcept nogil:
    cdef Extensions e
    if extensions_parse(packet, &v.extensions, &e) < 0:
        return
    if e.has_transport_cc:
        arrivals_note(&v.arrivals, e.transport_cc, packet.arrival_ns)
        v.arrivals_ssrc = packet.ssrc


cdef void video_source_tick(Context* ctx, VideoLeg* v, Track* t) noexcept nogil:
    if t.active and ctx.now_ns - t.heard_ns >= INACTIVE_NS:
        t.active = 0
        track_note(ctx, t, TRACK_ACTIVE)
