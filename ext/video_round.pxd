# What legs with video do by the clock: every tick, and in between when something is due.
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_leg cimport VideoLeg

# All of them, every 20 ms.
cdef void video_tick(Context* ctx) noexcept nogil
# Those that are due; sets context.video_due_ns anew.
cdef void video_run(Context* ctx) noexcept nogil
# One leg is about to close: BYE of its tracks.
cdef void video_goodbye(Context* ctx, VideoLeg* v) noexcept nogil
