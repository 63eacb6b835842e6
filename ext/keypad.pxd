# Digits we press on a leg: RFC 4733 events where negotiated, else tones in the audio. Presses never overlap.
from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t
from mediaserver.ext.dtmf cimport EventSender, ToneGenerator

cdef enum:
    KEYPAD_PRESSES_MAX = 64            # queued on one leg

cdef enum KeypadOutput:
    KEYPAD_QUIET = 0                   # nothing of ours: the leg's other sound goes on
    KEYPAD_EVENT = 1                   # payload[4], timestamp and marker are set: sent instead of sound
    KEYPAD_SOUND = 2                   # pcm[160] at 8 kHz: a tone, or the silence between two tones

cdef struct KeyPress:
    uint8_t digit
    int32_t duration_ms
    int32_t gap_ms

cdef struct DtmfOrder:                 # what a command brings: one string of digits
    uint8_t digits[KEYPAD_PRESSES_MAX]
    int32_t count
    int32_t duration_ms
    int32_t gap_ms

cdef struct Keypad:                    # zeroed is ready
    int32_t pressing                   # a press or its gap is under way
    int32_t head
    int32_t count
    int32_t by_event
    int32_t ticks_left                 # of the tone
    int32_t gap_ticks
    EventSender event
    ToneGenerator tone
    uint8_t payload[4]
    uint32_t timestamp
    int32_t marker
    KeyPress queue[KEYPAD_PRESSES_MAX]

# 0, or -1: no room, or not a digit.
cdef int keypad_press(Keypad* k, int digit, int duration_ms, int gap_ms) noexcept nogil
# All of them or, -1, none.
cdef int keypad_order(Keypad* k, const DtmfOrder* order) noexcept nogil
cdef bint keypad_busy(const Keypad* k) noexcept nogil
# One 20 ms tick. event_clock_hz: of the negotiated telephone-event, 0: none, use tones. now: RTP time of this tick.
cdef KeypadOutput keypad_step(Keypad* k, int event_clock_hz, uint32_t now, int16_t* pcm) noexcept nogil
