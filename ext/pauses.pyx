"""Pauses of a sender, by arrival alone, so that a leg that is only relayed is known as well as one that is decoded.

What the network swallowed is no pause: the numbers go on where they would have been. Nor is silence that the sender
cuts out by itself: the packet after it has the marker bit (RFC 3551 section 4.1), and from then on it is believed to.
"""

cdef enum:
    RUNNING_MS = 6000                  # phones that send only speech, unasked, send something every five seconds


cdef void pause_ended(Pauses* s, int64_t length_ns, bint marker, bint follows) noexcept nogil:
    if not follows:
        return
    if marker:
        s.by_choice = 1
    if not s.by_choice:
        s.total_ns += length_ns


cdef int64_t pauses_ns(const Pauses* s, int64_t running_ns) noexcept nogil:
    if s.by_choice or running_ns < <int64_t>RUNNING_MS * 1000000:
        return s.total_ns
    return s.total_ns + running_ns
