# What a leg with video has beside its audio: its tracks, and how a packet of its transport finds the one it belongs to.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.video_arrivals cimport Arrivals
from mediaserver.ext.video_estimate cimport Estimator
from mediaserver.ext.video_extensions cimport ExtensionNumbers
from mediaserver.ext.video_pace cimport Pacer
from mediaserver.ext.video_rate cimport RateMeter
from mediaserver.ext.video_track cimport Track, VideoStream

cdef enum:
    TRACKS_PER_LEG_MAX = 64            # m-sections of one browser: a room with sixty cameras
    SSRCS_MAX = 64                     # learnt per leg: a thing to remember for an attacker who authenticates
    SSRC_SLOTS = 128                   # power of two, twice SSRCS_MAX: short probes

cdef struct SsrcEntry:
    uint32_t ssrc
    uint8_t taken
    uint8_t rtx
    uint8_t place                      # of the track
    uint8_t layer

cdef struct BandwidthSnapshot:         # what Python reads; the order of model_video.LegBandwidth
    int64_t estimate_bps
    int64_t audio_bps
    int64_t video_bps
    int64_t allotted_bps
    double loss_fraction
    int64_t round_trip_ns

cdef struct VideoLeg:
    Leg* leg                           # NULL: not in a worker
    int32_t index                      # in the context's list
    int32_t track_count                # places in use, without holes
    Track* tracks[TRACKS_PER_LEG_MAX]
    uint32_t ssrcs[TRACKS_PER_LEG_MAX]  # ours, by place
    uint32_t rtx_ssrcs[TRACKS_PER_LEG_MAX]
    ExtensionNumbers extensions        # of the transport: the tracks' united
    int32_t ssrc_count
    SsrcEntry ssrc_table[SSRC_SLOTS]
    RateMeter audio_rate               # of what is sent, on the wire
    uint64_t audio_bytes_before
    RateMeter video_rate
    Estimator estimator                # of the way to it, by transport-wide feedback
    int64_t remb_bps                   # what it says it can take; 0: it says nothing
    int64_t remb_ns
    int32_t sinks                      # tracks that send something now
    int32_t misfit                     # something is sent that does not fit
    Pacer pacer
    Arrivals arrivals                  # of what it sends
    uint32_t arrivals_ssrc             # of the last of these
    int64_t allotted_bps
    uint32_t snapshot_sequence         # odd while being written
    BandwidthSnapshot snapshot
    uint32_t changes                   # some track has some
    int64_t audio_report_ns            # when the last sender report about its sound came; 0: none did
    uint64_t audio_report_ntp
    uint32_t audio_report_timestamp
    int64_t due_ns                     # earlier than the next tick; 0: nothing is

# NULL: no memory. Control side.
cdef VideoLeg* video_leg_new() noexcept nogil
# And its tracks.
cdef void video_leg_free(VideoLeg* v) noexcept nogil
# Into a worker and out of it. Out: no track is connected any more.
cdef void video_leg_enter(Context* ctx, VideoLeg* v, Leg* leg) noexcept nogil
cdef void video_leg_leave(Context* ctx, VideoLeg* v) noexcept nogil
# 0; -1: no place.
cdef int video_leg_add(VideoLeg* v, Track* t) noexcept nogil
cdef void video_leg_remove(VideoLeg* v, Track* t) noexcept nogil
cdef Track* video_leg_track(const VideoLeg* v, int id) noexcept nogil
# Settings of a track changed: extension numbers, and what was learnt of its SSRCs is learnt again.
cdef void video_leg_changed(VideoLeg* v, Track* t) noexcept nogil
cdef void video_leg_publish(VideoLeg* v, int64_t now_ns) noexcept nogil
cdef SsrcEntry* ssrc_find(VideoLeg* v, uint32_t ssrc) noexcept nogil
# NULL: the table is full.
cdef SsrcEntry* ssrc_learn(VideoLeg* v, uint32_t ssrc, int place, int layer, bint rtx) noexcept nogil
cdef void ssrc_forget(VideoLeg* v, uint32_t ssrc) noexcept nogil
# The worker looks at this leg again at when_ns, if not before.
cdef void video_due(Context* ctx, VideoLeg* v, int64_t when_ns) noexcept nogil
