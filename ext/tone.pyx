"""Tones: up to four sines with a cadence, continuous in phase, without clicks.

Owns the generator; which tone a country plays is mediaserver.media.tones' business.
"""
from libc.math cimport pow, sin
from libc.string cimport memset

import numpy as np

cdef enum:
    SINE_BITS = 10
    SINE_SIZE = 1024

cdef double PI = 3.14159265358979323846
cdef double FULL_SCALE_DBM0 = 3.14         # a full-scale sine (G.711 A-law; mu-law differs by 0.03 dB)
cdef float SINE_TABLE[SINE_SIZE + 1]


cdef void fill_table():
    cdef int i
    for i in range(SINE_SIZE + 1):
        SINE_TABLE[i] = <float>sin(2.0 * PI * i / SINE_SIZE)


fill_table()


cdef void tone_init(ToneGenerator* t, int rate_hz, const double* frequencies_hz, int tones, double level_dbm0,
                    const int32_t* cadence_ms, int cadence_count, int repeats) noexcept nogil:
    cdef int i
    memset(t, 0, sizeof(ToneGenerator))
    t.rate_hz = rate_hz
    t.tones = min(tones, 4)
    t.cadence_count = min(cadence_count, 8)
    for i in range(t.tones):
        t.step[i] = <uint32_t>(<int64_t>(frequencies_hz[i] * 4294967296.0 / rate_hz + 0.5))
    t.amplitude = <float>(32767.0 * pow(10.0, (level_dbm0 - FULL_SCALE_DBM0) / 20.0))
    t.envelope_step = <float>(500.0 / rate_hz)
    for i in range(t.cadence_count):
        t.cadence[i] = <int32_t>(<int64_t>(cadence_ms[i] if cadence_ms[i] > 0 else 0) * rate_hz // 1000)
    t.repeats_left = repeats if repeats > 0 else -1
    if t.cadence_count:
        t.cadence_left = t.cadence[0]


cdef inline void next_cadence(ToneGenerator* t) noexcept nogil:
    """Moves to the next on or off period that has any length; sets done after the last round."""
    cdef int _
    for _ in range(t.cadence_count + 1):
        t.cadence_at += 1
        if t.cadence_at == t.cadence_count:
            t.cadence_at = 0
            if t.repeats_left > 0:
                t.repeats_left -= 1
                if t.repeats_left == 0:
                    t.done = 1
                    return
        t.cadence_left = t.cadence[t.cadence_at]
        if t.cadence_left > 0:
            return
    t.done = 1                     # a cadence of nothing but zeros


cdef inline float one_sample(ToneGenerator* t) noexcept nogil:
    cdef float total = 0.0
    cdef float fraction
    cdef uint32_t index
    cdef int i
    for i in range(t.tones):
        index = t.phase[i] >> (32 - SINE_BITS)
        fraction = <float>(t.phase[i] & ((1 << (32 - SINE_BITS)) - 1)) * <float>(1.0 / (1 << (32 - SINE_BITS)))
        total += SINE_TABLE[index] + fraction * (SINE_TABLE[index + 1] - SINE_TABLE[index])
        t.phase[i] += t.step[i]
    return total * t.amplitude


cdef int tone_step(ToneGenerator* t, int16_t* out, int samples) noexcept nogil:
    cdef int i
    cdef int sounding
    cdef float value
    for i in range(samples):
        if t.cadence_count and not t.done and t.cadence_left <= 0:
            next_cadence(t)
        sounding = not t.done and (t.cadence_at & 1) == 0
        t.cadence_left -= 1 if t.cadence_count else 0
        if sounding:
            t.envelope = min(t.envelope + t.envelope_step, <float>1.0)
        elif t.envelope > 0.0:
            t.envelope = max(t.envelope - t.envelope_step, <float>0.0)
        if t.envelope > 0.0:
            value = one_sample(t) * t.envelope
            value = max(<float>-32768.0, min(<float>32767.0, value))
            out[i] = <int16_t>(value + (<float>0.5 if value >= 0 else <float>-0.5))
        else:
            out[i] = 0
    return 0 if t.done and t.envelope <= 0.0 else 1

# --- for tests


cdef class Tone:
    """Tone generator: up to four sines with a cadence."""

    cdef ToneGenerator state

    def __cinit__(self, int rate_hz, frequencies_hz, double level_dbm0=-13.0, cadence_ms=(), int repeats=0):
        cdef double hz[4]
        cdef int32_t cadence[8]
        cdef int i
        if not 0 < len(frequencies_hz) <= 4 or len(cadence_ms) > 8:
            raise ValueError("a tone has 1 to 4 frequencies and at most 8 cadence entries")
        for i in range(len(frequencies_hz)):
            hz[i] = frequencies_hz[i]
        for i in range(len(cadence_ms)):
            cadence[i] = cadence_ms[i]
        tone_init(&self.state, rate_hz, hz, <int>len(frequencies_hz), level_dbm0, cadence, <int>len(cadence_ms),
                  repeats)

    @property
    def done(self):
        return bool(self.state.done and self.state.envelope <= 0.0)

    def step(self, int samples):
        out = np.zeros(max(samples, 0), np.int16)
        cdef int16_t[::1] view = out
        if samples > 0:
            tone_step(&self.state, &view[0], samples)
        return out
