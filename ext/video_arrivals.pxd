# When the packets of a transport came, by their transport-wide numbers: what its sender's congestion control lives on.
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint8_t

cdef enum:
    ARRIVALS_MAX = 1024                # numbers kept: 50 ms of 20,000 packets/s, or a burst. A power of two

cdef struct Arrivals:                  # zeroed is ready
    int32_t started
    uint16_t next                      # first number not told of yet
    uint16_t end                       # highest + 1
    uint8_t count                      # of feedback messages
    int64_t told_ns
    int64_t at_us[ARRIVALS_MAX]        # valid for next..end - 1; -1: did not come

cdef void arrivals_note(Arrivals* a, uint16_t number, int64_t arrival_ns) noexcept nogil
# One feedback message about what came since the last; 0: nothing came. out[capacity].
cdef int arrivals_write(Arrivals* a, uint8_t* out, int capacity, uint32_t sender, uint32_t media,
                        int64_t now_ns) noexcept nogil
