"""Automatic gain towards a set active speech level, ITU-T P.56's measure kept running.

The level is the mean power of blocks in which somebody speaks: those of a voice no more than P.56's margin of 15.9 dB
below the level known so far, and 200 ms of hang-over behind them. Gain moves only while they are heard and rise and
fall as speech does, so pauses and steady noise are never pumped up; it moves fast in the first second of a voice and
slowly ever after. It gives more than 16 bits can hold: a limiter belongs behind it.
"""

from libc.math cimport log10f, powf
from libc.stdint cimport int64_t
from libc.string cimport memset
from mediaserver.ext.mix cimport mix_level, speaker_init, speaker_step

import numpy as np

cdef enum:
    MEMORY_BLOCKS = 250                # 5 s of speech
    KNOWN_BLOCKS = 10                  # 200 ms: before that no level is worth following
    NEW_VOICE_BLOCKS = 60              # of speech, in which the gain may hurry
    HANGOVER_BLOCKS = 10               # P.56: 200 ms
    FAINT_BLOCKS = 150                 # 3 s

cdef float MARGIN = 0.0257             # 15.9 dB
cdef float SWING = 8.0                 # 9 dB: the blocks of a steady noise differ by two
cdef float FORGET = 0.98               # a block
cdef float UP_DB = 0.1                 # a block: 5 dB/s
cdef float UP_HURRY_DB = 0.6           # 30 dB/s
cdef float DOWN_DB = 0.3               # too loud hurts more than too soft: 15 dB/s
cdef float DOWN_HURRY_DB = 1.0


cdef void levelling_init(Levelling* s, float target_dbov, float boost_max_db, float cut_max_db) noexcept nogil:
    memset(s, 0, sizeof(Levelling))
    speaker_init(&s.speaker)
    s.target_dbov = target_dbov
    s.boost_max_db = boost_max_db
    s.cut_max_db = cut_max_db
    s.gain = 1.0


cdef bint rises_and_falls(Levelling* s, float power) noexcept nogil:
    s.loudest *= FORGET
    s.softest /= FORGET
    if power > s.loudest:
        s.loudest = power
    if power < s.softest or s.softest == 0:
        s.softest = power
    return s.loudest >= s.softest * SWING


cdef bint is_speech(Levelling* s, float power, bint talking) noexcept nogil:
    if not talking or power <= 0:
        s.hangover = 0
        s.loudest = s.softest = 0
        return False
    if not rises_and_falls(s, power):
        return False
    if s.active_blocks == 0 or power >= s.mean_power * MARGIN:
        s.hangover = HANGOVER_BLOCKS
        s.faint_blocks = 0
        return True
    s.faint_blocks += 1
    if s.faint_blocks >= FAINT_BLOCKS:
        s.active_blocks = 0
        s.faint_blocks = 0
    if s.hangover == 0:
        return False
    s.hangover -= 1
    return True


cdef void follow(Levelling* s, float power) noexcept nogil:
    cdef float wanted
    cdef bint hurry = s.active_blocks < NEW_VOICE_BLOCKS
    if s.active_blocks < MEMORY_BLOCKS:
        s.active_blocks += 1
    s.mean_power += (power - s.mean_power) / s.active_blocks
    if s.active_blocks < KNOWN_BLOCKS:
        return
    wanted = s.target_dbov - 10 * log10f(s.mean_power)
    wanted = s.boost_max_db if wanted > s.boost_max_db else (-s.cut_max_db if wanted < -s.cut_max_db else wanted)
    if wanted > s.gain_db:
        s.gain_db += min(wanted - s.gain_db, UP_HURRY_DB if hurry else UP_DB)
    else:
        s.gain_db -= min(s.gain_db - wanted, DOWN_HURRY_DB if hurry else DOWN_DB)


cdef void levelling_step(Levelling* s, const int16_t* pcm, int32_t* out, int samples, bint voice) noexcept nogil:
    cdef int64_t energy = 0
    cdef float gain = s.gain
    cdef float slope
    cdef float power
    cdef bint talking
    cdef int i
    for i in range(samples):
        energy += <int64_t>pcm[i] * pcm[i]
    power = <float>energy / samples / (32768.0 * 32768.0)
    talking = speaker_step(&s.speaker, mix_level(pcm, samples) if voice else 127)
    if voice and is_speech(s, power, talking):
        follow(s, power)
    s.gain = powf(10, s.gain_db / 20)
    slope = (s.gain - gain) / samples
    for i in range(samples):
        gain += slope
        out[i] = <int32_t>(pcm[i] * gain)


# --- for tests and benchmarks

cdef class LevellingRun:
    """One automatic gain; blocks of 20 ms in, int32 out."""

    cdef Levelling state

    def __cinit__(self, float target_dbov, float boost_max_db=18.0, float cut_max_db=18.0):
        levelling_init(&self.state, target_dbov, boost_max_db, cut_max_db)

    @property
    def gain_db(self):
        return self.state.gain_db

    def step(self, const int16_t[::1] pcm not None, bint voice=True):
        out = np.empty(pcm.shape[0], np.int32)
        cdef int32_t[::1] view = out
        levelling_step(&self.state, &pcm[0], &view[0], <int>pcm.shape[0], voice)
        return out
