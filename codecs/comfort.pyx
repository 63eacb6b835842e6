"""Comfort noise for codecs without their own, RFC 3389.

Owns the reading of a CN payload (level and reflection coefficients), the noise it describes, and the level meter both
RFC 3389 and RFC 6464 count by. Decides neither when to send CN nor when to play it.
"""
from libc.math cimport floorf, pow, sqrt
from libc.string cimport memset

cdef enum:
    SILENCE = 127
    FIRST_SEED = 0x2545F491

cdef double POWER_FLOOR[128]       # mean square at which level L begins (rounded to the nearest dB)
cdef float AMPLITUDE[128]          # of uniform noise with that level: sqrt(3) * rms


cdef void fill_tables():
    cdef int level
    for level in range(127):
        POWER_FLOOR[level] = 32768.0 * 32768.0 * pow(10.0, -(level + 0.5) / 10.0)
        AMPLITUDE[level] = <float>(32768.0 * pow(10.0, -level / 20.0) * sqrt(3.0))
    POWER_FLOOR[SILENCE] = 0.0
    AMPLITUDE[SILENCE] = 0.0


fill_tables()


cdef void comfort_init(ComfortNoise* c) noexcept nogil:
    memset(c, 0, sizeof(ComfortNoise))
    c.level = SILENCE
    c.seed = FIRST_SEED


cdef void comfort_set_level(ComfortNoise* c, int level) noexcept nogil:
    cdef double gain = 1.0
    cdef int i
    c.level = 0 if level < 0 else (SILENCE if level > SILENCE else level)
    # The all-pole filter raises the power by 1 / prod(1 - k^2); the level is that of its output.
    for i in range(c.order):
        gain *= 1.0 - c.k[i] * c.k[i]
    c.target = <float>(AMPLITUDE[c.level] * sqrt(gain))


cdef int comfort_read(ComfortNoise* c, const uint8_t* payload, int size) noexcept nogil:
    cdef int i, order
    if size < 1:
        return -1
    order = min(size - 1, <int>COMFORT_ORDER_MAX)
    for i in range(order):
        # RFC 3389 3.2: k = 258 * (N - 127) / 32768; 255 is reserved, and would be an unstable filter.
        c.k[i] = <float>(258.0 * (min(<int>payload[1 + i], 254) - 127) / 32768.0)
    for i in range(order, COMFORT_ORDER_MAX + 1):
        c.b[i] = 0.0
    c.order = order
    comfort_set_level(c, payload[0] & 0x7F)
    return 0


cdef void comfort_fill(ComfortNoise* c, int16_t* out, int samples) noexcept nogil:
    cdef int i, j
    cdef float f, sample
    for i in range(samples):
        # 5 ms at 8 kHz: a change of level is heard as a change, not as a click.
        c.amplitude += (c.target - c.amplitude) * <float>0.025
        c.seed = c.seed * 1664525 + 1013904223
        f = c.amplitude * (<float>(<int32_t>c.seed) * <float>(1.0 / 2147483648.0))
        j = c.order
        while j > 0:
            j -= 1
            f -= c.k[j] * c.b[j]
            c.b[j + 1] = c.b[j] + c.k[j] * f
        c.b[0] = f
        sample = floorf(f + <float>0.5)
        sample = sample if sample > -32768.0 else <float>-32768.0
        out[i] = <int16_t>(sample if sample < 32767.0 else <float>32767.0)
    if c.amplitude < <float>1e-3:
        c.amplitude = 0.0            # keeps denormals out of the filter
        if c.target == 0.0:
            memset(c.b, 0, sizeof(c.b))


cdef int comfort_write(int level, uint8_t* out, int capacity) noexcept nogil:
    if capacity < 1:
        return -1
    out[0] = <uint8_t>(0 if level < 0 else (SILENCE if level > SILENCE else level))
    return 1


cdef int level_dbov(const int16_t* pcm, int samples) noexcept nogil:
    cdef int64_t power = 0
    cdef int i, below, above, middle
    cdef double mean
    if samples <= 0:
        return SILENCE
    for i in range(samples):
        power += <int32_t>pcm[i] * pcm[i]
    mean = <double>power / samples
    # The first level whose floor the mean reaches.
    below = 0
    above = SILENCE
    while below < above:
        middle = (below + above) >> 1
        if mean >= POWER_FLOOR[middle]:
            above = middle
        else:
            below = middle + 1
    return below
