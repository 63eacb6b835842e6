# What is done to one party's voice before others hear it: echo cancelling, high-pass, noise suppression,
# automatic gain, limiter. And what its line is checked for.
from libc.stdint cimport int16_t, int32_t
from mediaserver.ext.canceller cimport Canceller
from mediaserver.ext.denoise cimport Denoise
from mediaserver.ext.levelling cimport Levelling
from mediaserver.ext.limiter cimport Limiter
from mediaserver.ext.linecheck cimport LineCheck

cdef struct ProcessingConfig:          # all 0: nothing is done
    int32_t high_pass
    float noise_db                     # 0: no suppression
    float target_dbov                  # 0: no automatic gain
    float boost_max_db
    float cut_max_db
    int32_t line_check                 # hum and echo are looked for; changes nothing
    int32_t echo_cancel                # what it is sent is taken out where it comes back

cdef struct LegVoice:                  # one per leg that wants any of it; about 20 KB, and 200 KB if it cancels
    ProcessingConfig config
    int32_t rate_hz                    # what the states below are made for; 0: not yet
    float pass_b[3]                    # the high-pass's transfer function, and its memory
    float pass_a[2]
    float pass_z[2]
    Denoise denoise
    Levelling levelling
    Limiter limiter
    LineCheck check
    Canceller* canceller               # NULL: not wanted

cdef LegVoice* processing_new(const ProcessingConfig* config) noexcept nogil   # NULL: no memory
cdef void processing_free(LegVoice* s) noexcept nogil
# 20 ms in place. voice: it was decoded, not made up. A new rate starts the filters anew and keeps the gain.
cdef void processing_step(LegVoice* s, int16_t* pcm, int samples, int rate_hz, bint voice) noexcept nogil
# The same; in the first 20 ms the voice as it came gives way to the processed one, up to 14 ms behind it.
cdef void processing_join(LegVoice* s, int16_t* pcm, int samples, int rate_hz, bint voice) noexcept nogil
# 20 ms of what this party is sent, in the same tick and after processing_step: an echo of it is looked for.
cdef void processing_heard(LegVoice* s, const int16_t* pcm, int samples) noexcept nogil
