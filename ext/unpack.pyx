"""A leg's redundant audio (RFC 2198) taken apart where it comes in: playout, relay and taps see the plain stream.

Owns the sequence number of what is repeated: RED names none, so it is found by the timestamps of what came around it,
and where these do not tell, by counting blocks back from the packet that carries them.
"""

from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memmove
from mediaserver.ext.leg cimport PAYLOAD_RED, PayloadType, leg_consume
from mediaserver.ext.packet cimport packet_release, packet_take
from mediaserver.ext.red cimport RedBlock, RedPacket, red_back, red_first, red_parse
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_parse, rtp_write_header


cdef const PayloadType* payload_of_block(const Leg* leg, const RedBlock* block) noexcept nogil:
    """NULL: nothing negotiated, nothing in it, or RED inside RED."""
    cdef int at = <int>leg.stream.receive_at[block.payload_type] - 1
    if at < 0 or block.size == 0 or leg.stream.receive[at].kind == PAYLOAD_RED:
        return NULL
    return &leg.stream.receive[at]


cdef void recover(Context* ctx, Leg* leg, const Packet* carrier, const RedBlock* block, int back) noexcept nogil:
    """What the packet `back` before the carrier held goes the way it would have gone, unless it has come already."""
    cdef const PayloadType* payload = payload_of_block(leg, block)
    cdef uint16_t sequence
    cdef Packet* packet
    if payload is NULL:
        return
    back = red_back(leg.red, carrier.sequence, carrier.timestamp, block.offset, back)
    sequence = <uint16_t>(carrier.sequence - back)
    if back == 0 or not red_first(leg.red, sequence, carrier.timestamp - block.offset):
        return
    packet = packet_take(&ctx.pool)
    if packet is NULL:
        leg.packets_overflow += 1
        ctx.counters.packets_overflow += 1
        return
    memcpy(packet.data + RTP_HEADER_BYTES, carrier.data + carrier.payload_offset + block.at, block.size)
    rtp_write_header(packet.data, block.payload_type, False, sequence, carrier.timestamp - block.offset, carrier.ssrc)
    packet.size = <uint16_t>(RTP_HEADER_BYTES + block.size)
    packet.arrival_ns = carrier.arrival_ns
    rtp_parse(packet)
    leg.packets_recovered += 1
    if not leg_consume(ctx, leg, packet, payload):
        packet_release(&ctx.pool, packet)


cdef int red_unpack(Context* ctx, Leg* leg, Packet* packet) noexcept nogil:
    """What the packet repeats goes first, so that everybody behind sees one stream in its order without redundancy."""
    cdef RedPacket red
    cdef const RedBlock* primary
    cdef const PayloadType* payload
    cdef int i
    if red_parse(packet.data + packet.payload_offset, packet.payload_size, &red) < 0:
        leg.packets_bad += 1
        ctx.counters.packets_bad += 1
        return 0
    for i in range(red.count - 1):
        recover(ctx, leg, packet, &red.blocks[i], red.count - 1 - i)
    primary = &red.blocks[red.count - 1]
    payload = payload_of_block(leg, primary)
    if payload is NULL or not red_first(leg.red, packet.sequence, packet.timestamp):
        return 0
    memmove(packet.data + RTP_HEADER_BYTES, packet.data + packet.payload_offset + primary.at, primary.size)
    rtp_write_header(packet.data, primary.payload_type, packet.marker, packet.sequence, packet.timestamp, packet.ssrc)
    packet.size = <uint16_t>(RTP_HEADER_BYTES + primary.size)
    rtp_parse(packet)
    return leg_consume(ctx, leg, packet, payload)
