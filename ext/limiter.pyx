"""A look-ahead limiter of sample peaks, in integers: the ceiling holds for every sample, whatever comes in.

The gain that a sample needs is known 4 ms before the sample leaves. The least gain needed within that time, released
slowly and then averaged over it, arrives at or below each sample's own need exactly when that sample does: the mean of
numbers that are all small enough is small enough. So there is neither clipping nor overshoot nor a jump.
"""

from libc.string cimport memset

import numpy as np

cdef enum:
    UNITY_Q30 = 1 << 30
    AHEAD_US = 4000
    RELEASE_MS = 80


cdef void limiter_init(Limiter* s, int rate_hz, int ceiling) noexcept nogil:
    cdef int i
    memset(s, 0, sizeof(Limiter))
    s.ceiling = ceiling
    s.ahead = rate_hz * (AHEAD_US // 1000) // 1000
    s.release_q16 = 65536 * 1000 // (RELEASE_MS * rate_hz)
    s.gain_q30 = UNITY_Q30
    for i in range(s.ahead):
        s.shaped_q30[i] = UNITY_Q30
    s.sum_q30 = <int64_t>UNITY_Q30 * s.ahead


cdef inline int32_t least_of_window(Limiter* s, int32_t needed_q30) noexcept nogil:
    """The least gain needed by the newest ahead + 1 samples."""
    while s.minima_last != s.minima_first and s.minima_q30[(s.minima_last - 1) & (LIMITER_MINIMA - 1)] >= needed_q30:
        s.minima_last -= 1
    s.minima_q30[s.minima_last & (LIMITER_MINIMA - 1)] = needed_q30
    s.minima_at[s.minima_last & (LIMITER_MINIMA - 1)] = s.now
    s.minima_last += 1
    if s.now - s.minima_at[s.minima_first & (LIMITER_MINIMA - 1)] > <uint32_t>s.ahead:
        s.minima_first += 1
    return s.minima_q30[s.minima_first & (LIMITER_MINIMA - 1)]


cdef void limiter_step(Limiter* s, const int32_t* pcm, int16_t* out, int samples) noexcept nogil:
    cdef int64_t product
    cdef int64_t step
    cdef int32_t size
    cdef int32_t needed
    cdef int32_t least
    cdef int32_t leaving
    cdef int i
    for i in range(samples):
        size = pcm[i] if pcm[i] >= 0 else -pcm[i]
        needed = UNITY_Q30 if size <= s.ceiling else <int32_t>((<int64_t>s.ceiling << 30) // size)
        least = least_of_window(s, needed)
        step = (<int64_t>(least - s.gain_q30) * s.release_q16) >> 16
        s.gain_q30 = least if step <= 0 else s.gain_q30 + <int32_t>step
        s.sum_q30 += s.gain_q30 - s.shaped_q30[s.at]
        s.shaped_q30[s.at] = s.gain_q30
        leaving = s.delayed[s.at]
        s.delayed[s.at] = pcm[i]
        s.at = s.at + 1 if s.at + 1 < s.ahead else 0
        s.now += 1
        if s.sum_q30 == <int64_t>UNITY_Q30 * s.ahead:
            out[i] = <int16_t>leaving
        else:
            # Towards zero: rounding never lifts a sample over the ceiling.
            product = (<int64_t>(leaving if leaving >= 0 else -leaving) * (s.sum_q30 // s.ahead)) >> 30
            out[i] = <int16_t>(product if leaving >= 0 else -product)
            s.limited += 1


# --- for tests and benchmarks

cdef class LimiterRun:
    """One limiter; samples are int32, results int16, `ahead` samples later."""

    cdef Limiter state

    def __cinit__(self, int rate_hz, int ceiling):
        limiter_init(&self.state, rate_hz, ceiling)

    @property
    def ahead(self):
        return self.state.ahead

    def step(self, const int32_t[::1] pcm not None):
        out = np.empty(pcm.shape[0], np.int16)
        cdef int16_t[::1] view = out
        if pcm.shape[0]:
            limiter_step(&self.state, &pcm[0], &view[0], <int>pcm.shape[0])
        return out
