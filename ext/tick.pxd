# What happens every 20 ms: prompts and digits are played, what is heard is pulled from the buffers, mixed, encoded.
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg

# Legs with something of their own to do, then the bridges that mix. Call after context.tick_number has gone up.
cdef void tick_all(Context* ctx) noexcept nogil
# Takes a play off its leg and says so; completed: it had come to its end.
cdef void end_play(Context* ctx, Leg* leg, bint completed) noexcept nogil
