"""How long a sender that goes on afterwards sent nothing: dead air, if it may not pause and did not choose to."""

from libc.stdint cimport int32_t, int64_t, uint32_t

cdef enum:
    PAUSE_NS = 1000000000              # Opus is heard of at least every 400 ms while nobody speaks

cdef enum PauseVerdict:                # of the pause that goes on
    PAUSE_UNKNOWN = 0
    PAUSE_CHOSEN = 1                   # its reports say that it has sent nothing
    PAUSE_SWALLOWED = 2                # they say that it sends, and nothing comes

cdef struct Pauses:
    int64_t total_ns
    int32_t by_choice                  # it sends only while somebody speaks and says where that begins
    int64_t judged_ns                  # how long it lasted when a report last gave the verdict
    int32_t verdict                    # PauseVerdict
    int32_t reported                   # it sends sender reports; its last one
    uint32_t ahead                     # named so many packets more than were known here

# Something came again after so long. follows: its number is the one after the last one's.
cdef void pause_ended(Pauses* s, int64_t length_ns, bint marker, bint follows) noexcept nogil
# A report of the sender came, running_ns after its last packet. has_sr: it names packets_said; packets_known: up to the
# highest number seen. Without: a receiver report, which means nothing sent since two reports (RFC 3550 section 6.4).
cdef void pause_report(Pauses* s, bint has_sr, uint32_t packets_said, uint32_t packets_known,
                       int64_t running_ns) noexcept nogil
# Another stream than the one that was reported on.
cdef void pause_forget(Pauses* s) noexcept nogil
# Of all that ended and of the one that goes on, running_ns long by now.
cdef int64_t pauses_ns(const Pauses* s, int64_t running_ns) noexcept nogil
