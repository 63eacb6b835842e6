# What one party is heard as: jitter buffer, decoder, concealment, comfort noise, time stretching, resampling; ends in
# PCM of the wanted rate on a fixed grid. One Playout per receiving leg; one worker owns it.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from mediaserver.codecs.audio cimport AudioCodec, CodecConfig
from mediaserver.ext.packet cimport Packet, PacketPool
from mediaserver.ext.xr cimport XrLoss

cdef enum PlayoutPut:
    PUT_QUEUED = 0             # the buffer owns the packet now
    PUT_LATE = 1               # its time has passed; the caller keeps and releases it (likewise below)
    PUT_DUPLICATE = 2
    PUT_OVERFLOW = 3
    PUT_BAD = 4                # no codec for its payload type, or an undecodable size

cdef enum PlayoutKind:         # what the pulled samples are
    PLAYED_SILENCE = 0         # nothing has arrived yet, or the stream ended
    PLAYED_VOICE = 1
    PLAYED_CONCEALED = 2
    PLAYED_COMFORT = 3

cdef struct PlayoutStats:      # totals since init, published to LegStats
    uint32_t packets_queued
    uint32_t packets_late
    uint32_t packets_duplicate
    uint32_t packets_reordered
    uint32_t packets_overflow       # dropped because there was too much: some of them had been queued
    uint32_t packets_played         # queued = played + overflow + still waiting
    uint32_t packets_lost          # never came, judged when their time was due
    uint32_t frames_played         # 20 ms equivalents: samples pulled / (rate/50)
    uint32_t frames_concealed
    uint32_t frames_comfort
    int64_t stretched_ns
    int64_t compressed_ns
    int64_t cut_ns                  # of that, out of holes: time that was neither made up nor heard
    uint32_t loss_events
    uint32_t loss_event_packets
    int64_t buffer_delay_ns        # present
    int64_t buffer_target_ns
    XrLoss xr

cdef struct PlayoutConfig:
    int32_t min_delay_ms
    int32_t max_delay_ms
    int32_t rate_hz            # of the pulled PCM; may be changed by playout_set_rate

# Opaque to callers; its fields are playout.pyx's business. About 5 KB; sample buffers, decoders and the resampler are
# opened by the first packet put or pulled, never by observing.
cdef struct Playout

cdef Playout* playout_new(const PlayoutConfig* config) noexcept nogil          # allocates; NULL: no memory
cdef void playout_free(Playout* playout, PacketPool* pool) noexcept nogil      # gives queued packets back
# Says which codec a payload type is; the decoder is opened by the first packet put. 0, or -1: no room for another.
# CODEC_CN is welcome; CODEC_TELEPHONE_EVENT is accepted and ignored: see playout_note.
cdef int playout_set_codec(Playout* playout, int payload_type, const CodecConfig* config) noexcept nogil
cdef void playout_clear_codecs(Playout* playout) noexcept nogil
cdef void playout_set_rate(Playout* playout, int rate_hz) noexcept nogil
# A new SSRC or a source change: forget sequence state, keep sounding (smooth hand-over). Gives packets back: none is
# held afterwards, and playout_free may then be called with pool NULL from any thread.
cdef void playout_restart(Playout* playout, PacketPool* pool) noexcept nogil
# packet: parsed RTP whose payload type is an audio codec or CN. Wrong order, repeats, wraps, jumps are its business.
cdef PlayoutPut playout_put(Playout* playout, Packet* packet, int64_t now_ns, PacketPool* pool) noexcept nogil
# A packet of this stream that holds no audio (telephone-event) has come: its sequence number is not a loss. For
# observed legs as well. The caller keeps the packet.
cdef void playout_note(Playout* playout, uint16_t sequence, int64_t arrival_ns) noexcept nogil
# The next `samples` at rate_hz (10 ms multiples, at most 60 ms). Always fills out; returns what it is.
cdef PlayoutKind playout_pull(Playout* playout, int64_t now_ns, int16_t* out, int samples,
                              PacketPool* pool) noexcept nogil
# For relayed legs: the same buffer run on arrival times alone, no packet kept, no sample made. Statistics move alike.
cdef void playout_observe(Playout* playout, uint16_t sequence, uint32_t timestamp, int clock_hz,
                          int64_t arrival_ns) noexcept nogil
# playout_observe or playout_put comes soon: starts the way of what it touches out of memory.
cdef void playout_ahead(const Playout* playout) noexcept nogil
# The second step, when the first has arrived.
cdef void playout_nearer(const Playout* playout) noexcept nogil
cdef int playout_line_bytes(const Playout* playout) noexcept nogil             # what the sample line takes now
cdef const PlayoutStats* playout_stats(const Playout* playout) noexcept nogil
