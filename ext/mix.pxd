# Mixing arithmetic on one tick: exact integers, fixed order, saturated once. And what a level meter needs.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t

cdef void mix_clear(int32_t* total, int samples) noexcept nogil
cdef void mix_add(int32_t* total, const int16_t* pcm, int samples) noexcept nogil
# out = saturate(total - own); own may be NULL (a listener who says nothing).
cdef void mix_minus(const int32_t* total, const int16_t* own, int16_t* out, int samples) noexcept nogil
# pcm *= gain, gain in Q12 (4096 = 0 dB, at most 65535 = +24 dB), saturated.
cdef void mix_gain(int16_t* pcm, int samples, int gain_q12) noexcept nogil
# RFC 6464 level of the block, 0 (overload) .. 127 (silence), in -dBov.
# Samples at what a G.711 encoder gives at the most, or beyond: what clipping leaves behind.
cdef int mix_at_limit(const int16_t* pcm, int samples) noexcept nogil
cdef int mix_level(const int16_t* pcm, int samples) noexcept nogil

cdef struct SpeakerState:      # one per participant: smoothed level and talking flag with hang-over
    int32_t smoothed_q8        # -dBov in 1/256: loudness for choosing the active speaker, smaller is louder
    int32_t noise_q8           # its noise floor, likewise
    int32_t onset              # consecutive blocks of voice, up to what makes it talking
    int32_t talking
    int32_t hangover           # blocks left until talking ends

cdef void speaker_init(SpeakerState* s) noexcept nogil
# One 20 ms block; returns talking 0/1.
cdef int speaker_step(SpeakerState* s, int level) noexcept nogil
