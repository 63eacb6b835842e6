# Video packets coming in: which track and stream they belong to, what is missing, and on to the viewers.
from libc.stdint cimport int64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track, VideoStream

# A parsed RTP packet of the leg's admitted source that is not its audio. The packet stays the caller's.
# 0; -1: nothing of ours, or malformed (counted by the track if it has one).
cdef int video_receive(Context* ctx, VideoLeg* v, Packet* packet, int wire_bytes) noexcept nogil
# A packet of the leg's sound: when it came.
cdef void video_overhear(VideoLeg* v, const Packet* packet) noexcept nogil
# Every 20 ms, and when a stream's feedback is due: active or not.
cdef void video_source_tick(Context* ctx, VideoLeg* v, Track* t) noexcept nogil
