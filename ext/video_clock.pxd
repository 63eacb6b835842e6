# What a leg with video does by the clock, and how pictures and sound of one source are kept together.
from libc.stdint cimport uint32_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_track cimport Track

# The viewer's RTP timestamp of a picture taken now, for its sender report.
cdef uint32_t video_sender_time(Context* ctx, Track* viewer) noexcept nogil
