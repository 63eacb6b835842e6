"""What one party is heard as: from packets in any order to PCM on a fixed grid. The playout's face to the worker.

Owns putting, pulling, observing and the statistics; what is played next is decided in `ext.player`.

A packet is decoded when its first sample is pulled; how long after its ideal arrival that is (its slack) is the delay.
Speech is stretched while the slack is below the target, compressed while it is above.
"""

from libc.stdint cimport int16_t, int64_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from mediaserver.codecs.audio cimport CODEC_CN, CODEC_OPUS, CODEC_TELEPHONE_EVENT, CodecConfig, codec_samples
from mediaserver.ext.jitter cimport (
    ARRIVAL_DUPLICATE, ARRIVAL_FULL, ARRIVAL_LATE, ARRIVAL_QUEUED, ARRIVAL_RESYNC, JITTER_SLOTS, JitterArrival,
    JitterBuffer, jitter_arrive, jitter_note, jitter_observe, jitter_restart, jitter_resync, jitter_skip,
)
from mediaserver.ext.line cimport line_free, line_waiting
from mediaserver.ext.outlet cimport Outlet, outlet_free, outlet_write
from mediaserver.ext.packet cimport Packet, PacketPool
from mediaserver.ext.player cimport (
    Player, player_fill, player_init, player_release, player_release_all, player_reserve,
)
from mediaserver.ext.receivers cimport Receiver, receivers_clear, receivers_open, receivers_raise, receivers_set

cdef enum:
    PACKET_MS_MAX = 60
    PACKET_OPUS_MS_MAX = 120
    FRAME_NS = 20000000            # what the statistics count in

cdef int64_t MS = 1000000
cdef int64_t SECOND = 1000000000

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* at) noexcept nogil

cdef enum:
    OBSERVED_LINES = 7             # of 64 bytes: up to and with the delays of packets that come in time

cdef struct Playout:
    int64_t pulled_ns
    int64_t observed_ns            # arrival of the latest observed packet
    Player player                  # its jitter buffer first
    Outlet outlet
    PlayoutStats stats


# --- set-up (control path)

cdef Playout* playout_new(const PlayoutConfig* config) noexcept nogil:
    cdef Playout* p = <Playout*> calloc(1, sizeof(Playout))
    if p is not NULL:
        player_init(&p.player, config.min_delay_ms * MS, config.max_delay_ms * MS, config.rate_hz)
    return p


cdef void playout_free(Playout* p, PacketPool* pool) noexcept nogil:
    if p is NULL:
        return
    player_release_all(&p.player, pool)
    receivers_clear(&p.player.receivers)
    outlet_free(&p.outlet)
    line_free(&p.player.line)
    free(p)


cdef int playout_set_codec(Playout* p, int payload_type, const CodecConfig* config) noexcept nogil:
    if config.codec_id == CODEC_TELEPHONE_EVENT:
        return 0
    return receivers_set(&p.player.receivers, payload_type, config)


cdef void playout_clear_codecs(Playout* p) noexcept nogil:
    receivers_clear(&p.player.receivers)
    p.player.voice = NULL
    p.player.comfort = NULL


cdef void playout_set_rate(Playout* p, int rate_hz) noexcept nogil:
    if rate_hz != p.player.rate_hz:
        p.player.rate_hz = rate_hz
        receivers_raise(&p.player.receivers, rate_hz)


cdef void playout_restart(Playout* p, PacketPool* pool) noexcept nogil:
    player_release_all(&p.player, pool)
    jitter_restart(&p.player.jitter)
    p.player.comfort = NULL
    p.player.rebuffer = p.player.playing


# --- packets in

cdef int is_possible(const Receiver* receiver, const Packet* packet) noexcept nogil:
    cdef int samples = codec_samples(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size)
    if receiver.config.codec_id == CODEC_CN:
        return samples == 0
    if receiver.config.codec_id == CODEC_OPUS:
        return 0 < samples <= receiver.codec.rate_hz // 1000 * PACKET_OPUS_MS_MAX
    return 0 < samples <= receiver.codec.rate_hz // 1000 * PACKET_MS_MAX


cdef int has_room(Playout* p, const Receiver* receiver, const Packet* packet) noexcept nogil:
    cdef int samples = codec_samples(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size)
    return player_reserve(&p.player, receiver, samples) == 0


cdef int playout_line_bytes(const Playout* p) noexcept nogil:
    return p.player.line.capacity * <int> sizeof(int16_t)


cdef PlayoutPut playout_put(Playout* p, Packet* packet, int64_t now_ns, PacketPool* pool) noexcept nogil:
    cdef Receiver* receiver = receivers_open(&p.player.receivers, packet.payload_type, p.player.rate_hz)
    cdef JitterArrival arrival
    cdef uint16_t oldest
    if receiver is NULL or not is_possible(receiver, packet) or not has_room(p, receiver, packet):
        return PUT_BAD
    while True:
        arrival = jitter_arrive(&p.player.jitter, packet.sequence, packet.timestamp, receiver.codec.clock_hz,
                                packet.arrival_ns)
        if arrival == ARRIVAL_FULL:
            oldest = p.player.jitter.next_sequence
            if jitter_skip(&p.player.jitter):
                player_release(&p.player, oldest, pool)
        elif arrival == ARRIVAL_RESYNC:
            player_release_all(&p.player, pool)
            jitter_resync(&p.player.jitter, packet.sequence)
            p.player.rebuffer = p.player.playing
        else:
            break
    if arrival == ARRIVAL_QUEUED:
        p.player.slots[packet.sequence % JITTER_SLOTS] = packet
        return PUT_QUEUED
    if arrival == ARRIVAL_LATE:
        return PUT_LATE
    return PUT_DUPLICATE if arrival == ARRIVAL_DUPLICATE else PUT_BAD


cdef void playout_note(Playout* p, uint16_t sequence, int64_t arrival_ns) noexcept nogil:
    jitter_note(&p.player.jitter, sequence, arrival_ns)


cdef void playout_observe(Playout* p, uint16_t sequence, uint32_t timestamp, int clock_hz,
                          int64_t arrival_ns) noexcept nogil:
    cdef int64_t concealed_ns
    if clock_hz > 0:
        concealed_ns = jitter_observe(&p.player.jitter, sequence, timestamp, clock_hz, arrival_ns)
        if concealed_ns:               # a line of memory that most packets need not touch
            p.player.line.kind_ns[<int> PLAYED_CONCEALED] += concealed_ns
        if p.observed_ns and arrival_ns > p.observed_ns:
            p.pulled_ns += arrival_ns - p.observed_ns
        p.observed_ns = arrival_ns


cdef void playout_ahead(const Playout* p) noexcept nogil:
    cdef int line
    for line in range(OBSERVED_LINES):
        prefetch(<const char*> p + 64 * line)


cdef void playout_nearer(const Playout* p) noexcept nogil:
    prefetch(&p.player.jitter.media_ns[(p.player.jitter.highest_sequence + 1) % JITTER_SLOTS])


# --- samples out

cdef PlayoutKind playout_pull(Playout* p, int64_t now_ns, int16_t* out, int samples, PacketPool* pool) noexcept nogil:
    cdef Player* player = &p.player
    cdef PlayoutKind kind = PLAYED_VOICE
    cdef int wanted = player_fill(player, now_ns, samples, pool)
    p.pulled_ns += samples * SECOND // player.rate_hz
    if wanted < 0 or line_waiting(&player.line) < wanted:      # less only if more is pulled than the contract allows
        memset(out, 0, samples * sizeof(int16_t))
        return PLAYED_SILENCE
    if player.line.gap_end - player.line.at > wanted // 2:
        kind = <PlayoutKind> player.line.gap_kind
    player.line.at += wanted
    if outlet_write(&p.outlet, player.line.pcm + player.line.at - wanted, wanted, player.line.rate_hz, out, samples,
                    player.rate_hz) != 0:
        return PLAYED_SILENCE
    return kind


cdef inline void grow(uint32_t* total, int64_t now) noexcept nogil:
    """What was made up and cut out of a pause again makes no total go back."""
    if now > total[0]:
        total[0] = <uint32_t> now


cdef const PlayoutStats* playout_stats(const Playout* playout) noexcept nogil:
    cdef Playout* p = <Playout*> playout
    cdef JitterBuffer* j = &p.player.jitter
    p.stats.packets_queued = j.packets_queued
    p.stats.packets_late = j.packets_late
    p.stats.packets_duplicate = j.packets_duplicate
    p.stats.packets_reordered = j.packets_reordered
    p.stats.packets_overflow = j.packets_overflow
    p.stats.packets_lost = j.packets_lost
    p.stats.packets_played = j.packets_played
    p.stats.loss_events = j.loss_events
    p.stats.loss_event_packets = j.loss_event_packets
    p.stats.xr = j.xr
    p.stats.frames_played = <uint32_t> (p.pulled_ns // FRAME_NS)
    grow(&p.stats.frames_concealed, p.player.line.kind_ns[<int> PLAYED_CONCEALED] // FRAME_NS)
    grow(&p.stats.frames_comfort, p.player.line.kind_ns[<int> PLAYED_COMFORT] // FRAME_NS)
    p.stats.stretched_ns = j.stretched_ns
    p.stats.compressed_ns = j.compressed_ns
    p.stats.cut_ns = j.cut_ns
    p.stats.buffer_delay_ns = j.delay_ns
    p.stats.buffer_target_ns = j.delay.target_ns
    return &p.stats
