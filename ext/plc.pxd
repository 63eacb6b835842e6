# Concealment of what did not arrive: the last pitch periods go on, fade into the background noise, and meet the speech
# that comes back without a click. Works in the caller's buffer, on what was played before.
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t

cdef struct Plc:
    int32_t rate_hz
    int32_t lag                    # samples; 0: not concealing
    int32_t voicing_q15            # similarity of the last two periods
    int32_t covered                # samples made since the last real one
    int32_t noise_rms_q4           # background level, learnt from quiet frames
    int32_t quiet_rms_q4           # least frame level of the present learning block
    int32_t quiet_left             # frames left in it
    uint32_t random

cdef enum:
    PLC_HISTORY_MS = 40            # how much history plc_extend may read before `end`
    PLC_FADE_MS = 100              # after this nothing of the speech is left

cdef void plc_init(Plc* p, int rate_hz) noexcept nogil
# A real frame pcm[samples] has been decoded: learn the background level.
cdef void plc_learn(Plc* p, const int16_t* pcm, int samples) noexcept nogil
# Writes end[0..samples) as a continuation of what is before end.
cdef void plc_extend(Plc* p, int16_t* end, int samples) noexcept nogil
# Real samples pcm[samples] follow directly after the concealed ones: blends their start. Ends the concealment.
cdef void plc_merge(Plc* p, int16_t* pcm, int samples) noexcept nogil
# Fills the hole end[0..gap) between what is before end and the real samples end[gap..gap + ahead) from both sides.
# gap <= 60 ms; ahead >= 10 ms. Ends the concealment.
cdef void plc_bridge(Plc* p, int16_t* end, int gap, int ahead) noexcept nogil
# 1 once the speech has faded and only background is made.
cdef int plc_faded(const Plc* p) noexcept nogil
