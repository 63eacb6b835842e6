"""RTCP of one leg, both ways, and the statistics Python reads.

Reports follow RFC 3550 §6.4 and A.3, rtcp-mux RFC 5761. RTCP is believed only from the pinned RTP source's host, from
where SDP said it would come, or when it authenticates; then its own source is pinned. Snapshots are written under a
sequence lock: the reader sees one whole state, the writer never waits.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memset
from mediaserver.ext.atomic cimport fence_release, store_relaxed_32, store_release_32
from mediaserver.ext.canceller cimport canceller_removed_db
from mediaserver.ext.bridge cimport Bridge, bridge_part
from mediaserver.ext.extended cimport extended_publish, extended_receive, extended_send
from mediaserver.ext.fec cimport FEC_LOSS_PERCENT, fec_report
from mediaserver.ext.leg cimport LATCH_PINNED, LegSnapshot, leg_is_source
from mediaserver.ext.linecheck cimport LineCheck
from mediaserver.ext.collide cimport collide
from mediaserver.ext.net cimport address_equal, address_same_host
from mediaserver.ext.outgoing cimport outgoing_control
from mediaserver.ext.pauses cimport pause_report, pauses_ns
from mediaserver.ext.playout cimport playout_stats
from mediaserver.ext.processing cimport LegVoice
from mediaserver.ext.red cimport red_report
from mediaserver.ext.rtcp cimport (
    RTCP_BYTES_MAX,
    RtcpInput,
    RtcpReport,
    ntp_from_wall_ns,
    rtcp_parse,
    rtcp_round_trip_ns,
    rtcp_write,
)
from mediaserver.ext.rtp cimport (
    RtpReceiver,
    rtp_receiver_expected,
    rtp_receiver_highest,
    rtp_sender_extended,
    rtp_sender_now,
)
from mediaserver.ext.srtp cimport SRTP_OK, SRTP_TRAILER_MAX, srtp_unprotect_control
from mediaserver.ext.video_feedback cimport RTCP_RECEIVER_REPORT
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_report cimport video_control
from mediaserver.ext.voice cimport voice_set_fec
from mediaserver.ext.xr cimport xr_loss_add


cdef bint rtcp_admitted(const Leg* leg, const Address* source) noexcept nogil:
    if leg.stream.rtcp_mux:
        if leg.latch == LATCH_PINNED:
            return leg_is_source(leg, source)
        return leg.srtp_receive is not NULL or address_equal(source, &leg.stream.remote)
    if leg.rtcp_pinned:
        return address_equal(source, &leg.rtcp_source)
    if leg.srtp_receive is not NULL:
        return True
    if leg.latch == LATCH_PINNED and address_same_host(source, &leg.source):
        return True
    return address_same_host(source, &leg.stream.remote_rtcp)


cdef void protect(Leg* leg, int fraction, int64_t now_ns) noexcept nogil:
    """In-band FEC of what it is sent, on or off by this report. Its encoder may be one that others share."""
    cdef int density = leg.xr.remote.burst_density if leg.xr.remote.has_voip and leg.xr.remote.burst_ms else 0
    cdef int bitrate_bps = leg.voice.fec_bitrate_bps if leg.voice is not NULL else 0
    cdef bint repeated = leg.red is not NULL and leg.red.levels > 0
    cdef int percent = FEC_LOSS_PERCENT if fec_report(&leg.fec, fraction, density, bitrate_bps, repeated, now_ns) else 0
    if leg.voice is NULL or leg.voice.fec_percent == percent:
        return
    if leg.bridge is not NULL:
        bridge_part(<Bridge*>leg.bridge, leg)
    voice_set_fec(leg.voice, percent)


cdef void report_receive(Context* ctx, Leg* leg, Packet* packet, const Address* source) noexcept nogil:
    cdef RtcpInput got
    cdef int size = packet.size
    cdef int clock_hz
    cdef bint bad = False
    cdef bint reduced = False
    memset(&got, 0, sizeof(got))
    if not rtcp_admitted(leg, source):
        leg.packets_stranger += 1
        ctx.counters.packets_stranger += 1
        return
    if leg.srtp_receive is not NULL:
        if srtp_unprotect_control(leg.srtp_receive, packet.data, &size) != SRTP_OK:
            leg.packets_auth_failed += 1
            ctx.counters.packets_auth_failed += 1
            return
    if leg.video is not NULL:
        bad = video_control(ctx, <VideoLeg*>leg.video, packet.data, size, packet.arrival_ns) < 0
        reduced = size >= 2 and RTCP_RECEIVER_REPORT < packet.data[1]      # RFC 5506: feedback alone
    if bad or (not reduced and rtcp_parse(packet.data, size, leg.sender.ssrc, &got) < 0):
        leg.packets_bad += 1
        ctx.counters.packets_bad += 1
        return
    leg.rtcp_received += 1
    ctx.counters.rtcp_received += 1
    if not leg.stream.rtcp_mux and not leg.rtcp_pinned:
        leg.rtcp_pinned = 1
        leg.rtcp_source = source[0]
    if got.sender_ssrc == leg.sender.ssrc and not reduced:
        collide(ctx, leg, source)
        if not leg.stream.ssrc_fixed:
            return                                 # what it says is of the SSRC we had, or our own words
    if got.has_sr and (leg.video is NULL or got.sender_ssrc == leg.receiver.ssrc):
        leg.last_sr = <uint32_t>(got.sr_ntp >> 16)
        leg.last_sr_ns = packet.arrival_ns
    if leg.packets_received and got.sender_ssrc == leg.receiver.ssrc:
        pause_report(&leg.pauses, got.has_sr, got.sr_packets,
                     rtp_receiver_highest(&leg.receiver) - leg.receiver.sequence_base + 1,
                     packet.arrival_ns - leg.heard_ns)
    if got.has_block:
        leg.remote_fraction = got.fraction_lost
        if leg.red is not NULL:
            red_report(leg.red, got.fraction_lost, ctx.now_ns)
        leg.remote_lost = leg.collisions.lost_before + got.cumulative_lost
        leg.remote_highest = got.highest_sequence
        leg.remote_reporter = got.block_ssrc
        leg.remote_reports += 1
        protect(leg, got.fraction_lost, ctx.now_ns)
        clock_hz = leg.sender.clock_hz if leg.sender.clock_hz > 0 else 8000
        leg.remote_jitter_ns = <int64_t>got.jitter * 1000000000 // clock_hz
        leg.round_trip_ns = rtcp_round_trip_ns(
            ntp_from_wall_ns(packet.arrival_ns + ctx.wall_offset_ns), got.last_sr, got.delay_since_last_sr
        ) or leg.round_trip_ns
    if got.xr_size:
        extended_receive(ctx, leg, packet.data + got.xr_at, got.xr_size, packet.arrival_ns)


cdef void fill_block(Context* ctx, Leg* leg, RtcpReport* report) noexcept nogil:
    """What we received since the last report, RFC 3550 §6.4.1 and A.3."""
    cdef RtpReceiver* r = &leg.receiver
    cdef uint32_t highest = rtp_receiver_highest(r)
    cdef uint32_t expected = highest - r.sequence_base + 1
    cdef int64_t expected_interval = <int64_t>expected - r.expected_prior
    cdef int64_t lost_interval = expected_interval - (<int64_t>r.received - r.received_prior)
    report.has_block = 1
    report.source_ssrc = r.ssrc
    report.highest_sequence = highest
    report.jitter = r.jitter_q4 >> 4
    report.cumulative_lost = <int32_t>(<int64_t>expected - <int64_t>r.received)
    if expected_interval > 0 and lost_interval > 0:
        report.fraction_lost = <int32_t>((lost_interval << 8) // expected_interval)
        if report.fraction_lost > 255:
            report.fraction_lost = 255
    r.expected_prior = expected
    r.received_prior = <uint32_t>r.received
    if leg.last_sr_ns:
        report.last_sr = leg.last_sr
        report.delay_since_last_sr = <uint32_t>(((ctx.now_ns - leg.last_sr_ns) << 16) // 1000000000)


cdef void report_send(Context* ctx, Leg* leg, bint bye) noexcept nogil:
    cdef RtcpReport report
    cdef uint8_t data[RTCP_BYTES_MAX + SRTP_TRAILER_MAX]
    cdef int size
    if not leg.negotiated or leg.destination.size == 0:
        return
    if leg.stream.send_count == 0 and leg.stream.receive_count == 0:
        return                                     # a leg for a track with its own ports: the track reports
    memset(&report, 0, sizeof(report))
    report.ssrc = leg.sender.ssrc
    report.bye = bye
    report.is_sender = leg.sender.packets != leg.rtcp_packets_before[1]
    leg.rtcp_packets_before[1] = leg.rtcp_packets_before[0]
    leg.rtcp_packets_before[0] = leg.sender.packets
    if report.is_sender:
        report.ntp = ntp_from_wall_ns(ctx.now_ns + ctx.wall_offset_ns)
        report.timestamp = rtp_sender_now(&leg.sender, ctx.now_ns, leg.sender.clock_hz)
        report.packets = <uint32_t>(leg.sender.packets - leg.collisions.packets_before)
        report.bytes = <uint32_t>(leg.sender.bytes - leg.collisions.bytes_before)
    if leg.receiver.started:
        fill_block(ctx, leg, &report)
    size = rtcp_write(data, &report, leg.stream.cname)
    if leg.stream.xr or leg.xr.last_rr:
        size += extended_send(ctx, leg, data + size, &report)
    outgoing_control(ctx, leg, data, size)


cdef void report_add_playout(PlayoutStats* total, const PlayoutStats* more) noexcept nogil:
    total.packets_queued += more.packets_queued
    total.packets_late += more.packets_late
    total.packets_duplicate += more.packets_duplicate
    total.packets_reordered += more.packets_reordered
    total.packets_overflow += more.packets_overflow
    total.packets_lost += more.packets_lost
    total.frames_played += more.frames_played
    total.frames_concealed += more.frames_concealed
    total.frames_comfort += more.frames_comfort
    total.stretched_ns += more.stretched_ns
    total.compressed_ns += more.compressed_ns
    total.cut_ns += more.cut_ns
    total.loss_events += more.loss_events
    total.loss_event_packets += more.loss_event_packets
    xr_loss_add(&total.xr, &more.xr)
    total.buffer_delay_ns = more.buffer_delay_ns
    total.buffer_target_ns = more.buffer_target_ns


cdef void fill_playout(Leg* leg, LegSnapshot* s, int64_t now_ns) noexcept nogil:
    cdef PlayoutStats total = leg.playout_before
    if leg.playout is not NULL:
        report_add_playout(&total, playout_stats(leg.playout))
    s.packets_lost = total.packets_lost
    s.packets_late = total.packets_late
    s.packets_duplicate = total.packets_duplicate
    s.packets_reordered = total.packets_reordered
    s.packets_overflow = leg.packets_overflow + total.packets_overflow
    s.frames_played = total.frames_played
    s.frames_concealed = total.frames_concealed
    s.frames_comfort = total.frames_comfort
    s.stretched_ns = total.stretched_ns
    s.compressed_ns = total.compressed_ns
    s.cut_ns = total.cut_ns
    s.loss_events = total.loss_events
    s.loss_event_packets = total.loss_event_packets
    s.buffer_delay_ns = total.buffer_delay_ns
    s.buffer_target_ns = total.buffer_target_ns
    extended_publish(leg, &total, s, now_ns)


cdef void fill_processing(const LegVoice* processing, LegSnapshot* s) noexcept nogil:
    cdef const LineCheck* check = &processing.check
    s.hum_hz = check.hum_hz
    s.hum_dbov = <int32_t>check.hum_dbov
    s.echo_ms = check.echo_ms
    s.echo_loss_db = <int32_t>check.echo_loss_db
    s.echo_removed_db = 0
    if processing.canceller is not NULL:
        s.echo_removed_db = <int32_t>canceller_removed_db(processing.canceller)


cdef void fill_snapshot(Context* ctx, Leg* leg, LegSnapshot* s) noexcept nogil:
    s.at_ns = ctx.now_ns
    s.packets_received = leg.packets_received
    s.bytes_received = leg.bytes_received
    s.packets_sent = leg.sender.packets
    s.bytes_sent = leg.sender.bytes_wire
    s.packets_expected = rtp_receiver_expected(&leg.receiver)
    s.packets_stranger = leg.packets_stranger
    s.packets_bad = leg.packets_bad
    s.packets_auth_failed = leg.packets_auth_failed
    fill_playout(leg, s, ctx.now_ns)
    s.unheard_ns = max(s.unheard_ns, pauses_ns(&leg.pauses, ctx.now_ns - leg.heard_ns if leg.packets_received else 0))
    s.sent_ssrc = leg.sender.ssrc
    s.received_ssrc = leg.receiver.ssrc
    s.ssrc_changes = leg.receiver.ssrc_changes
    if leg.receiver.clock_hz > 0:
        s.jitter_ns = <int64_t>(leg.receiver.jitter_q4 >> 4) * 1000000000 // leg.receiver.clock_hz
    s.level_dbov = -leg.level
    s.talking = leg.speaker.talking
    s.extensions_bad = leg.levels.malformed
    s.ssrc_collisions = leg.collisions.changes
    s.packets_looped = leg.collisions.looped
    s.round_trip_ns = leg.round_trip_ns
    s.remote_fraction = leg.remote_fraction
    s.packets_recovered = leg.packets_recovered
    s.packets_fec = leg.packets_fec
    s.packets_fec_relayed = leg.packets_fec_relayed
    s.remote_packets_lost = leg.remote_lost
    s.remote_highest = leg.remote_highest
    s.remote_reporter = leg.remote_reporter
    s.remote_reports = leg.remote_reports
    s.sent_sequence = rtp_sender_extended(&leg.sender)
    s.fec_on = leg.voice is not NULL and leg.voice.fec_percent > 0 and not leg.sender.feeding
    s.fec_reason = leg.fec.reason
    s.fec_switches = leg.fec.switches
    s.red_levels = s.red_switches = 0
    if leg.red is not NULL:
        s.red_levels, s.red_switches = leg.red.levels, leg.red.switches
    s.remote_jitter_ns = leg.remote_jitter_ns
    s.rtcp_received = leg.rtcp_received
    s.rtcp_sent = leg.rtcp_sent
    s.relayed = leg.relay_to is not NULL and not leg.decoding
    s.codec_id = leg.codec_id
    s.tap_packets = leg.tap_packets
    s.silent = leg.silent
    if leg.processing is not NULL:
        fill_processing(leg.processing, s)
    else:
        s.hum_hz = s.echo_ms = s.echo_removed_db = 0
    if leg.latch == LATCH_PINNED:
        s.source = leg.source
    else:
        s.source.size = 0


cdef void report_publish(Context* ctx, Leg* leg) noexcept nogil:
    cdef uint32_t sequence = leg.snapshot_sequence
    store_relaxed_32(&leg.snapshot_sequence, sequence + 1)
    fence_release()
    fill_snapshot(ctx, leg, &leg.snapshot)
    store_release_32(&leg.snapshot_sequence, sequence + 2)
