# Tones: sines with a cadence, int16 mono at any rate.
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

cdef struct ToneGenerator:     # up to four sines with a cadence; continuous phase; silence when done
    int32_t rate_hz
    int32_t tones
    uint32_t phase[4]          # 2^32 is a turn
    uint32_t step[4]
    float amplitude            # of each sine
    float envelope             # 0..1: rises and falls over 2 ms, so that nothing clicks
    float envelope_step
    int32_t cadence[8]         # samples on, off, on, off …
    int32_t cadence_count      # 0: continuous
    int32_t cadence_at
    int32_t cadence_left
    int32_t repeats_left       # -1: until stopped
    int32_t done

# level_dbm0: of each sine; 0 dBm0 is 3.14 dB below a full-scale sine (G.711). repeats: rounds of the cadence, <= 0:
# until stopped. More than 4 frequencies or 8 cadence entries are ignored.
cdef void tone_init(ToneGenerator* t, int rate_hz, const double* frequencies_hz, int tones, double level_dbm0,
                    const int32_t* cadence_ms, int cadence_count, int repeats) noexcept nogil
# Always fills out; returns 1 while it lasts, 0 when done.
cdef int tone_step(ToneGenerator* t, int16_t* out, int samples) noexcept nogil
