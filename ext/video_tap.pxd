# Consented copies of a track's pictures, as they came: every layer of a simulcast, retransmissions in their place.
from libc.stdint cimport uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.tap cimport Tap
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track, VideoStream

# A new packet of this stream to the track's taps. One that a retransmission brought gets its header back, in place:
# the packet is good for nothing else after it.
cdef void video_tap(Context* ctx, VideoLeg* v, Track* t, VideoStream* s, Packet* packet, bint repaired) noexcept nogil
# 0; -1: it has as many as it can, or not this one.
cdef int video_tap_open(Track* t, Tap* tap) noexcept nogil
cdef int video_tap_close(Track* t, const Tap* tap) noexcept nogil
