# The way out of a leg: protected where keys are agreed, and sent to where its media goes. Everything a leg sends, its
# audio, its video and its RTCP, leaves by these two.
from libc.stdint cimport uint8_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

# data[size] with a finished RTP header and SRTP_TRAILER_MAX bytes of room behind it. Returns the bytes on the wire,
# counted also when the system refused them (the sequence number is spent); -1: it could not be protected.
cdef int outgoing_rtp(Context* ctx, Leg* leg, uint8_t* data, int size) noexcept nogil
# The same for one compound or reduced-size RTCP packet. 0, or -1: nowhere to send it yet, or refused.
cdef int outgoing_control(Context* ctx, Leg* leg, uint8_t* data, int size) noexcept nogil
