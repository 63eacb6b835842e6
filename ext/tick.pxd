# What happens every 20 ms: prompts and digits are played, what is heard is pulled from the jitter buffers, mixed, encoded.
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

cdef enum:
    MIX_SPEAKERS_MAX = 8               # the loudest of a room; more voices at once are noise, and each costs an encode

# Legs with something of their own to do, then the bridges that mix. Call after context.tick_number has gone up.
cdef void tick_all(Context* ctx) noexcept nogil
# Takes a play off its leg and says so; completed: it had come to its end.
cdef void end_play(Context* ctx, Leg* leg, bint completed) noexcept nogil
