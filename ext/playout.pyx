"""What one party is heard as: from packets in any order to PCM on a fixed grid.

Owns the queued packets, the decoders, a line of samples (what was played, for concealment; what is decoded and not
played yet) and the decision what comes next: decode, conceal, make comfort noise, or stretch time. When packets are due
is `ext.jitter`'s business, how samples are made up or stretched that of `ext.plc` and `ext.stretch`.

A packet is decoded when its first sample is pulled; how long after its ideal arrival that is (its slack) is the delay.
Speech is stretched while the slack is below the target, compressed while it is above.
"""

from libc.stdint cimport INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, memset

from mediaserver.codecs.audio cimport (
    CODEC_CN, CODEC_NONE, CODEC_OPUS, CODEC_TELEPHONE_EVENT, AudioCodec, CodecConfig, codec_close,
    codec_conceal, codec_decode, codec_decode_fec, codec_open, codec_samples,
)
from mediaserver.codecs.resample cimport Resampler, resampler_free, resampler_init, resampler_step
from mediaserver.ext.jitter cimport (
    ARRIVAL_DUPLICATE, ARRIVAL_FULL, ARRIVAL_LATE, ARRIVAL_QUEUED, ARRIVAL_RESYNC, JITTER_SLOTS,
    NEXT_HERE, NEXT_NONE, JitterArrival, JitterBuffer, JitterNext, jitter_arrive, jitter_init, jitter_lost, jitter_next,
    jitter_note, jitter_observe, jitter_played, jitter_restart, jitter_resync, jitter_skip, jitter_slack_ns,
    jitter_span_ns,
)
from mediaserver.ext.packet cimport Packet, PacketPool, packet_release
from mediaserver.ext.plc cimport Plc, plc_bridge, plc_extend, plc_init, plc_learn, plc_merge
from mediaserver.ext.stretch cimport mean_square, pitch_lag, stretch_insert, stretch_remove

cdef enum:
    RECEIVERS_MAX = 8              # payload types of one leg
    HISTORY_MS = 50                # a window and the longest pitch period, and a little
    FUTURE_MS = 200                # 60 ms asked for, a bridge and a packet of 60 ms on top of it, a stretched period
    FUTURE_OPUS_MS = 210           # an Opus packet may last 120 ms, but is never bridged
    PACKET_MS_MAX = 60
    BRIDGE_MS_MAX = 60
    STREAM_END_MS = 2000           # nothing for so long: silence instead of comfort noise
    CONTROL_EVERY_MS = 60          # one time-stretching step in so much speech
    SPLICE_RMS_MAX = 60            # quieter than -55 dBov: any splice is inaudible

cdef int64_t NS = 1000000000
cdef int64_t EXCESS_NS = 15000000          # above the target by this much, or a quarter of it: compress
cdef int64_t MARGIN_NS = 4000000           # and stop so far above it: the target itself moves in steps
cdef int64_t EXCESS_FAST_NS = 60000000     # then take what there is, similar or not
cdef int64_t EXCESS_SKIP_NS = 300000000    # then drop whole packets
cdef int64_t DEFICIT_NS = 10000000         # below the target by this much, or an eighth of it: stretch
cdef int64_t DEFICIT_FAST_NS = 30000000

cdef struct Receiver:
    int32_t opened                 # 1; -1: tried and not possible
    CodecConfig config
    AudioCodec codec

cdef struct Playout:
    JitterBuffer jitter
    PlayoutConfig config
    PlayoutStats stats
    int8_t receiver_of[128]        # by payload type; -1: none
    Receiver receivers[RECEIVERS_MAX]
    Receiver* voice                # what decodes now
    Receiver* comfort              # set while a CN packet describes the present gap
    int32_t playing
    int32_t rebuffer               # after a restart: wait for the target delay again
    int32_t rate_hz                # of pcm
    int16_t* pcm                   # history, then what is not played yet: [.., at, end)
    int32_t capacity
    int32_t at
    int32_t end
    int32_t covered                # samples made up since the last decoded one
    int32_t kind                   # PlayoutKind of the latest samples made
    int32_t made[4]                # samples by kind in this pull
    int64_t slack_low_ns           # least slack since the last control step
    int32_t since_control          # samples decoded since
    int64_t conceal_ns
    int64_t comfort_ns
    int64_t pulled_ns
    Plc plc
    Resampler resampler
    Packet* slots[JITTER_SLOTS]


# --- set-up (control path)

cdef Playout* playout_new(const PlayoutConfig* config) noexcept nogil:
    cdef Playout* p = <Playout*> calloc(1, sizeof(Playout))
    if p is NULL:
        return NULL
    p.config = config[0]
    jitter_init(&p.jitter, <int64_t> config.min_delay_ms * 1000000, <int64_t> config.max_delay_ms * 1000000)
    memset(p.receiver_of, -1, sizeof(p.receiver_of))
    p.kind = PLAYED_SILENCE
    p.slack_low_ns = INT64_MAX
    return p


cdef void playout_free(Playout* p, PacketPool* pool) noexcept nogil:
    if p is NULL:
        return
    release_slots(p, pool)
    playout_clear_codecs(p)
    resampler_free(&p.resampler)
    free(p.pcm)
    free(p)


cdef int playout_set_codec(Playout* p, int payload_type, const CodecConfig* config) noexcept nogil:
    cdef int i
    if payload_type < 0 or payload_type > 127 or config.codec_id == CODEC_NONE:
        return -1
    if config.codec_id == CODEC_TELEPHONE_EVENT:
        return 0
    i = p.receiver_of[payload_type]
    if i >= 0:
        if memcmp(&p.receivers[i].config, config, sizeof(CodecConfig)) == 0:
            return 0                           # said again: the decoder's state is worth keeping
        close_receiver(p, &p.receivers[i])
    else:
        for i in range(RECEIVERS_MAX + 1):
            if i == RECEIVERS_MAX:
                return -1
            if p.receivers[i].config.codec_id == CODEC_NONE:
                break
    p.receivers[i].config = config[0]
    p.receiver_of[payload_type] = <int8_t> i
    return 0


cdef void close_receiver(Playout* p, Receiver* receiver) noexcept nogil:
    if receiver.opened == 1:
        codec_close(&receiver.codec)
    if p.voice is receiver:
        p.voice = NULL
    if p.comfort is receiver:
        p.comfort = NULL
    memset(receiver, 0, sizeof(Receiver))


cdef void playout_clear_codecs(Playout* p) noexcept nogil:
    cdef int i
    for i in range(RECEIVERS_MAX):
        close_receiver(p, &p.receivers[i])
    memset(p.receiver_of, -1, sizeof(p.receiver_of))


cdef void playout_set_rate(Playout* p, int rate_hz) noexcept nogil:
    cdef int i
    if rate_hz == p.config.rate_hz:
        return
    p.config.rate_hz = rate_hz
    for i in range(RECEIVERS_MAX):             # libopus decodes at any rate: a room that became wider shall hear it
        if p.receivers[i].opened == 1 and p.receivers[i].config.codec_id == CODEC_OPUS \
                and p.receivers[i].config.rate_hz == 0 and p.receivers[i].codec.rate_hz < rate_hz:
            codec_close(&p.receivers[i].codec)
            p.receivers[i].opened = 0


cdef int open_receiver(Playout* p, Receiver* receiver) noexcept nogil:
    """Once per codec of a leg, on its first packet: a leg that is only relayed never pays for it."""
    cdef CodecConfig config = receiver.config
    cdef int future_ms = FUTURE_OPUS_MS if config.codec_id == CODEC_OPUS else FUTURE_MS
    cdef int capacity
    cdef int16_t* pcm
    if config.codec_id == CODEC_OPUS and config.rate_hz == 0:
        config.rate_hz = p.config.rate_hz
    receiver.opened = -1
    if codec_open(&receiver.codec, &config) != 0:
        return -1
    receiver.opened = 1
    capacity = receiver.codec.rate_hz // 1000 * (HISTORY_MS + future_ms)
    if capacity > p.capacity:
        pcm = <int16_t*> calloc(capacity, sizeof(int16_t))
        if pcm is NULL:
            codec_close(&receiver.codec)
            receiver.opened = -1
            return -1
        if p.pcm is not NULL:
            memcpy(pcm, p.pcm, p.end * sizeof(int16_t))
            free(p.pcm)
        p.pcm = pcm
        p.capacity = capacity
    return 0


cdef void release_slots(Playout* p, PacketPool* pool) noexcept nogil:
    cdef int i
    for i in range(JITTER_SLOTS):
        if p.slots[i] is not NULL:
            if pool is not NULL:
                packet_release(pool, p.slots[i])
            p.slots[i] = NULL


cdef void playout_restart(Playout* p, PacketPool* pool) noexcept nogil:
    release_slots(p, pool)
    jitter_restart(&p.jitter)
    p.comfort = NULL
    p.rebuffer = p.playing


# --- packets in

cdef PlayoutPut playout_put(Playout* p, Packet* packet, int64_t now_ns, PacketPool* pool) noexcept nogil:
    cdef int i = p.receiver_of[packet.payload_type & 127]
    cdef int samples
    cdef Receiver* receiver
    cdef JitterArrival arrival
    cdef uint16_t oldest
    if i < 0:
        return PUT_BAD
    receiver = &p.receivers[i]
    if receiver.opened == 0:
        open_receiver(p, receiver)
    if receiver.opened < 0:
        return PUT_BAD
    samples = codec_samples(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size)
    if samples < 0 or (samples == 0 and receiver.config.codec_id != CODEC_CN):
        return PUT_BAD
    if samples > receiver.codec.rate_hz // 1000 * (120 if receiver.config.codec_id == CODEC_OPUS else PACKET_MS_MAX):
        return PUT_BAD
    while True:
        arrival = jitter_arrive(&p.jitter, packet.sequence, packet.timestamp, receiver.codec.clock_hz,
                                packet.arrival_ns)
        if arrival == ARRIVAL_FULL:
            oldest = p.jitter.next_sequence
            jitter_skip(&p.jitter)
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


cdef void release_slot(Playout* p, uint16_t sequence, PacketPool* pool) noexcept nogil:
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    if packet is not NULL:
        p.slots[sequence % JITTER_SLOTS] = NULL
        packet_release(pool, packet)


cdef void playout_note(Playout* p, uint16_t sequence, int64_t arrival_ns) noexcept nogil:
    jitter_note(&p.jitter, sequence, arrival_ns)


cdef void playout_observe(Playout* p, uint16_t sequence, uint32_t timestamp, int clock_hz,
                          int64_t arrival_ns) noexcept nogil:
    if clock_hz > 0:
        p.conceal_ns += jitter_observe(&p.jitter, sequence, timestamp, clock_hz, arrival_ns)
        p.pulled_ns += p.jitter.packet_ns


# --- samples out

cdef inline int64_t ns_of(const Playout* p, int samples) noexcept nogil:
    return <int64_t> samples * NS / p.rate_hz


cdef inline int samples_of(const Playout* p, int64_t ns) noexcept nogil:
    return <int> ((ns * p.rate_hz + NS / 2) / NS)


cdef void make_room(Playout* p, int samples) noexcept nogil:
    """Moves history and future to the front when `samples` more would not fit behind."""
    cdef int from_ = p.at - p.rate_hz // 1000 * HISTORY_MS
    if p.end + samples <= p.capacity or from_ <= 0:
        return
    memmove(p.pcm, p.pcm + from_, (p.end - from_) * sizeof(int16_t))
    p.at -= from_
    p.end -= from_


cdef void change_rate(Playout* p, int rate_hz) noexcept nogil:
    """The codec changed in mid-stream: what is played and waits is carried over, so that the seam can be blended."""
    cdef int16_t old[48 * (HISTORY_MS + 60)]
    cdef int kept = rate_hz // 1000 * HISTORY_MS
    cdef int old_kept, old_future, future, i
    if p.rate_hz == rate_hz:
        return
    if p.rate_hz == 0:
        p.at = p.end = kept
        memset(p.pcm, 0, kept * sizeof(int16_t))
    else:
        old_kept = p.rate_hz // 1000 * HISTORY_MS
        old_future = p.end - p.at
        if old_future > p.rate_hz // 1000 * 60:
            old_future = p.rate_hz // 1000 * 60
        memcpy(old, p.pcm + p.at - old_kept, (old_kept + old_future) * sizeof(int16_t))
        future = <int> (<int64_t> old_future * rate_hz / p.rate_hz)
        for i in range(kept + future):
            p.pcm[i] = old[<int> (<int64_t> i * p.rate_hz / rate_hz)]
        p.at = kept
        p.end = kept + future
        p.covered = <int> (<int64_t> p.covered * rate_hz / p.rate_hz)
    p.rate_hz = rate_hz
    plc_init(&p.plc, rate_hz)


cdef void made(Playout* p, PlayoutKind kind, int samples) noexcept nogil:
    p.end += samples
    p.kind = kind
    p.made[<int> kind] += samples
    if kind == PLAYED_VOICE:
        p.covered = 0
        p.since_control += samples
        return
    p.covered += samples
    if kind == PLAYED_CONCEALED:
        p.conceal_ns += ns_of(p, samples)
    elif kind == PLAYED_COMFORT:
        p.comfort_ns += ns_of(p, samples)


cdef void fill_gap(Playout* p, int samples) noexcept nogil:
    """At least `samples` of whatever stands in for speech now (an Opus decoder rounds up)."""
    cdef int unit = p.rate_hz // 400
    cdef int done = -1
    cdef PlayoutKind kind = PLAYED_CONCEALED
    if p.comfort is not NULL:
        make_room(p, samples)
        codec_conceal(&p.comfort.codec, p.pcm + p.end, samples)
        made(p, PLAYED_COMFORT, samples)
        return
    if p.covered > p.rate_hz // 1000 * STREAM_END_MS:
        make_room(p, samples)
        memset(p.pcm + p.end, 0, samples * sizeof(int16_t))
        made(p, PLAYED_SILENCE, samples)
        return
    if p.covered > p.rate_hz // 10:
        kind = PLAYED_COMFORT
    if p.voice is not NULL and p.voice.config.codec_id == CODEC_OPUS:
        samples += (unit - samples % unit) % unit
        make_room(p, samples)
        done = codec_conceal(&p.voice.codec, p.pcm + p.end, samples)
    if done != samples:
        make_room(p, samples)
        plc_extend(&p.plc, p.pcm + p.end, samples)
    made(p, kind, samples)


cdef int recover(Playout* p, uint16_t sequence, int samples) noexcept nogil:
    """The frame before packet `sequence` from that packet's in-band FEC; 0: there is none."""
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef int i
    if packet is NULL or p.voice is NULL or p.voice.config.codec_id != CODEC_OPUS:
        return 0
    i = p.receiver_of[packet.payload_type & 127]
    if i < 0 or &p.receivers[i] is not p.voice or samples <= 0 or samples % (p.rate_hz // 100):
        return 0
    make_room(p, samples)
    if codec_decode_fec(&p.voice.codec, packet.data + packet.payload_offset, packet.payload_size, p.pcm + p.end,
                        samples) != samples:
        return 0
    made(p, PLAYED_CONCEALED, samples)
    return 1


cdef inline void note_slack(Playout* p, int64_t slack_ns) noexcept nogil:
    p.jitter.delay_ns = slack_ns
    if slack_ns < p.slack_low_ns:
        p.slack_low_ns = slack_ns


cdef void decode_next(Playout* p, int64_t now_ns, PacketPool* pool) noexcept nogil:
    cdef uint16_t sequence = p.jitter.next_sequence
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef int i = p.receiver_of[packet.payload_type & 127] if packet is not NULL else -1
    cdef int samples = -1
    cdef Receiver* receiver
    if i < 0 or p.receivers[i].opened != 1:    # its payload type was taken away while it waited
        jitter_played(&p.jitter, p.jitter.packet_ns)
        release_slot(p, sequence, pool)
        return
    receiver = &p.receivers[i]
    if receiver.config.codec_id == CODEC_CN:
        codec_decode(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size, NULL, 0)
        p.comfort = receiver
        p.covered = 1
        jitter_played(&p.jitter, 0)
        release_slot(p, sequence, pool)
        return
    if receiver is not p.voice:
        change_rate(p, receiver.codec.rate_hz)
        p.voice = receiver
    p.comfort = NULL
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns))
    samples = codec_samples(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size)
    make_room(p, samples)
    samples = codec_decode(&receiver.codec, packet.data + packet.payload_offset, packet.payload_size, p.pcm + p.end,
                           p.capacity - p.end)
    release_slot(p, sequence, pool)
    if samples <= 0:
        jitter_played(&p.jitter, p.jitter.packet_ns)
        fill_gap(p, samples_of(p, p.jitter.packet_ns))
        return
    jitter_played(&p.jitter, ns_of(p, samples))
    if p.covered and receiver.config.codec_id != CODEC_OPUS:
        plc_merge(&p.plc, p.pcm + p.end, samples)
    plc_learn(&p.plc, p.pcm + p.end, samples)
    made(p, PLAYED_VOICE, samples)


cdef int bridge(Playout* p, int64_t now_ns, int32_t missing, int gap, PacketPool* pool) noexcept nogil:
    """Fills a hole whose far side is here already, from both sides, and decodes the packet beyond; 0: not this one."""
    cdef uint16_t sequence = <uint16_t> (p.jitter.next_sequence + missing)
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef int i = p.receiver_of[packet.payload_type & 127] if packet is not NULL else -1
    cdef int samples
    if i < 0 or &p.receivers[i] is not p.voice or p.voice.config.codec_id == CODEC_OPUS or p.comfort is not NULL:
        return 0
    samples = codec_samples(&p.voice.codec, packet.data + packet.payload_offset, packet.payload_size)
    if gap <= 0 or samples < p.rate_hz // 100:
        return 0
    make_room(p, gap + samples)
    samples = codec_decode(&p.voice.codec, packet.data + packet.payload_offset, packet.payload_size,
                           p.pcm + p.end + gap, p.capacity - p.end - gap)
    if samples < p.rate_hz // 100:
        return 0
    # Decoded before its time, by as much as the hole lasts: its own slack is that much longer.
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns) + ns_of(p, gap))
    plc_bridge(&p.plc, p.pcm + p.end, gap, samples)
    made(p, PLAYED_CONCEALED, gap)
    jitter_lost(&p.jitter, missing)
    jitter_played(&p.jitter, ns_of(p, samples))
    release_slot(p, sequence, pool)
    plc_learn(&p.plc, p.pcm + p.end, samples)
    made(p, PLAYED_VOICE, samples)
    return 1


cdef void fill(Playout* p, int64_t now_ns, int wanted, PacketPool* pool) noexcept nogil:
    """One step: a packet is decoded or a piece of the gap before it is filled."""
    cdef int32_t missing
    cdef int64_t media, wait, hole
    cdef JitterNext upcoming = jitter_next(&p.jitter, &missing, &media)
    cdef int quiet = p.comfort is not NULL or p.rebuffer or p.covered > p.rate_hz // 10
    if upcoming == NEXT_NONE:
        fill_gap(p, wanted)
        return
    hole = media - p.jitter.next_media_ns
    wait = hole - ns_of(p, p.covered)
    if quiet and wait > -p.jitter.delay.target_ns:
        # Nobody hears when speech begins again after a pause: start it with the delay that the network asks for.
        wait = p.jitter.delay.target_ns - jitter_slack_ns(&p.jitter, media, now_ns)
    if wait < NS / 1000:
        if missing:
            jitter_lost(&p.jitter, missing)
        p.rebuffer = 0
        decode_next(p, now_ns, pool)
        return
    if missing and hole - ns_of(p, p.covered) - p.jitter.packet_ns < NS / 1000:
        if recover(p, <uint16_t> (p.jitter.next_sequence + missing), samples_of(p, hole) - p.covered):
            return
    if missing and wait < BRIDGE_MS_MAX * (NS / 1000) and bridge(p, now_ns, missing, samples_of(p, wait), pool):
        return
    if wait < ns_of(p, wanted):
        wanted = samples_of(p, wait)
    fill_gap(p, wanted)


cdef void skip_excess(Playout* p, int64_t now_ns, PacketPool* pool) noexcept nogil:
    """Far behind (nobody pulled, or a long freeze ended at once): speech that old is dropped, not hurried through."""
    cdef uint16_t sequence
    cdef int64_t target = p.jitter.delay.target_ns
    if jitter_slack_ns(&p.jitter, p.jitter.next_media_ns, now_ns) < target + EXCESS_SKIP_NS:
        return
    while p.jitter.waiting > 1 and jitter_span_ns(&p.jitter) > target + p.jitter.packet_ns \
            and jitter_slack_ns(&p.jitter, p.jitter.next_media_ns, now_ns) > target + EXCESS_FAST_NS:
        sequence = p.jitter.next_sequence
        if jitter_skip(&p.jitter):
            release_slot(p, sequence, pool)
        if p.covered == 0:
            p.covered = 1                      # the seam is blended like the end of a concealment


cdef void control(Playout* p, int wanted) noexcept nogil:
    """Moves the delay towards the target by one pitch period at the most, in what is decoded and not played."""
    cdef int64_t target = p.jitter.delay.target_ns
    cdef int64_t off = p.slack_low_ns - target
    cdef int ms = p.rate_hz // 1000
    cdef int samples = p.end - p.at
    cdef int lag_min = ms * 5 // 2
    cdef int lag_max = ms * 15
    cdef int lag, overlap, limit
    cdef int32_t missing, similar = 0
    cdef int64_t media
    cdef int quiet
    if off > EXCESS_NS and off > target // 4:
        limit = samples_of(p, off - MARGIN_NS)
        if jitter_next(&p.jitter, &missing, &media) != NEXT_HERE or p.jitter.waiting < 1:
            limit = samples - wanted
        if limit > samples - lag_min:
            limit = samples - lag_min
        if lag_max > limit:
            lag_max = limit
    elif off > -DEFICIT_NS and off > -target // 8:
        return
    if lag_max < lag_min or samples <= 0:
        return
    p.slack_low_ns = INT64_MAX
    p.since_control = 0
    quiet = mean_square(p.pcm + p.at, samples) < SPLICE_RMS_MAX * SPLICE_RMS_MAX
    if quiet:
        lag = lag_max
        if off < 0 and samples_of(p, -off) < lag:
            lag = samples_of(p, -off) + 1
    else:
        lag = pitch_lag(p.pcm + p.end, ms * 20, lag_min, lag_max, p.rate_hz, &similar)
        if similar < (16384 if off > EXCESS_FAST_NS or off < -DEFICIT_FAST_NS else 27853):    # 0.5, 0.85
            return
    if off > 0:
        overlap = lag if lag < samples - lag else samples - lag
        p.end = p.at + stretch_remove(p.pcm + p.at, samples, lag, overlap)
        p.stats.samples_compressed += <int64_t> lag * p.config.rate_hz / p.rate_hz
    else:
        make_room(p, lag)
        overlap = lag if lag < samples else samples
        p.end = p.at + stretch_insert(p.pcm + p.at, samples, lag, overlap)
        p.stats.samples_stretched += <int64_t> lag * p.config.rate_hz / p.rate_hz


cdef PlayoutKind playout_pull(Playout* p, int64_t now_ns, int16_t* out, int samples, PacketPool* pool) noexcept nogil:
    cdef int wanted, steps = 0, kind
    p.pulled_ns += <int64_t> samples * NS / p.config.rate_hz
    if not p.playing:
        if p.jitter.waiting and jitter_slack_ns(&p.jitter, p.jitter.next_media_ns, now_ns) >= p.jitter.delay.target_ns:
            p.playing = 1
    if not p.playing:
        memset(out, 0, samples * sizeof(int16_t))
        return PLAYED_SILENCE
    memset(p.made, 0, sizeof(p.made))
    if p.rate_hz == 0:
        begin(p)
    skip_excess(p, now_ns, pool)
    wanted = wanted_samples(p, samples)
    while p.end - p.at < wanted and steps < 256:
        fill(p, now_ns, wanted - (p.end - p.at), pool)
        wanted = wanted_samples(p, samples)    # a packet of another codec may have changed the rate
        steps += 1
    if p.since_control > p.rate_hz // 1000 * CONTROL_EVERY_MS and p.made[<int> PLAYED_CONCEALED] == 0:
        control(p, wanted)
        while p.end - p.at < wanted and steps < 256:
            fill(p, now_ns, wanted - (p.end - p.at), pool)
            wanted = wanted_samples(p, samples)
            steps += 1
    deliver(p, out, samples, wanted)
    kind = p.kind
    for steps in range(4):
        if p.made[steps] > p.made[kind]:
            kind = steps
    return <PlayoutKind> kind


cdef inline int wanted_samples(const Playout* p, int samples) noexcept nogil:
    return <int> (<int64_t> samples * p.rate_hz / p.config.rate_hz)


cdef void begin(Playout* p) noexcept nogil:
    """The rate of the first packet's codec; comfort noise may come first, then its clock."""
    cdef Packet* packet = p.slots[p.jitter.next_sequence % JITTER_SLOTS]
    cdef int i = p.receiver_of[packet.payload_type & 127] if packet is not NULL else -1
    change_rate(p, p.receivers[i].codec.rate_hz if i >= 0 and p.receivers[i].opened == 1 else 8000)


cdef void deliver(Playout* p, int16_t* out, int samples, int wanted) noexcept nogil:
    if p.end - p.at < wanted:                  # cannot be; but what is pulled is always whole
        memset(out, 0, samples * sizeof(int16_t))
        return
    if p.rate_hz == p.config.rate_hz:
        memcpy(out, p.pcm + p.at, samples * sizeof(int16_t))
    else:
        if p.resampler.in_hz != p.rate_hz or p.resampler.out_hz != p.config.rate_hz:
            resampler_free(&p.resampler)
            if resampler_init(&p.resampler, p.rate_hz, p.config.rate_hz) != 0:
                memset(out, 0, samples * sizeof(int16_t))
                p.at += wanted
                return
        resampler_step(&p.resampler, p.pcm + p.at, wanted, out)
    p.at += wanted


cdef const PlayoutStats* playout_stats(const Playout* playout) noexcept nogil:
    cdef Playout* p = <Playout*> playout
    cdef JitterBuffer* j = &p.jitter
    p.stats.packets_queued = j.packets_queued
    p.stats.packets_late = j.packets_late
    p.stats.packets_duplicate = j.packets_duplicate
    p.stats.packets_reordered = j.packets_reordered
    p.stats.packets_overflow = j.packets_overflow
    p.stats.packets_lost = j.packets_lost
    p.stats.loss_events = j.loss_events
    p.stats.loss_event_packets = j.loss_event_packets
    p.stats.frames_played = <uint32_t> (p.pulled_ns / 20000000)
    p.stats.frames_concealed = <uint32_t> (p.conceal_ns / 20000000)
    p.stats.frames_comfort = <uint32_t> (p.comfort_ns / 20000000)
    p.stats.buffer_delay_ns = j.delay_ns
    p.stats.buffer_target_ns = j.delay.target_ns
    return &p.stats
