"""Prompts and tones as 20 ms blocks: position, loop and gain of one playing.

Knows neither leg nor codec; whoever calls it resamples and encodes.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy, memset
from mediaserver.ext.dtmf cimport tone_init, tone_step
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


cdef void play_sent(Play* p, uint32_t ssrc, uint32_t first, uint32_t next_) noexcept nogil:
    if first == next_:                 # less than a packet's worth, or the codec's own silence
        return
    if not p.packets:
        p.ssrc = ssrc
        p.first_sequence = first
    if ssrc == p.ssrc:                 # else it was changed meanwhile: no report is of all of it
        p.last_sequence = next_ - 1
        p.packets += next_ - first


cdef tuple play_range(const Play* p):
    return (p.ssrc, p.first_sequence, p.last_sequence, p.packets) if p.packets else None


cdef Play* play_new(uint64_t play_id, int rate_hz) except NULL:
    cdef Play* play = <Play*>calloc(1, sizeof(Play))
    if play is NULL:
        raise MemoryError
    play.id = play_id
    play.rate_hz = rate_hz
    return play


cdef Play* play_new_samples(uint64_t play_id, bytes samples, int rate_hz, bint loop, int gain_q12,
                            int64_t start) except NULL:
    cdef Play* play
    if rate_hz not in (8000, 16000, 48000) or len(samples) % 2:
        raise ValueError("a prompt is int16 samples at 8000, 16000 or 48000 Hz")
    play = play_new(play_id, rate_hz)
    play.samples = <const int16_t*>PyBytes_AS_STRING(samples)
    play.count = len(samples) // 2
    play.position = min(max(start, 0), play.count)
    play.loop = loop and play.count > 0
    play.gain_q12 = gain_q12
    return play


cdef Play* play_new_tone(uint64_t play_id, frequencies_hz, cadence_ms, double level_dbm0, int repeats) except NULL:
    cdef double frequencies[4]
    cdef int32_t cadence[8]
    cdef Play* play
    if not 1 <= len(frequencies_hz) <= 4 or len(cadence_ms) > 8:
        raise ValueError("a tone has one to four frequencies and at most eight cadence times")
    for i, hertz in enumerate(frequencies_hz):
        frequencies[i] = hertz
    for i, ms in enumerate(cadence_ms):
        cadence[i] = ms
    play = play_new(play_id, TONE_RATE_HZ)
    tone_init(&play.tone, TONE_RATE_HZ, frequencies, len(frequencies_hz), level_dbm0, cadence, len(cadence_ms), repeats)
    return play
