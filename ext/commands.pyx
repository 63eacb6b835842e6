"""Commands of the control plane, carried out inside the worker between two rounds of media (ext/channel.pxd).

Allocates and frees nothing: what a command brings was made by the control side, and its reply takes back what is no
longer needed.
"""

from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memset
from mediaserver.ext.bridge cimport (
    Bridge,
    bridge_add,
    bridge_forget_voice,
    bridge_grow,
    bridge_remove,
    bridge_set_hears,
    leg_decide,
)
from mediaserver.ext.channel cimport (
    OP_ASK_KEY_FRAME,
    OP_BRIDGE_ADD,
    OP_BRIDGE_REMOVE,
    OP_CLOSE_BRIDGE,
    OP_CLOSE_LEG,
    OP_CLOSE_TAP,
    OP_CLOSE_TRACK_TAP,
    OP_DETACH_LEG,
    OP_GROW_BRIDGE,
    OP_OPEN_BRIDGE,
    OP_OPEN_LEG,
    OP_OPEN_PORT,
    OP_OPEN_TAP,
    OP_OPEN_TRACK,
    OP_OPEN_TRACK_TAP,
    OP_PLAY,
    OP_PUBLISH,
    OP_REPORT_DIGIT,
    OP_SEND_DTMF,
    OP_SET_GAIN,
    OP_SET_HEARS,
    OP_SET_MUTE,
    OP_SET_PROCESSING,
    OP_SET_STREAM,
    OP_STOP_PLAY,
    REPLY,
    STATUS_FULL,
    STATUS_OK,
    STATUS_REFUSED,
    STATUS_STALE_HANDLE,
    Message,
)
from mediaserver.ext.context cimport TICK_MS, context_reply
from mediaserver.ext.digits cimport digits_merge
from mediaserver.ext.dtmf cimport DTMF_SIP_INFO
from mediaserver.ext.gate cimport gate_command
from mediaserver.ext.keypad cimport DtmfOrder, keypad_order
from mediaserver.ext.leg cimport (
    TAPS_MAX,
    Leg,
    StreamChange,
    leg_report_digit,
    leg_schedule,
    leg_set_stream,
    leg_unschedule,
)
from mediaserver.ext.play cimport Play
from mediaserver.ext.playout cimport playout_restart
from mediaserver.ext.processing cimport LegVoice
from mediaserver.ext.report cimport report_publish, report_send
from mediaserver.ext.state cimport Slot, worker_bridge, worker_leg
from mediaserver.ext.tap cimport Tap, tap_begin
from mediaserver.ext.tick cimport end_play
from mediaserver.ext.video_commands cimport video_command, video_take_in, video_take_out
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_round cimport video_goodbye

cdef enum:
    TICK_NS = TICK_MS * 1000000


cdef void open_leg(Worker* w, Leg* leg) noexcept nogil:
    cdef Slot* slot = &w.legs[leg.handle & 0xFFFF]
    slot.thing = leg
    slot.handle = leg.handle
    leg.index = w.live_count
    w.live[w.live_count] = leg
    w.live_count += 1
    w.ctx.counters.legs = w.live_count
    if not leg.shares_port:            # else the port hands it what is its own (ext/gate)
        w.ctx.net.watch(w.ctx.net.state, leg.rtp_socket, leg.handle << 1)
    if leg.rtcp_socket >= 0:
        w.ctx.net.watch(w.ctx.net.state, leg.rtcp_socket, (leg.handle << 1) | 1)
    if w.tick_next_ns == 0:
        w.tick_next_ns = (w.ctx.now_ns // TICK_NS + 1) * TICK_NS
    video_take_in(w, leg)
    leg_decide(&w.ctx, leg)
    report_publish(&w.ctx, leg)


cdef void take_out(Worker* w, Leg* leg) noexcept nogil:
    """The leg leaves this worker: no socket watched, no packet held, no bridge, no tick. What plays stays with it."""
    if not leg.shares_port:
        w.ctx.net.unwatch(w.ctx.net.state, leg.rtp_socket)
    if leg.rtcp_socket >= 0:
        w.ctx.net.unwatch(w.ctx.net.state, leg.rtcp_socket)
    video_take_out(w, leg)
    if leg.bridge is not NULL:
        bridge_remove(&w.ctx, <Bridge*>leg.bridge, leg)
    leg_decide(&w.ctx, leg)
    leg_unschedule(&w.ctx, leg)
    if leg.playout is not NULL:
        playout_restart(leg.playout, &w.ctx.pool)
    w.legs[leg.handle & 0xFFFF].thing = NULL
    w.live_count -= 1
    w.live[leg.index] = w.live[w.live_count]
    w.live[leg.index].index = leg.index
    w.ctx.counters.legs = w.live_count
    if w.live_count == 0:
        w.tick_next_ns = 0


cdef int set_stream(Worker* w, Leg* leg, StreamChange* change) noexcept nogil:
    if change.replace_voice and leg.bridge is not NULL:
        bridge_forget_voice(<Bridge*>leg.bridge, leg)
    leg_set_stream(&w.ctx, leg, change)
    leg_decide(&w.ctx, leg)
    return STATUS_OK


cdef int tap_command(Worker* w, Leg* leg, const Command* c) noexcept nogil:
    cdef int i
    for i in range(TAPS_MAX):
        if c.operation == OP_OPEN_TAP and leg.taps[i] is NULL:
            leg.taps[i] = <Tap*>c.data
            tap_begin(leg.taps[i], &leg.receiver, w.ctx.now_ns, leg.round_trip_ns // 2)
            w.ctx.counters.taps += 1
        elif c.operation == OP_CLOSE_TAP and leg.taps[i] is not NULL and leg.taps[i].handle == <uint64_t>c.value:
            leg.taps[i] = NULL
            w.ctx.counters.taps -= 1
        else:
            continue
        leg_decide(&w.ctx, leg)
        return STATUS_OK
    return STATUS_FULL if c.operation == OP_OPEN_TAP else STATUS_STALE_HANDLE


cdef int sound_command(Worker* w, const Command* c, Leg* leg) noexcept nogil:
    if c.operation == OP_PLAY:
        end_play(&w.ctx, leg, False)
        leg.play = <Play*>c.data
        leg_decide(&w.ctx, leg)
    elif c.operation == OP_STOP_PLAY:
        end_play(&w.ctx, leg, False)
        leg_decide(&w.ctx, leg)
    elif c.operation == OP_SEND_DTMF:
        if keypad_order(&leg.keypad, <DtmfOrder*>c.data) < 0:
            return STATUS_FULL
        leg_schedule(&w.ctx, leg)
    elif c.operation == OP_REPORT_DIGIT:
        if digits_merge(&leg.digits, <int>c.value, DTMF_SIP_INFO, w.ctx.now_ns):
            leg_report_digit(&w.ctx, leg, <int>c.value, DTMF_SIP_INFO)
    return STATUS_OK


cdef int leg_command(Worker* w, const Command* c, Leg* leg, Message* reply) noexcept nogil:
    if c.operation == OP_SET_STREAM:
        return set_stream(w, leg, <StreamChange*>c.data)
    if c.operation == OP_OPEN_TAP or c.operation == OP_CLOSE_TAP:
        return tap_command(w, leg, c)
    if c.operation == OP_SET_GAIN:
        leg.gain_q12 = <int32_t>c.value
        leg_decide(&w.ctx, leg)
    elif c.operation == OP_SET_MUTE:
        leg.muted = c.flag
        leg_decide(&w.ctx, leg)
    elif c.operation == OP_SET_PROCESSING:
        reply.data = leg.processing
        leg.processing = <LegVoice*>c.data
        leg_decide(&w.ctx, leg)
    elif OP_OPEN_TRACK <= c.operation <= OP_ASK_KEY_FRAME or (
            c.operation == OP_OPEN_TRACK_TAP or c.operation == OP_CLOSE_TRACK_TAP):
        return video_command(w, c, leg, reply)
    elif c.operation == OP_CLOSE_LEG:
        if leg.video is not NULL:
            video_goodbye(&w.ctx, <VideoLeg*>leg.video)
        report_send(&w.ctx, leg, True)
        end_play(&w.ctx, leg, False)
        take_out(w, leg)
        report_publish(&w.ctx, leg)
        reply.data = leg
    elif c.operation == OP_DETACH_LEG:
        take_out(w, leg)
        reply.data = leg
    elif c.operation == OP_PUBLISH:
        report_publish(&w.ctx, leg)
    else:
        return sound_command(w, c, leg)
    return STATUS_OK


cdef int bridge_command(Worker* w, const Command* c, Bridge* b, Message* reply) noexcept nogil:
    cdef Leg* leg = NULL
    cdef Leg* speaker
    cdef int row
    if c.operation == OP_CLOSE_BRIDGE:
        for row in range(b.rows):
            if b.legs[row] is not NULL:
                bridge_remove(&w.ctx, b, b.legs[row])
        w.bridges[b.handle & 0xFFFF].thing = NULL
        w.ctx.counters.bridges -= 1
        reply.data = b
        return STATUS_OK
    if c.operation == OP_GROW_BRIDGE:
        bridge_grow(&w.ctx, <Bridge*>c.data, b)
        w.bridges[b.handle & 0xFFFF].thing = c.data
        reply.data = b
        return STATUS_OK
    leg = worker_leg(w, c.other)
    if leg is NULL:
        return STATUS_STALE_HANDLE
    if c.operation == OP_BRIDGE_ADD:
        if leg.bridge is not NULL:
            return STATUS_REFUSED
        return STATUS_OK if bridge_add(&w.ctx, b, leg) == 0 else STATUS_FULL
    if leg.bridge is not b:
        return STATUS_REFUSED
    if c.operation == OP_BRIDGE_REMOVE:
        bridge_remove(&w.ctx, b, leg)
    elif c.operation == OP_SET_HEARS:
        speaker = worker_leg(w, <uint64_t>c.value)
        if speaker is NULL:
            return STATUS_STALE_HANDLE
        if speaker.bridge is not b:
            return STATUS_REFUSED
        bridge_set_hears(&w.ctx, b, leg, speaker, c.flag)
    return STATUS_OK


cdef void run_command(Worker* w, const Command* c) noexcept nogil:
    cdef Message reply
    cdef Leg* leg
    cdef Bridge* b
    memset(&reply, 0, sizeof(reply))
    reply.kind = REPLY
    reply.id = c.id
    reply.handle = c.target
    reply.data = c.data
    reply.status = STATUS_OK
    if c.operation == OP_OPEN_LEG:
        open_leg(w, <Leg*>c.data)
    elif c.operation == OP_OPEN_BRIDGE:
        b = <Bridge*>c.data
        w.bridges[b.handle & 0xFFFF].thing = b
        w.bridges[b.handle & 0xFFFF].handle = b.handle
        w.ctx.counters.bridges += 1
    elif c.operation >= OP_OPEN_PORT:
        reply.status = gate_command(w, c, &reply)
    elif OP_CLOSE_BRIDGE <= c.operation <= OP_SET_HEARS:
        b = worker_bridge(w, c.target)
        reply.status = bridge_command(w, c, b, &reply) if b is not NULL else STATUS_STALE_HANDLE
    else:
        leg = worker_leg(w, c.target)
        reply.status = leg_command(w, c, leg, &reply) if leg is not NULL else STATUS_STALE_HANDLE
    w.ctx.counters.commands += 1
    context_reply(&w.ctx, &reply)
