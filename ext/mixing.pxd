# One tick of one bridge.
from mediaserver.ext.bridge cimport Bridge
from mediaserver.ext.context cimport Context

cdef enum:
    MIX_SPEAKERS_MAX = 8               # the loudest of a room; more voices at once are noise, and each costs an encode

cdef void tick_bridge(Context* ctx, Bridge* b) noexcept nogil
