# What a viewer is sent of the stream it watches: one continuous RTP stream whatever feeds it.
from libc.stdint cimport uint16_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_history cimport HistorySlot
from mediaserver.ext.video_track cimport Track, VideoStream

# A packet just received by `s` (in `slot`; format: its place in the source's setup.receive), for one viewer.
cdef void video_forward(Context* ctx, Track* viewer, VideoStream* s, HistorySlot* slot, int format) noexcept nogil
# The peer asks for a packet again. 1: sent.
cdef int video_send_again(Context* ctx, Track* viewer, uint16_t sequence) noexcept nogil
