"""What one leg says and what it is sent: samples pulled and measured, frames encoded and sent.

Owns the continuity of a stream we make: sequence numbers, timestamps that follow real time over pauses, marker bits.
"""

from libc.stdint cimport int16_t, uint8_t, uint32_t
from mediaserver.ext.bridge cimport bridge_unfollow
from mediaserver.ext.digits cimport digits_merge, ear_step
from mediaserver.ext.dtmf cimport DTMF_IN_BAND
from mediaserver.ext.leg cimport leg_can_send, leg_report_digit, leg_send_rtp
from mediaserver.ext.levels cimport LEVEL_NONE, levels_say
from mediaserver.ext.mix cimport mix_at_limit, mix_gain, mix_level
from mediaserver.ext.playout cimport PLAYED_SILENCE, PLAYED_VOICE, playout_pull, playout_set_rate
from mediaserver.ext.processing cimport processing_heard, processing_join
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_sender_next, rtp_sender_step, rtp_write_header
from mediaserver.ext.voice cimport TAKEN_ENCODED, TAKEN_NOTHING, Taken, Voice, voice_push, voice_take

cdef enum:
    UNITY_GAIN_Q12 = 4096
    SILENT_LEVEL = 127             # dB below full scale (RFC 6464)
    LOUD_LEVEL = 20                # dB below full scale: a frame more quiet than that has no clipping in it
    CLIPPED_SAMPLES = 4            # of a frame; one or two peaks that touch the limit are nobody's complaint


cdef void send_packet(Context* ctx, Leg* leg, int payload_type, uint32_t timestamp, bint marker,
                      int size) noexcept nogil:
    """The payload stands in ctx.scratch behind the place of the header."""
    cdef uint8_t* data = ctx.scratch.data
    rtp_write_header(data, payload_type, marker, leg.sender.sequence, timestamp, leg.sender.ssrc)
    rtp_sender_step(&leg.sender)
    leg.sender.feeding = 0
    leg_send_rtp(ctx, leg, data, RTP_HEADER_BYTES + size, timestamp, leg.voice.clock_hz)


cdef void send_frame(Context* ctx, Leg* leg, int size) noexcept nogil:
    cdef Voice* v = leg.voice
    if size <= 0:
        leg.levels.next = LEVEL_NONE
    if size > 0:
        send_packet(ctx, leg, v.payload_type, v.timestamp, leg.sender.marker_next, size)
        leg.sender.marker_next = 0
    elif size == 0:
        leg.sender.marker_next = 1     # the codec's own silence: what follows it is a talk spurt
    else:
        ctx.counters.send_errors += 1
    v.timestamp += v.frame_clock


cdef void keep_running(Context* ctx, Leg* leg) noexcept nogil:
    """Timestamps go on in real time after a pause; without one they go on by themselves."""
    cdef Voice* v = leg.voice
    if not v.running or v.tick + 1 != ctx.tick_number:
        v.timestamp = rtp_sender_next(&leg.sender, ctx.now_ns, v.clock_hz)
        v.fill = 0
        v.running = 1
        leg.sender.marker_next = 1
    v.tick = ctx.tick_number


cdef void say_level(Leg* leg) noexcept nogil:
    """Of the frame that is encoded next, as RFC 6464 §3 wants it: of the sound in the packet itself."""
    cdef Voice* v = leg.voice
    levels_say(&leg.levels, mix_level(v.buffer, v.frame_samples), (v.frame_samples * 50 + v.rate_hz - 1) // v.rate_hz)


cdef void speak(Context* ctx, Leg* leg, const int16_t* pcm, int samples, int rate_hz) noexcept nogil:
    cdef int size = 0
    cdef Taken taken
    if leg.voice is NULL or not leg_can_send(leg):
        return
    keep_running(ctx, leg)
    bridge_unfollow(leg)
    if leg.processing is not NULL:
        processing_heard(leg.processing, pcm, samples)
    voice_push(leg.voice, pcm, samples, rate_hz)
    while True:
        if leg.level_out and leg.voice.fill >= leg.voice.frame_samples:
            say_level(leg)
        taken = voice_take(leg.voice, ctx.scratch.data + RTP_HEADER_BYTES, &size)
        if taken == TAKEN_NOTHING:
            break
        ctx.counters.encodes += taken == TAKEN_ENCODED
        send_frame(ctx, leg, size)


cdef void pull(Context* ctx, Leg* leg, int rate_hz) noexcept nogil:
    cdef int samples = rate_hz // 50
    cdef int digit
    cdef bint silent
    if leg.pcm_rate != rate_hz:
        playout_set_rate(leg.playout, rate_hz)
        leg.pcm_rate = rate_hz
    leg.pcm_kind = playout_pull(leg.playout, ctx.tick_ns, leg.pcm, samples, &ctx.pool)
    silent = leg.pcm_kind == PLAYED_SILENCE
    leg.level = SILENT_LEVEL if silent else mix_level(leg.pcm, samples)
    if leg.level < LOUD_LEVEL and mix_at_limit(leg.pcm, samples) >= CLIPPED_SAMPLES:
        leg.frames_clipped += 1
    if leg.ear is not NULL:
        digit = ear_step(leg.ear, leg.pcm, samples, rate_hz, silent)
        if digit and digits_merge(&leg.digits, digit, DTMF_IN_BAND, ctx.now_ns):
            leg_report_digit(ctx, leg, digit, DTMF_IN_BAND)
    if leg.processing is not NULL:
        processing_join(leg.processing, leg.pcm, samples, rate_hz, leg.pcm_kind == PLAYED_VOICE)
    if leg.gain_q12 != UNITY_GAIN_Q12:
        mix_gain(leg.pcm, samples, leg.gain_q12)
