# What is done about a collision: needs the leg, which has the state of ext/collision in it.
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.net cimport Address

# RTP or RTCP of an admitted source has leg.sender.ssrc as its own. After a collision the leg sends under another one;
# after a loop, or where SDP has announced it, it does not.
cdef void collide(Context* ctx, Leg* leg, const Address* source) noexcept nogil
