"""One browser's TCP connection as the worker sees it: frames in, frames out, nothing that waits for a slow reader.

Follows RFC 4571 and RFC 6544. The buffer of what is to be sent holds whole frames only; when one does not fit, it is
dropped as a full queue on the way would drop it, and the stream stays readable. What comes is copied out frame by frame
into slots of the packet pool and then treated as a datagram.
"""

from libc.stdint cimport uint16_t
from libc.string cimport memcpy, memmove
from mediaserver.ext.channel cimport CHANGED_CONN
from mediaserver.ext.context cimport context_changed
from mediaserver.ext.packet cimport PACKET_BYTES
from mediaserver.ext.rtp cimport read_be16, write_be16

cdef enum:
    FRAME_HEADER_BYTES = 2


cdef void conn_fail(Context* ctx, Conn* conn) noexcept nogil:
    if not conn.dead:
        conn.dead = 1
        ctx.net.unwatch(ctx.net.state, conn.socket)
        context_changed(ctx, CHANGED_CONN, conn.handle)


cdef void queue(Conn* conn, const uint8_t* data, int size) noexcept nogil:
    memcpy(conn.send + conn.send_from + conn.send_size, data, size)
    conn.send_size += size


cdef int conn_send(Context* ctx, uint32_t via, const uint8_t* data, int size) noexcept nogil:
    cdef Conn* conn = conn_at(ctx, via)
    cdef uint8_t header[FRAME_HEADER_BYTES]
    if conn is NULL or conn.dead or not 0 < size <= PACKET_BYTES:
        return -1
    if conn.send_size + FRAME_HEADER_BYTES + size > CONN_SEND_BYTES:
        conn_flush(ctx, conn)
        if conn.dead or conn.send_size + FRAME_HEADER_BYTES + size > CONN_SEND_BYTES:
            conn.frames_dropped += 1
            return -1
    if conn.send_from + conn.send_size + FRAME_HEADER_BYTES + size > CONN_SEND_BYTES:
        memmove(conn.send, conn.send + conn.send_from, conn.send_size)
        conn.send_from = 0
    write_be16(header, size)
    queue(conn, header, FRAME_HEADER_BYTES)
    queue(conn, data, size)
    conn_flush(ctx, conn)
    return 0


cdef void conn_flush(Context* ctx, Conn* conn) noexcept nogil:
    cdef int sent
    if conn.dead or conn.send_size == 0:
        return
    sent = ctx.net.write(ctx.net.state, conn.socket, conn.send + conn.send_from, conn.send_size)
    if sent < 0:
        conn_fail(ctx, conn)
        return
    conn.send_from += sent
    conn.send_size -= sent
    if conn.send_size == 0:
        conn.send_from = 0


cdef int conn_read(Context* ctx, Conn* conn) noexcept nogil:
    cdef int got = ctx.net.read(ctx.net.state, conn.socket, conn.receive + conn.received,
                                CONN_RECEIVE_BYTES - conn.received)
    if got < 0:
        return -1
    conn.received += got
    return 0


cdef int conn_next(Conn* conn, Packet* packet) noexcept nogil:
    cdef int size
    while conn.received >= FRAME_HEADER_BYTES:
        size = read_be16(conn.receive)
        if size > PACKET_BYTES:
            return -1
        if conn.received < FRAME_HEADER_BYTES + size:
            return 0
        memcpy(packet.data, conn.receive + FRAME_HEADER_BYTES, size)
        packet.size = <uint16_t>size
        conn.received -= FRAME_HEADER_BYTES + size
        memmove(conn.receive, conn.receive + FRAME_HEADER_BYTES + size, conn.received)
        if size > 0:                   # an empty frame is a keepalive
            return 1
    return 0
