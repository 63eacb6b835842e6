"""Pitch search and pitch-synchronous time stretching (WSOLA) of int16 speech.

Owns the kernels only: who stretches, when and by how much is decided in `ext.playout`. The lag is found on a signal
reduced to about 4 kHz and then refined at the full rate; all sums are integers of scaled samples, in fixed order.
"""

from libc.math cimport sqrt
from libc.stdint cimport int16_t, int32_t, int64_t
from libc.string cimport memcpy, memmove

cdef double MIDDLE_PREFERENCE = 0.1

cdef enum:
    COARSE_HZ = 4000
    COARSE_SPAN_MAX = 256
    PATTERN_MAX = 1320
    SCALED_BITS = 11               # products of 22 bits, 480 of which fit an int32


cdef int scale_down(const int16_t* source, int16_t* out, int samples) noexcept nogil:
    """source shifted right until |x| < 2^SCALED_BITS; returns the peak before."""
    cdef int i, value, peak = 0, shift = 0
    for i in range(samples):
        value = source[i] if source[i] >= 0 else -<int> source[i]
        if value > peak:
            peak = value
    while (peak >> shift) >= (1 << SCALED_BITS):
        shift += 1
    for i in range(samples):
        out[i] = <int16_t> (source[i] >> shift)
    return peak


cdef inline int32_t dot(const int16_t* a, const int16_t* b, int samples) noexcept nogil:
    cdef int32_t total = 0
    cdef int i
    for i in range(samples):
        total += <int32_t> a[i] * b[i]
    return total


cdef int64_t long_dot(const int16_t* a, const int16_t* b, int samples) noexcept nogil:
    cdef int64_t total = 0
    cdef int at = 0
    while at + 256 <= samples:
        total += dot(a + at, b + at, 256)
        at += 256
    return total + dot(a + at, b + at, samples - at)


cdef double similarity(const int16_t* late, int window, int lag, double energy) noexcept nogil:
    """Normalised correlation of late[0..window) with the same `lag` samples before."""
    cdef double early = <double> long_dot(late - lag, late - lag, window)
    if early <= 0 or energy <= 0:
        return 0.0
    return <double> long_dot(late, late - lag, window) / sqrt(early * energy)


cdef int best_lag(const int16_t* late, int window, int low, int high, double* best) noexcept nogil:
    """Energy of the earlier segment slides along instead of being summed for each lag."""
    cdef double energy = <double> long_dot(late, late, window)
    cdef double value
    cdef int64_t early = long_dot(late - low, late - low, window)
    cdef int64_t cross
    cdef int lag, found = low
    best[0] = -1.0
    for lag in range(low, high + 1):
        cross = long_dot(late, late - lag, window)
        value = 0.0
        if early > 0 and energy > 0:
            value = <double> cross / sqrt(<double> early * energy)
        if value > best[0]:
            best[0] = value
            found = lag
        early += <int64_t> late[-lag - 1] * late[-lag - 1] - <int64_t> late[window - lag - 1] * late[window - lag - 1]
    return found


cdef int pitch_lag(const int16_t* end, int window, int min_lag, int max_lag, int rate_hz,
                   int32_t* similarity_q15) noexcept nogil:
    cdef int16_t scaled[PITCH_SPAN_MAX + 1]
    cdef int16_t coarse[COARSE_SPAN_MAX]
    cdef int factor = rate_hz // COARSE_HZ if rate_hz >= 2 * COARSE_HZ else 1
    cdef int span = window + max_lag
    cdef int count, low, high, lag, i, k
    cdef int32_t total
    cdef double best
    similarity_q15[0] = 0
    if scale_down(end - span - 1, scaled, span + 1) == 0:
        return min_lag
    lag = min_lag
    low = min_lag
    high = max_lag
    count = span // factor
    if factor > 1 and count <= COARSE_SPAN_MAX:
        for i in range(count):                     # boxcar: good enough to find the region of the peak
            total = 0
            for k in range(factor):
                total += scaled[1 + span - (count - i) * factor + k]
            coarse[i] = <int16_t> (total // factor)
        low = (min_lag + factor - 1) // factor
        high = max_lag // factor
        if high + window // factor > count - 1:
            high = count - 1 - window // factor
        if high >= low:
            lag = best_lag(coarse + count - window // factor, window // factor, low, high, &best) * factor
            low = lag - factor if lag - factor > min_lag else min_lag
            high = lag + factor if lag + factor < max_lag else max_lag
        else:
            low = min_lag
            high = max_lag
    lag = best_lag(scaled + 1 + span - window, window, low, high, &best)
    similarity_q15[0] = <int32_t> (best * 32767.0)
    return lag


cdef int best_offset(const int16_t* series, int offsets, const int16_t* pattern, int samples, int step,
                     int32_t* similarity_q15) noexcept nogil:
    cdef int16_t where[PITCH_SPAN_MAX]
    cdef int16_t what[PATTERN_MAX]
    cdef int offset, low, high, found = offsets // 2, half = offsets // 2 + 1
    cdef double energy, early, value, reward, best = -2.0, best_value = 0.0
    similarity_q15[0] = 0
    if scale_down(series, where, offsets + samples - 1) == 0 or scale_down(pattern, what, samples) == 0:
        return found
    energy = <double> long_dot(what, what, samples)
    low = 0
    high = offsets - 1
    while True:
        offset = low
        while offset <= high:
            early = <double> long_dot(where + offset, where + offset, samples)
            value = 0.0
            if early > 0:
                value = <double> long_dot(where + offset, what, samples) / sqrt(early * energy)
            reward = value - MIDDLE_PREFERENCE * (offset - offsets // 2 if offset > offsets // 2
                                                  else offsets // 2 - offset) / half
            if reward > best:
                best = reward
                best_value = value
                found = offset
            offset += step
        if step == 1:
            break
        low = found - step + 1 if found - step + 1 > 0 else 0
        high = found + step - 1 if found + step - 1 < offsets - 1 else offsets - 1
        step = 1
    similarity_q15[0] = <int32_t> (best_value * 32767.0)
    return found


cdef void cross_fade(const int16_t* a, const int16_t* b, int16_t* out, int samples) noexcept nogil:
    cdef int i
    cdef int32_t step = 32768 // (samples + 1), weight = 0
    for i in range(samples):
        weight += step
        out[i] = <int16_t> ((<int32_t> a[i] * (32768 - weight) + <int32_t> b[i] * weight + 16384) >> 15)


cdef int stretch_remove(int16_t* pcm, int samples, int lag, int overlap) noexcept nogil:
    cross_fade(pcm, pcm + lag, pcm, overlap)
    memmove(pcm + overlap, pcm + lag + overlap, (samples - lag - overlap) * sizeof(int16_t))
    return samples - lag


cdef int stretch_insert(int16_t* pcm, int samples, int lag, int overlap) noexcept nogil:
    cdef int16_t start[1024]
    if overlap > 1024:
        overlap = 1024
    memcpy(start, pcm, overlap * sizeof(int16_t))
    memmove(pcm + lag, pcm, samples * sizeof(int16_t))
    cross_fade(start, pcm - lag, pcm, overlap)
    if overlap < lag:
        memmove(pcm + overlap, pcm + overlap - lag, (lag - overlap) * sizeof(int16_t))
    return samples + lag


cdef int64_t mean_square(const int16_t* pcm, int samples) noexcept nogil:
    cdef int64_t total = 0
    cdef int i
    if samples <= 0:
        return 0
    for i in range(samples):
        total += <int32_t> pcm[i] * pcm[i]
    return total // samples
