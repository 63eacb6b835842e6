# Suppression of steady noise in speech: Ephraim and Malah's log-spectral amplitude estimator.
from libc.stdint cimport int16_t, int32_t

cdef enum:
    DENOISE_HOP_MAX = 480              # 10 ms at 48 kHz: also what it delays by
    DENOISE_BINS_MAX = 513

cdef struct Denoise:
    int32_t hop
    int32_t size                       # of the transform: a power of two above two hops
    int32_t frames                     # seen, up to those that start the noise estimate
    float floor                        # least gain
    float window[2 * DENOISE_HOP_MAX]
    float before[DENOISE_HOP_MAX]      # the last hop of input
    float overlap[DENOISE_HOP_MAX]     # of output
    float noise[DENOISE_BINS_MAX]      # power
    float presence[DENOISE_BINS_MAX]   # smoothed probability of speech
    float clean[DENOISE_BINS_MAX]      # power, of the last frame after the gain

# rate_hz: 8000, 16000 or 48000. depth_db: how far noise is turned down at the most, above 0.
cdef void denoise_init(Denoise* s, int rate_hz, float depth_db) noexcept nogil
# In place; samples: a multiple of the hop.
cdef void denoise_step(Denoise* s, int16_t* pcm, int samples) noexcept nogil
