"""SSRC collisions and loops, RFC 3550 §8.2, between what a leg is sent and what it sends.

A host that is met with our SSRC for the first time has chosen the same one: we say BYE for ours and go on under
another, with sequence number and timestamp drawn anew. If the new one comes back from the same host as well, the host
reflects what we send: that is counted, and never answered by another change. A host unseen for CONFLICT_NS is
forgotten, so that a reflector makes us change once in that time at the most.

An SSRC that SDP may have announced (a=ssrc, RFC 5576) stays: the peer tells streams by it, and each direction of a
unicast session has its own. It is counted all the same.
"""

from libc.stdint cimport int64_t, uint32_t
from mediaserver.ext.collision cimport CONFLICTS_MAX, Conflict
from mediaserver.ext.context cimport context_random
from mediaserver.ext.net cimport address_same_host
from mediaserver.ext.red cimport RED_LEVELS_MAX
from mediaserver.ext.report cimport report_send
from mediaserver.ext.rtp cimport rtp_sender_switch

cdef int64_t CONFLICT_NS = 50000000000       # §8.2: ten report intervals, of five seconds


cdef Conflict* conflict_find(Leg* leg, const Address* source, int64_t now_ns) noexcept nogil:
    """Of the source's host; else the place for it: a free one, one forgotten by now, or NULL."""
    cdef Conflict* room = NULL
    cdef Conflict* c
    cdef int i
    for i in range(CONFLICTS_MAX):
        c = &leg.collisions.conflicts[i]
        if c.seen_ns and now_ns - c.seen_ns >= CONFLICT_NS:
            c.seen_ns = 0
        if c.seen_ns and address_same_host(&c.source, source):
            return c
        if c.seen_ns == 0:
            room = c
    return room


cdef uint32_t new_ssrc(Context* ctx, const Leg* leg) noexcept nogil:
    cdef uint32_t ssrc = 0
    while ssrc == 0 or ssrc == leg.sender.ssrc or ssrc == leg.receiver.ssrc:
        ssrc = context_random(ctx)
    return ssrc


cdef void change_ssrc(Context* ctx, Leg* leg) noexcept nogil:
    cdef int i
    report_send(ctx, leg, True)
    leg.collisions.changes += 1
    leg.collisions.packets_before = leg.sender.packets
    leg.collisions.bytes_before = leg.sender.bytes
    leg.collisions.lost_before = leg.remote_lost
    leg.sender.ssrc = new_ssrc(ctx, leg)
    leg.sender.sequence = context_random(ctx) & 0x7FFF     # RFC 3711 §3.3.1: a loss at the start costs no rollover
    leg.sender.cycles = 0
    leg.sender.timestamp = context_random(ctx)
    rtp_sender_switch(&leg.sender)
    if leg.voice is not NULL:
        leg.voice.running = 0
    if leg.red is not NULL:            # what was kept has timestamps of before
        for i in range(RED_LEVELS_MAX):
            leg.red.kept[i].size = 0


cdef void collide(Context* ctx, Leg* leg, const Address* source) noexcept nogil:
    cdef Conflict* c = conflict_find(leg, source, ctx.now_ns)
    cdef bint known = c is NULL or c.seen_ns != 0          # no room: as if it had been there
    if c is not NULL:
        c.source = source[0]
        c.seen_ns = ctx.now_ns
    if known or leg.stream.ssrc_fixed:
        leg.collisions.looped += 1
    else:
        change_ssrc(ctx, leg)
