"""The sound kernels of the playout (pitch, stretching, concealment) for Python: tests and tuning."""

from libc.stdint cimport int16_t, int32_t

import numpy as np

from mediaserver.ext.plc cimport Plc, plc_bridge, plc_extend, plc_init, plc_learn, plc_merge
from mediaserver.ext.stretch cimport best_offset, pitch_lag, stretch_insert, stretch_remove


def pitch(const int16_t[::1] pcm not None, int window, int low, int high, int rate_hz):
    cdef int32_t similar
    cdef int lag
    if window + high + 1 > pcm.shape[0]:
        raise ValueError(f"pitch: {pcm.shape[0]} samples; {window + high + 1} are read")
    lag = pitch_lag(&pcm[0] + pcm.shape[0], window, low, high, rate_hz, &similar)
    return lag, similar / 32767.0


def offset(const int16_t[::1] series not None, const int16_t[::1] pattern not None, int step):
    cdef int32_t similar
    cdef int offsets = <int> (series.shape[0] - pattern.shape[0] + 1)
    if offsets < 1 or series.shape[0] > 2640 or pattern.shape[0] > 1320:
        raise ValueError("offset: pattern longer than series, or either too long")
    found = best_offset(&series[0], offsets, &pattern[0], <int> pattern.shape[0], step, &similar)
    return found, similar / 32767.0


def remove(const int16_t[::1] pcm not None, int lag, int overlap):
    if overlap < 0 or lag < 0 or lag + overlap > pcm.shape[0]:
        raise ValueError("remove: lag + overlap must fit")
    out = np.array(pcm, np.int16)
    cdef int16_t[::1] view = out
    return out[:stretch_remove(&view[0], <int> pcm.shape[0], lag, overlap)]


def insert(const int16_t[::1] history not None, const int16_t[::1] pcm not None, int lag, int overlap):
    cdef int before = <int> history.shape[0]
    if lag > before or overlap > lag or overlap > pcm.shape[0]:
        raise ValueError("insert: the lag must be in the history, the overlap in both")
    out = np.concatenate([history, pcm, np.zeros(lag, np.int16)])
    cdef int16_t[::1] view = out
    return out[before:before + stretch_insert(&view[before], <int> pcm.shape[0], lag, overlap)]


def conceal(const int16_t[::1] past not None, int samples, int rate_hz, *, const int16_t[::1] quiet=None):
    """What stands in for `samples` after `past` (>= 40 ms); `quiet`: a frame from which the background is learnt."""
    cdef Plc plc
    cdef int before = <int> past.shape[0]
    if before < rate_hz // 25:
        raise ValueError("conceal: 40 ms of past are read")
    plc_init(&plc, rate_hz)
    if quiet is not None:
        for _ in range(200):
            plc_learn(&plc, &quiet[0], <int> quiet.shape[0])
    out = np.concatenate([past, np.zeros(samples, np.int16)])
    cdef int16_t[::1] view = out
    plc_extend(&plc, &view[before], samples)
    return out[before:]


def bridge(const int16_t[::1] past not None, int gap, const int16_t[::1] future not None, int rate_hz):
    """What stands in for `gap` samples (<= 60 ms) between past (>= 40 ms) and future (>= 10 ms)."""
    cdef Plc plc
    cdef int before = <int> past.shape[0]
    if before < rate_hz // 25 or future.shape[0] < rate_hz // 100 or not 0 < gap <= rate_hz * 60 // 1000:
        raise ValueError("bridge: past, gap or future is too short or too long")
    plc_init(&plc, rate_hz)
    out = np.concatenate([past, np.zeros(gap, np.int16), future])
    cdef int16_t[::1] view = out
    plc_bridge(&plc, &view[before], gap, <int> future.shape[0])
    return out[before:before + gap]


def merge(const int16_t[::1] past not None, int concealed, const int16_t[::1] future not None, int rate_hz):
    """`concealed` samples made after past, then future blended in: concealed + future, one array."""
    cdef Plc plc
    cdef int before = <int> past.shape[0]
    if before < rate_hz // 25 or concealed <= 0:
        raise ValueError("merge: 40 ms of past are read")
    plc_init(&plc, rate_hz)
    out = np.concatenate([past, np.zeros(concealed, np.int16), future])
    cdef int16_t[::1] view = out
    plc_extend(&plc, &view[before], concealed)
    plc_merge(&plc, &view[before + concealed], <int> future.shape[0])
    return out[before:]
