"""A track's life: made, set, connected to its viewers, published. Packets: see video_source and video_forward."""

from libc.stdlib cimport calloc, free
from libc.string cimport memset
from mediaserver.ext.atomic cimport fence_release, fetch_or_32, store_relaxed_32, store_release_32
from mediaserver.ext.channel cimport CHANGED_VIDEO, Message, message_push
from mediaserver.ext.video_history cimport history_clear, history_free
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_payload cimport VIDEO_H264
from mediaserver.ext.video_rate cimport rate_bps

cdef enum:
    VIDEO_CLOCK_HZ = 90000
    ALIVE_NS = 1000000000
    OVERTAKEN_NS = 600000000           # a stream silent so long while others of the same camera go on was dropped


cdef Track* track_new(int id, uint32_t ssrc, uint32_t rtx_ssrc, uint16_t sequence, uint16_t rtx_sequence,
                      uint32_t timestamp) noexcept nogil:
    cdef Track* t = <Track*>calloc(1, sizeof(Track))
    cdef int i
    if t is NULL:
        return NULL
    t.id = id
    t.ssrc = ssrc
    t.rtx_ssrc = rtx_ssrc
    t.remote_fraction = -1
    t.told_layer = NO_LAYER
    t.sink.sequence = sequence
    t.sink.rtx_sequence = rtx_sequence
    t.sink.timestamp = timestamp
    t.sink.pinned = NO_LAYER
    t.sink.target = NO_LAYER
    t.sink.current = NO_LAYER
    t.sink.target_temporal = TEMPORAL_MAX - 1
    t.sink.current_temporal = TEMPORAL_MAX - 1
    for i in range(SENT_MAX):
        t.sink.sent[i].layer = NO_LAYER
    for i in range(LAYERS_MAX):
        t.streams[i].layer = i
        t.snapshot.layer_bps[i] = -1
    t.snapshot.remote_fraction = -1
    t.snapshot.layer = NO_LAYER
    return t


cdef void track_free(Track* t) noexcept nogil:
    cdef int i
    if t is NULL:
        return
    for i in range(LAYERS_MAX):
        history_free(t.streams[i].history)
    free(t)


cdef void track_change_free(TrackChange* change) noexcept nogil:
    cdef int i
    if change is NULL:
        return
    for i in range(LAYERS_MAX):
        history_free(change.histories[i])
    free(change)


cdef bint carries(const VideoFormat* heard, const VideoFormat* sent) noexcept nogil:
    if heard.codec != sent.codec or heard.profile != sent.profile:
        return False
    # RFC 6184 §8.2.2: who takes single NAL units only (mode 0) can do nothing with fragments.
    return heard.codec != VIDEO_H264 or heard.mode == sent.mode or sent.mode == 1


cdef void match_formats(Track* sink) noexcept nogil:
    """Which of its own formats says what each of the source's says; the same profile first, else the same codec."""
    cdef const TrackSetup* from_ = &sink.source.setup
    cdef const VideoFormat* sent
    cdef int i
    cdef int k
    memset(sink.sink.format_at, 0, sizeof(sink.sink.format_at))
    for i in range(from_.receive_count):
        for k in range(sink.setup.send_count):
            if carries(&from_.receive[i], &sink.setup.send[k]):
                sink.sink.format_at[i] = <uint8_t>(k + 1)
                break
        else:
            for k in range(sink.setup.send_count):
                sent = &sink.setup.send[k]
                # H.264 decoders take more profiles than they name; VP9 and AV1 profiles are other bit depths.
                if sent.codec == VIDEO_H264 and from_.receive[i].codec == VIDEO_H264 and (
                        sent.mode >= from_.receive[i].mode):
                    sink.sink.format_at[i] = <uint8_t>(k + 1)
                    break


cdef void stop_feed(Track* sink) noexcept nogil:
    sink.sink.feeding = 0
    sink.sink.current = NO_LAYER
    sink.sink.target = NO_LAYER
    sink.sink.chosen_ns = 0
    sink.sink.misfit_ns = 0


cdef void track_connect(Track* sink, Track* source) noexcept nogil:
    cdef int i
    if sink.source is source:
        return
    if sink.source is not NULL:
        if sink.previous_viewer is not NULL:
            sink.previous_viewer.next_viewer = sink.next_viewer
        else:
            sink.source.viewers = sink.next_viewer
        if sink.next_viewer is not NULL:
            sink.next_viewer.previous_viewer = sink.previous_viewer
    stop_feed(sink)
    # What is kept for sending again is made from the source's history: it is somebody else's now.
    for i in range(SENT_MAX):
        sink.sink.sent[i].layer = NO_LAYER
    sink.source = source
    sink.previous_viewer = NULL
    sink.next_viewer = NULL
    if source is not NULL:
        sink.next_viewer = source.viewers
        if source.viewers is not NULL:
            source.viewers.previous_viewer = sink
        source.viewers = sink
        match_formats(sink)


cdef void track_disconnect(Track* t) noexcept nogil:
    while t.viewers is not NULL:
        track_connect(t.viewers, NULL)
    track_connect(t, NULL)


cdef void track_set(Track* t, TrackChange* change) noexcept nogil:
    cdef Track* viewer = t.viewers
    cdef int i
    t.setup = change.setup
    if change.replace_histories:
        for i in range(LAYERS_MAX):
            t.streams[i].history, change.histories[i] = change.histories[i], t.streams[i].history
            track_reset_stream(&t.streams[i])
    while viewer is not NULL:
        match_formats(viewer)
        if change.replace_histories:
            stop_feed(viewer)
        viewer = viewer.next_viewer
    if t.source is not NULL:
        match_formats(t)
    if not t.setup.sends:
        stop_feed(t)


cdef void track_reset_stream(VideoStream* s) noexcept nogil:
    """As if nothing had come yet. The counters stay."""
    if s.history is not NULL:
        history_clear(s.history)
    s.ssrc = 0
    s.rtx_ssrc = 0
    s.nack.count = 0
    s.frame_known = 0
    s.temporal_layers = 0
    s.report_known = 0
    s.arrival_ns = 0
    memset(&s.rate, 0, sizeof(s.rate))
    memset(s.temporal_rates, 0, sizeof(s.temporal_rates))


cdef int64_t track_taken_ns(const VideoStream* s, uint32_t timestamp) noexcept nogil:
    if not s.report_known:
        return 0
    return ntp_ns(s.report_ntp) + <int64_t>(<int32_t>(timestamp - s.report_timestamp)) * 1000000000 // VIDEO_CLOCK_HZ


cdef bint track_layer_lives(const Track* t, int layer, int64_t now_ns) noexcept nogil:
    cdef const VideoStream* s = &t.streams[layer]
    return s.ssrc and now_ns - s.heard_ns < ALIVE_NS and t.heard_ns - s.heard_ns < OVERTAKEN_NS


cdef void fill(Track* t, TrackSnapshot* s, int64_t now_ns) noexcept nogil:
    cdef const VideoStream* heard
    cdef int i
    s.at_ns = now_ns
    s.packets_received = t.packets_received
    s.bytes_received = t.bytes_received
    s.packets_lost = 0
    s.packets_recovered = 0
    for i in range(LAYERS_MAX):
        heard = &t.streams[i]
        s.packets_lost += heard.lost
        s.packets_recovered += heard.recovered
        s.layer_bps[i] = rate_bps(&t.streams[i].rate, now_ns) if track_layer_lives(t, i, now_ns) else -1
        if heard.ssrc and heard.receiver.clock_hz > 0:
            s.jitter_ns = <int64_t>(heard.receiver.jitter_q4 >> 4) * 1000000000 // heard.receiver.clock_hz
            s.codec = heard.codec
    s.packets_bad = t.packets_bad
    s.frames_received = t.frames_received
    s.key_frames_received = t.key_frames_received
    s.nacks_sent = t.nacks_sent
    s.key_frames_asked = t.key_frames_asked
    s.bitrate_received_bps = rate_bps(&t.rate, now_ns)
    s.packets_sent = t.sink.packets
    s.bytes_sent = t.sink.bytes
    s.frames_sent = t.sink.frames
    s.packets_retransmitted = t.sink.rtx_packets
    s.packets_dropped = t.sink.dropped
    s.nacks_received = t.nacks_received
    s.plis_received = t.plis_received
    s.bitrate_sent_bps = rate_bps(&t.sink.rate, now_ns)
    s.layer = t.sink.current
    s.remote_fraction = t.remote_fraction
    s.remote_jitter_ns = t.remote_jitter_ns
    s.round_trip_ns = t.round_trip_ns


cdef void track_publish(Track* t, int64_t now_ns) noexcept nogil:
    cdef uint32_t sequence = t.snapshot_sequence
    store_relaxed_32(&t.snapshot_sequence, sequence + 1)
    fence_release()
    fill(t, &t.snapshot, now_ns)
    store_release_32(&t.snapshot_sequence, sequence + 2)


cdef void track_note(Context* ctx, Track* t, uint32_t bits) noexcept nogil:
    cdef VideoLeg* v = <VideoLeg*>t.leg.video
    cdef Message note
    fetch_or_32(&t.changes, bits)
    if fetch_or_32(&v.changes, 1):
        return
    memset(&note, 0, sizeof(note))
    note.kind = CHANGED_VIDEO
    note.handle = t.leg.handle
    if message_push(&ctx.changes, &note) < 0:
        ctx.counters.events_dropped += 1
    ctx.spoke = 1
