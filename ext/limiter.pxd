# A look-ahead limiter of sample peaks: nothing it gives out is above the ceiling, and its gain never jumps.
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

cdef enum:
    LIMITER_AHEAD_MAX = 192            # 4 ms at 48 kHz
    LIMITER_MINIMA = 256               # a power of two above that

cdef struct Limiter:
    int32_t ceiling                    # of |sample|
    int32_t ahead                      # samples it looks ahead, and delays by
    int32_t release_q16                # share of the way back to unity in one sample
    int32_t at                         # in delayed and shaped
    uint32_t now                       # samples seen
    uint32_t minima_first              # in the two below, modulo LIMITER_MINIMA
    uint32_t minima_last
    int32_t gain_q30                   # after release
    int64_t sum_q30                    # of shaped
    int64_t limited                    # samples turned down
    int32_t delayed[LIMITER_AHEAD_MAX]
    int32_t shaped_q30[LIMITER_AHEAD_MAX]
    uint32_t minima_at[LIMITER_MINIMA]  # candidates for the least gain of the look-ahead, oldest first
    int32_t minima_q30[LIMITER_MINIMA]

# rate_hz: 8000, 16000 or 48000. ceiling: 1..32767.
cdef void limiter_init(Limiter* s, int rate_hz, int ceiling) noexcept nogil
# pcm may be far beyond 16 bits (|x| < 2^30); out: int16[samples], `ahead` samples later.
cdef void limiter_step(Limiter* s, const int32_t* pcm, int16_t* out, int samples) noexcept nogil
