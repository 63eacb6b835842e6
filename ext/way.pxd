# The one way out: a datagram to where an address says, by UDP or framed on the TCP connection the address belongs to.
from libc.stdint cimport uint8_t
from mediaserver.ext.conn cimport conn_send
from mediaserver.ext.context cimport Context
from mediaserver.ext.net cimport Address

cdef inline int way_send(Context* ctx, int socket, const uint8_t* data, int size, const Address* to) noexcept nogil:
    """0, or -1: it was not taken. Never waits."""
    if to.via:
        return conn_send(ctx, to.via, data, size)
    return ctx.net.send(ctx.net.state, socket, data, size, to)
