# Automatic gain: brings a voice to a set active speech level (ITU-T P.56: power while somebody speaks, not of pauses).
from libc.stdint cimport int16_t, int32_t
from mediaserver.ext.mix cimport SpeakerState

cdef struct Levelling:
    float target_dbov                  # active speech level wanted
    float boost_max_db
    float cut_max_db
    SpeakerState speaker
    int32_t active_blocks              # in mean_power, up to its memory
    int32_t hangover                   # blocks that count as speech yet
    int32_t faint_blocks               # of a voice far below the level known: it has moved away, or is another
    float loudest                      # and
    float softest                      # block of late while somebody talks: speech rises and falls, noise does not
    float mean_power                   # of the active blocks, full scale squared = 1
    float gain_db
    float gain                         # at the end of the last block

cdef void levelling_init(Levelling* s, float target_dbov, float boost_max_db, float cut_max_db) noexcept nogil
# One block of 20 ms. voice: it was decoded, not made up. out: int32[samples], beyond 16 bits where gain takes it there.
cdef void levelling_step(Levelling* s, const int16_t* pcm, int32_t* out, int samples, bint voice) noexcept nogil
