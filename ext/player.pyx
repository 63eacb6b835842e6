"""Prompts and tones as 20 ms blocks: position, loop and gain of one playing.

Knows neither leg nor codec; whoever calls it resamples and encodes.
"""

from libc.string cimport memcpy, memset
from mediaserver.ext.dtmf cimport tone_step
from mediaserver.ext.mix cimport mix_gain

cdef enum:
    UNITY_GAIN_Q12 = 4096


cdef int play_step(Play* p, int16_t* out) noexcept nogil:
    cdef int wanted = p.rate_hz // 50
    cdef int filled = 0
    cdef int64_t piece
    if p.samples is NULL:
        if p.tone.done:
            return 0
        tone_step(&p.tone, out, wanted)
        return 1
    if p.position >= p.count:
        return 0
    while filled < wanted:
        piece = p.count - p.position
        if piece > wanted - filled:
            piece = wanted - filled
        memcpy(out + filled, p.samples + p.position, piece * sizeof(int16_t))
        filled += <int>piece
        p.position += piece
        if p.position < p.count:
            continue
        if not p.loop:
            break
        p.position = 0
    memset(out + filled, 0, (wanted - filled) * sizeof(int16_t))
    if p.gain_q12 != UNITY_GAIN_Q12:
        mix_gain(out, filled, p.gain_q12)
    return 1
