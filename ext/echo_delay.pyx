"""How long after it was sent a sound comes back: its echo, through loudspeakers, codecs and jitter buffers.

Each hop of 10 ms becomes 32 bits: whether the power of a band is above its mean. The delay is the lag at which the
bits of what is said differ least from those of what was sent, over a second in which something was sent. Level,
distortion and codec do not touch that, and two voices do not agree by chance.
"""

from libc.math cimport log2f

cdef enum:
    LAG_MIN = 4                        # two jitter buffers are never quicker
    BAND_LOW_HZ = 200
    BAND_HIGH_HZ = 3600                # what a telephone line carries
    SEEN_MIN = 100                     # hops: a second of what was sent
    HELD_MIN = 10                      # hops in a row with the same least mismatch

cdef float BAND_POWER_MIN = 1e4        # of a band: some -75 dBov
cdef float LOUD = 2                    # mean over the bands, octaves above that: something was sent
cdef float AUDIBLE = 0.5               # likewise for what was said
cdef float BAND_SMOOTH = 0.01
cdef float MISMATCH_SMOOTH = 0.01
cdef float MISMATCH_FIRST = 0.6        # of the median over all lags: an echo was found. Two voices stay above 0.7
cdef float MISMATCH_AGAIN = 0.55       # likewise: its delay is another one now
cdef float MISMATCH_GAIN = 2           # bits that this must be better by


cdef void echo_delay_init(EchoDelay* s, int rate_hz, int size) noexcept nogil:
    """s: zeroed. size: of the transform; the bands are at least a bin wide."""
    cdef int i
    for i in range(ECHO_BANDS + 1):
        s.edges[i] = (BAND_LOW_HZ + (BAND_HIGH_HZ - BAND_LOW_HZ) * i // ECHO_BANDS) * size // rate_hz
        if i > 0 and s.edges[i] <= s.edges[i - 1]:
            s.edges[i] = s.edges[i - 1] + 1
    for i in range(ECHO_BANDS):
        s.sent_mean[i] = s.said_mean[i] = log2f(BAND_POWER_MIN)


cdef uint32_t bits_of(EchoDelay* s, const float* re, const float* im, float* mean, float* loudness) noexcept nogil:
    """A bit for each band above its mean; loudness: octaves above the least power, averaged."""
    cdef uint32_t bits = 0
    cdef float total = 0
    cdef float power
    cdef int band, k
    for band in range(ECHO_BANDS):
        power = BAND_POWER_MIN
        for k in range(s.edges[band], s.edges[band + 1]):
            power += re[k] * re[k] + im[k] * im[k]
        power = log2f(power)
        total += power
        mean[band] += BAND_SMOOTH * (power - mean[band])
        if power > mean[band]:
            bits |= <uint32_t>1 << band
    loudness[0] = total / ECHO_BANDS - log2f(BAND_POWER_MIN)
    return bits


cdef inline int count_bits(uint32_t x) noexcept nogil:
    x = x - ((x >> 1) & 0x55555555)
    x = (x & 0x33333333) + ((x >> 2) & 0x33333333)
    return (((x + (x >> 4)) & 0x0F0F0F0F) * <uint32_t>0x01010101) >> 24


cdef int echo_delay_place(const EchoDelay* s, int ahead, int lag) noexcept nogil:
    return (s.newest + 1 + ahead - lag + 2 * ECHO_HISTORY) % ECHO_HISTORY


cdef float median(const float* values, int count) noexcept nogil:
    cdef float sorted_values[ECHO_LAGS]
    cdef float value
    cdef int i, k
    for i in range(count):
        value = values[i]
        k = i
        while k > 0 and sorted_values[k - 1] > value:
            sorted_values[k] = sorted_values[k - 1]
            k -= 1
        sorted_values[k] = value
    return sorted_values[count // 2]


cdef bint is_delay(const EchoDelay* s, int best) noexcept nogil:
    cdef float least = s.mismatch[best]
    cdef float usual
    if s.lag and -2 < best - s.lag < 2:
        return False                   # the taps reach there
    usual = median(s.mismatch + LAG_MIN, ECHO_LAGS - LAG_MIN)
    if not s.lag:
        return least < MISMATCH_FIRST * usual
    return least < MISMATCH_AGAIN * usual and least < s.mismatch[s.lag] - MISMATCH_GAIN


cdef bint echo_delay_said(EchoDelay* s, int ahead, const float* re, const float* im) noexcept nogil:
    cdef float loudness = 0
    cdef uint32_t bits = bits_of(s, re, im, s.said_mean, &loudness)
    cdef float step
    cdef int best = LAG_MIN
    cdef int at, lag
    if loudness <= AUDIBLE:
        return False
    for lag in range(LAG_MIN, ECHO_LAGS):
        at = echo_delay_place(s, ahead, lag)
        if s.sent_loud[at]:
            s.seen[lag] += s.seen[lag] < SEEN_MIN
            step = 1.0 / s.seen[lag] if s.seen[lag] < SEEN_MIN else MISMATCH_SMOOTH
            s.mismatch[lag] += step * (count_bits(bits ^ s.sent_bits[at]) - s.mismatch[lag])
        if s.mismatch[lag] < s.mismatch[best]:
            best = lag
    s.held = s.held + 1 if best == s.candidate else 0
    s.candidate = best
    if s.held < HELD_MIN or s.seen[best] < SEEN_MIN or not is_delay(s, best):
        return False
    s.lag = best
    s.found += 1
    return True


cdef void echo_delay_sent(EchoDelay* s, const float* re, const float* im) noexcept nogil:
    cdef float loudness = 0
    s.newest = (s.newest + 1) % ECHO_HISTORY
    s.sent_bits[s.newest] = bits_of(s, re, im, s.sent_mean, &loudness)
    s.sent_loud[s.newest] = loudness > LOUD
