"""The line of samples of one playout: room, bookkeeping of what the samples are, change of rate, and time stretching.

Owns the buffer. Decides nothing: `ext.playout` says what is made and whether time is stretched.
"""

from libc.stdint cimport int16_t, int32_t, int64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from mediaserver.ext.stretch cimport mean_square, pitch_lag, stretch_insert, stretch_remove

cdef enum:
    WAITING_MS_MAX = 60            # what a change of rate carries over
    CARRIED_MAX = 5280             # history and that, at 48 kHz
    LAG_MAX_MS = 15
    PAUSE_MS = 45                  # quiet for so long: a pause, not the closure of a plosive, whose length is heard
    PAUSE_LEFT_MS = 5              # so much of a hole in a pause is filled in any case
    PAUSE_CUT_MS_MAX = 15          # one packet's hole at once; more is not given back in one pause
    QUIET_RMS = 60                 # below -55 dBov any splice is inaudible


cdef int line_reserve(SampleLine* line, int samples) noexcept nogil:
    cdef int16_t* pcm
    if samples <= line.capacity:
        return 0
    pcm = <int16_t*> calloc(samples, sizeof(int16_t))
    if pcm is NULL:
        return -1
    if line.pcm is not NULL:
        memcpy(pcm, line.pcm, line.end * sizeof(int16_t))
        free(line.pcm)
    line.pcm = pcm
    line.capacity = samples
    return 0


cdef void line_free(SampleLine* line) noexcept nogil:
    free(line.pcm)
    line.pcm = NULL
    line.capacity = 0


cdef int line_room(SampleLine* line, int samples) noexcept nogil:
    cdef int kept_from = line.at - line.rate_hz // 1000 * LINE_HISTORY_MS
    if line.end + samples <= line.capacity:
        return 1
    if kept_from <= 0:
        return 0
    memmove(line.pcm, line.pcm + kept_from, (line.end - kept_from) * sizeof(int16_t))
    line.at -= kept_from
    line.end -= kept_from
    line.gap_end -= kept_from
    return line.end + samples <= line.capacity


cdef void line_made(SampleLine* line, int kind, int samples) noexcept nogil:
    line.end += samples
    if kind != LINE_VOICE:
        line.gap_kind = kind
        line.gap_end = line.end
    line.kind_ns[kind] += line_ns(line, samples)
    line.covered += samples


cdef void line_change_rate(SampleLine* line, int rate_hz) noexcept nogil:
    cdef int16_t old[CARRIED_MAX]
    cdef int history = rate_hz // 1000 * LINE_HISTORY_MS
    cdef int old_history, old_waiting, waiting, i
    if line.rate_hz == rate_hz:
        return
    if line.rate_hz == 0:
        line.at = line.end = history
        memset(line.pcm, 0, history * sizeof(int16_t))
    else:
        old_history = line.rate_hz // 1000 * LINE_HISTORY_MS
        old_waiting = line.end - line.at
        if old_waiting > line.rate_hz // 1000 * WAITING_MS_MAX:
            old_waiting = line.rate_hz // 1000 * WAITING_MS_MAX
        memcpy(old, line.pcm + line.at - old_history, (old_history + old_waiting) * sizeof(int16_t))
        waiting = <int> (<int64_t> old_waiting * rate_hz / line.rate_hz)
        for i in range(history + waiting):
            line.pcm[i] = old[<int> (<int64_t> i * line.rate_hz / rate_hz)]
        line.at = history
        line.end = history + waiting
        line.covered = <int> (<int64_t> line.covered * rate_hz / line.rate_hz)
    line.gap_end = 0
    line.rate_hz = rate_hz


cdef int line_quiet(const SampleLine* line, int start, int samples) noexcept nogil:
    return samples > 0 and mean_square(line.pcm + start, samples) < QUIET_RMS * QUIET_RMS


cdef int line_cut_pause(SampleLine* line, int samples, int limit) noexcept nogil:
    cdef int made_up = line_made_up(line)
    cdef int ms = line.rate_hz // 1000
    cdef int cut = made_up - PAUSE_LEFT_MS * ms
    if cut > limit:
        cut = limit
    if cut > PAUSE_CUT_MS_MAX * ms:
        cut = PAUSE_CUT_MS_MAX * ms
    if cut <= 0 or not line_quiet(line, line.end, samples):
        return 0
    made_up += PAUSE_MS * ms
    if not line_quiet(line, line.end - made_up, made_up):
        return 0
    memmove(line.pcm + line.end - cut, line.pcm + line.end, samples * sizeof(int16_t))
    line.end -= cut
    line.gap_end = line.end
    line.kind_ns[line.gap_kind] -= line_ns(line, cut)
    line.covered -= cut
    return cut


cdef int find_lag(const SampleLine* line, int lag_max, int least_q15) noexcept nogil:
    """A lag in 2.5 ms .. lag_max by which time may be moved; 0: none is inaudible enough."""
    cdef int ms = line.rate_hz // 1000
    cdef int lag
    cdef int32_t similar
    if lag_max > LAG_MAX_MS * ms:
        lag_max = LAG_MAX_MS * ms
    if lag_max < ms * 5 // 2 or line.end <= line.at:
        return 0
    if line_quiet(line, line.at, line.end - line.at):
        return lag_max
    lag = pitch_lag(line.pcm + line.end, ms * 20, ms * 5 // 2, lag_max, line.rate_hz, &similar)
    return lag if similar >= least_q15 else 0


cdef int line_shorten(SampleLine* line, int limit, int least_q15) noexcept nogil:
    cdef int samples = line.end - line.at
    cdef int lag = samples - line.rate_hz // 400           # what is left must hold a cross-fade of 2.5 ms
    lag = find_lag(line, limit if limit < lag else lag, least_q15)
    if lag > 0:
        samples = stretch_remove(line.pcm + line.at, samples, lag, lag if lag < samples - lag else samples - lag)
        line.end = line.at + samples
    return lag


cdef int line_lengthen(SampleLine* line, int limit, int least_q15) noexcept nogil:
    cdef int samples = line.end - line.at
    cdef int lag = find_lag(line, limit, least_q15)
    if lag > 0 and line_room(line, lag):
        line.end = line.at + stretch_insert(line.pcm + line.at, samples, lag, lag if lag < samples else samples)
        return lag
    return 0
