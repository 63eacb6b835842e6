"""What is played next, sample by sample on one line: the decisions of a playout.

Owns the queued packets, the order of decoding, concealing, comfort noise and time stretching. When packets are due is
`ext.jitter`'s business, decoders are in `ext.receivers`, samples in `ext.line`, how they are made up in `ext.plc`.
"""

from libc.stdint cimport INT64_MAX, int16_t, int32_t, int64_t, uint8_t, uint16_t
from libc.string cimport memset

from mediaserver.codecs.audio cimport (
    CODEC_AHEAD_MAX, CODEC_CN, CODEC_OPUS, codec_conceal, codec_decode, codec_decode_fec, codec_samples,
)
from mediaserver.ext.jitter cimport (
    JITTER_SLOTS, NEXT_HERE, NEXT_NONE, JitterNext, jitter_init, jitter_lost, jitter_next, jitter_played, jitter_skip,
    jitter_slack_ns, jitter_span_ns,
)
from mediaserver.ext.line cimport (
    LINE_HISTORY_MS, SampleLine, line_change_rate, line_cut_pause, line_lengthen, line_made, line_made_up, line_ns,
    line_quiet, line_reserve, line_room, line_samples, line_shorten, line_waiting,
)
from mediaserver.ext.packet cimport Packet, PacketPool, packet_release
from mediaserver.ext.playout cimport PLAYED_COMFORT, PLAYED_CONCEALED, PLAYED_SILENCE, PLAYED_VOICE, PlayoutKind
from mediaserver.ext.plc cimport plc_bridge, plc_extend, plc_init, plc_learn, plc_merge
from mediaserver.ext.receivers cimport Receiver, receiver_follow, receiver_suppose, receivers_find, receivers_init

cdef enum:
    WAITING_MS_MAX = 200           # 60 ms asked for, a bridge and a packet of 60 ms on top of it, a stretched period
    WAITING_OPUS_MS_MAX = 210      # an Opus packet may last 120 ms, but is never bridged
    WAITING_OPUS_MS = 90           # what most need: 20 ms asked for, a gap of 60 ms or a packet and a period, spare
    USUAL_MS = 20                  # pulls and Opus packets that this is for
    BRIDGE_NS_MAX = 60000000
    FADED_MS = 100                 # a gap so long is no longer concealment: what sounds is background
    STREAM_END_MS = 2000           # nothing for so long: silence instead of comfort noise
    CONTROL_EVERY_MS = 60          # one time-stretching step in so much speech
    CONTROL_HURRY_MS = 19          # far above the target, after a stall: in each packet
    ALIKE_Q15 = 27853              # 0.85: periods so alike may be merged unheard
    ALIKE_FAST_Q15 = 16384         # 0.5: in a hurry
    ALIKE_STEP_Q15 = 3277          # 0.1 less for each time that was refused: noise never is alike, nor minds a splice
    STEPS_MAX = 256                # of one pull; each makes a sample at least

cdef int64_t MS = 1000000
cdef int64_t SECOND = 1000000000
cdef int64_t EXCESS_NS = 5000000           # above the target by this and a pull, or a quarter of it: compress
cdef int64_t MARGIN_NS = 4000000           # so much may wait in the line
cdef int64_t EXCESS_FAST_NS = 60000000     # then take what there is, alike or not
cdef int64_t EXCESS_SKIP_NS = 600000000    # then drop whole packets: more is not caught up with in two seconds
cdef int64_t EXCESS_LEFT_NS = 300000000    # down to this; the rest is hurried through
cdef int64_t DEFICIT_NS = 10000000         # below the target by this much, or an eighth of it: stretch
cdef int64_t DEFICIT_FAST_NS = 30000000

# --- set-up and slots

cdef void player_init(Player* p, int64_t min_delay_ns, int64_t max_delay_ns, int rate_hz) noexcept nogil:
    jitter_init(&p.jitter, min_delay_ns, max_delay_ns)
    receivers_init(&p.receivers)
    p.rate_hz = rate_hz
    watch_anew(p)


cdef int player_reserve(Player* p, const Receiver* receiver, int samples) noexcept nogil:
    cdef int waiting_ms = WAITING_MS_MAX
    if receiver is NULL or receiver.opened != 1:
        return 0
    if receiver.config.codec_id == CODEC_OPUS:
        if samples > receiver.codec.rate_hz // 1000 * USUAL_MS:
            p.roomy = 1
        waiting_ms = WAITING_OPUS_MS_MAX if p.roomy else WAITING_OPUS_MS
    return line_reserve(&p.line, receiver.codec.rate_hz // 1000 * (LINE_HISTORY_MS + waiting_ms))


cdef void player_release(Player* p, uint16_t sequence, PacketPool* pool) noexcept nogil:
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    p.slots[sequence % JITTER_SLOTS] = NULL
    if packet is not NULL and pool is not NULL:
        packet_release(pool, packet)


cdef void player_release_all(Player* p, PacketPool* pool) noexcept nogil:
    cdef int i
    for i in range(JITTER_SLOTS):
        player_release(p, <uint16_t> i, pool)


cdef inline const uint8_t* payload_of(const Packet* packet) noexcept nogil:
    return packet.data + packet.payload_offset


# --- samples made

cdef inline void note_slack(Player* p, int64_t slack_ns, int64_t ahead_ns) noexcept nogil:
    """A packet is decoded, ahead of its time by ahead_ns of a hole that waits in the line: its own slack is longer."""
    cdef int64_t early_ns = line_ns(&p.line, line_waiting(&p.line)) - ahead_ns
    slack_ns += ahead_ns
    p.jitter.delay_ns = slack_ns + early_ns
    if slack_ns < p.slack_low_ns:
        p.slack_low_ns = slack_ns
    if early_ns < p.early_low_ns:
        p.early_low_ns = early_ns


cdef inline void watch_anew(Player* p) noexcept nogil:
    p.slack_low_ns = INT64_MAX
    p.early_low_ns = INT64_MAX
    p.since_control = 0


cdef inline int carries_on(const Player* p, const Receiver* receiver) noexcept nogil:
    """It decoded what the line holds, at the line's rate, and no comfort noise came in between."""
    return receiver is p.voice and receiver.codec.rate_hz == p.line.rate_hz and p.comfort is NULL


cdef inline int is_opus(const Receiver* receiver) noexcept nogil:
    return receiver is not NULL and receiver.config.codec_id == CODEC_OPUS


cdef void fill_gap(Player* p, int samples) noexcept nogil:
    """At least `samples` of whatever stands in for speech now (an Opus decoder rounds up)."""
    cdef SampleLine* line = &p.line
    cdef int unit = line.rate_hz // 100         # less than 10 ms SILK makes whole and throws away the rest of
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
    elif is_opus(p.voice) and carries_on(p, p.voice) \
            and codec_conceal(&p.voice.codec, line.pcm + line.end, rounded) == rounded:
        samples = rounded
    else:
        plc_extend(&p.plc, line.pcm + line.end, samples)
        if p.voice is not NULL and carries_on(p, p.voice) and line_room(line, samples + CODEC_AHEAD_MAX):
            receiver_follow(p.voice, p.plc, line.pcm + line.end, samples)
    line_made(line, kind, samples)


cdef int recover(Player* p, uint16_t sequence, int samples) noexcept nogil:
    """The frame before packet `sequence` from that packet's in-band FEC; 0: there is none."""
    cdef SampleLine* line = &p.line
    cdef Packet* packet = p.slots[sequence % JITTER_SLOTS]
    cdef Receiver* receiver = receivers_find(&p.receivers, packet)
    if not is_opus(receiver) or not carries_on(p, receiver):
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


cdef int bridge(Player* p, int64_t now_ns, int32_t missing, int gap, PacketPool* pool) noexcept nogil:
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
    if not line_room(line, gap + samples + CODEC_AHEAD_MAX):
        return 0
    receiver_suppose(receiver, p.plc, line.pcm + line.end, gap)
    samples = codec_decode(&receiver.codec, payload_of(packet), packet.payload_size, line.pcm + line.end + gap, samples)
    if samples < line.rate_hz // 100:
        return 0
    plc_bridge(&p.plc, line.pcm + line.end, gap, samples)
    line_made(line, PLAYED_CONCEALED, gap)
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns), line_ns(line, gap))
    jitter_lost(&p.jitter, missing)
    voice_made(p, sequence, samples, pool)
    return 1


cdef inline void cut_pause(Player* p, int samples) noexcept nogil:
    """A hole in a pause of speech is cut short, if what is left covers the pull and the network's jitter.

    Speech goes on earlier; the delay that is then lacking comes back by stretching, best in a pause too.
    """
    cdef int spare = line_waiting(&p.line) + samples - p.wanted
    cdef int over = line_samples(&p.line, p.jitter.delay_ns - p.jitter.delay.target_ns + p.jitter.delay.lookahead_ns)
    cdef int cut = line_cut_pause(&p.line, samples, spare if spare < over else over)
    p.jitter.compressed_ns += line_ns(&p.line, cut)
    p.jitter.cut_ns += line_ns(&p.line, cut)


cdef void voice_made(Player* p, uint16_t sequence, int samples, PacketPool* pool) noexcept nogil:
    """The packet next in sequence has been decoded behind the line's end."""
    jitter_played(&p.jitter, line_ns(&p.line, samples))
    player_release(p, sequence, pool)
    plc_learn(&p.plc, p.line.pcm + p.line.end, samples)
    cut_pause(p, samples)
    line_made(&p.line, PLAYED_VOICE, samples)
    p.line.covered = 0
    p.since_control += samples


cdef void decode_next(Player* p, int64_t now_ns, int64_t ahead_ns, PacketPool* pool) noexcept nogil:
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
        player_release(p, sequence, pool)
        return
    note_slack(p, jitter_slack_ns(&p.jitter, p.jitter.media_ns[sequence % JITTER_SLOTS], now_ns), ahead_ns)
    samples = -1
    if receiver is not NULL:
        samples = codec_samples(&receiver.codec, payload_of(packet), packet.payload_size)
    if samples > 0 and player_reserve(p, receiver, samples) == 0:
        if line.rate_hz != receiver.codec.rate_hz:
            set_line_rate(p, receiver.codec.rate_hz)
        if receiver is not p.voice and p.voice is not NULL and line.covered == 0:
            line.covered = 1                   # another decoder begins elsewhere: blended in
        p.voice = receiver
        p.comfort = NULL
        if line_room(line, samples):
            samples = codec_decode(&receiver.codec, payload_of(packet), packet.payload_size, line.pcm + line.end,
                                   line.capacity - line.end)
        else:
            samples = -1
    else:
        samples = -1
    if samples <= 0:                           # its payload type was taken away while it waited, or it is damaged
        jitter_played(&p.jitter, p.jitter.packet_ns)
        player_release(p, sequence, pool)
        fill_gap(p, line_samples(line, p.jitter.packet_ns if p.jitter.packet_ns <= BRIDGE_NS_MAX else BRIDGE_NS_MAX))
        return
    if line.covered and receiver.config.codec_id != CODEC_OPUS:
        plc_merge(&p.plc, line.pcm + line.end, samples)
    voice_made(p, sequence, samples, pool)


cdef void set_line_rate(Player* p, int rate_hz) noexcept nogil:
    line_change_rate(&p.line, rate_hz)
    plc_init(&p.plc, rate_hz)


# --- what comes next

cdef void fill(Player* p, int64_t now_ns, int wanted, PacketPool* pool) noexcept nogil:
    """One step: a packet is decoded or a piece of the gap before it is filled."""
    cdef SampleLine* line = &p.line
    cdef int32_t missing
    cdef int64_t media, wait, late
    cdef JitterNext upcoming = jitter_next(&p.jitter, &missing, &media)
    cdef int at_once = 0           # what is beyond the hole is decoded with it; if that is quiet too, the hole is cut
    cdef int quiet = p.comfort is not NULL or p.rebuffer or line.covered >= line.rate_hz // 1000 * FADED_MS
    if upcoming == NEXT_NONE:
        fill_gap(p, wanted)
        return
    wait = media - p.jitter.next_media_ns - line_ns(line, line.covered)
    if quiet:
        # Nobody hears when speech begins again after a pause: start it with the delay that the network asks for.
        late = p.jitter.delay.target_ns - p.jitter.delay.lookahead_ns - jitter_slack_ns(&p.jitter, media, now_ns)
        wait = late if wait > -p.jitter.delay.target_ns else wait
    if wait < MS:
        if missing:
            jitter_lost(&p.jitter, missing)
            if jitter_next(&p.jitter, &missing, &media) != NEXT_HERE:
                return                         # what came after the hole held no audio
        p.rebuffer = 0
        decode_next(p, now_ns, 0, pool)
        return
    if missing and not quiet and wait < p.jitter.packet_ns + MS:
        # Of Opus always: a packet that came now would be played too late and keep all that follows so late.
        at_once = is_opus(p.voice) or line_quiet(line, line.end - line.rate_hz // 50, line.rate_hz // 50)
    if missing and wait < p.jitter.packet_ns + MS and recover(
        p, <uint16_t> (p.jitter.next_sequence + missing), line_samples(line, wait)
    ):
        pass
    elif missing and not quiet and wait < BRIDGE_NS_MAX and bridge(p, now_ns, missing, line_samples(line, wait), pool):
        return
    else:
        if at_once or wait < line_ns(line, wanted):
            wanted = line_samples(line, wait)
        fill_gap(p, wanted)
    if at_once:
        jitter_lost(&p.jitter, missing)
        if jitter_next(&p.jitter, &missing, &media) == NEXT_HERE:
            decode_next(p, now_ns, line_ns(line, line_made_up(line)), pool)


cdef void skip_excess(Player* p, int64_t now_ns, PacketPool* pool) noexcept nogil:
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
        allowed = target + EXCESS_LEFT_NS
        sequence = p.jitter.next_sequence
        if jitter_skip(&p.jitter):
            player_release(p, sequence, pool)
        if p.line.covered == 0:
            p.line.covered = 1                 # the seam is blended like the end of a concealment


cdef inline int control_every_ms(const Player* p) noexcept nogil:
    cdef int64_t excess = p.slack_low_ns - p.jitter.delay.target_ns
    if EXCESS_FAST_NS < excess < SECOND or (
        excess < -DEFICIT_NS and line_quiet(&p.line, p.line.at, line_waiting(&p.line))
    ):
        return CONTROL_HURRY_MS
    return CONTROL_EVERY_MS


cdef void control(Player* p, int wanted) noexcept nogil:
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
    if off > EXCESS_NS + line_ns(&p.line, wanted) and (off > target // 4 or off > EXCESS_FAST_NS):
        early = off
    if early > MARGIN_NS and off > -DEFICIT_NS and off > -target // 8:
        limit = line_samples(&p.line, early - MARGIN_NS // 4)
        if jitter_next(&p.jitter, &missing, &media) != NEXT_HERE and limit > line_waiting(&p.line) - wanted:
            limit = line_waiting(&p.line) - wanted
        alike = ALIKE_FAST_Q15 if off > EXCESS_FAST_NS else ALIKE_Q15
        moved = line_shorten(&p.line, limit, alike - p.refused * ALIKE_STEP_Q15)
        p.jitter.compressed_ns += line_ns(&p.line, moved)
    elif off < -DEFICIT_NS or off < -target // 8:
        limit = p.line.rate_hz // 100 * 3
        alike = ALIKE_FAST_Q15 if off < -DEFICIT_FAST_NS else ALIKE_Q15
        moved = line_lengthen(&p.line, limit, alike - p.refused * ALIKE_STEP_Q15)
        p.jitter.stretched_ns += line_ns(&p.line, moved)
    else:
        moved = 1
    p.refused = 0 if moved else p.refused + (p.refused < 20)


cdef int fill_up(Player* p, int64_t now_ns, int samples, PacketPool* pool) noexcept nogil:
    """Makes until `samples` of the pulled rate wait; returns how many those are at the line's rate."""
    cdef int _, wanted = 0
    for _ in range(STEPS_MAX):
        # A packet of another codec may have changed the rate in between.
        wanted = <int> (<int64_t> samples * p.line.rate_hz // p.rate_hz)
        p.wanted = wanted
        if line_waiting(&p.line) >= wanted:
            return wanted
        fill(p, now_ns, wanted - line_waiting(&p.line), pool)
    fill_gap(p, wanted - line_waiting(&p.line))
    return wanted


cdef int begin(Player* p, int64_t now_ns) noexcept nogil:
    """Playing starts once the first packet has waited for the target delay."""
    cdef Receiver* receiver
    if p.jitter.waiting == 0 or jitter_slack_ns(&p.jitter, p.jitter.next_media_ns, now_ns) < p.jitter.delay.target_ns:
        return 0
    receiver = receivers_find(&p.receivers, p.slots[p.jitter.next_sequence % JITTER_SLOTS])
    if p.line.rate_hz == 0:
        if receiver is NULL or player_reserve(p, receiver, 0) != 0:
            return 0
        set_line_rate(p, receiver.codec.rate_hz)
    p.playing = 1
    return 1


cdef int player_fill(Player* p, int64_t now_ns, int samples, PacketPool* pool) noexcept nogil:
    cdef int wanted
    cdef int64_t concealed_ns = p.line.kind_ns[<int> PLAYED_CONCEALED]
    if samples > p.rate_hz // 1000 * USUAL_MS and not p.roomy:
        p.roomy = 1
        if line_reserve(&p.line, p.line.rate_hz // 1000 * (LINE_HISTORY_MS + WAITING_OPUS_MS_MAX)) != 0:
            p.roomy = 0                        # what does not fit is not made
    if not p.playing and not begin(p, now_ns):
        return -1
    skip_excess(p, now_ns, pool)
    wanted = fill_up(p, now_ns, samples, pool)
    if p.since_control > p.line.rate_hz // 1000 * control_every_ms(p) \
            and p.line.kind_ns[<int> PLAYED_CONCEALED] == concealed_ns:
        control(p, wanted)
        wanted = fill_up(p, now_ns, samples, pool)
    return wanted
