# Polyphase FIR between 8, 12, 16, 24 and 48 kHz, int16 in and out, state kept between calls.
# Delay: 24 samples of the lower rate (3.0 ms at 8 kHz). out must not overlap source, except at equal rates.
from libc.stdint cimport int16_t, int32_t

cdef struct Resampler:
    int32_t in_hz
    int32_t out_hz
    int32_t up
    int32_t down
    int32_t taps_per_phase
    int32_t phase
    int32_t shift                 # of each pair of products, so that the sum fits
    const int16_t* coefficients   # shared table, made at module import
    int16_t* history              # owned
    int32_t history_size

# 0, or -1: this pair of rates is not served. Allocates: control path only. in_hz == out_hz is a plain copy.
cdef int resampler_init(Resampler* r, int in_hz, int out_hz) noexcept nogil
cdef void resampler_free(Resampler* r) noexcept nogil
cdef void resampler_reset(Resampler* r) noexcept nogil
# in[samples] -> out; returns samples written = samples * out_hz / in_hz for whole 10 ms blocks; caller gives room.
cdef int resampler_step(Resampler* r, const int16_t* source, int samples, int16_t* out) noexcept nogil
