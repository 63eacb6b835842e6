# One UDP socket that many browsers share: which leg a datagram is for, told by the address it came from. Made and freed
# by the control side, owned by one worker in between.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.net cimport RECEIVE_BATCH_MAX, Address
from mediaserver.ext.packet cimport Packet

cdef enum:
    PORT_TAG_KIND = 2                  # of its handle (ext/mailbox HandleTable), and so of its readiness tag
    PORT_SLOTS = 16384                 # a power of two; 700 KB
    PORT_ADDRESSES_MAX = 8192          # bound at once: half full, so that a search looks at two places
    STRANGERS_PER_HOST_MAX = 16        # datagrams handed to Python in 100 ms: of hosts that share a bucket,
    STRANGERS_MAX = 64                 # and of all; both leave room in the ring for known browsers
    STRANGER_BUCKETS = 256

cdef struct PortEntry:
    uint64_t leg                       # its handle; 0: the slot is free
    Address address

cdef struct Port:
    uint64_t handle
    int32_t socket
    int32_t count                      # of addresses bound
    uint64_t seed                      # of the hash: nobody outside can aim at one slot
    int64_t strangers_ns               # when the present 100 ms began
    int32_t strangers
    uint8_t by_host[STRANGER_BUCKETS]
    Packet* batch[RECEIVE_BATCH_MAX]   # slots to receive into; NULL: to be taken from the pool
    Address sources[RECEIVE_BATCH_MAX]
    PortEntry* entries

cdef Port* port_new(int socket, uint64_t seed) noexcept nogil
cdef void port_free(Port* port) noexcept nogil
# The leg bound to an address; 0: nobody's.
cdef uint64_t port_find(const Port* port, const Address* address) noexcept nogil
# 0, or -1: full. An address that is bound already changes hands.
cdef int port_bind(Port* port, const Address* address, uint64_t leg) noexcept nogil
cdef void port_unbind(Port* port, const Address* address) noexcept nogil
# A datagram of nobody's: STUN goes to Python, as much as is bounded above; anything else is counted and dropped.
cdef void stranger_receive(Context* ctx, uint64_t by, Port* port, const Packet* packet,
                           const Address* source) noexcept nogil
# Fills batch from the pool. How many slots there are.
cdef int port_prepare(Context* ctx, Port* port) noexcept nogil
# Gives the slots back.
cdef void port_release(Context* ctx, Port* port) noexcept nogil
