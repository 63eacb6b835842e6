# Redundant audio of one leg, from the packet that came to the packets that it stands for.
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.packet cimport Packet

# packet: of a payload type negotiated as RED, counted already. 1: the playout owns the packet now.
cdef int red_unpack(Context* ctx, Leg* leg, Packet* packet) noexcept nogil
