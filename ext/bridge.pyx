"""Membership, the hears matrix, and the choice between relaying a stream and mixing samples.

A listener is relayed when the bridge has at most two legs, it hears exactly one speaker, both negotiated the same
audio codec (name, RTP clock, channels) and nothing needs samples: no prompt playing to it, speaker neither muted nor at
another gain, its voice not processed, the listener's echo not cancelled. The payload type may differ and
is rewritten. A leg that hears itself is served by the same rule: an echo.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from mediaserver.ext.leg cimport (
    PAYLOAD_AUDIO,
    PAYLOAD_EVENT,
    RELAY_AS_TONE,
    RELAY_NONE,
    TAPS_MAX,
    PayloadType,
    Stream,
    leg_schedule,
)
from mediaserver.ext.playout cimport playout_restart
from mediaserver.ext.rtp cimport rtp_sender_switch
from mediaserver.ext.voice cimport voice_copy, voice_mix_rate

cdef enum:
    UNITY_GAIN_Q12 = 4096


cdef Bridge* bridge_new(int rows) noexcept nogil:
    cdef Bridge* b
    cdef int words
    if not 0 < rows <= BRIDGE_ROWS_MAX:
        return NULL
    if rows > BRIDGE_ROWS_START:
        rows = (rows + 63) & ~63
    words = (rows + 63) // 64
    b = <Bridge*>calloc(1, sizeof(Bridge) + rows * sizeof(Leg*) + <size_t>rows * words * sizeof(uint64_t))
    if b is NULL:
        return NULL
    b.capacity = rows
    b.words = words
    b.ticking_index = -1
    b.hears = <uint64_t*>(b + 1)
    b.legs = <Leg**>(b.hears + rows * words)
    return b


cdef void bridge_free(Bridge* b) noexcept nogil:
    free(b)


cdef void bridge_grow(Context* ctx, Bridge* larger, Bridge* smaller) noexcept nogil:
    cdef int row
    larger.handle = smaller.handle
    larger.members = smaller.members
    larger.rows = smaller.rows
    larger.mixing = smaller.mixing
    larger.mix_rate_hz = smaller.mix_rate_hz
    larger.speaker = smaller.speaker
    larger.speaker_handle = smaller.speaker_handle
    memcpy(larger.leaders, smaller.leaders, sizeof(smaller.leaders))
    memcpy(larger.share_keys, smaller.share_keys, sizeof(smaller.share_keys))
    for row in range(smaller.rows):
        memcpy(larger.hears + row * larger.words, smaller.hears + row * smaller.words, smaller.words * sizeof(uint64_t))
        larger.legs[row] = smaller.legs[row]
        if larger.legs[row] is not NULL:
            larger.legs[row].bridge = larger
    smaller.members = 0
    smaller.rows = 0
    smaller.mixing = 0
    tick_bridge_or_not(ctx, smaller)
    tick_bridge_or_not(ctx, larger)


cdef bint bridge_hears(const Bridge* b, int listener_row, int speaker_row) noexcept nogil:
    return (b.hears[listener_row * b.words + (speaker_row >> 6)] >> (speaker_row & 63)) & 1


cdef void set_bit(Bridge* b, int listener_row, int speaker_row, bint value) noexcept nogil:
    cdef uint64_t* word = b.hears + listener_row * b.words + (speaker_row >> 6)
    cdef uint64_t bit = <uint64_t>1 << (speaker_row & 63)
    word[0] = word[0] | bit if value else word[0] & ~bit


cdef int bridge_add(Context* ctx, Bridge* b, Leg* leg) noexcept nogil:
    cdef int row = 0
    cdef int other
    while row < b.rows and b.legs[row] is not NULL:
        row += 1
    if row == b.capacity:
        return -1
    if row == b.rows:
        b.rows += 1
    b.legs[row] = leg
    b.members += 1
    leg.bridge = b
    leg.row = row
    for other in range(b.rows):
        if b.legs[other] is not NULL:
            set_bit(b, row, other, other != row)
            set_bit(b, other, row, other != row)
    bridge_decide(ctx, b)
    return 0


cdef void bridge_remove(Context* ctx, Bridge* b, Leg* leg) noexcept nogil:
    cdef int other
    bridge_forget_voice(b, leg)
    if b.speaker is leg:
        b.speaker = NULL
    for other in range(b.rows):
        set_bit(b, leg.row, other, False)
        set_bit(b, other, leg.row, False)
    b.legs[leg.row] = NULL
    b.members -= 1
    while b.rows > 0 and b.legs[b.rows - 1] is NULL:
        b.rows -= 1
    leg.bridge = NULL
    leg.row = -1
    leg.peer = NULL
    leg.mixed = 0
    leg_decide(ctx, leg)
    bridge_decide(ctx, b)


cdef void bridge_set_hears(Context* ctx, Bridge* b, Leg* listener, Leg* speaker, bint hears) noexcept nogil:
    set_bit(b, listener.row, speaker.row, hears)
    bridge_decide(ctx, b)


cdef void bridge_unfollow(Leg* leg) noexcept nogil:
    """From now on its own encoder, which goes on where the shared one is: the far decoder notices nothing."""
    if leg.follows is not NULL:
        voice_copy(leg.voice, leg.follows.voice)
        leg.follows = NULL


cdef void bridge_part(Bridge* b, Leg* leg) noexcept nogil:
    cdef Leg* heir = NULL
    cdef Leg* other
    cdef int i
    bridge_unfollow(leg)
    for i in range(b.rows):
        other = b.legs[i]
        if other is NULL or other.follows is not leg:
            continue
        if heir is NULL:
            bridge_unfollow(other)
            heir = other
        else:
            other.follows = heir
    for i in range(SHARES_MAX):
        if b.leaders[i] is leg:
            b.leaders[i] = heir


cdef void bridge_forget_voice(Bridge* b, Leg* leg) noexcept nogil:
    cdef int i
    bridge_unfollow(leg)
    for i in range(b.rows):
        if b.legs[i] is not NULL and b.legs[i].follows is leg:
            bridge_unfollow(b.legs[i])
    for i in range(SHARES_MAX):
        if b.leaders[i] is leg:
            b.leaders[i] = NULL


cdef const PayloadType* speaks(const Leg* leg) noexcept nogil:
    """The audio codec the leg is using now, or will use: the one last received, else the first negotiated."""
    cdef const Stream* stream = &leg.stream
    cdef const PayloadType* first = NULL
    cdef int i
    for i in range(stream.receive_count):
        if stream.receive[i].kind == PAYLOAD_AUDIO:
            if stream.receive[i].codec_id == leg.codec_id:
                return &stream.receive[i]
            if first is NULL:
                first = &stream.receive[i]
    return first


cdef bint same_codec(const PayloadType* a, const PayloadType* b) noexcept nogil:
    return a.kind == b.kind and a.codec_id == b.codec_id and a.clock_hz == b.clock_hz and a.channels == b.channels


cdef bint relayable(const Leg* speaker, const Leg* listener) noexcept nogil:
    cdef const PayloadType* spoken
    cdef int i
    if not speaker.negotiated or not listener.negotiated or listener.play is not NULL:
        return False
    if listener.processing is not NULL and listener.processing.canceller is not NULL:
        return False                   # what it is sent must be known
    if speaker.muted or speaker.gain_q12 != UNITY_GAIN_Q12 or speaker.processing is not NULL:
        return False
    spoken = speaks(speaker)
    if spoken is NULL:
        return False
    for i in range(listener.stream.send_count):
        if same_codec(spoken, &listener.stream.send[i]):
            return True
    return False


cdef void make_relay_map(Leg* speaker, const Leg* listener) noexcept nogil:
    cdef const PayloadType* heard
    cdef int i
    cdef int k
    speaker.heard.kind = 0
    memset(speaker.relay_map, RELAY_NONE, sizeof(speaker.relay_map))
    for i in range(speaker.stream.receive_count):
        heard = &speaker.stream.receive[i]
        for k in range(listener.stream.send_count):
            if same_codec(heard, &listener.stream.send[k]):
                speaker.relay_map[heard.payload_type] = listener.stream.send[k].payload_type
                break
        else:
            if heard.kind == PAYLOAD_EVENT:
                speaker.relay_map[heard.payload_type] = RELAY_AS_TONE


cdef Leg* sole_speaker(const Bridge* b, const Leg* listener) noexcept nogil:
    """The one leg this one hears, or NULL for none or several."""
    cdef Leg* found = NULL
    cdef int row
    for row in range(b.rows):
        if b.legs[row] is not NULL and bridge_hears(b, listener.row, row):
            if found is not NULL:
                return NULL
            found = b.legs[row]
    return found


cdef void set_relay(Leg* speaker, Leg* listener) noexcept nogil:
    if speaker.relay_to is not listener:
        if speaker.relay_to is not NULL:
            rtp_sender_switch(&speaker.relay_to.sender)
        speaker.relay_to = listener
        if listener is not NULL:
            rtp_sender_switch(&listener.sender)
    if listener is not NULL:
        make_relay_map(speaker, listener)


cdef void set_decoding(Context* ctx, Leg* leg, bint wanted) noexcept nogil:
    wanted = wanted or leg.ear is not NULL
    if leg.playout is NULL or not leg.stream.receives:
        wanted = False
    if wanted != leg.decoding and leg.playout is not NULL:
        playout_restart(leg.playout, &ctx.pool)
    leg.decoding = wanted


cdef bint is_tapped(const Leg* leg) noexcept nogil:
    cdef int i
    for i in range(TAPS_MAX):
        if leg.taps[i] is not NULL:
            return True
    return False


cdef void leg_decide(Context* ctx, Leg* leg) noexcept nogil:
    leg.decide_due = 0
    if leg.bridge is not NULL:
        bridge_decide(ctx, <Bridge*>leg.bridge)
        return
    set_relay(leg, NULL)
    # Who records a message wants to know when its speaker has fallen silent: the level needs samples.
    set_decoding(ctx, leg, is_tapped(leg))
    leg_schedule(ctx, leg)


cdef Leg* decide_relay(const Bridge* b, Leg* speaker, bint* mixed) noexcept nogil:
    """The listener this one is relayed to, or NULL. *mixed: some listener needs its samples."""
    cdef Leg* relay_to = NULL
    cdef Leg* listener
    cdef int row
    mixed[0] = False
    for row in range(b.rows):
        listener = b.legs[row]
        if listener is NULL or not bridge_hears(b, row, speaker.row) or listener.play is not NULL:
            continue
        if (relay_to is NULL and b.members <= 2 and relayable(speaker, listener)
                and sole_speaker(b, listener) is speaker):
            relay_to = listener
        elif listener.voice is not NULL:
            mixed[0] = True
            if b.members > 2:
                break                  # nobody is relayed: one who needs the samples is enough to know
    return relay_to


cdef Leg* decide_peer(const Bridge* b, const Leg* speaker) noexcept nogil:
    cdef int row
    if b.members == 2:
        for row in range(b.rows):
            if b.legs[row] is not NULL and row != speaker.row and bridge_hears(b, row, speaker.row):
                return b.legs[row]
    return NULL


cdef int decide_rate(const Bridge* b) noexcept nogil:
    """The highest rate that one leg says and another hears: the second highest, unless somebody hears itself."""
    cdef int best = 8000
    cdef int second = 8000
    cdef int rate
    cdef int row
    for row in range(b.rows):
        if b.legs[row] is NULL or b.legs[row].voice is NULL:
            continue
        rate = voice_mix_rate(b.legs[row].voice.rate_hz)
        if bridge_hears(b, row, row):
            second = rate if rate > second else second
        if rate > best:
            second = best if best > second else second
            best = rate
        elif rate > second:
            second = rate
    return second


cdef void tick_bridge_or_not(Context* ctx, Bridge* b) noexcept nogil:
    cdef Bridge* last
    if b.mixing and b.ticking_index < 0:
        b.ticking_index = ctx.ticking_bridges_count
        ctx.ticking_bridges[ctx.ticking_bridges_count] = b
        ctx.ticking_bridges_count += 1
    elif not b.mixing and b.ticking_index >= 0:
        ctx.ticking_bridges_count -= 1
        last = <Bridge*>ctx.ticking_bridges[ctx.ticking_bridges_count]
        ctx.ticking_bridges[b.ticking_index] = last
        last.ticking_index = b.ticking_index
        b.ticking_index = -1


cdef void bridge_decide(Context* ctx, Bridge* b) noexcept nogil:
    cdef Leg* speaker
    cdef bint mixed
    cdef int row
    b.mixing = 0
    for row in range(b.rows):
        if b.legs[row] is not NULL:
            b.legs[row].fed = 0
    for row in range(b.rows):
        speaker = b.legs[row]
        if speaker is NULL:
            continue
        speaker.decide_due = 0
        set_relay(speaker, decide_relay(b, speaker, &mixed))
        if speaker.relay_to is not NULL:
            speaker.relay_to.fed = 1
        set_decoding(ctx, speaker, mixed)
        speaker.peer = decide_peer(b, speaker)
        b.mixing |= mixed
    b.mix_rate_hz = decide_rate(b)
    tick_bridge_or_not(ctx, b)
    for row in range(b.rows):
        if b.legs[row] is not NULL:
            b.legs[row].mixed = b.mixing
            leg_schedule(ctx, b.legs[row])
