# Where browsers come in: the worker's shared UDP ports and its TCP connections. Their commands, and what is received.
from libc.stdint cimport uint64_t
from mediaserver.ext.channel cimport Command, Message
from mediaserver.ext.conn cimport Conn
from mediaserver.ext.net cimport Address
from mediaserver.ext.port cimport Port
from mediaserver.ext.state cimport Worker

cdef enum:
    FRAME_BYTES_MAX = 1500             # of one frame that Python sends

cdef struct Binding:                   # what OP_BIND brings
    Address address

cdef struct Frame:                     # what OP_SEND_CONN brings
    int size
    unsigned char data[FRAME_BYTES_MAX]

# Whether a readiness tag is a port's or a connection's; then the gate receives. Returns datagrams looked at.
cdef inline bint is_gate_tag(uint64_t tag) noexcept nogil:
    return tag >> 57 != 0

cdef int gate_receive(Worker* w, uint64_t tag) noexcept nogil
# A command for a port or a connection: its status.
cdef int gate_command(Worker* w, const Command* c, Message* reply) noexcept nogil
# Once a tick: what slow readers have not taken yet.
cdef void gate_flush(Worker* w) noexcept nogil
