"""Makes a viewer's packet from the source's history and what was decided about it, and sends it.

Retransmissions follow RFC 4588 (own SSRC, own sequence numbers, the original one first in the payload) where the peer
agreed to RTX; else the same packet is sent again.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset
from mediaserver.ext.outgoing cimport outgoing_rtp
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_write_header, write_be16
from mediaserver.ext.video_extensions cimport (
    ExtensionsOut,
    absolute_send_time,
    extensions_write,
)
from mediaserver.ext.video_leg cimport VideoLeg
from mediaserver.ext.video_payload cimport payload_patch
from mediaserver.ext.video_rate cimport rate_add

cdef enum:
    NO_RTX = 255
    OUT_BYTES = 2048                   # header 12, extensions 340, RTX 2, HISTORY_BYTES, SRTP_TRAILER_MAX


cdef int rtx_type(const Track* viewer, const Sent* sent) noexcept nogil:
    cdef int i
    for i in range(viewer.setup.send_count):
        if viewer.setup.send[i].payload_type == sent.payload_type:
            return viewer.setup.send[i].rtx_payload_type
    return NO_RTX


cdef int write_extensions(Context* ctx, Track* viewer, const Sent* sent, const HistorySlot* slot, uint8_t* out,
                          uint8_t* descriptor) noexcept nogil:
    cdef ExtensionsOut what
    memset(&what, 0, sizeof(what))
    what.mid = viewer.setup.mid
    what.mid_size = viewer.setup.mid_size
    what.has_send_time = 1
    what.send_time = absolute_send_time(ctx.now_ns)
    if not sent.padding:
        what.has_orientation = slot.has_orientation
        what.orientation = slot.orientation
        if slot.descriptor_size >= 3:
            memcpy(descriptor, slot.data, slot.descriptor_size)
            write_be16(descriptor + 1, sent.descriptor_frame)
            what.descriptor = descriptor
            what.descriptor_size = slot.descriptor_size
    return extensions_write(out, &viewer.setup.extensions, &what)


cdef int video_send(Context* ctx, Track* viewer, Sent* sent, const HistorySlot* slot, bint again) noexcept nogil:
    cdef uint8_t data[OUT_BYTES]
    cdef uint8_t descriptor[256]
    cdef int rtx = rtx_type(viewer, sent) if again else NO_RTX
    cdef int payload = 0 if sent.padding else slot.size
    cdef int at = RTP_HEADER_BYTES
    cdef int block
    cdef int wire
    if rtx != NO_RTX:
        rtp_write_header(data, rtx, slot.marker, viewer.sink.rtx_sequence, sent.timestamp, viewer.rtx_ssrc)
        viewer.sink.rtx_sequence += 1
    else:
        rtp_write_header(data, sent.payload_type, slot.marker and not sent.padding, sent.out, sent.timestamp,
                         viewer.ssrc)
    block = write_extensions(ctx, viewer, sent, slot, data + at, descriptor)
    if block:
        data[0] |= 0x10
        at += block
    if rtx != NO_RTX:
        write_be16(data + at, sent.out)
        at += 2
    if payload:
        memcpy(data + at, slot.data + slot.descriptor_size, payload)
        payload_patch(data + at, &slot.facts, sent.picture, sent.tl0)
        at += payload
    else:
        data[0] |= 0x20                # padding only (RFC 3550 §5.1): one octet that counts itself
        data[at] = 1
        at += 1
    wire = outgoing_rtp(ctx, viewer.leg, data, at)
    if wire < 0:
        return 0
    sent.sent_ns = ctx.now_ns
    rate_add(&viewer.sink.rate, wire, ctx.now_ns)
    rate_add(&(<VideoLeg*>viewer.leg.video).video_rate, wire, ctx.now_ns)
    if again:
        viewer.sink.rtx_packets += 1
        viewer.sink.rtx_bytes += wire
    if rtx == NO_RTX:
        viewer.sink.packets += 1
        viewer.sink.payload_bytes += payload
    viewer.sink.bytes += wire
    return 1
