"""One tick of a bridge that mixes: sum, who is in it, who shares an encode, who speaks.

Sums are integers in row order, so the same input gives the same bytes. Listeners who hear the whole mix and add nothing
to it get one payload, made by the encoder of one of them.
"""

from libc.stdint cimport int16_t, int32_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from mediaserver.ext.atomic cimport fetch_or_32, store_release_64
from mediaserver.ext.bridge cimport BRIDGE_WORDS_MAX, SHARES_MAX, bridge_unfollow
from mediaserver.ext.channel cimport CHANGED_BRIDGE
from mediaserver.ext.context cimport TICK_SAMPLES_MAX, context_changed
from mediaserver.ext.leg cimport Leg, leg_can_send
from mediaserver.ext.levels cimport LEVEL_NONE, levels_say
from mediaserver.ext.mix cimport mix_add, mix_clear, mix_level, mix_minus, speaker_step
from mediaserver.ext.playout cimport PLAYED_SILENCE
from mediaserver.ext.processing cimport processing_heard
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES
from mediaserver.ext.speak cimport keep_running, pull, send_frame, speak
from mediaserver.ext.voice cimport TAKEN_ENCODED, VOICE_PAYLOAD_MAX, voice_copy, voice_push, voice_take

cdef enum:
    QUIET_LEVEL = 65               # -dBov: what is quieter for LOUD_TICKS adds only noise to a room of three or more
    LOUD_TICKS = 25
    KEEP_BONUS_Q8 = 768            # 3 dB: who is in the mix stays in before one who is as loud
    LOUDER_Q8 = 1536               # 6 dB louder for LOUDER_TICKS makes another one the active speaker
    LOUDER_TICKS = 25

cdef struct Share:                 # one encoding of the whole mix in this tick
    int32_t made
    int32_t leader_present
    int size
    int level                      # RFC 6464; LEVEL_NONE: nobody has asked yet
    uint8_t payload[VOICE_PAYLOAD_MAX]


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
    """Takes the quietest out until MIX_SPEAKERS_MAX contribute; contributes is 2 for who did in the tick before."""
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
    return (leg is not NULL and leg.voice is not NULL and not leg.fed and leg.spoken_tick != ctx.tick_number
            and leg_can_send(leg))


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
        ctx.counters.encodes += voice_take(leader.voice, share.payload, &share.size) == TAKEN_ENCODED
        share.made = 1
    keep_running(ctx, leg)
    if leg.processing is not NULL:
        processing_heard(leg.processing, pcm, samples)
    if leg is not b.leaders[place]:
        leg.follows = b.leaders[place]
        ctx.counters.encodes_shared += 1
    if leg.level_out:
        if share.level == LEVEL_NONE:
            share.level = mix_level(pcm, samples)
        levels_say(&leg.levels, share.level, 1)
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
        shares[place].level = LEVEL_NONE
        shares[place].leader_present = 0
    # First who still shares: leaders keep leading, and who leaves takes the shared encoder's state before it moves on.
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
