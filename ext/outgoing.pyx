"""The way out of a leg: SRTP and the socket, for RTP and RTCP alike.

Owns where RTCP goes (RFC 3605, RFC 5761, else the port above). Counts what the worker sent; what the leg sent is its
own business.
"""

from mediaserver.ext.leg cimport LATCH_PINNED
from mediaserver.ext.net cimport Address, address_port, address_same_host, address_set_port
from mediaserver.ext.srtp cimport SRTP_OK, srtp_protect_control, srtp_protect_rtp
from mediaserver.ext.way cimport way_send


cdef int outgoing_rtp(Context* ctx, Leg* leg, uint8_t* data, int size) noexcept nogil:
    if leg.srtp_send is not NULL and srtp_protect_rtp(leg.srtp_send, data, &size) != SRTP_OK:
        ctx.counters.send_errors += 1
        return -1
    if way_send(ctx, leg.rtp_socket, data, size, &leg.destination) < 0:
        ctx.counters.send_errors += 1
    else:
        ctx.counters.packets_sent += 1
    return size


cdef void control_destination(const Leg* leg, Address* to) noexcept nogil:
    if leg.stream.rtcp_mux:
        to[0] = leg.destination
    elif leg.rtcp_pinned:
        to[0] = leg.rtcp_source
    elif leg.latch == LATCH_PINNED and not address_same_host(&leg.source, &leg.stream.remote_rtcp):
        to[0] = leg.source
        address_set_port(to, address_port(&leg.source) + 1)
    else:
        to[0] = leg.stream.remote_rtcp


cdef int outgoing_control(Context* ctx, Leg* leg, uint8_t* data, int size) noexcept nogil:
    cdef Address to
    cdef int socket = leg.rtp_socket if leg.stream.rtcp_mux or leg.rtcp_socket < 0 else leg.rtcp_socket
    if not leg.negotiated or leg.destination.size == 0:
        return -1
    control_destination(leg, &to)
    if to.size == 0:
        return -1
    if leg.srtp_send is not NULL and srtp_protect_control(leg.srtp_send, data, &size) != SRTP_OK:
        ctx.counters.send_errors += 1
        return -1
    if way_send(ctx, socket, data, size, &to) < 0:
        ctx.counters.send_errors += 1
        return -1
    leg.rtcp_sent += 1
    ctx.counters.rtcp_sent += 1
    return 0
