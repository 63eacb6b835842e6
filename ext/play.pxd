# One playing of a prompt or tone on one leg. The samples are shared and read only; who owns them outlives the Play.
from libc.stdint cimport int16_t, int32_t, int64_t, uint64_t
from mediaserver.ext.dtmf cimport ToneGenerator

cdef enum:
    TONE_RATE_HZ = 8000                # call-progress tones and DTMF lie below 2 kHz

cdef struct Play:
    uint64_t id
    const int16_t* samples             # NULL: a tone
    int64_t count
    int64_t position
    int32_t rate_hz                    # 8000, 16000 or 48000
    int32_t loop
    int32_t gain_q12
    int32_t completed                  # it came to its end by itself
    ToneGenerator tone

# The next 20 ms into out at play.rate_hz; the last piece is filled up with silence. 1 while it lasts, 0: it was over.
cdef int play_step(Play* p, int16_t* out) noexcept nogil

# Control path. The caller keeps `samples` (int16, native order) alive until the Play has come back. Raise ValueError,
# MemoryError.
cdef Play* play_new_samples(uint64_t play_id, bytes samples, int rate_hz, bint loop, int gain_q12,
                            int64_t start) except NULL
cdef Play* play_new_tone(uint64_t play_id, frequencies_hz, cadence_ms, double level_dbm0, int repeats) except NULL
