"""Mixing arithmetic of one tick, level and talking flag of one participant.

Owns exact integer sums (any order gives the same bytes), saturation and the speaker state; who hears whom is the
bridge's business. Levels follow RFC 6464: 0 is overload, 127 is silence, in -dBov.
"""
from libc.string cimport memset

from mediaserver.codecs.comfort cimport level_dbov

import numpy as np

cdef enum:
    GAIN_BITS = 12
    GAIN_MAX_Q12 = 65535           # +24 dB; the product with 16 bits still fits 32
    SILENCE = 127
    AT_LIMIT = 32000               # the greatest sample of mu-law is 32124, of A-law 32256
    NOISE_START = 75               # -dBov: a quiet room, until its own floor is known
    FLOOR_MAX = 45                 # louder than this is not taken for a noise floor
    VOICE_ABOVE_NOISE_DB = 9
    VOICE_LEVEL_MIN = 60           # quieter than -60 dBov is never speech a listener would follow
    ONSET_BLOCKS = 2               # 40 ms of voice, so that a click does not take the floor
    HANGOVER_BLOCKS = 15           # 300 ms of 20 ms blocks: gaps between words


cdef void mix_clear(int32_t* total, int samples) noexcept nogil:
    memset(total, 0, samples * sizeof(int32_t))


cdef void mix_add(int32_t* total, const int16_t* pcm, int samples) noexcept nogil:
    cdef int i
    for i in range(samples):
        total[i] += pcm[i]


cdef inline int32_t saturate(int32_t value) noexcept nogil:
    return 32767 if value > 32767 else (-32768 if value < -32768 else value)


cdef void mix_minus(const int32_t* total, const int16_t* own, int16_t* out, int samples) noexcept nogil:
    cdef int i
    if own is NULL:
        for i in range(samples):
            out[i] = <int16_t>saturate(total[i])
    else:
        for i in range(samples):
            out[i] = <int16_t>saturate(total[i] - own[i])


cdef void mix_gain(int16_t* pcm, int samples, int gain_q12) noexcept nogil:
    cdef int i
    cdef int32_t gain = 0 if gain_q12 < 0 else (GAIN_MAX_Q12 if gain_q12 > GAIN_MAX_Q12 else gain_q12)
    if gain == 1 << GAIN_BITS:
        return
    for i in range(samples):
        pcm[i] = <int16_t>saturate((pcm[i] * gain) >> GAIN_BITS)


cdef int mix_at_limit(const int16_t* pcm, int samples) noexcept nogil:
    cdef int i
    cdef int count = 0
    for i in range(samples):
        count += (pcm[i] >= AT_LIMIT) | (pcm[i] <= -AT_LIMIT)
    return count


cdef int mix_level(const int16_t* pcm, int samples) noexcept nogil:
    return level_dbov(pcm, samples)


cdef void speaker_init(SpeakerState* s) noexcept nogil:
    s.smoothed_q8 = SILENCE << 8
    s.noise_q8 = NOISE_START << 8
    s.onset = 0
    s.talking = 0
    s.hangover = 0


cdef int speaker_step(SpeakerState* s, int level) noexcept nogil:
    cdef int32_t now = (0 if level < 0 else (SILENCE if level > SILENCE else level)) << 8
    # Levels count downwards: a smaller number is louder. Rises are followed at once, falls over about 80 ms.
    s.smoothed_q8 += (now - s.smoothed_q8) // (2 if now < s.smoothed_q8 else 4)
    # The floor follows quiet blocks quickly and creeps up under louder ones (3 dB/s): steady noise becomes floor.
    if now > s.noise_q8:
        s.noise_q8 += (now - s.noise_q8) // 4
    else:
        s.noise_q8 -= 15
    if s.noise_q8 < FLOOR_MAX << 8:
        s.noise_q8 = FLOOR_MAX << 8
    if now <= s.noise_q8 - (VOICE_ABOVE_NOISE_DB << 8) and now <= VOICE_LEVEL_MIN << 8:
        s.onset += 1
        if s.onset >= ONSET_BLOCKS:
            s.onset = ONSET_BLOCKS
            s.talking = 1
            s.hangover = HANGOVER_BLOCKS
    else:
        s.onset = 0
        if s.hangover > 0:
            s.hangover -= 1
        else:
            s.talking = 0
    return s.talking


# --- for tests and benchmarks

def mix_tick(const int16_t[:, ::1] pcm not None):
    """N-1 mixes of all rows: int16[participants, samples] -> the same shape."""
    cdef int count = <int>pcm.shape[0]
    cdef int samples = <int>pcm.shape[1]
    out = np.zeros((count, samples), np.int16)
    totals = np.empty(samples, np.int32)
    cdef int16_t[:, ::1] result = out
    cdef int32_t[::1] total = totals
    cdef int i
    if count == 0 or samples == 0:
        return out
    with nogil:
        mix_clear(&total[0], samples)
        for i in range(count):
            mix_add(&total[0], &pcm[i, 0], samples)
        for i in range(count):
            mix_minus(&total[0], &pcm[i, 0], &result[i, 0], samples)
    return out


def mix_listen(const int16_t[:, ::1] pcm not None):
    """What a listener who says nothing hears: int16[samples]."""
    cdef int samples = <int>pcm.shape[1]
    out = np.zeros(samples, np.int16)
    totals = np.zeros(samples, np.int32)
    cdef int16_t[::1] result = out
    cdef int32_t[::1] total = totals
    cdef int i
    if samples:
        for i in range(<int>pcm.shape[0]):
            mix_add(&total[0], &pcm[i, 0], samples)
        mix_minus(&total[0], NULL, &result[0], samples)
    return out


def gain(const int16_t[::1] pcm not None, int gain_q12):
    """A copy with the gain applied."""
    out = np.array(pcm, np.int16)
    cdef int16_t[::1] view = out
    if view.shape[0]:
        mix_gain(&view[0], <int>view.shape[0], gain_q12)
    return out


def level(const int16_t[::1] pcm not None):
    """RFC 6464 level of the block, 0..127."""
    return mix_level(&pcm[0], <int>pcm.shape[0]) if pcm.shape[0] else SILENCE


cdef class Speaker:
    """One participant's talking flag."""

    cdef SpeakerState state

    def __cinit__(self):
        speaker_init(&self.state)

    def step(self, int level):
        return bool(speaker_step(&self.state, level))

    @property
    def smoothed_dbov(self):
        return -self.state.smoothed_q8 / 256.0
