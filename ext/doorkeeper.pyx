"""The commands of one media worker that concern where browsers come in: shared UDP ports and TCP connections.

Same rules as ext/control: each allocates what its command carries, its reply comes out of `drain` exactly once.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from mediaserver.ext.channel cimport (
    OP_BIND,
    OP_BIND_CONN,
    OP_CLOSE_CONN,
    OP_CLOSE_PORT,
    OP_OPEN_CONN,
    OP_OPEN_PORT,
    OP_SEND_CONN,
    Command,
)
from mediaserver.ext.conn cimport CONN_VIA_BITS, Conn
from mediaserver.ext.gate cimport FRAME_BYTES_MAX, Binding, Frame
from mediaserver.ext.mailbox cimport DetachedConn
from mediaserver.ext.net cimport address_from_python
from mediaserver.ext.port cimport Port, port_free, port_new


cdef class Doorkeeper(Mailbox):
    """The part of Worker (ext/control) that opens the doors."""

    def open_port(self, int socket, uint64_t seed) -> tuple[int, int]:
        cdef Port* port = port_new(socket, seed)
        cdef Command c
        if port is NULL:
            raise MemoryError
        try:
            port.handle = self.ports.take(port)
        except BaseException:
            port_free(port)
            raise
        c = self.command(OP_OPEN_PORT, port.handle)
        c.data = port
        try:
            return self.submit(&c), port.handle
        except BaseException:
            self.ports.drop(port.handle)
            port_free(port)
            raise

    def close_port(self, uint64_t port) -> int:
        cdef Command c = self.command(OP_CLOSE_PORT, port)
        self.ports.get(port)
        return self.submit(&c)

    def bind(self, uint64_t port, str host, int udp_port, uint64_t leg) -> int:
        cdef Command c = self.command(OP_BIND, port)
        cdef Binding* binding
        self.ports.get(port)
        binding = <Binding*>calloc(1, sizeof(Binding))
        if binding is NULL:
            raise MemoryError
        c.other = leg
        c.data = binding
        try:
            binding.address = address_from_python(host, udp_port)
            return self.submit(&c)
        except BaseException:
            free(binding)
            raise

    def open_conn(self, int socket, str host, int tcp_port) -> tuple[int, int, int]:
        cdef DetachedConn fresh = DetachedConn.__new__(DetachedConn)
        fresh.conn = <Conn*>calloc(1, sizeof(Conn))
        if fresh.conn is NULL:
            raise MemoryError
        fresh.conn.socket = socket
        fresh.conn.peer = address_from_python(host, tcp_port)
        return self.adopt_conn(fresh)

    def adopt_conn(self, DetachedConn detached) -> tuple[int, int, int]:
        cdef Conn* conn = detached.conn
        cdef Command c
        conn.handle = self.conns.take(conn)
        conn.leg = 0
        # Its place, and above it the generation, which no two of the recent ones share.
        conn.peer.via = <uint32_t>((conn.handle >> 16 & 0xFFFFF) << CONN_VIA_BITS | (conn.handle & 0xFFFF))
        c = self.command(OP_OPEN_CONN, conn.handle)
        c.data = conn
        try:
            self.submit(&c)
        except BaseException:
            self.conns.drop(conn.handle)
            raise
        detached.conn = NULL
        return c.id, conn.handle, conn.peer.via

    def bind_conn(self, uint64_t conn, uint64_t leg) -> int:
        cdef Command c = self.command(OP_BIND_CONN, conn)
        self.conns.get(conn)
        c.other = leg
        return self.submit(&c)

    def send_conn(self, uint64_t conn, bytes data) -> int:
        cdef Command c = self.command(OP_SEND_CONN, conn)
        cdef Frame* frame
        self.conns.get(conn)
        if not 0 < len(data) <= FRAME_BYTES_MAX:
            raise ValueError(f"a frame of {len(data)} bytes; 1..{FRAME_BYTES_MAX} are possible")
        frame = <Frame*>calloc(1, sizeof(Frame))
        if frame is NULL:
            raise MemoryError
        frame.size = len(data)
        memcpy(frame.data, <const unsigned char*>data, len(data))
        c.data = frame
        try:
            return self.submit(&c)
        except BaseException:
            free(frame)
            raise

    def close_conn(self, uint64_t conn) -> int:
        cdef Command c = self.command(OP_CLOSE_CONN, conn)
        self.conns.get(conn)
        return self.submit(&c)
