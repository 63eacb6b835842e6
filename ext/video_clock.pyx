"""The common clock of a source's sound and pictures (RFC 3550 §6.4.1).

A viewer's sound has its timestamps mapped to our clock by when we send it; its pictures must be mapped the same way.
The sender's own reports tie both to one clock of the sender: when the sound of that moment left us tells what that
moment is by ours. Without reports, or without sound, a picture counts as taken when its first packet came.
"""

from libc.stdint cimport int32_t, int64_t
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.playout cimport playout_stats
from mediaserver.ext.rtp cimport rtp_units
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport NO_LAYER, VideoStream, ntp_ns, track_taken_ns

cdef enum:
    VIDEO_CLOCK_HZ = 90000
    SKEW_NS_MAX = 2000000000           # sound and pictures further apart than this do not belong together


cdef int64_t sound_offset_ns(Context* ctx, const VideoLeg* v) noexcept nogil:
    """Our monotonic time of a moment less the sender's time of it, as its sound is mapped; 0: not known."""
    cdef const Leg* leg = v.leg
    cdef int clock_hz = leg.receiver.clock_hz
    cdef int64_t came_ns
    cdef int32_t ago
    if v.audio_report_ns == 0 or not leg.receiver.transit_known or clock_hz <= 0:
        return 0
    # timestamp + transit: RTP units of our clock when sound with the report's timestamp came.
    ago = <int32_t>(<uint32_t>rtp_units(ctx.now_ns, clock_hz) -
                    (v.audio_report_timestamp + <uint32_t>leg.receiver.transit))
    came_ns = ctx.now_ns - <int64_t>ago * 1000000000 // clock_hz
    if leg.decoding and leg.playout is not NULL:
        came_ns += playout_stats(leg.playout).buffer_delay_ns
    return came_ns - ntp_ns(v.audio_report_ntp)


cdef uint32_t video_sender_time(Context* ctx, Track* viewer) noexcept nogil:
    cdef VideoStream* s
    cdef VideoLeg* from_
    cdef int64_t offset_ns
    cdef int64_t taken_ns
    cdef uint32_t by_arrival
    if viewer.source is NULL or viewer.sink.current == NO_LAYER:
        return viewer.sink.timestamp + <uint32_t>rtp_units(ctx.now_ns - viewer.sink.timestamp_ns, VIDEO_CLOCK_HZ)
    s = &viewer.source.streams[viewer.sink.current]
    from_ = <VideoLeg*>viewer.source.leg.video
    by_arrival = s.arrival_timestamp + <uint32_t>rtp_units(ctx.now_ns - s.arrival_ns, VIDEO_CLOCK_HZ)
    offset_ns = sound_offset_ns(ctx, from_)
    if offset_ns and s.report_known:
        # The source's timestamp of the sender's moment that our now stands for.
        taken_ns = track_taken_ns(s, s.arrival_timestamp) + offset_ns
        if -SKEW_NS_MAX < s.arrival_ns - taken_ns < SKEW_NS_MAX:
            return (s.arrival_timestamp + viewer.sink.timestamp_delta
                    + <uint32_t>(<int32_t>((ctx.now_ns - taken_ns) * VIDEO_CLOCK_HZ // 1000000000)))
    return by_arrival + viewer.sink.timestamp_delta
