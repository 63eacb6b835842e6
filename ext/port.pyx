"""Whose datagram is it? A table from source addresses to legs, and the little that a stranger gets.

Open addressing with linear probing over a fixed table; a removed entry is closed up by moving its followers, so that a
search never meets a tombstone. An address belongs to one leg at most, and only to one whose ICE check it passed: Python
says which (ext/commands). Whoever is not in the table can only be a browser that begins, and that speaks STUN.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from mediaserver.ext.datagram cimport datagram_push
from mediaserver.ext.net cimport address_equal, address_from_python, address_port
from mediaserver.ext.packet cimport packet_release, packet_take
from mediaserver.ext.rtp cimport DATAGRAM_STUN, datagram_kind, read_be32

cdef enum:
    STUN_HEADER_BYTES = 20
    STUN_COOKIE = 0x2112A442
    STRANGERS_EVERY_NS = 100000000


cdef inline uint64_t mix(uint64_t z) noexcept nogil:
    # the finaliser of splitmix64
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EB
    return z ^ (z >> 31)


cdef uint64_t hash_host(uint64_t seed, const Address* a) noexcept nogil:
    cdef uint64_t halves[2]
    cdef uint32_t host
    if a.size == 16:
        memcpy(&host, a.raw + 4, 4)
        return mix(seed ^ host)
    memcpy(halves, a.raw + 8, 16)
    return mix(mix(seed ^ halves[0]) ^ halves[1])


cdef inline uint32_t home(const Port* port, const Address* a) noexcept nogil:
    cdef uint64_t h = hash_host(port.seed, a)
    return <uint32_t>mix(h ^ (<uint64_t>address_port(a) << 32 | a.via)) & (PORT_SLOTS - 1)


cdef Port* port_new(int socket, uint64_t seed) noexcept nogil:
    cdef Port* port = <Port*>calloc(1, sizeof(Port))
    if port is NULL:
        return NULL
    port.entries = <PortEntry*>calloc(PORT_SLOTS, sizeof(PortEntry))
    if port.entries is NULL:
        free(port)
        return NULL
    port.socket = socket
    port.seed = seed
    return port


cdef void port_free(Port* port) noexcept nogil:
    if port is not NULL:
        free(port.entries)
        free(port)


cdef inline uint32_t slot_of(const Port* port, const Address* address) noexcept nogil:
    """Where it is, or the free slot where it would be."""
    cdef uint32_t at = home(port, address)
    while port.entries[at].leg and not address_equal(&port.entries[at].address, address):
        at = (at + 1) & (PORT_SLOTS - 1)
    return at


cdef uint64_t port_find(const Port* port, const Address* address) noexcept nogil:
    return port.entries[slot_of(port, address)].leg


cdef int port_bind(Port* port, const Address* address, uint64_t leg) noexcept nogil:
    cdef uint32_t at = slot_of(port, address)
    if port.entries[at].leg == 0:
        if port.count >= PORT_ADDRESSES_MAX:
            return -1
        port.count += 1
    port.entries[at].leg = leg
    port.entries[at].address = address[0]
    return 0


cdef void port_unbind(Port* port, const Address* address) noexcept nogil:
    cdef uint32_t hole = slot_of(port, address)
    cdef uint32_t at = hole
    cdef uint32_t wanted
    if port.entries[hole].leg == 0:
        return
    port.count -= 1
    while True:
        port.entries[hole].leg = 0
        while True:
            at = (at + 1) & (PORT_SLOTS - 1)
            if port.entries[at].leg == 0:
                return
            wanted = home(port, &port.entries[at].address)
            # It may move into the hole unless its home lies behind the hole, on the way to where it is.
            if ((at - wanted) & (PORT_SLOTS - 1)) >= ((at - hole) & (PORT_SLOTS - 1)):
                break
        port.entries[hole] = port.entries[at]
        hole = at


cdef bint may_ask(Context* ctx, Port* port, const Address* source) noexcept nogil:
    cdef uint8_t* asked = &port.by_host[hash_host(port.seed, source) & (STRANGER_BUCKETS - 1)]
    if ctx.now_ns - port.strangers_ns >= STRANGERS_EVERY_NS:
        port.strangers_ns = ctx.now_ns
        port.strangers = 0
        memset(port.by_host, 0, sizeof(port.by_host))
    if port.strangers >= STRANGERS_MAX or asked[0] >= STRANGERS_PER_HOST_MAX:
        return False
    port.strangers += 1
    asked[0] += 1
    return True


cdef void stranger_receive(Context* ctx, uint64_t by, Port* port, const Packet* packet,
                           const Address* source) noexcept nogil:
    ctx.counters.packets_received += 1
    if (datagram_kind(packet.data, packet.size) != DATAGRAM_STUN or packet.size < STUN_HEADER_BYTES
            or read_be32(packet.data + 4) != STUN_COOKIE):
        ctx.counters.packets_stranger += 1
        return
    if not may_ask(ctx, port, source):
        ctx.counters.packets_stranger += 1
        ctx.counters.events_dropped += 1
        return
    if datagram_push(&ctx.datagrams, by, packet.data, packet.size, source) < 0:
        ctx.counters.events_dropped += 1
        return
    ctx.spoke = 1


cdef int port_prepare(Context* ctx, Port* port) noexcept nogil:
    cdef int i
    for i in range(RECEIVE_BATCH_MAX):
        if port.batch[i] is NULL:
            port.batch[i] = packet_take(&ctx.pool)
            if port.batch[i] is NULL:
                return i
    return RECEIVE_BATCH_MAX


cdef void port_release(Context* ctx, Port* port) noexcept nogil:
    cdef int i
    for i in range(RECEIVE_BATCH_MAX):
        if port.batch[i] is not NULL:
            packet_release(&ctx.pool, port.batch[i])
            port.batch[i] = NULL


cdef class TableForTest:
    """Addresses to numbers, as a worker's port finds its legs."""

    cdef Port* port

    def __cinit__(self, uint64_t seed):
        self.port = port_new(-1, seed)
        if self.port is NULL:
            raise MemoryError

    def __dealloc__(self):
        port_free(self.port)

    def bind(self, host, int port, uint64_t leg) -> bool:
        cdef Address address = address_from_python(host, port)
        return port_bind(self.port, &address, leg) == 0

    def unbind(self, host, int port) -> None:
        cdef Address address = address_from_python(host, port)
        port_unbind(self.port, &address)

    def find(self, host, int port) -> int:
        cdef Address address = address_from_python(host, port)
        return port_find(self.port, &address)

    def __len__(self):
        return self.port.count
