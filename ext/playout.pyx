"""What one party is heard as: from packets in any order to PCM on a fixed grid.

Owns the queued packets and the decision what comes next: decode, conceal, make comfort noise, or stretch time. When
packets are due is `ext.jitter`'s business, decoders are in `ext.receivers`, samples in `ext.line`, how they are made up
in `ext.plc`.

A packet is decoded when its first sample is pulled; how long after its ideal arrival that is (its slack) is the delay.
Speech is stretched while the slack is below the target, compressed while it is above.
"""

from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from mediaserver.codecs.audio cimport (
    CODEC_CN, CODEC_OPUS, CODEC_TELEPHONE_EVENT, CodecConfig, codec_conceal, codec_decode, codec_decode_fec,
    codec_samples,
)
from mediaserver.codecs.resample cimport Resampler, resampler_free, resampler_init, resampler_step
from mediaserver.ext.jitter cimport (
    ARRIVAL_DUPLICATE, ARRIVAL_FULL, ARRIVAL_LATE, ARRIVAL_QUEUED, ARRIVAL_RESYNC, JITTER_SLOTS, NEXT_HERE, NEXT_NONE,
    JitterArrival, JitterBuffer, JitterNext, jitter_arrive, jitter_init, jitter_lost, jitter_next, jitter_note,
    jitter_observe, jitter_played, jitter_restart, jitter_resync, jitter_skip, jitter_slack_ns, jitter_span_ns,
)
from mediaserver.ext.line cimport (
    LINE_HISTORY_MS, SampleLine, line_change_rate, line_free, line_lengthen, line_made, line_ns, line_reserve,
    line_room, line_samples, line_shorten, line_waiting,
)
from mediaserver.ext.packet cimport Packet, PacketPool, packet_release
from mediaserver.ext.plc cimport Plc, plc_bridge, plc_extend, plc_init, plc_learn, plc_merge
from mediaserver.ext.receivers cimport (
    Receiver, ReceiverSet, receivers_clear, receivers_find, receivers_init, receivers_open, receivers_raise,
    receivers_set,
)

cdef enum:
    PACKET_MS_MAX = 60
    PACKET_OPUS_MS_MAX = 120
    WAITING_MS_MAX = 200           # 60 ms asked for, a bridge and a packet of 60 ms on top of it, a stretched period
    WAITING_OPUS_MS_MAX = 210      # an Opus packet may last 120 ms, but is never bridged
    BRIDGE_NS_MAX = 60000000
    FADED_MS = 100                 # a gap so long is no longer concealment: what sounds is background
    STREAM_END_MS = 2000           # nothing for so long: silence instead of comfort noise
    CONTROL_EVERY_MS = 60          # one time-stretching step in so much speech
    ALIKE_Q15 = 27853              # 0.85: periods so alike may be merged unheard
    ALIKE_FAST_Q15 = 16384         # 0.5: in a hurry
    ALIKE_STEP_Q15 = 3277          # 0.1 less for each time that was refused: noise never is alike, nor minds a splice
    STEPS_MAX = 256                # of one pull; each makes a sample at least

cdef int64_t MS = 1000000
cdef int64_t SECOND = 1000000000
cdef int64_t EXCESS_NS = 5000000           # above the target by this and a pull, or a quarter of it: compress
cdef int64_t MARGIN_NS = 4000000           # so much may wait in the line
cdef int64_t EXCESS_FAST_NS = 60000000     # then take what there is, alike or not
cdef int64_t EXCESS_SKIP_NS = 300000000    # then drop whole packets
cdef int64_t DEFICIT_NS = 10000000         # below the target by this much, or an eighth of it: stretch
cdef int64_t DEFICIT_FAST_NS = 30000000

cdef struct Playout:
    JitterBuffer jitter
    PlayoutConfig config
    PlayoutStats stats
    ReceiverSet receivers
    Receiver* voice                # what decodes now
    Receiver* comfort              # set while a CN packet describes the present gap
    int32_t playing
    int32_t rebuffer               # after a restart: wait for the target delay again
    int32_t since_control          # samples decoded since the last control step
    int32_t refused                # control steps in a row that found no periods alike enough
    int64_t slack_low_ns           # least slack since then
    int64_t early_low_ns           # least time that a packet's first sample then waited in the line
    int64_t pulled_ns
    int64_t observed_ns            # arrival of the latest observed packet
    int32_t path_hz                # rates between which the latest samples went
    int32_t path_out_hz
    int32_t last_sample            # pulled
    SampleLine line
    Plc plc
    Resampler resampler
    Packet* slots[JITTER_SLOTS]


# --- set-up (control path)

cdef Playout* playout_new(const PlayoutConfig* config) noexcept nogil:
    cdef Playout* p = <Playout*> calloc(1, sizeof(Playout))
    if p is NULL:
        return NULL
    p.config = config[0]
    jitter_init(&p.jitter, config.min_delay_ms * MS, config.max_delay_ms * MS)
    receivers_init(&p.receivers)
    watch_anew(p)
    return p


cdef void playout_free(Playout* p, PacketPool* pool) noexcept nogil:
    if p is NULL:
        return
    release_slots(p, pool)
    receivers_clear(&p.receivers)
    resampler_free(&p.resampler)
    line_free(&p.line)
    free(p)


cdef int playout_set_codec(Playout* p, int payload_type, const CodecConfig* config) noexcept nogil:
    if config.codec_id == CODEC_TELEPHONE_EVENT:
        return 0
    return receivers_set(&p.receivers, payload_type, config)


cdef void playout_clear_codecs(Playout* p) noexcept nogil:
    receivers_clear(&p.receivers)
    p.voice = NULL
    p.comfort = NULL


cdef void playout_set_rate(Playout* p, int rate_hz) noexcept nogil:
    if rate_hz == p.config.rate_hz:
        return
    p.config.rate_hz = rate_hz
    receivers_raise(&p.receivers, rate_hz)


cdef int reserve(Playout* p, const Receiver* receiver) noexcept nogil:
    cdef int waiting_ms
    if receiver is NULL or receiver.opened != 1:
        return 0
    waiting_ms = WAITING_OPUS_MS_MAX if receiver.config.codec_id == CODEC_OPUS else WAITING_MS_MAX
    return line_reserve(&p.line, receiver.codec.rate_hz // 1000 * (LINE_HISTORY_MS + waiting_ms))


cdef void release_slot(Playout* p, uint16_t sequence, PacketPool* pool) noexcept nogil:
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    p.slots[sequence % JITTER_SLOTS] = NULL
    if packet is not NULL and pool is not NULL:
        packet_release(pool, packet)


cdef void release_slots(Playout* p, PacketPool* pool) noexcept nogil:
    cdef int i
    for i in range(JITTER_SLOTS):
        release_slot(p, <uint16_t> i, pool)


cdef void playout_restart(Playout* p, PacketPool* pool) noexcept nogil:
    release_slots(p, pool)
    jitter_restart(&p.jitter)
    p.comfort = NULL
    p.rebuffer = p.playing


# --- packets in

cdef inline const uint8_t* payload_of(const Packet* packet) noexcept nogil:
    return packet.data + packet.payload_offset


cdef int is_possible(const Receiver* receiver, const Packet* packet) noexcept nogil:
    cdef int samples = codec_samples(&receiver.codec, payload_of(packet), packet.payload_size)
    if receiver.config.codec_id == CODEC_CN:
        return samples == 0
    if receiver.config.codec_id == CODEC_OPUS:
        return 0 < samples <= receiver.codec.rate_hz // 1000 * PACKET_OPUS_MS_MAX
    return 0 < samples <= receiver.codec.rate_hz // 1000 * PACKET_MS_MAX


cdef PlayoutPut playout_put(Playout* p, Packet* packet, int64_t now_ns, PacketPool* pool) noexcept nogil:
    cdef Receiver* receiver = receivers_open(&p.receivers, packet.payload_type, p.config.rate_hz)
    cdef JitterArrival arrival
    cdef uint16_t oldest
    if receiver is NULL or reserve(p, receiver) != 0 or not is_possible(receiver, packet):
        return PUT_BAD
    while True:
        arrival = jitter_arrive(&p.jitter, packet.sequence, packet.timestamp, receiver.codec.clock_hz,
                                packet.arrival_ns)
        if arrival == ARRIVAL_FULL:
            oldest = p.jitter.next_sequence
            if jitter_skip(&p.jitter):
                release_slot(p, oldest, pool)
        elif arrival == ARRIVAL_RESYNC:
            release_slots(p, pool)
            jitter_resync(&p.jitter, packet.sequence)
            p.rebuffer = p.playing
        else:
            break
    if arrival == ARRIVAL_QUEUED:
        p.slots[packet.sequence % JITTER_SLOTS] = packet
        return PUT_QUEUED
    if arrival == ARRIVAL_LATE:
        return PUT_LATE
    return PUT_DUPLICATE if arrival == ARRIVAL_DUPLICATE else PUT_BAD


cdef void playout_note(Playout* p, uint16_t sequence, int64_t arrival_ns) noexcept nogil:
    jitter_note(&p.jitter, sequence, arrival_ns)


cdef void playout_observe(Playout* p, uint16_t sequence, uint32_t timestamp, int clock_hz,
                          int64_t arrival_ns) noexcept nogil:
    if clock_hz > 0:
        p.line.kind_ns[<int> PLAYED_CONCEALED] += jitter_observe(&p.jitter, sequence, timestamp, clock_hz, arrival_ns)
        if p.observed_ns and arrival_ns > p.observed_ns:
            p.pulled_ns += arrival_ns - p.observed_ns
        p.observed_ns = arrival_ns


# --- samples made

cdef inline void note_slack(Playout* p, int64_t slack_ns) noexcept nogil:
    cdef int64_t early_ns = line_ns(&p.line, line_waiting(&p.line))
    p.jitter.delay_ns = slack_ns + early_ns
    if slack_ns < p.slack_low_ns:
        p.slack_low_ns = slack_ns
    if early_ns < p.early_low_ns:
        p.early_low_ns = early_ns


cdef inline void watch_anew(Playout* p) noexcept nogil:
    p.slack_low_ns = INT64_MAX
    p.early_low_ns = INT64_MAX
    p.since_control = 0


cdef inline int carries_on(const Playout* p, const Receiver* receiver) noexcept nogil:
    """It decoded what the line holds, at the line's rate, and no comfort noise came in between."""
    return receiver is p.voice and receiver.codec.rate_hz == p.line.rate_hz and p.comfort is NULL


cdef void fill_gap(Playout* p, int samples) noexcept nogil:
    """At least `samples` of whatever stands in for speech now (an Opus decoder rounds up)."""
    cdef SampleLine* line = &p.line
    cdef int unit = line.rate_hz // 400
    cdef int rounded = samples + (unit - samples % unit) % unit
    cdef PlayoutKind kind = PLAYED_COMFORT if line.covered > line.rate_hz // 1000 * FADED_MS else PLAYED_CONCEALED
    if not line_room(line, rounded):
        return
    if p.comfort is not NULL:
        kind = PLAYED_COMFORT
        codec_conceal(&p.comfort.codec, line.pcm + line.end, samples)
    elif line.covered > line.rate_hz // 1000 * STREAM_END_MS:
        kind = PLAYED_SILENCE
        memset(line.pcm + line.end, 0, samples * sizeof(int16_t))
    elif p.voice is not NULL and p.voice.config.codec_id == CODEC_OPUS and carries_on(p, p.voice) \
            and codec_conceal(&p.voice.codec, line.pcm + line.end, rounded) == rounded:
        samples = rounded
    else:
        plc_extend(&p.plc, line.pcm + line.end, samples)
    line_made(line, kind, samples)


cdef int recover(Playout* p, uint16_t sequence, int samples) noexcept nogil:
    """The frame before packet `sequence` from that packet's in-band FEC; 0: there is none."""
    cdef SampleLine* line = &p.line
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef Receiver* receiver = receivers_find(&p.receivers, packet)
    if receiver is NULL or not carries_on(p, receiver) or receiver.config.codec_id != CODEC_OPUS:
        return 0
    if samples <= 0 or samples % (line.rate_hz // 100):
        return 0
    if not line_room(line, samples):
        return 0
    if codec_decode_fec(&receiver.codec, payload_of(packet), packet.payload_size, line.pcm + line.end,
                        samples) != samples:
        return 0
    line_made(line, PLAYED_CONCEALED, samples)
    return 1


cdef int bridge(Playout* p, int64_t now_ns, int32_t missing, int gap, PacketPool* pool) noexcept nogil:
    """Fills a hole whose far side is here already, from both sides, and decodes the packet beyond; 0: not this one."""
    cdef SampleLine* line = &p.line
    cdef uint16_t sequence = <uint16_t> (p.jitter.next_sequence + missing)
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef Receiver* receiver = receivers_find(&p.receivers, packet)
    cdef int samples
    if receiver is NULL or not carries_on(p, receiver) or receiver.config.codec_id == CODEC_OPUS:
        return 0
    samples = codec_samples(&receiver.codec, payload_of(packet), packet.payload_size)
    if gap <= 0 or samples < line.rate_hz // 100:
        return 0
    if not line_room(line, gap + samples):
        return 0
    samples = codec_decode(&receiver.codec, payload_of(packet), packet.payload_size, line.pcm + line.end + gap, samples)
    if samples < line.rate_hz // 100:
        return 0
    # Decoded before its time, by as much as the hole lasts: its own slack is that much longer.
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns) + line_ns(line, gap))
    plc_bridge(&p.plc, line.pcm + line.end, gap, samples)
    line_made(line, PLAYED_CONCEALED, gap)
    jitter_lost(&p.jitter, missing)
    voice_made(p, sequence, samples, pool)
    return 1


cdef void voice_made(Playout* p, uint16_t sequence, int samples, PacketPool* pool) noexcept nogil:
    """The packet next in sequence has been decoded behind the line's end."""
    jitter_played(&p.jitter, line_ns(&p.line, samples))
    release_slot(p, sequence, pool)
    plc_learn(&p.plc, p.line.pcm + p.line.end, samples)
    line_made(&p.line, PLAYED_VOICE, samples)
    p.line.covered = 0
    p.since_control += samples


cdef void decode_next(Playout* p, int64_t now_ns, PacketPool* pool) noexcept nogil:
    cdef SampleLine* line = &p.line
    cdef uint16_t sequence = p.jitter.next_sequence
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef Receiver* receiver = receivers_find(&p.receivers, packet)
    cdef int samples
    if receiver is not NULL and receiver.config.codec_id == CODEC_CN:
        codec_decode(&receiver.codec, payload_of(packet), packet.payload_size, NULL, 0)
        p.comfort = receiver
        line.covered = 1                          # speech that comes back is blended in
        jitter_played(&p.jitter, 0)
        release_slot(p, sequence, pool)
        return
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns))
    samples = -1
    if receiver is not NULL and reserve(p, receiver) == 0:
        if line.rate_hz != receiver.codec.rate_hz:
            set_line_rate(p, receiver.codec.rate_hz)
        if receiver is not p.voice and p.voice is not NULL and line.covered == 0:
            line.covered = 1                   # another decoder begins elsewhere: blended in
        p.voice = receiver
        p.comfort = NULL
        samples = codec_samples(&receiver.codec, payload_of(packet), packet.payload_size)
        if samples > 0 and line_room(line, samples):
            samples = codec_decode(&receiver.codec, payload_of(packet), packet.payload_size, line.pcm + line.end,
                                   line.capacity - line.end)
        else:
            samples = -1
    if samples <= 0:                           # its payload type was taken away while it waited, or it is damaged
        jitter_played(&p.jitter, p.jitter.packet_ns)
        release_slot(p, sequence, pool)
        fill_gap(p, line_samples(line, p.jitter.packet_ns if p.jitter.packet_ns <= BRIDGE_NS_MAX else BRIDGE_NS_MAX))
        return
    if line.covered and receiver.config.codec_id != CODEC_OPUS:
        plc_merge(&p.plc, line.pcm + line.end, samples)
    voice_made(p, sequence, samples, pool)


cdef void set_line_rate(Playout* p, int rate_hz) noexcept nogil:
    line_change_rate(&p.line, rate_hz)
    plc_init(&p.plc, rate_hz)


# --- what comes next

cdef void fill(Playout* p, int64_t now_ns, int wanted, PacketPool* pool) noexcept nogil:
    """One step: a packet is decoded or a piece of the gap before it is filled."""
    cdef SampleLine* line = &p.line
    cdef int32_t missing
    cdef int64_t media, wait, late
    cdef JitterNext upcoming = jitter_next(&p.jitter, &missing, &media)
    cdef int quiet = p.comfort is not NULL or p.rebuffer or line.covered > line.rate_hz // 1000 * FADED_MS
    if upcoming == NEXT_NONE:
        fill_gap(p, wanted)
        return
    wait = media - p.jitter.next_media_ns - line_ns(line, line.covered)
    if quiet:
        # Nobody hears when speech begins again after a pause: start it with the delay that the network asks for.
        late = p.jitter.delay.target_ns - jitter_slack_ns(&p.jitter, media, now_ns)
        wait = late if wait > -p.jitter.delay.target_ns else wait
    if wait < MS:
        if missing:
            jitter_lost(&p.jitter, missing)
            if jitter_next(&p.jitter, &missing, &media) != NEXT_HERE:
                return                         # what came after the hole held no audio
        p.rebuffer = 0
        decode_next(p, now_ns, pool)
        return
    if missing and wait < p.jitter.packet_ns + MS and recover(
        p, <uint16_t> (p.jitter.next_sequence + missing), line_samples(line, wait)
    ):
        return
    if missing and not quiet and wait < BRIDGE_NS_MAX and bridge(p, now_ns, missing, line_samples(line, wait), pool):
        return
    if wait < line_ns(line, wanted):
        wanted = line_samples(line, wait)
    fill_gap(p, wanted)


cdef void skip_excess(Playout* p, int64_t now_ns, PacketPool* pool) noexcept nogil:
    """Far behind (nobody pulled, or a long freeze ended at once): speech that old is dropped, not hurried through."""
    cdef uint16_t sequence
    cdef int64_t target = p.jitter.delay.target_ns
    cdef int64_t allowed = target + EXCESS_SKIP_NS
    cdef int64_t media
    cdef int32_t missing
    while p.jitter.waiting > 1 and jitter_span_ns(&p.jitter) > target + p.jitter.packet_ns:
        jitter_next(&p.jitter, &missing, &media)
        if jitter_slack_ns(&p.jitter, media, now_ns) < allowed:
            return
        allowed = target + EXCESS_FAST_NS
        sequence = p.jitter.next_sequence
        if jitter_skip(&p.jitter):
            release_slot(p, sequence, pool)
        if p.line.covered == 0:
            p.line.covered = 1                 # the seam is blended like the end of a concealment


cdef void control(Playout* p, int wanted) noexcept nogil:
    """Moves the delay towards the target by one pitch period at the most, in what is made and not played.

    Slack moves in steps of a pull: time put in or taken out first changes how long a decoded packet waits in the line.
    So there is room for a whole pull between stretching and compressing, and what only waits in the line is taken out.
    """
    cdef int64_t target = p.jitter.delay.target_ns
    cdef int64_t off = p.slack_low_ns - target
    cdef int32_t missing
    cdef int64_t media
    cdef int64_t early = p.early_low_ns
    cdef int limit, alike, moved
    watch_anew(p)
    if off > SECOND:                           # nothing was decoded
        return
    if off > EXCESS_NS + line_ns(&p.line, wanted) and off > target // 4:
        early = off
    if early > MARGIN_NS and off > -DEFICIT_NS and off > -target // 8:
        limit = line_samples(&p.line, early - MARGIN_NS // 4)
        if jitter_next(&p.jitter, &missing, &media) != NEXT_HERE and limit > line_waiting(&p.line) - wanted:
            limit = line_waiting(&p.line) - wanted
        alike = ALIKE_FAST_Q15 if off > EXCESS_FAST_NS else ALIKE_Q15
        moved = line_shorten(&p.line, limit, alike - p.refused * ALIKE_STEP_Q15)
        p.stats.samples_compressed += <int64_t> moved * p.config.rate_hz // p.line.rate_hz
    elif off < -DEFICIT_NS or off < -target // 8:
        limit = p.line.rate_hz // 100 * 3
        alike = ALIKE_FAST_Q15 if off < -DEFICIT_FAST_NS else ALIKE_Q15
        moved = line_lengthen(&p.line, limit, alike - p.refused * ALIKE_STEP_Q15)
        p.stats.samples_stretched += <int64_t> moved * p.config.rate_hz // p.line.rate_hz
    else:
        moved = 1
    p.refused = 0 if moved else p.refused + (p.refused < 20)


cdef int fill_up(Playout* p, int64_t now_ns, int samples, PacketPool* pool) noexcept nogil:
    """Makes until `samples` of the pulled rate wait; returns how many those are at the line's rate."""
    cdef int _, wanted = 0
    for _ in range(STEPS_MAX):
        # A packet of another codec may have changed the rate in between.
        wanted = <int> (<int64_t> samples * p.line.rate_hz // p.config.rate_hz)
        if line_waiting(&p.line) >= wanted:
            return wanted
        fill(p, now_ns, wanted - line_waiting(&p.line), pool)
    fill_gap(p, wanted - line_waiting(&p.line))
    return wanted


cdef int begin(Playout* p, int64_t now_ns) noexcept nogil:
    """Playing starts once the first packet has waited for the target delay."""
    cdef Receiver* receiver
    if p.jitter.waiting == 0 or jitter_slack_ns(&p.jitter, p.jitter.next_media_ns, now_ns) < p.jitter.delay.target_ns:
        return 0
    receiver = receivers_find(&p.receivers, p.slots[p.jitter.next_sequence % JITTER_SLOTS])
    if p.line.rate_hz == 0:
        if receiver is NULL or reserve(p, receiver) != 0:
            return 0
        set_line_rate(p, receiver.codec.rate_hz)
    p.playing = 1
    return 1


cdef PlayoutKind playout_pull(Playout* p, int64_t now_ns, int16_t* out, int samples, PacketPool* pool) noexcept nogil:
    cdef int wanted
    cdef int64_t concealed_ns
    p.pulled_ns += samples * SECOND // p.config.rate_hz
    if not p.playing and not begin(p, now_ns):
        memset(out, 0, samples * sizeof(int16_t))
        return PLAYED_SILENCE
    concealed_ns = p.line.kind_ns[<int> PLAYED_CONCEALED]
    skip_excess(p, now_ns, pool)
    wanted = fill_up(p, now_ns, samples, pool)
    if p.since_control > p.line.rate_hz // 1000 * CONTROL_EVERY_MS \
            and p.line.kind_ns[<int> PLAYED_CONCEALED] == concealed_ns:
        control(p, wanted)
        wanted = fill_up(p, now_ns, samples, pool)
    return deliver(p, out, samples, wanted)


cdef void ramp_off(int16_t* out, int samples, int32_t step) noexcept nogil:
    cdef int i
    cdef int32_t value
    for i in range(samples):
        value = out[i] + step * (samples - i) // samples
        out[i] = <int16_t> (32767 if value > 32767 else (-32768 if value < -32768 else value))


cdef PlayoutKind deliver(Playout* p, int16_t* out, int samples, int wanted) noexcept nogil:
    cdef const int16_t* source = p.line.pcm + p.line.at
    cdef PlayoutKind kind = PLAYED_VOICE
    if line_waiting(&p.line) < wanted:         # more was pulled than the contract allows
        memset(out, 0, samples * sizeof(int16_t))
        return PLAYED_SILENCE
    if p.line.gap_end - p.line.at > wanted // 2:
        kind = <PlayoutKind> p.line.gap_kind
    p.line.at += wanted
    if p.line.rate_hz == p.config.rate_hz:
        memcpy(out, source, samples * sizeof(int16_t))
    elif resample(p, source, wanted, out) != 0:
        memset(out, 0, samples * sizeof(int16_t))
        return PLAYED_SILENCE
    if p.path_hz != p.line.rate_hz or p.path_out_hz != p.config.rate_hz:
        # Each resampler delays a little differently: the step where one takes over from the other is ramped off.
        if p.path_hz:
            ramp_off(out, p.config.rate_hz // 200, p.last_sample - out[0])
        p.path_hz = p.line.rate_hz
        p.path_out_hz = p.config.rate_hz
    p.last_sample = out[samples - 1]
    return kind


cdef int resample(Playout* p, const int16_t* source, int samples, int16_t* out) noexcept nogil:
    if p.resampler.in_hz != p.line.rate_hz or p.resampler.out_hz != p.config.rate_hz:
        resampler_free(&p.resampler)
        if resampler_init(&p.resampler, p.line.rate_hz, p.config.rate_hz) != 0:
            memset(&p.resampler, 0, sizeof(Resampler))
            return -1
    resampler_step(&p.resampler, source, samples, out)
    return 0


cdef const PlayoutStats* playout_stats(const Playout* playout) noexcept nogil:
    cdef Playout* p = <Playout*> playout
    cdef JitterBuffer* j = &p.jitter
    p.stats.packets_queued = j.packets_queued
    p.stats.packets_late = j.packets_late
    p.stats.packets_duplicate = j.packets_duplicate
    p.stats.packets_reordered = j.packets_reordered
    p.stats.packets_overflow = j.packets_overflow
    p.stats.packets_lost = j.packets_lost
    p.stats.packets_played = j.packets_played
    p.stats.loss_events = j.loss_events
    p.stats.loss_event_packets = j.loss_event_packets
    p.stats.frames_played = <uint32_t> (p.pulled_ns // 20000000)
    p.stats.frames_concealed = <uint32_t> (p.line.kind_ns[<int> PLAYED_CONCEALED] // 20000000)
    p.stats.frames_comfort = <uint32_t> (p.line.kind_ns[<int> PLAYED_COMFORT] // 20000000)
    p.stats.buffer_delay_ns = j.delay_ns
    p.stats.buffer_target_ns = j.delay.target_ns
    return &p.stats
