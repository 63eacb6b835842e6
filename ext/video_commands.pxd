# Commands about tracks, carried out in the worker between two rounds of media (ext/channel.pxd).
from libc.stdint cimport int32_t, int64_t
from mediaserver.ext.channel cimport Command, Message
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.state cimport Worker
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track

cdef struct TrackOpening:              # comes back; what it points to is the worker's until closed
    VideoLeg* video                    # for a leg that has none yet; NULL once taken
    Track* track

cdef struct TrackLimits:
    int32_t priority
    int32_t paused
    int32_t pinned                     # layer; NO_LAYER: free choice
    int64_t bps_max

# OP_OPEN_TRACK .. OP_ASK_KEY_FRAME. A Status.
cdef int video_command(Worker* w, const Command* c, Leg* leg, Message* reply) noexcept nogil
# The leg leaves this worker, with its tracks or for good.
cdef void video_take_out(Worker* w, Leg* leg) noexcept nogil
cdef void video_take_in(Worker* w, Leg* leg) noexcept nogil
