"""Pauses of a sender, by arrival alone, so that a leg that is only relayed is known as well as one that is decoded.

What the network swallowed is no pause: the numbers go on where they would have been. Nor is silence that the sender
cuts out by itself: the packet after it has the marker bit (RFC 3551 section 4.1), and from then on it is believed to.
Many phones do neither say that they cut silence out nor mark where speech begins; but their RTCP goes on, and its count
of packets sent (RFC 3550 section 6.4.1) tells a pause from a network that carries RTCP alone.
"""

cdef enum:
    RUNNING_MS = 6000                  # phones that send only speech, unasked, send something every five seconds
    REPORTED_WITHIN_MS = 16000         # two of the longest waits between reports (RFC 3550 section 6.3.1)
    LOST_UNSEEN_PACKETS = 10           # the last ones before a pause may be lost, which nothing shows yet


cdef bint still_chosen(const Pauses* s, int64_t running_ns) noexcept nogil:
    """Only while it goes on answering: a sender that has died chose nothing."""
    return s.verdict == PAUSE_CHOSEN and running_ns - s.judged_ns < <int64_t>REPORTED_WITHIN_MS * 1000000


cdef void pause_ended(Pauses* s, int64_t length_ns, bint marker, bint follows) noexcept nogil:
    cdef bint chosen = still_chosen(s, length_ns)
    s.verdict = PAUSE_UNKNOWN
    if not follows:
        return
    if marker:
        s.by_choice = 1
    if not s.by_choice and not chosen:
        s.total_ns += length_ns


cdef void pause_report(Pauses* s, bint has_sr, uint32_t packets_said, uint32_t packets_known,
                       int64_t running_ns) noexcept nogil:
    cdef uint32_t ahead = packets_said - packets_known
    s.judged_ns = running_ns
    if running_ns < PAUSE_NS or not s.reported:
        if has_sr:
            s.reported = 1
            s.ahead = ahead
    elif not has_sr:
        s.verdict = PAUSE_CHOSEN
    elif <int32_t>(ahead - s.ahead) <= LOST_UNSEEN_PACKETS:
        s.verdict = PAUSE_CHOSEN
    else:
        s.verdict = PAUSE_SWALLOWED


cdef void pause_forget(Pauses* s) noexcept nogil:
    s.reported = 0
    s.verdict = PAUSE_UNKNOWN


cdef int64_t pauses_ns(const Pauses* s, int64_t running_ns) noexcept nogil:
    cdef int64_t known_after_ms = REPORTED_WITHIN_MS if s.reported and s.verdict == PAUSE_UNKNOWN else RUNNING_MS
    if running_ns < known_after_ms * 1000000 or still_chosen(s, running_ns):
        return s.total_ns
    if s.by_choice and s.verdict != PAUSE_SWALLOWED:
        return s.total_ns
    return s.total_ns + running_ns
