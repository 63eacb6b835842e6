"""RTCP extended reports of one leg, both ways: RFC 3611 and RFC 7294.

Owns what goes into a report and what is kept of the peer's. Loss is what was lost to the listener: packets that never
came and packets that came too late. R and MOS are said for G.711 only, whose factors ITU-T G.113 publishes; for other
codecs they are "unavailable", as nothing stands behind a number.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from mediaserver.codecs.audio cimport CODEC_PCMA, CODEC_PCMU
from mediaserver.ext.concealment cimport (
    ADJUSTED_MS,
    CONCEALED_MS,
    CONCEALED_S,
    INTERRUPTS,
    ON_TIME_MS,
    SEVERE_S,
    UNIMPAIRED_S,
    made_up_take,
)
from mediaserver.ext.playout cimport playout_stats
from mediaserver.ext.rtcp cimport ntp_from_wall_ns, rtcp_round_trip_ns
from mediaserver.ext.rtp cimport rtp_receiver_expected
from mediaserver.ext.xr cimport (
    XR_CONCEALMENT,
    XR_REFERENCE_TIME,
    XR_SUMMARY,
    XR_UNAVAILABLE,
    XR_VOIP,
    XrInput,
    XrReport,
    xr_bursts,
    xr_delay_cost,
    xr_listening_r,
    xr_loss_add,
    xr_mos,
    xr_read,
    xr_second,
    xr_write,
)

cdef enum:
    MS = 1000000
    FRAME_MS = 20
    REFERENCE_S_MAX = 60               # RFC 3611 §4.5: a reference time older than this is answered no more


cdef void extended_receive(Context* ctx, Leg* leg, const uint8_t* data, int size, int64_t arrival_ns) noexcept nogil:
    cdef XrInput got
    cdef XrInput* kept = &leg.xr.remote
    memset(&got, 0, sizeof(got))
    xr_read(data, size, leg.sender.ssrc, &got)
    if got.has_reference:
        leg.xr.last_rr = got.reference
        leg.xr.last_rr_ns = arrival_ns
    if got.has_delay:
        leg.round_trip_ns = rtcp_round_trip_ns(
            ntp_from_wall_ns(arrival_ns + ctx.wall_offset_ns), got.last_rr, got.delay_since_last_rr
        ) or leg.round_trip_ns
    made_up_take(&leg.xr.made_up, &got.made_up, got.reporter, arrival_ns)
    if got.has_voip:
        leg.xr.voip_sent = leg.sender.packets
        leg.xr.voip_reports += 1
        got.has_summary = kept.has_summary
        got.summary_lost = kept.summary_lost
        got.summary_duplicate = kept.summary_duplicate
        kept[0] = got
    elif got.has_summary:
        kept.has_summary = 1
        kept.summary_lost = got.summary_lost
        kept.summary_duplicate = got.summary_duplicate


cdef void fill_rating(const Leg* leg, const PlayoutStats* total, XrReport* r) noexcept nogil:
    cdef double loss, ratio = 1.0, listening
    r.r = r.mos_lq10 = r.mos_cq10 = XR_UNAVAILABLE
    if not r.expected or (leg.codec_id != CODEC_PCMU and leg.codec_id != CODEC_PCMA):
        return
    loss = <double>(r.lost_all + r.discarded_all) / r.expected
    if loss > 1:
        loss = 1
    if total.loss_events > 1 and loss < 1:
        ratio = <double>total.loss_event_packets / total.loss_events * (1 - loss)
    listening = xr_listening_r(loss, ratio if ratio > 1 else 1.0)
    r.mos_lq10 = <int32_t>(xr_mos(listening - xr_delay_cost(0)) * 10 + 0.5)
    listening -= xr_delay_cost(r.end_system_ms + r.round_trip_ms / 2)
    r.mos_cq10 = <int32_t>(xr_mos(listening) * 10 + 0.5)
    r.r = <int32_t>(0 if listening < 0 else (100 if listening > 100 else listening + 0.5))


cdef void fill_summary(Leg* leg, const PlayoutStats* total, XrReport* r) noexcept nogil:
    if not leg.xr.highest_before:
        leg.xr.highest_before = leg.receiver.sequence_base
    r.begin_sequence = <uint16_t>(leg.xr.highest_before + 1)
    r.end_sequence = <uint16_t>(r.highest_sequence + 1)
    if total.packets_lost > leg.xr.lost_before:
        r.lost = <uint32_t>(total.packets_lost - leg.xr.lost_before)
    if total.packets_duplicate > leg.xr.duplicate_before:
        r.duplicate = <uint32_t>(total.packets_duplicate - leg.xr.duplicate_before)
    leg.xr.highest_before = r.highest_sequence
    leg.xr.lost_before = total.packets_lost
    leg.xr.duplicate_before = total.packets_duplicate


cdef void fill_concealment(const Leg* leg, const PlayoutStats* total, XrReport* r) noexcept nogil:
    if total.frames_played > total.frames_concealed:
        r.on_time_ms = FRAME_MS * (total.frames_played - total.frames_concealed)
    r.concealed_ms = FRAME_MS * total.frames_concealed
    r.adjusted_ms = <uint32_t>(total.stretched_ns // MS)
    r.interrupts = total.loss_events
    if total.loss_events:
        r.interrupt_ms = r.concealed_ms // total.loss_events
    r.seconds_unimpaired = leg.xr.seconds.unimpaired
    r.seconds_concealed = leg.xr.seconds.concealed
    r.seconds_severe = leg.xr.seconds.severe


cdef void fill_received(Leg* leg, XrReport* r) noexcept nogil:
    cdef PlayoutStats total = leg.playout_before
    cdef const PlayoutStats* present
    if leg.playout is not NULL:
        present = playout_stats(leg.playout)
        xr_loss_add(&total.xr, &present.xr)
        total.packets_lost += present.packets_lost
        total.packets_late += present.packets_late
        total.packets_overflow += present.packets_overflow
        total.packets_duplicate += present.packets_duplicate
        total.frames_played += present.frames_played
        total.frames_concealed += present.frames_concealed
        total.stretched_ns += present.stretched_ns
        total.loss_events += present.loss_events
        total.loss_event_packets += present.loss_event_packets
        total.buffer_delay_ns = present.buffer_delay_ns
        total.buffer_target_ns = present.buffer_target_ns
    r.session_ns = <int64_t>FRAME_MS * MS * total.frames_played
    r.expected = rtp_receiver_expected(&leg.receiver)
    r.lost_all = total.packets_lost
    r.discarded_all = total.packets_late + total.packets_overflow + leg.packets_overflow
    xr_bursts(&total.xr, &r.bursts)
    r.round_trip_ms = <int32_t>(leg.round_trip_ns // MS)
    # Buffer, the packet being played, and our own packetisation on the way back.
    r.end_system_ms = <int32_t>(total.buffer_delay_ns // MS) + 2 * FRAME_MS
    r.buffer_nominal_ms = <int32_t>(total.buffer_target_ns // MS)
    r.buffer_max_ms = r.buffer_nominal_ms + FRAME_MS
    fill_rating(leg, &total, r)
    fill_summary(leg, &total, r)
    fill_concealment(leg, &total, r)


cdef int extended_send(Context* ctx, Leg* leg, uint8_t* out, const RtcpReport* report) noexcept nogil:
    cdef XrReport r
    memset(&r, 0, sizeof(r))
    r.ssrc = report.ssrc
    r.source_ssrc = leg.receiver.ssrc
    r.blocks = leg.stream.xr & XR_REFERENCE_TIME
    r.ntp = ntp_from_wall_ns(ctx.now_ns + ctx.wall_offset_ns)
    if leg.xr.last_rr and ctx.now_ns - leg.xr.last_rr_ns < <int64_t>REFERENCE_S_MAX * 1000 * MS:
        r.last_rr = leg.xr.last_rr
        r.delay_since_last_rr = <uint32_t>(((ctx.now_ns - leg.xr.last_rr_ns) << 16) // 1000000000)
    if report.has_block:
        r.blocks |= leg.stream.xr & (XR_SUMMARY | XR_VOIP | XR_CONCEALMENT)
        r.highest_sequence = report.highest_sequence
        fill_received(leg, &r)
    return xr_write(out, &r)


cdef void publish_made_up(const Leg* leg, LegSnapshot* s) noexcept nogil:
    cdef const uint64_t* total = leg.xr.made_up.total
    s.far_parts = leg.xr.made_up.parts
    s.far_on_time_ms = total[ON_TIME_MS]
    s.far_concealed_ms = total[CONCEALED_MS]
    s.far_adjusted_ms = total[ADJUSTED_MS]
    s.far_interrupts = total[INTERRUPTS]
    s.far_unimpaired_s = total[UNIMPAIRED_S]
    s.far_concealed_s = total[CONCEALED_S]
    s.far_severe_s = total[SEVERE_S]


cdef void extended_publish(Leg* leg, const PlayoutStats* total, LegSnapshot* s, int64_t now_ns) noexcept nogil:
    cdef const XrInput* x = &leg.xr.remote
    publish_made_up(leg, s)
    xr_second(&leg.xr.seconds, total.frames_played, total.frames_concealed, now_ns)
    s.dropouts = total.xr.dropouts
    s.dropout_ns = total.xr.dropout_ns
    s.seconds_concealed = leg.xr.seconds.concealed
    s.seconds_severe = leg.xr.seconds.severe
    s.frames_clipped = leg.frames_clipped
    s.xr_known = x.has_voip
    if not x.has_voip:
        s.xr_r = s.xr_mos_lq10 = s.xr_mos_cq10 = XR_UNAVAILABLE
        return
    s.xr_loss_rate = x.loss_rate
    s.xr_reporter = x.reporter
    s.xr_reports = leg.xr.voip_reports
    s.xr_sent = leg.xr.voip_sent
    s.xr_discard_rate = x.discard_rate
    s.xr_burst_density = x.burst_density
    s.xr_gap_density = x.gap_density
    s.xr_burst_ms = x.burst_ms
    s.xr_gap_ms = x.gap_ms
    s.xr_end_system_ms = x.end_system_ms
    s.xr_buffer_ms = x.buffer_nominal_ms
    s.xr_r = x.r
    s.xr_mos_lq10 = x.mos_lq10
    s.xr_mos_cq10 = x.mos_cq10
