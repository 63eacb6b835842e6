# Comfort noise, RFC 3389: a described noise in, samples out; and the description of a level.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint32_t

cdef enum:
    COMFORT_ORDER_MAX = 12         # reflection coefficients used; further ones are ignored (RFC 3389 3.2 allows it)

cdef struct ComfortNoise:
    int32_t level                  # last read, -dBov, 127: silence
    int32_t order
    uint32_t seed
    float target                   # amplitude of the excitation the level asks for
    float amplitude                # present one; glides towards target
    float k[COMFORT_ORDER_MAX]     # reflection coefficients
    float b[COMFORT_ORDER_MAX + 1]  # backward residuals of the lattice

cdef void comfort_init(ComfortNoise* c) noexcept nogil
# 0, or -1: empty, nothing changes. Level 127 is silence.
cdef int comfort_read(ComfortNoise* c, const uint8_t* payload, int size) noexcept nogil
# White noise of a level, when the far end described none.
cdef void comfort_set_level(ComfortNoise* c, int level) noexcept nogil
cdef void comfort_fill(ComfortNoise* c, int16_t* out, int samples) noexcept nogil
# The payload that says `level` (clamped to 0..127) without a spectrum; returns 1 byte, -1: no room.
cdef int comfort_write(int level, uint8_t* out, int capacity) noexcept nogil
# Level of a block as RFC 3389 and RFC 6464 count it: 0 (a full-scale square wave) .. 127 (silence), in -dBov.
cdef int level_dbov(const int16_t* pcm, int samples) noexcept nogil
