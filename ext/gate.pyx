"""Receives what browsers send to a port they share, or by TCP, and hands each datagram to its leg.

A known source costs one search in a table (ext/port), after which the packet goes the way of any other leg. A batch is
taken by one system call; what is left over comes with the next round. Runs no Python and allocates nothing.
"""

from mediaserver.ext.bridge cimport leg_decide
from mediaserver.ext.channel cimport (
    OP_BIND,
    OP_BIND_CONN,
    OP_CLOSE_PORT,
    OP_OPEN_CONN,
    OP_OPEN_PORT,
    OP_SEND_CONN,
    STATUS_FULL,
    STATUS_OK,
    STATUS_STALE_HANDLE,
)
from mediaserver.ext.conn cimport conn_fail, conn_flush, conn_next, conn_read, conn_send
from mediaserver.ext.leg cimport Leg, leg_ahead, leg_receive
from mediaserver.ext.net cimport RECEIVE_BATCH_MAX, monotonic_ns
from mediaserver.ext.packet cimport Packet, packet_release, packet_take
from mediaserver.ext.port cimport (
    PORT_TAG_KIND,
    Port,
    port_bind,
    port_find,
    port_prepare,
    port_release,
    port_unbind,
    stranger_receive,
)
from mediaserver.ext.state cimport worker_leg, worker_port

cdef enum:
    BATCHES_PER_ROUND_MAX = 8          # 256 datagrams of one port; other sockets are waiting too


cdef void overflow(Worker* w, Leg* leg) noexcept nogil:
    w.ctx.counters.packets_received += 1
    w.ctx.counters.packets_overflow += 1
    if leg is not NULL:
        leg.packets_overflow += 1


cdef bint deliver(Worker* w, Leg* leg, Packet* packet, const Address* source) noexcept nogil:
    """Whether the packet was kept."""
    cdef bint kept = leg_receive(&w.ctx, leg, packet, source, False)
    if leg.decide_due:
        leg_decide(&w.ctx, leg)
    return kept


cdef int receive_batch(Worker* w, Port* port, int room) noexcept nogil:
    cdef Leg* legs[RECEIVE_BATCH_MAX]
    cdef Packet* packet
    cdef int got = w.ctx.net.receive_many(w.ctx.net.state, port.socket, port.batch, port.sources, room)
    cdef int i
    for i in range(got):
        legs[i] = worker_leg(w, port_find(port, &port.sources[i]))
    for i in range(got):
        leg_ahead(legs, i, got)
        packet = port.batch[i]
        if packet.size == 0:
            overflow(w, legs[i])
        elif legs[i] is NULL:
            stranger_receive(&w.ctx, port.handle, port, packet, &port.sources[i])
        elif deliver(w, legs[i], packet, &port.sources[i]):
            port.batch[i] = NULL
    return got


cdef int drop_one(Worker* w, Port* port) noexcept nogil:
    """No slot is free: read and dropped, or it would come again."""
    cdef int got = w.ctx.net.receive(w.ctx.net.state, port.socket, w.ctx.scratch, &port.sources[0])
    if got != 0:
        overflow(w, worker_leg(w, port_find(port, &port.sources[0])))
    return 1 if got != 0 else 0


cdef int receive_port(Worker* w, Port* port) noexcept nogil:
    cdef int seen = 0
    cdef int room
    cdef int got
    cdef int _
    for _ in range(BATCHES_PER_ROUND_MAX):
        room = port_prepare(&w.ctx, port)
        got = receive_batch(w, port, room) if room > 0 else drop_one(w, port)
        seen += got
        if got < room or got == 0:
            break
    return seen


cdef int receive_conn(Worker* w, Conn* conn) noexcept nogil:
    cdef Packet* packet
    cdef Leg* leg
    cdef Port* none = <Port*>w.stranger_port
    cdef int seen = 0
    cdef int got = 1
    if conn_read(&w.ctx, conn) < 0:
        conn_fail(&w.ctx, conn)
        return 1
    while not conn.dead:
        packet = packet_take(&w.ctx.pool)
        got = conn_next(conn, packet if packet is not NULL else w.ctx.scratch)
        if got <= 0:
            if packet is not NULL:
                packet_release(&w.ctx.pool, packet)
            if got < 0:
                conn_fail(&w.ctx, conn)
            break
        seen += 1
        leg = worker_leg(w, conn.leg)
        if packet is NULL:
            overflow(w, leg)
            continue
        packet.arrival_ns = w.ctx.now_ns if w.bell < 0 else monotonic_ns()
        if leg is NULL:
            stranger_receive(&w.ctx, conn.handle, none, packet, &conn.peer)
        elif deliver(w, leg, packet, &conn.peer):
            continue
        packet_release(&w.ctx.pool, packet)
    return seen + 1


cdef int gate_receive(Worker* w, uint64_t tag) noexcept nogil:
    cdef uint64_t handle = tag >> 1
    cdef Port* port
    cdef Conn* conn
    if handle >> 56 == PORT_TAG_KIND:
        port = worker_port(w, handle)
        return receive_port(w, port) if port is not NULL else 0
    conn = worker_conn(w, handle)
    return receive_conn(w, conn) if conn is not NULL and not conn.dead else 0


cdef inline Conn* worker_conn(const Worker* w, uint64_t handle) noexcept nogil:
    cdef int index = <int>(handle & 0xFFFF)
    cdef Conn* conn = <Conn*>w.ctx.conns[index] if index < w.ctx.conns_max else NULL
    return conn if conn is not NULL and conn.handle == handle else NULL


cdef int open_port(Worker* w, Port* port) noexcept nogil:
    w.ports[port.handle & 0xFFFF].thing = port
    w.ports[port.handle & 0xFFFF].handle = port.handle
    w.ctx.net.watch(w.ctx.net.state, port.socket, port.handle << 1)
    return STATUS_OK


cdef int open_conn(Worker* w, Conn* conn) noexcept nogil:
    w.ctx.conns[conn.handle & 0xFFFF] = conn
    w.ctx.conns_count += 1
    conn.dead = 0                      # if the peer has closed it, the first read says so
    w.ctx.net.watch(w.ctx.net.state, conn.socket, conn.handle << 1)
    return STATUS_OK


cdef int port_command(Worker* w, const Command* c, Message* reply) noexcept nogil:
    cdef Port* port = worker_port(w, c.target)
    cdef Binding* binding
    if port is NULL:
        return STATUS_STALE_HANDLE
    if c.operation == OP_BIND:
        binding = <Binding*>c.data
        if c.other == 0:
            port_unbind(port, &binding.address)
        elif port_bind(port, &binding.address, c.other) < 0:
            return STATUS_FULL
        return STATUS_OK
    w.ctx.net.unwatch(w.ctx.net.state, port.socket)
    port_release(&w.ctx, port)
    w.ports[c.target & 0xFFFF].thing = NULL
    reply.data = port
    return STATUS_OK


cdef int conn_command(Worker* w, const Command* c, Message* reply) noexcept nogil:
    cdef Conn* conn = worker_conn(w, c.target)
    cdef Frame* frame
    if conn is NULL:
        return STATUS_STALE_HANDLE
    if c.operation == OP_BIND_CONN:
        conn.leg = c.other
    elif c.operation == OP_SEND_CONN:
        frame = <Frame*>c.data
        return STATUS_OK if conn_send(&w.ctx, conn.peer.via, frame.data, frame.size) == 0 else STATUS_FULL
    else:
        if not conn.dead:
            conn.dead = 1
            w.ctx.net.unwatch(w.ctx.net.state, conn.socket)
        w.ctx.conns[c.target & 0xFFFF] = NULL
        w.ctx.conns_count -= 1
        reply.data = conn
    return STATUS_OK


cdef int gate_command(Worker* w, const Command* c, Message* reply) noexcept nogil:
    if c.operation == OP_OPEN_PORT:
        return open_port(w, <Port*>c.data)
    if c.operation == OP_OPEN_CONN:
        return open_conn(w, <Conn*>c.data)
    if c.operation == OP_BIND or c.operation == OP_CLOSE_PORT:
        return port_command(w, c, reply)
    return conn_command(w, c, reply)


cdef void gate_flush(Worker* w) noexcept nogil:
    cdef int left = w.ctx.conns_count
    cdef int i
    for i in range(w.ctx.conns_max):
        if left == 0:
            break
        if w.ctx.conns[i] is not NULL:
            left -= 1
            conn_flush(&w.ctx, <Conn*>w.ctx.conns[i])
