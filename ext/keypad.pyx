"""The queue of digits to be sent on one leg and the press under way, RFC 4733 §2.5.1 or ITU-T Q.23 tones.

Knows no leg: it says each tick what to send, the tick sends it.
"""

from libc.string cimport memset
from mediaserver.ext.dtmf cimport (
    dtmf_event,
    dtmf_frequencies,
    event_sender_start,
    event_sender_step,
    tone_init,
    tone_step,
)

cdef enum:
    TICK_MS = 20
    TONE_SAMPLES = 160
    TONE_RATE_HZ = 8000
    EVENT_VOLUME = 10                  # -dBm0, what phones send


cdef int keypad_press(Keypad* k, int digit, int duration_ms, int gap_ms) noexcept nogil:
    cdef KeyPress* press
    if k.count == KEYPAD_PRESSES_MAX or dtmf_event(digit) < 0:
        return -1
    press = &k.queue[(k.head + k.count) % KEYPAD_PRESSES_MAX]
    press.digit = <uint8_t>digit
    press.duration_ms = duration_ms
    press.gap_ms = gap_ms
    k.count += 1
    return 0


cdef int keypad_order(Keypad* k, const DtmfOrder* order) noexcept nogil:
    cdef int i
    if k.count + order.count > KEYPAD_PRESSES_MAX:
        return -1
    for i in range(order.count):
        keypad_press(k, order.digits[i], order.duration_ms, order.gap_ms)
    return 0


cdef bint keypad_busy(const Keypad* k) noexcept nogil:
    return k.pressing or k.count > 0


cdef void begin(Keypad* k, int event_clock_hz, uint32_t now) noexcept nogil:
    cdef KeyPress* press = &k.queue[k.head]
    cdef double frequencies[2]
    cdef uint32_t duration
    k.head = (k.head + 1) % KEYPAD_PRESSES_MAX
    k.count -= 1
    k.pressing = 1
    k.gap_ticks = (press.gap_ms + TICK_MS - 1) // TICK_MS
    k.by_event = event_clock_hz > 0
    if k.by_event:
        duration = <uint32_t>(<long long>press.duration_ms * event_clock_hz // 1000)
        event_sender_start(&k.event, press.digit, now, duration if duration > 0 else 1, EVENT_VOLUME)
        return
    k.ticks_left = (press.duration_ms + TICK_MS - 1) // TICK_MS
    dtmf_frequencies(press.digit, frequencies)
    tone_init(&k.tone, TONE_RATE_HZ, frequencies, 2, -9.0, NULL, 0, 0)


cdef KeypadOutput keypad_step(Keypad* k, int event_clock_hz, uint32_t now, int16_t* pcm) noexcept nogil:
    if not k.pressing:
        if k.count == 0:
            return KEYPAD_QUIET
        begin(k, event_clock_hz, now)
    if k.by_event:
        if event_clock_hz > 0 and event_sender_step(&k.event, event_clock_hz * TICK_MS // 1000, k.payload, &k.timestamp,
                                                    <int*>&k.marker) > 0:
            return KEYPAD_EVENT
    elif k.ticks_left > 0:
        k.ticks_left -= 1
        tone_step(&k.tone, pcm, TONE_SAMPLES)
        return KEYPAD_SOUND
    if k.gap_ticks > 0:
        k.gap_ticks -= 1
        if k.by_event:
            return KEYPAD_QUIET
        memset(pcm, 0, TONE_SAMPLES * sizeof(int16_t))
        return KEYPAD_SOUND
    k.pressing = 0
    return KEYPAD_QUIET
