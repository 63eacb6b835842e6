# One party's media: sockets, keys, source pin, reception statistics, the outgoing stream, RTCP. A leg is allocated and
# freed by the control side and owned by exactly one worker in between.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.ext.collision cimport Collisions
from mediaserver.ext.context cimport TICK_SAMPLES_MAX, Context
from mediaserver.ext.digits cimport Digits, ToneEar
from mediaserver.ext.fec cimport Fec
from mediaserver.ext.keypad cimport Keypad
from mediaserver.ext.levels cimport Levels
from mediaserver.ext.mix cimport SpeakerState
from mediaserver.ext.net cimport Address, address_equal
from mediaserver.ext.packet cimport Packet
from mediaserver.ext.pauses cimport Pauses
from mediaserver.ext.play cimport Play
from mediaserver.ext.playout cimport Playout, PlayoutStats
from mediaserver.ext.processing cimport LegVoice
from mediaserver.ext.red cimport Red
from mediaserver.ext.rtcp cimport CNAME_BYTES_MAX
from mediaserver.ext.rtp cimport RtpReceiver, RtpSender
from mediaserver.ext.srtp cimport SrtpSession
from mediaserver.ext.tap cimport Tap
from mediaserver.ext.voice cimport Voice
from mediaserver.ext.xr cimport XrState

cdef enum:
    PAYLOAD_TYPES_MAX = 16             # per direction; an offer with more keeps its first sixteen
    LATCH_PACKETS = 5                  # in a row from one unsignalled source before it is pinned
    TAPS_MAX = 2                       # on one leg
    RELAY_NONE = 255                   # relay map: this payload type is not passed on
    RELAY_AS_TONE = 254                # a telephone-event for a listener without telephone-event

cdef enum PayloadKind:
    PAYLOAD_AUDIO = 1
    PAYLOAD_COMFORT = 2
    PAYLOAD_EVENT = 3
    PAYLOAD_RED = 4                    # RFC 2198: taken apart where it comes in

cdef struct PayloadType:
    uint8_t kind
    uint8_t codec_id
    uint8_t payload_type
    uint8_t channels
    int32_t clock_hz

cdef struct Stream:                    # one negotiated offer/answer; plain data
    int32_t rtcp_mux
    int32_t sends
    int32_t receives
    int32_t ssrc_fixed                 # SDP may have said ours: it stays
    int32_t pin_remote                 # the remote has proven itself (ICE): it is the source at once, and only it
    int32_t ptime_ms
    int32_t xr                         # ext.xr XrBlocks the peer asked for
    int32_t level_in                   # RFC 8285 id of the audio level in what it sends, 1..255; 0: not agreed
    int32_t level_out                  # the same of what we send it
    int32_t level_vad                  # its V bit means something
    int32_t receive_count
    int32_t send_count
    int32_t audio_at                   # index in send of the codec we encode with; -1: none
    int32_t event_at                   # index in send of telephone-event; -1: none
    uint8_t receive_at[128]            # payload type -> index + 1 in receive; 0: not negotiated
    PayloadType receive[PAYLOAD_TYPES_MAX]
    PayloadType send[PAYLOAD_TYPES_MAX]
    Address remote                     # size 0: not known yet
    Address remote_rtcp
    Address signalling                 # whose packets may open the latch, besides remote's; size 0: anybody's
    char cname[CNAME_BYTES_MAX + 1]

cdef struct StreamChange:              # goes in with what is new, comes back with what it replaced
    Stream stream
    Playout* playout                   # replace_playout: the decoders changed
    SrtpSession* srtp_send             # replace_keys
    SrtpSession* srtp_receive
    Voice* voice                       # replace_voice: our encoder
    ToneEar* ear                       # replace_playout: NULL where digits come as telephone-events
    Red* red                           # replace_red: NULL where none was agreed
    int32_t replace_playout
    int32_t replace_keys
    int32_t replace_voice
    int32_t replace_red
    int32_t remote_changed             # opens the latch again

cdef enum LatchState:
    LATCH_OPEN = 0                     # any valid source may become the pinned one
    LATCH_PINNED = 1                   # only leg.source is listened to, and sent to

cdef enum LegChange:                   # bits of leg.changes
    CHANGE_SOURCE = 1
    CHANGE_SILENCE = 2

cdef struct LegSnapshot:               # what Python reads; the order of model.LegStats where it has the field
    int64_t at_ns
    uint64_t packets_received
    uint64_t bytes_received
    uint64_t packets_sent
    uint64_t bytes_sent
    uint64_t packets_expected
    uint64_t packets_lost
    uint64_t packets_late
    uint64_t packets_duplicate
    uint64_t packets_reordered
    uint64_t packets_stranger
    uint64_t packets_bad
    uint64_t packets_auth_failed
    uint64_t packets_overflow
    uint64_t ssrc_changes
    uint64_t ssrc_collisions
    uint64_t packets_looped
    uint64_t extensions_bad
    uint64_t frames_played
    uint64_t frames_concealed
    uint64_t frames_comfort
    int64_t stretched_ns
    int64_t compressed_ns
    int64_t cut_ns
    uint64_t loss_events
    uint64_t loss_event_packets
    int64_t jitter_ns
    int64_t buffer_delay_ns
    int64_t buffer_target_ns
    int32_t level_dbov
    int32_t talking                    # by what was decoded of it, or by the levels that it says
    int64_t round_trip_ns
    int32_t remote_fraction            # 1/256; -1: no report yet
    int32_t remote_packets_lost
    uint32_t remote_highest            # extended highest sequence number of that report block
    uint32_t remote_reporter           # SSRC of who sent it
    uint32_t remote_reports            # how many about what we send
    uint32_t sent_sequence             # extended number of the next packet to it
    int64_t remote_jitter_ns
    int64_t unheard_ns                 # it sent nothing
    uint32_t sent_ssrc
    uint32_t received_ssrc
    uint64_t rtcp_received
    uint64_t rtcp_sent
    int32_t relayed
    int32_t codec_id
    uint64_t tap_packets
    int32_t silent
    Address source
    uint32_t dropouts                  # holes of 200 ms or more in what was heard
    int64_t dropout_ns
    uint32_t seconds_concealed         # RFC 7294 §4
    uint32_t seconds_severe
    uint64_t frames_clipped
    int32_t xr_known                   # the peer has sent VoIP metrics; the next ones are theirs
    int32_t xr_loss_rate               # 1/256, likewise the next three
    int32_t xr_discard_rate
    int32_t xr_burst_density
    int32_t xr_gap_density
    int32_t xr_burst_ms
    int32_t xr_gap_ms
    int32_t xr_end_system_ms
    int32_t xr_buffer_ms
    int32_t xr_r                       # 127: it does not say
    int32_t xr_mos_lq10
    int32_t xr_mos_cq10
    uint32_t xr_reporter               # SSRC of who says so
    uint32_t xr_reports                # how many; and the packets we had sent when the last one came
    uint64_t xr_sent
    int32_t far_parts                  # ext.concealment MADE_UP_…; the next ones are the peer's
    uint64_t far_on_time_ms
    uint64_t far_concealed_ms
    uint64_t far_adjusted_ms
    uint64_t far_interrupts
    uint64_t far_unimpaired_s
    uint64_t far_concealed_s
    uint64_t far_severe_s
    uint64_t packets_recovered
    uint64_t packets_fec               # carried the one before once more, in-band (Opus)
    uint64_t packets_fec_relayed       # the same of those relayed to it
    int32_t hum_hz                     # ext/linecheck; 0: none, or not looked for
    int32_t hum_dbov
    int32_t echo_ms                    # likewise
    int32_t echo_loss_db
    int32_t echo_removed_db            # ext/canceller; 0: no echo found, or not cancelled
    int32_t fec_on                     # what it is sent, encoded here, carries in-band FEC
    int32_t fec_reason                 # ext/fec FecReason
    uint32_t fec_switches
    int32_t red_levels                 # payloads that each packet to it repeats (ext/red)
    uint32_t red_switches

cdef struct Leg:
    # --- what every packet it says touches comes first and together, LEG_HEARD_LINES of memory
    uint64_t handle
    int32_t rtp_socket
    int32_t rtcp_socket                # -1: none
    int32_t negotiated                 # stream, playout and voice are there
    int32_t hands_datagrams            # STUN and DTLS of its RTP socket go to Python
    int32_t receives                   # as its stream says
    int32_t latch
    int32_t source_signalled           # the pinned source is the one SDP named, or authenticated: nothing outranks it
    Address source
    Playout* playout                   # NULL until negotiated
    Leg* relay_to                      # rewritten and sent there in the same round; NULL: not relayed
    SrtpSession* srtp_receive          # NULL: plain RTP
    Red* red                           # NULL: no redundant audio either way
    void* video                        # VideoLeg* (ext/video_leg.pxd); NULL: audio only
    Tap* taps[TAPS_MAX]
    int32_t decoding                   # packets go into the playout; else it only watches arrivals
    int32_t decide_due                 # it changed codec: whoever relays it must think again
    int32_t codec_id                   # of the last audio packet
    int32_t silent
    PayloadType heard                  # of the last packet; kind 0: look it up. A copy: the tables are far away
    int32_t heard_relay                # and what relay_map makes of it
    int32_t level_in                   # as its stream says
    int64_t heard_ns                   # last valid packet, or when listening began
    uint64_t packets_received
    uint64_t bytes_received
    RtpReceiver receiver
    # --- what every packet it is sent touches, up to LEG_LINES
    SrtpSession* srtp_send
    Address destination                # size 0: nowhere yet
    int32_t sends                      # as its stream says
    int32_t send_clock_hz              # RTP clock of the audio we send; 0: none is negotiated
    int32_t level_out                  # as its stream says
    RtpSender sender
    Keypad keypad
    # --- what is negotiated, and less often touched
    Voice* voice                       # NULL until negotiated
    int32_t datagrams_left             # until the next housekeeping
    int32_t shares_port                # its socket is a port's: not its own to watch
    # Only addresses that passed a check of its ICE reach it; away from its port, rtcp_socket is a second way for all.
    int32_t by_ice
    uint8_t relay_map[128]             # our payload type -> the listener's
    Stream stream
    # --- sources on probation, RTCP's own source
    int32_t index                      # in the worker's list of live legs
    int32_t candidate_count
    uint16_t candidate_sequence
    uint32_t candidate_ssrc
    int64_t candidate_ns
    Address candidate
    int32_t rtcp_pinned
    Address rtcp_source
    PlayoutStats playout_before        # totals of the playouts replaced so far
    Collisions collisions
    uint64_t packets_stranger
    uint64_t packets_bad
    uint64_t packets_auth_failed
    uint64_t packets_overflow
    uint64_t packets_recovered
    uint64_t packets_fec               # carried the one before once more, in-band (Opus)
    uint64_t packets_fec_relayed       # the same of those relayed to it
    # --- in a bridge
    void* bridge                       # Bridge* (ext/bridge.pxd)
    int32_t row                        # in the bridge
    int32_t mixed                      # its bridge mixes, and pulls what it says
    int32_t fed                        # the other one is relayed to it: the mix has nothing for it, not even silence
    int32_t muted
    int32_t gain_q12
    Leg* peer                          # the other one of a bridge of two that hears it: its digits go there too
    Leg* follows                       # whose encoder made what it was sent last; NULL: its own
    # --- digits it presses
    Digits digits
    int32_t event_clock_hz             # of the last telephone-event received
    ToneEar* ear                       # NULL: it has telephone-events
    # --- the tick
    Play* play
    int32_t ticking_index              # in the context's list; -1: not ticking
    uint64_t ticked                    # last tick done
    uint64_t spoken_tick               # a prompt or a digit filled this tick: no mix
    uint64_t loud_until                # tick up to which it counts as making a sound
    int32_t contributes                # in the mix of this tick
    int32_t level                      # RFC 6464, of the last 20 ms decoded; else what it says itself; 127: silence
    Levels levels
    SpeakerState speaker
    int32_t pcm_rate
    int32_t pcm_kind                   # PlayoutKind
    uint64_t frames_clipped            # decoded frames of 20 ms
    Pauses pauses
    LegVoice* processing               # what is done to its voice before others hear it; NULL: nothing
    int16_t pcm[TICK_SAMPLES_MAX]      # what it said in this tick, at pcm_rate
    # --- RTCP
    int64_t rtcp_next_ns
    uint64_t rtcp_packets_before[2]    # sender.packets at the last two reports: are we a sender still?
    uint32_t last_sr
    int64_t last_sr_ns
    int64_t round_trip_ns
    int32_t remote_fraction
    int32_t remote_lost
    uint32_t remote_highest
    uint32_t remote_reporter
    uint32_t remote_reports
    int64_t remote_jitter_ns
    uint64_t rtcp_received
    uint64_t rtcp_sent
    Fec fec                            # of what it is sent
    XrState xr
    # --- out to Python
    uint32_t changes
    uint32_t snapshot_sequence         # odd while being written
    uint64_t tap_packets
    LegSnapshot snapshot

# One datagram of the leg's RTP or RTCP socket. Returns 1 when the packet was kept (the playout owns it now).
cdef int leg_receive(Context* ctx, Leg* leg, Packet* packet, const Address* source, bint on_rtcp) noexcept nogil
# Fetches the legs after legs[i] into the cache; NULL ones are skipped.
cdef void leg_ahead(Leg** legs, int i, int count) noexcept nogil
# A counted packet of this payload type, in its place of the stream: to taps, digits, playout, relay. Returns as above.
cdef int leg_consume(Context* ctx, Leg* leg, Packet* packet, const PayloadType* payload) noexcept nogil
cdef void leg_set_stream(Context* ctx, Leg* leg, StreamChange* change) noexcept nogil
# Every 100 ms: statistics, RTCP when due, silence.
cdef void leg_housekeep(Context* ctx, Leg* leg) noexcept nogil
# It comes soon: starts the way of what it touches out of memory.
cdef void leg_housekeep_ahead(const Leg* leg) noexcept nogil
# data[size] with a finished RTP header, room for the trailer behind; protects, sends, counts. timestamp: of that
# header.
cdef void leg_send_rtp(Context* ctx, Leg* leg, uint8_t* data, int size, uint32_t timestamp, int clock_hz) noexcept nogil
# Puts the leg on the tick list or takes it off, by what it has to do.
cdef void leg_schedule(Context* ctx, Leg* leg) noexcept nogil
cdef void leg_unschedule(Context* ctx, Leg* leg) noexcept nogil
# A digit was pressed by this party: tells Python. way: ext/dtmf DtmfWay.
cdef void leg_report_digit(Context* ctx, Leg* leg, int digit, int way) noexcept nogil
cdef bint leg_can_send(const Leg* leg) noexcept nogil

cdef inline bint leg_is_source(const Leg* leg, const Address* source) noexcept nogil:
    """Of a pinned leg: the pinned address or, where keys are agreed, any other that has passed a check of its ICE: no
    other leads to it (ext/port; on another worker than its port's, its sockets are connected). A browser speaks from a
    better pair at once and nominates it with its next check, some 80 ms later; RFC 8445 §12.2 has us take data from
    each. What we send goes to the pinned one."""
    return address_equal(source, &leg.source) or (leg.by_ice and leg.srtp_receive is not NULL)
