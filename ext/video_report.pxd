# RTCP of a leg's tracks, both ways, and what a leg with video does by the clock.
from libc.stdint cimport int64_t, uint8_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track

cdef enum:
    UNCAPPED_BPS = 100000000

# One compound or reduced-size packet of the leg's admitted source, unprotected. 0, or -1: malformed.
cdef int video_control(Context* ctx, VideoLeg* v, const uint8_t* data, int size, int64_t arrival_ns) noexcept nogil
# NACKs and key frame requests that are due.
cdef void video_ask(Context* ctx, VideoLeg* v, Track* t) noexcept nogil
# When the packets of this leg came, to its sender's congestion control; when due.
cdef void video_tell_arrivals(Context* ctx, VideoLeg* v) noexcept nogil
# The track's sender shall send no more than this: its viewers cannot take it (REMB). UNCAPPED_BPS: no limit any more.
cdef void video_cap(Context* ctx, VideoLeg* v, Track* t, int64_t bps) noexcept nogil
# SR or RR with CNAME of one track, when due; bye: now, and with BYE.
cdef void video_report(Context* ctx, VideoLeg* v, Track* t, bint bye) noexcept nogil
