# One video m-section of a leg: what it negotiated, the streams it receives, and the one stream it sends. Allocated by
# the control side; used by the worker that owns its leg.
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.rtp cimport RtpReceiver
from mediaserver.ext.tap cimport Tap
from mediaserver.ext.video_extensions cimport MID_BYTES_MAX, ExtensionNumbers
from mediaserver.ext.video_history cimport History
from mediaserver.ext.video_nack cimport NackList
from mediaserver.ext.video_rate cimport RateMeter

cdef enum:
    LAYERS_MAX = 3                     # simulcast streams of one track: browsers send no more
    TEMPORAL_MAX = 4                   # temporal layers counted apart
    VIDEO_FORMATS_MAX = 16             # per direction; an offer with more keeps its first sixteen
    SENT_MAX = 512                     # packets of a viewer that can be sent again: a second at 500 packets/s
    SKIPS_MAX = 512                    # how far back a late packet still finds its number
    NO_LAYER = -1
    TRACK_TAPS_MAX = 2                 # as of a leg's sound

cdef struct VideoFormat:
    uint8_t codec                      # VideoCodecId
    uint8_t payload_type
    uint8_t rtx_payload_type           # 255: none agreed
    uint8_t mode                       # H.264 packetization-mode
    uint8_t profile                    # H.264 profile_idc, VP9 profile-id, AV1 profile

cdef struct TrackSetup:                # one negotiated offer/answer; plain data
    int32_t sends
    int32_t receives
    int32_t send_count
    int32_t receive_count
    int32_t nack
    int32_t pli
    int32_t fir
    int32_t transport_cc
    int32_t remb
    int32_t reduced_size               # RFC 5506
    int32_t mid_size
    int32_t rid_count                  # simulcast streams received; 0: one stream
    int32_t ssrc_count                 # declared by a=ssrc
    int32_t bandwidth_bps_max          # 0: none named
    ExtensionNumbers extensions
    uint8_t receive_at[128]            # payload type -> index + 1 in receive
    uint8_t rtx_at[128]                # RTX payload type -> index + 1 in receive
    uint8_t rid_sizes[LAYERS_MAX]
    char mid[MID_BYTES_MAX + 1]
    char rids[LAYERS_MAX][MID_BYTES_MAX + 1]
    uint32_t ssrcs[LAYERS_MAX]
    uint32_t rtx_ssrcs[LAYERS_MAX]     # 0: not declared
    VideoFormat receive[VIDEO_FORMATS_MAX]
    VideoFormat send[VIDEO_FORMATS_MAX]

cdef struct TrackChange:               # goes in with what is new, comes back with what it replaced
    TrackSetup setup
    int32_t replace_histories
    History* histories[LAYERS_MAX]

cdef struct VideoStream:               # one SSRC we receive
    int32_t layer                      # place in the track, and in setup.rids
    uint32_t ssrc                      # 0: nothing came yet
    uint32_t rtx_ssrc
    uint8_t codec                      # of the last packet
    uint8_t payload_type
    RtpReceiver receiver
    History* history                   # NULL: the track does not receive
    NackList nack
    RateMeter rate
    RateMeter temporal_rates[TEMPORAL_MAX]   # of each temporal layer by itself
    int32_t temporal_layers            # seen since the last key frame
    uint32_t frame_timestamp           # of the newest frame
    int32_t frame_known
    int64_t heard_ns
    uint64_t packets
    uint64_t recovered
    uint64_t lost                      # given up
    # --- when was it taken: RTP time to the sender's clock, or to ours
    int32_t report_known
    uint64_t report_ntp
    uint32_t report_timestamp
    int64_t report_ns
    uint32_t arrival_timestamp
    int64_t arrival_ns
    # --- asking for key frames
    int32_t key_wanted                 # 1: by a viewer, 2: by command, whether anybody watches or not
    int32_t key_pending                # asked for, and not come yet
    int64_t key_asked_ns
    int64_t key_came_ns
    uint32_t key_timestamp
    uint8_t key_number                 # of FIR

cdef struct Sent:                      # how one packet of a viewer was made: enough to make it again, the same
    uint16_t out
    uint16_t sequence                  # the source stream's
    uint16_t picture
    uint8_t tl0
    int8_t layer                       # -1: the place is free
    uint8_t payload_type
    uint8_t padding                    # no payload: it only fills a number
    uint16_t descriptor_frame
    uint32_t timestamp
    int64_t sent_ns                    # last time

cdef struct Sink:                      # what a track sends
    # --- wishes
    int32_t priority
    int32_t paused
    int32_t pinned                     # layer; NO_LAYER: free choice
    int64_t bps_max                    # 0: no limit
    # --- choice
    int32_t target                     # layer
    int32_t target_temporal
    int32_t current                    # layer being sent
    int32_t current_temporal
    int64_t chosen_ns
    int64_t misfit_ns                  # since when what it gets does not fit; 0: it does
    uint8_t format_at[VIDEO_FORMATS_MAX]   # the source's format -> index + 1 in setup.send; 0: cannot be sent
    # --- the present feed
    int32_t feeding
    uint16_t in_first
    uint16_t in_highest
    uint32_t in_count
    uint16_t sequence_delta
    uint32_t timestamp_delta
    uint16_t picture_delta
    uint16_t picture_highest
    uint64_t pictures_skipped          # bit n: picture_highest - n was left out
    uint8_t tl0_delta
    uint16_t descriptor_delta
    uint32_t frame_timestamp           # of the newest frame passed or skipped
    int32_t frame_skipped
    # --- what has gone out
    uint16_t sequence                  # of the next packet
    uint16_t rtx_sequence
    uint8_t payload_type               # of the newest packet
    int32_t started
    uint32_t timestamp                 # newest
    int64_t timestamp_ns               # when its packet was sent
    uint16_t picture
    uint8_t tl0
    uint16_t descriptor_frame
    uint64_t packets
    uint64_t bytes
    uint64_t payload_bytes
    uint64_t rtx_packets
    uint64_t rtx_bytes
    uint64_t frames
    uint64_t dropped
    RateMeter rate
    uint8_t skipped[SKIPS_MAX]         # by source sequence number
    Sent sent[SENT_MAX]

cdef enum TrackEvent:                  # bits of track.changes
    TRACK_ACTIVE = 1
    TRACK_LAYER = 2
    TRACK_KEY_FRAME = 4

cdef struct TrackSnapshot:             # what Python reads; the order of model_video.TrackStats where it has the field
    int64_t at_ns
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_lost
    uint64_t packets_recovered
    uint64_t packets_bad
    uint64_t frames_received
    uint64_t key_frames_received
    uint64_t nacks_sent
    uint64_t key_frames_asked
    int64_t jitter_ns
    int64_t bitrate_received_bps
    uint64_t packets_sent
    uint64_t bytes_sent
    uint64_t frames_sent
    uint64_t packets_retransmitted
    uint64_t packets_dropped
    uint64_t nacks_received
    uint64_t plis_received
    int64_t bitrate_sent_bps
    int32_t layer
    int32_t codec
    int32_t remote_fraction            # 1/256; -1: no report yet
    int64_t remote_jitter_ns
    int64_t round_trip_ns
    int64_t layer_bps[LAYERS_MAX]      # received of each simulcast stream; -1: it is not sent

cdef struct Track:
    int32_t id                         # in its leg; never used again there
    int32_t place                      # in VideoLeg.tracks
    Leg* leg                           # NULL: not in a worker
    uint32_t ssrc
    uint32_t rtx_ssrc
    TrackSetup setup
    # --- who gets what from whom
    Track* source                      # whose pictures this one sends
    Track* viewers                     # who sends ours: first of a list by next_viewer
    Track* next_viewer
    Track* previous_viewer
    # --- reception
    VideoStream streams[LAYERS_MAX]
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_bad
    uint64_t frames_received
    uint64_t key_frames_received
    uint64_t nacks_sent
    uint64_t key_frames_asked
    RateMeter rate
    int64_t heard_ns
    int32_t active
    # --- consented copies
    int32_t tapped                     # how many of these are open
    Tap* taps[TRACK_TAPS_MAX]
    # --- sending
    Sink sink
    uint64_t nacks_received
    uint64_t plis_received
    int32_t remote_fraction
    int64_t remote_jitter_ns
    int64_t round_trip_ns
    int64_t cap_ns                     # when its sender was last told how much its viewers can take
    int64_t cap_bps
    int64_t report_next_ns
    uint64_t report_packets            # sink.packets at the last report
    # --- out to Python
    uint32_t changes
    int32_t told_layer                 # as told by TRACK_LAYER
    uint32_t snapshot_sequence         # odd while being written
    TrackSnapshot snapshot

# A 64-bit NTP time as ns of its own epoch.
cdef inline int64_t ntp_ns(uint64_t ntp) noexcept nogil:
    return <int64_t>(ntp >> 32) * 1000000000 + ((<int64_t>(<uint32_t>ntp) * 1000000000) >> 32)

# NULL: no memory. Control side.
cdef Track* track_new(int id, uint32_t ssrc, uint32_t rtx_ssrc, uint16_t sequence, uint16_t rtx_sequence,
                      uint32_t timestamp) noexcept nogil
cdef void track_free(Track* t) noexcept nogil
cdef void track_change_free(TrackChange* change) noexcept nogil
cdef void track_set(Track* t, TrackChange* change) noexcept nogil
# From now on sink sends what source receives; NULL: nothing.
cdef void track_connect(Track* sink, Track* source) noexcept nogil
# Nobody gets anything of it and it of nobody.
cdef void track_disconnect(Track* t) noexcept nogil
cdef void track_reset_stream(VideoStream* s) noexcept nogil
# Whether its sender sends this simulcast stream at present.
cdef bint track_layer_lives(const Track* t, int layer, int64_t now_ns) noexcept nogil
cdef void track_publish(Track* t, int64_t now_ns) noexcept nogil
# Tells Python, once until it looked.
cdef void track_note(Context* ctx, Track* t, uint32_t bits) noexcept nogil
# When a picture with this RTP timestamp was taken, ns by the sender's clock (RFC 3550 §6.4.1); 0: not known yet.
cdef int64_t track_taken_ns(const VideoStream* s, uint32_t timestamp) noexcept nogil
