"""One party's packets: admitted, counted, tapped, relayed or queued for decoding.

Follows RFC 3550 and RFC 4961 (symmetric RTP). Where media comes from is settled once and then held:

- A packet counts only when it is valid RTP of a negotiated payload type, and authenticated where SRTP is agreed.
- The source SDP named, or any source that authenticates, is pinned by its first such packet.
- Another source (the phone sits behind a NAT) is pinned after LATCH_PACKETS packets in a row of one SSRC; nothing is
  sent to it before that. Should the named source speak after all, it outranks one that was merely first.
- After that others are counted as strangers and change nothing, however long the pinned source is silent. Only a new
  remote address from signalling opens the choice again.
- A browser may have several addresses: what is authentic counts from each that passed a check of its ICE, and only the
  nominated one is sent to.

Knows nothing of bridges beyond the one leg it relays to, and nothing of codecs.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy, memset
from mediaserver.codecs.audio cimport CodecConfig, codec_has_fec
from mediaserver.ext.atomic cimport fetch_or_32
from mediaserver.ext.channel cimport CHANGED_LEG, CHANGED_TAP, EVENT_DIGIT, Message
from mediaserver.ext.collide cimport collide
from mediaserver.ext.context cimport context_changed, context_event, context_random
from mediaserver.ext.datagram cimport DATAGRAMS_PER_LEG_MAX, datagram_push
from mediaserver.ext.digits cimport DigitNews, digits_event, digits_expire
from mediaserver.ext.dtmf cimport DTMF_RTP_EVENT
from mediaserver.ext.keypad cimport keypad_busy, keypad_press
from mediaserver.ext.levels cimport LEVEL_NONE, LEVEL_SILENT, levels_pass, levels_read, levels_write
from mediaserver.ext.net cimport address_equal, address_same_host
from mediaserver.ext.outgoing cimport outgoing_rtp
from mediaserver.ext.packet cimport PACKET_BYTES
from mediaserver.ext.pauses cimport PAUSE_NS, pause_ended, pause_forget
from mediaserver.ext.playout cimport (
    PUT_OVERFLOW,
    PUT_QUEUED,
    PlayoutPut,
    playout_ahead,
    playout_nearer,
    playout_note,
    playout_observe,
    playout_put,
    playout_restart,
    playout_set_codec,
    playout_stats,
)
from mediaserver.ext.red cimport red_first, red_wrap
from mediaserver.ext.report cimport report_add_playout, report_publish, report_receive, report_send
from mediaserver.ext.rtcp cimport rtcp_interval_ns
from mediaserver.ext.rtp cimport (
    DATAGRAM_DTLS,
    DATAGRAM_RTCP,
    DATAGRAM_RTP,
    RTP_HEADER_BYTES,
    SOURCE_NEW,
    SOURCE_STALE,
    DatagramKind,
    ReceiverVerdict,
    datagram_kind,
    rtp_parse,
    rtp_receiver_step,
    rtp_receiver_time,
    rtp_sender_count,
    rtp_sender_rewrite,
    rtp_sender_skip,
)
from mediaserver.ext.srtp cimport SRTP_OK, SRTP_TRAILER_MAX, srtp_unprotect_rtp
from mediaserver.ext.tap cimport TAP_FLAG_AUDIO, TAP_FLAG_COMFORT, TAP_FLAG_EVENT, tap_too_old, tap_write
from mediaserver.ext.unpack cimport red_unpack
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_source cimport video_overhear, video_receive

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void* at) noexcept nogil

cdef enum:
    LEG_LINES = 8                  # of 64 bytes: up to and with Leg.keypad's first
    LEG_HEARD_LINES = 6            # of those, up to and with Leg.receiver
    BEFORE_LINES = 3
    SNAPSHOT_LINES = 8
    PASSED_DIGIT_GAP_MS = 50
    CANDIDATE_IDLE_MS = 1000       # a source under probation that stops loses its turn


cdef int64_t UNSAID_NS = 200000000     # what a party said of its level holds so long


cdef inline void prefetch_lines(const void* at, int lines) noexcept nogil:
    cdef int line
    if at is not NULL:
        for line in range(lines):
            prefetch(<const char*>at + 64 * line)


cdef void leg_ahead(Leg** legs, int i, int count) noexcept nogil:
    """Starts the way of the next legs out of memory while the kernel works for this one: first the leg itself, then
    what it points to. A thousand legs do not fit a core's cache."""
    cdef Leg* leg
    if i + 3 < count:
        prefetch_lines(legs[i + 3], LEG_HEARD_LINES)
    if i + 2 < count and legs[i + 2] is not NULL:
        leg = legs[i + 2]
        if leg.playout is not NULL:
            playout_ahead(leg.playout)
        if leg.relay_to is not NULL:
            prefetch(leg.relay_to)
            prefetch_lines(&leg.relay_to.srtp_send, LEG_LINES - LEG_HEARD_LINES + 1)
    if i + 1 < count and legs[i + 1] is not NULL and legs[i + 1].playout is not NULL:
        playout_nearer(legs[i + 1].playout)


cdef void leg_housekeep_ahead(const Leg* leg) noexcept nogil:
    prefetch_lines(leg, LEG_LINES)
    prefetch_lines(&leg.playout_before, BEFORE_LINES)
    prefetch_lines(&leg.snapshot, SNAPSHOT_LINES)
    if leg.playout is not NULL:
        playout_ahead(leg.playout)


cdef void note_change(Context* ctx, Leg* leg, uint32_t bits) noexcept nogil:
    report_publish(ctx, leg)
    if fetch_or_32(&leg.changes, bits) == 0:
        context_changed(ctx, CHANGED_LEG, leg.handle)


cdef void pin_source(Context* ctx, Leg* leg, const Address* source, bint signalled) noexcept nogil:
    leg.latch = LATCH_PINNED
    leg.source_signalled = signalled
    leg.source = source[0]
    leg.destination = source[0]
    leg.candidate_count = 0
    note_change(ctx, leg, CHANGE_SOURCE)


cdef bint may_be_the_party(const Stream* stream, const Address* source) noexcept nogil:
    """A party sends from where its SDP says or from where it signals. Whoever else guesses a port of ours is nobody."""
    return (stream.signalling.size == 0 or address_same_host(source, &stream.signalling)
            or address_same_host(source, &stream.remote))


cdef bint admit_source(Context* ctx, Leg* leg, const Packet* packet, const Address* source) noexcept nogil:
    """Whether a valid packet of a source that is not the pinned one is listened to. May pin it."""
    cdef uint16_t step
    if leg.srtp_receive is not NULL or address_equal(source, &leg.stream.remote):
        pin_source(ctx, leg, source, True)
        return True
    if leg.latch == LATCH_PINNED or not may_be_the_party(&leg.stream, source):
        return False
    if leg.candidate_count and not address_equal(source, &leg.candidate):
        if packet.arrival_ns - leg.candidate_ns < <int64_t>CANDIDATE_IDLE_MS * 1000000:
            return False
        leg.candidate_count = 0
    step = <uint16_t>(packet.sequence - leg.candidate_sequence)
    if leg.candidate_count == 0 or packet.ssrc != leg.candidate_ssrc or step == 0 or step > 100:
        leg.candidate_count = 0
        leg.candidate = source[0]
        leg.candidate_ssrc = packet.ssrc
    leg.candidate_count += 1
    leg.candidate_sequence = packet.sequence
    leg.candidate_ns = packet.arrival_ns
    if leg.candidate_count >= LATCH_PACKETS:
        pin_source(ctx, leg, source, False)
    return True


cdef bint is_stranger(const Leg* leg, const Address* source) noexcept nogil:
    """Cheap and before any cryptography: true when nothing in the packet could make its source ours."""
    if leg.latch != LATCH_PINNED or leg_is_source(leg, source):
        return False
    return leg.source_signalled or not address_equal(source, &leg.stream.remote)


cdef void relay(Context* ctx, Leg* speaker, Leg* listener, Packet* packet, const PayloadType* payload) noexcept nogil:
    cdef int payload_type = speaker.heard_relay
    cdef int clock_hz
    if payload is not &speaker.heard:
        payload_type = speaker.relay_map[packet.payload_type]
    if payload_type >= RELAY_AS_TONE or not leg_can_send(listener) or listener.keypad.pressing:
        rtp_sender_skip(&listener.sender, packet)
        return
    if packet.payload_offset + packet.payload_size + SRTP_TRAILER_MAX > <int>sizeof(packet.data):
        speaker.packets_overflow += 1
        ctx.counters.packets_overflow += 1
        return
    # Events and comfort noise run on the clock of the stream they are in, whatever their own rtpmap says.
    clock_hz = listener.send_clock_hz if listener.send_clock_hz > 0 else payload.clock_hz
    if rtp_sender_rewrite(&listener.sender, packet, payload_type, clock_hz, ctx.now_ns) < 0:
        return
    if listener.level_out:
        levels_pass(&listener.levels, &speaker.levels, packet)
    leg_send_rtp(ctx, listener, packet.data + packet.payload_offset - RTP_HEADER_BYTES,
                 RTP_HEADER_BYTES + packet.payload_size, packet.timestamp, clock_hz)


cdef void leg_report_digit(Context* ctx, Leg* leg, int digit, int way) noexcept nogil:
    cdef Message event
    memset(&event, 0, sizeof(event))
    event.kind = EVENT_DIGIT
    event.handle = leg.handle
    event.value = digit
    event.flag = way
    context_event(ctx, &event)


cdef void digit_news(Context* ctx, Leg* leg, const DigitNews* news, int clock_hz, bint relayed) noexcept nogil:
    """A press is reported when it begins, and handed on to the other leg of the call when it has ended."""
    cdef int duration_ms
    if news.pressed:
        leg_report_digit(ctx, leg, news.pressed, DTMF_RTP_EVENT)
    if news.released and leg.peer is not NULL and not relayed and not leg.muted:
        duration_ms = <int>(<int64_t>news.duration * 1000 // clock_hz)
        if duration_ms < 40:           # Q.24: the shortest press a receiver must hear
            duration_ms = 40
        keypad_press(&leg.peer.keypad, news.released, duration_ms, PASSED_DIGIT_GAP_MS)
        leg_schedule(ctx, leg.peer)


cdef void consume_event(Context* ctx, Leg* leg, Packet* packet, const PayloadType* payload) noexcept nogil:
    cdef DigitNews news
    cdef bint relayed = leg.relay_to is not NULL and leg.relay_map[packet.payload_type] < RELAY_AS_TONE
    leg.event_clock_hz = payload.clock_hz
    playout_note(leg.playout, packet.sequence, packet.arrival_ns)
    digits_event(&leg.digits, packet.data + packet.payload_offset, packet.payload_size, packet.timestamp,
                 packet.arrival_ns, &news)
    digit_news(ctx, leg, &news, payload.clock_hz, relayed)
    if leg.relay_to is not NULL:
        relay(ctx, leg, leg.relay_to, packet, payload)


cdef int consume_audio(Context* ctx, Leg* leg, Packet* packet, const PayloadType* payload) noexcept nogil:
    """1: the playout kept the packet."""
    cdef PlayoutPut put
    cdef Packet* copy
    if payload.kind == PAYLOAD_AUDIO and leg.codec_id != payload.codec_id:
        leg.codec_id = payload.codec_id
        leg.decide_due = 1
    if codec_has_fec(payload.codec_id, packet.data + packet.payload_offset, packet.payload_size):
        leg.packets_fec += 1
        if leg.relay_to is not NULL:
            leg.relay_to.packets_fec_relayed += 1
    if not leg.decoding:
        playout_observe(leg.playout, packet.sequence, packet.timestamp, payload.clock_hz, packet.arrival_ns)
        if leg.relay_to is not NULL:
            relay(ctx, leg, leg.relay_to, packet, payload)
        return 0
    if leg.relay_to is not NULL:       # the relay rewrites and encrypts in place
        copy = ctx.scratch
        memcpy(copy, packet, (<uint8_t*>packet.data - <uint8_t*>packet) + packet.size)
        relay(ctx, leg, leg.relay_to, copy, payload)
    put = playout_put(leg.playout, packet, ctx.now_ns, &ctx.pool)
    ctx.counters.packets_overflow += put == PUT_OVERFLOW
    return put == PUT_QUEUED


cdef void tap(Context* ctx, Leg* leg, const Packet* packet, const PayloadType* payload) noexcept nogil:
    cdef int flags = TAP_FLAG_AUDIO
    cdef int i
    if payload.kind == PAYLOAD_EVENT:
        flags = TAP_FLAG_EVENT
    elif payload.kind == PAYLOAD_COMFORT:
        flags = TAP_FLAG_COMFORT
    for i in range(TAPS_MAX):
        if leg.taps[i] is NULL:
            continue
        if leg.taps[i].floor_until_ns and tap_too_old(leg.taps[i], packet, payload.clock_hz):
            continue
        if tap_write(leg.taps[i], packet, flags) == 0:
            leg.tap_packets += 1
        elif fetch_or_32(&leg.taps[i].changes, 1) == 0:
            context_changed(ctx, CHANGED_TAP, leg.taps[i].handle)


cdef int leg_consume(Context* ctx, Leg* leg, Packet* packet, const PayloadType* payload) noexcept nogil:
    tap(ctx, leg, packet, payload)
    if payload.kind == PAYLOAD_EVENT:
        consume_event(ctx, leg, packet, payload)
        return 0
    return consume_audio(ctx, leg, packet, payload)


cdef bint admitted_video(Context* ctx, Leg* leg, const Packet* packet, const Address* source) noexcept nogil:
    """Video by the same transport is held to the same source; on a leg of its own it settles it, as sound does."""
    return (leg.latch == LATCH_PINNED and leg_is_source(leg, source)) or admit_source(ctx, leg, packet, source)


cdef inline const PayloadType* payload_of(Leg* leg, const Packet* packet) noexcept nogil:
    """What was negotiated for its payload type, NULL: nothing. Most packets are of the type of the one before."""
    cdef int at
    if leg.heard.payload_type == packet.payload_type and leg.heard.kind:
        return &leg.heard
    at = <int>leg.stream.receive_at[packet.payload_type] - 1
    if at < 0:
        return NULL
    leg.heard = leg.stream.receive[at]
    leg.heard_relay = leg.relay_map[packet.payload_type]
    return &leg.heard


cdef bint circles(const Leg* leg) noexcept nogil:
    """What it reflects of ours would go out to it again, or to a room that has heard it. Between two it is an echo
    test, all that the other party can hear, and is let through."""
    return leg.bridge is not NULL and leg.peer is NULL and not leg.stream.ssrc_fixed


cdef void hear_level(Leg* leg, const Packet* packet) noexcept nogil:
    cdef int level = levels_read(&leg.levels, leg.level_in, packet, NULL if leg.decoding else &leg.speaker)
    if not leg.decoding and level >= 0:
        leg.level = level


cdef int receive_rtp(Context* ctx, Leg* leg, Packet* packet, const Address* source) noexcept nogil:
    cdef int wire_bytes = packet.size
    cdef int size
    cdef int parsed
    cdef bint pinned
    cdef ReceiverVerdict verdict
    cdef uint16_t before
    cdef const PayloadType* payload
    if is_stranger(leg, source):
        leg.packets_stranger += 1
        ctx.counters.packets_stranger += 1
        return 0
    if leg.srtp_receive is not NULL:
        size = packet.size
        if srtp_unprotect_rtp(leg.srtp_receive, packet.data, &size) != SRTP_OK:
            leg.packets_auth_failed += 1
            ctx.counters.packets_auth_failed += 1
            return 0
        packet.size = <uint16_t>size
    parsed = rtp_parse(packet)
    payload = payload_of(leg, packet) if parsed == 0 else NULL
    if payload is NULL:
        if parsed == 0 and leg.video is not NULL and admitted_video(ctx, leg, packet, source) and (
                video_receive(ctx, <VideoLeg*>leg.video, packet, wire_bytes) == 0):
            return 0
        leg.packets_bad += 1
        ctx.counters.packets_bad += 1
        return 0
    pinned = leg.latch == LATCH_PINNED and leg_is_source(leg, source)
    if not pinned and not admit_source(ctx, leg, packet, source):
        leg.packets_stranger += 1
        ctx.counters.packets_stranger += 1
        return 0
    if leg.video is not NULL and packet.data[0] & 0x10:
        video_overhear(<VideoLeg*>leg.video, packet)
    if packet.ssrc == leg.sender.ssrc:
        collide(ctx, leg, source)
    before = leg.receiver.sequence_max
    verdict = rtp_receiver_step(&leg.receiver, packet)
    if verdict == SOURCE_STALE:
        leg.packets_bad += 1
        ctx.counters.packets_bad += 1
        return 0
    if leg.level_in:
        hear_level(leg, packet)
    leg.packets_received += 1
    leg.bytes_received += wire_bytes
    if packet.arrival_ns - leg.heard_ns >= PAUSE_NS and leg.packets_received > 1:
        pause_ended(&leg.pauses, packet.arrival_ns - leg.heard_ns, packet.marker,
                    verdict == SOURCE_NEW or packet.sequence == <uint16_t>(before + 1))
    leg.heard_ns = packet.arrival_ns
    if leg.silent:
        leg.silent = 0
        note_change(ctx, leg, CHANGE_SILENCE)
    if payload.kind != PAYLOAD_EVENT:
        rtp_receiver_time(&leg.receiver, packet.timestamp, packet.arrival_ns, payload.clock_hz)
    if verdict == SOURCE_NEW:
        pause_forget(&leg.pauses)
        playout_restart(leg.playout, &ctx.pool)
        if leg.red is not NULL:
            leg.red.started = 0        # the new one's numbers say nothing of the old one's
    if not leg.receives or (packet.ssrc == leg.sender.ssrc and circles(leg)):
        return 0
    if leg.red is not NULL:
        if payload.kind == PAYLOAD_RED:
            return red_unpack(ctx, leg, packet)
        if not red_first(leg.red, packet.sequence, packet.timestamp):
            return 0                   # a later packet has brought it already
    return leg_consume(ctx, leg, packet, payload)


cdef void hand_datagram(Context* ctx, Leg* leg, const Packet* packet, const Address* source) noexcept nogil:
    """STUN or DTLS, for Python. Nothing in it is believed here."""
    if leg.datagrams_left <= 0 or datagram_push(&ctx.datagrams, leg.handle, packet.data, packet.size, source) < 0:
        ctx.counters.events_dropped += 1
        return
    leg.datagrams_left -= 1
    ctx.spoke = 1


cdef int leg_receive(Context* ctx, Leg* leg, Packet* packet, const Address* source, bint on_rtcp) noexcept nogil:
    cdef DatagramKind kind = datagram_kind(packet.data, packet.size)
    ctx.counters.packets_received += 1
    if kind <= DATAGRAM_DTLS and leg.hands_datagrams and not on_rtcp:
        hand_datagram(ctx, leg, packet, source)
    elif not leg.negotiated:
        ctx.counters.packets_unroutable += 1
    elif kind == DATAGRAM_RTCP:
        report_receive(ctx, leg, packet, source)
    elif kind == DATAGRAM_RTP and not on_rtcp:
        return receive_rtp(ctx, leg, packet, source)
    else:
        ctx.counters.packets_unroutable += 1
        leg.packets_bad += 1
        ctx.counters.packets_bad += 1
    return 0


cdef bint leg_can_send(const Leg* leg) noexcept nogil:
    return leg.negotiated and leg.sends and leg.destination.size != 0


cdef void leg_send_rtp(Context* ctx, Leg* leg, uint8_t* data, int size, uint32_t timestamp,
                       int clock_hz) noexcept nogil:
    cdef uint8_t repeating[PACKET_BYTES]
    cdef uint8_t levelled[PACKET_BYTES]
    cdef int wire_bytes
    cdef int payload_bytes
    if leg.red is not NULL:
        wire_bytes = red_wrap(leg.red, data, size, repeating, PACKET_BYTES - SRTP_TRAILER_MAX)
        if wire_bytes:
            data = repeating
            size = wire_bytes
    payload_bytes = size - RTP_HEADER_BYTES
    if leg.level_out and leg.levels.next != LEVEL_NONE:
        wire_bytes = levels_write(&leg.levels, leg.level_out, data, size, levelled, PACKET_BYTES - SRTP_TRAILER_MAX)
        if wire_bytes:
            data = levelled
            size = wire_bytes
    wire_bytes = outgoing_rtp(ctx, leg, data, size)
    if wire_bytes < 0:
        return
    rtp_sender_count(&leg.sender, timestamp, clock_hz, payload_bytes, wire_bytes, ctx.now_ns)


cdef void hear_more(Playout* playout, const Stream* stream) noexcept nogil:
    """Decoders for payload types that are new; those it has stay as they are, with the sound that waits for them."""
    cdef CodecConfig config
    cdef int i
    memset(&config, 0, sizeof(config))
    for i in range(stream.receive_count):
        if stream.receive[i].kind == PAYLOAD_AUDIO or stream.receive[i].kind == PAYLOAD_COMFORT:
            config.codec_id = stream.receive[i].codec_id
            config.clock_hz = stream.receive[i].clock_hz
            playout_set_codec(playout, stream.receive[i].payload_type, &config)


cdef void leg_set_stream(Context* ctx, Leg* leg, StreamChange* change) noexcept nogil:
    cdef bint first = not leg.negotiated
    leg.stream = change.stream
    leg.receives = leg.stream.receives
    leg.sends = leg.stream.sends
    leg.heard.kind = 0
    leg.negotiated = 1
    leg.level_in = leg.stream.level_in
    leg.level_out = leg.stream.level_out
    leg.levels.vad = leg.stream.level_vad
    leg.levels.now = LEVEL_NONE
    leg.levels.next = LEVEL_NONE
    leg.send_clock_hz = leg.stream.send[leg.stream.audio_at].clock_hz if leg.stream.audio_at >= 0 else 0
    if change.replace_playout:
        if leg.playout is not NULL:
            report_add_playout(&leg.playout_before, playout_stats(leg.playout))
            playout_restart(leg.playout, &ctx.pool)
        leg.playout, change.playout = change.playout, leg.playout
        leg.ear, change.ear = change.ear, leg.ear
        leg.pcm_rate = 0
    else:
        hear_more(leg.playout, &leg.stream)
    if change.replace_voice:
        leg.voice, change.voice = change.voice, leg.voice
    if change.replace_red:
        leg.red, change.red = change.red, leg.red
    if change.replace_keys:
        leg.srtp_send, change.srtp_send = change.srtp_send, leg.srtp_send
        leg.srtp_receive, change.srtp_receive = change.srtp_receive, leg.srtp_receive
    if change.remote_changed or first:
        leg.latch = LATCH_OPEN
        leg.candidate_count = 0
        leg.rtcp_pinned = 0
        leg.destination = leg.stream.remote
        if leg.stream.pin_remote and leg.stream.remote.size != 0:
            pin_source(ctx, leg, &leg.stream.remote, True)
    if first:
        leg.heard_ns = ctx.now_ns
        leg.rtcp_next_ns = ctx.now_ns + rtcp_interval_ns(context_random(ctx), True)
    if not leg.stream.receives:
        leg.heard_ns = ctx.now_ns
        leg.silent = 0


cdef void leg_unschedule(Context* ctx, Leg* leg) noexcept nogil:
    cdef Leg* last
    if leg.ticking_index < 0:
        return
    ctx.ticking_legs_count -= 1
    last = <Leg*>ctx.ticking_legs[ctx.ticking_legs_count]
    ctx.ticking_legs[leg.ticking_index] = last
    last.ticking_index = leg.ticking_index
    leg.ticking_index = -1


cdef void leg_schedule(Context* ctx, Leg* leg) noexcept nogil:
    if leg.play is NULL and not keypad_busy(&leg.keypad) and (leg.mixed or not leg.decoding):
        leg_unschedule(ctx, leg)
    elif leg.ticking_index < 0:
        leg.ticking_index = ctx.ticking_legs_count
        ctx.ticking_legs[ctx.ticking_legs_count] = leg
        ctx.ticking_legs_count += 1


cdef void leg_housekeep(Context* ctx, Leg* leg) noexcept nogil:
    cdef DigitNews news
    leg.datagrams_left = DATAGRAMS_PER_LEG_MAX
    if not leg.decoding and ctx.now_ns - leg.heard_ns >= UNSAID_NS:
        leg.level = LEVEL_SILENT
        leg.speaker.talking = 0
    if leg.negotiated:
        digits_expire(&leg.digits, ctx.now_ns, &news)
        if news.released:
            digit_news(ctx, leg, &news, leg.event_clock_hz, leg.relay_to is not NULL)
        if ctx.now_ns >= leg.rtcp_next_ns:
            report_send(ctx, leg, False)
            leg.rtcp_next_ns = ctx.now_ns + rtcp_interval_ns(context_random(ctx), False)
        if not leg.stream.receives:
            leg.heard_ns = ctx.now_ns
        elif not leg.silent and ctx.now_ns - leg.heard_ns >= ctx.silence_ns:
            leg.silent = 1
            note_change(ctx, leg, CHANGE_SILENCE)
    report_publish(ctx, leg)
