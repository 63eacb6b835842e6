# Samples out of a leg's jitter buffer, and samples into its outgoing stream.
from libc.stdint cimport int16_t, uint32_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

# 20 ms of what it says into leg.pcm, at its gain; level and in-band digits are seen to. Once per tick.
cdef void pull(Context* ctx, Leg* leg, int rate_hz) noexcept nogil
# pcm[samples], 20 ms at 8, 16 or 48 kHz, is what it hears now; packets leave as they fill.
cdef void speak(Context* ctx, Leg* leg, const int16_t* pcm, int samples, int rate_hz) noexcept nogil
# Before the first packet of a tick: timestamps go on in real time after a pause.
cdef void keep_running(Context* ctx, Leg* leg) noexcept nogil
# The payload[size] stands in ctx.scratch behind the place of the RTP header. send_frame: a frame of its voice; size 0:
# the codec has nothing to send, -1: it failed.
cdef void send_frame(Context* ctx, Leg* leg, int size) noexcept nogil
cdef void send_packet(Context* ctx, Leg* leg, int payload_type, uint32_t timestamp, bint marker,
                      int size) noexcept nogil
