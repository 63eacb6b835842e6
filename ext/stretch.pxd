# Faster or slower speech at the same pitch: pitch periods are taken out of or put into the samples not played yet.
from libc.stdint cimport int16_t, int32_t, int64_t

cdef enum:
    PITCH_SPAN_MAX = 2640          # 55 ms at 48 kHz: window and longest lag of one search

# The lag in min_lag..max_lag at which the `window` samples before `end` best repeat what came before; all from
# end - window - max_lag - 1 is read; window + max_lag <= PITCH_SPAN_MAX. *similarity_q15: normalised correlation,
# -32768..32767; 0 and min_lag for digital silence.
cdef int pitch_lag(const int16_t* end, int window, int min_lag, int max_lag, int rate_hz,
                   int32_t* similarity_q15) noexcept nogil
# The offset in 0..offsets-1 at which series best looks like pattern[samples], preferring the middle; series holds
# offsets + samples - 1 <= PITCH_SPAN_MAX samples, samples <= 27 ms at 48 kHz. Every step-th is tried, then those
# around the best. *similarity_q15 as above.
cdef int best_offset(const int16_t* series, int offsets, const int16_t* pattern, int samples, int step,
                     int32_t* similarity_q15) noexcept nogil
# Takes `lag` samples out of pcm[samples] by cross-fading x[i] into x[i + lag]; returns the new length samples - lag.
# lag + overlap <= samples.
cdef int stretch_remove(int16_t* pcm, int samples, int lag, int overlap) noexcept nogil
# Puts `lag` samples in by playing the period before pcm once more; pcm[-lag..samples) is read, room for samples + lag.
# overlap <= lag, overlap <= samples. Returns samples + lag.
cdef int stretch_insert(int16_t* pcm, int samples, int lag, int overlap) noexcept nogil
# Mean square of pcm[samples]; 0 for none.
cdef int64_t mean_square(const int16_t* pcm, int samples) noexcept nogil
# out[i] = fade from a[i] to b[i], linear, i = 0..samples-1; out may be a or b.
cdef void cross_fade(const int16_t* a, const int16_t* b, int16_t* out, int samples) noexcept nogil
