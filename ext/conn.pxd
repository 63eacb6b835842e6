# TCP connections that carry what a browser would send by UDP (ICE-TCP, RFC 6544), each datagram behind two bytes of
# length (RFC 4571). A connection is allocated and freed by the control side and owned by one worker in between.
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.net cimport Address
from mediaserver.ext.packet cimport Packet

cdef enum:
    CONN_TAG_KIND = 3                  # of its handle (ext/mailbox HandleTable), and so of its readiness tag
    CONN_RECEIVE_BYTES = 4096          # two of the longest frames: one read always has room
    CONN_SEND_BYTES = 65536            # waiting for a slow reader: 17 s of audio, 0.3 s of good video; then frames drop
    CONN_VIA_BITS = 12                 # of the number that hold its place in the table

cdef struct Conn:
    uint64_t handle
    uint64_t leg                       # whose it is since a check on it was right; 0: a stranger's still
    int32_t socket
    int32_t dead                       # told Python; nothing is read or sent any more
    Address peer                       # via: our number
    uint64_t frames_dropped            # the peer reads too slowly
    int32_t received                   # bytes waiting in `receive` for the rest of their frame
    int32_t send_from                  # first byte waiting in `send`
    int32_t send_size                  # bytes waiting
    uint8_t receive[CONN_RECEIVE_BYTES]
    uint8_t send[CONN_SEND_BYTES]

# The place in the worker's table that a number names, whoever is there now.
cdef inline int conn_index(uint32_t via) noexcept nogil:
    return <int>(via & ((1 << CONN_VIA_BITS) - 1))

# NULL: closed, or never opened.
cdef inline Conn* conn_at(const Context* ctx, uint32_t via) noexcept nogil:
    cdef int index = conn_index(via)
    cdef Conn* conn = <Conn*>ctx.conns[index] if index < ctx.conns_max else NULL
    return conn if conn is not NULL and conn.peer.via == via else NULL

# Frames data[size] and sends what the system takes; the rest waits. 0, or -1: no room for it, dropped and counted, or
# no such connection. A frame is never sent in part only.
cdef int conn_send(Context* ctx, uint32_t via, const uint8_t* data, int size) noexcept nogil
# Sends what waits, as far as the system takes it. Called on every tick.
cdef void conn_flush(Context* ctx, Conn* conn) noexcept nogil
# Reads once. 0, or -1: the peer has closed it.
cdef int conn_read(Context* ctx, Conn* conn) noexcept nogil
# The next whole frame into packet. 1; 0: none yet; -1: one that no datagram of ours could be, the stream is lost.
cdef int conn_next(Conn* conn, Packet* packet) noexcept nogil
# No more of this connection: told to Python once.
cdef void conn_fail(Context* ctx, Conn* conn) noexcept nogil
