"""RTCP of tracks: reports, requests for packets and key frames; and what peers report and request.

Follows RFC 3550 §6.4, RFC 4585, RFC 5104 and RFC 5506. Requests for key frames by any number of viewers become one per
stream and KEY_FRAME_INTERVAL_NS. Sender reports map the outgoing timestamps to our clock such that the pictures of a
source lie as its sound does (see video_clock.pyx).
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from mediaserver.ext.outgoing cimport outgoing_control
from mediaserver.ext.rtcp cimport ntp_from_wall_ns, rtcp_round_trip_ns
from mediaserver.ext.rtp cimport RtpReceiver, read_be32, rtp_receiver_highest, write_be16, write_be32
from mediaserver.ext.srtp cimport SRTP_TRAILER_MAX
from mediaserver.ext.context cimport context_random
from mediaserver.ext.video_feedback cimport (
    FEEDBACK_APPLICATION,
    FEEDBACK_FIR,
    FEEDBACK_NACK,
    FEEDBACK_PLI,
    FEEDBACK_TRANSPORT,
    NACK_SEQUENCES_MAX,
    RTCP_GOODBYE,
    RTCP_PAYLOAD_FEEDBACK,
    RTCP_RECEIVER_REPORT,
    RTCP_SENDER_REPORT,
    RTCP_TRANSPORT_FEEDBACK,
    RtcpPart,
    TransportReport,
    read_fir,
    read_nack,
    read_remb,
    read_transport,
    rtcp_next,
    write_empty_report,
    write_fir,
    write_nack,
    write_pli,
    write_remb,
)
from mediaserver.ext.video_arrivals cimport Arrivals, arrivals_write
from mediaserver.ext.video_clock cimport video_sender_time
from mediaserver.ext.video_estimate cimport ESTIMATE_BPS_MAX, estimate_feedback
from mediaserver.ext.video_forward cimport video_send_again
from mediaserver.ext.video_leg cimport video_due
from mediaserver.ext.video_nack cimport nack_due
from mediaserver.ext.video_track cimport LAYERS_MAX, NO_LAYER, TRACK_KEY_FRAME, VideoStream, track_note

cdef enum:
    CONTROL_BYTES = 1200
    BLOCK_BYTES = 24
    ARRIVALS_NS = 50000000             # feedback about what comes, as often as browsers give it
    CAP_NS = 500000000
    REPORT_NS = 1000000000             # RFC 3550 §6.2 lets video report more often than every 5 s: A/V sync needs it
    KEY_FRAME_INTERVAL_NS = 500000000
    ROUND_TRIP_UNKNOWN_NS = 100000000
    SR_BYTES = 28


# --- in

cdef void take_block(Context* ctx, VideoLeg* v, const uint8_t* p, int64_t arrival_ns) noexcept nogil:
    cdef uint32_t ssrc = read_be32(p)
    cdef int64_t round_trip_ns
    cdef Track* t
    cdef int i
    for i in range(v.track_count):
        if v.ssrcs[i] == ssrc:
            t = v.tracks[i]
            t.remote_fraction = p[4]
            t.remote_jitter_ns = <int64_t>read_be32(p + 12) * 100000 // 9
            round_trip_ns = rtcp_round_trip_ns(ntp_from_wall_ns(arrival_ns + ctx.wall_offset_ns), read_be32(p + 16),
                                               read_be32(p + 20))
            if round_trip_ns:
                t.round_trip_ns = round_trip_ns
            return


cdef int take_report(Context* ctx, VideoLeg* v, const RtcpPart* part, int64_t arrival_ns) noexcept nogil:
    cdef int at = 8 if part.kind == RTCP_RECEIVER_REPORT else SR_BYTES
    cdef uint32_t ssrc
    cdef VideoStream* s
    cdef int i
    cdef int k
    if at + part.count * BLOCK_BYTES > part.size:
        return -1
    for i in range(part.count):
        take_block(ctx, v, part.data + at + i * BLOCK_BYTES, arrival_ns)
    if part.kind == RTCP_RECEIVER_REPORT:
        return 0
    ssrc = read_be32(part.data + 4)
    if ssrc == v.leg.receiver.ssrc:
        v.audio_report_ntp = (<uint64_t>read_be32(part.data + 8) << 32) | read_be32(part.data + 12)
        v.audio_report_timestamp = read_be32(part.data + 16)
        v.audio_report_ns = arrival_ns
        return 0
    for i in range(v.track_count):
        for k in range(LAYERS_MAX):
            s = &v.tracks[i].streams[k]
            if s.ssrc == ssrc and ssrc:
                s.report_known = 1
                s.report_ntp = (<uint64_t>read_be32(part.data + 8) << 32) | read_be32(part.data + 12)
                s.report_timestamp = read_be32(part.data + 16)
                s.report_ns = arrival_ns
                return 0
    return 0


cdef Track* ours(VideoLeg* v, uint32_t ssrc) noexcept nogil:
    cdef int i
    for i in range(v.track_count):
        if v.ssrcs[i] == ssrc or v.rtx_ssrcs[i] == ssrc:
            return v.tracks[i]
    return NULL


cdef void want_key_frame(Context* ctx, Track* viewer) noexcept nogil:
    """A viewer cannot go on: its present stream, or the one it waits for, is asked for a key frame."""
    cdef Track* source = viewer.source
    cdef int layer = viewer.sink.target if viewer.sink.target != NO_LAYER else viewer.sink.current
    viewer.plis_received += 1
    if source is NULL or layer == NO_LAYER:
        return
    source.streams[layer].key_wanted = 1
    video_due(ctx, <VideoLeg*>source.leg.video, ctx.now_ns)


cdef int take_nack(Context* ctx, VideoLeg* v, const RtcpPart* part) noexcept nogil:
    cdef uint16_t sequences[NACK_SEQUENCES_MAX]
    cdef int count = read_nack(part, sequences, NACK_SEQUENCES_MAX)
    cdef Track* t
    cdef int i
    if count < 0:
        return -1
    t = ours(v, read_be32(part.data + 8))
    if t is NULL or not t.setup.nack:
        return 0
    t.nacks_received += count
    for i in range(count):
        video_send_again(ctx, t, sequences[i])
    return 0


cdef int take_feedback(Context* ctx, VideoLeg* v, const RtcpPart* part, int64_t arrival_ns) noexcept nogil:
    cdef TransportReport report
    cdef uint32_t ssrcs[16]
    cdef int64_t bps
    cdef Track* t
    cdef int count
    cdef int i
    if part.size < 12:
        return -1
    if part.kind == RTCP_TRANSPORT_FEEDBACK:
        if part.count == FEEDBACK_NACK:
            return take_nack(ctx, v, part)
        if part.count == FEEDBACK_TRANSPORT:
            if read_transport(part, &report) < 0:
                return -1
            estimate_feedback(&v.estimator, &report, arrival_ns)
        return 0
    if part.count == FEEDBACK_PLI:
        t = ours(v, read_be32(part.data + 8))
        if t is not NULL:
            want_key_frame(ctx, t)
    elif part.count == FEEDBACK_FIR:
        count = read_fir(part, ssrcs, 16)
        for i in range(count):
            t = ours(v, ssrcs[i])
            if t is not NULL:
                want_key_frame(ctx, t)
        return 0 if count >= 0 else -1
    elif part.count == FEEDBACK_APPLICATION:
        bps = read_remb(part)
        if bps > 0:
            v.remb_bps = bps if bps < ESTIMATE_BPS_MAX else ESTIMATE_BPS_MAX       # it may say 2^58: no sum survives
            v.remb_ns = arrival_ns
    return 0


cdef int video_control(Context* ctx, VideoLeg* v, const uint8_t* data, int size, int64_t arrival_ns) noexcept nogil:
    cdef RtcpPart part
    cdef int at = 0
    cdef int got
    while True:
        got = rtcp_next(data, size, &at, &part)
        if got <= 0:
            return got
        if part.kind == RTCP_SENDER_REPORT or part.kind == RTCP_RECEIVER_REPORT:
            if part.size < 8 or take_report(ctx, v, &part, arrival_ns) < 0:
                return -1
        elif part.kind == RTCP_TRANSPORT_FEEDBACK or part.kind == RTCP_PAYLOAD_FEEDBACK:
            if take_feedback(ctx, v, &part, arrival_ns) < 0:
                return -1


# --- out

cdef int begin(VideoLeg* v, Track* t, uint8_t* data) noexcept nogil:
    """What a feedback packet must begin with: nothing where reduced size was agreed."""
    return 0 if t.setup.reduced_size else write_empty_report(data, t.ssrc, v.leg.stream.cname)


cdef void ask_key_frame(Context* ctx, VideoLeg* v, Track* t, VideoStream* s) noexcept nogil:
    cdef uint8_t data[CONTROL_BYTES]
    cdef int size
    if s.key_asked_ns and ctx.now_ns - s.key_asked_ns < KEY_FRAME_INTERVAL_NS:
        video_due(ctx, v, s.key_asked_ns + KEY_FRAME_INTERVAL_NS)
        return
    if not t.setup.pli and not t.setup.fir:
        track_note(ctx, t, TRACK_KEY_FRAME)
    elif s.ssrc == 0:
        return                                     # nobody to ask yet; asked as soon as its first packet shows it
    else:
        size = begin(v, t, data)
        if t.setup.pli:
            size += write_pli(data + size, t.ssrc, s.ssrc)
        else:
            size += write_fir(data + size, t.ssrc, s.ssrc, s.key_number)
            s.key_number += 1
        if outgoing_control(ctx, v.leg, data, size) < 0:
            return
    t.key_frames_asked += 1
    s.key_wanted = 0
    s.key_pending = 1
    s.key_asked_ns = ctx.now_ns


cdef void ask_packets(Context* ctx, VideoLeg* v, Track* t, VideoStream* s) noexcept nogil:
    cdef uint16_t missing[NACK_SEQUENCES_MAX]
    cdef uint8_t data[CONTROL_BYTES + SRTP_TRAILER_MAX]
    cdef int64_t round_trip_ns = t.round_trip_ns or v.leg.round_trip_ns or ROUND_TRIP_UNKNOWN_NS
    cdef int given_up = 0
    cdef int count = nack_due(&s.nack, ctx.now_ns, round_trip_ns, missing, NACK_SEQUENCES_MAX, &given_up)
    cdef int size
    if given_up:
        s.lost += given_up
        s.key_wanted = 1
    if count:
        size = begin(v, t, data)
        size += write_nack(data + size, t.ssrc, s.ssrc, missing, count)
        outgoing_control(ctx, v.leg, data, size)
        t.nacks_sent += count
    if s.nack.count:
        video_due(ctx, v, ctx.now_ns + 10000000)


cdef void video_ask(Context* ctx, VideoLeg* v, Track* t) noexcept nogil:
    cdef VideoStream* s
    cdef int i
    for i in range(LAYERS_MAX):
        s = &t.streams[i]
        if s.nack.count:
            ask_packets(ctx, v, t, s)
        if s.key_pending and ctx.now_ns - s.key_asked_ns >= KEY_FRAME_INTERVAL_NS:
            s.key_pending = 0                      # it did not come: whoever still waits asks again
        if s.key_wanted and (t.viewers is not NULL or t.tapped) or s.key_wanted == 2:
            ask_key_frame(ctx, v, t, s)


cdef void video_tell_arrivals(Context* ctx, VideoLeg* v) noexcept nogil:
    cdef uint8_t data[CONTROL_BYTES + SRTP_TRAILER_MAX]
    cdef Arrivals* a = &v.arrivals
    cdef int size
    cdef int written
    if not a.started or a.next == a.end or ctx.now_ns - a.told_ns < ARRIVALS_NS or v.track_count == 0:
        return
    size = begin(v, v.tracks[0], data)
    written = arrivals_write(a, data + size, CONTROL_BYTES - size, v.tracks[0].ssrc, v.arrivals_ssrc, ctx.now_ns)
    if written:
        outgoing_control(ctx, v.leg, data, size + written)


cdef void video_cap(Context* ctx, VideoLeg* v, Track* t, int64_t bps) noexcept nogil:
    cdef uint8_t data[CONTROL_BYTES + SRTP_TRAILER_MAX]
    cdef int64_t since_ns = ctx.now_ns - t.cap_ns
    cdef int size
    if not t.setup.remb or t.streams[0].ssrc == 0 or (bps == t.cap_bps and bps == UNCAPPED_BPS):
        return
    if since_ns < CAP_NS and (bps * 100 > t.cap_bps * 95 or since_ns < CAP_NS // 5):
        return
    t.cap_ns = ctx.now_ns
    t.cap_bps = bps
    size = begin(v, t, data)
    size += write_remb(data + size, t.ssrc, bps, &t.streams[0].ssrc, 1)
    outgoing_control(ctx, v.leg, data, size)


cdef int write_block(uint8_t* p, VideoStream* s, int64_t now_ns) noexcept nogil:
    cdef RtpReceiver* r = &s.receiver
    cdef uint32_t highest = rtp_receiver_highest(r)
    cdef uint32_t expected = highest - r.sequence_base + 1
    cdef int64_t expected_interval = <int64_t>expected - r.expected_prior
    cdef int64_t lost_interval = expected_interval - (<int64_t>r.received - r.received_prior)
    cdef int64_t lost = <int64_t>expected - <int64_t>r.received
    cdef uint32_t fraction = 0
    if expected_interval > 0 and lost_interval > 0:
        fraction = <uint32_t>((lost_interval << 8) // expected_interval)
    lost = -0x800000 if lost < -0x800000 else (0x7FFFFF if lost > 0x7FFFFF else lost)
    write_be32(p, s.ssrc)
    write_be32(p + 4, ((fraction if fraction < 255 else 255) << 24) | (<uint32_t>lost & 0xFFFFFF))
    write_be32(p + 8, highest)
    write_be32(p + 12, r.jitter_q4 >> 4)
    write_be32(p + 16, <uint32_t>(s.report_ntp >> 16) if s.report_known else 0)
    write_be32(p + 20, <uint32_t>(((now_ns - s.report_ns) << 16) // 1000000000) if s.report_known else 0)
    r.expected_prior = expected
    r.received_prior = <uint32_t>r.received
    return BLOCK_BYTES


cdef int write_sender(Context* ctx, Track* t, uint8_t* p) noexcept nogil:
    cdef uint64_t ntp = ntp_from_wall_ns(ctx.now_ns + ctx.wall_offset_ns)
    write_be32(p, <uint32_t>(ntp >> 32))
    write_be32(p + 4, <uint32_t>ntp)
    write_be32(p + 8, video_sender_time(ctx, t))
    write_be32(p + 12, <uint32_t>t.sink.packets)
    write_be32(p + 16, <uint32_t>t.sink.payload_bytes)
    return 20


cdef void video_report(Context* ctx, VideoLeg* v, Track* t, bint bye) noexcept nogil:
    cdef uint8_t data[CONTROL_BYTES + SRTP_TRAILER_MAX]
    cdef uint8_t name[128]
    cdef bint sends
    cdef int blocks = 0
    cdef int size = 8
    cdef int named
    cdef int i
    if ctx.now_ns < t.report_next_ns and not bye:
        return
    # Half to one and a half of the interval, so that reports of many legs spread out (RFC 3550 §6.3.1).
    t.report_next_ns = ctx.now_ns + REPORT_NS // 2 + ((<int64_t>REPORT_NS * (context_random(ctx) >> 12)) >> 20)
    sends = t.sink.started and t.sink.packets != t.report_packets
    t.report_packets = t.sink.packets
    if sends:
        size += write_sender(ctx, t, data + size)
    for i in range(LAYERS_MAX):
        if t.streams[i].ssrc and t.streams[i].receiver.started:
            size += write_block(data + size, &t.streams[i], ctx.now_ns)
            blocks += 1
    if not sends and not blocks and not bye:
        return
    data[0] = <uint8_t>(0x80 | blocks)
    data[1] = RTCP_SENDER_REPORT if sends else RTCP_RECEIVER_REPORT
    write_be16(data + 2, size // 4 - 1)
    write_be32(data + 4, t.ssrc)
    named = write_empty_report(name, t.ssrc, v.leg.stream.cname)
    for i in range(8, named):                      # the SDES part of it
        data[size + i - 8] = name[i]
    size += named - 8
    if bye:
        data[size] = 0x81
        data[size + 1] = RTCP_GOODBYE
        write_be16(data + size + 2, 1)
        write_be32(data + size + 4, t.ssrc)
        size += 8
    outgoing_control(ctx, v.leg, data, size)
