# Keys as RFC 4733 telephone-event payloads: received (one digit per press) and sent.
from libc.stdint cimport int32_t, uint8_t, uint32_t

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
