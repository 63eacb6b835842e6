"""What is done to one party's voice before others hear it, in this order: echo, high-pass, noise, gain, limiter.

Owns the order and the change of sample rate; each step has a file of its own. Only legs that are decoded come here.
"""

from libc.math cimport M_PI, M_SQRT2, cos, sin
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from mediaserver.ext.canceller cimport canceller_init, canceller_said, canceller_sent
from mediaserver.ext.context cimport TICK_SAMPLES_MAX
from mediaserver.ext.denoise cimport denoise_init, denoise_step
from mediaserver.ext.levelling cimport levelling_init, levelling_step
from mediaserver.ext.limiter cimport limiter_init, limiter_step
from mediaserver.ext.linecheck cimport linecheck_said, linecheck_sent

import numpy as np

cdef enum:
    HIGH_PASS_HZ = 90                  # under every voice's pitch but the deepest, over mains and wind
    CEILING = 29204                    # -1 dB of full scale: what the listener's codec adds still fits
    FADE_FROM_TENTHS = 7               # of the first 20 ms: nothing comes out of the steps before 14 ms


cdef LegVoice* processing_new(const ProcessingConfig* config) noexcept nogil:
    cdef LegVoice* s = <LegVoice*>calloc(1, sizeof(LegVoice))
    if s is NULL:
        return NULL
    s.config = config[0]
    levelling_init(&s.levelling, config.target_dbov, config.boost_max_db, config.cut_max_db)
    if config.echo_cancel:
        s.canceller = <Canceller*>calloc(1, sizeof(Canceller))
        if s.canceller is NULL:
            free(s)
            return NULL
    return s


cdef void processing_free(LegVoice* s) noexcept nogil:
    if s is not NULL:
        free(s.canceller)
    free(s)


cdef void set_rate(LegVoice* s, int rate_hz) noexcept nogil:
    """The high-pass is Butterworth's of second order, by the bilinear transform."""
    cdef double angle = 2 * M_PI * HIGH_PASS_HZ / rate_hz
    cdef double alpha = sin(angle) / M_SQRT2
    cdef double a0 = 1 + alpha
    s.rate_hz = rate_hz
    s.pass_b[0] = s.pass_b[2] = (1 + cos(angle)) / 2 / a0
    s.pass_b[1] = -(1 + cos(angle)) / a0
    s.pass_a[0] = -2 * cos(angle) / a0
    s.pass_a[1] = (1 - alpha) / a0
    s.pass_z[0] = s.pass_z[1] = 0
    if s.canceller is not NULL:
        canceller_init(s.canceller, rate_hz)
    denoise_init(&s.denoise, rate_hz, s.config.noise_db)
    limiter_init(&s.limiter, rate_hz, CEILING)


cdef void high_pass(LegVoice* s, int16_t* pcm, int samples) noexcept nogil:
    cdef float z0 = s.pass_z[0]
    cdef float z1 = s.pass_z[1]
    cdef float x, y
    cdef int i
    for i in range(samples):
        x = pcm[i]
        y = s.pass_b[0] * x + z0
        z0 = s.pass_b[1] * x - s.pass_a[0] * y + z1
        z1 = s.pass_b[2] * x - s.pass_a[1] * y
        pcm[i] = <int16_t>(32767 if y > 32767 else (-32768 if y < -32768 else y))
    s.pass_z[0] = z0 if z0 * z0 > 1e-12 else 0       # denormal numbers cost a hundred times as much
    s.pass_z[1] = z1 if z1 * z1 > 1e-12 else 0


cdef void processing_step(LegVoice* s, int16_t* pcm, int samples, int rate_hz, bint voice) noexcept nogil:
    cdef int32_t wide[TICK_SAMPLES_MAX]
    if s.rate_hz != rate_hz:
        set_rate(s, rate_hz)
    if s.config.line_check:
        linecheck_said(&s.check, pcm, samples)
    if s.canceller is not NULL:
        canceller_said(s.canceller, pcm, samples)
    if s.config.high_pass:
        high_pass(s, pcm, samples)
    if s.config.noise_db > 0:
        denoise_step(&s.denoise, pcm, samples)
    if s.config.target_dbov < 0:
        levelling_step(&s.levelling, pcm, wide, samples, voice)
        limiter_step(&s.limiter, wide, pcm, samples)


cdef void processing_join(LegVoice* s, int16_t* pcm, int samples, int rate_hz, bint voice) noexcept nogil:
    cdef int16_t raw[TICK_SAMPLES_MAX]
    cdef int begin = samples * FADE_FROM_TENTHS // 10
    cdef int i
    if s.rate_hz == rate_hz:
        processing_step(s, pcm, samples, rate_hz, voice)
        return
    memcpy(raw, pcm, samples * sizeof(int16_t))
    processing_step(s, pcm, samples, rate_hz, voice)
    memcpy(pcm, raw, begin * sizeof(int16_t))
    for i in range(begin, samples):
        pcm[i] = <int16_t>((<int32_t>raw[i] * (samples - i) + <int32_t>pcm[i] * (i - begin)) // (samples - begin))


cdef void processing_heard(LegVoice* s, const int16_t* pcm, int samples) noexcept nogil:
    if s.config.line_check:
        linecheck_sent(&s.check, pcm, samples)
    if s.canceller is not NULL and s.rate_hz:
        canceller_sent(s.canceller, pcm, samples)


# --- for tests and benchmarks

cdef class ProcessingRun:
    """All of it on blocks of 20 ms; config: the fields of ProcessingConfig."""

    cdef LegVoice* state

    def __cinit__(self, config):
        cdef ProcessingConfig native = config
        self.state = processing_new(&native)
        if self.state is NULL:
            raise MemoryError

    def __dealloc__(self):
        processing_free(self.state)

    def step(self, const int16_t[::1] pcm not None, int rate_hz, bint voice=True):
        out = np.array(pcm, np.int16)
        cdef int16_t[::1] view = out
        processing_step(self.state, &view[0], <int>view.shape[0], rate_hz, voice)
        return out

    def heard(self, const int16_t[::1] pcm not None):
        processing_heard(self.state, &pcm[0], <int>pcm.shape[0])
