# The last step of a viewer's packet: header, extensions, payload with its ids, out. First sending and repeats alike.
from mediaserver.ext.context cimport Context
from mediaserver.ext.video_history cimport HistorySlot
from mediaserver.ext.video_track cimport Sent, Track

# again: for a NACK, by RTX where that is agreed. 1: handed to the way out; 0: refused.
cdef int video_send(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot, bint again) noexcept nogil
