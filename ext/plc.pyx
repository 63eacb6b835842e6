"""Packet loss concealment for codecs without their own (PCMU, PCMA, G.722, L16).

Pitch-based waveform substitution in the spirit of ITU-T G.711 Appendix I: the last period is repeated, fades from the
20th to the 100th millisecond into noise of the background's level, and is blended into the speech that returns. Owns
no samples: it reads and writes the caller's buffer, in which history lies directly before what is made.
"""

from libc.math cimport sqrt
from libc.stdint cimport int16_t, int32_t
from libc.string cimport memcpy, memset

from mediaserver.ext.stretch cimport cross_fade, mean_square, pitch_lag

cdef enum:
    FULL_MS = 20                   # the loudness is held this long
    MERGE_MAX = 480                # 10 ms at 48 kHz
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
    cdef int window = p.rate_hz // 50
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


cdef int plc_faded(const Plc* p) noexcept nogil:
    return p.covered >= p.rate_hz * PLC_FADE_MS // 1000
