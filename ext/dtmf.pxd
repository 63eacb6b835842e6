# Keys, and pressed keys heard in the audio (Goertzel, ITU-T Q.24); one press of a key heard several ways counted once.
# RFC 4733 events are ext.telephone_event's, tones ext.tone's; both are found under their names here too.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t
from mediaserver.ext.telephone_event cimport (
    EventReceiver, EventSender, event_receiver_close, event_receiver_init, event_receiver_step, event_sender_start,
    event_sender_step,
)
from mediaserver.ext.tone cimport ToneGenerator, tone_init, tone_step

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

# out[2]: low and high of a key; 0, or -1: not a digit.
cdef int dtmf_frequencies(int digit, double* out) noexcept nogil
# RFC 4733 event code 0..15 of an ASCII digit (0-9 * # A-D, a-d), -1: none; and back, 0: none.
cdef int dtmf_event(int digit) noexcept nogil
cdef int dtmf_digit(int event) noexcept nogil
