# RTCP of a leg's tracks, both ways, and what a leg with video does by the clock.
from libc.stdint cimport int64_t, uint8_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track

# One compound or reduced-size packet of the leg's admitted source, unprotected. 0, or -1: malformed.
cdef int video_control(Context* ctx, VideoLeg* v, const uint8_t* data, int size, int64_t arrival_ns) noexcept nogil
# NACKs and key frame requests that are due.
cdef void video_ask(Context* ctx, VideoLeg* v, Track* t) noexcept nogil
# SR or RR with CNAME of one track, when due; bye: now, and with BYE.
cdef void video_report(Context* ctx, VideoLeg* v, Track* t, bint bye) noexcept nogil
