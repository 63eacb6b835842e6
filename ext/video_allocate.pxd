# Which layers a leg's viewers get of what its way carries.
from libc.stdint cimport int64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_leg cimport VideoLeg

cdef enum:
    NO_LIMIT = -1

# budget_bps: for all video of the leg; NO_LIMIT: not known, everything goes. Returns what would be wanted at the most.
cdef int64_t video_allocate(Context* ctx, VideoLeg* v, int64_t budget_bps) noexcept nogil
