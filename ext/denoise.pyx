"""Suppression of steady noise in speech, frame by frame of 20 ms with a hop of 10 ms.

Each part is the published one: noise power by the probability of speech (Gerkmann and Hendriks, "Unbiased MMSE-based
noise power estimation", 2012), a priori SNR by decision-directed smoothing (Ephraim and Malah 1984), gain of the
log-spectral amplitude estimator (Ephraim and Malah 1985). A floor under the gain keeps what remains natural.
"""

from libc.math cimport M_PI, exp, expf, log, log2f, powf, sin
from libc.string cimport memset
from mediaserver.ext.spectrum cimport SPECTRUM_MAX, spectrum_forward, spectrum_inverse

import numpy as np

cdef enum:
    START_FRAMES = 5                   # their mean is the first guess at the noise
    LSA_OCTAVE_MIN = -10               # of the table of exp(E1(v) / 2)
    LSA_PER_OCTAVE = 8
    LSA_POINTS = 121                   # up to 2^5: beyond it is 1

cdef float SPEECH_SNR = 31.62          # 15 dB: what speech has over noise where it is present
cdef float PRIOR_MIN = 0.00316         # -25 dB
cdef float PRIOR_SMOOTH = 0.98
cdef float PRESENCE_SMOOTH = 0.9
cdef float PRESENCE_MAX = 0.99         # else a noise that rises would be taken for speech forever
cdef float NOISE_SMOOTH = 0.85
cdef float POWER_MIN = 1.0             # of a bin: less than the rounding of 16 bits leaves there

cdef float lsa[LSA_POINTS + 1]


cdef double exponential_integral(double v):
    """E1(v), v > 0: the series of Abramowitz and Stegun 5.1.11, the continued fraction 5.1.22 above 1."""
    cdef double term = 1
    cdef double total = 0
    cdef int n
    if v < 1:
        for n in range(1, 30):
            term *= -v / n
            total -= term / n
        return -0.57721566490153286 - log(v) + total
    for n in range(60, 0, -1):
        total = n / (1 + n / (v + total))
    return exp(-v) / (v + total)


cdef int point
for point in range(LSA_POINTS + 1):
    lsa[point] = exp(exponential_integral(2.0 ** (LSA_OCTAVE_MIN + point / <double>LSA_PER_OCTAVE)) / 2)


cdef inline float lsa_factor(float v) noexcept nogil:
    cdef float at = (log2f(v) - LSA_OCTAVE_MIN) * LSA_PER_OCTAVE
    cdef int i
    if at >= LSA_POINTS - 1:
        return 1
    if at < 0:
        return lsa[0]
    i = <int>at
    return lsa[i] + (lsa[i + 1] - lsa[i]) * (at - i)


cdef void denoise_init(Denoise* s, int rate_hz, float depth_db) noexcept nogil:
    cdef int i
    memset(s, 0, sizeof(Denoise))
    s.hop = rate_hz // 100
    s.size = 256
    while s.size < 2 * s.hop:
        s.size *= 2
    s.floor = powf(10, -depth_db / 20)
    for i in range(2 * s.hop):         # the root of a Hann window, before and after: they sum to one
        s.window[i] = sin(M_PI * (i + 0.5) / (2 * s.hop))


cdef inline void track_noise(Denoise* s, int k, float power) noexcept nogil:
    cdef float presence
    if s.frames <= START_FRAMES:
        s.noise[k] += (power - s.noise[k]) / s.frames
    else:
        presence = 1 / (1 + (1 + SPEECH_SNR) * expf(-power / s.noise[k] * (SPEECH_SNR / (1 + SPEECH_SNR))))
        s.presence[k] = PRESENCE_SMOOTH * s.presence[k] + (1 - PRESENCE_SMOOTH) * presence
        if s.presence[k] > PRESENCE_MAX and presence > PRESENCE_MAX:
            presence = PRESENCE_MAX
        s.noise[k] += (1 - NOISE_SMOOTH) * (1 - presence) * (power - s.noise[k])
    if s.noise[k] < POWER_MIN:
        s.noise[k] = POWER_MIN


cdef inline float gain_of(Denoise* s, int k, float power) noexcept nogil:
    cdef float after = power / s.noise[k]
    cdef float prior
    cdef float gain
    if after > 1000:
        after = 1000
    prior = PRIOR_SMOOTH * s.clean[k] / s.noise[k] + (1 - PRIOR_SMOOTH) * (after - 1 if after > 1 else 0)
    if prior < PRIOR_MIN:
        prior = PRIOR_MIN
    gain = prior / (1 + prior)
    gain *= lsa_factor(gain * after)
    gain = 1 if gain > 1 else gain
    s.clean[k] = gain * gain * power
    return gain if gain > s.floor else s.floor


cdef void denoise_hop(Denoise* s, int16_t* pcm) noexcept nogil:
    cdef float data[SPECTRUM_MAX]
    cdef float re[DENOISE_BINS_MAX]
    cdef float im[DENOISE_BINS_MAX]
    cdef float power
    cdef float gain
    cdef float value
    cdef int i, k
    memset(data, 0, sizeof(data))
    for i in range(s.hop):
        data[i] = s.before[i] * s.window[i]
        s.before[i] = pcm[i]
        data[s.hop + i] = s.before[i] * s.window[s.hop + i]
    spectrum_forward(data, re, im, s.size)
    if s.frames <= START_FRAMES:
        s.frames += 1
    for k in range(s.size // 2 + 1):
        power = re[k] * re[k] + im[k] * im[k]
        track_noise(s, k, power)
        gain = gain_of(s, k, power)
        re[k] *= gain
        im[k] *= gain
    spectrum_inverse(re, im, data, s.size)
    for i in range(s.hop):
        value = s.overlap[i] + data[i] * s.window[i]
        pcm[i] = <int16_t>(32767 if value > 32767 else (-32768 if value < -32768 else value))
        s.overlap[i] = data[s.hop + i] * s.window[s.hop + i]


cdef void denoise_step(Denoise* s, int16_t* pcm, int samples) noexcept nogil:
    cdef int at = 0
    while at + s.hop <= samples:
        denoise_hop(s, pcm + at)
        at += s.hop


# --- for tests and benchmarks

cdef class DenoiseRun:
    """One suppressor; a multiple of 10 ms in and out, 10 ms later."""

    cdef Denoise state

    def __cinit__(self, int rate_hz, float depth_db):
        denoise_init(&self.state, rate_hz, depth_db)

    @property
    def hop(self):
        return self.state.hop

    def step(self, const int16_t[::1] pcm not None):
        out = np.array(pcm, np.int16)
        cdef int16_t[::1] view = out
        denoise_step(&self.state, &view[0], <int>view.shape[0])
        return out
