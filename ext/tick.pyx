"""The 20 ms tick: pull, measure, mix, encode, send.

Owns the order of work within a tick and the sharing of encodes: listeners who hear the whole mix and add nothing to it
get one payload made by one of them. Sums are integers in row order, so the same input gives the same bytes.
"""

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport fetch_or_32, store_release_64
from mediaserver.ext.bridge cimport (
    BRIDGE_WORDS_MAX,
    SHARES_MAX,
    Bridge,
    bridge_unfollow,
    leg_decide,
)
from mediaserver.ext.channel cimport CHANGED_BRIDGE, NOTE_PLAY_ENDED, Message
from mediaserver.ext.context cimport TICK_SAMPLES_MAX, context_changed, context_reply
from mediaserver.ext.digits cimport digits_merge, ear_step
from mediaserver.ext.dtmf cimport DTMF_IN_BAND
from mediaserver.ext.keypad cimport KEYPAD_EVENT, KEYPAD_QUIET, KeypadOutput, keypad_busy, keypad_step
from mediaserver.ext.leg cimport leg_can_send, leg_report_digit, leg_schedule, leg_send_rtp
from mediaserver.ext.mix cimport mix_add, mix_clear, mix_gain, mix_level, mix_minus, speaker_step
from mediaserver.ext.player cimport TONE_RATE_HZ, play_step
from mediaserver.ext.playout cimport PLAYED_SILENCE, playout_pull, playout_set_rate
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_sender_next, rtp_sender_switch, rtp_write_header
from mediaserver.ext.voice cimport VOICE_PAYLOAD_MAX, Voice, voice_copy, voice_push, voice_take

cdef enum:
    UNITY_GAIN_Q12 = 4096
    QUIET_LEVEL = 65               # -dBov: what is quieter for LOUD_TICKS adds only noise to a room of three or more
    LOUD_TICKS = 25
    KEEP_BONUS_Q8 = 768            # 3 dB: who is in the mix stays in before one who is as loud
    LOUDER_Q8 = 1536               # 6 dB louder for LOUDER_TICKS makes another one the active speaker
    LOUDER_TICKS = 25

cdef struct Share:                 # one encoding of the whole mix in this tick
    int32_t made
    int32_t leader_present
    int size
    uint8_t payload[VOICE_PAYLOAD_MAX]


# --- sending

cdef void send_packet(Context* ctx, Leg* leg, int payload_type, uint32_t timestamp, bint marker, int size) noexcept nogil:
    """The payload stands in ctx.scratch behind the place of the header."""
    cdef uint8_t* data = ctx.scratch.data
    rtp_write_header(data, payload_type, marker, leg.sender.sequence, timestamp, leg.sender.ssrc)
    leg.sender.sequence += 1
    leg.sender.feeding = 0
    leg_send_rtp(ctx, leg, data, RTP_HEADER_BYTES + size, timestamp, leg.voice.clock_hz)


cdef void send_frame(Context* ctx, Leg* leg, int size) noexcept nogil:
    cdef Voice* v = leg.voice
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


cdef void speak(Context* ctx, Leg* leg, const int16_t* pcm, int samples, int rate_hz) noexcept nogil:
    cdef int size = 0
    if leg.voice is NULL or not leg_can_send(leg):
        return
    keep_running(ctx, leg)
    bridge_unfollow(leg)
    voice_push(leg.voice, pcm, samples, rate_hz)
    while voice_take(leg.voice, ctx.scratch.data + RTP_HEADER_BYTES, &size):
        ctx.counters.encodes += 1
        send_frame(ctx, leg, size)


# --- legs with something of their own to do

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


cdef void pull(Context* ctx, Leg* leg, int rate_hz) noexcept nogil:
    cdef int samples = rate_hz // 50
    cdef int digit
    if leg.pcm_rate != rate_hz:
        playout_set_rate(leg.playout, rate_hz)
        leg.pcm_rate = rate_hz
    leg.pcm_kind = playout_pull(leg.playout, ctx.tick_ns, leg.pcm, samples, &ctx.pool)
    leg.level = mix_level(leg.pcm, samples)
    if leg.ear is not NULL:
        digit = ear_step(leg.ear, leg.pcm, samples, rate_hz)
        if digit and digits_merge(&leg.digits, digit, DTMF_IN_BAND, ctx.now_ns):
            leg_report_digit(ctx, leg, digit, DTMF_IN_BAND)
    if leg.gain_q12 != UNITY_GAIN_Q12:
        mix_gain(leg.pcm, samples, leg.gain_q12)


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
    output = keypad_step(&leg.keypad, event_clock_hz, rtp_sender_next(&leg.sender, ctx.now_ns, leg.voice.clock_hz), tone)
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
    cdef bint pressed = False
    if leg.decoding and not leg.mixed:
        pull(ctx, leg, 8000)
    if keypad_busy(&leg.keypad):
        pressed = press_keys(ctx, leg)
    if leg.play is not NULL and leg.stream is not NULL:
        lasts = play_step(leg.play, pcm)
        if not lasts:
            end_play(ctx, leg, True)
            leg_decide(ctx, leg)
        elif not pressed:
            speak(ctx, leg, pcm, leg.play.rate_hz // 50, leg.play.rate_hz)
            leg.spoken_tick = ctx.tick_number
    leg_schedule(ctx, leg)


# --- bridges

cdef bint sounds(const Context* ctx, const Bridge* b, Leg* leg) noexcept nogil:
    """Whether what the leg says in this tick belongs in the mix."""
    cdef int level = leg.level
    if not leg.decoding:
        return False
    if leg.muted:
        level = 127
    speaker_step(&leg.speaker, level)
    if leg.muted or leg.pcm_kind == PLAYED_SILENCE:
        return False
    if b.members <= 2:
        return True
    if level <= QUIET_LEVEL:
        leg.loud_until = ctx.tick_number + LOUD_TICKS
    return ctx.tick_number < leg.loud_until


cdef void keep_loudest(Bridge* b, int count) noexcept nogil:
    """Takes the quietest out until MIX_SPEAKERS_MAX contribute; contributes is 2 for those who did in the tick before."""
    cdef Leg* quietest
    cdef Leg* leg
    cdef int32_t worst
    cdef int32_t loudness
    cdef int row
    while count > MIX_SPEAKERS_MAX:
        quietest = NULL
        worst = -1
        for row in range(b.rows):
            leg = b.legs[row]
            if leg is NULL or not leg.contributes:
                continue
            loudness = leg.speaker.smoothed_q8 + (0 if leg.contributes == 2 else KEEP_BONUS_Q8)
            if loudness > worst:
                worst = loudness
                quietest = leg
        quietest.contributes = 0
        count -= 1


cdef void find_active_speaker(Context* ctx, Bridge* b) noexcept nogil:
    cdef Leg* best = NULL
    cdef Leg* leg
    cdef int row
    for row in range(b.rows):
        leg = b.legs[row]
        if leg is not NULL and leg.contributes and leg.speaker.talking:
            if best is NULL or leg.speaker.smoothed_q8 < best.speaker.smoothed_q8:
                best = leg
    if best is NULL or best is b.speaker:
        b.louder_ticks = 0
        return
    if b.speaker is not NULL and b.speaker.speaker.talking:
        if best.speaker.smoothed_q8 + LOUDER_Q8 > b.speaker.speaker.smoothed_q8:
            b.louder_ticks = 0
            return
        b.louder_ticks += 1
        if b.louder_ticks < LOUDER_TICKS:
            return
    b.speaker = best
    b.louder_ticks = 0
    store_release_64(&b.speaker_handle, best.handle)
    if fetch_or_32(&b.changes, 1) == 0:
        context_changed(ctx, CHANGED_BRIDGE, b.handle)


cdef void gather(Context* ctx, Bridge* b, int32_t* total, uint64_t* contributors) noexcept nogil:
    """Pulls every decoded leg and sums those that sound."""
    cdef Leg* leg
    cdef int samples = b.mix_rate_hz // 50
    cdef int count = 0
    cdef int row
    cdef int before
    for row in range(b.rows):
        leg = b.legs[row]
        if leg is NULL:
            continue
        if leg.decoding:
            pull(ctx, leg, b.mix_rate_hz)
        before = leg.contributes
        leg.contributes = 0
        if sounds(ctx, b, leg):
            leg.contributes = 2 if before else 1
            count += 1
    if b.members > 2:
        keep_loudest(b, count)
        find_active_speaker(ctx, b)
    mix_clear(total, samples)
    memset(contributors, 0, b.words * sizeof(uint64_t))
    for row in range(b.rows):
        leg = b.legs[row]
        if leg is not NULL and leg.contributes:
            mix_add(total, leg.pcm, samples)
            contributors[row >> 6] |= <uint64_t>1 << (row & 63)


cdef enum Hearing:
    HEARS_NOBODY = 0               # no row bit at all: sent nothing
    HEARS_ALL = 1                  # every contributor, itself included if it is one
    HEARS_OTHERS = 2               # every contributor but itself
    HEARS_SOME = 3


cdef Hearing hearing(const Bridge* b, const Leg* leg, const uint64_t* contributors) noexcept nogil:
    cdef const uint64_t* row = b.hears + leg.row * b.words
    cdef uint64_t any_bit = 0
    cdef uint64_t own
    cdef bint everyone = True
    cdef bint others = True
    cdef int w
    for w in range(b.words):
        own = <uint64_t>1 << (leg.row & 63) if w == leg.row >> 6 else 0
        any_bit |= row[w]
        everyone = everyone and contributors[w] & ~row[w] == 0
        others = others and contributors[w] & ~own & ~row[w] == 0 and row[w] & own == 0
    if any_bit == 0:
        return HEARS_NOBODY
    if everyone:
        return HEARS_ALL
    return HEARS_OTHERS if others else HEARS_SOME


cdef void sum_some(const Bridge* b, const Leg* leg, int32_t* sum_out, int samples) noexcept nogil:
    cdef const uint64_t* hears = b.hears + leg.row * b.words
    cdef int row
    mix_clear(sum_out, samples)
    for row in range(b.rows):
        if b.legs[row] is not NULL and b.legs[row].contributes and (hears[row >> 6] >> (row & 63)) & 1:
            mix_add(sum_out, b.legs[row].pcm, samples)


cdef int share_of(Bridge* b, const Leg* leg) noexcept nogil:
    """The place of the leg's encoding among the bridge's, or -1: too many different ones."""
    cdef int unused = -1
    cdef int i
    for i in range(SHARES_MAX):
        if b.share_keys[i] == leg.voice.share_key:
            return i
        if unused < 0 and b.leaders[i] is NULL:
            unused = i
    if unused >= 0:
        b.share_keys[unused] = leg.voice.share_key
    return unused


cdef bint listens(const Context* ctx, const Leg* leg) noexcept nogil:
    return leg is not NULL and leg.voice is not NULL and leg.spoken_tick != ctx.tick_number and leg_can_send(leg)


cdef void send_shared(Context* ctx, Bridge* b, Leg* leg, int place, Share* share, const int16_t* pcm) noexcept nogil:
    cdef Leg* leader
    cdef int samples = b.mix_rate_hz // 50
    if not share.made:
        leader = b.leaders[place]
        if leader is NULL or not share.leader_present:
            if leader is not NULL:
                voice_copy(leg.voice, leader.voice)
            else:
                bridge_unfollow(leg)
            leg.follows = NULL
            leader = leg
            b.leaders[place] = leg
        voice_push(leader.voice, pcm, samples, b.mix_rate_hz)
        share.size = 0
        voice_take(leader.voice, share.payload, &share.size)
        share.made = 1
        ctx.counters.encodes += 1
    keep_running(ctx, leg)
    if leg is not b.leaders[place]:
        leg.follows = b.leaders[place]
        ctx.counters.encodes_shared += 1
    if share.size > 0:
        memcpy(ctx.scratch.data + RTP_HEADER_BYTES, share.payload, share.size)
    send_frame(ctx, leg, share.size)


cdef void tick_bridge(Context* ctx, Bridge* b) noexcept nogil:
    cdef int32_t total[TICK_SAMPLES_MAX]
    cdef int32_t some[TICK_SAMPLES_MAX]
    cdef int16_t everyone[TICK_SAMPLES_MAX]
    cdef int16_t out[TICK_SAMPLES_MAX]
    cdef uint64_t contributors[BRIDGE_WORDS_MAX]
    cdef Share shares[SHARES_MAX]
    cdef int samples = b.mix_rate_hz // 50
    cdef Hearing heard
    cdef Leg* leg
    cdef int place
    cdef int row
    gather(ctx, b, total, contributors)
    mix_minus(total, NULL, everyone, samples)
    for place in range(SHARES_MAX):
        shares[place].made = 0
        shares[place].leader_present = 0
    # First who still shares: leaders keep leading, and whoever leaves takes the shared encoder's state before it moves on.
    for row in range(b.rows):
        leg = b.legs[row]
        if not listens(ctx, leg):
            continue
        if hearing(b, leg, contributors) == HEARS_ALL and leg.voice.whole_ticks:
            place = share_of(b, leg)
            if place >= 0 and b.leaders[place] is leg:
                shares[place].leader_present = 1
        else:
            bridge_unfollow(leg)
    for row in range(b.rows):
        leg = b.legs[row]
        if not listens(ctx, leg):
            continue
        if hearing(b, leg, contributors) == HEARS_ALL and leg.voice.whole_ticks:
            place = share_of(b, leg)
            if place >= 0:
                send_shared(ctx, b, leg, place, &shares[place], everyone)
    for row in range(b.rows):
        leg = b.legs[row]
        if not listens(ctx, leg):
            continue
        heard = hearing(b, leg, contributors)
        if heard == HEARS_NOBODY:
            continue
        if heard == HEARS_ALL:
            if leg.voice.whole_ticks and share_of(b, leg) >= 0:
                continue
            speak(ctx, leg, everyone, samples, b.mix_rate_hz)
        elif heard == HEARS_OTHERS:
            mix_minus(total, leg.pcm, out, samples)
            speak(ctx, leg, out, samples, b.mix_rate_hz)
        else:
            sum_some(b, leg, some, samples)
            mix_minus(some, NULL, out, samples)
            speak(ctx, leg, out, samples, b.mix_rate_hz)


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
