# DTMF three ways: heard in the audio (Goertzel, ITU-T Q.24), read from and written as RFC 4733 events, made as tones.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t

cdef struct DtmfDetector:      # 8 kHz; no allocation
    float s1[8]                # Goertzel states of the block in hand: four low, four high frequencies
    float s2[8]
    float energy               # of the block in hand
    int32_t block_fill         # samples in it
    int32_t hit                # digit of the last block, 0: none
    int32_t hits               # consecutive blocks that held it
    int32_t misses             # consecutive blocks without the current digit
    int32_t current            # digit being pressed, 0: none
    float phase[2]             # of the last hit, low and high tone, radians at the block's end
    float amplitude[2]

cdef void dtmf_detector_init(DtmfDetector* d) noexcept nogil
# pcm[samples] at 8 kHz; returns the ASCII digit that has just been confirmed as pressed (once per press), else 0.
# At most 480 samples (60 ms) at a time: two presses cannot be confirmed within less.
cdef int dtmf_detector_step(DtmfDetector* d, const int16_t* pcm, int samples) noexcept nogil

cdef struct EventReceiver:     # RFC 4733 §2.5.2: one digit per press whatever is repeated, lost or reordered
    uint32_t timestamp         # of the newest press or segment
    int32_t event
    int32_t duration           # RTP clock units, longest seen of this segment
    uint32_t before            # duration of the segments before it (RFC 4733 §2.5.1.3)
    int32_t ended
    int32_t seen               # any event at all yet

cdef void event_receiver_init(EventReceiver* r) noexcept nogil
# payload of a telephone-event packet; returns the ASCII digit when a new press begins, else 0; -1: malformed.
# *ended_digit is set to the digit when its end is seen for the first time (duration in *duration), else 0. A press
# whose end never came ends when the next one begins; then *ended_digit is the former and the return value the new one.
cdef int event_receiver_step(EventReceiver* r, const uint8_t* payload, int size, uint32_t timestamp,
                             int* ended_digit, uint32_t* duration) noexcept nogil
# Ends a press whose packets have stopped coming; returns its digit (duration in *duration), 0: none is open.
cdef int event_receiver_close(EventReceiver* r, uint32_t* duration) noexcept nogil

cdef struct EventSender:       # RFC 4733 §2.5.1: one press as packets, one per packet time
    uint32_t timestamp         # of the present segment: what the RTP header carries
    uint32_t sent              # duration reported so far in this segment, RTP clock units
    uint32_t left              # still to be reported
    int32_t event
    int32_t volume             # 0..63, -dBm0
    int32_t first              # the marker bit is due
    int32_t ends_left          # end packets still to be sent
    int32_t active

# timestamp: RTP time at which the press begins. duration: RTP clock units, at least 1. 0, or -1: not a digit.
cdef int event_sender_start(EventSender* s, int digit, uint32_t timestamp, uint32_t duration, int volume) noexcept nogil
# The next packet's payload in out[4]; *timestamp and *marker for its RTP header. elapsed: RTP clock units of a packet
# time. Returns 4, or 0: the press is over (after three end packets).
cdef int event_sender_step(EventSender* s, uint32_t elapsed, uint8_t* out, uint32_t* timestamp,
                           int* marker) noexcept nogil

cdef enum DtmfWay:
    DTMF_RTP_EVENT = 0
    DTMF_SIP_INFO = 1
    DTMF_IN_BAND = 2
    DTMF_WAYS = 3

cdef struct DtmfMerger:        # one digit per press although the same key is heard several ways
    int64_t last_ns[16]        # when this key was last heard, any way
    uint8_t heard[16][3]       # presses of the key in the present run, by way
    uint8_t accepted[16]       # of them, passed on

cdef void dtmf_merger_init(DtmfMerger* m) noexcept nogil
# 1: a new press, pass it on; 0: the same press heard another way before. way: DtmfWay.
cdef int dtmf_merger_step(DtmfMerger* m, int digit, int way, int64_t now_ns) noexcept nogil

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
# out[2]: low and high of a key; 0, or -1: not a digit.
cdef int dtmf_frequencies(int digit, double* out) noexcept nogil
# RFC 4733 event code 0..15 of an ASCII digit (0-9 * # A-D, a-d), -1: none; and back, 0: none.
cdef int dtmf_event(int digit) noexcept nogil
cdef int dtmf_digit(int event) noexcept nogil
