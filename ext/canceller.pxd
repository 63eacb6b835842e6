# Cancelling of the echo of what a party is sent: a Kalman filter in each bin of the spectrum, and what it leaves over.
from libc.stdint cimport int16_t, int32_t
from mediaserver.ext.echo_delay cimport ECHO_HISTORY, EchoDelay

cdef enum:
    CANCEL_HOP_MAX = 480               # 10 ms at 48 kHz: also what it delays by
    CANCEL_BINS = 257                  # up to 8 kHz at 16 kHz, 12 at 48 kHz; the last 32 speak for those above
    CANCEL_TAPS = 6                    # of 10 ms each

cdef struct Canceller:                 # about 200 KB
    int32_t hop
    int32_t size                       # of the transform: a power of two above two hops
    int32_t bins                       # of them cancelled
    float window[2 * CANCEL_HOP_MAX]
    float said_before[CANCEL_HOP_MAX]  # the last hop of each
    float sent_before[CANCEL_HOP_MAX]
    float overlap[CANCEL_HOP_MAX]      # of output
    int32_t told                       # what was sent in this tick has been told
    # what was sent, a hop each, by delay.newest
    float sent_re[ECHO_HISTORY][CANCEL_BINS]
    float sent_im[ECHO_HISTORY][CANCEL_BINS]
    EchoDelay delay
    # --- the filter: state, its variance, and power of what is not echo
    float re[CANCEL_TAPS][CANCEL_BINS]
    float im[CANCEL_TAPS][CANCEL_BINS]
    float variance[CANCEL_TAPS][CANCEL_BINS]
    float near[CANCEL_BINS]
    float power_said                   # over 100 ms
    float power_left
    int32_t restarts
    # --- what the filter leaves over
    float left_mean[CANCEL_BINS]       # powers of what is left and of the echo the filter took out, and how the one
    float model_mean[CANCEL_BINS]      # follows the other
    float together[CANCEL_BINS]
    float spread[CANCEL_BINS]
    float residue[CANCEL_BINS]
    float before[CANCEL_BINS]          # power of what was left in the hop before
    float gain[CANCEL_BINS]
    # --- counted: powers while most of what comes is echo, over a second of that
    float power_in
    float power_out

# rate_hz: 8000, 16000 or 48000. s: zeroed, or used before.
cdef void canceller_init(Canceller* s, int rate_hz) noexcept nogil
# 20 ms of what was said, in place, 10 ms late.
cdef void canceller_said(Canceller* s, int16_t* pcm, int samples) noexcept nogil
# 20 ms of what is sent, in the same tick and after that, at any of those rates; NULL: nothing.
cdef void canceller_sent(Canceller* s, const int16_t* pcm, int samples) noexcept nogil
# How much softer what is mostly echo was made of late, dB; 0: no echo found.
cdef float canceller_removed_db(const Canceller* s) noexcept nogil
# From what was sent to its echo, ms to the hop; 0: no echo found.
cdef int canceller_delay_ms(const Canceller* s) noexcept nogil
