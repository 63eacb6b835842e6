# What one leg tells its peer by RTCP, what the peer tells it, and what both tell Python.
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.net cimport Address
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.playout cimport PlayoutStats

# A datagram that is RTCP by its first bytes; the packet stays the caller's.
cdef void report_receive(Context* ctx, Leg* leg, Packet* packet, const Address* source) noexcept nogil
# SR or RR with SDES, and BYE when the leg closes. Nothing before there is a destination.
cdef void report_send(Context* ctx, Leg* leg, bint bye) noexcept nogil
# The leg's snapshot as of now.
cdef void report_publish(Context* ctx, Leg* leg) noexcept nogil
cdef void report_add_playout(PlayoutStats* total, const PlayoutStats* more) noexcept nogil
