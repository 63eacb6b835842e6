# The last step of a viewer's packet: header, extensions, payload with its ids, out. First sending and repeats alike.
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_history cimport HistorySlot
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Sent, Track

# again: for a NACK, by RTX where that is agreed. 1: handed to the way out; 0: refused.
cdef int video_send(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot, bint again) noexcept nogil
# At once, or in its turn when the way is taken. 0; -1: too much waits already, the packet is given up.
cdef int video_dispatch(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot) noexcept nogil
# What waits and may leave now. Viewers whose pictures got too old begin anew at a key frame.
cdef void video_drain(Context* ctx, VideoLeg* v) noexcept nogil
# Octets of padding to find out whether the way carries more; by RTX, which a decoder never sees. 0: no viewer has RTX.
cdef int video_pad(Context* ctx, VideoLeg* v) noexcept nogil
