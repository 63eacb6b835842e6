"""How long a sender that goes on afterwards sent nothing: dead air, if it may not pause."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    PAUSE_NS = 1000000000              # Opus is heard of at least every 400 ms while nobody speaks

cdef struct Pauses:
    int64_t total_ns
    int32_t by_choice                  # it sends only while somebody speaks and says where that begins

# Something came again after so long. follows: its number is the one after the last one's.
cdef void pause_ended(Pauses* s, int64_t length_ns, bint marker, bint follows) noexcept nogil
# Of all that ended and of the one that goes on, running_ns long by now.
cdef int64_t pauses_ns(const Pauses* s, int64_t running_ns) noexcept nogil
