# From a negotiated model.StreamSettings to the structs a worker takes over, and their release.
from libc.stdint cimport int32_t
from mediaserver.ext.leg cimport Leg, LegSnapshot, StreamChange

cdef struct StreamOptions:             # of the engine's settings
    int32_t jitter_min_ms
    int32_t jitter_max_ms
    int32_t opus_bitrate_bps
    int32_t opus_complexity
    int32_t inband_dtmf

# former: the settings this leg had, or None: what did not change keeps its running state (decoders, rollover counters).
# Raises MediaError, ValueError, MemoryError; nothing is leaked then.
cdef StreamChange* change_new(settings, former, const StreamOptions* options) except NULL
cdef void change_free(StreamChange* change) noexcept
# Everything the leg owns, and the leg.
cdef void leg_free(Leg* leg) noexcept
cdef dict snapshot_to_python(const LegSnapshot* s)
