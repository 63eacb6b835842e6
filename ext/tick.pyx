"""The 20 ms tick: legs that play, press keys or are listened to, then the bridges that mix."""

from libc.stdint cimport int16_t, uint32_t
from libc.string cimport memcpy, memset
from mediaserver.ext.bridge cimport Bridge, leg_decide
from mediaserver.ext.channel cimport NOTE_PLAY_ENDED, Message
from mediaserver.ext.context cimport TICK_SAMPLES_MAX, context_reply
from mediaserver.ext.keypad cimport KEYPAD_EVENT, KEYPAD_QUIET, KeypadOutput, keypad_busy, keypad_step
from mediaserver.ext.leg cimport leg_can_send, leg_schedule
from mediaserver.ext.mixing cimport tick_bridge
from mediaserver.ext.play cimport TONE_RATE_HZ, play_sent, play_step
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_sender_extended, rtp_sender_next
from mediaserver.ext.speak cimport pull, send_packet, speak


cdef void end_play(Context* ctx, Leg* leg, bint completed) noexcept nogil:
    cdef Message note
    if leg.play is NULL:
        return
    memset(&note, 0, sizeof(note))
    note.kind = NOTE_PLAY_ENDED
    note.handle = leg.handle
    note.data = leg.play
    note.flag = completed
    leg.play = NULL
    context_reply(ctx, &note)


cdef bint press_keys(Context* ctx, Leg* leg) noexcept nogil:
    """Whether a digit filled this tick."""
    cdef int16_t tone[TICK_SAMPLES_MAX]
    cdef int event_clock_hz = 0
    cdef KeypadOutput output
    if leg.voice is NULL or not leg_can_send(leg):
        leg.keypad.count = 0           # nobody will hear them: they do not wait for a hold to end
        leg.keypad.pressing = 0
        return False
    if leg.stream.event_at >= 0:
        event_clock_hz = leg.stream.send[leg.stream.event_at].clock_hz
    output = keypad_step(&leg.keypad, event_clock_hz,
                         rtp_sender_next(&leg.sender, ctx.now_ns, leg.voice.clock_hz), tone)
    if output == KEYPAD_QUIET:
        return False
    if output == KEYPAD_EVENT:
        leg.voice.running = 0
        memcpy(ctx.scratch.data + RTP_HEADER_BYTES, leg.keypad.payload, sizeof(leg.keypad.payload))
        send_packet(ctx, leg, leg.stream.send[leg.stream.event_at].payload_type, leg.keypad.timestamp,
                    leg.keypad.marker, sizeof(leg.keypad.payload))
    else:
        speak(ctx, leg, tone, TONE_RATE_HZ // 50, TONE_RATE_HZ)
    leg.spoken_tick = ctx.tick_number
    return True


cdef void tick_leg(Context* ctx, Leg* leg) noexcept nogil:
    cdef int16_t pcm[TICK_SAMPLES_MAX]
    cdef int lasts
    cdef uint32_t first
    cdef bint pressed = False
    if leg.decoding and not leg.mixed:
        pull(ctx, leg, 8000)
    if keypad_busy(&leg.keypad):
        pressed = press_keys(ctx, leg)
    if leg.play is not NULL and leg.negotiated:
        lasts = play_step(leg.play, pcm)
        if not lasts:
            end_play(ctx, leg, True)
            leg_decide(ctx, leg)
        elif not pressed:
            first = rtp_sender_extended(&leg.sender)
            speak(ctx, leg, pcm, leg.play.rate_hz // 50, leg.play.rate_hz)
            play_sent(leg.play, leg.sender.ssrc, first, rtp_sender_extended(&leg.sender))
            leg.spoken_tick = ctx.tick_number
    leg_schedule(ctx, leg)


cdef void tick_all(Context* ctx) noexcept nogil:
    cdef Leg* leg
    cdef int i = ctx.ticking_legs_count - 1
    # Downwards: a leg that leaves the list is replaced by one that is done already.
    while i >= 0:
        if i < ctx.ticking_legs_count:
            leg = <Leg*>ctx.ticking_legs[i]
            if leg.ticked != ctx.tick_number:
                leg.ticked = ctx.tick_number
                tick_leg(ctx, leg)
        i -= 1
    for i in range(ctx.ticking_bridges_count):
        tick_bridge(ctx, <Bridge*>ctx.ticking_bridges[i])
