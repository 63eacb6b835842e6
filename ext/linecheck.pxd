# What is wrong with a line, heard in what its party says: mains hum, and the echo of what it is sent.
from libc.stdint cimport int16_t, int32_t

cdef enum:
    LINE_TONES = 18                    # 50, 100, 150, 60, 120, 180 Hz, each with a neighbour below and above
    ECHO_BLOCKS = 128                  # 5 ms each, of what was sent last
    ECHO_LAGS = 100                    # up to 500 ms

cdef struct LineCheck:
    # --- hum
    int32_t at                         # samples of the present second, at 2 kHz
    int32_t steady[2]                  # seconds in a row with hum of 50 Hz, of 60 Hz
    float level_dbov[2]                # of it, in the last of them
    float tone_re[LINE_TONES]
    float tone_im[LINE_TONES]
    int32_t hum_hz                     # 0: none
    int32_t hum_left                   # seconds until it is forgotten: words hide it now and then
    float hum_dbov
    # --- echo
    int32_t newest                     # in sent
    int32_t told                       # what was sent in this tick has been told
    int32_t silent_blocks              # since something was sent
    float sent[ECHO_BLOCKS]            # amplitude, full scale = 1
    float weight                       # blocks in the sums below, fading
    float said_sum
    float said_squares
    float sent_sum[ECHO_LAGS]
    float sent_squares[ECHO_LAGS]
    float products[ECHO_LAGS]
    int32_t echo_ms                    # 0: none
    float echo_loss_db                 # what comes back is so much softer

# pcm: 20 ms of what it said, as decoded, at 8, 16 or 48 kHz.
cdef void linecheck_said(LineCheck* s, const int16_t* pcm, int samples) noexcept nogil
# 20 ms of what it is sent, in the same tick and after that.
cdef void linecheck_sent(LineCheck* s, const int16_t* pcm, int samples) noexcept nogil
