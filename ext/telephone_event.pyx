"""Keys as RFC 4733 telephone events.

Owns what a press is among packets that are repeated, lost and reordered, and the packets of a press of ours. Knows no
RTP header but its timestamp: the caller reads and writes it.
"""
from libc.string cimport memset

from mediaserver.ext.dtmf cimport dtmf_digit, dtmf_event

cdef enum:
    DURATION_MAX = 0xFFFF          # of one segment: the field has 16 bits
    END_PACKETS = 3                # RFC 4733 2.5.1.4: the end is sent three times
    OLD_UNITS_MAX = 240000         # RTP clock units: an event older than 5 s at 48 kHz is a new clock, not reordering


cdef void event_receiver_init(EventReceiver* r) noexcept nogil:
    memset(r, 0, sizeof(EventReceiver))


cdef int event_receiver_close(EventReceiver* r, uint32_t* duration) noexcept nogil:
    if not r.seen or r.ended:
        return 0
    r.ended = 1
    duration[0] = r.before + <uint32_t>r.duration
    return dtmf_digit(r.event)


cdef int event_receiver_step(EventReceiver* r, const uint8_t* payload, int size, uint32_t timestamp,
                             int* ended_digit, uint32_t* duration) noexcept nogil:
    cdef int32_t event, ends, length, later
    cdef int begun = 0
    ended_digit[0] = 0
    duration[0] = 0
    if size < 4:
        return -1
    event = payload[0]
    ends = payload[1] >> 7
    length = (payload[2] << 8) | payload[3]
    if event > 15:
        return 0                   # flash hook, fax tones: not keys
    later = <int32_t>(timestamp - r.timestamp)
    if r.seen and timestamp == r.timestamp:
        if event != r.event:
            return 0               # one press has one event; the first report is believed
    elif r.seen and -OLD_UNITS_MAX < later < 0:
        return 0                   # reordered: a report of a press before this one
    elif r.seen and event == r.event and not r.ended and later == DURATION_MAX:
        # The next segment of a long press (RFC 4733 2.5.1.3).
        r.before += DURATION_MAX
        r.duration = 0
        r.timestamp = timestamp
    elif r.seen and event == r.event and 0 < later < r.duration + (1 if not r.ended else 0):
        # A sender that moves the timestamp within a press: what begins before the known end of the same key is the same
        # press, counted from its first timestamp.
        pass
    else:
        ended_digit[0] = event_receiver_close(r, duration)
        r.seen = 1
        r.ended = 0
        r.event = event
        r.timestamp = timestamp
        r.duration = 0
        r.before = 0
        begun = dtmf_digit(event)
    if r.ended:
        return begun
    if length > r.duration:
        r.duration = length
    # The former press's end, found out by this packet, is reported first; this one's comes with its retransmission.
    if ends and ended_digit[0] == 0:
        ended_digit[0] = event_receiver_close(r, duration)
    return begun


cdef int event_sender_start(EventSender* s, int digit, uint32_t timestamp, uint32_t duration,
                            int volume) noexcept nogil:
    memset(s, 0, sizeof(EventSender))
    s.event = dtmf_event(digit)
    if s.event < 0:
        return -1
    s.timestamp = timestamp
    s.left = duration if duration > 0 else 1
    s.volume = 0 if volume < 0 else (63 if volume > 63 else volume)
    s.first = 1
    s.ends_left = END_PACKETS
    s.active = 1
    return 0


cdef int event_sender_step(EventSender* s, uint32_t elapsed, uint8_t* out, uint32_t* timestamp,
                           int* marker) noexcept nogil:
    cdef uint32_t more
    cdef int ends = 0
    if not s.active:
        return 0
    if s.sent == DURATION_MAX and s.left > 0:
        s.timestamp += s.sent      # a new segment begins where the full one ended
        s.sent = 0
    more = min(elapsed, s.left, <uint32_t>DURATION_MAX - s.sent)
    s.sent += more
    s.left -= more
    if s.left == 0:
        ends = 1
        s.ends_left -= 1
        s.active = s.ends_left > 0
    out[0] = <uint8_t>s.event
    out[1] = <uint8_t>((ends << 7) | s.volume)
    out[2] = <uint8_t>(s.sent >> 8)
    out[3] = <uint8_t>(s.sent & 0xFF)
    timestamp[0] = s.timestamp
    marker[0] = s.first
    s.first = 0
    return 4

# --- for tests


cdef class Receiver:
    """RFC 4733 receiver of one stream."""

    cdef EventReceiver state

    def __cinit__(self):
        event_receiver_init(&self.state)

    def step(self, const unsigned char[::1] payload not None, uint32_t timestamp):
        cdef int ended = 0
        cdef uint32_t duration = 0
        cdef unsigned char nothing = 0
        cdef int digit = event_receiver_step(&self.state, &payload[0] if payload.shape[0] else &nothing,
                                             <int>payload.shape[0], timestamp, &ended, &duration)
        if digit < 0:
            raise ValueError(f"telephone-event payload of {payload.shape[0]} bytes; 4 are needed")
        return (chr(digit) if digit else ""), (chr(ended) if ended else ""), duration

    def close(self):
        cdef uint32_t duration = 0
        cdef int digit = event_receiver_close(&self.state, &duration)
        return (chr(digit) if digit else ""), duration


def event_packets(str digit, uint32_t timestamp, uint32_t duration, uint32_t elapsed, int volume=10):
    """All packets of one press: (payload, RTP timestamp, marker) each."""
    cdef EventSender sender
    cdef uint8_t payload[4]
    cdef uint32_t at = 0
    cdef int marker = 0
    if event_sender_start(&sender, ord(digit), timestamp, duration, volume) != 0:
        raise ValueError("a key is one of 0-9 * # A-D")
    packets = []
    while event_sender_step(&sender, max(elapsed, 1), payload, &at, &marker) == 4:
        packets.append((bytes(payload[:4]), at, bool(marker)))
    return packets
