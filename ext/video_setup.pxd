# Negotiated track settings into native structs; control side only.
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_track cimport Track, TrackChange, TrackSnapshot

# settings, former: model_video.TrackSettings (former: None at first). Raises MediaError, MemoryError.
cdef TrackChange* track_change_new(settings, former) except NULL
# The snapshot's fields by name; layer as its number or None, codec as VideoCodec or None.
cdef dict track_snapshot_to_python(Track* t)
# Zeros for a leg without video.
cdef dict bandwidth_to_python(VideoLeg* v)
