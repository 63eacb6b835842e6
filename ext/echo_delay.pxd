# How long after it was sent a sound comes back, from the spectra of hops of 10 ms.
from libc.stdint cimport int32_t, uint32_t

cdef enum:
    ECHO_LAGS = 64                     # up to 640 ms are looked through
    ECHO_HISTORY = 72                  # lags, some taps, and the two hops of a tick
    ECHO_BANDS = 32                    # a bit each

cdef struct EchoDelay:
    int32_t edges[ECHO_BANDS + 1]      # of the bands, in bins
    float sent_mean[ECHO_BANDS]        # log2 of power
    float said_mean[ECHO_BANDS]
    int32_t newest                     # of what was sent, in the rings
    uint32_t sent_bits[ECHO_HISTORY]
    int32_t sent_loud[ECHO_HISTORY]    # something was sent
    float mismatch[ECHO_LAGS]          # bits that differ, 0 to 32, where something was sent so long before
    int32_t seen[ECHO_LAGS]            # hops in it, up to those it takes
    int32_t candidate                  # least mismatch of late, hops
    int32_t held                       # hops in a row
    int32_t lag                        # hops; 0: no echo found yet
    int32_t found                      # how often another one was

cdef void echo_delay_init(EchoDelay* s, int rate_hz, int size) noexcept nogil
# A hop that was sent, re, im[size // 2 + 1]: it becomes the newest.
cdef void echo_delay_sent(EchoDelay* s, const float* re, const float* im) noexcept nogil
# A hop that was said, `ahead` (0 or 1) hops after the one behind the newest sent. True: the delay is another one now.
cdef bint echo_delay_said(EchoDelay* s, int ahead, const float* re, const float* im) noexcept nogil
# Where in the rings is what was sent `lag` (2 or more) hops before that hop.
cdef int echo_delay_place(const EchoDelay* s, int ahead, int lag) noexcept nogil
