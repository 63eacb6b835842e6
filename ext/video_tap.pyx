"""Consented copies of what a video track receives, by the same rings as sound.

Owns what a copy looks like: RTP as it came, decrypted; a retransmission (RFC 4588) as the packet it repeats, without
padding. A ring that was full cost pictures: the next key frame is asked for as soon as there is room again.
"""

from libc.stdint cimport uint8_t
from mediaserver.ext.atomic cimport fetch_or_32
from mediaserver.ext.channel cimport CHANGED_TAP
from mediaserver.ext.context cimport context_changed
from mediaserver.ext.rtp cimport write_be16, write_be32
from mediaserver.ext.tap cimport TAP_FLAG_RESTORED, TAP_FLAG_VIDEO, tap_put
from mediaserver.ext.video_leg cimport video_due
from mediaserver.ext.video_track cimport TRACK_TAPS_MAX

cdef enum:
    OSN_BYTES = 2                      # RFC 4588 §4: the original sequence number, between header and payload
    PADDING_BIT = 0x20


cdef int put(Tap* tap, const Packet* packet, bint repaired) noexcept nogil:
    if not repaired:
        return tap_put(tap, packet.arrival_ns, TAP_FLAG_VIDEO, packet.data, packet.size, NULL, 0)
    return tap_put(tap, packet.arrival_ns, TAP_FLAG_VIDEO | TAP_FLAG_RESTORED, packet.data,
                   packet.payload_offset - OSN_BYTES, packet.data + packet.payload_offset, packet.payload_size)


cdef void video_tap(Context* ctx, VideoLeg* v, Track* t, VideoStream* s, Packet* packet, bint repaired) noexcept nogil:
    cdef Tap* tap
    cdef bint behind
    cdef int i
    if repaired:
        packet.data[0] &= <uint8_t>~PADDING_BIT
        packet.data[1] = <uint8_t>((packet.marker << 7) | packet.payload_type)
        write_be16(packet.data + 2, packet.sequence)
        write_be32(packet.data + 8, packet.ssrc)
    for i in range(TRACK_TAPS_MAX):
        tap = t.taps[i]
        if tap is NULL:
            continue
        behind = tap.behind != 0
        if put(tap, packet, repaired) == 0:
            if behind:
                s.key_wanted = 2
                video_due(ctx, v, packet.arrival_ns)
        elif fetch_or_32(&tap.changes, 1) == 0:
            context_changed(ctx, CHANGED_TAP, tap.handle)


cdef int video_tap_open(Track* t, Tap* tap) noexcept nogil:
    cdef int i
    for i in range(TRACK_TAPS_MAX):
        if t.taps[i] is NULL:
            t.taps[i] = tap
            t.tapped += 1
            return 0
    return -1


cdef int video_tap_close(Track* t, const Tap* tap) noexcept nogil:
    cdef int i
    for i in range(TRACK_TAPS_MAX):
        if tap is not NULL and t.taps[i] is tap:
            t.taps[i] = NULL
            t.tapped -= 1
            return 0
    return -1
