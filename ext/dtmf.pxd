# DTMF three ways: heard in the audio (Goertzel, ITU-T Q.24), read from and written as RFC 4733 events, made as tones.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef struct DtmfDetector:      # 8 kHz; ~100 bytes, no allocation
    float coefficient[8]
    float s1[8]
    float s2[8]
    float energy
    int32_t block_fill
    int32_t last_hit
    int32_t hits
    int32_t misses
    int32_t current

cdef void dtmf_detector_init(DtmfDetector* d) noexcept nogil
# pcm[samples] at 8 kHz; returns the ASCII digit that has just been confirmed as pressed (once per press), else 0.
cdef int dtmf_detector_step(DtmfDetector* d, const int16_t* pcm, int samples) noexcept nogil

cdef struct EventReceiver:     # RFC 4733 §2.5.2: one digit per press whatever is repeated, lost or reordered
    uint32_t timestamp
    int32_t event
    int32_t duration           # RTP clock units
    int32_t active
    int32_t ended
    int32_t seen               # any event at all yet

cdef void event_receiver_init(EventReceiver* r) noexcept nogil
# payload of a telephone-event packet; returns the ASCII digit when a new press begins, else 0; -1: malformed.
# *ended_digit is set to the digit when its end is seen for the first time (duration in *duration), else 0.
cdef int event_receiver_step(EventReceiver* r, const uint8_t* payload, int size, uint32_t timestamp,
                             int* ended_digit, uint32_t* duration) noexcept nogil

cdef struct ToneGenerator:     # up to four sines with a cadence; continuous phase; silence when done
    int32_t rate_hz
    int32_t tones
    float phase[4]
    float step[4]
    float amplitude
    int32_t cadence[8]         # samples on, off, on, off …
    int32_t cadence_count
    int32_t cadence_at
    int32_t cadence_left
    int32_t repeats_left       # -1: until stopped
    int32_t done

cdef void tone_init(ToneGenerator* t, int rate_hz, const double* frequencies_hz, int tones, double level_dbm0,
                    const int32_t* cadence_ms, int cadence_count, int repeats) noexcept nogil
cdef int tone_step(ToneGenerator* t, int16_t* out, int samples) noexcept nogil    # returns 1 while it lasts, 0 when done
cdef int dtmf_frequencies(int digit, double* out) noexcept nogil                  # out[2]; 0, or -1: not a digit
