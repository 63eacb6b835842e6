"""Packet loss concealment for codecs without their own (PCMU, PCMA, G.722, L16).

Pitch-based waveform substitution in the spirit of ITU-T G.711 Appendix I: the last period is repeated, fades from the
20th to the 100th millisecond into noise of the background's level, and is blended into the speech that returns. Owns
no samples: it reads and writes the caller's buffer, in which history lies directly before what is made.
"""

from libc.math cimport sqrt
from libc.stdint cimport int16_t, int32_t
from libc.string cimport memcpy, memset

from mediaserver.ext.stretch cimport best_offset, cross_fade, mean_square, pitch_lag

cdef enum:
    FULL_MS = 20                   # the loudness is held this long
    MERGE_MAX = 480                # 10 ms at 48 kHz
    BRIDGE_MAX = 2880              # 60 ms at 48 kHz
    AHEAD_MAX = 960                # 20 ms at 48 kHz
    RUN_MAX = 4328                 # a bridge, a third of it to bend, a match and two
    ALIGNED_Q15 = 19660            # 0.6: worse matches are not aligned, just faded over
    LAG_Q15 = 16384                # 0.5: what is alike enough to be a period
    HALF_LAG_Q15 = 27853           # 0.85
    SAG_AFTER_MS = 10              # a long bridge sags towards its middle: so long it holds, and in so long it sinks
    SAG_MS = 25
    LEARN_FRAMES = 100
    NOISE_RMS_MAX_Q4 = 120 << 4    # -49 dBov: louder is not background


cdef void plc_init(Plc* p, int rate_hz) noexcept nogil:
    memset(p, 0, sizeof(Plc))
    p.rate_hz = rate_hz
    p.random = 22222
    p.quiet_rms_q4 = 32767 << 4
    p.quiet_left = LEARN_FRAMES


cdef void plc_learn(Plc* p, const int16_t* pcm, int samples) noexcept nogil:
    cdef int32_t rms = <int32_t> (sqrt(<double> mean_square(pcm, samples)) * 16.0)
    if rms < p.quiet_rms_q4:
        p.quiet_rms_q4 = rms
    if rms < p.noise_rms_q4:
        p.noise_rms_q4 = rms
    p.quiet_left -= 1
    if p.quiet_left <= 0:
        p.noise_rms_q4 = p.quiet_rms_q4 if p.quiet_rms_q4 < NOISE_RMS_MAX_Q4 else NOISE_RMS_MAX_Q4
        p.quiet_rms_q4 = 32767 << 4
        p.quiet_left = LEARN_FRAMES


cdef inline float gain_at(const Plc* p, int covered) noexcept nogil:
    cdef float ms = <float> covered * 1000.0 / p.rate_hz
    if ms <= FULL_MS:
        return 1.0
    if ms >= PLC_FADE_MS:
        return 0.0
    return 1.0 - (ms - FULL_MS) / (PLC_FADE_MS - FULL_MS)


cdef inline int16_t noise(Plc* p, float amount) noexcept nogil:
    """Uniform noise whose rms is the background's."""
    p.random = p.random * 1664525 + 1013904223
    return <int16_t> (<float> (<int32_t> p.random >> 16) * (1.7320508 / 32768.0 / 16.0) * p.noise_rms_q4 * amount)


cdef void plc_extend(Plc* p, int16_t* end, int samples) noexcept nogil:
    cdef int i, at
    cdef float before, now
    cdef int window = p.rate_hz * 15 // 1000
    if p.lag == 0:
        p.lag = pitch_lag(end, window, p.rate_hz * 5 // 2000, p.rate_hz * 15 // 1000, p.rate_hz, &p.voicing_q15)
        p.covered = 0
    for i in range(samples):
        at = p.covered + i
        before = gain_at(p, at - p.lag)
        now = gain_at(p, at)
        if before <= 0.0 or now <= 0.0:
            end[i] = noise(p, 1.0)
        else:
            end[i] = <int16_t> (end[i - p.lag] * (now / before) + noise(p, (1.0 - now) * 0.5))
    p.covered += samples


cdef void plc_merge(Plc* p, int16_t* pcm, int samples) noexcept nogil:
    cdef int16_t kept[MERGE_MAX]
    cdef int overlap = p.rate_hz // 200
    if p.lag == 0:
        return
    if p.covered > p.rate_hz // 50:
        overlap *= 2
    if overlap > samples:
        overlap = samples
    memcpy(kept, pcm, overlap * sizeof(int16_t))
    plc_extend(p, pcm, overlap)
    cross_fade(pcm, kept, pcm, overlap)
    p.lag = 0
    p.covered = 0


cdef void turn_round(const int16_t* source, int16_t* out, int samples) noexcept nogil:
    cdef int i
    for i in range(samples):
        out[i] = source[samples - 1 - i]


cdef void span(const int16_t* past_end, int lag, int rate_hz, const int16_t* beyond, int match, int gap,
               int16_t* out) noexcept nogil:
    """Periods of `lag` go on over the gap, bent in time so that they arrive in phase with what is beyond it."""
    cdef int16_t run[RUN_MAX]
    cdef int half = lag // 2 + 1 if lag // 2 + 1 < gap // 3 else gap // 3
    cdef int length = gap + half + match + 2
    cdef int i, offset, whole
    cdef int32_t similar
    cdef int64_t at, step
    for i in range(length):
        run[i] = past_end[i % lag - lag]
    offset = best_offset(run + gap - half, 2 * half + 1, beyond, match, rate_hz // 8000, &similar) - half
    if similar < ALIGNED_Q15:
        offset = 0
    at = 0
    step = (<int64_t> (gap + offset) << 16) // gap
    for i in range(gap):
        whole = <int> (at >> 16)
        out[i] = <int16_t> (run[whole] + (((run[whole + 1] - run[whole]) * (<int32_t> (at & 0xFFFF) >> 1)) >> 15))
        at += step


cdef int near_lag(const int16_t* end, int window, int lag, int limit, int rate_hz) noexcept nogil:
    """The period on the far side, near `lag` (or its half, where too little is there to see a whole one)."""
    cdef int32_t similar
    cdef int least = HALF_LAG_Q15 if lag * 11 // 10 > limit else LAG_Q15
    cdef int centre = lag // 2 if lag * 11 // 10 > limit else lag
    cdef int low = centre * 7 // 10 if centre * 7 // 10 > rate_hz // 400 else rate_hz // 400
    cdef int high = centre * 7 // 5 if centre * 7 // 5 < limit else limit
    if high <= low:
        return lag
    centre = pitch_lag(end, window, low, high, rate_hz, &similar)
    return centre if similar > least else lag


cdef void plc_bridge(Plc* p, int16_t* end, int gap, int ahead) noexcept nogil:
    cdef int16_t forward[BRIDGE_MAX]
    cdef int16_t backward[BRIDGE_MAX]
    cdef int16_t turned[AHEAD_MAX]
    cdef int16_t before[MERGE_MAX]
    cdef int ms = p.rate_hz // 1000
    cdef int match = ms * 10
    cdef int lag, back_lag, i, edge
    cdef int32_t similar, sag
    if gap <= 0:
        plc_merge(p, end, ahead)
        return
    if p.lag:                                   # a part is concealed already: go on with the same period
        lag = p.lag
    else:
        lag = pitch_lag(end, ms * 15, ms * 5 // 2, ms * 15, p.rate_hz, &p.voicing_q15)
    span(end, lag, p.rate_hz, end + gap, match, gap, forward)
    if ahead > ms * 20:
        ahead = ms * 20
    turn_round(end + gap, turned, ahead)
    turn_round(end - match, before, match)
    back_lag = near_lag(turned + ahead, match, lag, ahead - match - 1, p.rate_hz)
    if back_lag > ahead:
        back_lag = ahead
    span(turned + ahead, back_lag, p.rate_hz, before, match, gap, backward)
    for i in range(gap):
        edge = i if i < gap - i else gap - i
        sag = 32768
        if edge > SAG_AFTER_MS * ms:
            sag = 32768 - (edge - SAG_AFTER_MS * ms) * 32768 // (SAG_MS * ms)
            sag = sag if sag > 9830 else 9830
        similar = (forward[i] * (gap - i) + backward[gap - 1 - i] * (i + 1)) // (gap + 1)
        end[i] = <int16_t> ((similar * sag) >> 15)
    p.lag = 0
    p.covered = 0


cdef int plc_faded(const Plc* p) noexcept nogil:
    return p.covered >= p.rate_hz * PLC_FADE_MS // 1000
